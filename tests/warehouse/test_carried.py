"""What is too old for any window is carried on in one tile a source: no value is another one for it."""

import json
from collections import ChainMap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dsl.bases import CARRIED, bases_of
from dsl.catalog import Catalog, Trait
from dsl.check import CheckedCatalog, check_catalog
from dsl.clock import DAY_MS
from dsl.event import Event
from dsl.recount import count_again
from dsl.tile_codec import unpack
from dsl.tiles import Folded
from tests.dsl.tiled_world import CHECKED, KINDS, T_MS, ZONE
from tests.warehouse.bench import Bench
from tests.warehouse.small_shop import open_shop
from warehouse.as_of import as_of
from warehouse.attributes import json_text
from warehouse.database import connect
from warehouse.landing import land
from warehouse.online_bases import packed_sources
from warehouse.refresh import Refresh

HOUR_MS = 3_600_000
OFTEN = ("events.buy.count", "events.*.longest_gap_minutes_24h", "events.buy.last_at_100d", "events.buy.sum(n)")
AGES = (0, HOUR_MS, *(days * DAY_MS for days in (1, 30, 89, 90, 91, 97, 100, 120, 190, 191, 400, 2_000, 18_000)))
"""How long ago, about, something happened: near what is kept by itself and what is not; and before 1970."""
SOURCES = ("user:1", "user:2", "anon:a", "anon:b")


@contextmanager
def empty_bench() -> Iterator[Bench]:
    """A warehouse without events."""
    with TemporaryDirectory() as folder:
        shop = open_shop(Path(folder) / "home", ZONE.name)
        with connect(shop.home.warehouse) as connection:
            yield Bench(shop, connection)


