"""Why a condition holds or does not: the comparisons that decided it, with their values, as short sentences."""

from collections.abc import Mapping
from json.encoder import encode_basestring
from typing import NamedTuple

from dsl import typed
from dsl.check import CheckedCatalog
from dsl.clock import format_instant
from dsl.evaluate import Evaluation
from dsl.numbers import write_number
from dsl.state import State, Value
from dsl.types import Type


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


def clauses(node: typed.Node, evaluation: Evaluation, outcome: bool) -> list[str]:
    """The same for a node whose truth is known; a clause may come twice."""
    found: list[str] = []
    _decisive(node, evaluation, outcome, _Told(found, set()), "")
    return found


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


class _Told(NamedTuple):
    """What has been said so far.

    Attributes:
        clauses: in the order of the text.
        shown: names of the definitions that they are of: one that is reached in several ways is shown once, or there
            would be as many sentences as ways.
    """

    clauses: list[str]
    shown: set[str]


def _decisive(node: typed.Node, evaluation: Evaluation, outcome: bool, told: _Told, prefix: str) -> None:
    """Adds the clauses of a node; `prefix` names the definitions around it."""
    match node:
        case typed.Logic(operator=operator, operands=operands):
            if outcome != (operator == "&&"):
                operands = (next(operand for operand in operands if evaluation.truth(operand) == outcome),)
            for operand in operands:
                _decisive(operand, evaluation, outcome, told, prefix)
        case typed.Not(operand=operand):
            _decisive(operand, evaluation, not outcome, told, prefix)
        case typed.Reference(type="boolean"):
            _inside(node, evaluation, outcome, told, prefix)
        case typed.Compare(operator="==" | "!=", left=typed.Reference(type="boolean") as left, right=typed.Constant()):
            _inside(left, evaluation, evaluation.truth(left), told, prefix)
        case _:
            told.clauses.append(prefix + _clause(node, evaluation, outcome))


def _inside(node: typed.Reference, evaluation: Evaluation, outcome: bool, told: _Told, prefix: str) -> None:
    if node.key not in told.shown:
        told.shown.add(node.key)
        definition = evaluation.checked.values[node.key].node
        _decisive(definition, evaluation, outcome, told, f"{prefix}{node.kind} {node.key}: ")


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
