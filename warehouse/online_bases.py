"""What the online store is given of each source: its tiles and attributes up to a cut, packed.

Only sources with events since the last publication are read, and those with tiles of a base that it did not have. Rows
are put in the order of sources once, then cut into bytes, column by column: no Python object is made of a tile.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Final

from dsl.check import CheckedCatalog
from dsl.folds import FAMILIES, FamilyName, histogram_of, values_of
from dsl.state import Value
from dsl.tags import untag
from dsl.tile_codec import COLUMNS, Layout, Loose, layout_of, pack_rest
from warehouse.columns import count
from warehouse.database import Connection
from warehouse.packing import pack_sources
from warehouse.refresh import Refresh
from warehouse.sources import heard_from
from warehouse.tile_columns import SOURCES_AT_ONCE, are_of, column_texts, hop_text, read_columns
from warehouse.tiles import Covered, read_coverage

_SLICE: Final = 2_500
"""Sources that are packed at a time."""
_ROWS: Final = 8_000_000
"""Tiles that are sorted in memory at a time, about: some hundred megabytes."""
# The number of a source is that of its row.
_CHOOSE = """
CREATE OR REPLACE TEMP TABLE published AS
SELECT source_id, source_no, last_seen_ms, coalesce(packed, ''::BLOB) AS packed
FROM ({sources}) LEFT JOIN sources USING (source_id) LEFT JOIN tile_sources USING (source_id)
    LEFT JOIN packed_attributes USING (source_id)
