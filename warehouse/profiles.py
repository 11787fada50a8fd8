"""The table `profiles`: everybody known at `(t, cut)`, with identifiers, first and last sight and attributes."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import polars as pl

from dsl.check import CheckedCatalog
from dsl.columns import SENT, column_name, typed_columns
from dsl.identifiers import KINDS
from dsl.numbers import read_json
from warehouse.attributes import (
    AttributeColumn,
    Attributes,
    AttributeType,
    attribute_columns,
    attribute_frame,
    count_types,
    merge_attributes,
    read_attributes,
)
from warehouse.columns import count, decimal_of_micros, quoted
from warehouse.coverage import read_covered, require_covered, write_covered
from warehouse.database import Connection, transaction
from warehouse.identity_tables import valid_at
from warehouse.refresh import Refresh

_PROFILES = """
WITH known AS (SELECT profile_id, source_id FROM identities WHERE {valid} AND {whose}),
seen AS (
    SELECT profile_id, min(first_seen_ms) AS first_seen_ms, max(last_seen_ms) AS last_seen_ms,
        sum(events)::BIGINT AS events
    FROM {sources} JOIN known USING (source_id)
    GROUP BY profile_id
),
named AS (
    SELECT profile_id,
        list(source_id ORDER BY list_position({kinds}, split_part(source_id, ':', 1)), source_id) AS identifiers
    FROM known
    GROUP BY profile_id
)
SELECT profile_id,
    list_filter(identifiers, lambda i: starts_with(i, 'user:'))[1][6:] AS user_id,
    identifiers,
    epoch_ms(first_seen_ms) AS first_seen_at,
    epoch_ms(last_seen_ms) AS last_seen_at,
    first_seen_ms,
    last_seen_ms,
    events,
    coalesce(attributes, '{{}}') AS attributes{attribute_columns}
FROM seen JOIN named USING (profile_id) LEFT JOIN new_attributes USING (profile_id)
ORDER BY profile_id
"""
_IN_EVENTS = """(
    SELECT source_id, min(ts_ms) AS first_seen_ms, max(ts_ms) AS last_seen_ms, count(*) AS events
    FROM events
    WHERE kind <> 'system' AND seq <= {cut:d} AND ts_ms < {t_ms:d}
    GROUP BY source_id
)"""
_CREATE_TYPES = """
CREATE TABLE IF NOT EXISTS attribute_types (name VARCHAR NOT NULL, type VARCHAR NOT NULL, profiles BIGINT NOT NULL)
"""
# Both the profile that a source has left and the one that it has come to; whoever has come, or written an attribute.
_CHANGED = """
CREATE OR REPLACE TEMP TABLE changed AS
SELECT DISTINCT profile_id FROM identities
WHERE valid_from_seq > {since:d} OR valid_to_seq > {since:d}
    OR source_id IN (SELECT source_id FROM sources WHERE first_seq > {since:d} OR last_identify_seq > {since:d})
"""
_ARE_CHANGED = "profile_id IN (FROM changed)"
# Of anybody else an event changes nothing but when they were seen, and how often.
_SEEN = """
UPDATE profiles SET
    first_seen_at = epoch_ms(seen.first_seen_ms), last_seen_at = epoch_ms(seen.last_seen_ms),
    first_seen_ms = seen.first_seen_ms, last_seen_ms = seen.last_seen_ms, events = seen.events
