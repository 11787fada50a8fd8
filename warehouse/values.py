"""Traits and segments: one statement computes all that are asked for, then tables take their columns and members."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dsl.check import CheckedCatalog, CheckedValue
from dsl.sql import is_whole, values_sql
from warehouse.columns import column_names, literal, quoted, table_type
from warehouse.database import Connection, transaction
from warehouse.refresh import Refresh

_CREATE = """
CREATE TABLE IF NOT EXISTS traits (profile_id VARCHAR NOT NULL);
CREATE TABLE IF NOT EXISTS segment_members (
    segment VARCHAR NOT NULL, profile_id VARCHAR NOT NULL, since_at TIMESTAMP NOT NULL, since_ms BIGINT NOT NULL
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
# Who stays keeps the instant of entering; who is new gets this refresh's.
_MEMBERS = """
CREATE OR REPLACE TABLE segment_members AS
SELECT segment, profile_id, epoch_ms(since_ms) AS since_at, since_ms FROM (
    SELECT segment, profile_id, coalesce(old.since_ms, {t_ms:d}) AS since_ms
    FROM now_members LEFT JOIN segment_members AS old USING (segment, profile_id)
    UNION ALL
    SELECT segment, profile_id, since_ms FROM segment_members WHERE segment IN {kept}
)
ORDER BY segment, profile_id
"""
_CHANGES = """
CREATE OR REPLACE TEMP TABLE now_changes AS
SELECT segment, count(now_id) AS members,
    count(*) FILTER (WHERE old_id IS NULL) AS entered, count(*) FILTER (WHERE now_id IS NULL) AS exited
FROM (SELECT segment, profile_id AS now_id, profile_id FROM now_members)
    FULL JOIN (
        SELECT segment, profile_id AS old_id, profile_id FROM segment_members WHERE segment IN {selected}
    ) USING (segment, profile_id)
GROUP BY segment
"""
# Computing a segment again within one refresh adds its (few) changes to those already counted.
_SIZES = """
CREATE OR REPLACE TEMP TABLE now_sizes AS
SELECT segment, {id:d} AS refresh_id, {t_ms:d} AS as_of_ms, epoch_ms({t_ms:d}) AS as_of_at, {cut:d} AS cut,
    coalesce(c.members, 0) AS members,
    coalesce(coalesce(c.members, 0) / nullif((SELECT count(*) FROM profiles), 0), 0) AS share,
    coalesce(c.entered, 0) + coalesce(old.entered, 0) AS entered,
    coalesce(c.exited, 0) + coalesce(old.exited, 0) AS exited
FROM (SELECT unnest({names}::VARCHAR[]) AS segment) LEFT JOIN now_changes AS c USING (segment)
    LEFT JOIN (SELECT * FROM segment_sizes WHERE refresh_id = {id:d}) AS old USING (segment);
DELETE FROM segment_sizes WHERE segment NOT IN {known} OR (refresh_id = {id:d} AND segment IN {selected});
INSERT INTO segment_sizes BY NAME SELECT * FROM now_sizes;
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


def build_values(connection: Connection, checked: CheckedCatalog, keys: Sequence[str], refresh: Refresh) -> None:
    """Computes the traits and segments `keys` in one pass and replaces their columns and members.

    Others keep what they had; what the catalog no longer holds is gone afterwards. All of it or nothing.

    Tables:
        traits: Grain: one row per profile. Keys: profile_id.
        segment_members: Grain: one row per segment and member. Keys: segment, profile_id.
        segment_sizes: Grain: one row per segment and refresh. Keys: segment, refresh_id.
        definitions: Grain: one row per trait or segment. Keys: key.
    """
    chosen = [checked.values[key] for key in checked.order if key in set(keys)]
    with transaction(connection):
        connection.execute(_CREATE)
        _compute(connection, checked, [value.key for value in chosen], refresh)
        _write_traits(connection, checked, {value.key for value in chosen})
        _write_segments(connection, checked, [value.key for value in chosen if value.kind == "segment"], refresh)
        _write_definitions(connection, checked, refresh)


def align_values(connection: Connection, checked: CheckedCatalog, refresh: Refresh) -> None:
    """Makes the tables of `build_values` fit the catalog and the profiles, without computing anything.

    Every profile has a row in `traits`; what the catalog no longer holds is gone.
    """
    build_values(connection, checked, (), refresh)


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


def _compute(connection: Connection, checked: CheckedCatalog, keys: Sequence[str], refresh: Refresh) -> None:
    statement = values_sql(checked, keys, refresh.t_ms, refresh.cut, refresh.today)
    connection.execute(f"CREATE OR REPLACE TEMP TABLE computed AS {statement}")


def _write_traits(connection: Connection, checked: CheckedCatalog, chosen: set[str]) -> None:
    existing = set(column_names(connection, "traits")) - chosen
    columns = [
        f"{_trait_source(value, checked, chosen, existing)} AS {quoted(value.key)}"
        for value in checked.values.values()
        if value.kind == "trait"
    ]
    connection.execute(
        f"CREATE OR REPLACE TABLE traits AS SELECT {', '.join(['computed.profile_id', *columns])} "
        "FROM computed LEFT JOIN traits AS old USING (profile_id) ORDER BY computed.profile_id"
    )


def _trait_source(value: CheckedValue, checked: CheckedCatalog, chosen: set[str], existing: set[str]) -> str:
    if value.key in chosen:
        return f"computed.{quoted(value.key)}"
    if value.key in existing:
        return f"old.{quoted(value.key)}"
    return f"CAST(NULL AS {table_type(value.type, is_whole(value.node, checked))})"


def _write_segments(connection: Connection, checked: CheckedCatalog, selected: Sequence[str], refresh: Refresh) -> None:
    known = [value.key for value in checked.values.values() if value.kind == "segment"]
    members = [
        f"SELECT {literal(key)} AS segment, profile_id FROM computed WHERE {quoted(key)}" for key in selected
    ] or ["SELECT NULL::VARCHAR AS segment, NULL::VARCHAR AS profile_id WHERE false"]
    connection.execute(f"CREATE OR REPLACE TEMP TABLE now_members AS {' UNION ALL '.join(members)}")
    connection.execute(_CHANGES.format(selected=_names(selected)))
    sizes = {"id": refresh.refresh_id, "t_ms": refresh.t_ms, "cut": refresh.cut, "names": selected}
    connection.execute(_SIZES.format(**sizes, known=_names(known), selected=_names(selected)))
    kept = [key for key in known if key not in selected]
    connection.execute(_MEMBERS.format(t_ms=refresh.t_ms, kept=_names(kept)))


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
