"""Canonical text of a typed node: what the printer writes for the syntax that it came from."""

from dsl import syntax, typed
from dsl.clock import format_instant
from dsl.printer import print_node
from dsl.source import Span
from dsl.tokens import RESERVED, WORD

_NOWHERE = Span(0, 0)
_ROOTS = {"attribute": ("profile",), "context": ("context",), "property": ()}
_MEANT_OTHERWISE = {*RESERVED, "profile", "context", "events", "properties"}
"""First words that are no property, so that one of that name is written in brackets."""


def text_of(node: typed.Node) -> str:
    """The expression on one line; a reference is written `segment("vip")`, a date as the instant that it starts at."""
    return print_node(_syntax(node))


def _syntax(node: typed.Node) -> syntax.Node:  # noqa: C901  # one case per kind of node
    match node:
        case typed.Constant():
            return _literal(node)
        case typed.Items(items=items):
            return _list(items)
        case typed.Field():
            return field_syntax(node)
        case typed.AggregateValue(aggregate=aggregate):
            return _canonical(aggregate.text)
        case typed.Age(text=text):
            return _canonical(text)
        case typed.Now():
            return _call("now")
        case typed.Reference(key=key, kind=kind):
            return _call(kind, syntax.String(key, _NOWHERE))
        case typed.Call(function=function, arguments=arguments):
            return _call(function, *map(_syntax, arguments))
        case typed.Within(value=value, items=items):
            return _binary("in", _syntax(value), _list(items))
        case typed.Negate(operand=operand):
            return syntax.Unary("-", _syntax(operand), _NOWHERE)
        case typed.Not(operand=operand):
            return syntax.Unary("!", _syntax(operand), _NOWHERE)
        case typed.Arithmetic() | typed.Compare() | typed.WordOperator() | typed.Logic():
            return _binary(node.operator, _syntax(node.left), _syntax(node.right))


def field_syntax(field: typed.Field) -> syntax.Path:
    """The path of a field as it is written: `profile.plan`, `cart.total`, `properties["odd name"]`."""
    lead: tuple[str, ...] = _ROOTS[field.root]
    first = field.steps[0]
    if field.root == "property" and (first in _MEANT_OTHERWISE or not WORD.fullmatch(first)):
        lead = ("properties",)
    return syntax.Path((*lead, *field.steps), (), _NOWHERE)


def _literal(node: typed.Constant) -> syntax.Node:
    match node.value:
        case bool() as truth:
            return syntax.Boolean(truth, _NOWHERE)
        case int() as number if node.type == "timestamp":
            return _call("date", syntax.String(format_instant(number), _NOWHERE))
        case int() as number:
            return syntax.Number(number, _NOWHERE)
        case str() as text:
            return syntax.String(text, _NOWHERE)
    return _canonical("missing")


def _canonical(text: str) -> syntax.Node:
    """What is printed as `text` and never needs parentheses."""
    return syntax.Name(text, _NOWHERE)


def _call(function: str, *arguments: syntax.Node) -> syntax.Node:
    return syntax.Call(function, _NOWHERE, arguments, _NOWHERE)


def _list(items: tuple[typed.Node, ...]) -> syntax.Node:
    return syntax.ListOf(tuple(map(_syntax, items)), _NOWHERE)


def _binary(operator: str, left: syntax.Node, right: syntax.Node) -> syntax.Node:
    return syntax.Binary(operator, _NOWHERE, left, right, _NOWHERE)
