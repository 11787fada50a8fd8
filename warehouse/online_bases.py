"""What the online store is given of each source: its tiles and attributes up to a cut, packed.

Only sources with events since the last publication are read, and those with tiles of a base that it did not have. Rows
are put in the order of sources once, then cut into bytes, column by column: no Python object is made of a tile.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from dsl.bases import LOCAL_DAY
from dsl.check import CheckedCatalog
from dsl.folds import FAMILIES, FamilyName, histogram_of, values_of
from dsl.numbers import read_json
from dsl.state import Value
from dsl.tags import untag
from dsl.tile_codec import COLUMNS, RUNS, Loose, Section, TypeCode, pack_source
from dsl.tiles import Write
from warehouse.columns import count
from warehouse.database import Connection
from warehouse.refresh import Refresh
from warehouse.tiles import Covered, read_coverage

_SLICE: Final = 10_000
"""Sources that are read at a time."""
_CHOOSE = """
CREATE OR REPLACE TEMP TABLE published AS
SELECT CAST(row_number() OVER (ORDER BY source_id) - 1 AS INTEGER) AS n, source_id, last_seen_ms
FROM (
    SELECT source_id FROM events WHERE seq > {since:d} AND seq <= {cut:d}
    UNION SELECT source_id FROM tiles WHERE base_id IN ({new_bases})
) LEFT JOIN sources USING (source_id)
ORDER BY n
"""
_SELECTED: Final[Mapping[FamilyName, Sequence[str]]] = {
    "moments": ("count", "low - hop_start", "high - low"),
    "numbers": ("count", "total", "low", "high"),
    "instants": ("low", "high"),
    "days": (),
}
"""The columns of `dsl.tile_codec.COLUMNS` after the hop, as those of `tiles` give them."""
_STATE: Final = ("count", "total", "low", "high", "first", "last", "counts", "numbers")
"""Columns of `tiles` that hold states."""
_TYPES: Final = {"I": "UINTEGER", "q": "BIGINT"}
_DTYPES: Final[Mapping[TypeCode, type[pl.DataType]]] = {"I": pl.UInt32, "q": pl.Int64, "Q": pl.UInt64}
_ROOM: Final[Mapping[TypeCode, str]] = {
    "I": "BETWEEN 0 AND 4294967295",
    "q": "BETWEEN -9223372036854775808 AND 9223372036854775807",
}


@dataclass(frozen=True, slots=True)
class PackedSource:
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
    new = [str(each.base_id) for each in tiles if each.base.tiles_id(each.grain_ms) not in held]
    connection.execute(_CHOOSE.format(since=since, cut=refresh.cut, new_bases=", ".join(new) or "NULL"))
    families = [family for family in COLUMNS if _of_family(covered, family)]
    for family in families:
        _sort(connection, family, _of_family(covered, family))
    _sort_loose(connection, covered)
    for start in range(0, count(connection, "SELECT count(*) FROM published"), _SLICE):
        yield from _slice(connection, covered, families, refresh.cut, start)


def _sort(connection: Connection, family: FamilyName, covered: Sequence[Covered]) -> None:
    """Temporary table `sorted_<family>`: the rows that fit into columns, source by source and run by run."""
    casts = ["CAST(hop AS UINTEGER) AS hop"] + [
        f"CAST({text} AS {_TYPES[code]}) AS c{place}"
        for place, (code, text) in enumerate(zip(COLUMNS[family][1:], _SELECTED[family], strict=True))
    ]
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE sorted_{family} AS SELECT n, base_id, {', '.join(casts)} "
        f"FROM ({_numbered(covered)}) WHERE {_fits(family)} ORDER BY n, base_id, hop"
    )


def _sort_loose(connection: Connection, covered: Sequence[Covered]) -> None:
    """Temporary table `sorted_loose`: the rows that do not, and those of families without columns."""
    parts = [f"SELECT * FROM ({_numbered(())})"]
    for family in FAMILIES:
        if its_own := _of_family(covered, family):
            condition = f" WHERE NOT ({_fits(family)})" if family in COLUMNS else ""
            parts.append(f"SELECT * FROM ({_numbered(its_own)}){condition}")
    everything = " UNION ALL ".join(parts)
    connection.execute(f"CREATE OR REPLACE TEMP TABLE sorted_loose AS {everything} ORDER BY n, base_id, hop")


def _of_family(covered: Sequence[Covered], family: FamilyName) -> list[Covered]:
    return [each for each in covered if each.tile_base.base.family == family]


def _numbered(covered: Sequence[Covered]) -> str:
    """Tiles of some bases with the number of their source and that of their hop."""
    units = "".join(f" WHEN base_id = {each.tile_base.base_id} THEN {_unit(each)}" for each in covered)
    ids = ", ".join(str(each.tile_base.base_id) for each in covered)
    return (
        f"SELECT n, hop_start // CASE WHEN false THEN 0{units} END AS hop, tiles.* EXCLUDE (source_id) "
        f"FROM tiles JOIN published USING (source_id) WHERE base_id IN ({ids or 'NULL'})"
    )


def _unit(covered: Covered) -> int:
    """What a hop's beginning is divided by; a local date is its own number."""
    return 1 if covered.tile_base.grain_ms == LOCAL_DAY else covered.tile_base.grain_ms


