"""The tables `aggregates` and `ranks`: what of a profile its events, and what all other profiles, say."""

from dsl.bases import bases_of
from dsl.check import CheckedCatalog
from dsl.sql import aggregates_sql, ranks_sql
from dsl.sql.tile_reading import TileMoment, tiled_aggregates_sql
from warehouse.columns import count, quoted
from warehouse.computed import read_computed, write_computed
from warehouse.database import Connection, transaction
from warehouse.refresh import Refresh
from warehouse.sources import heard_from
from warehouse.tiles import read_coverage

# A tile that leaves a window changes a profile, and so does an event, an end of a day, a source that comes or goes.
_ASKED = """
CREATE OR REPLACE TEMP TABLE asked AS
SELECT profile_id FROM profiles
WHERE profile_id IN (
    SELECT profile_id FROM identities JOIN ({heard_from}) USING (source_id)
)
OR profile_id IN (SELECT profile_id FROM identities WHERE valid_from_seq > {cut:d} OR valid_to_seq > {cut:d})
OR profile_id IN (SELECT profile_id FROM aggregates WHERE due_ms <= {t_ms:d})
OR profile_id NOT IN (SELECT profile_id FROM aggregates)
"""


def build_aggregates(connection: Connection, checked: CheckedCatalog, refresh: Refresh) -> str:
    """Brings `aggregates` to the refresh's `(t, cut)` from tiles, and replaces `ranks`.

    Only profiles that something has happened to are read again: an event, a source that has come or gone, a tile that
    has left a window, the end of a local day.

    Tables:
        aggregates: Grain: one row per profile; one column per base aggregate (`AggregateUse.column`), then `due_ms`
            and the `refresh_id` that has read the row. Keys: profile_id.
        ranks: Grain: one row per profile; one column per `percent_rank` (`RankUse.column`). Keys: profile_id.

    Returns:
        The statements that computed the aggregates.
    """
    zone = checked.zone
    moment = TileMoment(refresh.t_ms, refresh.cut, refresh.today, zone.next_day_ms(refresh.t_ms))
    bases = bases_of(checked.aggregates.values())
    tile_bases = [covered.tile_base for covered in read_coverage(connection, checked)]
    with transaction(connection):
        asked = "asked" if _choose(connection, checked, refresh) else "profiles"
        tables, query = tiled_aggregates_sql(checked, bases, tile_bases, moment, asked)
        statement = f"SELECT *, CAST({refresh.refresh_id} AS BIGINT) AS refresh_id FROM (\n{query}\n)"
        passes = [f"CREATE OR REPLACE TEMP TABLE {name} AS\n{text}" for name, text in tables.items()]
        for text in passes:
            connection.execute(text)
        if asked == "profiles":
            connection.execute(f"CREATE OR REPLACE TABLE aggregates AS {statement}")
        else:
            connection.execute(f"CREATE OR REPLACE TEMP TABLE again AS {statement}")
            connection.execute("DELETE FROM aggregates WHERE profile_id IN (SELECT profile_id FROM asked)")
            connection.execute("DELETE FROM aggregates WHERE profile_id NOT IN (SELECT profile_id FROM profiles)")
            connection.execute("INSERT INTO aggregates BY NAME SELECT * FROM again")
        for name in tables:
            connection.execute(f"DROP TABLE {name}")
        write_computed(connection, "aggregates", refresh, _form(checked))
    _build_ranks(connection, checked, refresh)
    return ";\n".join([*passes, statement])


def count_aggregates(connection: Connection, checked: CheckedCatalog, refresh: Refresh) -> None:
    """Replaces `aggregates` and `ranks` by values counted from the events themselves: previews, the past, audits."""
    statement = aggregates_sql(checked, refresh.t_ms, refresh.cut, refresh.today)
    connection.execute(f"CREATE OR REPLACE TABLE aggregates AS {statement}")
    _build_ranks(connection, checked, refresh)


def _build_ranks(connection: Connection, checked: CheckedCatalog, refresh: Refresh) -> None:
    ranks = ranks_sql(checked, refresh.t_ms, refresh.cut, refresh.today)
    connection.execute(f"CREATE OR REPLACE TABLE ranks AS {ranks}")


def _choose(connection: Connection, checked: CheckedCatalog, refresh: Refresh) -> bool:
    """Whether what is there can be gone on from; `asked` then holds the profiles that are read again."""
    since = read_computed(connection, "aggregates", refresh, _form(checked))
    if since is None:
        return False
    heard = heard_from(connection, since.cut, refresh.cut)
    connection.execute(_ASKED.format(heard_from=heard, cut=since.cut, t_ms=refresh.t_ms))
    # Reading most of them one by one is slower than reading all.
    return 2 * count(connection, "SELECT count(*) FROM asked") < count(connection, "SELECT count(*) FROM profiles")


def _form(checked: CheckedCatalog) -> str:
    """What the table holds: an aggregate may be another one under the same name in another catalog."""
    texts = [f"{quoted(use.column)} {use.key}" for use in checked.aggregates.values()]
    return "\n".join([checked.catalog.timezone, *texts, *bases_of(checked.aggregates.values()).by_key])
