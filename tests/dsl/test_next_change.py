"""Between an instant and the next change after it, a value stays: shown on the oracle, which knows no next change."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dsl import typed
from dsl.catalog import Catalog, Segment, Trait
from dsl.check import CheckedCatalog, check_catalog
from dsl.clock import Zone, format_instant, parse_instant
from dsl.event import Event
from dsl.next_change import next_change
from dsl.numbers import LARGEST
from dsl.recount import count_again
from dsl.unsolved import flows, unsolved
from tests.oracle.evaluate import Evaluator
from tests.oracle.values import Value, load_json

SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
NEW_YORK = Zone("America/New_York")
DEFINITIONS = {
    "recency": ("trait", "events.purchase.days_since_last", None),
    "moment": ("trait", "now()", None),
    "since": ("trait", "moment - events.purchase.first_at", None),
    "busy": ("segment", "events.visit.count_90m >= 2", None),
    "gone": ("segment", "!busy && recency >= 3", None),
}


@dataclass(frozen=True)
class Log:
    """The events of one profile: name, instant and amount in whole numbers, None is missing."""

    zone: Zone
    rows: Sequence[tuple[str, int, int | None]]

    def events(self) -> list[Event]:
        """As the engine reads them."""
        return [
            Event(f"e{n}", n, "track", name, "p", ts, self.zone.day(ts), {"amount": amount and amount * 1_000_000})
            for n, (name, ts, amount) in enumerate(self.rows)
        ]

    def oracle(self, text: str, t_ms: int) -> Value:
        """The value at an instant, from raw events."""
        rows: list[dict[str, Any]] = [
            {
                "event_id": f"e{n}",
                "seq": n,
                "ts": ts,
                "kind": "track",
                "name": name,
                "source_id": "p",
                "properties": load_json(f'{{"amount": {"null" if amount is None else amount}}}'),
                "context": {},
            }
            for n, (name, ts, amount) in enumerate(self.rows)
        ]
        return Evaluator(rows, DEFINITIONS, t_ms, len(rows), self.zone.name).value(text, "p")

    def holdings(self, aggregate: typed.BaseAggregate) -> list[int]:
        """Instants of the events that an aggregate counts, whatever its window."""
        return [ts for name, ts, _ in self.rows if aggregate.scope != "named" or name == aggregate.event]

    def next_change(self, text: str, t_ms: int) -> int | None:
        """The bound under test."""
        checked = checked_with(text, self.zone)
        state = count_again("p", self.events(), checked, t_ms, len(self.rows), self.zone)
        node = checked.values["value"].node
        return next_change(node, state, checked, zone=self.zone, holdings=self.holdings)


def checked_with(text: str, zone: Zone) -> CheckedCatalog:
    """The definitions and the expression as trait `value`."""
    traits = tuple(Trait(key, written) for key, (kind, written, _) in DEFINITIONS.items() if kind == "trait")
    segments = tuple(Segment(key, written) for key, (kind, written, _) in DEFINITIONS.items() if kind == "segment")
    return check_catalog(Catalog(traits=(*traits, Trait("value", text)), segments=segments, timezone=zone.name))


def is_unsolved(text: str, zone: Zone) -> bool:
    """What `check` would warn of, in the expression or in what it refers to."""
    checked = checked_with(text, zone)
    flowing: set[str] = set()
    for key in checked.order:
        if flows(checked.values[key].node, flowing):
            flowing.add(key)
    return unsolved(checked.values["value"].node, flowing)


# -- hand-worked instants ----------------------------------------------------------------------------------------------

CENTURIES_AGO = format_instant(parse_instant("2017-07-01T12:00:05Z") - LARGEST // 1_000_000 - 1)
CHANGES = [
    # 24h has hops of 5m: 09:02 lies in the tile of 09:00, which leaves at 09:00 + 5m + 24h.
    ("events.purchase.count_24h", "2017-07-02T09:05:00Z"),
    ("events.purchase.count_24h >= 3", "2017-07-02T09:05:00Z"),
    ("events.purchase.sum_24h(amount) > 55", "2017-07-02T09:05:00Z"),
    # 7d has hops of 1h.
    ("events.purchase.avg_7d(amount)", "2017-07-08T10:00:00Z"),
    ("events.purchase.min_24h(amount)", "2017-07-02T09:05:00Z"),
    ("events.refund.sum_24h(amount) >= 0", "2017-07-02T08:05:00Z"),  # a sum can rise
    ("events.purchase.first_at_7d", "2017-07-08T10:00:00Z"),
    ("is_set(events.purchase.last_at_7d)", "2017-07-08T13:00:00Z"),
    # 90s has hops of 1s: the purchase at 12:00:00.500 leaves at 12:00:00 + 1s + 90s.
    ("events.purchase.count_90s == 1", "2017-07-01T12:01:31Z"),
    ("events.purchase.count_24h >= events.visit.count_90s + 3", "2017-07-01T12:01:32Z"),
    # Ages cross their constants to the millisecond; the last purchase was at 12:00:00.500.
    ("events.purchase.minutes_since_last >= 60", "2017-07-01T13:00:00.500Z"),
    ("events.purchase.minutes_since_last > 60", "2017-07-01T13:01:00.500Z"),
    ("events.purchase.minutes_since_last < 60.5", "2017-07-01T13:01:00.500Z"),
    ("30 <= events.purchase.days_since_last", "2017-07-31T12:00:00.500Z"),
    ("events.purchase.days_since_last == 2", "2017-07-03T12:00:00.500Z"),
    ("events.purchase.days_since_last in [5, 3]", "2017-07-04T12:00:00.500Z"),
    ("recency >= 3", "2017-07-04T12:00:00.500Z"),
    ("coalesce(recency, 9999) >= 3", "2017-07-04T12:00:00.500Z"),
    ("3 - recency <= 0", "2017-07-04T12:00:00.500Z"),
    ('days_since(date("2017-06-30")) >= 2', "2017-07-02T04:00:00Z"),  # midnight in New York
    ("last_seen_hours_ago >= 1", "2017-07-01T13:00:01Z"),  # the visit
    ("events.purchase.minutes_since_last - events.visit.minutes_since_last == 1", "2017-07-01T12:01:00.500Z"),
    # An age that is no comparison's: its next whole unit.
    ("events.purchase.minutes_since_last", "2017-07-01T12:01:00.500Z"),
    ("events.purchase.minutes_since_last * 2", "2017-07-01T12:01:00.500Z"),
    # now() against an instant.
    ('now() >= date("2017-07-04T12:00:00Z")', "2017-07-04T12:00:00Z"),
    ('now() > date("2017-07-04T12:00:00Z")', "2017-07-04T12:00:00.001Z"),
    ('now() == date("2017-07-04T12:00:00Z")', "2017-07-04T12:00:00Z"),
    ('moment < date("2017-07-04T12:00:00Z")', "2017-07-04T12:00:00Z"),
    ("now() - events.purchase.last_at > 1500", "2017-07-01T12:00:02.001Z"),
    ("now() - events.purchase.last_at + (now() - events.purchase.last_at) > 3000", "2017-07-01T12:00:02.001Z"),
    # 59,501 is reached with the minute that ends at .500: half a second after it 59,500 ms + 1 minute.
    ('now() - date("2017-07-01T12:00:01Z") + events.purchase.minutes_since_last >= 59501', "2017-07-01T12:01:00.500Z"),
    # 292 years in milliseconds are the largest number.
    (f'is_set(now() - date("{CENTURIES_AGO}"))', "2017-07-01T12:00:05Z"),
    ("since >= 10920000", "2017-07-01T12:04:00Z"),  # 3h 2m after 09:02
    # Calendar days: July 1 leaves a window of three dates with July 4, New York time.
    ("events.purchase.unique_days_3d", "2017-07-04T04:00:00Z"),
    ("events.purchase.streak_days", "2017-07-03T04:00:00Z"),  # yesterday counts while today has none
    # Logic: what keeps the answer, for as long as it lasts.
    ("events.purchase.count_24h >= 3 && recency < 1", "2017-07-02T09:05:00Z"),
    ("events.purchase.count_24h >= 4 && recency < 1", None),
    ("!gone", "2017-07-04T12:00:00.500Z"),
    ("if(recency < 1, 1, 2)", "2017-07-02T12:00:00.500Z"),
    # Time alone never changes these.
    ("events.purchase.count", None),
    ("events.purchase.sum(amount) > 5", None),
    ('profile.country == "US"', None),
    ("events.purchase.count_24h >= 4", None),  # it can only fall
    ("4 > events.purchase.count_24h", None),
    ("events.purchase.days_since_last >= 0", None),
    ("events.nothing.days_since_last >= 3", None),
    ("events.nothing.count_7d", None),
    ("events.purchase.last_at", None),
    ("events.purchase.unique_days", None),
    ("days_since(now()) == 0", None),
    ('now() == date("2017-06-30")', None),
    ("is_set(events.purchase.days_since_last)", None),
    ("events.purchase.days_since_last < 100000000", None),  # beyond the year 9999
]
NOON = "2017-07-01T12:00:01.500Z"
SUMMER = Log(
    NEW_YORK,
    [
        ("refund", parse_instant("2017-07-01T08:00:00Z"), -25),
        ("purchase", parse_instant("2017-07-01T09:02:00Z"), 10),
        ("purchase", parse_instant("2017-07-01T10:30:00Z"), 20),
        ("purchase", parse_instant("2017-07-01T12:00:00.500Z"), 30),
        ("visit", parse_instant("2017-07-01T12:00:01Z"), None),
    ],
)


@pytest.mark.parametrize(("text", "expected"), CHANGES, ids=[text for text, _ in CHANGES])
def test_instant(text: str, expected: str | None) -> None:
    """The next change is the instant worked out by hand, and there the oracle's value does change."""
    as_of = parse_instant(NOON)
    change = SUMMER.next_change(text, as_of)
    assert expected == (change and format_instant(change).replace(".000Z", "Z"))
    if change is not None:
        before, now, then = (SUMMER.oracle(text, t) for t in (change - 1, as_of, change))
        assert (now, True) == (before, then != now)


