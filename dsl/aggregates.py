"""The one table of aggregates: what each takes, what it gives, and of what kind its window is."""

from dataclasses import dataclass
from typing import Literal

from dsl.types import Type


@dataclass(frozen=True, slots=True)
class AggregateFunction:
    """An aggregate of the language.

    Attributes:
        argument: type that the property must have; None when the aggregate takes none.
        returns: type of the value.
        window: what a suffix means: a duration, calendar days in the project's zone, or not allowed.
        of_nothing: the value when no event is selected, in micro-units; None is missing.
        whole: the value is always a whole number (engines may keep it as a plain integer).
    """

    name: str
    argument: Type | None
    returns: Type
    window: Literal["duration", "calendar", "none"]
    of_nothing: int | None
    whole: bool
    summary: str


AGGREGATES: dict[str, AggregateFunction] = {
    aggregate.name: aggregate
    for aggregate in (
        AggregateFunction("count", None, "number", "duration", 0, True, "number of events"),
        AggregateFunction("sum", "number", "number", "duration", 0, False, "exact sum of a numeric property"),
        AggregateFunction("avg", "number", "number", "duration", None, False, "sum / count, rounded to six places"),
        AggregateFunction("min", "number", "number", "duration", None, False, "smallest value of a numeric property"),
        AggregateFunction("max", "number", "number", "duration", None, False, "largest value of a numeric property"),
        AggregateFunction("unique_days", None, "number", "calendar", 0, True, "local dates with an event"),
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