FROM (
    WITH heard AS (
        SELECT DISTINCT profile_id FROM identities JOIN sources USING (source_id)
        WHERE last_seq > {since:d} AND {valid}
    )
    SELECT profile_id, min(first_seen_ms) AS first_seen_ms, max(last_seen_ms) AS last_seen_ms,
        sum(events)::BIGINT AS events
    FROM identities JOIN sources USING (source_id) SEMI JOIN heard USING (profile_id) ANTI JOIN changed
        USING (profile_id)
    WHERE {valid}
    GROUP BY profile_id
) AS seen
WHERE profiles.profile_id = seen.profile_id
"""
_TYPE_COLUMNS = {"name": pl.String(), "type": pl.String(), "profiles": pl.Int64()}

_Types = Counter[tuple[str, AttributeType]]


def update_profiles(connection: Connection, checked: CheckedCatalog, refresh: Refresh) -> int:
    """Brings `profiles` to the refresh's cut from `sources`, `source_attributes` and `identities`: all or nothing.

    Only profiles of sources that have written an attribute, or belong to another profile, are written again, and all
    are when the catalog asks for other columns, an attribute appears, vanishes or changes its type, or most have
    changed. Of profiles whose sources have sent anything else it is noted when they were seen.

    Tables:
        profiles: Grain: one row per profile with an event from outside. Keys: profile_id.
        attribute_types: Grain: one row per attribute and type that a profile has it in. Keys: name, type.

    Returns:
        The number of profiles that were written.

    Raises:
        RefreshError: one of the tables is of another cut.
    """
    needed = _typed_columns(checked)
    form = "\n".join([_PROFILES, checked.catalog.timezone, *needed])
    with transaction(connection):
        for table in ("sources", "identities"):
            require_covered(connection, table, refresh.cut)
        connection.execute(_CREATE_TYPES)
        since = read_covered(connection, "profiles", refresh.cut, form)
        written = None if since is None else _write_changed(connection, checked, refresh, since)
        if written is None:
            attributes = merge_attributes(connection, refresh.cut)
            types = count_types(attributes.values())
            _write_types(connection, types)
            written = _replace(connection, checked, refresh, attributes, "sources")
        write_covered(connection, "profiles", refresh.cut, form)
    return written


def build_profiles(connection: Connection, checked: CheckedCatalog, refresh: Refresh) -> int:
    """Replaces `profiles` by the universe at any `(t, cut)`, straight from the view `events`: previews and the past.

    Returns:
        The number of profiles.
    """
    attributes = read_attributes(connection, refresh.cut, refresh.t_ms)
    sources = _IN_EVENTS.format(cut=refresh.cut, t_ms=refresh.t_ms)
    return _replace(connection, checked, refresh, attributes, sources)


def _replace(
    connection: Connection,
    checked: CheckedCatalog,
    refresh: Refresh,
    attributes: Mapping[str, Attributes],
    sources: str,
) -> int:
    columns = attribute_columns(count_types(attributes.values()))
    needed = _typed_columns(checked)
    connection.register("new_attributes", attribute_frame(attributes, columns, checked.zone, needed))
    connection.execute(f"CREATE OR REPLACE TABLE profiles AS {_profiles_sql(refresh, columns, needed, sources)}")
    connection.unregister("new_attributes")
    return count(connection, "SELECT count(*) FROM profiles")


def _write_changed(connection: Connection, checked: CheckedCatalog, refresh: Refresh, since: int) -> int | None:
    """Writes profiles again that have changed after `since`; None, and nothing, when all have to be."""
    connection.execute(_CHANGED.format(since=since))
    if 2 * count(connection, "SELECT count(*) FROM changed") > count(connection, "SELECT count(*) FROM profiles"):
        return None
    attributes = merge_attributes(connection, refresh.cut, _ARE_CHANGED)
    before = _read_types(connection)
    types = before + count_types(attributes.values())
    types.subtract(count_types(_attributes_before(connection)))
    columns = attribute_columns(+types)
    if columns != attribute_columns(before):
        return None
    if types != before:
        _write_types(connection, +types)
    needed = _typed_columns(checked)
    connection.register("new_attributes", attribute_frame(attributes, columns, checked.zone, needed))
    connection.execute(f"DELETE FROM profiles WHERE {_ARE_CHANGED}")
    select = _profiles_sql(refresh, columns, needed, "sources", _ARE_CHANGED)
    written = count(connection, f"INSERT INTO profiles BY NAME {select}")
    connection.unregister("new_attributes")
    return written + count(connection, _SEEN.format(since=since, valid=valid_at(refresh.cut)))


def _profiles_sql(
    refresh: Refresh, columns: Iterable[AttributeColumn], needed: Sequence[str], sources: str, whose: str = "true"
) -> str:
    selected = [*map(_analyst_column, columns), *map(quoted, needed)]
    return _PROFILES.format(
        valid=valid_at(refresh.cut),
        whose=whose,
        sources=sources,
        kinds=list(KINDS),
        attribute_columns="".join(f",\n    {column}" for column in selected),
    )


def _attributes_before(connection: Connection) -> list[Attributes]:
    texts = connection.execute(
        f"SELECT attributes FROM profiles WHERE {_ARE_CHANGED} AND attributes <> '{{}}'"
    ).fetchall()
    found = (read_json(text) for (text,) in texts)
    return [attributes for attributes in found if isinstance(attributes, dict)]


def _read_types(connection: Connection) -> _Types:
    rows = connection.execute("SELECT name, type, profiles FROM attribute_types").fetchall()
    return Counter({(name, type_): profiles for name, type_, profiles in rows})


def _write_types(connection: Connection, types: _Types) -> None:
    connection.execute("DELETE FROM attribute_types")
    rows = [(name, type_, profiles) for (name, type_), profiles in sorted(types.items())]
    connection.register("new_types", pl.DataFrame(rows, schema=_TYPE_COLUMNS, orient="row"))
    connection.execute("INSERT INTO attribute_types FROM new_types")
    connection.unregister("new_types")


def _analyst_column(column: AttributeColumn) -> str:
    name = quoted(column.column)
    return f"{decimal_of_micros(name)} AS {name}" if column.type == "number" else name


def _typed_columns(checked: CheckedCatalog) -> list[str]:
    """Every type of each attribute that an expression reads: whether it is set does not depend on its type."""
    columns = typed_columns(checked.attribute_columns)
    wanted = ((column.steps, value_type) for column in columns for value_type in (*SENT, "timestamp"))
    return list(dict.fromkeys(column_name("attribute", steps, value_type) for steps, value_type in wanted))