ORDER BY source_no
"""
_WITH_TILES: Final = "SELECT source_id FROM tiles JOIN tile_sources USING (source_no) WHERE base_id IN ({bases})"
_CHOSEN_OF_ALL: Final = """
SELECT count(*), count(*) FILTER (rowid = source_no) = (SELECT count(*) FROM tile_sources) FROM published
"""
_CHOSEN: Final = "SELECT source_id, last_seen_ms, packed FROM published WHERE rowid >= {start} AND rowid < {stop}"
"""In the order of rows, which DuckDB keeps."""
_STATE: Final = ("count", "total", "low", "high", "first", "last", "counts", "numbers")
"""Columns of `tiles` that hold states."""


def packed_sources(
    connection: Connection, checked: CheckedCatalog, refresh: Refresh, since: int, held: frozenset[int]
) -> Iterator[dict[str, bytes]]:
    """Every source whose tiles or attributes differ from what is published, as of the refresh; some at a time.

    By its id, what `dsl.tile_codec.unpack` reads.

    The connection must not run anything else while this is consumed.

    Args:
        since: the cut of the last finished publication; 0 for everything.
        held: which tiles it had (`Bases.tiles_ids`).
    """
    covered = [each for each in read_coverage(connection, checked) if _is_read(each)]
    tiles = [each.tile_base for each in covered]
    # Whoever has tiles has been heard from since the beginning.
    new = [str(each.base_id) for each in tiles if since and each.base.tiles_id(each.grain_ms) not in held]
    heard = heard_from(connection, since, refresh.cut)
    sources = f"{heard} UNION {_WITH_TILES.format(bases=', '.join(new))}" if new else heard
    connection.execute(_CHOOSE.format(sources=sources))
    chosen, numbered_alike = connection.sql(_CHOSEN_OF_ALL).fetchall()[0]
    at_once = _at_once(connection)
    ranges = (range(start, min(start + at_once, chosen)) for start in range(0, chosen, at_once))
    return chain.from_iterable(_range(connection, covered, refresh.cut, numbers, numbered_alike) for numbers in ranges)


def _is_read(covered: Covered) -> bool:
    return covered.tile_base.grain_ms in covered.tile_base.base.read_grains


def _at_once(connection: Connection) -> int:
    """So many sources that their tiles have room in memory."""
    tiles, sources = count(connection, "SELECT count(*) FROM tiles"), count(connection, "SELECT count(*) FROM sources")
    return max(1, min(_ROWS * sources // max(1, tiles), SOURCES_AT_ONCE))


def _range(
    connection: Connection, covered: Sequence[Covered], cut: int, numbers: range, numbered_alike: bool
) -> Iterator[dict[str, bytes]]:
    """Sources by their numbers, whose tiles are read together."""
    by_layout = _by_layout(covered)
    size = _slice(by_layout)
    columns = {
        layout: read_columns(connection, layout, its_own, numbers, numbered_alike, size)
        for layout, its_own in by_layout.items()
    }
    is_loose = _sort_loose(connection, covered, [layout for layout, each in columns.items() if not each.whole], numbers)
    chosen = connection.sql(_CHOSEN.format(start=numbers.start, stop=numbers.stop)).pl()
    sliced = {layout: each.sliced() for layout, each in columns.items()}
    for start in range(0, len(numbers), size):
        some, its_own = numbers[start : start + size], chosen[start : start + size]
        loose = _loose(connection, covered, some) if is_loose else {}
        source_ids, last_ms, attributes = (column.to_list() for column in its_own)
        rests = [
            pack_rest(packed, loose.get(n, ())) if packed or loose else b""
            for n, packed in zip(some, attributes, strict=True)
        ]
        tiles = {layout: next(each) for layout, each in sliced.items()}
        yield dict(zip(source_ids, pack_sources(cut, last_ms, tiles, rests), strict=True))


def _by_layout(covered: Sequence[Covered]) -> dict[Layout, list[Covered]]:
    """The bases of each layout."""
    found = {layout: [each for each in covered if layout_of(each.tile_base.base) == layout] for layout in COLUMNS}
    return {layout: its_own for layout, its_own in found.items() if its_own}


def _slice(by_layout: Mapping[Layout, Sequence[Covered]]) -> int:
    """So many sources that their runs can be counted with 16 bits."""
    return max(1, min(_SLICE, 2**16 // max(map(len, by_layout.values()), default=1)))


def _sort_loose(connection: Connection, covered: Sequence[Covered], crowded: Sequence[Layout], numbers: range) -> bool:
    """Temporary table `sorted_loose`: rows that do not fit into columns, or have none; whether there may be any."""
    kinds = {
        layout: [each for each in covered if layout_of(each.tile_base.base) == layout] for layout in (None, *crowded)
    }
    parts = [_numbered(layout, its_own) for layout, its_own in kinds.items() if its_own]
    if parts:
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE sorted_loose AS SELECT * FROM ({' UNION ALL '.join(parts)}) "
            f"WHERE {_within(numbers)} ORDER BY n, base_id, hop"
        )
    return bool(parts)


def _within(numbers: range) -> str:
    return f"n >= {numbers.start} AND n < {numbers.stop}"


def _numbered(layout: Layout | None, covered: Sequence[Covered]) -> str:
    """Tiles that do not fit, with the number of their source and that of their hop."""
    does_not_fit = " OR ".join(f"{text} IS NULL" for text in column_texts(layout, covered)) if layout else "true"
    return (
        f"SELECT published.rowid AS n, {hop_text(covered)} AS hop, tiles.* EXCLUDE (source_no) FROM tiles "
        f"JOIN published USING (source_no) WHERE {are_of(covered)} AND ({does_not_fit})"
    )


def _loose(connection: Connection, covered: Sequence[Covered], numbers: range) -> dict[int, list[Loose]]:
    by_number = {each.tile_base.base_id: each.tile_base for each in covered}
    found: dict[int, list[Loose]] = {}
    rows = connection.execute(f"SELECT n, base_id, hop, {', '.join(_STATE)} FROM sorted_loose WHERE {_within(numbers)}")
    for n, base_id, hop, *columns in rows.fetchall():
        base, grain_ms = by_number[base_id].base, by_number[base_id].grain_ms
        state = _state(base.family, hop, dict(zip(_STATE, columns, strict=True)))
        found.setdefault(n, []).append((base.id, grain_ms, hop, FAMILIES[base.family].encode(state)))
    return found


def _state(family: FamilyName, hop: int, row: Mapping[str, Any]) -> Any:
    """The state that a row of `tiles` holds (`dsl.folds`)."""
    match family:
        case "moments":
            return row["count"], row["low"], row["high"]
        case "numbers":
            return row["count"], row["total"], row["low"], row["high"]
        case "instants":
            return row["low"], row["high"]
        case "days":
            return frozenset((hop,))
        case "ends":
            return _dated(row["first"]), _dated(row["last"])
        case "values":
            return values_of(row["counts"])
    return histogram_of(row["numbers"])


def _dated(held: Mapping[str, Any]) -> tuple[int, str, Value]:
    """Instant, event id and the value, which stands in the field of its type."""
    value = next(value for name, value in held.items() if name not in ("ts_ms", "event_id") and value is not None)
    # Items of a list are tagged, so that one column holds all types.
    return held["ts_ms"], held["event_id"], tuple(map(untag, value)) if isinstance(value, list) else value
