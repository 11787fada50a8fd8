"""Tiles of many sources into bytes, as `dsl.tile_codec.pack` packs those of one: no Python object is made of a tile.

Everything but the rest is a multiple of 32 bits: the columns of all sources are put into one array of such words, each
column at once, and the array is cut into sources.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from dsl.folds import FamilyName
from dsl.tile_codec import COLUMNS, FORMAT, NEVER, RUNS, WIDTH, TypeCode
from warehouse.tile_columns import TileColumns

_Integers = npt.NDArray[np.int64]
_Lines = npt.NDArray[np.uint32]
_WORD: Final = 4
_HEADER_CODES: Final[Sequence[TypeCode]] = ("I", "I", "I", "q", "q")
"""Those of `dsl.tile_codec.HEADER`, with two counts of 16 bits in a word."""


@dataclass(frozen=True, slots=True)
class _Section:
    """Runs and rows of one family.

    Attributes:
        runs, rows: how many each source has.
        told: a line a run, the values of `dsl.tile_codec.RUNS` in words; `values` a line a row, those of `COLUMNS`.
    """

    family: FamilyName
    runs: _Integers
    rows: _Integers
    told: _Lines
    values: _Lines

    @property
    def words(self) -> _Integers:
        """Of each source."""
        found: _Integers = self.told.shape[1] * self.runs + self.values.shape[1] * self.rows
        return found


def pack_sources(
    cut: int,
    last_ms: Sequence[int | None],
    columns: Sequence[TileColumns],
    rests: Sequence[bytes],
    start: int = 0,
) -> list[bytes]:
    """The bytes of some sources, one after another.

    Args:
        last_ms: instant of the newest event of each source; None before the first.
        columns: of all families, in the order of `dsl.tile_codec.COLUMNS`.
        rests: of each source, as `dsl.tile_codec.pack_rest` writes it.
        start: number of the first of them in `columns`.
    """
    sections = {each.family: _section(each, start, start + len(last_ms)) for each in columns}
    header = _header(cut, last_ms, sections)
    sizes = sum((each.words for each in sections.values()), start=np.full(len(last_ms), header.shape[1], np.int64))
    ends = np.cumsum(sizes)
    words = _Words(np.empty(int(sizes.sum()), np.uint32), ends - sizes)
    words.put(np.ones(len(last_ms), np.int64), header, _HEADER_CODES)
    for family, section in sections.items():
        words.put(section.runs, section.told, RUNS)
        words.put(section.rows, section.values, COLUMNS[family])
    packed, place = words.array.tobytes(), 0
    found = []
    for end, rest in zip((_WORD * ends).tolist(), rests, strict=True):
        found.append(packed[place:end] + rest if rest else packed[place:end])
        place = end
    return found


class _Words:
    """The bytes of some sources but for their rests, which grow column by column."""

    def __init__(self, array: npt.NDArray[np.uint32], filled: _Integers) -> None:
        self.array, self.filled = array, filled

    def put(self, counts: _Integers, lines: _Lines, codes: Sequence[TypeCode]) -> None:
        """Writes columns, each with so many values for each source, behind what is there."""
        before, within, place = np.cumsum(counts) - counts, np.arange(len(lines)), 0
        for words in (WIDTH[code] // _WORD for code in codes):
            places = np.repeat(self.filled - words * before, counts)
            places += within if words == 1 else words * within
            for word in range(words):
                self.array[places] = lines[:, place + word]
                places += 1
            place += words
            self.filled = self.filled + words * counts


def _header(cut: int, last_ms: Sequence[int | None], sections: "Mapping[FamilyName, _Section]") -> _Lines:
    none = np.zeros(len(last_ms), np.int64)
    runs = [sections[family].runs if family in sections else none for family in COLUMNS]
    counts = [low | high << 16 for low, high in zip(runs[::2], runs[1::2], strict=True)]
    instants = np.array([NEVER if instant is None else instant for instant in last_ms], np.int64)
    narrow = np.column_stack([np.full(len(last_ms), FORMAT), *counts]).astype(np.uint32)
    wide = np.column_stack([np.full(len(last_ms), cut), instants])
    return np.concatenate((narrow, wide.view(np.uint32)), axis=1)


def _section(columns: TileColumns, start: int, stop: int) -> _Section:
    found = columns.arranged(start, stop)
    source, base = found.source, found.base
    begins = np.flatnonzero((source[1:] != source[:-1]) | (base[1:] != base[:-1])) + 1
    first = np.concatenate(([0], begins)) if len(source) else begins
    lengths = np.diff(first, append=len(source))
    bases = [each.tile_base for each in columns.covered]
    ids = np.array([each.base.id for each in bases], np.uint64)[base[first]]
    grains = np.array([each.grain_ms for each in bases], np.uint32)[base[first]]
    told = np.column_stack((ids.view(np.uint32).reshape(-1, 2), grains, lengths.astype(np.uint32)))
    return _Section(columns.family, np.bincount(source[first], minlength=stop - start), found.rows, told, found.words)
