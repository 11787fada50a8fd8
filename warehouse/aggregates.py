"""The tables `aggregates` and `ranks`: what of a profile its events, and what all other profiles, say."""

from dsl.check import CheckedCatalog
from dsl.sql import aggregates_sql, ranks_sql
from warehouse.database import Connection
from warehouse.refresh import Refresh


def build_aggregates(connection: Connection, checked: CheckedCatalog, refresh: Refresh) -> str:
    """Replaces `aggregates` and `ranks` by the values at the refresh's `(t, cut)`.

    Tables:
        aggregates: Grain: one row per profile; one column per base aggregate (`AggregateUse.column`). Keys: profile_id.
        ranks: Grain: one row per profile; one column per `percent_rank` (`RankUse.column`). Keys: profile_id.

    Returns:
        The statement that computed the aggregates.
    """
    statement = aggregates_sql(checked, refresh.t_ms, refresh.cut, refresh.today)
    connection.execute(f"CREATE OR REPLACE TABLE aggregates AS {statement}")
    ranks = ranks_sql(checked, refresh.t_ms, refresh.cut, refresh.today)
    connection.execute(f"CREATE OR REPLACE TABLE ranks AS {ranks}")
    return statement
