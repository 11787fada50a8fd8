"""The cells of many JSON documents at once: as `dsl.columns.flatten` gives them for one, in a tenth of the time."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from dsl.clock import Zone
from dsl.columns import Cell, Root, flatten, instant_of, tagged_items, write_path
from dsl.numbers import MICROS, bounded, read_json, read_number

_MOST_DIGITS: Final = 12
"""Digits before the point of a number that is certainly in range."""


@dataclass(slots=True)
class Cells:
    """The cells of one column.

    Attributes:
        rows: of the documents that have one, each once, in order.
    """

    rows: list[int] = field(default_factory=list)
    values: list[Cell] = field(default_factory=list)


def read_cells(
    texts: Iterable[str], root: Root, zone: Zone, refuse: Callable[[int, str], Exception]
) -> dict[str, Cells]:
    """Every column of the documents, by its name.

    Args:
        texts: JSON objects.
        zone: the project's: a date alone is the start of that date there.
        refuse: makes the error of a row that is none, from its number and what is wrong with it.
    """
    reader = _Reader("c" if root == "context" else "", zone)
    for row, text in enumerate(texts):
        try:
            document = _decode(text)
        except (msgspec.DecodeError, RecursionError):
            # It may be no JSON, or what only the slower reader forgives, such as half a surrogate pair.
            try:
                found = read_json(text)
            except ValueError as error:
                raise refuse(row, f"is no JSON: {error}") from error
            if not isinstance(found, dict):
                raise refuse(row, "is no JSON object") from None
            for name, value in flatten(found, zone, root).items():
                reader.put(name, row, value)
            continue
        if type(document) is not dict:
            raise refuse(row, "is no JSON object")
        reader.read(document, row, reader.top)
    return {name: cells for name, cells in reader.columns.items() if cells.rows}


def _fraction(text: str) -> tuple[int | None]:
    """Micro-units of a number with a point or an exponent, marked: a whole number is still to be multiplied."""
    whole, _, places = text.partition(".")
    if whole.isdigit() and places.isdigit() and len(whole) <= _MOST_DIGITS and len(places) <= 6:
        return (int(whole) * MICROS + int(places.ljust(6, "0")),)
    return (read_number(text),)


_decode: Final = msgspec.json.Decoder(float_hook=_fraction).decode


@dataclass(slots=True)
class _Place:
    """A path in the documents.

    Attributes:
        path: as column names have it.
        below: the places in it, by key.
        add: what adds a row and a value to its column, by the type of the value as it was decoded.
    """

    path: str
    below: "dict[str, _Place]" = field(default_factory=dict)
    add: dict[type, tuple[Callable[[int], None], Callable[[Any], None]]] = field(default_factory=dict)


@dataclass(slots=True)
class _Reader:
    lead: str
    zone: Zone
    columns: dict[str, Cells] = field(default_factory=dict)
    top: dict[str, _Place] = field(default_factory=dict)

    def read(self, document: dict[str, Any], row: int, places: dict[str, _Place], above: str = "") -> None:
        # A hundred thousand times a second: what is known of a place is looked up once for all documents.
        for key, sent in document.items():
            place = places.get(key)
            if place is None:
                place = places[key] = _Place(above + write_path([key]))
            kind, value = type(sent), sent
            if kind is dict:
                self.read(sent, row, place.below, f"{place.path}.")
                continue
            if kind is int:
                value = bounded(sent * MICROS)
            elif kind is tuple:
                (value,) = sent
            elif kind is list:
                value = tagged_items(_micros(item) for item in sent)
            if value is None:
                continue
            add = place.add.get(kind)
            if add is None:
                cells = self._column(f"{self.lead}{_LETTERS[kind]}_{place.path}")
                add = place.add[kind] = cells.rows.append, cells.values.append
            add[0](row)
            add[1](value)
            if kind is str and value[4:5] == "-" and (instant := instant_of(value, self.zone)) is not None:
                self.put(f"{self.lead}t_{place.path}", row, instant)

    def put(self, name: str, row: int, value: Cell) -> None:
        cells = self._column(name)
        cells.rows.append(row)
        cells.values.append(value)

    def _column(self, name: str) -> Cells:
        return self.columns.setdefault(name, Cells())


_LETTERS: Final = {str: "s", int: "n", tuple: "n", bool: "b", list: "l"}


def _micros(item: object) -> object:
    """An item of a list as `read_json` gives it."""
    if type(item) is int:
        return bounded(item * MICROS)
    return item[0] if isinstance(item, tuple) else item
