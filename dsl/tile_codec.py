"""The tiles of a source as bytes, which decisions read without making a Python object of each tile.

Numbers lie in columns of fixed width, run after run (a run is a base at one grain, its hops in order), so that a
publication cuts them out of columns of a table, and a window is a slice of them. What has no fixed width, or is too
large for it, is kept tile by tile.

| family | columns, little-endian |
|---|---|
| moments | hop, count, first instant after the hop's begin, last instant after the first: 32 bits each |
| numbers | hop, count: 32 bits; total, least, greatest: 64 |
| instants | hop: 32 bits; earliest, latest: 64 |
| days | hop: 32 bits |

A hop is written as its number: the first millisecond divided by the grain; of a local date the day's number.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, Literal

import msgspec

from dsl.bases import LOCAL_DAY, Base, Bases
from dsl.folds import FAMILIES, FamilyName
from dsl.tiles import Hops, HopStates, Tiles, Write

FORMAT: Final = 1
"""Bytes of another format are not read."""
TypeCode = Literal["I", "q", "Q"]
"""Of `array`: 32 bits unsigned, 64 bits signed, 64 bits unsigned."""
COLUMNS: Final[Mapping[FamilyName, Sequence[TypeCode]]] = {
    "moments": ("I", "I", "I", "I"),
    "numbers": ("I", "I", "q", "q", "q"),
    "instants": ("I", "q", "q"),
    "days": ("I",),
}
"""Each family's columns; the other families have none."""
RUNS: Final[Sequence[TypeCode]] = ("Q", "I", "I")
"""What tells the runs apart: id of the base, grain, number of rows."""

Section = Sequence[bytes | memoryview]
"""The three columns of `RUNS`, then the family's own."""
Loose = tuple[int, int, int, Any]
"""A tile by itself: id of the base, grain, number of the hop, encoded state."""


class _Packed(msgspec.Struct, array_like=True):
    format: int
    cut: int
    last_ms: int | None
    attributes: dict[str, tuple[int, str, Any]]
    sections: dict[FamilyName, list[bytes]]
    loose: list[tuple[int, int, int, Any]]


class TileFormatError(ValueError):
    """Bytes that were written by another version of this program."""


_decoder = msgspec.msgpack.Decoder(_Packed)
_encoder = msgspec.msgpack.Encoder()


def pack_source(
    cut: int,
    last_ms: int | None,
    attributes: Mapping[str, Write],
    sections: Mapping[FamilyName, Section],
    loose: Sequence[Loose] = (),
) -> bytes:
    """The tiles of a source from columns that are there already."""
    return _encoder.encode((FORMAT, cut, last_ms, attributes, sections, loose))


def pack(tiles: Tiles, bases: Bases) -> bytes:
    """The tiles of a source."""
    sections: dict[FamilyName, list[list[int]]] = {}
    loose: list[Loose] = []
    for key, grains in tiles.hops.items():
        base = bases.by_key[key]
        for grain, hops in grains.items():
            tight, others = _split(base, grain, hops)
            loose += others
            if tight:
                section = sections.setdefault(base.family, [[] for _ in _codes(base.family)])
                columns = zip(*tight, strict=True)
                for column, values in zip(section, ([base.id], [grain], [len(tight)], *columns), strict=True):
                    column.extend(values)
    packed = {family: _as_bytes(_codes(family), columns) for family, columns in sections.items()}
    return pack_source(tiles.cut, tiles.last_ms, tiles.attributes, packed, loose)


def unpack(packed: bytes, bases: Bases) -> Tiles:
    """The tiles that `pack` wrote, of the bases that are asked for.

    Raises:
        TileFormatError: another version wrote it.
    """
    try:
        found = _decoder.decode(packed)
    except msgspec.DecodeError as error:
        raise TileFormatError("the online store holds tiles of another version: `tinycdp rebuild --online`") from error
    if found.format != FORMAT:
        raise TileFormatError(f"the online store holds tiles of format {found.format}: `tinycdp rebuild --online`")
    hops: dict[str, dict[int, Hops]] = {}
    for section in found.sections.items():
        for base, grain, run in _runs(*section, bases):
            hops.setdefault(base.key, {})[grain] = run
    for base, grain, states in _loose(found.loose, bases):
        held = hops.setdefault(base.key, {})
        held[grain] = _Both(held[grain], states) if grain in held else states
    return Tiles(found.cut, hops, found.attributes, found.last_ms)


