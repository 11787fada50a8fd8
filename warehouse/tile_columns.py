"""Tiles of many sources as columns, source by source and run by run, from which each source's bytes are cut.

A row's place is one number: that of its source, of its base at one grain, and of its hop. Sorting is by it alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from dsl.bases import LOCAL_DAY
from dsl.folds import FamilyName
from dsl.tile_codec import COLUMNS, RUNS, Sections, TypeCode
from warehouse.database import Connection
from warehouse.tiles import Covered

SELECTED: Final[Mapping[FamilyName, Sequence[str]]] = {
    "moments": ("count", "low - hop_start", "high - low"),
    "numbers": ("count", "total", "low", "high"),
    "instants": ("low", "high"),
    "days": (),
}
"""The columns of `dsl.tile_codec.COLUMNS` after the hop, as those of `tiles` give them."""
_TYPES: Final = {"I": "UINTEGER", "q": "BIGINT"}
_DTYPES: Final[Mapping[TypeCode, type[pl.DataType]]] = {"I": pl.UInt32, "q": pl.Int64, "Q": pl.UInt64}
_HOPS: Final = 2**32
"""How many hops a run has room for."""
_ROOM: Final = 2**31
"""How many runs there is room for."""


@dataclass(frozen=True, slots=True)
class TileColumns:
    """Rows of one family of some sources that fit into columns.

    Attributes:
        covered: the bases; a row's base is told by its place in them.
        first: number of the first source.
        whole: whether every row fits.
    """

    family: FamilyName
    covered: Sequence[Covered]
    first: int
    rows: pl.DataFrame
    whole: bool

    def sections(self, numbers: range) -> Sections:
        """The runs and rows of some of the sources, by their numbers."""
        runs_a_source = _places(self.covered)
        begins = pl.Series(range(numbers.start - self.first, numbers.stop - self.first + 1), dtype=pl.Int64)
        before = self.rows["place"].search_sorted(begins * (runs_a_source * _HOPS)).cast(pl.Int64)
        rows = self.rows[before[0] : before[-1]]
        run_of_row = rows["place"] // _HOPS
        first = (run_of_row != run_of_row.shift()).fill_null(value=True).arg_true().cast(pl.Int64)
        runs = run_of_row.gather(first)
        lengths = first.shift(-1, fill_value=rows.height) - first
        base = (runs % runs_a_source).cast(pl.Int64)
        told = [column.gather(base) for column in self._told()]
        values = [rows["place"] % _HOPS, *rows.drop("place")]
        codes = (*RUNS, *COLUMNS[self.family])
        return Sections(
            runs.search_sorted(begins * runs_a_source).to_list(),
            (before - before[0]).to_list(),
            [_as_bytes(column, code) for column, code in zip((*told, lengths, *values), codes, strict=True)],
        )

    def _told(self) -> tuple[pl.Series, pl.Series]:
        """Id and grain of each base."""
        bases = [each.tile_base for each in self.covered]
        ids = pl.Series([each.base.id for each in bases], dtype=pl.UInt64)
        return ids, pl.Series([each.grain_ms for each in bases], dtype=pl.UInt32)


def sources_at_once(covered: Sequence[Covered]) -> int:
    """How many sources `read_columns` can tell apart."""
    return _ROOM // _places(covered)


def read_columns(connection: Connection, family: FamilyName, covered: Sequence[Covered], numbers: range) -> TileColumns:
    """The tiles of some bases of sources in `published`, by their numbers there."""
    values = zip(COLUMNS[family][1:], SELECTED[family], strict=True)
    casts = [f"TRY_CAST({text} AS {_TYPES[code]}) AS c{number}" for number, (code, text) in enumerate(values)]
    bases = ", ".join(
        f"({each.tile_base.base_id}, {place}::BIGINT, {unit(each)}::BIGINT)" for place, each in enumerate(covered)
    )
    run = f"CAST(n - {numbers.start} AS BIGINT) * {_places(covered)} + base"
    columns = ", ".join(
        (f"({run}) * {_HOPS} + CAST(TRY_CAST(hop_start // unit AS UINTEGER) AS BIGINT) AS place", *casts)
    )
    rows = connection.sql(
        f"SELECT {columns} FROM tiles JOIN (VALUES {bases}) AS asked (base_id, base, unit) USING (base_id) "
        f"JOIN published USING (source_id) WHERE n >= {numbers.start} AND n < {numbers.stop} "
        f"AND base_id IN ({', '.join(str(each.tile_base.base_id) for each in covered)})"
    ).pl()
    whole = not any(column.has_nulls() for column in rows)
    fitting = rows if whole else rows.drop_nulls()
    return TileColumns(family, covered, numbers.start, fitting.sort("place"), whole)


def unit(covered: Covered) -> int:
    """What a hop's beginning is divided by; a local date is its own number."""
    return 1 if covered.tile_base.grain_ms == LOCAL_DAY else covered.tile_base.grain_ms


def _places(covered: Sequence[Covered]) -> int:
    """A power of two: the runs that a source may have."""
    return 1 << len(covered).bit_length()


def _as_bytes(values: pl.Series, code: TypeCode) -> bytes:
    """A column, little-endian."""
    array = values.cast(_DTYPES[code]).rechunk().to_arrow()
    content: bytes = array.buffers()[1].to_pybytes() if len(array) else b""
    width = array.type.byte_width
    return content[array.offset * width : (array.offset + len(array)) * width]
