"""The tiles of a source as bytes, which decisions read without making a Python object of each tile.

Numbers lie in rows of fixed width, run after run (a run is a base at one grain, its hops in order), so that a
publication cuts them out of the rows of a table, and a window is a slice of them. What has no fixed width, or is too
large for it, is kept tile by tile.

| part | bytes, little-endian |
|---|---|
| header | format: 32 bits; number of runs of each family: 16 bits; cut, instant of the newest event: 64 |
| of each family | a row each run: base, grain, number of its tiles: 64, 32, 32 bits; then a row each tile, below |
| the rest | MessagePack of attributes and tiles by themselves, by base and grain; nothing when there are neither |

| family | columns of a row |
|---|---|
| moments | hop, count, first instant after the hop's begin, last instant after the first: 32 bits each |
| numbers | hop, count: 32 bits; total, least, greatest: 64 |
| instants | hop, zero: 32 bits; earliest, latest: 64 |
| days | hop: 32 bits |

A hop is written as its number: the first millisecond divided by the grain; of a local date the day's number.
"""

import struct
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import starmap
from operator import itemgetter
from typing import Any, Final, Literal, NamedTuple

import msgspec

from dsl.bases import LOCAL_DAY, Base, Bases
from dsl.folds import FAMILIES, FamilyName
from dsl.tiles import Hops, HopStates, Tiles, Write

FORMAT: Final = 4
"""Bytes of another format are not read."""
TypeCode = Literal["I", "q", "Q"]
"""Of `struct`: 32 bits unsigned, 64 bits signed, 64 bits unsigned."""
COLUMNS: Final[Mapping[FamilyName, Sequence[TypeCode]]] = {
    "moments": ("I", "I", "I", "I"),
    "numbers": ("I", "I", "q", "q", "q"),
    "instants": ("I", "I", "q", "q"),
    "days": ("I",),
}
"""Each family's columns; the other families have none. Each begins at a multiple of its width."""
RUNS: Final[Sequence[TypeCode]] = ("Q", "I", "I")
"""What tells the runs apart: id of the base, grain, number of tiles."""
WIDTH: Final[Mapping[TypeCode, int]] = {"I": 4, "q": 8, "Q": 8}
"""Bytes of a value."""

Loose = tuple[int, int, int, Any]
"""A tile by itself: id of the base, grain, number of the hop, encoded state."""

HEADER: Final = struct.Struct("<I4Hqq")
"""Format, runs of each family, cut, instant of the newest event."""
NEVER: Final = -(2**63)
"""Written for no event at all."""


class _Rest(msgspec.Struct, array_like=True, gc=False):
    attributes: dict[str, tuple[int, str, Any]]
    loose: dict[int, dict[int, msgspec.Raw]]


class TileFormatError(ValueError):
    """Bytes that were written by another version of this program."""


