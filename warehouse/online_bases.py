"""What the online store is given of each source: its tiles and attributes up to a cut, packed.

Only sources with events since the last publication are read, and those with tiles of a base that it did not have. Rows
are put in the order of sources once, then cut into bytes, column by column: no Python object is made of a tile.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import repeat
from typing import Any, Final, NamedTuple

from dsl.check import CheckedCatalog
from dsl.folds import FAMILIES, FamilyName, histogram_of, values_of
from dsl.numbers import read_json
from dsl.state import Value
from dsl.tags import untag
from dsl.tile_codec import COLUMNS, Loose, TypeCode, pack_rest, pack_sources
from dsl.tiles import Write
from warehouse.columns import count
from warehouse.database import Connection
from warehouse.refresh import Refresh
from warehouse.sources import heard_from
from warehouse.tile_columns import SELECTED, TileColumns, read_columns, sources_at_once, unit
from warehouse.tiles import Covered, read_coverage

_SLICE: Final = 5_000
"""Sources that are packed at a time."""
_ROWS: Final = 8_000_000
"""Tiles that are sorted in memory at a time, about: some hundred megabytes."""
_CHOOSE = """
CREATE OR REPLACE TEMP TABLE published AS
SELECT CAST(row_number() OVER (ORDER BY source_id) - 1 AS INTEGER) AS n, source_id, last_seen_ms
FROM (
    {heard_from}
    UNION SELECT source_id FROM tiles WHERE base_id IN ({new_bases})
) LEFT JOIN sources USING (source_id)
ORDER BY n
"""
_SORT_ATTRIBUTES = """
CREATE OR REPLACE TEMP TABLE sorted_attributes AS
SELECT n, name, ts_ms, event_id, value FROM source_attributes JOIN published USING (source_id) ORDER BY n, name
"""
_STATE: Final = ("count", "total", "low", "high", "first", "last", "counts", "numbers")
"""Columns of `tiles` that hold states."""
_ROOM: Final[Mapping[TypeCode, str]] = {
    "I": "BETWEEN 0 AND 4294967295",
    "q": "BETWEEN -9223372036854775808 AND 9223372036854775807",
}


class PackedSource(NamedTuple):
    """A source and its tiles as `dsl.tile_codec.unpack` reads them."""

    source_id: str
    packed: bytes


def packed_sources(
    connection: Connection, checked: CheckedCatalog, refresh: Refresh, since: int, held: frozenset[int]
) -> Iterator[PackedSource]:
    """Every source whose tiles or attributes differ from what is published, as of the refresh; in the order of ids.

    The connection must not run anything else while this is consumed.

    Args:
        since: the cut of the last finished publication; 0 for everything.
        held: which tiles it had (`Bases.tiles_ids`).
    """
    covered = read_coverage(connection, checked)
    tiles = [each.tile_base for each in covered]
    # Whoever has tiles has been heard from since the beginning.
    new = [str(each.base_id) for each in tiles if since and each.base.tiles_id(each.grain_ms) not in held]
    heard = heard_from(connection, since, refresh.cut)
    connection.execute(_CHOOSE.format(heard_from=heard, new_bases=", ".join(new) or "NULL"))
    connection.execute(_SORT_ATTRIBUTES)
    chosen, at_once = count(connection, "SELECT count(*) FROM published"), _at_once(connection, covered)
    for start in range(0, chosen, at_once):
        yield from _range(connection, covered, refresh.cut, range(start, min(start + at_once, chosen)))


def _at_once(connection: Connection, covered: Sequence[Covered]) -> int:
    """So many sources that their tiles have room in memory."""
    tiles, sources = count(connection, "SELECT count(*) FROM tiles"), count(connection, "SELECT count(*) FROM sources")
    return max(1, min(_ROWS * sources // max(1, tiles), sources_at_once(covered)))


def _range(connection: Connection, covered: Sequence[Covered], cut: int, numbers: range) -> Iterator[PackedSource]:
    """Sources by their numbers, whose tiles are sorted together."""
    families = [family for family in COLUMNS if _of_family(covered, family)]
    columns = [read_columns(connection, family, _of_family(covered, family), numbers) for family in families]
    _sort_loose(connection, covered, [each.family for each in columns if not each.whole], numbers)
    for start in numbers[::_SLICE]:
        yield from _slice(connection, covered, columns, cut, range(start, min(start + _SLICE, numbers.stop)))


def _sort_loose(
    connection: Connection, covered: Sequence[Covered], crowded: Sequence[FamilyName], numbers: range
) -> None:
    """Temporary table `sorted_loose`: the rows that do not, and those of families without columns."""
    parts = [f"SELECT * FROM ({_numbered(())})"]
    for family in (*crowded, *(family for family in FAMILIES if family not in COLUMNS)):
        if its_own := _of_family(covered, family):
            condition = f" WHERE NOT ({_fits(family)})" if family in COLUMNS else ""
            parts.append(f"SELECT * FROM ({_numbered(its_own)}){condition}")
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE sorted_loose AS SELECT * FROM ({' UNION ALL '.join(parts)}) "
        f"WHERE n >= {numbers.start} AND n < {numbers.stop} ORDER BY n, base_id, hop"
    )


def _of_family(covered: Sequence[Covered], family: FamilyName) -> list[Covered]:
    return [each for each in covered if each.tile_base.base.family == family]


def _numbered(covered: Sequence[Covered]) -> str:
    """Tiles of some bases with the number of their source and that of their hop."""
    units = "".join(f" WHEN base_id = {each.tile_base.base_id} THEN {unit(each)}" for each in covered)
    ids = ", ".join(str(each.tile_base.base_id) for each in covered)
    return (
        f"SELECT n, hop_start // CASE WHEN false THEN 0{units} END AS hop, tiles.* EXCLUDE (source_id) "
        f"FROM tiles JOIN published USING (source_id) WHERE base_id IN ({ids or 'NULL'})"
    )


def _fits(family: FamilyName) -> str:
    values = zip(COLUMNS[family], ("hop", *SELECTED[family]), strict=True)
    return " AND ".join(f"({text}) {_ROOM[code]}" for code, text in values)


def _slice(
    connection: Connection, covered: Sequence[Covered], columns: Sequence[TileColumns], cut: int, numbers: range
) -> Iterator[PackedSource]:
    bounds = f"n >= {numbers.start} AND n < {numbers.stop}"
    chosen = connection.sql(f"SELECT source_id, last_seen_ms FROM published WHERE {bounds} ORDER BY n").pl()
    sections = {each.family: each.sections(numbers) for each in columns}
    rests = _rests(_attributes(connection, bounds), _loose(connection, covered, bounds), numbers)
    packed = pack_sources(cut, chosen["last_seen_ms"].to_list(), sections, rests)
    return map(PackedSource, chosen["source_id"].to_list(), packed)


def _rests(
    attributes: Mapping[int, Mapping[str, Write]], loose: Mapping[int, Sequence[Loose]], numbers: range
) -> Sequence[bytes]:
    if not attributes and not loose:
        return list(repeat(b"", len(numbers)))
    return [pack_rest(attributes.get(n, {}), loose.get(n, ())) for n in numbers]


def _loose(connection: Connection, covered: Sequence[Covered], bounds: str) -> dict[int, list[Loose]]:
    by_number = {each.tile_base.base_id: each.tile_base for each in covered}
    found: dict[int, list[Loose]] = {}
    rows = connection.execute(f"SELECT n, base_id, hop, {', '.join(_STATE)} FROM sorted_loose WHERE {bounds}")
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


def _attributes(connection: Connection, bounds: str) -> dict[int, dict[str, Write]]:
    rows = connection.sql(f"SELECT * FROM sorted_attributes WHERE {bounds}").pl()
    found: dict[int, dict[str, Write]] = {}
    # Most values occur often.
    read = {value: None if value is None else read_json(value) for value in rows["value"].unique()}
    for n, name, ts_ms, event_id, value in zip(*(column.to_list() for column in rows), strict=True):
        found.setdefault(n, {})[name] = (ts_ms, event_id, read[value])
    return found
