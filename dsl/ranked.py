"""Which values look at all profiles: they are of the last refresh, and no events of one profile give them."""

from collections.abc import Mapping

from dsl import typed
from dsl.check import CheckedValue, walk


def is_ranked(node: typed.Node, values: Mapping[str, CheckedValue]) -> bool:
    """Whether an expression, or a definition that it builds on, holds a `percent_rank`."""
    keys, waiting = set[str](), [node]
    while waiting:
        for part in walk(waiting.pop()):
            if isinstance(part, typed.Call) and part.function == "percent_rank":
                return True
            if isinstance(part, typed.Reference) and part.key not in keys and part.key in values:
                keys.add(part.key)
                waiting.append(values[part.key].node)
    return False