def _fits(family: FamilyName) -> str:
    values = zip(COLUMNS[family], ("hop", *_SELECTED[family]), strict=True)
    return " AND ".join(f"({text}) {_ROOM[code]}" for code, text in values)


def _slice(
    connection: Connection, covered: Sequence[Covered], families: Sequence[FamilyName], cut: int, start: int
) -> Iterator[PackedSource]:
    bounds = f"n >= {start} AND n < {start + _SLICE}"
    sections: dict[int, dict[FamilyName, Section]] = {}
    for family in families:
        for n, section in _sections(connection, family, covered, bounds):
            sections.setdefault(n, {})[family] = section
    loose = _loose(connection, covered, bounds)
    attributes = _attributes(connection, bounds)
    chosen = connection.execute(f"SELECT n, source_id, last_seen_ms FROM published WHERE {bounds} ORDER BY n")
    for n, source_id, last_ms in chosen.fetchall():
        packed = pack_source(cut, last_ms, attributes.get(n, {}), sections.get(n, {}), loose.get(n, ()))
        yield PackedSource(source_id, packed)


def _sections(
    connection: Connection, family: FamilyName, covered: Sequence[Covered], bounds: str
) -> Iterator[tuple[int, Section]]:
    """Each source that has rows of a family, with the section's columns."""
    rows = connection.sql(f"SELECT * FROM sorted_{family} WHERE {bounds}").pl()
    if rows.is_empty():
        return
    runs = _runs(rows, covered)
    told = [_Cut.of(runs[name], code) for name, code in zip(("id", "grain", "length"), RUNS, strict=True)]
    kept = [name for name in rows.columns if name not in ("n", "base_id")]
    values = [_Cut.of(rows[name], code) for name, code in zip(kept, COLUMNS[family], strict=True)]
    sources = runs.group_by("n", maintain_order=True).agg(
        pl.col("run").first(), pl.len(), pl.col("row").first(), pl.col("length").sum().cast(pl.Int64)
    )
    for n, run, its_runs, row, its_rows in sources.iter_rows():
        yield n, (*(cut(run, its_runs) for cut in told), *(cut(row, its_rows) for cut in values))


def _runs(rows: pl.DataFrame, covered: Sequence[Covered]) -> pl.DataFrame:
    """Grain: a base at one grain of a source. `row` is its first row, `length` how many it has, `run` its number."""
    ids = pl.DataFrame(
        [(each.tile_base.base_id, each.tile_base.base.id, each.tile_base.grain_ms) for each in covered],
        schema={"base_id": pl.Int32, "id": pl.UInt64, "grain": pl.UInt32},
        orient="row",
    )
    begins = pl.struct("n", "base_id") != pl.struct("n", "base_id").shift()
    first = rows.select(pl.arg_where(begins.fill_null(value=True)).cast(pl.Int64).alias("row"))["row"]
    lengths = (pl.col("row").shift(-1, fill_value=rows.height) - pl.col("row")).alias("length")
    runs = rows.select("n", "base_id")[first].with_columns(first).with_columns(lengths).with_row_index("run")
    return runs.join(ids, on="base_id", how="left", maintain_order="left")


@dataclass(frozen=True, slots=True)
class _Cut:
    """A column as bytes, little-endian, from which rows are cut."""

    content: memoryview
    width: int

    @classmethod
    def of(cls, values: pl.Series, code: TypeCode) -> "_Cut":
        array = values.cast(_DTYPES[code]).rechunk().to_arrow()
        width = array.type.byte_width
        return cls(memoryview(array.buffers()[1])[array.offset * width :], width)

    def __call__(self, start: int, length: int) -> memoryview:
        return self.content[start * self.width : (start + length) * self.width]


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
    rows = connection.execute(
        "SELECT n, name, ts_ms, event_id, value FROM source_attributes JOIN published USING (source_id) "
        f"WHERE {bounds} ORDER BY n, name"
    )
    found: dict[int, dict[str, Write]] = {}
    for n, name, ts_ms, event_id, value in rows.fetchall():
        found.setdefault(n, {})[name] = (ts_ms, event_id, None if value is None else read_json(value))
    return found
