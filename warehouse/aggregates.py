"""The tables `aggregates` and `ranks`: what of a profile its events, and what all other profiles, say."""

from dsl.bases import bases_of
from dsl.check import CheckedCatalog
from dsl.sql import aggregates_sql, ranks_sql
from dsl.sql.duckdb_tiles import TileMoment, tiled_aggregates_sql
from warehouse.columns import column_names, count, quoted
from warehouse.database import Connection, transaction
from warehouse.refresh import Refresh
from warehouse.tiles import read_coverage

_CREATE_OF = """
CREATE TABLE IF NOT EXISTS aggregates_of (cut BIGINT NOT NULL, t_ms BIGINT NOT NULL, columns VARCHAR NOT NULL)
"""
# A tile that leaves a window changes a profile, and so does an event, an end of a day, a new source.
_ASKED = """
CREATE OR REPLACE TEMP TABLE asked AS
SELECT profile_id FROM profiles
WHERE profile_id IN (
    SELECT profile_id FROM identities JOIN (SELECT DISTINCT source_id FROM events WHERE seq > {cut:d}) USING (source_id)
)
OR profile_id IN (SELECT profile_id FROM aggregates WHERE due_ms <= {t_ms:d})
OR profile_id NOT IN (SELECT profile_id FROM aggregates)
"""


def build_aggregates(connection: Connection, checked: CheckedCatalog, refresh: Refresh) -> str:
    """Brings `aggregates` to the refresh's `(t, cut)` from tiles, and replaces `ranks`.

    Only profiles that something has happened to are read again: an event, a tile that has left a window, the end of a
    local day.

    Tables:
        aggregates: Grain: one row per profile; one column per base aggregate (`AggregateUse.column`), then `due_ms`.
            Keys: profile_id.
        ranks: Grain: one row per profile; one column per `percent_rank` (`RankUse.column`). Keys: profile_id.

    Returns:
        The statements that computed the aggregates.
    """
    zone = checked.zone
    moment = TileMoment(refresh.t_ms, refresh.cut, refresh.today, zone.start_ms(refresh.today + 1))
    bases = bases_of(checked.aggregates.values())
    tile_bases = [covered.tile_base for covered in read_coverage(connection, checked)]
    with transaction(connection):
        asked = "asked" if _choose(connection, checked, refresh) else "profiles"
        passes, statement = tiled_aggregates_sql(checked, bases, tile_bases, moment, asked)
        for text in passes:
            connection.execute(text)
        if asked == "profiles":
            connection.execute(f"CREATE OR REPLACE TABLE aggregates AS {statement}")
        else:
            connection.execute(f"CREATE OR REPLACE TEMP TABLE again AS {statement}")
            connection.execute("DELETE FROM aggregates WHERE profile_id IN (SELECT profile_id FROM asked)")
            connection.execute("DELETE FROM aggregates WHERE profile_id NOT IN (SELECT profile_id FROM profiles)")
            connection.execute("INSERT INTO aggregates BY NAME SELECT * FROM again")
        for number in range(1, len(passes) + 1):
            connection.execute(f"DROP TABLE tiled_{number}")
        connection.execute("DELETE FROM aggregates_of")
        connection.execute("INSERT INTO aggregates_of VALUES (?, ?, ?)", [refresh.cut, refresh.t_ms, _columns(checked)])
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
    connection.execute(_CREATE_OF)
    found = connection.execute("SELECT cut, t_ms, columns FROM aggregates_of").fetchall()
    if not found or "due_ms" not in column_names(connection, "aggregates"):
        return False
    ((cut, t_ms, columns),) = found
    if columns != _columns(checked) or t_ms > refresh.t_ms or cut > refresh.cut:
        return False
    connection.execute(_ASKED.format(cut=cut, t_ms=refresh.t_ms))
    # Reading most of them one by one is slower than reading all.
    return 2 * count(connection, "SELECT count(*) FROM asked") < count(connection, "SELECT count(*) FROM profiles")


def _columns(checked: CheckedCatalog) -> str:
    """What the table holds: an aggregate may be another one under the same name in another catalog."""
    texts = [f"{quoted(use.column)} {use.key}" for use in checked.aggregates.values()]
    return "\n".join([checked.catalog.timezone, *texts, *bases_of(checked.aggregates.values()).by_key])
