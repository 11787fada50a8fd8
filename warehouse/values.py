"""Traits and segments: computed for whom something has happened to, and written into the tables that hold them."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from dsl.check import CheckedCatalog, CheckedValue
from dsl.sql import NEXT_CHANGE, Foreseen, foreseen_sql, is_whole, values_sql
from warehouse.columns import column_names, count, literal, quoted, table_type
from warehouse.computed import forget_computed, read_computed, refresh_of, write_computed
from warehouse.database import Connection, transaction
from warehouse.refresh import Refresh

_CREATE = """
CREATE TABLE IF NOT EXISTS traits (profile_id VARCHAR NOT NULL);
CREATE TABLE IF NOT EXISTS evaluated (profile_id VARCHAR NOT NULL, next_change_ms BIGINT);
CREATE TABLE IF NOT EXISTS segment_members (
    segment VARCHAR NOT NULL, profile_id VARCHAR NOT NULL, since_at TIMESTAMP NOT NULL, since_ms BIGINT NOT NULL
);
CREATE TABLE IF NOT EXISTS next_changes (
    segment VARCHAR NOT NULL, profile_id VARCHAR NOT NULL, next_change_at TIMESTAMP NOT NULL,
    next_change_ms BIGINT NOT NULL
);
CREATE TABLE IF NOT EXISTS segment_sizes (
    segment VARCHAR NOT NULL, refresh_id BIGINT NOT NULL, as_of_ms BIGINT NOT NULL, as_of_at TIMESTAMP NOT NULL,
    cut BIGINT NOT NULL, members BIGINT NOT NULL, share DOUBLE NOT NULL, entered BIGINT NOT NULL, exited BIGINT NOT NULL
);
CREATE TABLE IF NOT EXISTS definitions (
    key VARCHAR NOT NULL, kind VARCHAR NOT NULL, expression VARCHAR NOT NULL, sql VARCHAR NOT NULL,
    description VARCHAR NOT NULL, catalog_version INTEGER NOT NULL
);
"""
# Whose aggregates have been read again since, whose time has come, who is new; and who is no more.
_ASKED = """
CREATE OR REPLACE TEMP TABLE again AS
SELECT profile_id FROM aggregates LEFT JOIN evaluated USING (profile_id)
WHERE aggregates.refresh_id > {since:d} OR evaluated.profile_id IS NULL OR evaluated.next_change_ms <= {t_ms:d};
CREATE OR REPLACE TEMP TABLE asked_profiles AS FROM profiles SEMI JOIN again USING (profile_id);
INSERT INTO again SELECT profile_id FROM evaluated ANTI JOIN profiles USING (profile_id);
"""
_AGAIN = "profile_id IN (SELECT profile_id FROM again)"
# Who stays keeps the instant of entering; who is new gets this refresh's.
_MEMBERS = """
CREATE OR REPLACE TEMP TABLE old_members AS SELECT segment, profile_id FROM segment_members WHERE {scope};
CREATE OR REPLACE TEMP TABLE entered AS FROM now_members ANTI JOIN old_members USING (segment, profile_id);
CREATE OR REPLACE TEMP TABLE exited AS FROM old_members ANTI JOIN now_members USING (segment, profile_id);
DELETE FROM segment_members USING exited
WHERE segment_members.segment = exited.segment AND segment_members.profile_id = exited.profile_id;
INSERT INTO segment_members
SELECT segment, profile_id, epoch_ms({t_ms:d}), {t_ms:d} FROM entered ORDER BY segment, profile_id;
"""
# Computing a segment again within one refresh adds its (few) changes to those already counted.
_SIZES = """
CREATE OR REPLACE TEMP TABLE now_sizes AS
SELECT segment, {id:d} AS refresh_id, {t_ms:d} AS as_of_ms, epoch_ms({t_ms:d}) AS as_of_at, {cut:d} AS cut,
    coalesce(now.members, 0) AS members,
    coalesce(coalesce(now.members, 0) / nullif((SELECT count(*) FROM profiles), 0), 0) AS share,
    coalesce(came.members, 0) + coalesce(old.entered, 0) AS entered,
    coalesce(went.members, 0) + coalesce(old.exited, 0) AS exited
FROM (SELECT unnest({names}::VARCHAR[]) AS segment)
    LEFT JOIN (SELECT segment, count(*) AS members FROM segment_members GROUP BY segment) AS now USING (segment)
    LEFT JOIN (SELECT segment, count(*) AS members FROM entered GROUP BY segment) AS came USING (segment)
    LEFT JOIN (SELECT segment, count(*) AS members FROM exited GROUP BY segment) AS went USING (segment)
    LEFT JOIN (SELECT * FROM segment_sizes WHERE refresh_id = {id:d}) AS old USING (segment);
