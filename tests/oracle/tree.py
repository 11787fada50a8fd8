"""Section 3: the tree that an expression is read into."""

from dataclasses import dataclass
from typing import TypeAlias

from tests.oracle.values import Value


@dataclass(frozen=True)
class Literal:
    """A number, string, `true` or `false`."""

    value: Value


@dataclass(frozen=True)
class Items:
    """A list `[a, b]`."""

    items: "tuple[Node, ...]"


@dataclass(frozen=True)
class Path:
    """A nested path under `profile`, `context` (the request's), `properties` or `event_context` (an event's own)."""

    root: str
    steps: tuple[str, ...]


@dataclass(frozen=True)
class Named:
    """`trait("key")`, `segment("key")` or a bare name (kind `any`)."""

    kind: str
    key: str


@dataclass(frozen=True)
class Seen:
    """`first_seen_days_ago` and its family; the unit in ms."""

    which: str
    unit_ms: int


@dataclass(frozen=True)
class Aggregate:
    """`events.<name>[filter].<aggregate>_<window>(property, q)`; event `None` is `events.*`; q in micro-units."""

    event: str | None
    condition: "Node | None"
    name: str
    window_ms: int | None
    path: Path | None
    q: int


@dataclass(frozen=True)
class Unary:
    """`-x` or `!x`."""

    operator: str
    operand: "Node"


@dataclass(frozen=True)
class Binary:
    """Every operator of two operands."""

    operator: str
    left: "Node"
    right: "Node"


@dataclass(frozen=True)
class Call:
    """A function of the list."""

    name: str
    arguments: "tuple[Node, ...]"


Node: TypeAlias = Literal | Items | Path | Named | Seen | Aggregate | Unary | Binary | Call
