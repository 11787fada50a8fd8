"""The printer: syntax tree -> canonical text on one line; `print_tree(parse(x))` is a fixed point."""

import json

from dsl.numbers import write_number
from dsl.parser import ATOM, COMPARISON, NEGATION, NOT, PRECEDENCE
from dsl.syntax import Aggregate, Binary, Boolean, Call, ListOf, Name, Node, Number, Path, String, Tree, Unary
from dsl.tokens import WORD


def print_tree(tree: Tree) -> str:
    r"""The expression on one line; comments stand before it, a line each, in their order.

    >>> from dsl.parser import parse
    >>> from dsl.source import Source
    >>> print_tree(parse(Source("not (a) and (b or c) // why")))
    '// why\n!a && (b || c)'
    """
    comments = [f"// {comment.text}".rstrip() for comment in tree.comments]
    return "\n".join([*comments, print_node(tree.root)])


def print_node(node: Node) -> str:
    """Canonical text of a node: canonical operators, no parenthesis that changes nothing.

    One exception, for the reader: the operand of `!` keeps them, `!(a in b)`.
    """
    match node:
        case Number(micros=micros):
            return write_number(micros)
        case String(value=value):
            return _quoted(value)
        case Boolean(value=value):
            return "true" if value else "false"
        case ListOf(items=items):
            return f"[{_joined(items)}]"
        case Name(name=name):
            return name
        case Path(steps=steps):
            return steps[0] + "".join(print_step(step) for step in steps[1:])
        case Call(function=function, arguments=arguments):
            return f"{function}({_joined(arguments)})"
        case Aggregate():
            return _aggregate(node)
        case Unary(operator="!", operand=operand):
            return f"!({print_node(operand)})" if isinstance(operand, Binary) else f"!{print_node(operand)}"
        case Unary(operand=operand):
            return f"-{_within(operand, NEGATION)}"
        case Binary():
            return _binary(node)


def print_aggregate(event: str | None, condition: str | None, function: str, window: str | None) -> str:
    """The part of an aggregate before its arguments, from parts that are canonical already.

    >>> print_aggregate("Feature Used", None, "count", "24h"), print_aggregate(None, "a > 1", "count", None)
    ('events["Feature Used"].count_24h', 'events.*[a > 1].count')
    """
    name = ".*" if event is None else print_step(event)
    return f"events{name}{f'[{condition}]' if condition else ''}.{function}{f'_{window}' if window else ''}"


def _aggregate(node: Aggregate) -> str:
    condition = None if node.filter is None else print_node(node.filter)
    arguments = f"({_joined(node.arguments)})" if node.arguments else ""
    return print_aggregate(node.event, condition, node.function, node.window) + arguments


def _binary(node: Binary) -> str:
    precedence = PRECEDENCE[node.operator]
    associative = node.operator in ("&&", "||")
    same = isinstance(node.right, Binary) and node.right.operator == node.operator
    left = _within(node.left, precedence + 1 if precedence == COMPARISON else precedence)
    right = _within(node.right, precedence if associative and same else precedence + 1)
    return f"{left} {node.operator} {right}"


def _within(node: Node, least: int) -> str:
    """Text of `node` where only what binds at least this tightly may stand without parentheses."""
    text = print_node(node)
    return text if _tightness(node) >= least else f"({text})"


def _tightness(node: Node) -> int:
    match node:
        case Binary(operator=operator):
            return PRECEDENCE[operator]
        case Unary(operator=operator):
            return NEGATION if operator == "-" else NOT
        case Number(micros=micros) if micros < 0:
            return NEGATION
    return ATOM


def _joined(nodes: tuple[Node, ...]) -> str:
    return ", ".join(print_node(node) for node in nodes)


def print_step(step: str) -> str:
    """A name behind another one: `.plan`, `["odd name"]`."""
    return f".{step}" if WORD.fullmatch(step) else f"[{_quoted(step)}]"


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)