@dataclass(frozen=True, slots=True)
class PackedHops:
    """One run: the tiles of a base at one grain, in columns."""

    family: FamilyName
    unit: int
    columns: Sequence[memoryview]

    def since(self, start: int | None) -> Iterator[Any]:
        """As `dsl.tiles.Hops`: all that it holds from a hop on is one state."""
        hops, *columns = self.columns
        first = 0 if start is None else bisect_left(hops, -(-start // self.unit))
        if first >= len(hops):
            return
        parts = [column[first:] for column in columns] if first else columns
        match self.family:
            case "moments":
                counts, lows, spans = parts
                last = hops[-1] * self.unit + lows[-1] + spans[-1]
                yield sum(counts), hops[first] * self.unit + lows[0], last
            case "numbers":
                counts, totals, least, greatest = parts
                yield sum(counts), sum(totals), min(least), max(greatest)
            case "instants":
                earliest, latest = parts
                yield min(earliest), max(latest)
            case _:
                yield frozenset(hops[first:])

    def items(self) -> Iterator[tuple[int, Any]]:
        """As `dsl.tiles.Hops`."""
        for hop, *row in zip(*self.columns, strict=True):
            start = hop * self.unit
            match self.family:
                case "moments":
                    count, low, span = row
                    yield start, (count, start + low, start + low + span)
                case "days":
                    yield start, frozenset((hop,))
                case _:
                    yield start, tuple(row)


@dataclass(frozen=True, slots=True)
class _Both:
    """A run, and tiles of it that do not fit into its columns."""

    run: Hops
    states: Hops

    def since(self, start: int | None) -> Iterator[Any]:
        yield from self.run.since(start)
        yield from self.states.since(start)

    def items(self) -> Iterator[tuple[int, Any]]:
        yield from self.run.items()
        yield from self.states.items()


def _runs(family: FamilyName, columns: Sequence[bytes], bases: Bases) -> Iterator[tuple[Base, int, PackedHops]]:
    read = [memoryview(column).cast(code) for code, column in zip(_codes(family), columns, strict=True)]
    start = 0
    for id_, grain, rows in zip(*read[:3], strict=True):
        end = start + rows
        if (base := bases.by_id.get(id_)) is not None:
            yield base, grain, PackedHops(family, grain or 1, [column[start:end] for column in read[3:]])
        start = end


def _codes(family: FamilyName) -> Sequence[TypeCode]:
    return (*RUNS, *COLUMNS[family])


def _loose(loose: Iterable[Loose], bases: Bases) -> Iterator[tuple[Base, int, HopStates]]:
    for (id_, grain), tiles in groupby(loose, key=itemgetter(0, 1)):
        if (base := bases.by_id.get(id_)) is not None:
            decode = FAMILIES[base.family].decode
            yield base, grain, HopStates({hop * (grain or 1): decode(state) for _, _, hop, state in tiles})


def _split(base: Base, grain: int, hops: Hops) -> tuple[list[tuple[int, ...]], list[Loose]]:
    """Rows of the tiles that fit into columns, in order, and the others."""
    tight: list[tuple[int, ...]] = []
    loose: list[Loose] = []
    unit = 1 if grain == LOCAL_DAY else grain
    for start, state in sorted(hops.items(), key=itemgetter(0)):
        row = _row(base.family, start, start // unit, state)
        if row is not None and fits(base.family, row):
            tight.append(row)
        else:
            loose.append((base.id, grain, start // unit, FAMILIES[base.family].encode(state)))
    return tight, loose


def _row(family: FamilyName, start: int, hop: int, state: Any) -> tuple[int, ...] | None:
    match family:
        case "moments":
            count, low, high = state
            return hop, count, low - start, high - low
        case "numbers" | "instants":
            return hop, *state
        case "days":
            return (hop,)
    return None


def fits(family: FamilyName, row: Sequence[int]) -> bool:
    """Whether a row has room in the columns of its family."""
    return all(
        0 <= value < 2**32 if code == "I" else -(2**63) <= value < 2**63
        for code, value in zip(COLUMNS[family], row, strict=True)
    )


def _as_bytes(codes: Sequence[TypeCode], columns: Sequence[Sequence[int]]) -> list[bytes]:
    return [array(code, column).tobytes() for code, column in zip(codes, columns, strict=True)]
