"""Why a condition holds or does not: the comparisons that decided it, with their values, as short sentences."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from json.encoder import encode_basestring

from dsl import typed
from dsl.check import CheckedCatalog
from dsl.clock import format_instant
from dsl.evaluate import Evaluation
from dsl.numbers import write_number
from dsl.state import State, Value
from dsl.types import Type


@dataclass(frozen=True, slots=True)
class _Inside:
    """Where a clause stands: the names of the definitions around it, and those that have been shown already.

    A definition that is reached in several ways is shown once, or there would be as many sentences as ways.
    """

    prefix: str
    shown: set[str] = field(default_factory=set)


def reasons(
    node: typed.Node, state: State, checked: CheckedCatalog, context: Mapping[str, object] | None = None
) -> tuple[str, ...]:
    """The clauses that decided the Boolean `node`, in the order of the text.

    For a true answer they are the clauses that make it true (of `||` the first that holds), for a false one those
    that make it false (of `&&` the first that fails). A clause inside a segment or trait carries its name:
    `segment vip: purchases_30d = 4 >= 3`; a definition that is reached in several ways is shown once.
    """
    evaluation = Evaluation(checked, state, context or {})
    return tuple(dict.fromkeys(clauses(node, evaluation, evaluation.truth(node))))


def clauses(node: typed.Node, evaluation: Evaluation, outcome: bool) -> Iterator[str]:
    """The same one by one, for a node whose truth is known; a clause may come twice."""
    return _decisive(node, evaluation, outcome, _Inside(""))


def show_value(value: Value, value_type: Type) -> str:
    """A value as people read it: `4`, `"NO"`, `true`, an instant, `missing`."""
    if value is None:
        return "missing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return format_instant(value) if value_type == "timestamp" else write_number(value)
    if isinstance(value, tuple):
        return f"[{', '.join(show_value(item, 'number') for item in value)}]"
    return encode_basestring(value)


def _decisive(node: typed.Node, evaluation: Evaluation, outcome: bool, inside: _Inside) -> Iterator[str]:
    match node:
        case typed.Logic(operator=operator, left=left, right=right):
            if outcome == (operator == "&&"):
                yield from _decisive(left, evaluation, outcome, inside)
                yield from _decisive(right, evaluation, outcome, inside)
            else:
                decider = left if evaluation.truth(left) == outcome else right
                yield from _decisive(decider, evaluation, outcome, inside)
        case typed.Not(operand=operand):
            yield from _decisive(operand, evaluation, not outcome, inside)
        case typed.Reference(type="boolean"):
            yield from _inside(node, evaluation, outcome, inside)
        case typed.Compare(operator="==" | "!=", left=typed.Reference(type="boolean") as left, right=typed.Constant()):
            yield from _inside(left, evaluation, evaluation.truth(left), inside)
        case _:
            yield inside.prefix + _clause(node, evaluation, outcome)


def _inside(node: typed.Reference, evaluation: Evaluation, outcome: bool, inside: _Inside) -> Iterator[str]:
    if node.key in inside.shown:
        return
    inside.shown.add(node.key)
    prefix = f"{inside.prefix}{node.kind} {node.key}: "
    yield from _decisive(evaluation.checked.values[node.key].node, evaluation, outcome, _Inside(prefix, inside.shown))


def _clause(node: typed.Node, evaluation: Evaluation, outcome: bool) -> str:
    match node:
        case typed.Compare(operator=operator, left=left, right=right):
            return _sentence(_with_value(left, evaluation), operator, _with_value(right, evaluation), outcome)
        case typed.Within(value=value, items=items):
            shown = ", ".join(_with_value(item, evaluation) for item in items)
            return _sentence(_with_value(value, evaluation), "in", f"[{shown}]", outcome)
    return f"{_with_value(node, evaluation)}"


def _sentence(left: str, operator: str, right: str, outcome: bool) -> str:
    return f"{left} {operator} {right}" if outcome else f"{left}, not {operator} {right}"


def _with_value(node: typed.Node, evaluation: Evaluation) -> str:
    shown = show_value(evaluation.value(node), node.type)
    if isinstance(node, typed.Constant):
        return shown
    return f"{_name(node)} = {shown}"


def _name(node: typed.Node) -> str:
    match node:
        case typed.Field(root=root, steps=steps):
            return ".".join((("profile" if root == "attribute" else root), *steps))
        case typed.Reference(key=key):
            return key
        case typed.AggregateValue(aggregate=aggregate):
            return aggregate.text
        case typed.Age(text=text):
            return text
        case typed.Call(function=function, arguments=arguments):
            return f"{function}({', '.join(_name(argument) for argument in arguments)})"
        case typed.Arithmetic(operator=operator, left=left, right=right):
            return f"{_operand(left, operator)} {operator} {_operand(right, operator, right=True)}"
        case typed.Negate(operand=operand):
            return f"-({_name(operand)})" if typed.children(operand) else f"-{_name(operand)}"
        case typed.Constant(value=value, type=value_type):
            return show_value(value, value_type)
        case typed.Now():
            return "now()"
    return "the condition"


def _operand(node: typed.Node, operator: str, right: bool = False) -> str:
    """Text of an operand, in parentheses where another reading would be another number."""
    sums = {"+", "-"}
    loose = isinstance(node, typed.Arithmetic) and (right or (node.operator in sums and operator not in sums))
    return f"({_name(node)})" if loose else _name(node)
