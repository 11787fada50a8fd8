"""Walking a syntax tree."""

from collections.abc import Iterator

from dsl.functions import REFERENCES
from dsl.syntax import Aggregate, Binary, Call, ListOf, Name, Node, String, Unary


def children(node: Node) -> tuple[Node, ...]:
    """The nodes directly below `node`, in the order of the text."""
    match node:
        case ListOf(items=items):
            return items
        case Call(arguments=arguments):
            return arguments
        case Aggregate(filter=condition, arguments=arguments):
            return (*((condition,) if condition is not None else ()), *(arguments or ()))
        case Unary(operand=operand):
            return (operand,)
        case Binary(left=left, right=right):
            return (left, right)
    return ()


def depth(root: Node) -> int:
    """Nodes on the longest way down; a literal has 1. Takes no stack, however deep the tree is."""
    deepest, pending = 0, [(root, 1)]
    while pending:
        node, level = pending.pop()
        deepest = max(deepest, level)
        pending.extend((child, level + 1) for child in children(node))
    return deepest


def referred(node: Node) -> Iterator[str]:
    """Every name in `node` that could be a definition, in the order of the text; in a filter none could."""
    match node:
        case Name(name=name):
            yield name
        case Call(function=function, arguments=(String(value=key), *_)) if function in REFERENCES:
            yield key
    for child in () if isinstance(node, Aggregate) else children(node):
        yield from referred(child)
