"""Walking a syntax tree."""

from dsl.syntax import Aggregate, Binary, Call, ListOf, Node, Unary


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