@pytest.mark.parametrize("text", ["recency >= 3 && recency >= 5", "recency < 3 || recency < 5"])
def test_lower_bound(text: str) -> None:
    """Of several operands that keep a condition as it is the first one is asked alone: another may last longer."""
    change = SUMMER.next_change(text, parse_instant(NOON))
    assert "2017-07-04T12:00:00.500Z" == (change and format_instant(change))
    assert SUMMER.oracle(text, parse_instant(NOON)) == SUMMER.oracle(text, parse_instant("2017-07-06T12:00:00.499Z"))


DAYS = [
    # A day of 23 hours: 2017-03-12 in New York begins at 05:00Z and ends at 04:00Z.
    ("2017-03-12T06:00:00Z", "2017-03-12T12:00:00Z", "events.purchase.unique_days_1d", "2017-03-13T04:00:00Z"),
    # A day of 25 hours: 2017-11-05 begins at 04:00Z and ends at 05:00Z.
    ("2017-11-05T05:00:00Z", "2017-11-05T12:00:00Z", "events.purchase.unique_days_1d", "2017-11-06T05:00:00Z"),
    ("2017-11-05T05:00:00Z", "2017-11-05T12:00:00Z", "events.purchase.streak_days >= 1", "2017-11-07T05:00:00Z"),
    ("2017-11-04T12:00:00Z", "2017-11-05T12:00:00Z", "events.purchase.streak_days == 1", "2017-11-06T05:00:00Z"),
    ("2017-11-04T12:00:00Z", "2017-11-05T12:00:00Z", "events.purchase.unique_days_1w > 0", "2017-11-11T05:00:00Z"),
    ("2017-03-11T12:00:00Z", "2017-03-12T12:00:00Z", "events.purchase.unique_days_90d", "2017-06-09T04:00:00Z"),
    ("2017-11-01T12:00:00Z", "2017-11-05T12:00:00Z", "events.purchase.streak_days", None),
    # An age counts days of 24 hours, whatever the clocks do.
    ("2017-11-05T05:00:00Z", "2017-11-05T12:00:00Z", "recency", "2017-11-06T05:00:00Z"),
]


