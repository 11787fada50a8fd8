"""The events of one profile that no tile has yet, as base aggregates see them.

A decision asks many bases about the same events: each is told by its name and kind once, and filters and properties are
evaluated once for all bases that share them, and only where a name asks for them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from dsl import typed
from dsl.bases import Base
from dsl.check import CheckedCatalog
from dsl.clock import Zone
from dsl.evaluate import Evaluation, field_value
from dsl.event import Happened
from dsl.folds import FAMILIES, Occurrence
from dsl.recount import in_scope
from dsl.state import State, Value


@dataclass(slots=True)
class FreshEvents:
    """Occurrences and states of some events, each computed when it is first asked for."""

    events: Sequence[Happened]
    checked: CheckedCatalog
    _alike: Sequence["_Alike"] | None = None
    _occurrences: dict[str, Sequence[Occurrence]] = field(default_factory=dict)
    _firsts: dict[str, int] = field(default_factory=dict)
    _states: dict[tuple[str, int | None], Any] = field(default_factory=dict)

    def occurrences(self, base: Base) -> Sequence[Occurrence]:
        """What a base counts of them, in no order."""
        if not self.events:
            return ()
        if base.key not in self._occurrences:
            self._occurrences[base.key] = list(self._counted(base))
        return self._occurrences[base.key]

    def state(self, base: Base, start_ms: int | None) -> Any:
        """The state of what a base counts from an instant on, inclusive; None when it counts nothing."""
        counted = self.occurrences(base)
        if not counted:
            return None
        if start_ms is not None and self._first_ms(base, counted) >= start_ms:
            # Windows that begin before all of them have one state.
            start_ms = None
        if (base.key, start_ms) not in self._states:
            inside = [o for o in counted if start_ms is None or o.ts_ms >= start_ms]
            self._states[base.key, start_ms] = FAMILIES[base.family].together(inside)
        return self._states[base.key, start_ms]

    def _first_ms(self, base: Base, counted: Sequence[Occurrence]) -> int:
        if base.key not in self._firsts:
            self._firsts[base.key] = min(occurrence.ts_ms for occurrence in counted)
        return self._firsts[base.key]

    def _counted(self, base: Base) -> Iterator[Occurrence]:
        aggregate = base.aggregate
        if self._alike is None:
            self._alike = list(_alike(self.events, self.checked))
        for alike in self._alike:
            if in_scope(aggregate, alike.events[0]):
                yield from alike.occurrences(aggregate.filter, aggregate.argument)


@dataclass(slots=True)
class _Alike:
    """Events of one name and kind."""

    events: list[Happened]
    counting: Evaluation
    zone: Zone
    _passing: dict[typed.Node, list[Happened]] = field(default_factory=dict)
    _bare: list[Occurrence] | None = None

    def occurrences(self, condition: typed.Node | None, argument: typed.Field | None) -> list[Occurrence]:
        """Those that pass a filter, with their values of a property."""
        if condition is None and argument is None:
            if self._bare is None:
                self._bare = _bare(self.events)
            return self._bare
        passing = self.events if condition is None else self._that_pass(condition)
        if argument is None:
            return _bare(passing)
        return [Occurrence(e.ts_ms, e.event_id, e.local_day, self._value(e, argument)) for e in passing]

    def _that_pass(self, condition: typed.Node) -> list[Happened]:
        if condition not in self._passing:
            self._passing[condition] = [event for event in self.events if self._passes(event, condition)]
        return self._passing[condition]

    def _passes(self, event: Happened, condition: typed.Node) -> bool:
        counting = self.counting
        counting.properties, counting.context = event.properties, event.context
        return counting.truth(condition)

    def _value(self, event: Happened, argument: typed.Field) -> Value:
        return field_value(argument, event.properties, self.zone)


def _bare(events: Sequence[Happened]) -> list[Occurrence]:
    return [Occurrence(event.ts_ms, event.event_id, event.local_day) for event in events]


def _alike(events: Sequence[Happened], checked: CheckedCatalog) -> Iterator[_Alike]:
    told: dict[tuple[str, str], list[Happened]] = {}
    for event in events:
        told.setdefault((event.kind, event.name), []).append(event)
    counting = Evaluation(checked, State("", 0, 0))
    return (_Alike(members, counting, checked.zone) for members in told.values())