_decoder = msgspec.msgpack.Decoder(_Rest)
_loose_decoder = msgspec.msgpack.Decoder(list[tuple[int, Any]])
_raw_decoder = msgspec.msgpack.Decoder(list[tuple[int, msgspec.Raw]])
_encoder = msgspec.msgpack.Encoder()
_FORMAT: Final = FORMAT.to_bytes(4, "little")
_RUN_CODES: Final = "".join(RUNS)
_RUN: Final = struct.Struct("<" + _RUN_CODES)
_PLACES: Final = {
    family: [(sum(WIDTH[each] for each in codes[:number]) // WIDTH[code], code) for number, code in enumerate(codes)]
    for family, codes in COLUMNS.items()
}
"""Where each column begins, counted in values of its own width."""
_ROWS: Final = {family: struct.Struct("<" + "".join(codes)) for family, codes in COLUMNS.items()}
_HOP: Final = itemgetter(0)
_NO_REST: Final = _Rest({}, {})
_NOTHING: Final = _encoder.encode({})


def pack_attributes(attributes: Mapping[str, Write]) -> bytes:
    """The attributes of a source."""
    return _encoder.encode(attributes)


def pack_rest(attributes: bytes, loose: Sequence[Loose]) -> bytes:
    """What of a source lies in no column.

    Args:
        attributes: as `pack_attributes` writes them; nothing for none.
    """
    if not attributes and not loose:
        return b""
    by_base: dict[int, dict[int, list[tuple[int, Any]]]] = {}
    for base_id, grain, hop, state in loose:
        by_base.setdefault(base_id, {}).setdefault(grain, []).append((hop, state))
    # A list of two.
    return b"\x92" + (attributes or _NOTHING) + (_encoder.encode(by_base) if by_base else _NOTHING)


def pack(tiles: Tiles, bases: Bases) -> bytes:
    """The tiles of a source."""
    sections: dict[FamilyName, tuple[list[bytes], list[bytes]]] = {}
    loose: list[Loose] = []
    for key, grains in tiles.hops.items():
        base = bases.by_key[key]
        for grain, hops in grains.items():
            tight, others = _split(base, grain, hops)
            loose += others
            if tight:
                runs, rows = sections.setdefault(base.family, ([], []))
                runs.append(_RUN.pack(base.id, grain, len(tight)))
                rows += starmap(_ROWS[base.family].pack, tight)
    written = [sections.get(family, ([], [])) for family in COLUMNS]
    counts = (len(runs) for runs, _ in written)
    header = HEADER.pack(FORMAT, *counts, tiles.cut, NEVER if tiles.last_ms is None else tiles.last_ms)
    content = (part for runs, rows in written for part in (*runs, *rows))
    attributes = pack_attributes(tiles.attributes) if tiles.attributes else b""
    return b"".join((header, *content, pack_rest(attributes, loose)))


def unpack(packed: bytes, bases: Bases) -> Tiles:
    """The tiles that `pack` wrote, of the bases that are asked for.

    Raises:
        TileFormatError: another version wrote it.
    """
    if not packed.startswith(_FORMAT):
        raise TileFormatError("the online store holds tiles of another version: `tinycdp rebuild --online`")
    _, *counts, cut, last_ms = HEADER.unpack_from(packed)
    hops: dict[str, dict[int, Hops]] = {}
    start = HEADER.size
    for family, runs in zip(COLUMNS, counts, strict=True):
        if runs:
            start = _unpack_family(packed, start, family, runs, bases, hops)
    rest = _decoder.decode(memoryview(packed)[start:]) if start < len(packed) else _NO_REST
    for base_id, grains in rest.loose.items():
        if (base := bases.by_id.get(base_id)) is not None:
            held = hops.setdefault(base.key, {})
            for grain, encoded in grains.items():
                states = LooseHops(base.family, grain or 1, encoded)
                held[grain] = _Both(held[grain], states) if grain in held else states
    return Tiles(cut, hops, rest.attributes, None if last_ms == NEVER else last_ms)


class _Section:
    """All runs of a family, whose columns are cut when the first of them is asked for."""

    __slots__ = ("_columns", "_family", "_rows")

    def __init__(self, family: FamilyName, rows: memoryview) -> None:
        self._family = family
        self._rows = rows
        self._columns: Sequence[memoryview] | None = None

    @property
    def columns(self) -> Sequence[memoryview]:
        """As `COLUMNS` has them."""
        if self._columns is None:
            rows, size = self._rows, _ROWS[self._family].size
            self._columns = [rows.cast(code)[place :: size // WIDTH[code]] for place, code in _PLACES[self._family]]
        return self._columns


class PackedHops(NamedTuple):
    """One run: the tiles of a base at one grain, in rows.

    Attributes:
        section: all runs of the family.
        begin: its first row in them; `end` is after its last one.
    """

    family: FamilyName
    unit: int
    section: "_Section"
    begin: int
    end: int

    def since(self, start: int | None) -> Iterable[Any]:
        """As `dsl.tiles.Hops`: all that it holds from a hop on is one state."""
        section, end, unit = self.section.columns, self.end, self.unit
        hops = section[0]
        first = self.begin if start is None else bisect_left(hops, -(-start // unit), self.begin, end)
        if first >= end:
            return ()
        match self.family:
            case "moments":
                _, counts, lows, spans = section
                last = hops[end - 1] * unit + lows[end - 1] + spans[end - 1]
                return ((sum(counts[first:end].tolist()), hops[first] * unit + lows[first], last),)
            case "numbers":
                _, counts, totals, least, greatest = section
                total, lowest = sum(totals[first:end].tolist()), min(least[first:end].tolist())
                return ((sum(counts[first:end].tolist()), total, lowest, max(greatest[first:end].tolist())),)
            case "instants":
                return ((min(section[2][first:end]), max(section[3][first:end])),)
        return (frozenset(hops[first:end]),)

    def first(self, start: int) -> int | None:
        """As `dsl.tiles.Hops`."""
        hops = self.section.columns[0]
        found = bisect_left(hops, -(-start // self.unit), self.begin, self.end)
        return hops[found] * self.unit if found < self.end else None

    def items(self) -> Iterator[tuple[int, Any]]:
        """As `dsl.tiles.Hops`."""
        for hop, *row in zip(*(column[self.begin : self.end] for column in self.section.columns), strict=True):
            start = hop * self.unit
            match self.family:
                case "moments":
                    count, low, span = row
                    yield start, (count, start + low, start + low + span)
                case "days":
                    yield start, frozenset((hop,))
                case "instants":
                    yield start, tuple(row[1:])
                case _:
                    yield start, tuple(row)


@dataclass(slots=True)
class LooseHops:
    """Tiles of a base at one grain that lie in no column: read when they are first asked for.

    Attributes:
        encoded: number of the hop and encoded state of each.
    """

    family: FamilyName
    unit: int
    encoded: msgspec.Raw
    _states: HopStates | None = None

    def since(self, start: int | None) -> Iterable[Any]:
        """As `dsl.tiles.Hops`; of the first and the last event the earliest and the latest of these hops know all."""
        if self.family != "ends":
            return self._read().since(start)
        decode, held = FAMILIES[self.family].decode, _raw_decoder.decode(self.encoded)
        if start is not None:
            held = [tile for tile in held if tile[0] * self.unit >= start]
        chosen = (min(held, key=_HOP), max(held, key=_HOP)) if len(held) > 1 else held
        return [decode(msgspec.msgpack.decode(state)) for _, state in chosen]

    def first(self, start: int) -> int | None:
        """As `dsl.tiles.Hops`."""
        return self._read().first(start)

    def items(self) -> Iterable[tuple[int, Any]]:
        """As `dsl.tiles.Hops`."""
        return self._read().items()

    def _read(self) -> HopStates:
        if self._states is None:
            decode, unit = FAMILIES[self.family].decode, self.unit
            decoded = _loose_decoder.decode(self.encoded)
            self._states = HopStates({hop * unit: decode(state) for hop, state in decoded})
        return self._states


@dataclass(frozen=True, slots=True)
class _Both:
    """A run, and tiles of it that do not fit into its columns."""

    run: Hops
    states: Hops

    def since(self, start: int | None) -> Iterator[Any]:
        yield from self.run.since(start)
        yield from self.states.since(start)

    def first(self, start: int) -> int | None:
        found = (self.run.first(start), self.states.first(start))
        return min((hop for hop in found if hop is not None), default=None)

    def items(self) -> Iterator[tuple[int, Any]]:
        yield from self.run.items()
        yield from self.states.items()


def _unpack_family(  # one step of `unpack`
    packed: bytes, start: int, family: FamilyName, runs: int, bases: Bases, hops: dict[str, dict[int, Hops]]
) -> int:
    """Puts the runs of a family into `hops`; where the next family begins."""
    told = struct.unpack_from("<" + runs * _RUN_CODES, packed, start)
    lengths = told[2::3]
    start += _RUN.size * runs
    end = start + _ROWS[family].size * int(sum(lengths))
    section, row = _Section(family, memoryview(packed)[start:end]), 0
    for id_, grain, length in zip(told[::3], told[1::3], lengths, strict=True):
        if (base := bases.by_id.get(id_)) is not None:
            hops.setdefault(base.key, {})[grain] = PackedHops(family, grain or 1, section, row, row + length)
        row += length
    return end


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
        case "numbers":
            return hop, *state
        case "instants":
            return hop, 0, *state
        case "days":
            return (hop,)
    return None


def fits(family: FamilyName, row: Sequence[int]) -> bool:
    """Whether a row has room in the columns of its family."""
    return all(
        0 <= value < 2**32 if code == "I" else -(2**63) <= value < 2**63
        for code, value in zip(COLUMNS[family], row, strict=True)
    )
