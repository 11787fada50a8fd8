"""The audit: a sample of profiles counted again from their events, against what the tables say."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from dsl.check import CheckedCatalog
from dsl.sql import aggregates_sql
from warehouse.columns import count, quoted
from warehouse.database import Connection
from warehouse.refresh import Refresh

# Other profiles are drawn at each refresh. What is temporary hides the table of the same name.
_SAMPLE = """
CREATE TEMP TABLE profiles AS
FROM {schema}.profiles WHERE ('0x' || md5(profile_id || '/{refresh_id:d}')[:8])::BIGINT % {one_in:d} = 0;
CREATE TEMP TABLE identities AS
FROM {schema}.identities WHERE profile_id IN (SELECT profile_id FROM temp.profiles)
"""
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Difference:
    """A value of a profile that is not what its events say, both as text."""

    profile_id: str
    column: str
    stored: str
    counted: str


@dataclass(frozen=True, slots=True)
class Audit:
    """What an audit found.

    Attributes:
        profiles: that were counted again.
        values: that were compared.
        mismatches: values that differ; must be 0.
        differences: the first of them.
    """

    profiles: int
    values: int
    mismatches: int
    differences: tuple[Difference, ...]


def audit_aggregates(connection: Connection, checked: CheckedCatalog, refresh: Refresh, one_in: int = 100) -> Audit:
    """Counts about every `one_in`th profile again, straight from the events, and compares every aggregate exactly.

    Args:
        refresh: what the tables are of.
    """
    columns = [use.column for use in checked.aggregates.values()]
    with _sample(connection, refresh, one_in):
        statement = aggregates_sql(checked, refresh.t_ms, refresh.cut, refresh.today)
        connection.execute(f"CREATE OR REPLACE TEMP TABLE counted AS {statement}")
        profiles = count(connection, "SELECT count(*) FROM counted")
        differing = [_differing(column) for column in columns]
        found = connection.execute(" UNION ALL ".join(differing)).fetchall() if differing else []
        connection.execute("DROP TABLE counted")
    differences = tuple(Difference(*row) for row in sorted(found)[:_SHOWN])
    return Audit(profiles, profiles * len(columns), len(found), differences)


def _differing(column: str) -> str:
    name, text = quoted(column), column.replace("'", "''")
    return (
        f"SELECT profile_id, '{text}', CAST(stored.{name} AS VARCHAR), CAST(counted.{name} AS VARCHAR) FROM counted "
        f"LEFT JOIN aggregates AS stored USING (profile_id) WHERE stored.{name} IS DISTINCT FROM counted.{name}"
    )


@contextmanager
def _sample(connection: Connection, refresh: Refresh, one_in: int) -> Iterator[None]:
    """A sample of the profiles and their sources in place of all of them."""
    ((schema,),) = connection.execute("SELECT current_schema()").fetchall()
    connection.execute(_SAMPLE.format(schema=quoted(schema), refresh_id=refresh.refresh_id, one_in=one_in))
    try:
        yield
    finally:
        connection.execute("DROP TABLE temp.profiles; DROP TABLE temp.identities")
