"""Tiles of many sources as columns, which are brought into the order of sources, of bases and of hops.

They lie in the table base by base and hop by hop: sorting by source alone, which counts instead of comparing, is all
that is to be done, but for what refreshes have added since and what is carried on, which are sorted in. It is done some
sources at a time: the first of them are on their way while others are sorted, and what is sorted has room in the cache.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dsl.bases import CARRIED, LOCAL_DAY
from dsl.clock import DAY_MS
from dsl.folds import FamilyName
from dsl.tile_codec import COLUMNS, WIDTH, TypeCode
from warehouse.database import Connection
from warehouse.tiles import Covered

_BATCH: Final = 2**16
"""Rows that are read at a time."""
SOURCES_AT_ONCE: Final = 2**16
"""How many sources `read_columns` can tell apart."""
_SELECTED: Final[Mapping[FamilyName, Sequence[str]]] = {
    "moments": ("count", "low - hop_start", "high - low"),
    "numbers": ("count", "total", "low", "high"),
    "instants": ("0", "low", "high"),
    "days": (),
}
"""The columns of `dsl.tile_codec.COLUMNS` after the hop, as those of `tiles` give them."""
_TYPES: Final = {"I": "UINTEGER", "q": "BIGINT"}
_ROOM: Final[Mapping[TypeCode, str]] = {
    "I": "BETWEEN 0 AND 4294967295",
    "q": "BETWEEN -9223372036854775808 AND 9223372036854775807",
}
# What is carried on of instants becomes ordinary tiles of two days, that of the first event and that of the last one:
# what lies between them is years, and there is no room for years.
_HOLDS: Final = f"(low >= 0 AND high // {DAY_MS} < 4294967296 AND count < 4294967296)"
_SPLIT: Final = f"({_HOLDS} AND high - low >= 4294967296)"
_FIRST_DAY: Final = f"""(
    SELECT * REPLACE (
        CASE WHEN {_HOLDS} THEN low - low % {DAY_MS} ELSE hop_start END AS hop_start,
        CASE WHEN {_SPLIT} THEN count - 1 ELSE count END AS count,
        CASE WHEN {_SPLIT} THEN low ELSE high END AS high
    )
    FROM tiles WHERE hop_start = {CARRIED}
)"""
_LAST_DAY: Final = f"""(
    SELECT * REPLACE (high - high % {DAY_MS} AS hop_start, 1 AS count, high AS low)
    FROM tiles WHERE hop_start = {CARRIED} AND {_SPLIT}
)"""
_NO_DAY: Final = f"(SELECT * REPLACE (0 AS hop_start) FROM tiles WHERE hop_start = {CARRIED})"
"""A number is of no instant: the day before all others will do."""
_APART: Final = f"(FROM tiles WHERE hop_start > {CARRIED})"


@dataclass(frozen=True, slots=True)
class Arranged:
    """Rows of one family of some sources, in the order of sources, of bases and of hops.

    Attributes:
        covered: the bases.
        rows: how many each source has.
        run: of each row its source, counted from the first of them, times 2^16, and the place of its base.
        words: a line a row, the values of `dsl.tile_codec.COLUMNS` in words of 32 bits.
    """

    covered: Sequence[Covered]
    rows: npt.NDArray[np.int64]
    run: npt.NDArray[np.uint32]
    words: npt.NDArray[np.uint32]


class TileColumns:
    """Rows of one family of some sources that fit into columns; they are sorted by slices of sources as they are read.

    Attributes:
        whole: whether every row fits.
    """

    def __init__(self, family: FamilyName, covered: Sequence[Covered], sources: int, size: int) -> None:
        """No rows yet.

        Args:
            covered: the bases.
            sources: how many; 2^16 at most.
            size: how many of them make a slice; the slices are 2^16 at most.
        """
        self._covered = covered
        self._sources = sources
        self._starts = range(0, sources, size)
        width = sum(WIDTH[code] for code in COLUMNS[family]) // WIDTH["I"]
        # Runs and words of each batch, slice by slice, and where the slices begin.
        self._parts = [(np.empty(0, np.uint32), np.empty((0, width), np.uint32), [0] * (len(self._starts) + 1))]
        self.whole = True

    def add(self, batch: pa.RecordBatch) -> None:
        """Some rows, in the order of the table.

        Args:
            batch: number of the source, from the first of them, and place of the base: 16 bits each; the values of
                `dsl.tile_codec.COLUMNS`, NULL for what does not fit.
        """
        if any(column.null_count for column in batch.columns):
            self.whole, batch = False, batch.drop_null()
        source, base, *values = (column.to_numpy() for column in batch.columns)
        words = [column.view(np.uint32).reshape(len(column), column.itemsize // WIDTH["I"]) for column in values]
        slice_ = (source // self._starts.step).astype(np.min_scalar_type(len(self._starts)))
        order = np.argsort(slice_, kind="stable")
        ends = np.cumsum(np.bincount(slice_, minlength=len(self._starts)))
        run = source.astype(np.uint32) << 16 | base
        self._parts.append((run.take(order), np.concatenate(words, axis=1).take(order, axis=0), [0, *ends.tolist()]))

    def sliced(self) -> Iterator[Arranged]:
        """A slice at a time."""
        for number, start in enumerate(self._starts):
            its_own = [(slice(*begins[number : number + 2]), runs, rows) for runs, rows, begins in self._parts]
            run = np.concatenate([runs[place] for place, runs, _ in its_own])
            words = np.concatenate([rows[place] for place, _, rows in its_own])
            yield self._arranged(run - np.uint32(start << 16), words, min(self._starts.step, self._sources - start))

    def _arranged(self, run: npt.NDArray[np.uint32], words: npt.NDArray[np.uint32], sources: int) -> Arranged:
        source = (run >> 16).astype(np.uint16)
        # What lies in order already is only looked through, and what comes after it is sorted in.
        order = np.argsort((run.astype(np.uint64) & 0xFFFF) << 32 | words[:, 0], kind="stable")
        order = order.take(np.argsort(source.take(order), kind="stable"))
        rows = np.bincount(source, minlength=sources)
        return Arranged(self._covered, rows, run.take(order), words.take(order, axis=0))


def read_columns(
    connection: Connection,
    family: FamilyName,
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
    chosen = ("source_no", "") if numbered_alike else ("published.rowid", "JOIN published USING (source_no)")
    queries = [_query(family, _APART, range(len(covered)), covered, numbers, chosen)]
    if carrying := [place for place, each in enumerate(covered) if _carries(each)]:
        kinds = (_FIRST_DAY, _LAST_DAY) if family == "moments" else (_NO_DAY,)
        queries += [_query(family, rows, carrying, covered, numbers, chosen) for rows in kinds]
    found = TileColumns(family, covered, len(numbers), size)
    for batch in connection.sql(" UNION ALL ".join(queries)).to_arrow_reader(_BATCH):
        found.add(batch)
    return found


def _query(
    family: FamilyName,
    rows: str,
    places: Iterable[int],
    covered: Sequence[Covered],
    numbers: range,
    chosen: tuple[str, str],
) -> str:
    """Rows of some bases, by their places among all.

    Args:
        chosen: the column that numbers sources, and what it is joined from.
    """
    by_id = {covered[place].tile_base.base_id: (place, covered[place].tile_base.grain_ms or 1) for place in places}
    place, unit = (_looked_up({id_: both[kind] for id_, both in by_id.items()}) for kind in (0, 1))
    texts = zip(COLUMNS[family], (f"hop_start // {unit}", *_SELECTED[family]), strict=True)
    columns = ", ".join(f"TRY_CAST({text} AS {_TYPES[code]}) AS c{number}" for number, (code, text) in enumerate(texts))
    number, joined = chosen
    return (
        f"SELECT CAST({number} - {numbers.start} AS USMALLINT) AS n, CAST({place} AS USMALLINT) AS base, {columns} "
        f"FROM {rows} {joined} WHERE {number} >= {numbers.start} AND {number} < {numbers.stop} "
        f"AND base_id IN ({', '.join(map(str, by_id))})"
    )


def _looked_up(by_id: Mapping[int, int]) -> str:
    """A number of the base of a row: looked up in a list, as a join would not keep the order of rows."""
    texts = (str(by_id[id_]) if id_ in by_id else "NULL" for id_ in range(max(by_id) + 1))
    return f"list_extract([{', '.join(texts)}]::BIGINT[], base_id + 1)"


def fits(family: FamilyName, covered: Covered) -> str:
    """Condition: a row of `tiles` of a base has room in columns."""
    texts = zip(COLUMNS[family], (hop_number(covered), *_SELECTED[family]), strict=True)
    values = [f"({text}) {_ROOM[code]}" for code, text in texts]
    if not _carries(covered):
        return " AND ".join(values)
    carried = _HOLDS if family == "moments" else " AND ".join(values[1:])
    return f"CASE WHEN hop_start = {CARRIED} THEN {carried} ELSE {' AND '.join(values)} END"


def hop_number(covered: Covered) -> str:
    """The number of the hop of a row; a local date is its own."""
    grain_ms = covered.tile_base.grain_ms
    return "hop_start" if grain_ms == LOCAL_DAY else f"hop_start // {grain_ms}"


def _carries(covered: Covered) -> bool:
    """Whether a tile that is carried on comes before all others as a tile of a day."""
    first_hop = covered.tile_base.first_hop
    return covered.tile_base.carried and first_hop is not None and first_hop > 0
