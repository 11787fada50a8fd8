"""The tiles of one source, `(+)`, and the state of a profile read from tiles and from the events after their cut.

A tile is the state of a base aggregate over one hop. Tiles carry absolute times, so nothing goes stale by waiting: a
window is the tiles from its first hop on.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from dsl import typed
from dsl.aggregates import AGGREGATES
from dsl.bases import LOCAL_DAY, Base, Bases, TileRead
from dsl.check import CheckedCatalog
from dsl.clock import DAY_MS, Zone
from dsl.evaluate import Evaluation, field_value, of_type
from dsl.event import Event, Happened
from dsl.folds import FAMILIES, Ask, Moment, Occurrence, longest_gap_minutes
from dsl.fresh import FreshEvents
from dsl.recount import in_scope
from dsl.state import State, Value


class Hops(Protocol):
    """Tiles of a base at one grain. A hop is its first millisecond; of local dates the day's number."""

    def since(self, start: int | None) -> Iterable[Any]:
        """States whose merge is that of all tiles from a hop on; None for all of them."""

    def items(self) -> Iterable[tuple[int, Any]]:
        """Each hop with its state; the last instant of one may be any of its instants, when no window asks for it."""

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


Run = tuple[int, int]
"""Tiles of one base at one grain: the base's id and the grain in milliseconds."""
Write = tuple[int, str, object]
"""Instant and event id of a write to an attribute, and what was written; None unsets."""


@dataclass(frozen=True, slots=True)
class Tiles:
    """What is kept of the events of one source up to a cut.

    Attributes:
        cut: events with `seq <= cut` are in it.
        attributes: the newest write to each attribute.
        last_ms: instant of the newest event, of any kind; None before the first.
    """

    cut: int = 0
    hops: Mapping[Run, Hops] = field(default_factory=dict)
    attributes: Mapping[str, Write] = field(default_factory=dict)
    last_ms: int | None = None


def tiles_of(events: Iterable[Event], bases: Bases, checked: CheckedCatalog) -> Tiles:
    """The tiles of some events of one source, in any order; the cut is their newest `seq`."""
    counting = Evaluation(checked, State("", 0, 0))
    hops: dict[Run, HopStates] = {}
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
                tiles = hops.setdefault((base.id, grain), HopStates())
                hop = hop_of(event, grain)
                known = tiles.get(hop, FAMILIES[base.family].identity)
                tiles[hop] = FAMILIES[base.family].merge(known, state)
    return Tiles(cut, hops, attributes, last_ms)


def add(left: Tiles, right: Tiles, bases: Bases) -> Tiles:
    """`(+)`: the tiles of the events of both; neither is changed."""
    hops: dict[Run, HopStates] = {}
    for run, tiles in (*left.hops.items(), *right.hops.items()):
        merge, known = FAMILIES[bases.by_id[run[0]].family].merge, hops.setdefault(run, HopStates())
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
            read = self.bases.reads.get(key)
            values[key] = self.kept[key] if read is None else self._value(read)
        return values[key]

    def __iter__(self) -> Iterator[str]:
        yield from (*self.checked.aggregates, *self.kept)

    def __len__(self) -> int:
        return len(self.checked.aggregates) + len(self.kept)

    def held(self, aggregate: typed.BaseAggregate) -> Iterator[int]:
        """Instants of events that an aggregate counts, as `dsl.next_change` asks for them.

        Of a window those of the earliest hop that it still holds; of calendar windows one of every date.
        """
        base, window = self.bases.reads[aggregate.key].base, aggregate.window
        yield from (occurrence.ts_ms for occurrence in self._told.occurrences(base))
        if base.family == "days":
            dates = {day for tiles in self._hops(base, LOCAL_DAY) for day, _ in tiles.items()}
            yield from (self.zone.start_ms(day) for day in dates)
        elif window is not None:
            firsts = (tiles.first(window.start_ms(self.t_ms)) for tiles in self._hops(base, window.hop_ms))
            yield from (first for first in firsts if first is not None)

    def _value(self, read: TileRead) -> Value:
        aggregate, base, window = read.aggregate, read.base, read.cut_off
        if aggregate.function == "longest_gap_minutes":
            return self._longest_gap(aggregate, base)
        start_ms = None if window is None else window.start_ms(self.t_ms)
        run = base.id, read.grain_ms
        states: list[Any] = []
        for source in self.sources:
            tiles = source.hops.get(run)
            if tiles is not None:
                states += tiles.since(start_ms)
        if self.fresh and (counted := self._counted(aggregate, base)) is not None:
            states.append(counted)
        state = states[0] if len(states) == 1 else FAMILIES[base.family].merged(states)
        value = read.fold.finalise(state, Ask(self._moment, aggregate.window, aggregate.quantile_micros))
        return of_type(value, aggregate.type) if read.narrowed else value

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
            found = source.hops.get((base.id, grain_ms))
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
