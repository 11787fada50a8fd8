"""Refreshes that compute for some profiles: the tables are what computing for everybody gives, and nobody is late."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dsl.catalog import Segment, Trait
from dsl.check import CheckedCatalog, check_catalog
from dsl.event import Event, Kind
from dsl.sql import catalog_sql, foreseen_sql
from dsl.unsolved import flows, unsolved
from tests.differential.expressions import Writer
from tests.differential.names import DAY, EVENTS, HOUR, MINUTE, MOMENTS, ZONES
from tests.differential.questions import catalog_of
from tests.warehouse.bench import Bench
from tests.warehouse.small_shop import open_shop
from tests.warehouse.test_tiles import land_events
from warehouse.aggregates import build_aggregates
from warehouse.columns import quoted
from warehouse.computed import forget_computed
from warehouse.database import connect
from warehouse.refresh import Refresh
from warehouse.values import build_values

STEPS = 4
TRAITS = (
    "events.*.days_since_last",
    "last_seen_minutes_ago",
    "first_seen_hours_ago / 7",
    "events.*.streak_days",
    "events.*.unique_days_2d",
    "events.purchase.sum_90s(amount)",
    "events.purchase.count_distinct_30m(label)",
    'if(recency >= 2, "gone", "here")',
    "percent_rank(events.*.count_100m)",
    "now() - events.purchase.last_at",
    "min(quiet, 90)",
    "events.*.longest_gap_minutes_100m",
)
SEGMENTS = (
    "recency >= 2",
    "recency < 3 && recency >= 1 || quiet == 90",
    "coalesce(events.purchase.minutes_since_last, 99) > 30",
    "!(events.*.count_90s < 1)",
    "events.*.count_30m >= 1 && quiet < 20 || events.purchase.count_24h >= 2",
    "now() - events.purchase.last_at > 1500",
    "recency == 1 || quiet + 5 in [6, 35, 1445, 2885]",
    "1.5 > recency || events.*.unique_days_3d > 1",
    "is_set(events.purchase.last_at_100s)",
    "quiet / 60 < 24",
    "percent_rank(events.*.count) > 0.5 && recency < 3",
    'now() >= date("2017-07-01T12:00:01.5Z") && events.purchase.minutes_since_last != 1',
    "if(events.purchase.count_90s > 0, quiet, recency) > 2",
    "abs(quiet - recency) >= 30",
)
KINDS: tuple[Kind, ...] = ("track", "track", "track", "page", "identify")
BACK = (1, 500, 1_000, 90_000, 91_000, 30 * MINUTE, 100 * MINUTE, 20 * HOUR, DAY, 2 * DAY, 3 * DAY, 9 * DAY)
"""How long before the refresh events happen."""


@dataclass
class Ledger:
    """What the tables should hold, kept by hand.

    Attributes:
        since: instant of entering, by segment and profile.
    """

    since: dict[tuple[str, str], int] = field(default_factory=dict)

    def update(self, members: set[tuple[str, str]], t_ms: int) -> dict[str, tuple[int, int, int]]:
        """Members, entered and exited by segment, now that these are the members."""
        came, went = members - self.since.keys(), self.since.keys() - members
        self.since = {pair: self.since.get(pair, t_ms) for pair in members}
        keys = {segment for pairs in (members, went) for segment, _ in pairs}
        return {key: tuple(sum(s == key for s, _ in pairs) for pairs in (members, came, went)) for key in keys}  # type: ignore[misc]  # three of them


@contextmanager
def bench_of(zone: str) -> Iterator[Bench]:
    """An empty warehouse."""
    with TemporaryDirectory() as folder:
        shop = open_shop(Path(folder) / "home", zone)
        with connect(shop.home.warehouse) as connection:
            yield Bench(shop, connection)


@st.composite
def catalogs(draw: st.DrawFn, zone: str, t_ms: int) -> CheckedCatalog:
    """Definitions that time changes in every way, and drawn ones that build on them."""
    traits = [Trait("recency", TRAITS[0]), Trait("quiet", TRAITS[1])]
    traits += [Trait(f"t{n}", text) for n, text in enumerate(draw(st.lists(st.sampled_from(TRAITS[2:]), max_size=4)))]
    segments = [Segment(f"s{n}", t) for n, t in enumerate(draw(st.lists(st.sampled_from(SEGMENTS), max_size=5)))]
    declared = draw(st.booleans())
    known = [("recency", "trait", "number"), ("quiet", "trait", "number")]
    known += [(segment.key, "segment", "boolean") for segment in segments]
    writer = Writer(draw, t_ms, declared, known)  # type: ignore[arg-type]  # each of a type
    for number in range(2):
        segments.append(Segment(f"drawn_{number}", writer.expression("boolean", 3).text))
        wanted = draw(st.sampled_from(("number", "string", "boolean")))
        text, fixed = writer.expression(wanted, 2)  # type: ignore[arg-type]  # each of a type
        traits.append(Trait(f"drawn_trait_{number}", text, type=None if fixed else wanted))  # type: ignore[arg-type]
    return check_catalog(catalog_of(traits, segments, zone, declared))


@st.composite
def batches(draw: st.DrawFn, zone: str, before_ms: int, number: int, most: int) -> list[Event]:
    """Some events before an instant, most of them near it or near an edge."""
    found = []
    back = st.sampled_from(BACK)
    for n in range(draw(st.integers(1, most))):
        ts_ms = before_ms - draw(back) - draw(st.sampled_from((0, 0, 1, 999)))
        kind = draw(st.sampled_from(KINDS))
        name = draw(st.sampled_from(("purchase", "purchase", *EVENTS[:3]))) if kind == "track" else kind
        amount, label = draw(st.sampled_from((None, 1_000_000, -5, 2**63 - 1))), draw(st.sampled_from("ab"))
        source, day = f"user:{draw(st.integers(1, 9))}", ZONES[zone].day(ts_ms)
        values = {"amount": amount, "label": label}
        found.append(Event(f"e{number}-{n}", 1, kind, name, source, ts_ms, day, values, {}))
    return found


def scratch(bench: Bench, checked: CheckedCatalog, refresh: Refresh, t_ms: int) -> dict[str, dict[str, Any]]:
    """Every value by profile, straight from the events, as if asked at `t_ms` with nothing new."""
    statement = catalog_sql(checked, t_ms, refresh.cut, checked.zone.day(t_ms))
    keys = list(checked.order)
    return {profile: dict(zip(keys, values, strict=True)) for profile, *values in bench.rows(statement)}


def segments_of(checked: CheckedCatalog) -> list[str]:
    """Keys of the segments."""
    return [value.key for value in checked.values.values() if value.kind == "segment"]


def assert_tables(bench: Bench, checked: CheckedCatalog, refresh: Refresh, ledger: Ledger) -> None:
    """Traits, members, when they entered, and sizes are what the events say."""
    expected = scratch(bench, checked, refresh, refresh.t_ms)
    traits = [key for key in checked.order if checked.values[key].kind == "trait"]
    columns = ", ".join(map(quoted, ["profile_id", *traits]))
    found = {profile: values for profile, *values in bench.rows(f"SELECT {columns} FROM traits")}
    assert {profile: [values[key] for key in traits] for profile, values in expected.items()} == found
    members = {(key, p) for p, values in expected.items() for key in segments_of(checked) if values[key]}
    sizes = ledger.update(members, refresh.t_ms)
    assert ledger.since == {
        (s, p): ms for s, p, ms in bench.rows("SELECT segment, profile_id, since_ms FROM segment_members")
    }
    counted = bench.rows(
        f"SELECT segment, members, entered, exited FROM segment_sizes WHERE refresh_id = {refresh.refresh_id}"
    )
    assert {key: sizes.get(key, (0, 0, 0)) for key in segments_of(checked)} == {
        key: tuple(row) for key, *row in counted
    }


def assert_bounds(bench: Bench, checked: CheckedCatalog, refresh: Refresh, instants: Sequence[int]) -> None:
    """Before the next change of a profile none of its values is another, nor is a segment before its own."""
    restless = foreseen_sql(checked, checked.order, refresh.t_ms, refresh.cut, refresh.today).restless
    foreseeable, segments = foreseen_keys(checked), segments_of(checked)
    now = scratch(bench, checked, refresh, refresh.t_ms)
    of_profile = dict(bench.rows("SELECT profile_id, next_change_ms FROM evaluated"))
    assert now.keys() == of_profile.keys()
    of_segment = {(s, p): ms for s, p, ms in bench.rows("SELECT segment, profile_id, next_change_ms FROM next_changes")}
    assert all(ms > refresh.t_ms for ms in (*of_segment.values(), *filter(None, of_profile.values())))
    for at_ms in instants:
        for profile, values in scratch(bench, checked, refresh, at_ms).items():
            waits = of_profile[profile] is None or at_ms < of_profile[profile]
            for key in checked.order:
                waits_itself = key in foreseeable and at_ms < of_segment.get((key, profile), at_ms + 1)
                if (key not in restless and waits) or (key in segments and waits_itself):
                    assert now[profile][key] == values[key], (checked.values[key].text, refresh.t_ms, at_ms)


def foreseen_keys(checked: CheckedCatalog) -> set[str]:
    """Definitions whose next change can be known: none of all profiles, none that is another in every millisecond."""
    flowing, out = set[str](), set[str]()
    for key, value in checked.values.items():
        if flows(value.node, flowing):
            flowing.add(key)
        if "percent_rank(" in value.text or unsolved(value.node, flowing) or out & {*value.references}:
            out.add(key)
    return checked.values.keys() - out


TABLES = ("aggregates", "traits", "evaluated", "segment_members", "next_changes", "segment_sizes")


def tables(bench: Bench) -> dict[str, list[tuple[Any, ...]]]:
    """All rows, but for what says by whom they were written."""
    chosen = {table: "* EXCLUDE (refresh_id)" if table == "aggregates" else "*" for table in TABLES}
    return {table: bench.rows(f"SELECT {columns} FROM {table} ORDER BY ALL") for table, columns in chosen.items()}


def next_instants(bench: Bench, t_ms: int) -> list[int]:
    """Instants at which something changes by itself."""
    found = bench.rows(
        "SELECT due_ms FROM aggregates UNION SELECT next_change_ms FROM evaluated "
        "UNION SELECT next_change_ms FROM next_changes"
    )
    return sorted(ms for (ms,) in found if ms is not None and ms < t_ms + 40 * DAY)


@settings(max_examples=6, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_refreshes_for_some_are_refreshes_for_everybody(data: st.DataObject) -> None:
    """Random definitions, a log in parts, refreshes around the instants of change: as from scratch, in every column."""
    zone, moment = data.draw(st.sampled_from(MOMENTS))
    t_ms = moment + data.draw(st.sampled_from((-1, 0, 1, 1_500)))
    checked = data.draw(catalogs(zone, t_ms))
    ledger = Ledger()
    with bench_of(zone) as bench:
        for step in range(STEPS):
            if step == 0 or data.draw(st.booleans()):
                land_events(bench, data.draw(batches(zone, t_ms, step, 1 if step else 14)), t_ms)
            refresh = bench.run(checked, t_ms)
            assert_tables(bench, checked, refresh, ledger)
            instants = next_instants(bench, t_ms) or [t_ms + DAY]
            ends = [instants[0] - 1, data.draw(st.sampled_from(instants)) - 1, t_ms + 3 * DAY]
            assert_bounds(bench, checked, refresh, [at for at in ends if at > t_ms])
            t_ms = max(t_ms + 1, data.draw(st.sampled_from(instants[:4])) + data.draw(st.sampled_from((-1, 0, 1))))
        before = tables(bench)
        for table in ("aggregates", "traits"):
            forget_computed(bench.connection, table)
        build_aggregates(bench.connection, checked, refresh)
        build_values(bench.connection, checked, checked.order, refresh)
        assert before == tables(bench)