DELETE FROM segment_sizes WHERE refresh_id = {id:d} AND segment IN (FROM now_sizes SELECT segment);
INSERT INTO segment_sizes BY NAME SELECT * FROM now_sizes;
"""
_NEXT_CHANGES = """
DELETE FROM next_changes WHERE {scope};
INSERT INTO next_changes
SELECT segment, profile_id, epoch_ms(next_change_ms), next_change_ms FROM ({changes})
WHERE next_change_ms IS NOT NULL;
"""


@dataclass(frozen=True, slots=True)
class SegmentSize:
    """A segment at one refresh.

    Attributes:
        share: of all profiles, 0 to 1.
        entered, exited: members since the refresh before.
    """

    segment: str
    refresh_id: int
    members: int
    share: float
    entered: int
    exited: int


@dataclass(frozen=True, slots=True)
class _Part:
    """Traits and segments that are computed for the same profiles.

    Attributes:
        table: the temporary table that holds them.
        profiles: the table of the profiles that they are computed for.
        changes: the column with the next change of each that time can change.
    """

    table: str
    profiles: str
    values: Sequence[CheckedValue]
    changes: Mapping[str, str]

    @property
    def traits(self) -> list[str]:
        """Keys of the traits among them."""
        return [value.key for value in self.values if value.kind == "trait"]

    @property
    def segments(self) -> list[str]:
        """Keys of the segments among them."""
        return [value.key for value in self.values if value.kind == "segment"]


def build_values(connection: Connection, checked: CheckedCatalog, keys: Sequence[str], refresh: Refresh) -> int:
    """Brings the traits and segments `keys` to the refresh, for the profiles whose values may be others than they were.

    These are the profiles whose aggregates were read again, who are new, and whose time has come: `evaluated` keeps the
    first instant at which any value may change with no new event. What moves all the time is left out of that and
    computed for everybody at each refresh, in a pass of its own: ages and what is calculated from them, `now()`, ranks.
    An age that is only compared counts with the instant at which it crosses.

    All profiles are computed when definitions have changed, when only a part of them is asked for (and the next time
    after that), and when most profiles would have to be. What the catalog no longer holds is gone afterwards. All of it
    or nothing.

    Tables:
        traits: Grain: one row per profile. Keys: profile_id.
        evaluated: Grain: one row per profile. Keys: profile_id.
        segment_members: Grain: one row per segment and member. Keys: segment, profile_id.
        segment_sizes: Grain: one row per segment and refresh. Keys: segment, refresh_id.
        next_changes: Grain: one row per segment and profile that time may change it for. Keys: segment, profile_id.
        definitions: Grain: one row per trait or segment. Keys: key.

    Returns:
        The number of profiles whose values were computed, those that are computed for everybody aside.
    """
    chosen = [key for key in checked.order if key in set(keys)]
    with transaction(connection):
        connection.execute(_CREATE)
        parts = _compute(connection, checked, chosen, refresh)
        _write_traits(connection, checked, parts)
        _drop_unknown(connection, checked)
        _write_segments(connection, parts, refresh)
        _write_definitions(connection, checked, refresh)
        return count(connection, f"SELECT count(*) FROM {parts[0].table}")


def align_values(connection: Connection, checked: CheckedCatalog, refresh: Refresh) -> None:
    """Makes the tables of `build_values` fit the catalog and the profiles, without computing anything.

    Every profile has a row in `traits`; what the catalog no longer holds is gone.
    """
    with transaction(connection):
        connection.execute(_CREATE)
        if read_computed(connection, "traits", refresh, _form(checked)) is None:
            forget_computed(connection, "traits")
            _replace_traits(connection, checked, "profiles", set())
        else:
            connection.execute("DELETE FROM traits WHERE profile_id NOT IN (SELECT profile_id FROM profiles)")
            connection.execute(
                "INSERT INTO traits BY NAME SELECT profile_id FROM profiles ANTI JOIN traits USING (profile_id)"
            )
        _drop_unknown(connection, checked)


def segment_sizes(connection: Connection, segment: str) -> tuple[SegmentSize, ...]:
    """Sizes of a segment at all refreshes, the oldest first."""
    found = connection.execute(
        "SELECT segment, refresh_id, members, share, entered, exited FROM segment_sizes WHERE segment = ? "
        "ORDER BY refresh_id",
        [segment],
    )
    return tuple(SegmentSize(*row) for row in found.fetchall())


def trait_counts(connection: Connection, traits: Sequence[str]) -> Mapping[str, int]:
    """For each trait the number of profiles that have a value."""
    if not traits:
        return {}
    counts = ", ".join(f"count({quoted(key)})" for key in traits)
    (row,) = connection.execute(f"SELECT {counts} FROM traits").fetchall()
    return dict(zip(traits, row, strict=True))


# -- computing ---------------------------------------------------------------------------------------------------------


def _compute(connection: Connection, checked: CheckedCatalog, chosen: Sequence[str], refresh: Refresh) -> list[_Part]:
    """Computes what is asked for; the ledger says whether the next refresh can go on from it."""
    foreseen = foreseen_sql(checked, chosen, refresh.t_ms, refresh.cut, refresh.today)
    complete = len(chosen) == len(checked.values) and refresh_of(connection, "aggregates") == refresh.refresh_id
    if complete and _choose(connection, checked, refresh):
        parts = _compute_asked(connection, checked, foreseen.restless, refresh)
        connection.execute(f"DELETE FROM evaluated WHERE {_AGAIN}")
    else:
        parts = [_part(connection, checked, chosen, "profiles", "computed", foreseen)]
        connection.execute("DELETE FROM evaluated")
    connection.execute(f"INSERT INTO evaluated SELECT profile_id, {quoted(NEXT_CHANGE)} FROM computed")
    if complete:
        write_computed(connection, "traits", refresh, _form(checked))
    else:
        forget_computed(connection, "traits")
    return parts


def _choose(connection: Connection, checked: CheckedCatalog, refresh: Refresh) -> bool:
    """Whether the tables can be gone on from.

    Then `asked_profiles` holds those that are computed again, and `again` whose rows are replaced.
    """
    since = read_computed(connection, "traits", refresh, _form(checked))
    if since is None or since.refresh_id == refresh.refresh_id:
        return False
    connection.execute(_ASKED.format(since=since.refresh_id, t_ms=refresh.t_ms))
    asked, profiles = (count(connection, f"SELECT count(*) FROM {name}") for name in ("asked_profiles", "profiles"))
    return 2 * asked < profiles


def _compute_asked(
    connection: Connection, checked: CheckedCatalog, restless: Collection[str], refresh: Refresh
) -> list[_Part]:
    """What rests for those who are asked, and what never does for everybody."""
    parts = []
    for table, profiles, keys in (
        ("computed", "asked_profiles", [key for key in checked.order if key not in restless]),
        ("computed_restless", "profiles", [key for key in checked.order if key in restless]),
    ):
        foreseen = foreseen_sql(checked, keys, refresh.t_ms, refresh.cut, refresh.today, profiles)
        parts.append(_part(connection, checked, keys, profiles, table, foreseen))
    return parts


def _part(
    connection: Connection,
    checked: CheckedCatalog,
    keys: Sequence[str],
    profiles: str,
    table: str,
    foreseen: Foreseen,
) -> _Part:
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {table} AS {foreseen.sql}")
    return _Part(table, profiles, [checked.values[key] for key in keys], foreseen.changes)


def _form(checked: CheckedCatalog) -> str:
    """What the values are made by: their typed trees, in which every name is looked up."""
    parts = (f"{value.key} {value.kind} {value.node!r}" for value in checked.values.values())
    return hashlib.sha256("\n".join((checked.catalog.timezone, *parts)).encode()).hexdigest()


# -- tables ------------------------------------------------------------------------------------------------------------


def _write_traits(connection: Connection, checked: CheckedCatalog, parts: Sequence[_Part]) -> None:
    first, *others = parts
    if first.profiles == "profiles":
        _replace_traits(connection, checked, first.table, first.traits)
        return
    connection.execute(f"DELETE FROM traits WHERE {_AGAIN}")
    columns = ", ".join(["profile_id", *map(quoted, first.traits)])
    connection.execute(f"INSERT INTO traits BY NAME SELECT {columns} FROM {first.table}")
    for part in others:
        columns = ", ".join(f"{quoted(key)} = now.{quoted(key)}" for key in part.traits)
        other = " OR ".join(f"traits.{quoted(key)} IS DISTINCT FROM now.{quoted(key)}" for key in part.traits)
        if columns:
            connection.execute(
                f"UPDATE traits SET {columns} FROM {part.table} AS now "
                f"WHERE traits.profile_id = now.profile_id AND ({other})"
            )


def _replace_traits(connection: Connection, checked: CheckedCatalog, table: str, computed: Collection[str]) -> None:
    """A row for each profile of a table; the traits that it holds none of keep what they had."""
    existing = set(column_names(connection, "traits")) - set(computed)
    columns = [
        f"{_trait_source(value, checked, computed, existing)} AS {quoted(value.key)}"
        for value in checked.values.values()
        if value.kind == "trait"
    ]
    connection.execute(
        f"CREATE OR REPLACE TABLE traits AS SELECT {', '.join(['now.profile_id', *columns])} "
        f"FROM {table} AS now LEFT JOIN traits AS old USING (profile_id) ORDER BY now.profile_id"
    )


def _trait_source(
    value: CheckedValue, checked: CheckedCatalog, computed: Collection[str], existing: Collection[str]
) -> str:
    if value.key in computed:
        return f"now.{quoted(value.key)}"
    if value.key in existing:
        return f"old.{quoted(value.key)}"
    return f"CAST(NULL AS {table_type(value.type, is_whole(value.node, checked))})"


def _write_segments(connection: Connection, parts: Sequence[_Part], refresh: Refresh) -> None:
    scope, selected = _scope(parts), [key for part in parts for key in part.segments]
    members = [
        f"SELECT {literal(key)} AS segment, profile_id FROM {part.table} WHERE {quoted(key)}"
        for part in parts
        for key in part.segments
    ] or ["SELECT NULL::VARCHAR AS segment, NULL::VARCHAR AS profile_id WHERE false"]
    connection.execute(f"CREATE OR REPLACE TEMP TABLE now_members AS {' UNION ALL '.join(members)}")
    connection.execute(_MEMBERS.format(scope=scope, t_ms=refresh.t_ms))
    connection.execute(_SIZES.format(id=refresh.refresh_id, t_ms=refresh.t_ms, cut=refresh.cut, names=selected))
    changes = [
        f"SELECT {literal(key)} AS segment, profile_id, {quoted(part.changes[key])} AS next_change_ms FROM {part.table}"
        for part in parts
        for key in part.segments
        if key in part.changes
    ] or ["SELECT NULL::VARCHAR AS segment, NULL::VARCHAR AS profile_id, NULL::BIGINT AS next_change_ms"]
    connection.execute(_NEXT_CHANGES.format(scope=scope, changes=" UNION ALL ".join(changes)))


def _scope(parts: Sequence[_Part]) -> str:
    """Condition: the row of a segment and a profile is written again."""
    conditions = ["false"]
    for part in parts:
        whose = "true" if part.profiles == "profiles" else _AGAIN
        conditions.append(f"(segment IN {_names(part.segments)} AND {whose})")
    return " OR ".join(conditions)


def _drop_unknown(connection: Connection, checked: CheckedCatalog) -> None:
    connection.execute(f"DELETE FROM definitions WHERE key NOT IN {_names(checked.order)}")
    known = [value.key for value in checked.values.values() if value.kind == "segment"]
    for table in ("segment_members", "segment_sizes", "next_changes"):
        connection.execute(f"DELETE FROM {table} WHERE segment NOT IN {_names(known)}")


def _names(keys: Sequence[str]) -> str:
    """The keys as a list in parentheses, which SQL does not allow to be empty: no key is the empty text."""
    return f"({', '.join(map(literal, keys or ['']))})"


def _write_definitions(connection: Connection, checked: CheckedCatalog, refresh: Refresh) -> None:
    descriptions = described(checked)
    version = refresh.catalog_version
    rows = [
        (value.key, value.kind, value.text, value_sql(checked, value.key, refresh), descriptions[value.key], version)
        for value in checked.values.values()
    ]
    connection.execute("DELETE FROM definitions")
    if rows:
        connection.executemany("INSERT INTO definitions VALUES (?, ?, ?, ?, ?, ?)", rows)


def described(checked: CheckedCatalog) -> dict[str, str]:
    """What the author of each trait and segment says of it; may be empty."""
    traits = {trait.key: trait.description for trait in checked.catalog.traits}
    return traits | {segment.key: segment.description for segment in checked.catalog.segments}


def value_sql(checked: CheckedCatalog, key: str, refresh: Refresh) -> str:
    """The statement that computes one trait or segment by itself, over the tables of that refresh."""
    return values_sql(checked, [key], refresh.t_ms, refresh.cut, refresh.today)