@pytest.mark.parametrize(("bought", "asked", "text", "expected"), DAYS)
def test_day(bought: str, asked: str, text: str, expected: str | None) -> None:
    """Local days end when they end in the project's zone, on the days of daylight saving too."""
    log = Log(NEW_YORK, [("purchase", parse_instant(bought), 1)])
    change = log.next_change(text, parse_instant(asked))
    assert expected == (change and format_instant(change).replace(".000Z", "Z"))
    if change is not None:
        assert log.oracle(text, change) != log.oracle(text, change - 1)


def test_day_that_comes_twice() -> None:
    """Where clocks go back over midnight, a date ends, begins again and ends: each of it is a change."""
    zone = Zone("America/St_Johns")
    midnight, back, again = (parse_instant(f"2006-10-29T0{at}Z") for at in ("2:30:00", "2:31:00", "3:30:00"))
    log = Log(zone, [("purchase", midnight, 1)])
    text = "events.purchase.unique_days_2d"
    assert [back, again, again + 2 * DAY] == [log.next_change(text, t) for t in (midnight + 1, back, again)]


# -- what cannot be solved ---------------------------------------------------------------------------------------------

UNSOLVED = ["now()", "moment", "since", "(now() - events.purchase.last_at) / 1000 > 5", "number(now()) > 5"]


