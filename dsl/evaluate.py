"""The value of a typed expression for one state: plain Python values, the same answers as the SQL."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from typing_extensions import TypeIs

from dsl import typed
from dsl.check import CheckedCatalog
from dsl.numbers import LARGEST, MICROS, SMALLEST
from dsl.state import State, Value
from dsl.types import Type

_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}
_UPPER = {lower: upper for upper, lower in _LOWER.items()}


@dataclass(slots=True)
class Evaluation:
    """Evaluates expressions of one catalog for one state; definitions are computed once and kept.

    Attributes:
        context: what the request brought along, numbers as micro-units.
    """

    checked: CheckedCatalog
    state: State
    context: Mapping[str, object] = field(default_factory=dict)
    _known: dict[str, Value] = field(default_factory=dict)

    def definition(self, key: str) -> Value:
        """Value of a trait (None is missing) or segment (always true or false)."""
        if key not in self._known:
            self._known[key] = self.value(self.checked.values[key].node)
        return self._known[key]

    def truth(self, node: typed.Node) -> bool:
        """`node` in a Boolean position: only true is true."""
        return self.value(node) is True

    def value(self, node: typed.Node) -> Value:  # noqa: C901  # one case per kind of node
        """Value of `node`; None is missing."""
        match node:
            case typed.Constant(value=value):
                return value
            case typed.Field():
                return _field_value(node, self.context if node.root == "context" else self.state.attributes)
            case typed.Reference(key=key):
                return self.definition(key)
            case typed.AggregateValue(aggregate=aggregate):
                use = self.checked.aggregates.get(aggregate.text)
                return self.state.aggregates.get(aggregate.text, use.of_nothing if use else None)
            case typed.Age():
                instant = self.value(node.instant)
                return _bounded((self.state.as_of_ms - instant) // node.unit_ms * MICROS) if _is_int(instant) else None
            case typed.Now():
                return self.state.as_of_ms
            case typed.Not(operand=operand):
                return not self.truth(operand)
            case typed.Logic(operator="&&", left=left, right=right):
                return self.truth(left) and self.truth(right)
            case typed.Logic(left=left, right=right):
                return self.truth(left) or self.truth(right)
            case typed.Compare():
                return compare(node.operator, self.value(node.left), self.value(node.right))
            case typed.Within():
                value = self.value(node.value)
                return value is not None and any(value == self.value(item) for item in node.items)
            case typed.Arithmetic():
                result = arithmetic(node.operator, self.value(node.left), self.value(node.right))
                # Timestamps are milliseconds, their difference is a number of milliseconds.
                return _bounded(result * MICROS) if result is not None and node.left.type == "timestamp" else result
            case typed.Negate(operand=operand):
                number = self.value(operand)
                return _bounded(-number) if _is_int(number) else None
            case typed.Call():
                return self._call(node)
            case typed.Items():
                return None

    def _call(self, node: typed.Call) -> Value:
        match node.function:
            case "coalesce":
                lazily = (self.value(argument) for argument in node.arguments)
                return next((value for value in lazily if value is not None), None)
            case "if":
                condition, then, otherwise = node.arguments
                return self.value(then if self.truth(condition) else otherwise)
            case "is_set":
                return self.value(node.arguments[0]) is not None
        values = [self.value(argument) for argument in node.arguments]
        if any(value is None for value in values):
            return None
        return _STRICT[node.function](*values)


def evaluate(
    node: typed.Node, state: State, checked: CheckedCatalog, context: Mapping[str, object] | None = None
) -> Value:
    """Value of `node` for `state`; None is missing.

    Args:
        context: what the request brought along, as JSON values with numbers in micro-units.
    """
    return Evaluation(checked, state, context or {}).value(node)


def compare(operator: str, left: Value, right: Value) -> bool:
    """Two-valued comparison of values of one type: false when either is missing, and `!=` is exactly `!(==)`.

    >>> compare("<", None, 1), compare("!=", None, 1), compare("==", None, None)
    (False, True, False)
    """
    if operator == "!=":
        return not compare("==", left, right)
    if left is None or right is None:
        return False
    return _COMPARE[operator](left, right)


def arithmetic(operator: str, left: Value, right: Value) -> int | None:
    """Exact arithmetic on micro-units; missing operands, overflow and division by zero are missing.

    >>> arithmetic("/", 2_000_000, 3_000_000), arithmetic("%", -7_000_000, 3_000_000), arithmetic("/", 1, 0)
    (666667, -1000000, None)
    """
    if not _is_int(left) or not _is_int(right):
        return None
    match operator:
        case "+":
            return _bounded(left + right)
        case "-":
            return _bounded(left - right)
        case "*":
            return _bounded(divide_half_away(left * right, MICROS))
        case "/":
            return _bounded(divide_half_away(left * MICROS, right)) if right else None
    if right == 0:
        return None
    remainder = abs(left) % abs(right)
    return -remainder if left < 0 else remainder


def divide_half_away(dividend: int, divisor: int) -> int:
    """The quotient rounded to the nearest integer, halves away from zero.

    >>> [divide_half_away(n, 2) for n in (-3, -1, 1, 3, 4)]
    [-2, -1, 1, 2, 2]
    """
    quotient = (2 * abs(dividend) + abs(divisor)) // (2 * abs(divisor))
    return quotient if (dividend < 0) == (divisor < 0) else -quotient


def of_type(value: object, wanted: Type) -> Value:
    """A JSON value read as `wanted`; another type is missing: there is no implicit conversion.

    >>> of_type(True, "number"), of_type(1_000_000, "number"), of_type("1", "number")
    (None, 1000000, None)
    """
    match value:
        case bool():
            return value if wanted == "boolean" else None
        case int():
            return value if wanted == "number" else None
        case str():
            return value if wanted == "string" else None
    return None


def _field_value(node: typed.Field, values: Mapping[str, object]) -> Value:
    found: object = values
    for step in node.steps:
        found = found.get(step) if isinstance(found, Mapping) else None
    return of_type(found, node.type) if node.type != "unknown" else _any_scalar(found)


def _any_scalar(value: object) -> Value:
    """A value whose type does not matter (`is_set`): anything but JSON null is there."""
    return None if value is None else True


def _bounded(number: int) -> int | None:
    return number if SMALLEST <= number <= LARGEST else None


def _is_int(value: Value) -> TypeIs[int]:
    return isinstance(value, int) and not isinstance(value, bool)


_COMPARE: dict[str, Callable[..., bool]] = {
    "==": lambda left, right: left == right,
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
}
_STRICT: dict[str, Callable[..., Value]] = {
    "abs": lambda number: _bounded(abs(number)),
    "min": min,
    "max": max,
    "lower": lambda text: text.translate(_LOWER),
    "upper": lambda text: text.translate(_UPPER),
    "length": lambda text: len(text) * MICROS,
}
