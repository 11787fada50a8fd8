"""The value of a typed expression for one state: plain Python values, the same answers as the SQL."""

import operator as operators
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from typing_extensions import TypeIs

from dsl import typed
from dsl.aggregates import AGGREGATES
from dsl.calls import STRICT, bucket_share, to_number, to_text
from dsl.check import CheckedCatalog
from dsl.clock import UTC_ZONE, Zone
from dsl.columns import instant_of, tagged_items
from dsl.event import Event
from dsl.numbers import MICROS, bounded, divide_half_away
from dsl.patterns import matches
from dsl.state import State, Value
from dsl.tags import untag
from dsl.typed_text import text_of
from dsl.types import Type


@dataclass(slots=True)
class Evaluation:
    """Evaluates expressions of one catalog for one state; definitions are computed once and kept.

    Attributes:
        context: what the request brought along, numbers as micro-units; inside a filter that of the event.
        properties: those of the event, inside a filter.
        truths: of conditions that were asked already, by identity; None where they are not asked twice, or of several
            events.
    """

    checked: CheckedCatalog
    state: State
    context: Mapping[str, object] = field(default_factory=dict)
    properties: Mapping[str, object] = field(default_factory=dict)
    truths: dict[int, tuple[typed.Node, bool]] | None = None
    _known: dict[str, Value] = field(default_factory=dict)

    def definition(self, key: str) -> Value:
        """Value of a trait (None is missing) or segment (always true or false)."""
        if key not in self._known:
            definition = self.checked.values[key]
            of_kind = self.truth if definition.kind == "segment" else self.value
            self._known[key] = of_kind(definition.node)
        return self._known[key]

    def truth(self, node: typed.Node) -> bool:
        """`node` in a Boolean position: only true is true."""
        if self.truths is None:
            return self.value(node) is True
        known = self.truths.get(id(node))
        if known is None:
            # The node is kept, so that no other one is given its identity.
            known = self.truths[id(node)] = node, self.value(node) is True
        return known[1]

    def value(self, node: typed.Node) -> Value:
        """Value of `node`; None is missing."""
        return self._VALUES[type(node)](self, node)

    def _field(self, node: typed.Field) -> Value:
        return field_value(node, self._root(node), self.checked.zone)

    def _reference(self, node: typed.Reference) -> Value:
        return self.definition(node.key)

    def _aggregate(self, node: typed.AggregateValue) -> Value:
        aggregate = node.aggregate
        try:
            return self.state.aggregates[aggregate.key]
        except KeyError:
            return AGGREGATES[aggregate.function].of_nothing

    def _age(self, node: typed.Age) -> Value:
        instant = self.value(node.instant)
        return bounded((self.state.as_of_ms - instant) // node.unit_ms * MICROS) if _is_int(instant) else None

    def _logic(self, node: typed.Logic) -> Value:
        absorbing, truth = node.operator == "||", self.truth
        for operand in node.operands:
            if truth(operand) == absorbing:
                return absorbing
        return not absorbing

    def _compare(self, node: typed.Compare) -> Value:
        left, right = node.left, node.right
        # Most comparisons are with a constant.
        value = right.value if type(right) is typed.Constant else self.value(right)
        return compare(node.operator, self.value(left), value)

    def _within(self, node: typed.Within) -> Value:
        value = self.value(node.value)
        return value is not None and any(value == self.value(item) for item in node.items)

    def _arithmetic(self, node: typed.Arithmetic) -> Value:
        result = arithmetic(node.operator, self.value(node.left), self.value(node.right))
        # Timestamps are milliseconds, their difference is a number of milliseconds.
        return bounded(result * MICROS) if result is not None and node.left.type == "timestamp" else result

    def _negate(self, node: typed.Negate) -> Value:
        number = self.value(node.operand)
        return bounded(-number) if _is_int(number) else None

    def _call(self, node: typed.Call) -> Value:
        match node.function:
            case "coalesce":
                lazily = (self.value(argument) for argument in node.arguments)
                return next((value for value in lazily if value is not None), None)
            case "if":
                condition, then, otherwise = node.arguments
                return self.value(then if self.truth(condition) else otherwise)
            case "is_set":
                return self._is_set(node.arguments[0])
            case "bucket":
                return bucket_share(str(self.value(node.arguments[0])), self.state.profile_id)
            case "percent_rank":
                return self.state.aggregates.get(text_of(node))
            case "text" | "number":
                (argument,) = node.arguments
                convert = to_text if node.function == "text" else to_number
                return convert(self.value(argument), argument.type)
        values = [self.value(argument) for argument in node.arguments]
        if any(value is None for value in values):
            return None
        return STRICT[node.function](*values)

    def _is_set(self, node: typed.Node) -> bool:
        if isinstance(node, typed.Field) and node.type == "unknown":
            # A list or an object is there, though no type of the language holds it.
            return raw_value(node, self._root(node)) is not None
        return self.value(node) is not None

    def _root(self, node: typed.Field) -> Mapping[str, object]:
        match node.root:
            case "attribute":
                return self.state.attributes
            case "property":
                return self.properties
        return self.context

    def of_event(self, event: Event) -> "Evaluation":
        """The same evaluation inside a filter, over this event."""
        return replace(self, properties=event.properties, context=event.context, truths=None)

    _VALUES: ClassVar[dict[type[typed.Node], Callable[["Evaluation", Any], Value]]] = {
        typed.Constant: lambda _, node: node.value,
        typed.Field: _field,
        typed.Reference: _reference,
        typed.AggregateValue: _aggregate,
        typed.Age: _age,
        typed.Now: lambda evaluation, _: evaluation.state.as_of_ms,
        typed.Not: lambda evaluation, node: not evaluation.truth(node.operand),
        typed.Logic: _logic,
        typed.Compare: _compare,
        typed.WordOperator: lambda evaluation, node: word_operator(
            node.operator, evaluation.value(node.left), evaluation.value(node.right)
        ),
        typed.Within: _within,
        typed.Arithmetic: _arithmetic,
        typed.Negate: _negate,
        typed.Call: _call,
        typed.Items: lambda _, node: None,
    }
    """What gives the value of each kind of node: one look, however many kinds there are."""


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


def word_operator(operator: str, left: Value, right: Value) -> bool:
    """`contains` on text or a list, `starts_with`, `ends_with`, `matches` on text; false when either is missing.

    >>> word_operator("contains", "order-17", "r-1"), word_operator("contains", ("a", 1), "a")
    (True, True)
    """
    if left is None or right is None:
        return False
    if isinstance(left, tuple):
        return any(type(item) is type(right) and item == right for item in left)
    if not isinstance(left, str) or not isinstance(right, str):
        return False
    match operator:
        case "contains":
            return right in left
        case "starts_with":
            return left.startswith(right)
        case "ends_with":
            return left.endswith(right)
    return matches(left, right)


def arithmetic(operator: str, left: Value, right: Value) -> int | None:
    """Exact arithmetic on micro-units; missing operands, overflow and division by zero are missing.

    >>> arithmetic("/", 2_000_000, 3_000_000), arithmetic("%", -7_000_000, 3_000_000), arithmetic("/", 1, 0)
    (666667, -1000000, None)
    """
    if not _is_int(left) or not _is_int(right):
        return None
    match operator:
        case "+":
            return bounded(left + right)
        case "-":
            return bounded(left - right)
        case "*":
            return bounded(divide_half_away(left * right, MICROS))
        case "/":
            return bounded(divide_half_away(left * MICROS, right)) if right else None
    if right == 0:
        return None
    remainder = abs(left) % abs(right)
    return -remainder if left < 0 else remainder


def of_type(value: object, wanted: Type, zone: Zone = UTC_ZONE) -> Value:
    """A JSON value read as `wanted`; another type is missing: there is no implicit conversion.

    Args:
        zone: the project's: a date alone is the start of that date there.

    >>> of_type(True, "number"), of_type(1_000_000, "number"), of_type("1", "number"), of_type([1_000_000], "list")
    (None, 1000000, None, (1000000,))
    """
    match value:
        case bool():
            return value if wanted == "boolean" else None
        case int():
            return value if wanted == "number" else None
        case str():
            return value if wanted == "string" else instant_of(value, zone) if wanted == "timestamp" else None
        case list() | tuple():
            # The items that a typed column holds, and no others.
            return tuple(untag(text) for text in tagged_items(value)) if wanted == "list" else None
    return None


def field_value(node: typed.Field, values: Mapping[str, object], zone: Zone) -> Value:
    """What a document holds at the path of `node`, where it is of its type; an open type takes any value."""
    found = raw_value(node, values)
    if node.type != "unknown":
        return of_type(found, node.type, zone)
    return found if isinstance(found, bool | int | str) else of_type(found, "list")


def raw_value(node: typed.Field, values: Mapping[str, object]) -> object:
    """What a document holds at the path of `node`, of any type; None is missing."""
    found: object = values
    for step in node.steps:
        # Asking for the class of a mapping takes longer than all the rest.
        found = found.get(step) if isinstance(found, (dict, Mapping)) else None
    return found


def _is_int(value: Value) -> TypeIs[int]:
    return isinstance(value, int) and not isinstance(value, bool)


_COMPARE: dict[str, Callable[..., bool]] = {
    "==": operators.eq,
    "<": operators.lt,
    "<=": operators.le,
    ">": operators.gt,
    ">=": operators.ge,
}
