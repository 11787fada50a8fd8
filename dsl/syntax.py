"""The syntax tree: what was written, before any name is looked up. Every node knows its span."""

from dataclasses import dataclass

from dsl.source import Span


@dataclass(frozen=True, slots=True)
class Number:
    """A number literal as signed micro-units: `1.5` is 1_500_000."""

    micros: int
    span: Span


@dataclass(frozen=True, slots=True)
class String:
    """A string literal, unescaped."""

    value: str
    span: Span


@dataclass(frozen=True, slots=True)
class Boolean:
    """`true` or `false`."""

    value: bool
    span: Span


@dataclass(frozen=True, slots=True)
class ListOf:
    """A bracketed list: `["US", "CA"]`."""

    items: tuple["Node", ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Name:
    """A bare word: a trait, a segment, a seen-age, or (inside a filter) a property."""

    name: str
    span: Span


@dataclass(frozen=True, slots=True)
class Path:
    """A dotted path: `profile.country`, `context.amount`, `cart.total`, `properties["odd name"]`.

    `steps` are the parts in order, the root word first; a bracketed string is a step like any other.
    `step_spans` has one span per step.
    """

    steps: tuple[str, ...]
    step_spans: tuple[Span, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Aggregate:
    """`events.<event>[filter].<function>[_<window>](arguments)`.

    Attributes:
        event: the event's name; None for `events.*`.
        function: the aggregate's name without its window: `count` of `count_30d`.
        window: the window as written without its underscore: `30d`; None for whole life.
        arguments: what stands in parentheses; None when there are no parentheses.
    """

    event: str | None
    event_span: Span
    filter: "Node | None"
    function: str
    function_span: Span
    window: str | None
    window_span: Span | None
    arguments: "tuple[Node, ...] | None"
    span: Span


@dataclass(frozen=True, slots=True)
class Call:
    """A function call: `coalesce(a, b)`, `segment("vip")`."""

    function: str
    function_span: Span
    arguments: tuple["Node", ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Unary:
    """`-x` (operator `-`) or `!x`, `not x` (operator `!`)."""

    operator: str
    operand: "Node"
    span: Span


@dataclass(frozen=True, slots=True)
class Binary:
    """Two operands and an operator in its canonical spelling (`&&` for `and`, `||` for `or`).

    Operators: `* / % + - == != < <= > >= in contains starts_with ends_with matches && ||`.
    `x in(["US", "CA"])` is the same node as `x in ["US", "CA"]`.
    """

    operator: str
    operator_span: Span
    left: "Node"
    right: "Node"
    span: Span


@dataclass(frozen=True, slots=True)
class Comment:
    """`// text`, without the slashes, trimmed; `span.start` is where the slashes begin."""

    text: str
    span: Span


@dataclass(frozen=True, slots=True)
class Tree:
    """One parsed expression and the comments that stood in it, in order."""

    root: "Node"
    comments: tuple[Comment, ...]


Node = Number | String | Boolean | ListOf | Name | Path | Aggregate | Call | Unary | Binary