@st.composite
def batches(draw: st.DrawFn, t_ms: int, number: int) -> list[tuple[Event, tuple[str, ...]]]:
    """Events before an instant, old ones too, with the identifiers that each joins to its source."""
    found = []
    for n in range(draw(st.integers(1, 8))):
        age = draw(st.sampled_from(AGES)) + draw(st.sampled_from((-1, 0, 1, HOUR_MS)))
        ts_ms = min(t_ms - 1, (t_ms if draw(st.booleans()) else t_ms // DAY_MS * DAY_MS) - age)
        kind, source = draw(st.sampled_from(KINDS)), draw(st.sampled_from(SOURCES))
        weaker = draw(st.sampled_from(((), ("anon:a",), ("anon:b",)))) if source.startswith("user") else ()
        values = {"n": draw(st.sampled_from((1_000_000, 2**63 - 1))), "x": draw(st.sampled_from("ab")), "tags": ["a"]}
        name = "buy" if kind == "track" else kind
        event = Event(f"e{number}-{n}", 1, kind, name, source, ts_ms, ZONE.day(ts_ms), values, {"app": "a"})
        found.append((event, weaker))
    return found


def land_linked(bench: Bench, batch: Sequence[tuple[Event, tuple[str, ...]]], t_ms: int) -> None:
    """A batch into the lake."""
    rows = [
        {"event_id": e.event_id, "kind": e.kind, "name": e.name, "source_id": e.source_id, "ts_ms": e.ts_ms,
         "properties": json_text(e.properties), "context": json_text(e.context),
         "identifiers": json.dumps([e.source_id, *weaker])}
        for e, weaker in batch
    ]  # fmt: skip
    registry, project = bench.shop.registry, bench.shop.project
    land(
        pl.DataFrame(rows),
        project=project,
        home=bench.shop.home,
        registry=registry,
        reserve=lambda _: registry.max_seq(project.key) + 1,
        received_at_ms=t_ms,
    )


def assert_counted(bench: Bench, checked: CheckedCatalog, refresh: Refresh, events: Sequence[Event]) -> None:
    """Tables and what is published are what the events of each profile say."""
    uses, bases = list(checked.aggregates.values()), bases_of(checked.aggregates.values())
    columns = ", ".join(f'"{use.column}"' for use in uses)
    found = {row[0]: row[1:] for row in bench.rows(f"SELECT profile_id, {columns} FROM aggregates")}
    packed = dict(ChainMap(*packed_sources(bench.connection, checked, refresh, 0, frozenset())))
    owners = dict(bench.rows("SELECT source_id, profile_id FROM identities WHERE valid_to_seq IS NULL"))
    for profile, values in found.items():
        own = [replace(event, seq=1) for event in events if owners[event.source_id] == profile]
        counted = count_again("p", own, checked, refresh.t_ms, refresh.cut, ZONE).aggregates
        assert counted == {use.key: use.state_value(value) for use, value in zip(uses, values, strict=True)}
        tiles = [unpack(content, bases) for source, content in packed.items() if owners[source] == profile]
        assert dict(counted) == dict(Folded(checked, bases, tiles, [], refresh.t_ms, ZONE))


@settings(max_examples=6, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_carrying_on_at_any_moment_changes_no_value(data: st.DataObject) -> None:
    """Late events before and after, time going on by an hour or by months, sources that become one profile."""
    texts = {trait.expression: trait for trait in CHECKED.catalog.traits}
    drawn = data.draw(st.lists(st.sampled_from(sorted(texts.keys() - {*OFTEN})), min_size=9, max_size=9, unique=True))
    checked = check_catalog(replace(CHECKED.catalog, traits=tuple(texts[text] for text in (*OFTEN, *drawn))))
    t_ms = data.draw(st.sampled_from(T_MS))
    with empty_bench() as bench:
        events: list[Event] = []
        for number in range(3):
            batch = data.draw(batches(t_ms, number))
            land_linked(bench, batch, t_ms)
            events += [event for event, _ in batch]
            assert_counted(bench, checked, bench.begin(checked, t_ms), events)
            t_ms += data.draw(st.sampled_from((1, HOUR_MS, DAY_MS, 91 * DAY_MS)))
        assert_counted(bench, checked, bench.begin(checked, t_ms), events)


def _purchases(*ages_days: int) -> list[tuple[Event, tuple[str, ...]]]:
    """Purchases of one person so many days before the last of `T_MS`."""
    instants = [T_MS[-1] - days * DAY_MS for days in ages_days]
    return [
        (Event(f"e{ms}", 1, "track", "buy", "user:1", ms, ZONE.day(ms), {"n": 1_000_000, "x": "a"}, {}), ())
        for ms in instants
    ]


def _catalog(*texts: str) -> CheckedCatalog:
    traits = tuple(Trait(f"t{number}", text, type="string") for number, text in enumerate(texts))
    return check_catalog(Catalog(traits=tuple(replace(t, type=None) for t in traits), timezone=ZONE.name))


def _tiles(bench: Bench) -> list[tuple[object, ...]]:
    """Hops of days, counted from the last of `T_MS`, with their number of events; None is what is carried on."""
    of_days = f"SELECT base_id FROM tile_bases WHERE grain_ms = {DAY_MS}"
    rows = bench.rows(f"SELECT hop_start, count FROM tiles WHERE base_id IN ({of_days}) ORDER BY hop_start")
    last = T_MS[-1] // DAY_MS
    return [(None if hop == CARRIED else last - hop // DAY_MS, number) for hop, number in rows]


def test_what_no_window_reaches_is_one_tile() -> None:
    """Days older than the longest window and 90 more are never written one by one, nor are late events of them."""
    checked = _catalog("events.buy.count", "events.buy.count_7d")
    with empty_bench() as bench:
        land_linked(bench, _purchases(400, 300, 97, 96, 1), T_MS[-1])
        bench.begin(checked, T_MS[-1])
        assert [(None, 2), (97, 1), (96, 1), (1, 1)] == _tiles(bench)
        land_linked(bench, _purchases(401, 98, 2), T_MS[-1])
        bench.begin(checked, T_MS[-1])
        assert [(None, 4), (97, 1), (96, 1), (2, 1), (1, 1)] == _tiles(bench)
        bench.begin(checked, T_MS[-1] + DAY_MS)
        assert [(None, 5), (96, 1), (2, 1), (1, 1)] == _tiles(bench)
        assert [(8_000_000,)] == [(n * 1_000_000,) for (n,) in bench.rows("SELECT buy_count FROM aggregates")]


def test_a_longer_window_has_what_was_carried_on_folded_again() -> None:
    """Windows that reach into what was carried on count event by event, whether asked for later or after a pause."""
    short = ("events.buy.count", "events.buy.count_7d")
    events = [event for event, _ in _purchases(400, 300, 290, 1)]
    with empty_bench() as bench:
        land_linked(bench, _purchases(400, 300, 290, 1), T_MS[-1])
        for texts in (short, (*short, "events.buy.count_52w"), short[1:], (*short, "events.buy.count_300d"), short):
            checked = _catalog(*texts)
            assert_counted(bench, checked, bench.begin(checked, T_MS[-1]), events)


def test_a_clock_that_goes_back_finds_its_windows() -> None:
    """Time that goes far ahead carries on what it must not after it has come back."""
    checked = _catalog("events.buy.count", "events.buy.count_24h", "events.buy.last_at_100d")
    with empty_bench() as bench:
        land_linked(bench, _purchases(101, 99, 1), T_MS[-1])
        events = [event for event, _ in _purchases(101, 99, 1)]
        for t_ms in (T_MS[-1], T_MS[-1] + 300 * DAY_MS, T_MS[-1], T_MS[-1] + DAY_MS, T_MS[-1] + HOUR_MS):
            assert_counted(bench, checked, bench.begin(checked, t_ms), events)


def test_the_past_is_counted_from_its_events() -> None:
    """A question about an instant before that up to which tiles are carried on is answered as it was then."""
    checked = _catalog("events.buy.count", "events.buy.count_7d", "events.buy.sum(n)")
    texts = [use.key for use in checked.aggregates.values()]
    with empty_bench() as bench:
        land_linked(bench, _purchases(400, 300, 299, 1), T_MS[-1])
        bench.begin(checked, T_MS[-1])
        events = [event for event, _ in _purchases(400, 300, 299, 1)]
        (profile,) = (profile for (profile,) in bench.rows("SELECT profile_id FROM profiles"))
        for days in (400, 300, 295, 1):
            t_ms = T_MS[-1] - days * DAY_MS + 1
            with as_of(bench.shop.home, bench.shop.registry, bench.shop.project, checked, t_ms) as then:
                state = then.state_of(profile, then.events_of(profile))
            counted = count_again("p", events, checked, t_ms, 99, ZONE).aggregates
            assert {key: counted[key] for key in texts} == {key: state.aggregates[key] for key in texts}


def test_tiles_of_an_older_form_are_folded_again() -> None:
    """A warehouse of a version that carried nothing on goes on from its lake."""
    checked = _catalog("events.buy.count")
    with empty_bench() as bench:
        land_linked(bench, _purchases(400, 1), T_MS[-1])
        bench.rows("CREATE TABLE tiles (base_id INTEGER, source_id VARCHAR, hop_start BIGINT)")
        bench.rows("CREATE TABLE tile_bases (base_id INTEGER, key VARCHAR, grain_ms BIGINT, kept_ms BIGINT)")
        bench.begin(checked, T_MS[-1])
        assert [(None, 1), (1, 1)] == _tiles(bench)
