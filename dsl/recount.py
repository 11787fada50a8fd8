"""The state of a profile counted from its raw events: what every faster way has to equal."""

from collections.abc import Iterable, Iterator, Mapping

from dsl import typed
from dsl.aggregates import AGGREGATES
from dsl.check import CheckedCatalog, walk
from dsl.clock import Zone
from dsl.evaluate import Evaluation, field_value, of_type
from dsl.event import Event, Happened
from dsl.folds import APPROXIMATE, EXACT, FAMILIES, FOLDS, Ask, Moment, Occurrence, longest_gap_minutes
from dsl.state import State, Value
from dsl.tags import is_scalar, tag
from dsl.windows import Window

_TRACKED = ("track", "page", "screen")


def count_again(
    profile_id: str, events: Iterable[Event], checked: CheckedCatalog, t_ms: int, cut: int, zone: Zone
) -> State:
    """The state of one profile at `(t_ms, cut)`.

    Args:
        events: of all sources of the profile, in any order; those with `seq > cut` or `ts_ms >= t_ms` do not count.
        zone: the project's, for the local day of `t_ms`.
    """
    known = [event for event in events if event.seq <= cut and event.ts_ms < t_ms]
    moment = Moment(t_ms, zone.day(t_ms))
    state = State(profile_id, t_ms, cut, attributes_of(known))
    aggregates = {
        key: _aggregate(use.aggregate, known, moment, Evaluation(checked, state))
        for key, use in checked.aggregates.items()
    }
    return State(profile_id, t_ms, cut, state.attributes, aggregates)


def instants_of(
    aggregate: typed.BaseAggregate, events: Iterable[Event], checked: CheckedCatalog, state: State
) -> list[int]:
    """`ts_ms` of the known events that an aggregate may count, whatever its window: what `next_change` builds on."""
    known = [event for event in events if event.seq <= state.as_of_seq and event.ts_ms < state.as_of_ms]
    return [event.ts_ms for event in _selected(aggregate, known, Evaluation(checked, state))]


def attributes_of(events: Iterable[Event]) -> Mapping[str, object]:
    """Attributes after the `identify` events: the last write wins per attribute, null unsets.

    Later is larger by `(ts_ms, event_id)`.
    """
    written: dict[str, object] = {}
    for event in sorted(events, key=lambda event: (event.ts_ms, event.event_id)):
        if event.kind == "identify":
            written.update(event.properties)
    return {name: value for name, value in written.items() if value is not None}


def is_approximate(
    node: typed.Node, events: Iterable[Event], checked: CheckedCatalog, state: State, zone: Zone
) -> bool:
    """Whether an aggregate that `node` builds on had more different values than are kept exactly."""
    known = [event for event in events if event.seq <= state.as_of_seq and event.ts_ms < state.as_of_ms]
    moment = Moment(state.as_of_ms, zone.day(state.as_of_ms))
    evaluation = Evaluation(checked, state)
    return any(
        len({tag(o.value) for o in _occurrences(found.aggregate, known, moment, evaluation) if is_scalar(o.value)})
        > EXACT
        for found in _aggregates_below(node, checked)
        if found.aggregate.function in APPROXIMATE
    )


def _aggregates_below(node: typed.Node, checked: CheckedCatalog) -> Iterator[typed.AggregateValue]:
    """Every aggregate of `node` and of the definitions that it refers to."""
    waiting, met = [node], set[str]()
    while waiting:
        for part in walk(waiting.pop()):
            if isinstance(part, typed.AggregateValue):
                yield part
            elif isinstance(part, typed.Reference) and part.key not in met:
                met.add(part.key)
                waiting.append(checked.values[part.key].node)


def _aggregate(aggregate: typed.BaseAggregate, events: list[Event], moment: Moment, evaluation: Evaluation) -> Value:
    occurrences = _occurrences(aggregate, events, moment, evaluation)
    if aggregate.function == "longest_gap_minutes":
        return _longest_gap([o.ts_ms for o in occurrences], aggregate.window, moment)
    fold = FOLDS[aggregate.function]
    ask = Ask(moment, aggregate.window, aggregate.quantile_micros)
    value = fold.finalise(FAMILIES[fold.family].state(occurrences), ask)
    # The first of all values may be of another type than the one that is asked for.
    of_any_type = aggregate.argument is not None and aggregate.argument.type == "unknown"
    return of_type(value, aggregate.type) if of_any_type and aggregate.key != aggregate.text else value


def _longest_gap(instants: list[int], window: Window | None, moment: Moment) -> Value:
    """Of instants before and in the window: hop by hop, as gaps inside of one are not seen."""
    if window is None:
        return None
    start_ms = window.start_ms(moment.t_ms)
    hops: dict[int, list[int]] = {}
    for ts_ms in sorted(ts_ms for ts_ms in instants if ts_ms >= start_ms):
        hops.setdefault(ts_ms // window.hop_ms, []).append(ts_ms)
    before_ms = max((ts_ms for ts_ms in instants if ts_ms < start_ms), default=None)
    return longest_gap_minutes(((hop[0], hop[-1]) for hop in hops.values()), before_ms)


def _occurrences(
    aggregate: typed.BaseAggregate, events: list[Event], moment: Moment, evaluation: Evaluation
) -> Iterator[Occurrence]:
    """What the aggregate sees: the events of its name, filter and window."""
    function = AGGREGATES[aggregate.function]
    # The gap before the first event of a window reaches back to whatever came before it.
    cut_off = function.window == "duration" and function.longest_ms is None
    start_ms = aggregate.window.start_ms(moment.t_ms) if cut_off and aggregate.window is not None else None
    for event in _selected(aggregate, events, evaluation):
        if start_ms is None or event.ts_ms >= start_ms:
            yield _occurrence(aggregate, event, evaluation.checked.zone)


def _selected(aggregate: typed.BaseAggregate, events: list[Event], evaluation: Evaluation) -> list[Event]:
    """The events of the aggregate's name that pass its filter."""
    selected = [event for event in events if in_scope(aggregate, event)]
    condition = aggregate.filter
    if condition is None:
        return selected
    return [event for event in selected if evaluation.of_event(event).truth(condition)]


def in_scope(aggregate: typed.BaseAggregate, event: Happened) -> bool:
    """Whether an event is of the name and kind that an aggregate looks at."""
    match aggregate.scope:
        case "named":
            return event.name == aggregate.event and event.kind in (*_TRACKED, "system")
        case "tracked":
            return event.kind in _TRACKED
    return event.kind != "system"


def _occurrence(aggregate: typed.BaseAggregate, event: Event, zone: Zone) -> Occurrence:
    value = None if aggregate.argument is None else field_value(aggregate.argument, event.properties, zone)
    return Occurrence(event.ts_ms, event.event_id, event.local_day, value)
