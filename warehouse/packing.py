"""Tiles of many sources into bytes, as `dsl.tile_codec.pack` packs those of one: no Python object is made of a tile.

Headers, runs and tiles of all sources are put into rows, each kind at once, and what is of each source is cut out.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt

from dsl.folds import FamilyName
from dsl.tile_codec import COLUMNS, FORMAT, NEVER
from warehouse.tile_columns import Arranged

_Integers = npt.NDArray[np.int64]
_HEADER: Final = np.dtype([("format", "<u4"), ("runs", "<u2", len(COLUMNS)), ("cut", "<i8"), ("last_ms", "<i8")])
"""As `dsl.tile_codec.HEADER`; `_RUN` likewise as `RUNS`."""
_RUN: Final = np.dtype([("base", "<u8"), ("grain", "<u4"), ("tiles", "<u4")])


@dataclass(frozen=True, slots=True)
class _Section:
    """Runs and rows of one family.

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
    tiles: Mapping[FamilyName, Arranged],
    rests: Sequence[bytes],
) -> list[bytes]:
    """The bytes of some sources, one after another.

    Args:
        last_ms: instant of the newest event of each source; None before the first.
        tiles: of all families, in the order of `dsl.tile_codec.COLUMNS`.
        rests: of each source, as `dsl.tile_codec.pack_rest` writes it.
    """
    sections = {family: _section(each) for family, each in tiles.items()}
    parts: list[Any] = [_cut(_headers(cut, last_ms, sections), np.ones(len(last_ms), np.int64))]
    parts += (_cut(each.told, each.runs) for each in sections.values())
    parts += (_cut(each.words, each.rows) for each in sections.values())
    return list(map(b"".join, zip(*parts, rests, strict=True)))


def _cut(rows: npt.NDArray[Any], counts: _Integers) -> Iterator[memoryview]:
    """So many rows for each source."""
    content = memoryview(cast(Any, rows.view(np.uint8).reshape(-1)))
    ends = (len(content) // max(1, len(rows)) * np.cumsum(counts)).tolist()
    return map(content.__getitem__, map(slice, [0, *ends], ends))


def _headers(
    cut: int, last_ms: Sequence[int | None], sections: "Mapping[FamilyName, _Section]"
) -> npt.NDArray[np.void]:
    headers = np.zeros(len(last_ms), _HEADER)
    headers["format"], headers["cut"] = FORMAT, cut
    headers["last_ms"] = [NEVER if instant is None else instant for instant in last_ms]
    for place, family in enumerate(COLUMNS):
        if family in sections:
            headers["runs"][:, place] = sections[family].runs
    return headers


def _section(tiles: Arranged) -> _Section:
    run, bases = tiles.run, [each.tile_base for each in tiles.covered]
    first = np.flatnonzero(np.concatenate(([True], run[1:] != run[:-1]))[: len(run)])
    base = run[first] & 0xFFFF
    told = np.empty(len(first), _RUN)
    told["base"] = np.array([each.base.id for each in bases], np.uint64)[base]
    told["grain"] = np.array([each.grain_ms for each in bases], np.uint32)[base]
    told["tiles"] = np.diff(first, append=len(run))
    return _Section(np.bincount(run[first] >> 16, minlength=len(tiles.rows)), tiles.rows, told, tiles.words)
