"""Random questions: a log whose instants lie at the edges, and definitions that build on one another."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from hypothesis import strategies as st

from dsl.catalog import Catalog, EventSchema, Segment, Trait, ValueType
from dsl.clock import Zone
from dsl.event import Kind
from dsl.windows import read_window
from tests.differential.expressions import Writer, property_path, written
from tests.differential.names import (
    CALENDAR,
    CONTEXT,
    DAY,
    EVENTS,
    FIELDS,
    GAPS,
    HOPS,
    HOUR,
    MOMENTS,
    ODD,
    PROFILES,
    SENT,
    SOURCES,
    ZONES,
    Steps,
)
from tests.differential.worlds import Entry, Identity, World

DURATIONS: dict[str, ValueType | None] = {
    "count": None,
    "sum": "number",
    "avg": "number",
    "min": "number",
    "max": "number",
    "median": "number",
    "percentile": "number",
    "count_distinct": "string",
    "unique_list": "string",
    "most_frequent": "string",
    "first": "number",
    "last": "string",
    "first_at": None,
    "last_at": None,
    "days_since_first": None,
    "days_since_last": None,
    "minutes_since_last": None,
}
"""Every aggregate over a duration, and the type of the property that it is asked of here."""
OFFSETS = (-1, 0, 1)
MARKS = st.sampled_from(("a", "Z", "é", "\uffff", "😀"))
TEXTS = {
    kind: st.sampled_from(sent) | st.sampled_from(sent) | st.sampled_from((*sent, "", *ODD))
    for kind, sent in SENT.items()
}
"""JSON texts of each type; a few are of another one, or are empty: nothing is sent."""
OTHERS: tuple[tuple[Kind, str], ...] = (
    ("identify", "identify"),
    ("identify", "identify"),
    ("track", "purchase"),
    ("track", "order"),
    ("page", "page"),
    ("screen", "screen"),
    ("system", "exposure"),
    ("group", "group"),
)
"""Kinds and names of the other events of a log."""


@dataclass(frozen=True)
class Windowed:
    """An aggregate over a window, or over the whole life of a profile, asked of the events of one name.

    Attributes:
        kind: of window: its hop in milliseconds, `days` for local dates, `life` without a window.
    """

    function: str
    kind: int | str
    window: str = ""


@dataclass(frozen=True)
class Question:
    """A world, the catalog asked of it, and the aggregates that the coverage counts.

    Attributes:
        event: name of the events that most of the log is of, and that all of `windowed` count.
        drawn: keys of the definitions that were drawn.
    """

    world: World
    catalog: Catalog
    event: str
    windowed: tuple[Windowed, ...]
    drawn: tuple[str, ...]

    def __repr__(self) -> str:
        """What a person needs to see of a question that was answered wrongly."""
        traits = [f"{trait.key} ({trait.type}) = {trait.expression}" for trait in self.catalog.traits]
        segments = [f"{segment.key} = {segment.expression}" for segment in self.catalog.segments]
        drawn = [line for line in (*traits, *segments) if line.split(" ", maxsplit=1)[0] in self.drawn]
        log = [
            f"{e.seq} {e.event_id} {e.source_id} {e.kind} {e.name} {e.ts_ms - self.world.t_ms:+d} {e.properties} "
            f"{e.context}"
            for e in self.world.entries
        ]
        head = f"t_ms {self.world.t_ms}, cut {self.world.cut}, {self.world.zone.name}, {self.world.identities}"
        return "\n".join((head, f"declared: {bool(self.catalog.attributes)}", *drawn, *log))


@st.composite
def questions(draw: st.DrawFn, shift: int, definitions: int = 10) -> Question:
    """A world, every aggregate over two kinds of windows, and random definitions.

    Args:
        shift: which kinds of windows the aggregates get, 0 to 2: over the three of them each gets every kind.
    """
    zone, moment = draw(st.sampled_from(MOMENTS))
    t_ms = moment + draw(st.sampled_from(OFFSETS))
    event, declared = draw(st.sampled_from(EVENTS)), draw(st.booleans())
    windowed = draw(every_aggregate(shift))
    writer = Writer(draw, t_ms, declared)
    traits, segments = fixed_traits(event, windowed), list[Segment]()
    writer.known += [(trait.key, "trait", trait.type or "number") for trait in traits if trait.type != "list"]
    for number in range(definitions):
        wanted: ValueType = draw(st.sampled_from(("boolean", "boolean", "number", "number", "string", "timestamp")))
        is_segment = wanted == "boolean" and draw(st.booleans())
        key = f"{'segment' if is_segment else 'trait'}_{number}"
        text, fixed = writer.expression(wanted, draw(st.sampled_from((2, 2, 3))))
        if is_segment:
            segments.append(Segment(key, text))
        else:
            traits.append(Trait(key, text, type=None if fixed else wanted))
        writer.known.append((key, "segment" if is_segment else "trait", wanted))
    entries = draw(logs(event, windowed, zone, t_ms))
    last = len(entries)
    cut = last - draw(st.sampled_from((0, 0, 0, 1, 2, 5)))
    world = World(entries, t_ms, cut, ZONES[zone], draw(owners(last)))
    drawn = tuple(f"{kind}_{n}" for n in range(definitions) for kind in ("trait", "segment"))
    return Question(world, catalog_of(traits, segments, zone, declared), event, windowed, drawn)


def catalog_of(traits: Sequence[Trait], segments: Sequence[Segment], zone: str, declared: bool) -> Catalog:
    """The definitions; every name is declared, or none."""
    types: dict[str, ValueType] = {}
    if declared:
        types = {".".join(steps): kind for kind, fields in FIELDS.items() for steps in fields}
    events = tuple(EventSchema(name, types) for name in EVENTS) if declared else ()
    return Catalog(events=events, attributes=types, traits=tuple(traits), segments=tuple(segments), timezone=zone)


# -- every aggregate over every kind of window -------------------------------------------------------------------------


@st.composite
def every_aggregate(draw: st.DrawFn, shift: int) -> tuple[Windowed, ...]:
    """Each aggregate over windows of two kinds; dates and gaps over windows of their own."""
    gap = list(GAPS)[shift]
    windows = {**HOPS, gap: GAPS[gap]}
    chosen: dict[int | str, str] = {hop: draw(st.sampled_from(its)) for hop, its in windows.items()}
    chosen["life"] = ""
    kinds = list(chosen)
    found = [
        Windowed(function, kind, chosen[kind])
        for number, function in enumerate(DURATIONS)
        for kind in (kinds[(number + shift) % 6], kinds[(number + shift + 3) % 6])
    ]
    days = draw(st.sampled_from(CALENDAR))
    for function in ("unique_days", "streak_days"):
        found += [Windowed(function, "days", days), Windowed(function, "life")]
    return (*found, Windowed("longest_gap_minutes", gap, chosen[gap]))


def fixed_traits(event: str, windowed: Sequence[Windowed]) -> list[Trait]:
    """A trait for each of the aggregates."""
    types: dict[str, ValueType] = {"most_frequent": "string", "first": "number", "last": "string"}
    types |= {"first_at": "timestamp", "last_at": "timestamp", "unique_list": "list"}
    traits = []
    for one in windowed:
        kind = DURATIONS.get(one.function)
        named = [property_path(FIELDS[kind][0])] if kind else []
        arguments = [*named, "0.9"] if one.function == "percentile" else named
        name = f"{one.function}_{one.window}" if one.window else one.function
        called = f"({', '.join(arguments)})" if arguments else ""
        text = f"{written('events', (event,))}.{name}{called}"
        traits.append(Trait(name, text, type=types.get(one.function)))
    return traits


# -- logs --------------------------------------------------------------------------------------------------------------


@st.composite
def logs(draw: st.DrawFn, event: str, windowed: Sequence[Windowed], zone: str, t_ms: int) -> list[Entry]:
    """Events of one name at the edges of the windows, of days and of `t`; and some of any name."""
    edges = edges_of(windowed, ZONES[zone], t_ms)
    of_name, others = kind_of(event), st.sampled_from([kind_of(event), *OTHERS])
    rows = [(edge + offset, of_name) for edge in edges for offset in OFFSETS]
    near = st.sampled_from((*edges, t_ms - HOUR, t_ms - DAY, t_ms - 40 * DAY))
    around = st.sampled_from((0, 0, -1, 1, HOUR))
    rows += [(draw(near) + draw(around), draw(others)) for _ in range(draw(st.sampled_from((4, 0, 8))))]
    properties = [draw(documents(FIELDS)) for _ in range(4)]  # few, so that a log takes few decisions
    contexts = ["{}", draw(documents(CONTEXT))]
    entries = [
        Entry(
            event_id=f"{draw(MARKS)}{seq}",
            seq=seq,
            kind=kind,
            name=name,
            source_id=draw(st.sampled_from(SOURCES)),
            ts_ms=ts_ms,
            properties=draw(st.sampled_from(properties)),
            context=draw(st.sampled_from(contexts)),
        )
        for seq, (ts_ms, (kind, name)) in enumerate(draw(st.permutations(rows)), 1)
    ]
    return [*entries, *draw(sent_again(entries))]


@st.composite
def sent_again(draw: st.DrawFn, entries: Sequence[Entry]) -> list[Entry]:
    """A few events with the id of others, and another body: a second event of an id never counts."""
    found: list[Entry] = []
    for entry in draw(st.lists(st.sampled_from(entries), max_size=2)):
        other = draw(st.sampled_from(entries))
        found.append(replace(other, event_id=entry.event_id, seq=len(entries) + 1 + len(found)))
    return found


def kind_of(event: str) -> tuple[Kind, str]:
    """Kind and name of the events that an expression counts by that name."""
    if event == "page":
        return "page", event
    return ("system" if event == "exposure" else "track"), event


def edges_of(windowed: Sequence[Windowed], zone: Zone, t_ms: int) -> list[int]:
    """Instants at which something begins: windows, the second hop of gaps, the first day of windows, days, and `t`."""
    today = zone.day(t_ms)
    starts = [edge for one in windowed for edge in edges(one, zone, t_ms).values()]
    return list(dict.fromkeys([t_ms, zone.start_ms(today), zone.start_ms(today - 1), *starts]))


def edges(one: Windowed, zone: Zone, t_ms: int) -> dict[str, int]:
    """The edges of a window: its first instant and `t`; of gaps also the first instant of its second hop."""
    found, window = {"t": t_ms}, read_window(one.window)
    if window is not None and one.kind == "days":
        found["start"] = zone.start_ms(zone.day(t_ms) - ((window.days or 1) - 1))
    elif window is not None:
        found["start"] = window.start_ms(t_ms)
    if window is not None and one.function == "longest_gap_minutes":
        found["hop"] = window.start_ms(t_ms) + window.hop_ms
    return found


@st.composite
def documents(draw: st.DrawFn, fields: dict[ValueType, tuple[Steps, ...]]) -> str:
    """JSON of properties: some missing, some of another type than their name has."""
    root: dict[str, object] = {}
    for kind, paths in fields.items():
        for steps in paths:
            text = draw(TEXTS[kind])
            if text:
                _put(root, steps, text)
    return _written(root)


def _put(root: dict[str, object], steps: Steps, text: str) -> None:
    for step in steps[:-1]:
        below = root.setdefault(step, {})
        assert isinstance(below, dict)
        root = below
    root[steps[-1]] = text


def _written(node: object) -> str:
    if isinstance(node, dict):
        return "{" + ", ".join(f"{json.dumps(key)}: {_written(value)}" for key, value in node.items()) + "}"
    return str(node)


@st.composite
def owners(draw: st.DrawFn, last: int) -> list[Identity]:
    """Identities: each source is of one profile up to some seq, of another from there on; some are of nobody."""
    found: list[Identity] = []
    for source in SOURCES:
        first, second = draw(st.sampled_from(PROFILES)), draw(st.sampled_from(PROFILES))
        until = draw(st.sampled_from((None, None, last, last // 2 + 1)))
        found.append((source, first, 0, until))
        if until is not None:
            found.append((source, second, until, None))
    return found
