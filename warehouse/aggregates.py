"""The table `aggregates`: every base aggregate that the catalog needs, for every profile, in one statement."""

from dsl.check import CheckedCatalog
from dsl.sql import aggregates_sql
from warehouse.database import Connection
from warehouse.refresh import Refresh


def build_aggregates(connection: Connection, checked: CheckedCatalog, refresh: Refresh) -> str:
    """Replaces `aggregates` by the values at the refresh's `(t, cut)`.

    Grain: one row per profile; one column per base aggregate (`AggregateUse.column`). Keys: profile_id.

    Returns:
        The statement that computed them.
    """
    statement = aggregates_sql(checked, refresh.t_ms, refresh.cut, refresh.today)
    connection.execute(f"CREATE OR REPLACE TABLE aggregates AS {statement}")
    return statement