@pytest.mark.parametrize("text", UNSOLVED)
def test_unsolved(text: str) -> None:
    """What is another value in every millisecond is asked again a minute later, and `check` is told."""
    as_of = parse_instant(NOON)
    assert as_of + MINUTE == SUMMER.next_change(text, as_of)
    assert is_unsolved(text, NEW_YORK)


@pytest.mark.parametrize("text", [text for text, _ in CHANGES])
def test_solved(text: str) -> None:
    """Nothing of the table is reported as unsolved."""
    assert not is_unsolved(text, NEW_YORK)


def test_deepest_expression() -> None:
    """An expression of the largest depth, through definitions that build on one another, is within Python's stack."""
    width, text = 98, "events.purchase.count_24h"
    inner = Trait("inner", " + ".join([text, *["1"] * width]))
    outer = Trait("outer", " + ".join(["inner", *["1"] * width]))
    checked = check_catalog(Catalog(traits=(inner, outer)))
    state = count_again("p", SUMMER.events(), checked, parse_instant(NOON), 9, NEW_YORK)
    found = next_change(checked.values["outer"].node, state, checked, zone=NEW_YORK, holdings=SUMMER.holdings)
    assert parse_instant("2017-07-02T09:05:00Z") == found


def test_definitions_that_branch() -> None:
    """A definition that is reached in very many ways is looked at once."""
    traits = [Trait("t0", "events.purchase.count_24h")]
    traits += [Trait(f"t{n}", f"t{n - 1} + t{n - 1}") for n in range(1, 60)]
    checked = check_catalog(Catalog(traits=tuple(traits)))
    state = count_again("p", SUMMER.events(), checked, parse_instant(NOON), 9, NEW_YORK)
    found = next_change(checked.values["t59"].node, state, checked, zone=NEW_YORK, holdings=SUMMER.holdings)
    assert parse_instant("2017-07-02T09:05:00Z") == found


# -- random expressions ------------------------------------------------------------------------------------------------

MOMENTS = [
    (Zone("UTC"), parse_instant("2017-07-01T12:34:56.789Z")),
    (NEW_YORK, parse_instant("2017-03-12T07:00:00Z")),
    (NEW_YORK, parse_instant("2017-11-06T05:00:00Z")),
    (Zone("America/St_Johns"), parse_instant("2006-10-29T02:31:00Z")),
]
DURATIONS = ("90s", "10m", "90m", "24h", "3d", "7d")
WIDTHS = [90 * SECOND, 10 * MINUTE, 90 * MINUTE, DAY, 3 * DAY, 7 * DAY, HOUR, 2 * DAY, 15 * DAY]
LONGEST = 30 * DAY


@dataclass
class Writer:
    """Writes well-typed random expressions; `depth` is how many levels may still follow."""

    draw: st.DrawFn
    t_ms: int

    def pick(self, *choices: Any) -> Any:
        """One of the choices; a function is called for it."""
        chosen = self.draw(st.sampled_from(choices))
        return chosen() if callable(chosen) else chosen

    def aggregate(self) -> str:
        """An aggregate that gives a number."""
        event = self.pick("purchase", "visit", "*")
        window = self.pick("", *(f"_{width}" for width in DURATIONS))
        days = self.pick("", "_1d", "_2d", "_3d", "_1w")
        plain = self.pick(f"count{window}", f"unique_days{days}", f"streak_days{days}", f"count{window}")
        gap = f"longest_gap_minutes_{self.pick('10m', '90m', '24h')}"
        function = self.pick("sum", "min", "max", "avg", "median", "count_distinct")
        return f"events.{event}.{self.pick(plain, plain, gap, f'{function}{window}(amount)')}"

    def age(self) -> str:
        """An age in whole units."""
        function = self.pick("days_since_first", "days_since_last", "minutes_since_last")
        window = self.pick("", *(f"_{width}" for width in DURATIONS))
        return str(self.pick(f"events.purchase.{function}{window}", "last_seen_hours_ago", "recency"))

    def number(self, depth: int) -> str:
        """A number."""
        leaves = [self.aggregate, self.aggregate, self.age, self.age, "since", "0", "1", "2", "2.5", "60", "5000"]
        if depth == 0:
            return str(self.pick(*leaves))
        below = depth - 1
        branches = [
            lambda: f"({self.number(below)} {self.pick('+', '-', '+', '-', '*', '/', '%')} {self.number(below)})",
            lambda: f"({self.instant(below)} - {self.instant(below)})",
            lambda: f"-({self.number(below)})",
            lambda: f"{self.pick('min', 'max')}({self.number(below)}, {self.number(below)})",
            lambda: f"if({self.truth(below)}, {self.number(below)}, {self.number(below)})",
            lambda: f"coalesce({self.number(below)}, {self.number(below)})",
            lambda: f"days_since({self.instant(below)})",
        ]
        return str(self.pick(*leaves, *branches))

    def instant(self, depth: int) -> str:
        """A timestamp."""
        window = self.pick("", *(f"_{width}" for width in DURATIONS))
        near = self.t_ms + self.pick(-DAY, -1, 0, 1, MINUTE, 3 * DAY)
        leaves = ["now()", "moment", f"events.purchase.{self.pick('first_at', 'last_at')}{window}"]
        leaves += [f'date("{format_instant(near)}")']
        if depth == 0:
            return str(self.pick(*leaves))
        chosen = f"if({self.truth(0)}, {self.instant(0)}, {self.instant(0)})"
        return str(self.pick(*leaves, chosen, f"coalesce({self.instant(0)}, {self.instant(0)})"))

    def truth(self, depth: int) -> str:
        """A condition."""
        operator = self.pick("<", "<=", ">", ">=", "==", "!=")
        leaves = ["busy", "gone", lambda: f"{self.number(0)} {operator} {self.number(0)}"]
        leaves += [lambda: f"({self.age()} {operator} {self.pick('0', '1', '1.5', '3', '60')})"]
        if depth == 0:
            return f"({self.pick(*leaves)})"
        below = depth - 1
        branches = [
            lambda: f"({self.number(below)} {operator} {self.number(below)})",
            lambda: f"({self.instant(below)} {operator} {self.instant(below)})",
            lambda: f"({self.number(below)} in [{self.number(below)}, {self.number(below)}])",
            lambda: f"({self.truth(below)} && {self.truth(below)})",
            lambda: f"({self.truth(below)} || {self.truth(below)})",
            lambda: f"!({self.truth(below)})",
            lambda: f"is_set({self.number(below)})",
        ]
        return f"({self.pick(*leaves, *branches, *branches)})"


