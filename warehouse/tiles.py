"""The table `tiles`: what is kept of the events of every source, hop by hop; a refresh folds what is new into it."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from dsl.bases import LOCAL_DAY, Base, bases_of
from dsl.check import CheckedCatalog
from dsl.clock import DAY_MS
from dsl.sql import duckdb_tiles
from dsl.sql.duckdb_tiles import TileBase
from warehouse.columns import count
from warehouse.database import Connection, transaction
from warehouse.events_view import events_view_sql
from warehouse.exceptions import RefreshError
from warehouse.refresh import Refresh
from warehouse.stretches import FilesAfter, stretches

_CREATE_BASES = """
CREATE TABLE IF NOT EXISTS tile_bases (
    base_id INTEGER NOT NULL, key VARCHAR NOT NULL, grain_ms BIGINT NOT NULL, kept_ms BIGINT,
    covered_seq BIGINT NOT NULL
)
"""


@dataclass(frozen=True, slots=True)
class Covered:
    """A base at one of its grains, and the `seq` up to which its tiles hold every event."""

    tile_base: TileBase
    covered_seq: int


@dataclass(frozen=True, slots=True)
class Folding:
    """What an update did.

    Attributes:
        events: of the stretches that were folded; a new base reads all of them again.
        added: bases, at their grains, that were not there before.
        tiles: rows of the table now.
    """

    events: int
    added: int
    tiles: int


def update_tiles(
    connection: Connection, checked: CheckedCatalog, refresh: Refresh, files: FilesAfter, lake: Path
) -> Folding:
    """Folds the events that each base has not seen yet, drops what no window can reach: all of it or nothing.

    A base that is new is folded from the first event on. What the catalog no longer asks for is gone afterwards.

    Tables:
        tiles: Grain: one row per base at one grain, source and hop. Keys: base_id, source_id, hop_start.
        tile_bases: Grain: one row per base and grain. Keys: base_id. Coverage is what it says, not what rows there are.
    """
    bases = bases_of(checked.aggregates.values()).by_key
    with transaction(connection):
        connection.execute(duckdb_tiles.tiles_sql())
        connection.execute(_CREATE_BASES)
        _drop_unasked(connection, bases.values())
        added = _add_new(connection, bases.values())
        events = 0
        by_coverage = sorted(read_coverage(connection, checked), key=lambda covered: covered.covered_seq)
        for seq, group in groupby(by_coverage, key=lambda covered: covered.covered_seq):
            members = [covered.tile_base for covered in group]
            for lo, hi, its_files in stretches(files, seq, refresh.cut):
                connection.execute(
                    events_view_sql(its_files, refresh.cut, checked.property_columns, lake, "stretch_events")
                )
                events += _fold(connection, checked, members, lo, hi)
        connection.execute("UPDATE tile_bases SET covered_seq = ?", [refresh.cut])
        connection.execute("DROP VIEW IF EXISTS stretch_events")
        _drop_unreachable(connection, checked, refresh)
    return Folding(events, added, count(connection, "SELECT count(*) FROM tiles"))


def read_coverage(connection: Connection, checked: CheckedCatalog) -> list[Covered]:
    """Every base of the catalog that has tiles, at each grain that the catalog asks for."""
    bases = bases_of(checked.aggregates.values()).by_key
    rows = connection.execute("SELECT base_id, key, grain_ms, covered_seq FROM tile_bases ORDER BY base_id").fetchall()
    return [
        Covered(TileBase(base_id, bases[key], grain), seq)
        for base_id, key, grain, seq in rows
        if key in bases and grain in bases[key].grains
    ]


def _drop_unasked(connection: Connection, bases: Iterable[Base]) -> None:
    """Drops what is not asked for, and what has been kept for less time than is asked for now."""
    wanted = {(base.key, grain): kept for base in bases for grain, kept in base.grains.items()}
    known = connection.execute("SELECT base_id, key, grain_ms, kept_ms FROM tile_bases").fetchall()
    for base_id in [b for b, key, grain, kept in known if not _serves(kept, wanted.get((key, grain), -1))]:
        connection.execute("DELETE FROM tiles WHERE base_id = ?", [base_id])
        connection.execute("DELETE FROM tile_bases WHERE base_id = ?", [base_id])


def _serves(kept_ms: int | None, wanted_ms: int | None) -> bool:
    """Whether tiles that are kept so long serve who wants them so long; None is for ever, -1 not at all."""
    if wanted_ms is None or kept_ms is None:
        return wanted_ms != -1 and kept_ms is None
    return 0 <= wanted_ms <= kept_ms


def _add_new(connection: Connection, bases: Iterable[Base]) -> int:
    known = set(connection.execute("SELECT key, grain_ms FROM tile_bases").fetchall())
    wanted = {(base.key, grain): kept for base in bases for grain, kept in base.grains.items()}
    new = [tile_base for tile_base in wanted if tile_base not in known]
    first = count(connection, "SELECT coalesce(max(base_id), 0) + 1 FROM tile_bases")
    for number, (key, grain) in enumerate(new, first):
        connection.execute("INSERT INTO tile_bases VALUES (?, ?, ?, NULL, 0)", [number, key, grain])
    for (key, grain), kept_ms in wanted.items():
        connection.execute("UPDATE tile_bases SET kept_ms = ? WHERE key = ? AND grain_ms = ?", [kept_ms, key, grain])
    return len(new)


def _fold(connection: Connection, checked: CheckedCatalog, members: Sequence[TileBase], lo: int, hi: int) -> int:
    """Folds one stretch into the tiles of some bases; the number of its events that any of them asks for."""
    bases = list({tile_base.base.key: tile_base.base for tile_base in members}.values())
    stretch = duckdb_tiles.stretch_sql(bases, checked, "stretch_events", lo, hi)
    connection.execute(f"CREATE OR REPLACE TEMP TABLE stretch AS {stretch}")
    # Every column of `tiles` has to be there; a table made empty and filled in the same transaction is read as empty by
    # DuckDB 2.0.0 when it is inserted elsewhere.
    folded = duckdb_tiles.fold_sql(members, bases, "stretch")
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE folded AS (SELECT * FROM tiles LIMIT 0) UNION ALL BY NAME {folded}"
    )
    writes = ["INSERT INTO tiles FROM folded"] if lo == 0 else [*map(duckdb_tiles.merge_sql, _by_calendar(members))]
    written, made = sum(count(connection, text) for text in writes), count(connection, "SELECT count(*) FROM folded")
    if written != made:
        raise RefreshError(f"{made} tiles were folded and {written} written: nothing has changed; this is a bug")
    events = count(connection, "SELECT count(*) FROM stretch")
    connection.execute("DROP TABLE stretch; DROP TABLE folded")
    return events


def _by_calendar(members: Iterable[TileBase]) -> Iterator[str]:
    """What was folded by days of a calendar, and what was by hops of a clock.

    Instants are larger than dates by far: a merge of both would look at all rows in between, which are all there are.
    """
    for _, group in groupby(sorted(members, key=_is_of_a_calendar), key=_is_of_a_calendar):
        yield f"(FROM folded WHERE base_id IN ({', '.join(str(each.base_id) for each in group)}))"


def _is_of_a_calendar(tile_base: TileBase) -> bool:
    return tile_base.grain_ms == LOCAL_DAY


def _drop_unreachable(connection: Connection, checked: CheckedCatalog, refresh: Refresh) -> None:
    """Tiles that are older than any window, at this instant or later, can reach."""
    for covered in read_coverage(connection, checked):
        tile_base = covered.tile_base
        kept_ms = tile_base.base.grains[tile_base.grain_ms]
        if kept_ms is not None:
            oldest = refresh.today - kept_ms // DAY_MS if tile_base.grain_ms == LOCAL_DAY else refresh.t_ms - kept_ms
            span = 0 if tile_base.grain_ms == LOCAL_DAY else tile_base.grain_ms
            # Nothing is done to the column, so that whole row groups are passed over by their bounds.
            connection.execute(
                "DELETE FROM tiles WHERE base_id = ? AND hop_start <= ?", [tile_base.base_id, oldest - span]
            )
