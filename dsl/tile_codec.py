"""The tiles of a source as bytes, which decisions read without making a Python object of each tile.

Numbers lie in rows of fixed width, run after run (a run is a base at one grain, its hops in order), so that a
publication cuts them out of the rows of a table, and a window is a slice of them. What has no fixed width, or is too
large for it, is kept tile by tile.

| part | bytes, little-endian |
|---|---|
| header | format: 32 bits; number of runs of each layout: 16, and 16 of nothing; cut, instant of the newest event: 64 |
| runs | a row each, layout by layout: base: 64 bits; grain, number of tiles: 32; instant of the newest event: 64 |
| tiles | a row each, run by run, below |
| the rest | MessagePack of attributes and of tiles by themselves, in order, by base and grain; nothing for neither |

| layout | columns of a row |
|---|---|
| firsts | count: 16 bits; first instant: 48 |
| spans | the same, and the last instant: 64 |
| numbers | hop, count: 32 bits; total, least, greatest: 64 |
| instants | hop, zero: 32 bits; earliest, latest: 64 |
| days | hop: 32 bits |

A hop is written as its number: the first millisecond divided by the grain; of a local date the day's number. Where
there is a first instant, it tells the hop. All windows reach up to now: of `firsts` only the newest event of a run is
known to be the last of its hop, which is all that any window asks for; what looks at hops one by one has `spans`.
"""

import struct
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, starmap
from operator import itemgetter
from typing import Any, Final, Literal

import msgspec

from dsl.bases import LOCAL_DAY, Base, Bases
from dsl.folds import FAMILIES, FamilyName
from dsl.tiles import Hops, HopStates, Run, Tiles, Write

FORMAT: Final = 5
"""Bytes of another format are not read."""
Layout = Literal["firsts", "spans", "numbers", "instants", "days"]
"""How tiles lie in rows."""
TypeCode = Literal["I", "q", "Q"]
"""Of `struct`: 32 bits unsigned, 64 bits signed, 64 bits unsigned."""
COLUMNS: Final[Mapping[Layout, Sequence[TypeCode]]] = {
    "firsts": ("Q",),
    "spans": ("Q", "q"),
    "numbers": ("I", "I", "q", "q", "q"),
    "instants": ("I", "I", "q", "q"),
    "days": ("I",),
}
"""Each layout's columns, the first of which tells the order. Each begins at a multiple of its width."""
COUNT_BITS: Final = 16
"""Of a count that lies below a first instant."""
RUNS: Final[Sequence[TypeCode]] = ("Q", "I", "I", "q")
"""What tells the runs apart: id of the base, grain, number of tiles; of `firsts` the instant of the newest event."""
WIDTH: Final[Mapping[TypeCode, int]] = {"I": 4, "q": 8, "Q": 8}
"""Bytes of a value."""
_LEAST: Final[Mapping[TypeCode, int]] = {"I": 0, "q": -(2**63), "Q": 0}
_MOST: Final[Mapping[TypeCode, int]] = {"I": 2**32 - 1, "q": 2**63 - 1, "Q": 2**64 - 1}

Loose = tuple[int, int, int, Any]
"""A tile by itself: id of the base, grain, number of the hop, encoded state."""

HEADER: Final = struct.Struct("<I5H2xqq")
"""Format, runs of each layout, cut, instant of the newest event."""
NEVER: Final = -(2**63)
"""Written for no event at all."""


class _Rest(msgspec.Struct, array_like=True, gc=False):
    attributes: dict[str, tuple[int, str, Any]]
    loose: dict[int, dict[int, msgspec.Raw]]


class TileFormatError(ValueError):
    """Bytes that were written by another version of this program."""