@st.composite
def questions(draw: st.DrawFn) -> tuple[Log, int, str]:
    """A log whose instants lie at edges of windows, an instant after it, and an expression."""
    zone, t_ms = draw(st.sampled_from(MOMENTS))
    back = st.builds(
        lambda width, hop, off: width + hop + off,
        st.sampled_from([0, *WIDTHS]),
        st.sampled_from([0, SECOND, MINUTE, 5 * MINUTE, HOUR, DAY]),
        st.integers(-2, 2) | st.integers(0, DAY),
    )
    row = st.tuples(st.sampled_from(["purchase", "visit"]), back, st.sampled_from([None, 1, 2, 7, -3]))
    rows = [(name, t_ms - max(1, behind), amount) for name, behind, amount in draw(st.lists(row, max_size=8))]
    writer, depth = Writer(draw, t_ms), draw(st.integers(0, 3))
    text = draw(st.sampled_from([writer.truth, writer.truth, writer.number]))(depth)
    return Log(zone, rows), t_ms, text


def edges(log: Log, t_ms: int) -> list[int]:
    """Instants at which something may happen: an event of some age, a tile that leaves, a day that ends."""
    found = [t_ms + offset for offset in (1, SECOND, MINUTE, HOUR, DAY)]
    for (_, ts, _), width in itertools.product(log.rows, [*WIDTHS, MINUTE, 2 * MINUTE, 4 * DAY]):
        found += [ts // hop * hop + hop + width for hop in (SECOND, MINUTE, 5 * MINUTE, HOUR)]
        found += [ts + width, t_ms + (ts + width - t_ms) % width]
    found += [log.zone.start_ms(log.zone.day(t_ms) + days) for days in range(1, 9)]
    return sorted({at + offset for at in found for offset in (-1, 0, 1)})


@settings(
    max_examples=250,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
@given(questions(), st.data())
def test_constant_until_then(question: tuple[Log, int, str], data: st.DataObject) -> None:
    """With no new event the oracle's value is the same at every instant before the next change."""
    log, t_ms, text = question
    change = log.next_change(text, t_ms)
    assert change is None or change > t_ms
    if change is not None and change <= t_ms + MINUTE and is_unsolved(text, log.zone):
        return
    end = min(change or t_ms + LONGEST, t_ms + LONGEST)
    within = [at for at in edges(log, t_ms) if t_ms < at < end]
    chosen = data.draw(st.lists(st.sampled_from(within), max_size=12)) if within else []
    value = log.oracle(text, t_ms)
    asked = sorted({*chosen, end - 1, (t_ms + end) // 2})
    assert [(format_instant(at), value) for at in asked] == [(format_instant(at), log.oracle(text, at)) for at in asked]
