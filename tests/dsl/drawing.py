"""Random worlds: well-typed definitions that build on one another, and logs whose instants lie at the edges."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from itertools import pairwise
from typing import TypeVar
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from tests.dsl.oracle import DAY, HOUR, MICROS, Event, Tree, World, first_day, start_ms

Form = Callable[[], Tree]
Picked = TypeVar("Picked")

LARGEST = 2**63 - 1
LITERALS = (0, 1, -1, 500_000, -500_000, MICROS, 3 * MICROS, -7 * MICROS, 333_333, 2**62, LARGEST, -LARGEST)
NUMBERS = (*LITERALS, 1_500_000, 10 * MICROS, 3_037_000_499_999, 10**15, -(2**63))
STRINGS = (
    "",
    "a",
    "A",
    "Zz",
    "é",
    "É",
    "e\u0301",
    "ß",
    "日本",
    "😀",
    "\U0010ffff",
    "\ufffd",
    "it's",
    'q"q',
    "*/",
    "/*",
)
STRANGE = ("--", "\\", "\n", "a\r\n b", "\u0000", "a\u0000b", "%", "{{x}} {% y %}", "${z}", "; DROP TABLE events")
EVENTS = ("purchase", "order", "Feature Used", "page", "identify", "7 days", 'it\'s "odd" */ -- 日本')
NAMES = {
    "number": ("amount", "price", 'odd "1'),
    "string": ("label", "select", "odd/~x"),
    "boolean": ("ok", "odd ok"),
}
"""Properties and attributes, by the type that a declaration gives them."""
KINDS = ("track", "track", "track", "page", "screen", "identify", "system")
WINDOWS = ("90s", "100s", "30m", "100m", "24h", "36h", "1d", "7d", "2w", "100d", "15w")
CALENDAR = ("1d", "2d", "7d", "14d", "1w", "2w")
AGGREGATES = ("count", "sum", "avg", "min", "max", "unique_days", "first_at", "last_at")
PROFILES = ("p1", "p2", "p3", "p4")
SOURCES = ("user:1", "user:2", "anon:3", "device:4", "email:5")
TYPES = ("number", "string", "boolean", "timestamp")


def instant(text: str) -> int:
    """Epoch milliseconds of `2017-03-12T07:00:00`, UTC."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1000


MOMENTS = (
    ("UTC", instant("2017-07-01T12:00:00")),
    ("America/New_York", instant("2017-03-12T07:00:00")),  # clocks go forward
    ("America/New_York", instant("2017-03-13T04:00:00")),  # midnight after a day of 23 hours
    ("America/New_York", instant("2017-11-05T06:00:00")),  # clocks go back
    ("America/New_York", instant("2017-11-06T05:00:00")),  # midnight after a day of 25 hours
    ("America/New_York", instant("2017-11-18T16:34:56") + 789),
    ("America/St_Johns", instant("2006-10-29T02:41:00")),  # clocks have gone back over midnight
)
"""Zones and instants at which questions are asked."""


