"""The table `tiles`: what is kept of the events of every source, hop by hop; a refresh folds what is new into it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Final

from dsl.bases import CARRIED, LOCAL_DAY, Base, Kept, bases_of
from dsl.check import CheckedCatalog
from dsl.sql import duckdb_tiles
from dsl.sql.duckdb_tiles import TileBase
from warehouse.columns import column_names, count
from warehouse.database import Connection, transaction
from warehouse.events_view import events_view_sql
from warehouse.exceptions import RefreshError
from warehouse.refresh import Refresh
from warehouse.stretches import FilesAfter, stretches

_CREATE_BASES: Final = """
CREATE TABLE IF NOT EXISTS tile_bases (
    base_id INTEGER NOT NULL, key VARCHAR NOT NULL, grain_ms BIGINT NOT NULL, carried BOOLEAN NOT NULL,
    first_hop BIGINT, covered_seq BIGINT NOT NULL
)
"""
# New tiles of one time lie together: refreshes change those of the last days.
_IN_ORDER: Final = "ORDER BY base_id, hop_start, source_no"
_SAME: Final = "USING (base_id, hop_start, source_no)"
_KNOWN: Final = "SELECT base_id, key, grain_ms, carried, first_hop FROM tile_bases"


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
    """Folds the events that each base has not seen yet, carries on what no window can reach: all of it or nothing.

    A base that is new is folded from the first event on. What the catalog no longer asks for is gone afterwards.

    Tables:
        tiles: Grain: one row per base at one grain, source and hop. Keys: base_id, source_no, hop_start.
        tile_sources: Grain: one row per source of any event. Keys: source_no; source_id.
        tile_bases: Grain: one row per base and grain. Keys: base_id. Coverage is what it says, not what rows there are;
            tiles of hops before `first_hop` are carried on in one of hop `CARRIED`, or are gone.
    """
    bases = bases_of(checked.aggregates.values()).by_key
    with transaction(connection):
        _create(connection)
        _drop_unasked(connection, bases, refresh)
        _advance(connection, bases, refresh)
        added = _add_new(connection, bases.values(), refresh)
        events = 0
        by_coverage = sorted(read_coverage(connection, checked), key=lambda covered: covered.covered_seq)
        for seq, group in groupby(by_coverage, key=lambda covered: covered.covered_seq):
            members = [covered.tile_base for covered in group]
            for lo, hi, its_files in stretches(files, seq, refresh.cut):
                connection.execute(
                    events_view_sql(its_files, refresh.cut, checked.property_columns, lake, "stretch_events")
                )
                events += _fold(connection, checked, members, lo, hi, anew=seq == 0)
        connection.execute("UPDATE tile_bases SET covered_seq = ?", [refresh.cut])
        connection.execute("DROP VIEW IF EXISTS stretch_events")
    return Folding(events, added, count(connection, "SELECT count(*) FROM tiles"))


def read_coverage(connection: Connection, checked: CheckedCatalog) -> list[Covered]:
    """Every base of the catalog that has tiles, at each grain that the catalog asks for."""
    bases = bases_of(checked.aggregates.values()).by_key
    rows = connection.execute(
        "SELECT base_id, key, grain_ms, first_hop, covered_seq FROM tile_bases ORDER BY base_id"
    ).fetchall()
    return [
        Covered(TileBase(base_id, bases[key], grain, first_hop), seq)
        for base_id, key, grain, first_hop, seq in rows
        if key in bases and grain in bases[key].grains
    ]


# -- what is kept ------------------------------------------------------------------------------------------------------


def _create(connection: Connection) -> None:
    held = column_names(connection, "tile_bases")
    if held and "first_hop" not in held:
        # Of an older form: everything is folded again.
        connection.execute("DROP TABLE tiles; DROP TABLE tile_bases")
    connection.execute(duckdb_tiles.tiles_sql())
    connection.execute(_CREATE_BASES)


def _drop_unasked(connection: Connection, bases: Mapping[str, Base], refresh: Refresh) -> None:
    """Drops what is not asked for, and what reaches less far back than is asked for now."""
    for base_id, key, grain, carried, first_hop in connection.execute(_KNOWN).fetchall():
        kept = bases[key].grains.get(grain) if key in bases else None
        if kept is None or not _serves(kept, grain, refresh, carried, first_hop):
            connection.execute("DELETE FROM tiles WHERE base_id = ?", [base_id])
            connection.execute("DELETE FROM tile_bases WHERE base_id = ?", [base_id])


def _serves(wanted: Kept, grain: int, refresh: Refresh, carried: bool, first_hop: int | None) -> bool:
    """Whether tiles that are there serve who wants them so: windows may have become longer, a clock gone back."""
    if wanted.carried and not carried:
        return False
    needed = wanted.first_needed(grain, refresh.t_ms, refresh.today)
    return first_hop is None or (needed is not None and first_hop <= needed)


def _advance(connection: Connection, bases: Mapping[str, Base], refresh: Refresh) -> None:
    """What no window reaches any more, at this instant or later, is carried on in one tile a source, or goes.

    Only where it has become more, which is once an hour at most.
    """
    for base_id, key, grain, carried, held in connection.execute(_KNOWN).fetchall():
        kept = bases[key].grains[grain]
        if carried and not kept.carried:
            connection.execute("DELETE FROM tiles WHERE base_id = ? AND hop_start = ?", [base_id, CARRIED])
            connection.execute("UPDATE tile_bases SET carried = false WHERE base_id = ?", [base_id])
        first_hop = kept.first_apart(grain, refresh.t_ms, refresh.today)
        if first_hop is not None and (held is None or first_hop > held):
            _let_go(connection, TileBase(base_id, bases[key], grain, first_hop))
            connection.execute("UPDATE tile_bases SET first_hop = ? WHERE base_id = ?", [first_hop, base_id])


def _let_go(connection: Connection, tile_base: TileBase) -> None:
    if tile_base.carried:
        _merge(connection, duckdb_tiles.carry_sql(tile_base), [tile_base])
    connection.execute(f"DELETE FROM tiles WHERE {duckdb_tiles.before_sql(tile_base)}")


def _add_new(connection: Connection, bases: Iterable[Base], refresh: Refresh) -> int:
    known = set(connection.execute("SELECT key, grain_ms FROM tile_bases").fetchall())
    first = count(connection, "SELECT coalesce(max(base_id), 0) + 1 FROM tile_bases")
    new = [(base, grain) for base in bases for grain in base.grains if (base.key, grain) not in known]
    for number, (base, grain) in enumerate(new, first):
        kept = base.grains[grain]
        row = [number, base.key, grain, kept.carried, kept.first_apart(grain, refresh.t_ms, refresh.today)]
        connection.execute("INSERT INTO tile_bases VALUES (?, ?, ?, ?, ?, 0)", row)
    return len(new)


# -- folding -----------------------------------------------------------------------------------------------------------


def _fold(  # one stretch of one update
    connection: Connection, checked: CheckedCatalog, members: Sequence[TileBase], lo: int, hi: int, *, anew: bool
) -> int:
    """Folds one stretch into the tiles of some bases; the number of its events that any of them asks for.

    Args:
        anew: the bases have no tiles but of stretches before this one, of the same update.
    """
    bases = list({tile_base.base.key: tile_base.base for tile_base in members}.values())
    connection.execute(duckdb_tiles.number_sources_sql("stretch_events", lo, hi))
    stretch = duckdb_tiles.stretch_sql(bases, checked, "stretch_events", lo, hi)
    connection.execute(f"CREATE OR REPLACE TEMP TABLE stretch AS {stretch}")
    if lo == 0:
        for tile_base in members:
            folded = duckdb_tiles.fold_sql([tile_base], bases, "stretch")
            connection.execute(f"INSERT INTO tiles BY NAME {folded} {_IN_ORDER}")
    else:
        _merge(connection, duckdb_tiles.fold_sql(members, bases, "stretch"), members, anew=anew)
    events = count(connection, "SELECT count(*) FROM stretch")
    connection.execute("DROP TABLE stretch")
    return events


def _merge(connection: Connection, rows: str, members: Sequence[TileBase], *, anew: bool = False) -> None:
    """Merges what a statement gives of some bases into the table.

    Args:
        anew: most of it is not there yet.
    """
    # Every column of `tiles` has to be there; a table made empty and filled in the same transaction is read as empty by
    # DuckDB 2.0.0 when it is inserted elsewhere.
    connection.execute(f"CREATE OR REPLACE TEMP TABLE folded AS (SELECT * FROM tiles LIMIT 0) UNION ALL BY NAME {rows}")
    made, written = count(connection, "SELECT count(*) FROM folded"), 0
    if anew:
        connection.execute(f"CREATE OR REPLACE TEMP TABLE known AS FROM folded SEMI JOIN tiles {_SAME}")
        written = count(connection, f"INSERT INTO tiles FROM folded ANTI JOIN known {_SAME} {_IN_ORDER}")
        connection.execute("CREATE OR REPLACE TEMP TABLE folded AS FROM known; DROP TABLE known")
    written += sum(count(connection, text) for text in _merges(connection, members))
    if written != made:
        raise RefreshError(f"{made} tiles were folded and {written} written: nothing has changed; this is a bug")
    connection.execute("DROP TABLE folded")


def _merges(connection: Connection, members: Sequence[TileBase]) -> Iterator[str]:
    """The statements that write what was folded, apart by what is merged and by what hops are numbers of.

    Instants are larger than dates by far, and than the hop of what is carried on: a merge of both would look at all
    rows in between, which are all there are.
    """
    found = connection.execute(f"SELECT DISTINCT base_id, hop_start = {CARRIED:d} FROM folded").fetchall()
    of = {tile_base.base_id: tile_base for tile_base in members}
    for families in duckdb_tiles.MERGED_TOGETHER:
        kinds: dict[tuple[bool, bool], list[int]] = {}
        for base_id, is_carried in sorted(found):
            if of[base_id].base.family in families:
                kinds.setdefault((of[base_id].grain_ms == LOCAL_DAY, is_carried), []).append(base_id)
        for (_, is_carried), ids in kinds.items():
            chosen = f"base_id IN ({', '.join(map(str, ids))}) AND hop_start {'=' if is_carried else '<>'} {CARRIED:d}"
            yield duckdb_tiles.merge_sql(f"(FROM folded WHERE {chosen})", families)
