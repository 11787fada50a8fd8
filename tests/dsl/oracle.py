"""A second answer to every expression: a double loop over raw events, written from the rules alone.

It imports nothing of the engines. Expressions are tuples, which `text` prints in the language and `Oracle.value`
evaluates:

    ("num", micros) ("str", text) ("bool", truth) ("now",) ("seen", "last", "hours")
    ("attr", name, type) ("prop", name, type)           type is number, string, boolean, or any (for is_set)
    ("agg", event | None, filter | None, function, window | None, property | None)
    ("age", event | None, filter | None, function, window | None)
    ("ref", style, key)                                 style is bare, trait or segment
    ("arith", operator, left, right) ("elapsed", later, earlier) ("neg", x) ("call", function, arguments)
    ("cmp", operator, left, right) ("in", x, items) ("and", left, right) ("or", left, right) ("not", x)

Numbers are micro-units, instants epoch milliseconds, missing is None. An event is a mapping with `event_id`, `seq`,
`kind`, `name`, `source`, `ts_ms`, `local_day` and `properties`.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Tree = tuple[Any, ...]
Value = int | str | bool | None
Event = Mapping[str, Any]

MICROS = 1_000_000
SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
UNITS = {"s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY, "w": 7 * DAY}
AGES = {
    "days_since_first": ("first_at", DAY),
    "days_since_last": ("last_at", DAY),
    "minutes_since_last": ("last_at", MINUTE),
}
SEEN_UNITS = {"minutes": MINUTE, "hours": HOUR, "days": DAY}
CAPITALS, SMALL = "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class World:
    """Everything that is known, and the moment of the question.

    Attributes:
        identities: source, profile, first seq at which the source is of the profile, seq from which it is not or None.
        attributes: by profile, then by name.
        definitions: kind (`trait` or `segment`) and tree by key.
        today: local date of `t_ms`, days since 1970-01-01.
    """

    events: Sequence[Event]
    identities: Sequence[tuple[str, str, int, int | None]]
    attributes: Mapping[str, Mapping[str, object]]
    definitions: Mapping[str, tuple[str, Tree]]
    t_ms: int
    cut: int
    today: int

    def known(self, profile: str) -> list[Event]:
        """The events of a profile with `seq <= cut` and `ts < t`."""
        return [
            event
            for event in self.events
            for source, owner, since, until in self.identities
            if event["source"] == source
            and owner == profile
            and since <= self.cut
            and (until is None or until > self.cut)
            and event["seq"] <= self.cut
            and event["ts_ms"] < self.t_ms
        ]

    def seen(self, profile: str) -> list[int]:
        """Instants of the known events of any outside kind, in order."""
        return sorted(event["ts_ms"] for event in self.known(profile) if event["kind"] != "system")

    def universe(self) -> list[str]:
        """Profiles with a known event of any outside kind."""
        profiles = {profile for _, profile, _, _ in self.identities}
        return sorted(profile for profile in profiles if self.seen(profile))


def width_ms(window: str) -> int:
    """Length of `30d`."""
    return int(window[:-1]) * UNITS[window[-1]]


def start_ms(window: str, t_ms: int) -> int:
    """First instant of a duration window: `floor(t - W, h)`."""
    width = width_ms(window)
    hop = SECOND
    for candidate in (MINUTE, 5 * MINUTE, HOUR, DAY):
        if 100 * candidate <= width:
            hop = candidate
    return (t_ms - width) // hop * hop


def first_day(window: str, today: int) -> int:
    """First local date of a calendar window."""
    return today - (int(window[:-1]) * (7 if window[-1] == "w" else 1) - 1)


def quotient(dividend: int, divisor: int) -> int:
    """Rounded to the nearest whole number, halves away from zero."""
    negative = (dividend < 0) != (divisor < 0)
    whole, rest = divmod(abs(dividend), abs(divisor))
    if 2 * rest >= abs(divisor):
        whole += 1
    return -whole if negative else whole


def number(value: int) -> int | None:
    """Missing when it is no signed 64-bit count of micro-units."""
    return value if -(2**63) <= value < 2**63 else None


def of_type(value: object, wanted: str) -> Value:
    """A JSON value where a type is needed; another type is missing."""
    kinds: dict[str, type] = {"boolean": bool, "string": str, "number": int}
    if wanted == "any":
        return value is not None or None
    if type(value) is kinds[wanted]:
        return value  # type: ignore[return-value]  # one of the three
    return None


@dataclass
class Oracle:
    """Values of one profile."""

    world: World
    profile: str
    event: Event | None = None
    """The event that a filter looks at."""
    known: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.known = self.known or self.world.known(self.profile)

    def definition(self, key: str) -> Value:
        """Value of a trait, or whether the profile is in a segment."""
        kind, tree = self.world.definitions[key]
        return self.value(tree) is True if kind == "segment" else self.value(tree)

    def value(self, tree: Tree) -> Value:
        """Value of an expression."""
        operand: Value
        match tree:
            case ("num" | "str" | "bool", constant):
                return constant  # type: ignore[no-any-return]  # a literal
            case ("now",):
                return self.world.t_ms
            case ("attr", name, wanted):
                return of_type(self.world.attributes.get(self.profile, {}).get(name), wanted)
            case ("prop", name, wanted):
                return of_type((self.event or {"properties": {}})["properties"].get(name), wanted)
            case ("ref", _, key):
                return self.definition(key)
            case ("agg", event, condition, function, window, name):
                return self.aggregate(event, condition, function, window, name)
            case ("age", event, condition, function, window):
                instant, unit = AGES[function]
                return self.age(self.aggregate(event, condition, instant, window, None), unit)
            case ("seen", edge, unit):
                instants = self.world.seen(self.profile)
                return self.age(instants[0 if edge == "first" else -1] if instants else None, SEEN_UNITS[unit])
            case ("neg", inner):
                operand = self.value(inner)
                return None if operand is None else number(-operand)  # type: ignore[operator]  # typed by the drawing
            case ("arith" | "elapsed", *_):
                return self.arithmetic(tree)
            case ("call", function, arguments):
                return self.call(function, arguments)
        return self.condition(tree)

    def condition(self, tree: Tree) -> bool:
        """Comparisons and logic: never missing."""
        match tree:
            case ("cmp", "!=", left, right):
                return not self.condition(("cmp", "==", left, right))
            case ("cmp", operator, left, right):
                return compared(operator, self.value(left), self.value(right))
            case ("in", inner, items):
                return any(compared("==", self.value(inner), self.value(item)) for item in items)
            case ("and", left, right):
                return self.value(left) is True and self.value(right) is True
            case ("or", left, right):
                return self.value(left) is True or self.value(right) is True
            case ("not", inner):
                return self.value(inner) is not True
        raise AssertionError(f"no such expression: {tree[0]}")

    def age(self, instant: Value, unit_ms: int) -> Value:
        """Whole units since an instant."""
        return None if instant is None else number((self.world.t_ms - int(instant)) // unit_ms * MICROS)

    def arithmetic(self, tree: Tree) -> Value:
        """On micro-units; two instants give their distance in milliseconds."""
        left, right = self.value(tree[-2]), self.value(tree[-1])
        if left is None or right is None:
            return None
        one, other = int(left), int(right)
        match tree[:-2]:
            case ("elapsed",):
                return number((one - other) * MICROS)
            case (_, "+"):
                return number(one + other)
            case (_, "-"):
                return number(one - other)
            case (_, "*"):
                return number(quotient(one * other, MICROS))
            case (_, "/"):
                return None if other == 0 else number(quotient(one * MICROS, other))
        if other == 0:
            return None
        rest = abs(one) % abs(other)
        return -rest if one < 0 else rest

    def call(self, function: str, arguments: Sequence[Tree]) -> Value:
        """A function."""
        if function == "if":
            return self.value(arguments[1] if self.value(arguments[0]) is True else arguments[2])
        values: list[Any] = [self.value(argument) for argument in arguments]
        if function == "coalesce":
            return next((value for value in values if value is not None), None)
        if function == "is_set":
            return values[0] is not None
        if any(value is None for value in values):
            return None
        match function:
            case "abs":
                return number(max(values[0], -values[0]))
            case "min":
                return sorted(values)[0]  # type: ignore[no-any-return]  # numbers
            case "max":
                return sorted(values)[-1]  # type: ignore[no-any-return]  # numbers
            case "lower":
                return "".join(SMALL[CAPITALS.index(c)] if c in CAPITALS else c for c in values[0])
            case "upper":
                return "".join(CAPITALS[SMALL.index(c)] if c in SMALL else c for c in values[0])
            case "length":
                return len(values[0]) * MICROS
            case "days_since":
                return self.age(values[0], DAY)
        raise AssertionError(f"no such function: {function}")

    def aggregate(
        self, event: str | None, condition: Tree | None, function: str, window: str | None, name: str | None
    ) -> Value:
        """An aggregate over the events that it selects, looked at one by one."""
        chosen = [one for one in self.known if self.selects(one, event, condition, function, window)]
        if function == "count":
            return len(chosen) * MICROS
        if function == "unique_days":
            return len({one["local_day"] for one in chosen}) * MICROS
        instants = sorted(one["ts_ms"] for one in chosen)
        if function in ("first_at", "last_at"):
            return instants[0 if function == "first_at" else -1] if instants else None
        values = [one["properties"].get(name) for one in chosen]
        numbers = sorted(value for value in values if type(value) is int)
        if function == "sum":
            return number(sum(numbers))
        if not numbers:
            return None
        if function == "avg":
            return quotient(sum(numbers), len(numbers))
        return numbers[0 if function == "min" else -1]

    def selects(self, one: Event, event: str | None, condition: Tree | None, function: str, window: str | None) -> bool:
        """Whether an aggregate counts an event."""
        if event is None and one["kind"] not in ("track", "page", "screen"):
            return False
        if event is not None and (one["name"] != event or one["kind"] in ("identify", "alias", "group")):
            return False
        if window is not None and function == "unique_days":
            if not first_day(window, self.world.today) <= one["local_day"] <= self.world.today:
                return False
        elif window is not None and one["ts_ms"] < start_ms(window, self.world.t_ms):
            return False
        return condition is None or Oracle(self.world, self.profile, one, self.known).value(condition) is True


def compared(operator: str, left: Value, right: Value) -> bool:
    """A comparison of two values of one type; false when one is missing."""
    if left is None or right is None:
        return False
    one: Any = left
    match operator:
        case "==":
            return one == right  # type: ignore[no-any-return]  # plain values
        case "<":
            return one < right  # type: ignore[no-any-return]  # plain values
        case "<=":
            return one <= right  # type: ignore[no-any-return]  # plain values
        case ">":
            return one > right  # type: ignore[no-any-return]  # plain values
    return one >= right  # type: ignore[no-any-return]  # plain values


# -- text --------------------------------------------------------------------------------------------------------------


def number_text(micros: int) -> str:
    """A number as it is written in the language and in JSON."""
    digits = f"{abs(micros):07d}"
    return f"{'-' if micros < 0 else ''}{digits[:-6]}.{digits[-6:]}".rstrip("0").rstrip(".")


def json_text(value: object) -> str:
    """JSON of a value whose whole numbers are micro-units."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(key)}:{json_text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(json_text(item) for item in value) + "]"
    return number_text(value) if type(value) is int else json.dumps(value)


