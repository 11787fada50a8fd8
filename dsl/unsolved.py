"""Expressions that time changes from one millisecond to the next: nobody can wait for their next change."""

from collections.abc import Collection

from dsl import typed
from dsl.functions import RANK

_KEEPS = ("if", "coalesce")
"""Functions that hand a value on as it is."""


def unsolved(node: typed.Node, flowing: Collection[str] = ()) -> bool:
    """Whether `dsl.next_change` has to give the next minute for (a part of) `node`, where it could not be exact.

    Comparisons with `now()` and with what is added to it are solved, and so are ages and windows; a bare `now()`, its
    product or its text are not. What stands inside another definition is that definition's matter.

    Args:
        flowing: keys of the definitions for which `flows` is true.
    """
    return flows(node, flowing) or _stuck(node, flowing)


def flows(node: typed.Node, flowing: Collection[str] = ()) -> bool:
    """Whether the value of `node` is another in every millisecond: `now()`, and what is `now()` plus or minus others.

    Args:
        flowing: keys of the definitions for which this is true; definitions come in topological order.
    """
    match node:
        case typed.Now():
            return True
        case typed.Reference(key=key):
            return key in flowing
        case typed.Arithmetic(operator="+" | "-") | typed.Negate():
            return any(flows(child, flowing) for child in typed.children(node))
        case typed.Call(function=function) if function in _KEEPS:
            return any(flows(child, flowing) for child in typed.children(node))
    return False


def _stuck(node: typed.Node, flowing: Collection[str]) -> bool:
    """Whether `node`, or a part of it, takes a value that flows for something that cannot be solved."""
    if isinstance(node, typed.Call) and node.function == RANK:
        return False  # it is of the last refresh, whatever it ranks
    parts = typed.children(node)
    taken = any(flows(part, flowing) for part in parts) and not flows(node, flowing)
    return (taken and not _solves(node)) or any(_stuck(part, flowing) for part in parts)


def _solves(node: typed.Node) -> bool:
    """Whether an operand that flows does not keep the next change of `node` from being known."""
    match node:
        case typed.Compare() | typed.Within() | typed.Age() | typed.Logic() | typed.Not():
            return True
        case typed.Call(function="is_set"):
            return True
    return False
