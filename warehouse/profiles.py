"""The table `profiles`: everybody known at `(t, cut)`, with identifiers, first and last sight and attributes."""

from dsl.check import CheckedCatalog
from dsl.columns import SENT, column_name, typed_columns
from dsl.identifiers import KINDS
from warehouse.attributes import AttributeColumn, read_attributes
from warehouse.columns import count, decimal_of_micros, quoted
from warehouse.database import Connection
from warehouse.identities import valid_at
from warehouse.refresh import Refresh

_BUILD = """
CREATE OR REPLACE TABLE profiles AS
WITH seen_sources AS (
    SELECT source_id, min(ts_ms) AS first_seen_ms, max(ts_ms) AS last_seen_ms, count(*) AS events
    FROM events
    WHERE kind <> 'system' AND seq <= {cut:d} AND ts_ms < {t_ms:d}
    GROUP BY source_id
),
known AS (SELECT profile_id, source_id FROM identities WHERE {valid}),
seen AS (
    SELECT profile_id, min(first_seen_ms) AS first_seen_ms, max(last_seen_ms) AS last_seen_ms,
        sum(events)::BIGINT AS events
    FROM seen_sources JOIN known USING (source_id)
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


def build_profiles(connection: Connection, checked: CheckedCatalog, refresh: Refresh) -> int:
    """Replaces `profiles` by the universe at the refresh's `(t, cut)`.

    Grain: one row per profile with an event from outside. Keys: profile_id.

    Returns:
        The number of profiles.
    """
    needed = _typed_columns(checked)
    attributes = read_attributes(connection, refresh.cut, refresh.t_ms, checked.zone, needed)
    selected = [*(_analyst_column(column) for column in attributes.columns), *map(quoted, needed)]
    connection.register("new_attributes", attributes.frame)
    connection.execute(
        _BUILD.format(
            cut=refresh.cut,
            t_ms=refresh.t_ms,
            valid=valid_at(refresh.cut),
            kinds=list(KINDS),
            attribute_columns="".join(f",\n    {column}" for column in selected),
        )
    )
    connection.unregister("new_attributes")
    return count(connection, "SELECT count(*) FROM profiles")


def _analyst_column(column: AttributeColumn) -> str:
    name = quoted(column.column)
    return f"{decimal_of_micros(name)} AS {name}" if column.type == "number" else name


def _typed_columns(checked: CheckedCatalog) -> list[str]:
    """Every type of each attribute that an expression reads: whether it is set does not depend on its type."""
    columns = typed_columns(checked.attribute_columns)
    wanted = ((column.steps, value_type) for column in columns for value_type in (*SENT, "timestamp"))
    return list(dict.fromkeys(column_name("attribute", steps, value_type) for steps, value_type in wanted))