def text(tree: Tree) -> str:  # noqa: C901  # one case per kind of node
    """The expression in the language."""
    match tree:
        case ("num", micros):
            return number_text(micros)
        case ("str", value):
            return json.dumps(value)
        case ("bool", truth):
            return "true" if truth else "false"
        case ("now",):
            return "now()"
        case ("seen", edge, unit):
            return f"{edge}_seen_{unit}_ago"
        case ("attr", name, _):
            return f"profile{_step(name)}"
        case ("prop", name, _):
            return name if _is_word(name) else f"properties{_step(name)}"
        case ("ref", style, key):
            return key if style == "bare" else f'{style}("{key}")'
        case ("agg" | "age", event, condition, function, window, *argument):
            head = f"events{'.*' if event is None else _step(event)}{f'[{text(condition)}]' if condition else ''}"
            name = argument[0] if argument and argument[0] is not None else None
            shown = "" if name is None else f"({text(('prop', name, 'number'))})"
            return f"{head}.{function}{f'_{window}' if window else ''}{shown}"
        case ("call", function, arguments):
            return f"{function}({', '.join(map(text, arguments))})"
        case ("in", inner, items):
            return f"{_operand(inner)} in [{', '.join(map(text, items))}]"
        case ("elapsed", later, earlier):
            return f"{_operand(later)} - {_operand(earlier)}"
        case ("arith" | "cmp", operator, left, right):
            return f"{_operand(left)} {operator} {_operand(right)}"
        case ("and" | "or" as word, left, right):
            return f"{_operand(left)} {word} {_operand(right)}"
        case ("not", inner):
            return f"!({text(inner)})"
    return f"-({text(tree[1])})"


def _operand(tree: Tree) -> str:
    simple = tree[0] in ("str", "bool", "now", "seen", "attr", "prop", "ref", "agg", "age", "call")
    return text(tree) if simple else f"({text(tree)})"


def _step(name: str) -> str:
    return f".{name}" if _is_word(name) else f"[{json.dumps(name)}]"


def _is_word(name: str) -> bool:
    return re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name) is not None
