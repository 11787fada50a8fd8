"""The one table of aggregates: what each takes, what it gives, and of what kind its window is."""

from dataclasses import dataclass
from typing import Literal

from dsl.types import Type


@dataclass(frozen=True, slots=True)
class AggregateFunction:
    """An aggregate of the language.

    Attributes:
        argument: types that the property may have, the one first that nothing else fixes; empty without a property.
        returns: type of the value; `unknown` is that of the property.
        window: what a suffix means: a duration, or calendar days in the project's zone.
        longest_ms: the longest window, in milliseconds, of an aggregate that cannot do without one.
        of_nothing: the value when no event is selected, in micro-units; None is missing.
        whole: the value is always a whole number (engines may keep it as a plain integer).
        quantile: takes a second argument, a number literal from 0 to 1.
    """

    name: str
    argument: tuple[Type, ...]
    returns: Type
    window: Literal["duration", "calendar"]
    of_nothing: int | tuple[()] | None
    whole: bool
    summary: str
    longest_ms: int | None = None
    quantile: bool = False


_NUMBER: tuple[Type, ...] = ("number",)
_INSTANT_TOO: tuple[Type, ...] = ("number", "timestamp")
_SCALAR: tuple[Type, ...] = ("unknown", "number", "string", "boolean")
_ANY: tuple[Type, ...] = (*_SCALAR, "timestamp", "list")

AGGREGATES: dict[str, AggregateFunction] = {
    aggregate.name: aggregate
    for aggregate in (
        AggregateFunction("count", (), "number", "duration", 0, True, "number of events"),
        AggregateFunction("sum", _NUMBER, "number", "duration", 0, False, "exact sum of a numeric property"),
        AggregateFunction("avg", _NUMBER, "number", "duration", None, False, "sum / count, rounded to six places"),
        AggregateFunction("min", _INSTANT_TOO, "unknown", "duration", None, False, "smallest number, earliest instant"),
        AggregateFunction("max", _INSTANT_TOO, "unknown", "duration", None, False, "largest number, latest instant"),
        AggregateFunction("unique_days", (), "number", "calendar", 0, True, "local dates with an event"),
        AggregateFunction(
            "streak_days", (), "number", "calendar", 0, True, "consecutive local dates with an event, up to today"
        ),
        AggregateFunction(
            "longest_gap_minutes",
            (),
            "number",
            "duration",
            None,
            True,
            "longest time from one event to the next that lies in the window, in whole minutes",
            longest_ms=86_400_000,
        ),
        AggregateFunction("first", _ANY, "unknown", "duration", None, False, "value in the first event that has it"),
        AggregateFunction("last", _ANY, "unknown", "duration", None, False, "value in the last event that has it"),
        AggregateFunction("count_distinct", _SCALAR, "number", "duration", 0, True, "number of different values"),
        AggregateFunction("most_frequent", _SCALAR, "unknown", "duration", None, False, "value that occurs most often"),
        AggregateFunction("unique_list", _SCALAR, "list", "duration", (), False, "different values, by their text"),
        AggregateFunction("median", _NUMBER, "number", "duration", None, False, "value of middle rank"),
        AggregateFunction(
            "percentile", _NUMBER, "number", "duration", None, False, "value of rank `q`, 0 to 1", quantile=True
        ),
        AggregateFunction("first_at", (), "timestamp", "duration", None, False, "instant of the first event"),
        AggregateFunction("last_at", (), "timestamp", "duration", None, False, "instant of the last event"),
    )
}


@dataclass(frozen=True, slots=True)
class AgeFunction:
    """An aggregate that is the age of an instant in whole units, rounded down: `days_since_last`."""

    name: str
    instant: Literal["first_at", "last_at"]
    unit_ms: int


AGES: dict[str, AgeFunction] = {
    age.name: age
    for age in (
        AgeFunction("days_since_first", "first_at", 86_400_000),
        AgeFunction("days_since_last", "last_at", 86_400_000),
        AgeFunction("minutes_since_last", "last_at", 60_000),
    )
}

SEEN_AGES: dict[str, AgeFunction] = {
    f"{edge}_seen_{unit}_ago": AgeFunction(f"{edge}_seen_{unit}_ago", instant, unit_ms)  # type: ignore[arg-type]  # both are literal
    for edge, instant in (("first", "first_at"), ("last", "last_at"))
    for unit, unit_ms in (("minutes", 60_000), ("hours", 3_600_000), ("days", 86_400_000))
}
"""Bare names: ages over every event sent from outside, of any kind."""
