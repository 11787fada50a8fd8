"""Passes over the events: what the aggregates of a catalog collect of every source, in as few and short scans as pay.

Each event name is scanned by itself, and of it the last month and the last half year apart from the whole life: a scan
skips files and columns, and an aggregate costs something for every row that it is shown, counted or not. Opening the
files costs something too, so a stretch with few aggregates is not scanned apart, and many names share a scan.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from dsl import typed
from dsl.aggregates import AGGREGATES
from dsl.check import AggregateUse
from dsl.windows import Window

MAX_SCANS: Final = 8
"""Scans over named events, for each stretch of time; beyond so many names they share scans."""
STRETCHES_MS: Final = (32 * 86_400_000, 200 * 86_400_000)
"""Windows up to a month (its first local date may begin before it) and up to half a year are scanned apart."""
WORTH_A_SCAN: Final = 3
"""Aggregates of a stretch from which on it is scanned apart from the next longer one."""

_FARTHEST_OFFSET_MS = 14 * 3_600_000
"""No zone is further ahead of UTC: a local day begins at most this long before the UTC day of its number."""


@dataclass(frozen=True, slots=True)
class Moment:
    """When and on what knowledge a statement answers.

    Attributes:
        t_ms: the instant of the question; events with `ts_ms < t_ms` count.
        cut: events with `seq <= cut` count.
        today: number of the local day of `t_ms` in the project's zone, days since 1970-01-01.
    """

    t_ms: int
    cut: int
    today: int


@dataclass(frozen=True, slots=True)
class Pass:
    """One scan over the events.

    Attributes:
        name: what it holds: `purchase_events`, or `purchase_events_90d` when none of its aggregates looks further back.
        events: the names that it reads, in order; none reads every track, page and screen event.
        uses: the aggregates that it collects.
        oldest_ms: no event before this instant counts; None is whole life.
        ends: aggregates of which it finds no more than the instant of the event that holds the value.
        instants: columns with such instants, by the pass that found them: it reads only events of these instants.
    """

    name: str
    events: tuple[str, ...]
    uses: tuple[AggregateUse, ...]
    oldest_ms: int | None = None
    ends: tuple[AggregateUse, ...] = ()
    instants: Mapping[str, Sequence[str]] = field(default_factory=dict)


def plan_passes(uses: Iterable[AggregateUse], moment: Moment) -> list[Pass]:
    """The passes that collect the aggregates, each in one of them; a pass reads only `events` and those before it.

    Aggregates over every event sent from outside are not among them: the table of profiles has those.
    """
    by_name: dict[str, list[AggregateUse]] = {}
    anything: list[AggregateUse] = []
    for use in uses:
        if use.aggregate.scope == "named":
            by_name.setdefault(use.aggregate.event, []).append(use)
        elif use.aggregate.scope == "tracked":
            anything.append(use)
    # Rows of a file are sorted by name: neighbours in that order share a scan.
    size = -(-len(by_name) // MAX_SCANS) or 1
    names = sorted(by_name) if size > 1 else list(by_name)
    shared = [tuple(names[first : first + size]) for first in range(0, len(names), size)]
    groups = [(events, [use for event in events for use in by_name[event]]) for events in shared]
    taken: set[str] = set()
    passes = [
        _pass(events, stretch, moment, taken)
        for events, members in [*groups, ((), anything)]
        for stretch in _stretches(members, moment)
    ]
    return [
        *_with_ends([planned for planned in passes if planned.events]),
        *_with_ends([planned for planned in passes if not planned.events]),
    ]


def _with_ends(passes: Sequence[Pass]) -> list[Pass]:
    """The passes, with first and last values taken out into one more when any of them is of a whole life.

    Few events are at an instant that is some source's first or last one, and only of those ids are read.
    """
    if not any(planned.oldest_ms is None and _end_values(planned) for planned in passes):
        return list(passes)
    found = [replace(p, uses=tuple(u for u in p.uses if not _is_end(u)), ends=_end_values(p)) for p in passes]
    ends = {planned.name: planned.ends for planned in found if planned.ends}
    name = f"{next(iter(ends))}_ends" if len(ends) == 1 else "ends_of_events"
    uses = tuple(use for members in ends.values() for use in members)
    events = tuple(sorted({use.aggregate.event for use in uses} - {""}))
    instants = {name: [instant_column(use) for use in members] for name, members in ends.items()}
    return [*found, Pass(name, events, uses, instants=instants)]


def _end_values(planned: Pass) -> tuple[AggregateUse, ...]:
    return tuple(use for use in planned.uses if _is_end(use))


def _is_end(use: AggregateUse) -> bool:
    return use.aggregate.function in ("first", "last")


def _stretches(uses: Sequence[AggregateUse], moment: Moment) -> list[list[AggregateUse]]:
    """Aggregates by how far they look back, the farthest first."""
    apart: list[list[AggregateUse]] = [[] for _ in (*STRETCHES_MS, None)]
    for use in uses:
        oldest_ms = _oldest_ms(use.aggregate, moment)
        apart[sum(oldest_ms is None or moment.t_ms - oldest_ms > stretch for stretch in STRETCHES_MS)].append(use)
    for number, members in enumerate(apart[:-1]):
        longer = next((other for other in apart[number + 1 :] if other), None)
        if len(members) < WORTH_A_SCAN and longer is not None:
            longer += members
            apart[number] = []
    return [members for members in reversed(apart) if members]


def _pass(candidates: tuple[str, ...], uses: Sequence[AggregateUse], moment: Moment, taken: set[str]) -> Pass:
    wanted = {use.aggregate.event for use in uses}
    events = tuple(event for event in candidates if event in wanted)
    named = "_to_".join(dict.fromkeys(slug(event) for event in (*events[:1], *events[-1:]))) or "any"
    starts: list[tuple[int, Window | None]] = []
    for use in uses:
        start_ms = _oldest_ms(use.aggregate, moment)
        if start_ms is None:
            return Pass(unused(f"{named}_events", taken), events, tuple(uses))
        starts.append((start_ms, use.aggregate.window))
    oldest_ms, window = min(starts, key=lambda found: found[0])
    return Pass(unused(f"{named}_events_{window}", taken), events, tuple(uses), oldest_ms)


def _oldest_ms(aggregate: typed.BaseAggregate, moment: Moment) -> int | None:
    """No event before this instant counts; None is whole life."""
    function = AGGREGATES[aggregate.function]
    if aggregate.window is None or function.longest_ms is not None:
        return None
    days = aggregate.window.days
    if function.window == "calendar" and days is not None:
        return (moment.today - (days - 1)) * 86_400_000 - _FARTHEST_OFFSET_MS
    return aggregate.window.start_ms(moment.t_ms)


# -- names -----------------------------------------------------------------------------------------------------------


def unused(name: str, taken: set[str]) -> str:
    """`name`, with as many `_` as it needs to be new; it is taken then.

    >>> unused("a", {"a", "a_"})
    'a__'
    """
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def instant_column(use: AggregateUse) -> str:
    """The column for the instant of the event that holds the value of an aggregate."""
    return f"{use.column}__at"


def slug(event: str) -> str:
    """The name of an event as it may stand in the name of a table.

    >>> slug("Feature Used"), slug("7 days")
    ('feature_used', 'event_7_days')
    """
    text = "".join(c if c.isascii() and c.isalnum() else "_" for c in event).lower()
    return f"event_{text}" if not text or text[0].isdigit() else text
