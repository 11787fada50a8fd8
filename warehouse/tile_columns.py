"""Tiles of many sources as columns, which are brought into the order of sources, of bases and of hops.

They lie in the table base by base and hop by hop: sorting by source and base alone, which counts instead of comparing,
is all that is to be done, but for what refreshes have added since, which is sorted in. It is done some sources at a
time: the first of them are on their way while others are sorted, and what is sorted has room in the cache.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dsl.bases import CARRIED
from dsl.tile_codec import COLUMNS, COUNT_BITS, WIDTH, Layout, TypeCode
from warehouse.database import Connection
from warehouse.tiles import Covered

_BATCH: Final = 2**16
"""Rows that are read at a time."""
SOURCES_AT_ONCE: Final = 2**16
"""How many sources `read_columns` can tell apart."""
_INSTANTS: Final = f"low BETWEEN 0 AND {2 ** (63 - COUNT_BITS) - 1} AND count < {2**COUNT_BITS}"
_MOMENTS: Final = (f"CASE WHEN {_INSTANTS} THEN low * {2**COUNT_BITS} + count END", "high")
_SELECTED: Final[Mapping[Layout, Sequence[str]]] = {
    "firsts": _MOMENTS,
    "spans": _MOMENTS,
    "numbers": ("{hop}", "count", "total", "low", "high"),
    "instants": ("{hop}", "0", "low", "high"),
    "days": ("{hop}",),
}
"""The columns of `dsl.tile_codec.COLUMNS`, as those of `tiles` give them; of `firsts` the last instant too."""
_TYPES: Final[Mapping[TypeCode, str]] = {"I": "UINTEGER", "q": "BIGINT", "Q": "UBIGINT"}
_Words = npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Arranged:
    """Rows of one layout of some sources, in the order of sources, of bases and of hops.

    Attributes:
        covered: the bases.
        rows: how many each source has of each base: a line a source, a column a base.
        words: a line a row, the values of `dsl.tile_codec.COLUMNS` in words of 32 bits.
        lasts: of each run that has rows the instant of the newest event; 0 where the rows tell it, or none is needed.
    """

    covered: Sequence[Covered]
    rows: npt.NDArray[np.int64]
    words: npt.NDArray[np.uint32]
    lasts: npt.NDArray[np.int64]


class TileColumns:
    """Rows of one layout of some sources that fit into columns; they are sorted by slices of sources as they are read.

    Attributes:
        whole: whether every row fits.
    """

    def __init__(self, layout: Layout, covered: Sequence[Covered], sources: int, size: int) -> None:
        """No rows yet.

        Args:
            covered: the bases.
            sources: how many; 2^16 at most.
            size: how many of them make a slice; the slices are 2^16 at most.
        """
        self._layout = layout
        self._covered = covered
        self._sources = sources
        self._starts = range(0, sources, size)
        width = sum(WIDTH[code] for code in COLUMNS[layout]) // WIDTH["I"]
        # Where the slices of each batch begin; its runs, words and last instants, slice by slice.
        nothing = np.empty(0, np.uint32), np.empty((0, width), np.uint32), np.empty(0, np.int64)
        self._parts = [([0] * (len(self._starts) + 1), nothing)]
        self.whole = True

    def add(self, batch: pa.RecordBatch) -> None:
        """Some rows, in the order of the table.

        Args:
            batch: number of the run: that of the source, from the first of them, times the number of bases, and place
                of the base; the values of `dsl.tile_codec.COLUMNS`, NULL for what does not fit; of `firsts` the last
                instants.
        """
        if any(column.null_count for column in batch.columns):
            self.whole, batch = False, batch.drop_null()
        run, *values = (column.to_numpy() for column in batch.columns)
        slice_ = (run // (self._starts.step * len(self._covered))).astype(np.min_scalar_type(len(self._starts)))
        order = np.argsort(slice_, kind="stable")
        ends = np.searchsorted(slice_.take(order), np.arange(len(self._starts)), side="right")
        lasts = values.pop().take(order) if self._layout == "firsts" else np.empty(0, np.int64)
        words = [column.view(np.uint32).reshape(len(column), column.itemsize // WIDTH["I"]) for column in values]
        rows = words[0] if len(words) == 1 else np.concatenate(words, axis=1)
        self._parts.append(([0, *ends.tolist()], (run.take(order), rows.take(order, axis=0), lasts)))

    def sliced(self) -> Iterator[Arranged]:
        """A slice at a time."""
        for number, start in enumerate(self._starts):
            own = [[column[slice(*begins[number : number + 2])] for column in part] for begins, part in self._parts]
            run, words, lasts = (np.concatenate(columns) for columns in zip(*own, strict=True))
            sources = min(self._starts.step, self._sources - start)
            yield self._arranged(run - np.uint32(start * len(self._covered)), words, lasts, sources)

    def _arranged(self, run: _Words, words: _Words, lasts: npt.NDArray[np.int64], sources: int) -> Arranged:
        runs = sources * len(self._covered)
        run = run.astype(np.min_scalar_type(runs - 1))
        order = np.argsort(run, kind="stable")
        rows, words = np.bincount(run, minlength=runs), words.take(order, axis=0)
        ends = np.cumsum(rows[rows > 0])
        told = words.view(np.uint64)[:, 0] if COLUMNS[self._layout][0] == "Q" else words[:, 0]
        falls = told[1:] < told[:-1]
        falls[ends[:-1] - 1] = False  # from one run to the next
        if falls.any():
            run = run.take(order)
            mixed = np.flatnonzero(np.isin(run, run[:-1][falls]))
            in_order = mixed.take(np.lexsort((told[mixed], run[mixed])))
            words[mixed], order[mixed] = words[in_order], order[in_order]
        newest = lasts.take(order.take(ends - 1)) if self._layout == "firsts" else np.zeros(len(ends), np.int64)
        return Arranged(self._covered, rows.reshape(sources, len(self._covered)), words, newest)


def read_columns(
    connection: Connection,
    layout: Layout,
    covered: Sequence[Covered],
    numbers: range,
    numbered_alike: bool,
    size: int,
) -> TileColumns:
    """The tiles of some bases of sources in `published`, numbered as its rows.

    Args:
        numbered_alike: whether `published` has every source of tiles, numbered as in `tile_sources`: then nothing is
            joined, and rows come in the order of the table.
        size: of a slice.
    """
    number, joined = ("source_no", "") if numbered_alike else ("published.rowid", "JOIN published USING (source_no)")
    place = _looked_up({each.tile_base.base_id: place for place, each in enumerate(covered)})
    columns = ", ".join(f"{text} AS c{number}" for number, text in enumerate(column_texts(layout, covered)))
    query = (
        f"SELECT CAST(({number} - {numbers.start}) * {len(covered)} + {place} AS UINTEGER) AS run, {columns} "
        f"FROM tiles {joined} WHERE {number} >= {numbers.start} AND {number} < {numbers.stop} AND {are_of(covered)}"
    )
    found = TileColumns(layout, covered, len(numbers), size)
    for batch in connection.sql(query).to_arrow_reader(_BATCH):
        found.add(batch)
    return found


def column_texts(layout: Layout, covered: Sequence[Covered]) -> list[str]:
    """The columns of rows of `tiles`; NULL where a row does not fit."""
    hop = hop_text(covered)
    if carrying := [each for each in covered if _carries(each)]:
        hop = f"CASE WHEN hop_start = {CARRIED} AND {are_of(carrying)} THEN 0 ELSE {hop} END"
    codes: Sequence[TypeCode] = ("Q", "q") if layout == "firsts" else COLUMNS[layout]
    texts = zip(codes, _SELECTED[layout], strict=True)
    return [f"TRY_CAST({text.format(hop=hop)} AS {_TYPES[code]})" for code, text in texts]


def hop_text(covered: Sequence[Covered]) -> str:
    """The number of the hop of a row; a local date is its own."""
    return f"hop_start // {_looked_up({each.tile_base.base_id: each.tile_base.grain_ms or 1 for each in covered})}"


def are_of(covered: Sequence[Covered]) -> str:
    """Condition: rows of some bases."""
    return f"base_id IN ({', '.join(str(each.tile_base.base_id) for each in covered)})"


def _looked_up(by_id: Mapping[int, int]) -> str:
    """A number of the base of a row: looked up in a list, as a join would not keep the order of rows."""
    texts = (str(by_id[id_]) if id_ in by_id else "NULL" for id_ in range(max(by_id) + 1))
    return f"list_extract([{', '.join(texts)}]::BIGINT[], base_id + 1)"


def _carries(covered: Covered) -> bool:
    """Whether what is carried on comes before all other tiles as that of the first hop: a number is of no instant."""
    first_hop = covered.tile_base.first_hop
    return covered.tile_base.carried and first_hop is not None and first_hop > 0
