"""The value of an expression for a profile at `(t, S)`, by plain loops over the raw events."""

import hashlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from zoneinfo import ZoneInfo

from tests.oracle.aggregates import Event, aggregate, by_moment
from tests.oracle.functions import call
from tests.oracle.language import LanguageError, parse
from tests.oracle.patterns import compile_pattern
from tests.oracle.tree import Aggregate, Binary, Call, Items, Literal, Named, Node, Path, Seen, Unary
from tests.oracle.values import (
    MICRO,
    Number,
    Timestamp,
    Value,
    contains,
    divide,
    equal,
    fit,
    from_json,
    is_element,
    less,
    minus,
    over,
    plus,
    read_timestamp,
    remainder,
    times,
    whole,
)

ARITHMETIC = {"+": plus, "-": minus, "*": times, "/": over, "%": remainder}
TYPES: dict[str, type] = {
    "number": Number, "string": str, "text": str, "boolean": bool, "timestamp": Timestamp, "list": tuple,
}  # fmt: skip
DEPTH = 20_000
SYSTEM = "system"
EVERY_NAME = {"track", "page", "screen"}
BY_NAME = EVERY_NAME | {SYSTEM}

Definitions = Mapping[str, tuple[str, str, str | None]]


@contextmanager
def depth(limit: int) -> Iterator[None]:
    """A level of the grammar costs a dozen of Python's calls: room for expressions nested a hundred deep and more."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, before))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


@dataclass(frozen=True)
class Scope:
    """Whose value is asked, of which event inside a filter, and inside which definitions.

    `is_named`: the expression names the event, so that what is declared of it counts; `events.*` names none.
    """

    profile_id: str
    event: Event | None = None
    inside: tuple[str, ...] = ()
    is_named: bool = True


class Evaluator:
    """Expressions over a log, at an instant t (ms, UTC) and a knowledge cut S (a `seq`).

    `definitions` maps a key to (`trait` or `segment`, expression, declared type or None). `context` is what the request
    brought along. `identities` maps a source to its profile as of the cut; without it each source is its own profile.
    `declared` holds what the schemas declare, by path: `{"events.order.due": "timestamp", "profile.plan": "string"}`.
    """

    def __init__(
        self,
        events: Iterable[Mapping[str, Any]],
        definitions: Definitions,
        t_ms: int,
        cut: int,
        zone: str = "UTC",
        context: Mapping[str, object] | None = None,
        *,
        identities: Mapping[str, str] | None = None,
        declared: Mapping[str, str] | None = None,
    ) -> None:
        self.definitions = definitions
        self.t_ms = t_ms
        self.zone = ZoneInfo(zone)
        self.context = context or {}
        self.identities = identities
        self.declared = declared or {}
        self.events: list[Event] = []
        ids: set[str] = set()
        for event in sorted((Event.of(raw) for raw in events), key=lambda event: event.seq):
            if event.event_id not in ids and event.seq <= cut and event.ts < t_ms:
                self.events.append(event)
            ids.add(event.event_id)

    def value(self, text: str, profile_id: str) -> Value:
        """The value of an expression for a profile."""
        with depth(DEPTH):
            return self._value(parse(text), Scope(profile_id))

    def universe(self) -> list[str]:
        """The profiles with a known event of any outside kind."""
        return sorted({self._profile_of(event) for event in self.events if event.kind != SYSTEM} - {""})

    # --- events ---

    def _profile_of(self, event: Event) -> str:
        """Section 5: the profile of an event's source; a source that nobody knows belongs to no profile."""
        return event.source_id if self.identities is None else self.identities.get(event.source_id, "")

    def _events_of(self, profile_id: str) -> list[Event]:
        return [event for event in self.events if self._profile_of(event) == profile_id]

    def _aggregate(self, ask: Aggregate, scope: Scope) -> Value:
        """Section 3: `events.*` is track, page and screen; system events by their exact name only."""
        matching = []
        scope = replace(scope, is_named=ask.event is not None)
        for event in self._events_of(scope.profile_id):
            named = event.kind in EVERY_NAME if ask.event is None else event.kind in BY_NAME and event.name == ask.event
            if named and (ask.condition is None or self._truth(ask.condition, replace(scope, event=event))):
                matching.append(event)

        def read(event: Event) -> Value:
            return None if ask.path is None else self._path(ask.path, replace(scope, event=event))

        return aggregate(ask, matching, read, self.t_ms, self.zone)

    def _seen(self, ask: Seen, scope: Scope) -> Value:
        """`first_seen_days_ago` and its family: over every event sent from outside, of any kind; floor."""
        moments = [event.ts for event in self._events_of(scope.profile_id) if event.kind != SYSTEM]
        if not moments:
            return None
        return whole((self.t_ms - (min(moments) if ask.which == "first" else max(moments))) // ask.unit_ms)

    # --- paths ---

    def _attributes(self, profile_id: str) -> dict[str, object]:
        """Section 4: the last write per attribute by `(ts, event_id)`; null unsets by the same rule."""
        attributes: dict[str, object] = {}
        for event in by_moment([event for event in self._events_of(profile_id) if event.kind == "identify"]):
            attributes.update(event.properties)
        return attributes

    def _path(self, path: Path, scope: Scope) -> Value:
        """A nested path into objects, read as what it is declared to be: a value of another type is missing."""
        found, declared = self._found(path, scope)
        value = from_json(found)
        wanted = self.declared.get(declared)
        if wanted == "timestamp":
            return read_timestamp(value, self.zone) if isinstance(value, str) else None
        return value if wanted is None or isinstance(value, TYPES[wanted]) else None

    def _found(self, path: Path, scope: Scope) -> tuple[object, str]:
        """The JSON at a path, and the name that a declaration has for it."""
        if path.root == "profile":
            found: object = self._attributes(scope.profile_id)
            declared = "profile"
        elif path.root == "context":
            found, declared = self.context, "context"
        elif scope.event is None:
            raise LanguageError("a property outside an event")
        elif path.root == "event_context":
            found, declared = scope.event.context, f"events.{scope.event.name if scope.is_named else '*'}.context"
        else:
            found, declared = scope.event.properties, f"events.{scope.event.name if scope.is_named else '*'}"
        for step in path.steps:
            found = found.get(step) if isinstance(found, Mapping) else None
            declared += f".{step}"
        return found, declared

    # --- the tree ---

    def _truth(self, node: Node, scope: Scope) -> bool:
        """Truth: in a Boolean position only `true` is true."""
        return self._value(node, scope) is True

    def _value(self, node: Node, scope: Scope) -> Value:
        match node:
            case Literal():
                return node.value
            case Items():
                return tuple(value for value in (self._value(item, scope) for item in node.items) if value is not None)
            case Path():
                return self._path(node, scope)
            case Named():
                return self._named(node, scope)
            case Seen():
                return self._seen(node, scope)
            case Aggregate():
                return self._aggregate(node, scope)
            case Unary():
                return self._unary(node, scope)
            case Binary():
                return self._binary(node, scope)
            case Call():
                return self._call(node, scope)

    def _named(self, node: Named, scope: Scope) -> Value:
        """Section 6: a trait may be missing; a segment is always true or false; a cycle is an error that names it."""
        if node.key not in self.definitions:
            raise LanguageError(f"unknown name {node.key}")
        kind, text, declared = self.definitions[node.key]
        if node.kind not in {"any", kind}:
            raise LanguageError(f"{node.key} is a {kind}")
        if node.key in scope.inside:
            raise LanguageError(f"cycle: {' -> '.join((*scope.inside, node.key))}")
        inner = replace(scope, inside=(*scope.inside, node.key))
        if kind == "segment":
            return self._truth(parse(text), inner)
        value = self._value(parse(text), inner)
        if declared is not None and declared not in TYPES:
            raise LanguageError(f"unknown type {declared}")
        return value if declared is None or isinstance(value, TYPES[declared]) else None

    def _unary(self, node: Unary, scope: Scope) -> Value:
        if node.operator == "!":
            return not self._truth(node.operand, scope)
        operand = self._value(node.operand, scope)
        return fit(-operand.micro) if isinstance(operand, Number) else None

    def _binary(self, node: Binary, scope: Scope) -> Value:
        if node.operator == "&&":
            return self._truth(node.left, scope) and self._truth(node.right, scope)
        if node.operator == "||":
            return self._truth(node.left, scope) or self._truth(node.right, scope)
        left, right = self._value(node.left, scope), self._value(node.right, scope)
        if node.operator in ARITHMETIC:
            return arithmetic(node.operator, left, right)
        return compare(node.operator, left, right)

    def _call(self, node: Call, scope: Scope) -> Value:
        """Functions: `coalesce`, `if` and `is_set` take missing arguments; the rest is in `functions.py`."""
        if node.name == "if":
            condition, *branches = node.arguments
            chosen = self._value(branches[0 if self._truth(condition, scope) else 1], scope)
            return of_one_type([chosen], branches)[0]
        if node.name == "percent_rank":
            return self._percent_rank(node.arguments[0], scope)
        if node.name == "is_set":
            return self._is_set(node.arguments[0], scope)
        values = [self._value(argument, scope) for argument in node.arguments]
        if node.name == "coalesce":
            return next((value for value in of_one_type(values, node.arguments) if value is not None), None)
        if node.name == "bucket":
            return bucket(values[0], scope.profile_id)
        return call(node.name, values, self.t_ms, self.zone)

    def _is_set(self, argument: Node, scope: Scope) -> bool:
        """Whether a value is not missing; an object that was sent is no value of the language, but it is there."""
        if isinstance(argument, Path):
            found, declared = self._found(argument, scope)
            if isinstance(found, Mapping):
                return declared not in self.declared
        return self._value(argument, scope) is not None

    def _percent_rank(self, argument: Node, scope: Scope) -> Value:
        """Section 6: the share of strictly smaller values, over the universe; missing outside it."""
        universe = self.universe()
        mine = self._value(argument, scope)
        if mine is None or scope.profile_id not in universe:
            return None
        values = [self._value(argument, replace(scope, profile_id=profile_id)) for profile_id in universe]
        others = [value for value in values if type(value) is type(mine)]
        if len(others) == 1:
            return Number(0)
        smaller = [value for value in others if less(value, mine)]
        return Number(divide(len(smaller) * MICRO, len(others) - 1))


def arithmetic(operator: str, left: Value, right: Value) -> Value:
    """Values: numbers only; timestamp - timestamp is ms; anything else is missing."""
    if operator == "-" and isinstance(left, Timestamp) and isinstance(right, Timestamp):
        return whole(left.ms - right.ms)
    if isinstance(left, Number) and isinstance(right, Number):
        return ARITHMETIC[operator](left, right)
    return None


def compare(operator: str, left: Value, right: Value) -> bool:
    """Truth: a comparison or word operator with a missing operand is false; `!=` is exactly `!(==)`."""
    if operator == "!=":
        return not equal(left, right)
    if left is None or right is None:
        return False
    match operator:
        case "==":
            return equal(left, right)
        case "<":
            return less(left, right)
        case ">":
            return less(right, left)
        case "<=":
            return less(left, right) or ordered_equal(left, right)
        case ">=":
            return less(right, left) or ordered_equal(left, right)
        case "in":
            return isinstance(right, tuple) and is_element(left, right)
        case "contains":
            return contains(left, right)
        case _:
            return isinstance(left, str) and isinstance(right, str) and search(operator, left, right)


def ordered_equal(left: Value, right: Value) -> bool:
    """`<=` and `>=` hold between equal values of a type that has an order."""
    return isinstance(left, Number | Timestamp | str) and equal(left, right)


def search(operator: str, text: str, sought: str) -> bool:
    """Strings: `starts_with`, `ends_with`, `matches`."""
    if operator == "starts_with":
        return text.startswith(sought)
    if operator == "ends_with":
        return text.endswith(sought)
    return compile_pattern(sought).search(text) is not None


def of_one_type(values: list[Value], arguments: Iterable[Node]) -> list[Value]:
    """`coalesce` and `if` have one type: beside a literal, a value of another type than the literal's is missing."""
    types = {found for argument in arguments if (found := literal_type(argument)) is not None}
    return [value if len(types) != 1 or type(value) in types else None for value in values]


def literal_type(node: Node) -> type | None:
    """The type of a literal, also of one with a sign."""
    if isinstance(node, Unary) and node.operator == "-":
        return literal_type(node.operand)
    return type(node.value) if isinstance(node, Literal) else None


def bucket(salt: Value, profile_id: str) -> Value:
    """Section 6: `floor(H' * 10**6 / 2**60)` micro-units, H' the first 15 hex digits of md5(`salt.profile_id`)."""
    if not isinstance(salt, str):
        return None
    digits = hashlib.md5(f"{salt}.{profile_id}".encode(), usedforsecurity=False).hexdigest()[:15]
    return Number(int(digits, 16) * 10**6 // 2**60)
