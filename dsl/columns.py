"""Typed columns: where each value of a JSON document lies, so that SQL never has to read JSON.

A column is named by its type and its path: `n_amount`, `s_cart.coupon`, and with a leading `c` for an event's context:
`cs_page.path`. Numbers are micro-units, instants epoch milliseconds, lists the tagged texts of their scalars.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from dsl.clock import Zone, parse_instant
from dsl.tags import tag
from dsl.types import Type

Root = Literal["attribute", "property", "context"]
Cell = int | str | bool | list[str]
"""What one row of a typed column holds."""

LETTERS: Final[dict[Type, str]] = {"number": "n", "string": "s", "boolean": "b", "timestamp": "t", "list": "l"}
"""The first letter of the columns of a type."""
SENT: Final[tuple[Type, ...]] = ("number", "string", "boolean", "list")
"""Types of what is sent; a timestamp is a string that reads as an instant."""

_NAME: Final = re.compile(r"(c?)([nsbtl])_(.*)", re.DOTALL)
_TYPES: Final[dict[str, Type]] = {letter: value_type for value_type, letter in LETTERS.items()}
_DATED: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_NUL, _SHOWN_NUL = "\0", "\u2400"


@dataclass(frozen=True, slots=True)
class Column:
    """A typed column: of a property (or attribute) or of the context, and the path in it."""

    name: str
    context: bool
    type: Type
    path: str

    @property
    def steps(self) -> tuple[str, ...]:
        """The path's steps as they are written in JSON.

        >>> read_column("n_cart.item^Id").steps
        ('cart', 'itemId')
        """
        return read_path(self.path)


def read_column(name: str) -> Column | None:
    """The typed column of that name; None for any other column.

    >>> read_column("cs_page.path"), read_column("seq")
    (Column(name='cs_page.path', context=True, type='string', path='page.path'), None)
    """
    match = _NAME.fullmatch(name)
    return Column(name, bool(match[1]), _TYPES[match[2]], match[3]) if match else None


def typed_columns(names: Iterable[str]) -> tuple[Column, ...]:
    """The typed columns among the names, by name."""
    return tuple(column for name in sorted(names) if (column := read_column(name)) is not None)


def column_name(root: Root, steps: Iterable[str], value_type: Type) -> str:
    """The column that holds the values of a type at a path.

    >>> column_name("property", ["cart", "total"], "number"), column_name("context", ["page.x"], "string")
    ('n_cart.total', 'cs_page^.x')
    """
    return f"{'c' if root == 'context' else ''}{LETTERS[value_type]}_{write_path(steps)}"


def column_names(root: Root, steps: Sequence[str], value_type: Type) -> tuple[str, ...]:
    """The columns in which a value of a type may lie: one, or one for each type of what is sent when it is open.

    >>> column_names("attribute", ["plan"], "unknown")
    ('n_plan', 's_plan', 'b_plan', 'l_plan')
    """
    return tuple(column_name(root, steps, t) for t in (SENT if value_type == "unknown" else (value_type,)))


def write_path(steps: Iterable[str]) -> str:
    """Steps as one text that differs from every other path's, also where upper and lower case are one (as in SQL).

    `^` stands before a capital letter, and before what would otherwise have a meaning.

    >>> write_path(["orderId"]), write_path(["a.b", "c"])
    ('order^Id', 'a^.b.c')
    """
    return ".".join("".join(map(_written, step)) for step in steps)


def read_path(path: str) -> tuple[str, ...]:
    """The steps that `write_path` wrote."""
    steps, letters = [""], iter(path)
    for letter in letters:
        if letter == ".":
            steps.append("")
        else:
            kept = next(letters, "") if letter == "^" else letter
            steps[-1] += _NUL if letter == "^" and kept == _SHOWN_NUL else kept
    return tuple(steps)


def flatten(document: Mapping[str, object], zone: Zone, root: Root = "property") -> dict[str, Cell]:
    """Every value of a JSON object by the column that it belongs into; null and what is out of range have none.

    Args:
        document: numbers as micro-units, as `dsl.numbers.read_json` reads them.
        zone: the project's: a date alone is the start of that date there.

    >>> flatten({"cart": {"total": 2_500_000}, "due": "2018-01-01", "tags": ["a", True, None]}, Zone("UTC"))
    {'n_cart.total': 2500000, 's_due': '2018-01-01', 't_due': 1514764800000, 'l_tags': ['s:a', 'b:true']}
    """
    return dict(_cells(document, zone, f"{'c' if root == 'context' else ''}", ""))


def instant_of(text: str, zone: Zone) -> int | None:
    """Epoch milliseconds of a text that a field declared `timestamp` may hold; None when it is no instant.

    >>> instant_of("1970-01-01T00:00:01Z", Zone("UTC")), instant_of("soon", Zone("UTC"))
    (1000, None)
    """
    if not _DATED.match(text):
        return None
    try:
        return parse_instant(text, zone)
    except ValueError:
        return None


def tagged_items(items: Iterable[object]) -> list[str]:
    """A list of scalars as its column holds it; what is no scalar is left out."""
    return [tag(item) for item in items if isinstance(item, bool | int | str)]


def _cells(document: Mapping[str, object], zone: Zone, lead: str, above: str) -> Iterator[tuple[str, Cell]]:
    for key, value in document.items():
        path = f"{above}{write_path([key])}"
        match value:
            case bool():
                yield f"{lead}b_{path}", value
            case int():
                yield f"{lead}n_{path}", value
            case str():
                yield f"{lead}s_{path}", value
                if (instant := instant_of(value, zone)) is not None:
                    yield f"{lead}t_{path}", instant
            case list() | tuple():
                yield f"{lead}l_{path}", tagged_items(value)
            case dict():
                yield from _cells(value, zone, lead, f"{path}.")


def _written(letter: str) -> str:
    if letter == _NUL:
        return f"^{_SHOWN_NUL}"
    return f"^{letter}" if letter in ".^" or (letter.isascii() and letter.isupper()) else letter
