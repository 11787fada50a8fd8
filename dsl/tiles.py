"""The tiles of one source, `(+)`, and the state of a profile read from tiles and from the events after their cut.

A tile is the state of a base aggregate over one hop. Tiles carry absolute times, so nothing goes stale by waiting: a
window is the tiles from its first hop on.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from dsl import typed
from dsl.aggregates import AGGREGATES
from dsl.bases import LOCAL_DAY, Base, Bases
from dsl.check import AggregateUse, CheckedCatalog
from dsl.clock import DAY_MS, Zone
from dsl.evaluate import Evaluation, field_value, of_type
from dsl.event import Event, Happened
from dsl.folds import FAMILIES, FOLDS, Ask, Moment, Occurrence, longest_gap_minutes
from dsl.fresh import FreshEvents
from dsl.recount import in_scope
from dsl.state import State, Value


class Hops(Protocol):
    """Tiles of a base at one grain. A hop is its first millisecond; of local dates the day's number."""

    def since(self, start: int | None) -> Iterable[Any]:
        """States whose merge is that of all tiles from a hop on; None for all of them."""

    def items(self) -> Iterable[tuple[int, Any]]:
        """Each hop with its state."""

    def first(self, start: int) -> int | None:
        """The earliest hop from one on; None when there is none."""


class HopStates(dict[int, Any]):
    """Tiles as a mapping of hops to states."""

    def since(self, start: int | None) -> Iterable[Any]:
        """As in `Hops`."""
        return self.values() if start is None else [state for hop, state in self.items() if hop >= start]

    def first(self, start: int) -> int | None:
        """As in `Hops`."""
        return min((hop for hop in self if hop >= start), default=None)


_NO_GRAINS: Final[Mapping[int, Hops]] = {}
Write = tuple[int, str, object]
"""Instant and event id of a write to an attribute, and what was written; None unsets."""


@dataclass(frozen=True, slots=True)
class Tiles:
    """What is kept of the events of one source up to a cut.

    Attributes:
        cut: events with `seq <= cut` are in it.
        hops: tiles by the key of their base, then by grain in milliseconds.
        attributes: the newest write to each attribute.
        last_ms: instant of the newest event, of any kind; None before the first.
    """

    cut: int = 0
    hops: Mapping[str, Mapping[int, Hops]] = field(default_factory=dict)
    attributes: Mapping[str, Write] = field(default_factory=dict)
    last_ms: int | None = None


def tiles_of(events: Iterable[Event], bases: Bases, checked: CheckedCatalog) -> Tiles:
    """The tiles of some events of one source, in any order; the cut is their newest `seq`."""
    counting = Evaluation(checked, State("", 0, 0))
    hops: dict[str, dict[int, HopStates]] = {}
    attributes: dict[str, Write] = {}
    cut, last_ms = 0, None
    for event in events:
        cut, last_ms = max(cut, event.seq), _latest(last_ms, event.ts_ms)
        if event.kind == "identify":
            written = {name: (event.ts_ms, event.event_id, value) for name, value in event.properties.items()}
            attributes = _newest(attributes, written)
        for base in bases.by_key.values():
            state = state_of(event, base, counting)
            for grain in base.grains if state is not None else ():
                tiles = hops.setdefault(base.key, {}).setdefault(grain, HopStates())
                hop = hop_of(event, grain)
                known = tiles.get(hop, FAMILIES[base.family].identity)
                tiles[hop] = FAMILIES[base.family].merge(known, state)
    return Tiles(cut, hops, attributes, last_ms)


def add(left: Tiles, right: Tiles, bases: Bases) -> Tiles:
    """`(+)`: the tiles of the events of both; neither is changed."""
    hops: dict[str, dict[int, HopStates]] = {}
    for key, base in bases.by_key.items():
        merge = FAMILIES[base.family].merge
        for side in (left, right):
            for grain, tiles in side.hops.get(key, {}).items():
                known = hops.setdefault(key, {}).setdefault(grain, HopStates())
                for hop, state in tiles.items():
                    known[hop] = merge(known[hop], state) if hop in known else state
    attributes = _newest(left.attributes, right.attributes)
    return Tiles(max(left.cut, right.cut), hops, attributes, _latest(left.last_ms, right.last_ms))


def state_of(event: Event, base: Base, counting: Evaluation) -> Any:
    """What one event adds to a base aggregate; None when it does not count."""
    occurrence = _occurrence(event, base, counting)
    return None if occurrence is None else FAMILIES[base.family].of(occurrence)


def hop_of(event: Event, grain_ms: int) -> int:
    """The hop of an event: its first millisecond, of local dates the day's number."""
    return event.local_day if grain_ms == LOCAL_DAY else event.ts_ms // grain_ms * grain_ms


def attributes_of(sources: Iterable[Tiles]) -> dict[str, object]:
    """Attributes of a profile: the newest write over its sources, by `(ts, event_id)`; null unsets."""
    newest: Mapping[str, Write] = {}
    for source in sources:
        newest = _newest(newest, source.attributes) if newest else source.attributes
    return {name: value for name, (_, _, value) in newest.items() if value is not None}


