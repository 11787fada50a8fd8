"""What is published of sources: the tiles that changed, packed, so that every source has all of them."""

import random
from collections import ChainMap
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pytest

from dsl.bases import bases_of
from dsl.catalog import Catalog, Trait
from dsl.check import check_catalog
from dsl.event import Event
from dsl.identifiers import profile_id
from dsl.recount import count_again
from dsl.tile_codec import unpack
from dsl.tiles import Folded, attributes_of
from tests.dsl.tiled_world import CHECKED, ZONE, world
from tests.warehouse.bench import Bench
from tests.warehouse.small_shop import open_shop
from tests.warehouse.test_tiles import land_events
from warehouse import online_bases
from warehouse.database import connect
from warehouse.online_bases import packed_sources
from warehouse.online_profiles import changed_profiles


@pytest.mark.parametrize("seed", range(6))
def test_what_was_published_is_what_was_counted(seed: int, tmp_path: Path) -> None:
    """After each refresh, bases published then or earlier give the values of the events up to it, and attributes."""
    t_ms, events = world(seed + 300)
    pick = random.Random(seed)
    pick.shuffle(events)
    cuts = sorted(pick.randrange(len(events) + 1) for _ in range(2))
    shop = open_shop(tmp_path / "home", ZONE.name)
    with connect(shop.home.warehouse) as connection:
        bench = Bench(shop, connection)
        store: dict[str, bytes] = {}
        landed: list[Event] = []
        since, held = 0, frozenset[int]()
        for part in (events[: cuts[0]], events[cuts[0] : cuts[1]], events[cuts[1] :]):
            # Other definitions each time: what a new base needs is published of all who have it.
            traits = tuple(pick.sample(CHECKED.catalog.traits, 24))
            checked = check_catalog(replace(CHECKED.catalog, traits=traits))
            bases = bases_of(checked.aggregates.values())
            if part:
                land_events(bench, part, t_ms)
            landed += part
            refresh = bench.begin(checked, t_ms)
            written = list(packed_sources(connection, checked, refresh, since, held))
            changed = list(chain.from_iterable(written))
            assert sorted(set(changed)) == sorted(changed)
            assert {event.source_id for event in part} <= set(changed)
            store |= ChainMap(*written)
            since, held = refresh.cut, bases.tiles_ids
            for source in {event.source_id for event in landed}:
                own = [replace(event, seq=1) for event in landed if event.source_id == source]
                counted = count_again("p", own, checked, refresh.t_ms, refresh.cut, ZONE)
                tiles = unpack(store[source], bases)
                assert dict(counted.aggregates) == dict(Folded(checked, bases, [tiles], [], refresh.t_ms, ZONE))
                assert dict(counted.attributes) == attributes_of([tiles])


