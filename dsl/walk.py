"""Walking a syntax tree, and names that refer to one another."""

from collections.abc import Callable, Iterable, Iterator, Mapping

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


def topological(references: Mapping[str, Iterable[str]], on_cycle: Callable[[list[str]], None]) -> list[str]:
    """Every name after those that it refers to; otherwise in the order in which they are given.

    Args:
        references: of each name those that it refers to; others than these are passed over.
        on_cycle: is told of each cycle, as the path that begins and ends with the same name.

    >>> cycles: list[list[str]] = []
    >>> topological({"a": ["b"], "b": [], "c": ["d"], "d": ["c"]}, cycles.append)
    ['b', 'a', 'd', 'c']
    >>> cycles
    [['c', 'd', 'c']]
    """
    order: list[str] = []
    done: dict[str, bool] = {}
    for start in references:
        stack: list[tuple[str, Iterator[str]]] = []
        if start not in done:
            done[start] = False
            stack.append((start, iter(references[start])))
        while stack:
            key, pending = stack[-1]
            target = next((name for name in pending if name in references and not done.get(name, False)), None)
            if target is None:
                stack.pop()
                done[key] = True
                order.append(key)
            elif target in done:
                path = [name for name, _ in stack]
                on_cycle([*path[path.index(target) :], target])
            else:
                done[target] = False
                stack.append((target, iter(references[target])))
    return order