def local_day(zone: str, ts_ms: int) -> int:
    """Local date, days since 1970-01-01."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ts_ms)
    return moment.astimezone(ZoneInfo(zone)).date().toordinal() - datetime(1970, 1, 1, tzinfo=UTC).toordinal()


@cache
def day_edges(zone: str, t_ms: int) -> Sequence[int]:
    """Instants of the last weeks at which the local date changes."""
    found = []
    for before, after in pairwise(range((t_ms - 16 * DAY) // HOUR * HOUR, t_ms + HOUR, HOUR // 2)):
        low, high = before, after
        while local_day(zone, before) != local_day(zone, after) and high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if local_day(zone, middle) == local_day(zone, before) else (low, middle)
        if local_day(zone, before) != local_day(zone, after):
            found.append(high)
    return found


@dataclass
class Place:
    """What an expression may use where it stands.

    Attributes:
        declared: whether events and attributes are declared, so that names have one type each.
        known: keys of the definitions so far and their type.
        in_filter: whether it is the filter of an aggregate: of `event`, or of any event when that is None.
    """

    declared: bool
    known: list[tuple[str, str]] = field(default_factory=list)
    in_filter: bool = False
    event: str | None = None


@dataclass
class Drawing:
    """Draws expressions; `depth` is how many levels may still follow."""

    draw: st.DrawFn
    place: Place

    def pick(self, choices: Sequence[Picked]) -> Picked:
        """One of the choices."""
        return self.draw(st.sampled_from(choices))

    def tree(self, wanted: str, depth: int) -> Tree:
        """An expression of a type."""
        forms = getattr(self, f"_{wanted}")(depth)
        return self.pick(forms)()  # type: ignore[no-any-return]  # forms are functions that give trees

    # -- forms, by type: the first ones are leaves ---------------------------------------------------------------

    def _number(self, depth: int) -> list[Form]:
        leaves = [lambda: ("num", self.pick(LITERALS)), lambda: self.name("number")]
        if not self.place.in_filter:
            leaves += [
                lambda: self.aggregate(depth),
                lambda: self.aggregate(depth),
                self.age,
                lambda: ("seen", self.pick(("first", "last")), self.pick(("minutes", "hours", "days"))),
                *self.references("number"),
            ]
        if depth == 0:
            return leaves
        return [self.pick(leaves), *self.branches("number", depth), *self.number_branches(depth)]

    def number_branches(self, depth: int) -> list[Form]:
        """Numbers made of other values."""
        below = depth - 1
        forms: list[Form] = [
            lambda: ("arith", self.pick("+-*/%"), self.tree("number", below), self.tree("number", below)),
            lambda: ("arith", self.pick("*/%"), self.tree("number", below), self.tree("number", below)),
            lambda: ("neg", self.tree("number", below)),
            lambda: ("call", "abs", [self.tree("number", below)]),
            lambda: ("call", self.pick(("min", "max")), [self.tree("number", below) for _ in range(self.pick((2, 3)))]),
            lambda: ("call", "length", [self.tree("string", below)]),
        ]
        if not self.place.in_filter:
            forms += [
                lambda: ("elapsed", self.tree("timestamp", below), self.tree("timestamp", below)),
                lambda: ("call", "days_since", [self.tree("timestamp", below)]),
            ]
        return forms

    def _boolean(self, depth: int) -> list[Form]:
        leaves = [lambda: ("bool", self.pick((True, False))), lambda: self.name("boolean"), self.is_set]
        leaves += self.references("boolean")
        below = depth - 1
        if depth == 0:
            return leaves
        return [
            self.pick(leaves),
            *self.branches("boolean", depth),
            lambda: self.comparison(below),
            lambda: self.comparison(below),
            lambda: self.membership(below),
            lambda: (self.pick(("and", "or")), self.tree("boolean", below), self.tree("boolean", below)),
            lambda: ("not", self.tree("boolean", below)),
            lambda: ("not", (self.pick(("and", "or")), self.tree("boolean", below), self.tree("boolean", below))),
            lambda: ("call", "is_set", [fixed(self.tree(self.pick(self.types()), below))]),
        ]

    def _string(self, depth: int) -> list[Form]:
        leaves = [lambda: ("str", self.pick(STRINGS + STRANGE)), lambda: self.name("string")]
        leaves += self.references("string")
        if depth == 0:
            return leaves
        return [self.pick(leaves), *self.branches("string", depth), lambda: self.folded(depth - 1)]

    def _timestamp(self, depth: int) -> list[Form]:
        leaves = [lambda: ("now",), lambda: self.aggregate(depth, ("first_at", "last_at"))]
        leaves += self.references("timestamp")
        return leaves if depth == 0 else [*leaves, *self.branches("timestamp", depth)]

    def branches(self, wanted: str, depth: int) -> list[Form]:
        """Functions that pass a type along."""
        below = depth - 1
        return [
            lambda: ("call", "coalesce", [self.tree(wanted, below), self.tree(wanted, below)]),
            lambda: ("call", "if", [self.tree("boolean", below), self.tree(wanted, below), self.tree(wanted, below)]),
        ]

    # -- parts ---------------------------------------------------------------------------------------------------

    def types(self) -> Sequence[str]:
        """Types that have values here: an event holds no timestamps."""
        return TYPES[:3] if self.place.in_filter else TYPES

    def comparison(self, depth: int) -> Tree:
        """Two values of one type, at least one of which says of which."""
        wanted = self.pick(self.types())
        operator = self.pick(("==", "!=") if wanted == "boolean" else ("==", "!=", "<", "<=", ">", ">="))
        left, right = self.tree(wanted, depth), self.tree(wanted, depth)
        return ("cmp", operator, left if is_fixed(right) else fixed(left), right)

    def membership(self, depth: int) -> Tree:
        """A value in a list of values of its type."""
        wanted = self.pick(self.types())
        items = [self.tree(wanted, min(depth, 1)) for _ in range(self.pick((0, 1, 2, 3)))]
        value = self.tree(wanted, depth)
        return ("in", value if any(map(is_fixed, items)) else fixed(value), items)

    def name(self, wanted: str) -> Tree:
        """A property in a filter, elsewhere an attribute."""
        names = NAMES[wanted] if self.place.declared else sum(NAMES.values(), ())
        return ("prop" if self.place.in_filter else "attr", self.pick(names), wanted)

    def is_set(self) -> Tree:
        """`is_set` of a name: where nothing declares its type, any value counts."""
        wanted = self.pick(tuple(NAMES))
        root, name, _ = self.name(wanted)
        typed = self.place.declared and not (self.place.in_filter and self.place.event is None)
        return ("call", "is_set", [(root, name, wanted if typed else "any")])

    def references(self, wanted: str) -> list[Form]:
        """The definitions so far that have this type."""
        if self.place.in_filter:
            return []
        keys = [key for key, its_type in self.place.known if its_type == wanted]
        return [partial(self.reference, key) for key in keys[-2:]]

    def reference(self, key: str) -> Tree:
        """A definition, by its bare name or by a call that says its kind."""
        return ("ref", self.pick(("bare", key.split("_", maxsplit=1)[0])), key)

    def folded(self, depth: int) -> Tree:
        """A string in one case."""
        return ("call", self.pick(("lower", "upper")), [self.tree("string", depth)])

    def aggregate(self, depth: int, functions: Sequence[str] = AGGREGATES[:6]) -> Tree:
        """An aggregate with or without filter and window."""
        event, function = self.pick((*EVENTS[:3], *EVENTS, None)), self.pick(functions)
        windows = CALENDAR if function == "unique_days" else WINDOWS
        window = self.pick((None, *windows))
        argument = self.pick(NAMES["number"]) if function in ("sum", "avg", "min", "max") else None
        return ("agg", event, self.filter(event, depth), function, window, argument)

    def age(self) -> Tree:
        """An age of the first or last event."""
        event = self.pick((*EVENTS, None))
        function = self.pick(("days_since_first", "days_since_last", "minutes_since_last"))
        return ("age", event, self.filter(event, 0), function, self.pick((None, *WINDOWS)))

    def filter(self, event: str | None, depth: int) -> Tree | None:
        """A condition on one event, or none."""
        if self.pick((True, True, False)):
            return None
        inside = Drawing(self.draw, Place(self.place.declared, in_filter=True, event=event))
        return inside.tree("boolean", max(depth, 1))


def is_fixed(tree: Tree) -> bool:
    """Whether an expression says by itself of which type it is."""
    match tree:
        case ("attr" | "prop", *_):
            return False
        case ("call", "coalesce", arguments):
            return any(map(is_fixed, arguments))
        case ("call", "if", arguments):
            return any(map(is_fixed, arguments[1:]))
    return True


def fixed(tree: Tree) -> Tree:
    """The expression, or one much like it that says of which type it is."""
    if is_fixed(tree):
        return tree
    match type_of(tree):
        case "number":
            return ("arith", "+", tree, ("num", 0))
        case "string":
            return ("call", "lower", [tree])
    return ("or", tree, ("bool", False))


def type_of(tree: Tree) -> str:
    """The type that an expression which does not say it was drawn for."""
    while tree[0] == "call":
        tree = tree[2][-1]
    return str(tree[2])


# -- whole worlds ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Question:
    """Definitions, what is known, and the moment; `types` are those that only a declaration fixes."""

    world: World
    zone: str
    declared: bool
    types: dict[str, str]


@st.composite
def questions(draw: st.DrawFn, window: str, days: str, definitions: int = 8) -> Question:
    """A world and its definitions, among them every aggregate over one window, and over one of calendar days."""
    zone, moment = draw(st.sampled_from(MOMENTS))
    t_ms = moment + draw(st.sampled_from((0, -1, 1)))
    place = Place(draw(st.booleans()))
    event, trees = draw(every_aggregate(window, days))
    place.known += [(key, "timestamp" if key.endswith("_at") else "number") for key in trees]
    types: dict[str, str] = {}
    for number in range(definitions):
        wanted = draw(st.sampled_from(("boolean", "boolean", "number", "number", "string", "timestamp")))
        kind = draw(st.sampled_from(("segment", "trait"))) if wanted == "boolean" else "trait"
        key = f"{kind}_{number}"
        tree = Drawing(draw, place).tree(wanted, draw(st.integers(1, 3)))
        if not is_fixed(tree) and kind == "trait":
            types[key] = wanted
        trees[key] = (kind, tree)
        place.known.append((key, wanted))
    events = draw(logs(event, trees, zone, t_ms))
    cut = draw(st.sampled_from((len(events), len(events) - 1, len(events) // 2 + 1)))
    attributes = {profile: draw(values(2)) for profile in PROFILES}
    world = World(events, draw(owners(len(events))), attributes, trees, t_ms, cut, local_day(zone, t_ms))
    return Question(world, zone, place.declared, types)


@st.composite
def every_aggregate(draw: st.DrawFn, window: str, days: str) -> tuple[str, dict[str, tuple[str, Tree]]]:
    """An event, and for each aggregate a trait over a window of it."""
    event = draw(st.sampled_from(EVENTS))
    trees: dict[str, tuple[str, Tree]] = {}
    for function in AGGREGATES:
        argument = "amount" if function in ("sum", "avg", "min", "max") else None
        its_window = days if function == "unique_days" else window
        trees[f"trait_{function}"] = ("trait", ("agg", event, None, function, its_window, argument))
    return event, trees


@st.composite
def values(draw: st.DrawFn, most: int) -> dict[str, object]:
    """Properties or attributes: some missing, some of another type than their name has."""
    odd: list[object] = [MICROS, -(2**63), "a", "", True, False, None, [1_500_000, "a"], [], {"a": MICROS}]
    of_type: dict[str, Sequence[object]] = {"number": NUMBERS, "string": STRINGS + STRANGE, "boolean": (True, False)}
    found: dict[str, object] = {}
    for wanted, names in NAMES.items():
        for name in names[:most]:
            choice = draw(st.integers(0, 6))
            if choice > 0:
                found[name] = draw(st.sampled_from(odd if choice == 1 else of_type[wanted]))
    return found


@st.composite
def logs(draw: st.DrawFn, event: str, trees: dict[str, tuple[str, Tree]], zone: str, t_ms: int) -> list[Event]:
    """Events whose instants lie at the edges of the windows that the definitions use, of days, and of `t`.

    Most are of one name, that of `every_aggregate`.
    """
    everything = [tree for _, root in trees.values() for tree in parts(root)]
    window, calendar = trees["trait_count"][1][4], trees["trait_unique_days"][1][4]
    others = sorted({tree[4] for tree in everything if tree[0] in ("agg", "age")} - {None})
    days = day_edges(zone, t_ms)
    first = [edge for edge in days if local_day(zone, edge) == first_day(calendar, local_day(zone, t_ms))]
    edges = [t_ms, start_ms(window, t_ms), *first, *(start_ms(other, t_ms) for other in others)]
    chosen = st.sampled_from((t_ms, start_ms(window, t_ms), *first, *days[-2:])) | st.sampled_from((*edges, *days))
    instants = [edge + offset for edge in (t_ms, start_ms(window, t_ms), *first) for offset in (-1, 0, 1)]
    instants = list(draw(st.sampled_from((instants, instants, []))))
    instants += [draw(chosen) + draw(st.sampled_from((0, -1, 1, HOUR))) for _ in range(draw(st.integers(4, 16)))]
    properties = [draw(values(3)) for _ in range(5)]  # few, so that a log takes few decisions
    events: list[Event] = []
    for seq, ts_ms in enumerate(draw(st.permutations(instants)), 1):
        kind = draw(st.sampled_from(KINDS))
        name = kind if kind in ("page", "screen", "identify") else draw(st.sampled_from((*(event,) * 6, *EVENTS)))
        events.append(
            {
                "event_id": f"e{seq}",
                "seq": seq,
                "kind": kind,
                "name": name,
                "source": draw(st.sampled_from(SOURCES)),
                "ts_ms": ts_ms,
                "local_day": local_day(zone, ts_ms),
                "properties": draw(st.sampled_from(properties)),
            }
        )
    return events


@st.composite
def owners(draw: st.DrawFn, last: int) -> list[tuple[str, str, int, int | None]]:
    """Identities: each source is of one profile up to some seq, of another from there on."""
    found: list[tuple[str, str, int, int | None]] = []
    for source in SOURCES:
        first, second = draw(st.sampled_from(PROFILES)), draw(st.sampled_from(PROFILES))
        until = draw(st.sampled_from((None, last, last // 2 + 1)))
        found.append((source, first, 1, until))
        if until is not None:
            found.append((source, second, until, None))
    return found


def parts(tree: Tree) -> Iterator[Tree]:
    """An expression and all expressions in it, filters too."""
    yield tree
    for piece in tree[1:]:
        for inner in piece if isinstance(piece, list) else (piece,):
            if isinstance(inner, tuple):
                yield from parts(inner)
