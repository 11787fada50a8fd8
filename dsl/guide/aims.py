"""Aims: what a value would have to be for a clause to be as it is wanted, and the words for it."""

from dataclasses import dataclass
from typing import Final

from typing_extensions import TypeIs

from dsl.evaluate import compare, word_operator
from dsl.explain import show_value
from dsl.numbers import LARGEST, MICROS, SMALLEST
from dsl.patterns import matches
from dsl.state import Scalar, Value
from dsl.types import ARTICLE, Type

OPPOSITE: Final = {"==": "!=", "!=": "==", "<": ">=", "<=": ">", ">": "<=", ">=": "<"}
"""The comparison of two values that are there which holds where the other one does not."""
TURNED: Final = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
"""The same comparison, seen from its other side."""

_ORDER = ("<", "<=", ">", ">=")
_WORDS = {
    "contains": "a string that contains",
    "starts_with": "a string that starts with",
    "ends_with": "a string that ends with",
    "matches": "a string that matches",
    "not contains": "a string that does not contain",
    "not starts_with": "a string that does not start with",
    "not ends_with": "a string that does not end with",
    "not matches": "a string that does not match",
}
_NUMBERS = {"<": "less than {}", "<=": "at most {}", ">": "more than {}", ">=": "at least {}"}
_INSTANTS = {"<": "earlier than {}", "<=": "{} or earlier", ">": "later than {}", ">=": "{} or later"}
_STRINGS = {"<": "a string before {}", "<=": "a string up to {}", ">": "a string after {}", ">=": "a string from {} on"}
_MOST_NAMED = 12
_LONGEST = 120
_FIRST_MS, _LAST_MS = -62_135_596_800_000, 253_402_300_799_999
"""0001-01-01T00:00:00.000Z and 9999-12-31T23:59:59.999Z, the instants that have a text."""


@dataclass(frozen=True, slots=True)
class Aim:
    """What a value has to be.

    Attributes:
        operator: `in` and `not in` one of `bounds`; `is_set`; else a comparison or word operator with the one bound,
            or a word operator behind `not `. All of them but `not is_set` ask for a value that is there.
        type: of the value; `list` and `unknown` for what `contains` is asked of.
    """

    operator: str
    bounds: tuple[Scalar, ...]
    type: Type

    @classmethod
    def of_comparison(cls, operator: str, bound: Scalar, value_type: Type) -> "Aim":
        """The aim of `value <operator> bound`."""
        return cls({"==": "in", "!=": "not in"}.get(operator, operator), (bound,), value_type)

    def met_by(self, value: Value) -> bool:
        """Whether a value is what it has to be."""
        match self.operator:
            case "is_set" | "not is_set":
                return (value is not None) == (self.operator == "is_set")
            case "in":
                return value in self.bounds
            case "not in":
                return value is not None and value not in self.bounds
        if self.operator in _ORDER:
            return compare(self.operator, value, self.bounds[0])
        word = self.operator.removeprefix("not ")
        return value is not None and word_operator(word, value, self.bounds[0]) == (word == self.operator)

    def nearest_whole(self, number: int) -> int | None:
        """The whole number from 0 on that meets the aim: the next larger one, else the next smaller one.

        >>> Aim(">=", (2_500_000,), "number").nearest_whole(1), Aim("<", (2_000_000,), "number").nearest_whole(5)
        (3, 1)
        """
        near = {bound // MICROS + step for bound in self.bounds if _is_number(bound) for step in (-1, 0, 1)}
        met = [whole for whole in near if 0 <= whole * MICROS <= LARGEST and self.met_by(whole * MICROS)]
        larger = min((whole for whole in met if whole > number), default=None)
        return max((whole for whole in met if whole < number), default=None) if larger is None else larger

    def distance(self, number: int) -> int | None:
        """Micro-units from `number` to the bound; None where there is no such number.

        >>> Aim(">=", (500_000_000,), "number").distance(320_500_000)
        179500000
        """
        distances = [bound - number for bound in self.bounds if _is_number(bound)]
        if not distances or self.operator not in (*_ORDER, "in") or not self._is_possible():
            return None
        return min(distances, key=lambda distance: (distance < 0, abs(distance)))

    def phrase(self) -> str:
        """What the value has to be, to stand behind "set to", "of" or "is"; empty where there is no such value."""
        if not self._is_possible():
            return ""
        named = [show_value(bound, self.type) for bound in self.bounds]
        match self.operator:
            case "is_set":
                return ARTICLE[self.type]
            case "in":
                return named[0] if len(named) == 1 else f"one of {_listed(named)}"
            case "not in" if self.type == "boolean":
                return "false" if self.bounds[0] else "true"
            case "not in":
                article = "an instant" if self.type == "timestamp" else ARTICLE[self.type]
                return f"{article} other than {' and '.join(named)}"
            case "contains" | "not contains" if self.type != "string":
                return f"a list that {'holds' if self.operator == 'contains' else 'does not hold'} {named[0]}"
        if self.operator in _ORDER:
            forms = {"number": _NUMBERS, "timestamp": _INSTANTS}.get(self.type, _STRINGS)
            return forms[self.operator].format(named[0])
        return f"{_WORDS[self.operator]} {named[0]}"

    def _is_possible(self) -> bool:
        """Whether there is a value that meets the aim, as far as that is plain."""
        match self.operator:
            case "is_set":
                return True
            case "not in":
                both = self.type == "boolean" and len({*self.bounds}) == 2
                return bool(self.bounds) and not both and len(self.bounds) <= _MOST_NAMED
            case "<":
                return self.bounds[0] not in ("", SMALLEST if self.type == "number" else _FIRST_MS)
            case ">":
                return self.bounds[0] != (LARGEST if self.type == "number" else _LAST_MS)
            case "not contains" | "not starts_with" | "not ends_with":
                return self.bounds != ("",)
            case "not matches":
                return not matches("", str(self.bounds[0]))
        return bool(self.bounds)


def shown(value: Value, value_type: Type) -> str:
    """A value as people read it, cut where it is long."""
    text = show_value(value, value_type)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _listed(named: list[str]) -> str:
    """The first of the values; any of them will do."""
    first = ", ".join(named[:_MOST_NAMED])
    return first if len(named) <= _MOST_NAMED else f"{first}, … ({len(named)} in all)"


def _is_number(value: Scalar) -> TypeIs[int]:
    return isinstance(value, int) and not isinstance(value, bool)
