"""Expressions taken apart: nested parts become steps of their own, so that SQL stays short and shallow.

Rounding writes an operand more than once, so nesting it would double the text at every level; and what nests deeply
is more than a parser of SQL follows.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from dsl import typed
from dsl.check import CheckedValue

MAX_NESTING = 10
"""Levels of an expression that one SQL expression may hold; a balanced chain of 500 operands has that many."""


@dataclass(slots=True)
class Steps:
    """Takes expressions apart.

    Attributes:
        name: the name of the step of a number, counted from 1.
        steps: all steps so far; each reads only those before it.
    """

    name: Callable[[int], str]
    steps: list[CheckedValue] = field(default_factory=list)

    def take_apart(self, node: typed.Node) -> typed.Node:
        """`node` as it reads the steps."""
        return self._shallow(node)[0]

    def _shallow(self, node: typed.Node) -> tuple[typed.Node, int]:
        """`node` with at most `MAX_NESTING` levels, and how many they are."""
        repeated = _repeats_operands(node)
        parts: list[typed.Node] = []
        deepest = 0
        for child in typed.children(node):
            part, depth = self._shallow(child)
            if depth >= MAX_NESTING or (repeated and _is_computed(part, depth)):
                part, depth = self._step(part), 1
            parts.append(part)
            deepest = max(deepest, depth)
        return typed.with_children(node, parts), deepest + 1

    def _step(self, node: typed.Node) -> typed.Node:
        name = self.name(len(self.steps) + 1)
        self.steps.append(CheckedValue(name, "trait", node, node.type, "step", tuple(referred(node))))
        return typed.Reference(name, "trait", node.type, node.span, node.nullable)


def referred(node: typed.Node) -> Iterator[str]:
    """Keys of the definitions and steps that `node` reads."""
    if isinstance(node, typed.Reference):
        yield node.key
    for child in typed.children(node):
        yield from referred(child)


def levels(values: Mapping[str, CheckedValue], order: Iterable[str]) -> dict[str, int]:
    """The level of each key, from 1: one more than the highest level that it reads."""
    found: dict[str, int] = {}
    for key in order:
        found[key] = 1 + max((found[name] for name in values[key].references if name in found), default=0)
    return found


def by_level(level: Mapping[str, int]) -> Sequence[tuple[int, list[str]]]:
    """The keys of each level, from 1."""
    numbers = range(1, max(level.values(), default=0) + 1)
    return [(number, [key for key, its in level.items() if its == number]) for number in numbers]


def _repeats_operands(node: typed.Node) -> bool:
    match node:
        case typed.Arithmetic(operator=operator):
            return operator in "*/%"
        case typed.Age():
            return True
        case typed.Call(function=function):
            return function in ("min", "max", "round", "text", "number", "percent_rank")
    return False


def _is_computed(node: typed.Node, depth: int) -> bool:
    """Whether writing `node` twice is more than writing a name twice; the age of a column is not."""
    return isinstance(node, typed.Arithmetic | typed.Call | typed.Negate) or depth > 2
