"""Section 3, "Functions": those that need no more than their arguments, t and the project's zone."""

from collections.abc import Callable, Sequence
from zoneinfo import ZoneInfo

from tests.oracle.values import (
    MICRO,
    Number,
    Timestamp,
    Value,
    fit,
    lower,
    number_text,
    read_number,
    read_timestamp,
    round_to,
    timestamp_text,
    upper,
    whole,
)
from tests.oracle.windows import DAY


def call(name: str, arguments: Sequence[Value], t_ms: int, zone: ZoneInfo) -> Value:
    """A function with a missing argument is missing, and so it is with one of a type that it does not take."""
    if name == "now":
        return Timestamp(t_ms)
    if any(argument is None for argument in arguments):
        return None
    if name in {"min", "max"}:
        return _extreme(name, arguments)
    if name == "round":
        return _round(arguments)
    if name == "date":
        return _date(arguments[0], zone)
    if name == "days_since":
        return whole((t_ms - arguments[0].ms) // DAY) if isinstance(arguments[0], Timestamp) else None
    return ONE_ARGUMENT[name](arguments[0])


def _date(value: Value, zone: ZoneInfo) -> Value:
    """`date(x)` of a string; what is declared a timestamp is one already."""
    if isinstance(value, Timestamp):
        return value
    return read_timestamp(value, zone) if isinstance(value, str) else None


def _extreme(name: str, arguments: Sequence[Value]) -> Value:
    """`min(a, b, ...)` and `max(a, b, ...)` of numbers, or of timestamps."""
    choose = min if name == "min" else max
    numbers = [argument.micro for argument in arguments if isinstance(argument, Number)]
    moments = [argument.ms for argument in arguments if isinstance(argument, Timestamp)]
    if len(numbers) == len(arguments):
        return Number(choose(numbers))
    return Timestamp(choose(moments)) if len(moments) == len(arguments) else None


def _round(arguments: Sequence[Value]) -> Value:
    """`round(x)` to a whole number, `round(x, n)` to n places."""
    number = arguments[0]
    places = arguments[1] if len(arguments) > 1 else Number(0)
    return round_to(number, places) if isinstance(number, Number) and isinstance(places, Number) else None


def _number(value: Value) -> Value:
    """`number(x)` of a number, of its decimal text, of a timestamp (ms); all else is missing."""
    if isinstance(value, str):
        return read_number(value)
    if isinstance(value, Timestamp):
        return fit(value.ms * MICRO)
    return value if isinstance(value, Number) else None


def _text(value: Value) -> Value:
    """`text(x)`: canonical text; a timestamp as ISO 8601 in UTC with milliseconds; a list has none."""
    if isinstance(value, Number):
        return number_text(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Timestamp):
        return timestamp_text(value)
    return value if isinstance(value, str) else None


def _lower(value: Value) -> Value:
    return lower(value) if isinstance(value, str) else None


def _upper(value: Value) -> Value:
    return upper(value) if isinstance(value, str) else None


def _length(value: Value) -> Value:
    """`length` counts the code points of a string."""
    return whole(len(value)) if isinstance(value, str) else None


def _abs(value: Value) -> Value:
    return fit(abs(value.micro)) if isinstance(value, Number) else None


ONE_ARGUMENT: dict[str, Callable[[Value], Value]] = {
    "number": _number, "text": _text, "lower": _lower, "upper": _upper, "length": _length, "abs": _abs,
}  # fmt: skip