_decoder = msgspec.msgpack.Decoder(_Rest)
_loose_decoder = msgspec.msgpack.Decoder(list[tuple[int, Any]])
_raw_decoder = msgspec.msgpack.Decoder(list[msgspec.Raw])
_tile_decoder = msgspec.msgpack.Decoder(tuple[int, Any])
_encoder = msgspec.msgpack.Encoder()
_FORMAT: Final = FORMAT.to_bytes(4, "little")
_RUN_CODES: Final = "".join(RUNS)
_RUN: Final = struct.Struct("<" + _RUN_CODES)
_PLACES: Final = {
    layout: [(sum(WIDTH[each] for each in codes[:number]) // WIDTH[code], code) for number, code in enumerate(codes)]
    for layout, codes in COLUMNS.items()
}
"""Where each column begins, counted in values of its own width."""
_ROWS: Final = {layout: struct.Struct("<" + "".join(codes)) for layout, codes in COLUMNS.items()}
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
    sections: dict[Layout, tuple[list[bytes], list[bytes]]] = {}
    loose: list[Loose] = []
    for (base_id, grain), hops in tiles.hops.items():
        base = bases.by_id[base_id]
        layout = layout_of(base)
        tight, others, last_ms = _split(base, layout, grain, hops)
        loose += others
        if layout is not None and tight:
            runs, rows = sections.setdefault(layout, ([], []))
            runs.append(_RUN.pack(base_id, grain, len(tight), last_ms))
            rows += starmap(_ROWS[layout].pack, tight)
    written = [sections.get(layout, ([], [])) for layout in COLUMNS]
    counts = (len(runs) for runs, _ in written)
    header = HEADER.pack(FORMAT, *counts, tiles.cut, NEVER if tiles.last_ms is None else tiles.last_ms)
    content = chain.from_iterable((*(runs for runs, _ in written), *(rows for _, rows in written)))
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
    hops = PackedRuns(packed, counts, bases)
    return Tiles(cut, hops, hops.attributes, None if last_ms == NEVER else last_ms)


class PackedRuns(Mapping[Run, Hops]):
    """The runs of a source, each made when it is asked for.

    Attributes:
        attributes: of the source.
    """

    __slots__ = ("_bases", "_ends", "_lasts", "_loose", "_places", "_sections", "attributes")

    def __init__(self, packed: bytes, counts: Sequence[int], bases: Bases) -> None:
        runs = sum(counts)
        told = struct.unpack_from("<" + runs * _RUN_CODES, packed, HEADER.size)
        self._bases = bases
        self._places = dict(zip(zip(told[::4], told[1::4], strict=True), range(runs), strict=True))
        self._ends = ends = [0, *accumulate(told[2::4])]
        self._lasts = told[3::4]
        self._sections: list[_Section] = []
        content, start, first = memoryview(packed), HEADER.size + _RUN.size * runs, 0
        for layout, count in zip(COLUMNS, counts, strict=True):
            if count:
                before, first = ends[first], first + count
                end = start + _ROWS[layout].size * (ends[first] - before)
                self._sections += [_Section(layout, content[start:end], before)] * count
                start = end
        rest = _decoder.decode(content[start:]) if start < len(packed) else _NO_REST
        self.attributes, self._loose = rest.attributes, rest.loose

    def get(self, run: Run, default: Any = None) -> Any:
        """The tiles of a run."""
        place = self._places.get(run)
        found = default if place is None else self._run(place, run[1])
        loose = self._loose.get(run[0])
        if loose is None or run[1] not in loose:
            return found
        states = LooseHops(self._bases.by_id[run[0]].family, run[1] or 1, loose[run[1]])
        return states if place is None else _Both(found, states)

    def __getitem__(self, run: Run) -> Hops:
        found: Hops | None = self.get(run)
        if found is None:
            raise KeyError(run)
        return found

    def __iter__(self) -> Iterator[Run]:
        loose = ((base_id, grain) for base_id, grains in self._loose.items() for grain in grains)
        return (run for run in dict.fromkeys((*self._places, *loose)) if run[0] in self._bases.by_id)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _run(self, place: int, grain: int) -> "PackedHops":
        ends, section = self._ends, self._sections[place]
        begin, end = ends[place] - section.before, ends[place + 1] - section.before
        return PackedHops(grain or 1, section, begin, end, self._lasts[place])


class _Section:
    """All runs of a layout, whose columns are cut when the first of them is asked for.

    Attributes:
        before: number of the tiles of other layouts that lie before them.
        by_instant: the first column has instants, and counts below them; else numbers of hops.
    """

    __slots__ = ("_columns", "_rows", "before", "by_instant", "layout")

    def __init__(self, layout: Layout, rows: memoryview, before: int) -> None:
        self.layout = layout
        self.before = before
        self.by_instant = COLUMNS[layout][0] == "Q"
        self._rows = rows
        self._columns: Sequence[memoryview] | None = None

    @property
    def columns(self) -> Sequence[memoryview]:
        """As `COLUMNS` has them; the last one is what lies below first instants."""
        if self._columns is None:
            rows, size = self._rows, _ROWS[self.layout].size
            columns = [rows.cast(code)[place :: size // WIDTH[code]] for place, code in _PLACES[self.layout]]
            self._columns = [*columns, rows.cast("H")[:: size // 2]] if self.by_instant else columns
        return self._columns


class _Numbers(Sequence[int]):
    """A state of numbers: each of its parts is folded when it is asked for, as a sum needs no extremes."""

    __slots__ = ("_columns",)

    def __init__(self, columns: Sequence[memoryview]) -> None:
        self._columns = columns

    def __getitem__(self, place: Any) -> Any:
        return _PARTS[place](self._columns[place].tolist())

    def __len__(self) -> int:
        return len(_PARTS)


_PARTS: Final[Sequence[Callable[[list[int]], int]]] = (sum, sum, min, max)


class PackedHops(msgspec.Struct, frozen=True, gc=False):
    """One run: the tiles of a base at one grain, in rows.

    Attributes:
        section: all runs of the layout.
        begin: its first row in them; `end` is after its last one.
        last_ms: of `firsts`, the instant of the newest event.
    """

    unit: int
    section: _Section
    begin: int
    end: int
    last_ms: int

    def since(self, start: int | None) -> Iterable[Any]:
        """As `dsl.tiles.Hops`: all that it holds from a hop on is one state."""
        section, end = self.section, self.end
        columns = section.columns
        first = self._row(columns[0], start)
        if first >= end:
            return ()
        match section.layout:
            case "firsts":
                return ((sum(columns[1][first:end].tolist()), columns[0][first] >> COUNT_BITS, self.last_ms),)
            case "spans":
                count = sum(columns[2][first:end].tolist())
                return ((count, columns[0][first] >> COUNT_BITS, columns[1][end - 1]),)
            case "numbers":
                return (_Numbers([column[first:end] for column in columns[1:]]),)
            case "instants":
                return ((min(columns[2][first:end]), max(columns[3][first:end])),)
        return (frozenset(columns[0][first:end]),)

    def first(self, start: int) -> int | None:
        """As `dsl.tiles.Hops`."""
        told = self.section.columns[0]
        found = self._row(told, start)
        return self._hop(told[found]) if found < self.end else None

    def items(self) -> Iterator[tuple[int, Any]]:
        """As `dsl.tiles.Hops`; of `firsts` the last instant of each hop but the newest is said to be its first."""
        columns = (column[self.begin : self.end] for column in self.section.columns)
        for place, (told, *row) in enumerate(zip(*columns, strict=True), self.begin + 1):
            start, first_ms = self._hop(told), told >> COUNT_BITS
            match self.section.layout:
                case "firsts":
                    yield start, (row[0], first_ms, self.last_ms if place == self.end else first_ms)
                case "spans":
                    yield start, (row[1], first_ms, row[0])
                case "days":
                    yield start, frozenset((told,))
                case "instants":
                    yield start, tuple(row[1:])
                case _:
                    yield start, tuple(row)

    def _row(self, told: memoryview, start: int | None) -> int:
        """The first row of a hop or of a later one."""
        if start is None:
            return self.begin
        least = start << COUNT_BITS if self.section.by_instant else -(-start // self.unit)
        return bisect_left(told, least, self.begin, self.end)

    def _hop(self, told: int) -> int:
        return (told >> COUNT_BITS) // self.unit * self.unit if self.section.by_instant else told * self.unit


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
        held = _raw_decoder.decode(self.encoded)
        if start is not None:
            hops = (_tile_decoder.decode(tile)[0] for tile in held)
            held = held[next((place for place, hop in enumerate(hops) if hop * self.unit >= start), len(held)) :]
        decode, chosen = FAMILIES[self.family].decode, held if len(held) < 2 else (held[0], held[-1])
        return [decode(_tile_decoder.decode(tile)[1]) for tile in chosen]

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


def layout_of(base: Base) -> Layout | None:
    """How the tiles of a base lie in rows; None for by themselves."""
    match base.family:
        case "moments":
            return "spans" if base.looks_before else "firsts"
        case "numbers" | "instants" | "days":
            return base.family
    return None


def _split(base: Base, layout: Layout | None, grain: int, hops: Hops) -> tuple[list[tuple[int, ...]], list[Loose], int]:
    """Rows of the tiles that fit into columns, in order, and the others; of `firsts` the newest instant of the rows."""
    tight: list[tuple[int, ...]] = []
    loose: list[Loose] = []
    newest_ms = 0
    unit = 1 if grain == LOCAL_DAY else grain
    for start, state in sorted(hops.items(), key=itemgetter(0)):
        row = None if layout is None else _row(layout, start // unit, state)
        if row is None:
            loose.append((base.id, grain, start // unit, FAMILIES[base.family].encode(state)))
        else:
            tight.append(row)
            newest_ms = state[2] if layout == "firsts" else 0
    return tight, loose, newest_ms


def _row(layout: Layout, hop: int, state: Any) -> tuple[int, ...] | None:
    """None when it has no room in the columns of its layout."""
    row: tuple[int, ...]
    match layout:
        case "firsts" | "spans":
            count, first_ms, last_ms = state
            if count >> COUNT_BITS:
                return None
            row = (first_ms << COUNT_BITS | count,) if layout == "firsts" else (first_ms << COUNT_BITS | count, last_ms)
        case "numbers":
            row = hop, *state
        case "instants":
            row = hop, 0, *state
        case "days":
            row = (hop,)
    fits = (_LEAST[code] <= value <= _MOST[code] for code, value in zip(COLUMNS[layout], row, strict=True))
    return row if all(fits) else None
