"""A mapping: which columns of somebody's files are what of an event, as frozen values."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

from dsl.clock import Zone
from dsl.identifiers import Kind

Format = Literal["parquet", "csv", "ndjson"]
Unit = Literal["s", "ms", "us"]
Given = Literal["number", "string", "boolean", "json"]
EventKind = Literal["track", "page", "screen", "identify", "alias", "group"]

FORMATS: Final[tuple[Format, ...]] = get_args(Format)
UNITS: Final[tuple[Unit, ...]] = get_args(Unit)
GIVEN: Final[tuple[Given, ...]] = get_args(Given)
"""Types that texts of a column can be read as."""
EVENT_KINDS: Final[tuple[EventKind, ...]] = get_args(EventKind)
IDENTIFIERS: Final[tuple[Kind, ...]] = ("user", "external", "email", "email_hash", "device", "anon")
"""Kinds of identifiers that a mapping may name, the strongest first."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A value of each row: what a column holds, or the same for all.

    Attributes:
        column: None where it is a constant.
        value: the constant.
        prefix: stands before the value.
    """

    column: str | None = None
    value: str = ""
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class Stamp:
    """When an event happened.

    Attributes:
        format: of a text that is not ISO 8601, in the letters of `strftime`; empty for ISO 8601.
        unit: of numbers since 1970-01-01T00:00:00Z; None for texts, dates and timestamps.
        zone: of what says no zone; None is UTC for instants and the project's zone for dates.
    """

    column: str
    format: str = ""
    unit: Unit | None = None
    zone: Zone | None = None


@dataclass(frozen=True, slots=True)
class EventId:
    """The id of an event: of a column, or made of several together with the mapping's name."""

    cell: Cell | None = None
    hashed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Properties:
    """What becomes a property (or an attribute).

    Attributes:
        columns: column by name of the property.
        others: whether all columns that are nothing else are properties, by their own names.
        all_of: the column whose JSON object holds all of them; empty when there is none.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    others: bool = False
    all_of: str = ""


@dataclass(frozen=True, slots=True)
class LoadMapping:
    """What the columns of files are.

    Attributes:
        name: of the mapping; part of derived event ids and of the route of dead letters.
        format: None goes by the name of each file.
        event: name of the event; None where no row needs one.
        kind: of the event; a constant or a column.
        attributes: of rows of kind `identify`; None is as `properties`.
        types: how texts of a column are read, by column.
        leave_out: columns that are nothing.
    """

    name: str
    identifiers: Mapping[Kind, Cell]
    ts: Stamp
    event_id: EventId
    event: Cell | None = None
    kind: Cell = Cell(value="track")
    properties: Properties = Properties(others=True)
    attributes: Properties | None = None
    previous_id: Cell | None = None
    types: Mapping[str, Given] = field(default_factory=dict)
    leave_out: frozenset[str] = frozenset()
    format: Format | None = None
    separator: str = ","

    @property
    def route(self) -> str:
        """By which way its dead letters came."""
        return f"bulk:{self.name}"

    def named(self) -> Iterator[tuple[str, str]]:
        """Every column that must be there, and what for."""
        for kind, cell in self.identifiers.items():
            if cell.column is not None:
                yield cell.column, f"identifiers.{kind}"
        for what, each in (("event", self.event), ("kind", self.kind), ("event_id", self.event_id.cell),
                           ("previous_id", self.previous_id)):  # fmt: skip
            if each is not None and each.column is not None:
                yield each.column, what
        yield self.ts.column, "ts"
        yield from ((column, "event_id.hash") for column in self.event_id.hashed)
        for what, chosen in (("properties", self.properties), ("attributes", self.attributes)):
            if chosen is not None:
                yield from ((column, f"{what}.{name}") for name, column in chosen.columns.items())
                if chosen.all_of:
                    yield chosen.all_of, f"{what}.all_of"
        yield from ((column, "types") for column in self.types)

    def taken(self) -> frozenset[str]:
        """Columns that are something else than properties where `others` are properties."""
        cells = [*self.identifiers.values(), self.event, self.kind, self.event_id.cell, self.previous_id]
        columns = {cell.column for cell in cells if cell is not None and cell.column is not None}
        documents = {chosen.all_of for chosen in (self.properties, self.attributes) if chosen is not None}
        return frozenset(columns | documents | {self.ts.column} | self.leave_out) - {""}
