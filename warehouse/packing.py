"""Tiles of many sources into bytes, as `dsl.tile_codec.pack` packs those of one: no Python object is made of a tile.

Headers, runs and tiles of all sources are put into rows, each kind at once; Arrow cuts out and joins what is of each
source.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dsl.tile_codec import COLUMNS, FORMAT, NEVER, Layout
from warehouse.tile_columns import Arranged

_Integers = npt.NDArray[np.int64]
_HEADER: Final = np.dtype([("format", "<u4"), ("runs", "<u2", len(COLUMNS) + 1), ("cut", "<i8"), ("last_ms", "<i8")])
"""As `dsl.tile_codec.HEADER`; `_RUN` likewise as `RUNS`."""
_NOTHING: Final = pa.scalar(b"", pa.large_binary())
_RUN: Final = np.dtype([("base", "<u8"), ("grain", "<u4"), ("tiles", "<u4"), ("last_ms", "<i8")])


@dataclass(frozen=True, slots=True)
class _Section:
    """Runs and rows of one layout.

    Attributes:
        runs, rows: how many each source has.
        told: the runs; `words` a line a row, as in `Arranged`.
    """

    runs: _Integers
    rows: _Integers
    told: npt.NDArray[np.void]
    words: npt.NDArray[np.uint32]


def pack_sources(
    cut: int,
    last_ms: Sequence[int | None],
    tiles: Mapping[Layout, Arranged],
    rests: Sequence[bytes],
) -> list[bytes]:
    """The bytes of some sources, one after another.

    Args:
        last_ms: instant of the newest event of each source; None before the first.
        tiles: of all layouts, in the order of `dsl.tile_codec.COLUMNS`.
        rests: of each source, as `dsl.tile_codec.pack_rest` writes it.
    """
    sections = {layout: _section(each) for layout, each in tiles.items()}
    parts = [_cut(_headers(cut, last_ms, sections), np.ones(len(last_ms), np.int64))]
    parts += (_cut(each.told, each.runs) for each in sections.values())
    parts += (_cut(each.words, each.rows) for each in sections.values())
    joined = pc.binary_join_element_wise(*parts, pa.array(rests, pa.large_binary()), _NOTHING)
    return cast(list[bytes], joined.to_pylist())


def _cut(rows: npt.NDArray[Any], counts: _Integers) -> pa.LargeBinaryArray:
    """So many rows for each source."""
    ends = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=ends[1:])
    ends *= rows.nbytes // max(1, len(rows))
    content = pa.py_buffer(np.ascontiguousarray(rows))
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(counts), [None, pa.py_buffer(ends), content])


def _headers(cut: int, last_ms: Sequence[int | None], sections: "Mapping[Layout, _Section]") -> npt.NDArray[np.void]:
    headers = np.zeros(len(last_ms), _HEADER)
    headers["format"], headers["cut"] = FORMAT, cut
    headers["last_ms"] = [NEVER if instant is None else instant for instant in last_ms]
    for place, layout in enumerate(COLUMNS):
        if layout in sections:
            headers["runs"][:, place] = sections[layout].runs
    return headers


def _section(tiles: Arranged) -> _Section:
    source, base = tiles.rows.nonzero()
    bases = [each.tile_base for each in tiles.covered]
    told = np.empty(len(base), _RUN)
    told["base"] = np.array([each.base.id for each in bases], np.uint64)[base]
    told["grain"] = np.array([each.grain_ms for each in bases], np.uint32)[base]
    told["tiles"] = tiles.rows[source, base]
    told["last_ms"] = tiles.lasts
    return _Section(np.bincount(source, minlength=len(tiles.rows)), tiles.rows.sum(axis=1), told, tiles.words)