@dataclass(slots=True)
class Folded(Mapping[str, Value]):
    """Values of the aggregates of one profile, each folded when it is first asked for.

    Attributes:
        sources: tiles of the sources of the profile.
        fresh: events of the profile after the cuts of its sources, each once.
        t_ms: the instant of the question, later than every event.
        kept: values that no events of the profile give: where it stands among others (`percent_rank`).
        told: the fresh events as aggregates see them, when they have been asked before.
    """

    checked: CheckedCatalog
    bases: Bases
    sources: Sequence[Tiles]
    fresh: Sequence[Happened]
    t_ms: int
    zone: Zone
    kept: Mapping[str, Value] = field(default_factory=dict)
    told: FreshEvents | None = None
    _values: dict[str, Value] = field(default_factory=dict)
    _moment: Moment = field(init=False)
    _told: FreshEvents = field(init=False)

    def __post_init__(self) -> None:
        self._told = FreshEvents(self.fresh, self.checked) if self.told is None else self.told
        self._moment = Moment(self.t_ms, self.zone.day(self.t_ms))

    def __getitem__(self, key: str) -> Value:
        values = self._values
        if key not in values:
            use = self.checked.aggregates.get(key)
            values[key] = self.kept[key] if use is None else self._value(use)
        return values[key]

    def __iter__(self) -> Iterator[str]:
        yield from (*self.checked.aggregates, *self.kept)

    def __len__(self) -> int:
        return len(self.checked.aggregates) + len(self.kept)

    def held(self, aggregate: typed.BaseAggregate) -> Iterator[int]:
        """Instants of events that an aggregate counts, as `dsl.next_change` asks for them.

        Of a window those of the earliest hop that it still holds; of calendar windows one of every date.
        """
        base, window = self.bases.of_use[aggregate.key], aggregate.window
        yield from (occurrence.ts_ms for occurrence in self._told.occurrences(base))
        if base.family == "days":
            dates = {day for tiles in self._hops(base, LOCAL_DAY) for day, _ in tiles.items()}
            yield from (self.zone.start_ms(day) for day in dates)
        elif window is not None:
            firsts = (tiles.first(window.start_ms(self.t_ms)) for tiles in self._hops(base, window.hop_ms))
            yield from (first for first in firsts if first is not None)

    def _value(self, use: AggregateUse) -> Value:
        aggregate, base = use.aggregate, self.bases.of_use[use.key]
        if aggregate.function == "longest_gap_minutes":
            return self._longest_gap(aggregate, base)
        states = self._tiled(aggregate, base)
        if self.fresh:
            states.append(self._counted(aggregate, base))
        state = FAMILIES[base.family].merged(states)
        ask = Ask(self._moment, aggregate.window, aggregate.quantile_micros)
        value = FOLDS[aggregate.function].finalise(state, ask)
        open_type = aggregate.argument is not None and aggregate.argument.type == "unknown"
        # The first of all values may be of another type than the one that is asked for.
        return of_type(value, aggregate.type) if open_type and aggregate.key != aggregate.text else value

    def _tiled(self, aggregate: typed.BaseAggregate, base: Base) -> list[Any]:
        """States of the tiles that an aggregate counts."""
        window, start_ms = aggregate.window, None
        if base.family == "days":
            # Which of the dates count, finalising decides.
            grain = LOCAL_DAY
        elif window is None:
            grain = DAY_MS
        else:
            grain, start_ms = window.hop_ms, window.start_ms(self.t_ms)
        held = [source.hops.get(base.key, _NO_GRAINS).get(grain) for source in self.sources]
        return [state for tiles in held if tiles is not None for state in tiles.since(start_ms)]

    def _counted(self, aggregate: typed.BaseAggregate, base: Base) -> Any:
        """The state of the fresh events that an aggregate counts; None when there are none."""
        cut_off = aggregate.window is not None and AGGREGATES[aggregate.function].window == "duration"
        start_ms = aggregate.window.start_ms(self.t_ms) if cut_off and aggregate.window is not None else None
        return self._told.state(base, start_ms)

    def _longest_gap(self, aggregate: typed.BaseAggregate, base: Base) -> Value:
        window = aggregate.window
        if window is None:
            return None
        start_ms, merge = window.start_ms(self.t_ms), FAMILIES[base.family].merge
        inside: dict[int, Any] = {}
        before: list[int] = []
        grain, occurrences = window.hop_ms, self._told.occurrences(base)
        fresh = [(o.ts_ms // grain * grain, (1, o.ts_ms, o.ts_ms)) for o in occurrences]
        tiled = (tile for tiles in self._hops(base, window.hop_ms) for tile in tiles.items())
        for hop, state in (*tiled, *fresh):
            if hop >= start_ms:
                inside[hop] = merge(inside.get(hop), state)
            else:
                before.append(state[2])
        # What is older than the tiles of the window's grain is in those of a day.
        days = (state[2] for tiles in self._hops(base, DAY_MS) for _, state in tiles.items())
        before += [last_ms for last_ms in days if last_ms < start_ms]
        hops = ((inside[hop][1], inside[hop][2]) for hop in sorted(inside))
        return longest_gap_minutes(hops, max(before, default=None))

    def _hops(self, base: Base, grain_ms: int) -> Iterator[Hops]:
        for source in self.sources:
            found = source.hops.get(base.key, {}).get(grain_ms)
            if found is not None:
                yield found


def _occurrence(event: Event, base: Base, counting: Evaluation) -> Occurrence | None:
    """An event as a base aggregate sees it; None when it is of another name or does not pass the filter."""
    aggregate = base.aggregate
    if not in_scope(aggregate, event):
        return None
    if aggregate.filter is not None and not counting.of_event(event).truth(aggregate.filter):
        return None
    argument = aggregate.argument
    value = None if argument is None else field_value(argument, event.properties, counting.checked.zone)
    return Occurrence(event.ts_ms, event.event_id, event.local_day, value)


def _latest(left: int | None, right: int | None) -> int | None:
    return max((each for each in (left, right) if each is not None), default=None)


def _newest(left: Mapping[str, Write], right: Mapping[str, Write]) -> dict[str, Write]:
    newest = dict(left)
    for name, write in right.items():
        if name not in newest or newest[name][:2] < write[:2]:
            newest[name] = write
    return newest
