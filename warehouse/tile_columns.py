"""Tiles of many sources as columns, which are brought into the order of sources, of bases and of hops.

They lie in the table base by base and hop by hop: sorting by source alone, which counts instead of comparing, is all
that is to be done, but for what refreshes have added since and what is carried on, which are sorted in.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from dsl.bases import CARRIED, LOCAL_DAY
from dsl.clock import DAY_MS
from dsl.folds import FamilyName
from dsl.tile_codec import COLUMNS, TypeCode
from warehouse.database import Connection
from warehouse.tiles import Covered

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


@dataclass(frozen=True)
class TileColumns:
    """Rows of one family of some sources that fit into columns, in the order in which they were read.

    Attributes:
        covered: the bases.
        sources: how many.
        source: of each row, counted from the first of the sources; `base` likewise.
        words: a line a row, the values of `dsl.tile_codec.COLUMNS` in words of 32 bits.
        whole: whether every row fits.
    """

    family: FamilyName
    covered: Sequence[Covered]
    sources: int
    source: npt.NDArray[np.uint16]
    base: npt.NDArray[np.uint16]
    words: npt.NDArray[np.uint32]
    whole: bool

    @cached_property
    def _rows_before(self) -> npt.NDArray[np.int64]:
        """How many rows the sources before each source have, and at the end all of them."""
        return np.concatenate(([0], np.cumsum(np.bincount(self.source, minlength=self.sources))))

    @cached_property
    def _by_source(self) -> npt.NDArray[np.intp]:
        order = _in_order(self.base, self.words[:, 0])
        if order is None:
            return np.argsort(self.source, kind="stable")
        return order.take(np.argsort(self.source.take(order), kind="stable"))

    def arranged(self, start: int, stop: int) -> "Arranged":
        """The rows of some sources: source by source, base by base, hop by hop."""
        before = self._rows_before
        places = self._by_source[before[start] : before[stop]]
        rows = np.diff(before[start : stop + 1])
        source = np.repeat(np.arange(stop - start, dtype=np.uint16), rows)
        return Arranged(rows, source, self.base.take(places), self.words.take(places, axis=0))


@dataclass(frozen=True, slots=True)
class Arranged:
    """Rows of some sources.

    Attributes:
        rows: how many each source has.
        source: of each row, counted from the first of them; `base` and `words` as in `TileColumns`.
    """

    rows: npt.NDArray[np.int64]
    source: npt.NDArray[np.uint16]
    base: npt.NDArray[np.uint16]
    words: npt.NDArray[np.uint32]


def _in_order(base: npt.NDArray[np.uint16], hop: npt.NDArray[np.uint32]) -> npt.NDArray[np.intp] | None:
    """Places of the rows base by base and hop by hop; None where they lie so: what begins in order is not sorted."""
    descents = np.flatnonzero((base[1:] < base[:-1]) | ((base[1:] == base[:-1]) & (hop[1:] < hop[:-1])))
    if not len(descents):
        return None
    sorted_ = int(descents[0]) + 1
    others = sorted_ + np.lexsort((hop[sorted_:], base[sorted_:]))
    places = np.empty(len(others), np.intp)
    for each in np.unique(base[others]):
        chosen, begin, end = base[others] == each, *np.searchsorted(base[:sorted_], (each, each + 1))
        places[chosen] = begin + np.searchsorted(hop[begin:end], hop[others[chosen]], side="right")
    return np.insert(np.arange(sorted_), places, others)


def read_columns(
    connection: Connection, family: FamilyName, covered: Sequence[Covered], numbers: range, numbered_alike: bool
) -> TileColumns:
    """The tiles of some bases of sources in `published`, by their numbers there.

    Args:
        numbered_alike: whether `published` has every source of tiles, numbered as in `tile_sources`: then nothing is
            joined, and rows come in the order of the table.
    """
    chosen = ("source_no", "") if numbered_alike else ("n", "JOIN published USING (source_no)")
    queries = [_query(family, _APART, range(len(covered)), covered, numbers, chosen)]
    if carrying := [place for place, each in enumerate(covered) if _carries(each)]:
        kinds = (_FIRST_DAY, _LAST_DAY) if family == "moments" else (_NO_DAY,)
        queries += [_query(family, rows, carrying, covered, numbers, chosen) for rows in kinds]
    table = connection.sql(" UNION ALL ".join(queries)).to_arrow_table()
    whole = not any(column.null_count for column in table.columns)
    source, base, *values = (column.to_numpy() for column in (table if whole else table.drop_null()).columns)
    return TileColumns(family, covered, len(numbers), source, base, _words(values), whole)


def _words(values: Sequence[npt.NDArray[Any]]) -> npt.NDArray[np.uint32]:
    """Columns as words, a line a row: what lies together is moved in one step."""
    parts = [column.view(np.uint32).reshape(len(column), column.itemsize // 4) for column in values]
    return np.concatenate(parts, axis=1)


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
