"""The one table of aggregates: what each takes, what it gives, and of what kind its window is."""

from dataclasses import dataclass
from typing import Literal

from dsl.types import Type


@dataclass(frozen=True, slots=True)
class AggregateFunction:
    """An aggregate of the language.

    Attributes:
        argument: type that the property must have; `unknown` takes any, None is an aggregate that takes none.
        returns: type of the value; `unknown` is that of the property.
        window: what a suffix means: a duration, or calendar days in the project's zone.
        longest_ms: the longest window, in milliseconds, of an aggregate that cannot do without one.
        of_nothing: the value when no event is selected, in micro-units; None is missing.
        whole: the value is always a whole number (engines may keep it as a plain integer).
        quantile: takes a second argument, a number literal from 0 to 1.
    """

    name: str
    argument: Type | None
    returns: Type
    window: Literal["duration", "calendar"]
    of_nothing: int | tuple[()] | None
    whole: bool
    summary: str
    longest_ms: int | None = None
    quantile: bool = False


AGGREGATES: dict[str, AggregateFunction] = {
    aggregate.name: aggregate
    for aggregate in (
        AggregateFunction("count", None, "number", "duration", 0, True, "number of events"),
        AggregateFunction("sum", "number", "number", "duration", 0, False, "exact sum of a numeric property"),
        AggregateFunction("avg", "number", "number", "duration", None, False, "sum / count, rounded to six places"),
        AggregateFunction("min", "number", "number", "duration", None, False, "smallest value of a numeric property"),
        AggregateFunction("max", "number", "number", "duration", None, False, "largest value of a numeric property"),
        AggregateFunction("unique_days", None, "number", "calendar", 0, True, "local dates with an event"),
        AggregateFunction(
            "streak_days", None, "number", "calendar", 0, True, "consecutive local dates with an event, up to today"
        ),
        AggregateFunction(
            "longest_gap_minutes",
            None,
            "number",
            "duration",
            None,
            True,
            "longest time from one event to the next that lies in the window, in whole minutes",
            longest_ms=86_400_000,
        ),
        AggregateFunction(
            "first", "unknown", "unknown", "duration", None, False, "value in the first event that has it"
        ),
        AggregateFunction("last", "unknown", "unknown", "duration", None, False, "value in the last event that has it"),
        AggregateFunction("count_distinct", "unknown", "number", "duration", 0, True, "number of different values"),
        AggregateFunction(
            "most_frequent", "unknown", "unknown", "duration", None, False, "value that occurs most often"
        ),
        AggregateFunction("unique_list", "unknown", "list", "duration", (), False, "different values, by their text"),
        AggregateFunction("median", "number", "number", "duration", None, False, "value of middle rank"),
        AggregateFunction(
            "percentile", "number", "number", "duration", None, False, "value of rank `q`, 0 to 1", quantile=True
        ),
        AggregateFunction("first_at", None, "timestamp", "duration", None, False, "instant of the first event"),
        AggregateFunction("last_at", None, "timestamp", "duration", None, False, "instant of the last event"),
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
