"""The typed tree: every name is looked up, every type is known. Engines read this and nothing else.

Numbers are micro-units, timestamps are epoch milliseconds. `nullable` says whether a node can be missing; comparisons
and logic never are.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from dsl.source import Span
from dsl.state import Value
from dsl.types import Type
from dsl.windows import Window

Scope = Literal["named", "tracked", "outside"]
"""Which events: of one name; `events.*` (track, page, screen); every event sent from outside, of any kind."""


@dataclass(frozen=True, slots=True)
class Constant:
    """A literal; a string that stands for a date has become a timestamp."""

    value: Value
    type: Type
    span: Span
    nullable: bool = False


@dataclass(frozen=True, slots=True)
class Items:
    """A list literal."""

    items: tuple["Node", ...]
    span: Span
    type: Type = "list"
    nullable: bool = False


@dataclass(frozen=True, slots=True)
class Field:
    """A value that came as JSON: `profile.x` (attribute), `x` in a filter (property), `context.x` (context).

    `steps` leave the root word out. A value of another type than `type` is missing.
    """

    root: Literal["attribute", "property", "context"]
    steps: tuple[str, ...]
    type: Type
    span: Span
    nullable: bool = True


@dataclass(frozen=True, slots=True)
class BaseAggregate:
    """What is counted: the events, the aggregate and its argument; two uses with one `text` are one value.

    Attributes:
        event: name of the events; empty unless `scope` is `named`.
        window: None for whole life.
        text: canonical text: `events.purchase.sum_30d(amount)`; seen instants are `first_seen_at`, `last_seen_at`.
        quantile_micros: rank of `percentile`, 0 to 1,000,000; of `median` the half.
        key: what a state keeps the value under: the text, with its type where that depends on who asks.
    """

    scope: Scope
    event: str
    filter: "Node | None"
    function: str
    window: Window | None
    argument: Field | None
    type: Type
    text: str
    quantile_micros: int = 500_000
    key: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        depends = self.function in ("first", "last", "most_frequent")
        object.__setattr__(self, "key", f"{self.text}: {self.type}" if depends else self.text)


@dataclass(frozen=True, slots=True)
class AggregateValue:
    """The value of a base aggregate for the profile."""

    aggregate: BaseAggregate
    type: Type
    span: Span
    nullable: bool


@dataclass(frozen=True, slots=True)
class Age:
    """Whole units from `instant` to `t`, rounded towards minus infinity."""

    instant: "Node"
    unit_ms: int
    text: str
    span: Span
    type: Type = "number"
    nullable: bool = True


@dataclass(frozen=True, slots=True)
class Now:
    """The instant of the question."""

    span: Span
    type: Type = "timestamp"
    nullable: bool = False


@dataclass(frozen=True, slots=True)
class Reference:
    """The value of another definition."""

    key: str
    kind: Literal["trait", "segment"]
    type: Type
    span: Span
    nullable: bool


@dataclass(frozen=True, slots=True)
class Call:
    """A function of `dsl.functions.FUNCTIONS`."""

    function: str
    arguments: tuple["Node", ...]
    type: Type
    span: Span
    nullable: bool


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """`+ - * / %` on numbers, or `-` on two timestamps (milliseconds)."""

    operator: str
    left: "Node"
    right: "Node"
    span: Span
    type: Type = "number"
    nullable: bool = True


@dataclass(frozen=True, slots=True)
class Negate:
    """`-x`."""

    operand: "Node"
    span: Span
    type: Type = "number"
    nullable: bool = True


@dataclass(frozen=True, slots=True)
class Compare:
    """`== != < <= > >=` on two values of one type."""

    operator: str
    left: "Node"
    right: "Node"
    span: Span
    type: Type = "boolean"
    nullable: bool = False


@dataclass(frozen=True, slots=True)
class Within:
    """`x in [..]`; items of another type than `value` have been dropped: they are never equal."""

    value: "Node"
    items: tuple["Node", ...]
    span: Span
    type: Type = "boolean"
    nullable: bool = False


@dataclass(frozen=True, slots=True)
class WordOperator:
    """`contains` on a string or list, `starts_with`, `ends_with`, `matches` on a string."""

    operator: Literal["contains", "starts_with", "ends_with", "matches"]
    left: "Node"
    right: "Node"
    span: Span
    type: Type = "boolean"
    nullable: bool = False


@dataclass(frozen=True, slots=True)
class Logic:
    """`&&` and `||`; operands are Boolean positions: missing counts as false."""

    operator: Literal["&&", "||"]
    left: "Node"
    right: "Node"
    span: Span
    type: Type = "boolean"
    nullable: bool = False
    _operands: "tuple[Node, ...]" = field(default=(), init=False, repr=False, compare=False)

    @property
    def operands(self) -> "tuple[Node, ...]":
        """`a`, `b` and `c` of `a && b && c`, which stands as `(a && b) && c`: each once, however many they are."""
        if not self._operands:
            found: list[Node] = []
            waiting: list[Node] = [self]
            while waiting:
                part = waiting.pop()
                if isinstance(part, Logic) and part.operator == self.operator:
                    waiting += (part.right, part.left)
                else:
                    found.append(part)
            object.__setattr__(self, "_operands", tuple(found))
        return self._operands


@dataclass(frozen=True, slots=True)
class Not:
    """`!x`; the operand is a Boolean position."""

    operand: "Node"
    span: Span
    type: Type = "boolean"
    nullable: bool = False


Node = (
    Constant
    | Items
    | Field
    | AggregateValue
    | Age
    | Now
    | Reference
    | Call
    | Arithmetic
    | Negate
    | Compare
    | Within
    | WordOperator
    | Logic
    | Not
)


def children(node: Node) -> tuple[Node, ...]:
    """The nodes directly below `node`, in the order of the text; filters of aggregates are not among them."""
    match node:
        case Items(items=items):
            return items
        case Call(arguments=arguments):
            return arguments
        case Arithmetic() | Compare() | Logic() | WordOperator():
            return (node.left, node.right)
        case Within(value=value, items=items):
            return (value, *items)
        case Negate(operand=operand) | Not(operand=operand):
            return (operand,)
        case Age(instant=instant):
            return (instant,)
    return ()


def with_children(node: Node, parts: Sequence[Node]) -> Node:
    """`node` with other nodes below it, as many as `children` gives and in that order."""
    match node:
        case Items():
            return replace(node, items=tuple(parts))
        case Call():
            return replace(node, arguments=tuple(parts))
        case Arithmetic() | Compare() | Logic() | WordOperator():
            left, right = parts
            return replace(node, left=left, right=right)
        case Within():
            return replace(node, value=parts[0], items=tuple(parts[1:]))
        case Negate() | Not():
            return replace(node, operand=parts[0])
        case Age():
            return replace(node, instant=parts[0])
    return node