@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_some_sources_at_a_time(at_once: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many are read and packed at a time, of everybody or of some, each source is given the same."""
    t_ms, events = world(77)
    shop = open_shop(tmp_path / "home", ZONE.name)
    with connect(shop.home.warehouse) as connection:
        bench = Bench(shop, connection)
        land_events(bench, [event for event in events if event.source_id != events[0].source_id], t_ms)
        since = bench.begin(CHECKED, t_ms).cut
        land_events(bench, [event for event in events if event.source_id == events[0].source_id], t_ms)
        refresh = bench.begin(CHECKED, t_ms)
        held = bases_of(CHECKED.aggregates.values()).tiles_ids
        everybody = dict(ChainMap(*packed_sources(connection, CHECKED, refresh, 0, frozenset())))
        for begin, known in ((0, frozenset[int]()), (since, held), (since, frozenset[int]())):
            whole = dict(ChainMap(*packed_sources(connection, CHECKED, refresh, begin, known)))
            assert whole.items() <= everybody.items()
            with monkeypatch.context() as small:
                small.setattr(online_bases, "SOURCES_AT_ONCE", at_once)
                small.setattr(online_bases, "_SLICE", max(1, at_once - 1))
                parts = list(packed_sources(connection, CHECKED, refresh, begin, known))
            assert sum(map(len, parts)) == len(whole)
            assert max(map(len, parts)) <= max(1, at_once - 1)
            assert dict(ChainMap(*parts)) == whole


def test_nobody_is_published_twice(tmp_path: Path) -> None:
    """A source without new events is not read again; a new base is published of those who have events of it."""
    checked = check_catalog(Catalog(traits=(Trait("a", "events.buy.count_7d"),), timezone=ZONE.name))
    more = replace(checked.catalog, traits=(*checked.catalog.traits, Trait("b", "events.tap.sum(n)")))
    now_ms = 1_500_000_000_000
    events = [
        Event("e1", 1, "track", "buy", "user:ann", now_ms - 5, 0, {}),
        Event("e2", 2, "track", "tap", "user:bob", now_ms - 5, 0, {"n": 1_000_000}),
        Event("e3", 3, "track", "go", "user:cem", now_ms - 5, 0, {}),
    ]
    shop = open_shop(tmp_path / "home", ZONE.name)
    with connect(shop.home.warehouse) as connection:
        bench = Bench(shop, connection)
        land_events(bench, events, now_ms)
        refresh = bench.begin(checked, now_ms)
        held = bases_of(checked.aggregates.values()).tiles_ids

        def published(since: int) -> list[str]:
            return sorted(chain.from_iterable(packed_sources(connection, checked, refresh, since, held)))

        assert ["user:ann", "user:bob", "user:cem"] == published(0)
        assert [] == published(refresh.cut)
        assert ["user:cem"] == published(refresh.cut - 1)
        checked = check_catalog(more)
        refresh = bench.begin(checked, now_ms)
        assert ["user:bob"] == published(refresh.cut)
        people = list(changed_profiles(connection, 0, refresh.cut))
        assert sorted(map(profile_id, ("user:ann", "user:bob", "user:cem"))) == [each.profile_id for each in people]
        assert {1} == {len(each.members) for each in people}
        assert [] == list(changed_profiles(connection, refresh.cut, refresh.cut))


def test_a_gap_asks_for_more_of_the_same_tiles(tmp_path: Path) -> None:
    """What is published for counting does not say when each hop ended: a gap has it published again, of everybody."""
    texts = ("events.buy.count", "events.buy.count_24h", "events.buy.longest_gap_minutes_24h")
    traits = tuple(Trait(f"t{number}", text) for number, text in enumerate(texts))
    now_ms, ages = 1_500_000_000_000, (50, 39, 36, 7)
    events = [Event(f"e{minutes}", 1, "track", "buy", "user:ann", now_ms - minutes * 60_000, 0, {}) for minutes in ages]
    shop = open_shop(tmp_path / "home", ZONE.name)
    with connect(shop.home.warehouse) as connection:
        bench = Bench(shop, connection)
        land_events(bench, events, now_ms)
        held, since = frozenset[int](), 0
        for asked in (traits[:2], traits):
            checked = check_catalog(Catalog(traits=asked, timezone=ZONE.name))
            bases, refresh = bases_of(checked.aggregates.values()), bench.begin(checked, now_ms)
            (published,) = packed_sources(connection, checked, refresh, since, held)
            tiles = unpack(published["user:ann"], bases)
            values = dict(Folded(checked, bases, [tiles], [], refresh.t_ms, ZONE))
            held, since = bases.tiles_ids, refresh.cut
        assert {text: values[text] for text in texts} == dict(
            zip(texts, (4_000_000, 4_000_000, 29_000_000), strict=True)
        )


@pytest.mark.parametrize("count", [2**16 - 1, 2**16, 2**40])
def test_more_events_than_a_column_holds(count: int, tmp_path: Path) -> None:
    """A hop with too many events for its column is published beside the others."""
    checked = check_catalog(Catalog(traits=(Trait("a", "events.buy.count_24h"),), timezone=ZONE.name))
    bases, now_ms = bases_of(checked.aggregates.values()), 1_500_000_000_000
    events = [
        Event(f"{source}{age}", 1, "track", "buy", f"user:{source}", now_ms - age, 0, {})
        for source in ("ann", "bob")
        for age in (1, 9_000_000)
    ]
    shop = open_shop(tmp_path / "home", ZONE.name)
    with connect(shop.home.warehouse) as connection:
        bench = Bench(shop, connection)
        land_events(bench, events, now_ms)
        refresh = bench.begin(checked, now_ms)
        ann = "SELECT source_no FROM tile_sources WHERE source_id = 'user:ann'"
        bench.rows(f"UPDATE tiles SET count = {count} WHERE low = {now_ms - 1} AND source_no = ({ann})")
        (published,) = packed_sources(connection, checked, refresh, 0, frozenset())
        for source, expected in (("user:ann", count + 1), ("user:bob", 2)):
            folded = Folded(checked, bases, [unpack(published[source], bases)], [], now_ms, ZONE)
            assert {"events.buy.count_24h": expected * 1_000_000} == dict(folded)
