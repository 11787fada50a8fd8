"""Tiles in the warehouse: whatever is folded when, the aggregates are those that are counted from the events."""

import random
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

import duckdb
import polars as pl
import pytest

from dsl.catalog import Catalog, Trait
from dsl.check import CheckedCatalog, check_catalog
from dsl.clock import DAY_MS
from dsl.event import Event
from dsl.identifiers import profile_id
from dsl.recount import count_again
from dsl.sql import duckdb_tiles
from tests.dsl.tiled_world import CHECKED, ZONE, world
from tests.warehouse.bench import Bench
from tests.warehouse.small_shop import CATALOG, event, open_shop
from warehouse.attributes import json_text
from warehouse.audit import Audit, Difference, audit_aggregates
from warehouse.database import connect
from warehouse.landing import land
from warehouse.refresh import Refresh
from warehouse.tiles import read_coverage, update_tiles


def land_events(bench: Bench, events: list[Event], t_ms: int) -> None:
    """A batch of events, each with a number of its own in the log."""
    rows = [
        {
            "event_id": e.event_id,
            "kind": e.kind,
            "name": e.name,
            "source_id": e.source_id,
            "ts_ms": e.ts_ms,
            "properties": json_text(e.properties),
            "context": json_text(e.context),
        }
        for e in events
    ]
    land(
        pl.DataFrame(rows),
        project=bench.shop.project,
        home=bench.shop.home,
        registry=bench.shop.registry,
        reserve=lambda _: bench.shop.registry.max_seq(bench.shop.project.key) + 1,
        received_at_ms=t_ms,
    )


def assert_counted(bench: Bench, checked: CheckedCatalog, refresh: Refresh, events: Iterable[Event]) -> None:
    """The table is what the events of each profile say."""
    known = list(events)
    uses = list(checked.aggregates.values())
    columns = ", ".join(f'"{use.column}"' for use in uses)
    found = {row[0]: row[1:] for row in bench.rows(f"SELECT profile_id, {columns} FROM aggregates")}
    sources = {e.source_id for e in known if e.kind != "system"}
    assert {profile_id(source) for source in sources} == set(found)
    for source in sources:
        own = [event for event in known if event.source_id == source]
        counted = count_again("p", own, checked, refresh.t_ms, refresh.cut, checked.zone).aggregates
        values = found[profile_id(source)]
        assert counted == {use.key: use.state_value(value) for use, value in zip(uses, values, strict=True)}


@pytest.mark.parametrize("seed", range(7))
def test_refreshes_in_steps_are_the_events_counted_again(seed: int, tmp_path: Path) -> None:
    """Batches in any order, late ones too, refreshes between them and time going on: tiles give the counted values."""
    t_ms, events = world(seed + 100)
    pick = random.Random(seed)
    pick.shuffle(events)
    checked = check_catalog(replace(CHECKED.catalog, traits=tuple(pick.sample(CHECKED.catalog.traits, 24))))
    cuts = sorted(pick.randrange(len(events) + 1) for _ in range(2))
    shop = open_shop(tmp_path / "home", ZONE.name)
    with connect(shop.home.warehouse) as connection:
        bench = Bench(shop, connection)
        landed: list[Event] = []
        for part in (events[: cuts[0]], events[cuts[0] : cuts[1]], events[cuts[1] :]):
            if part:
                land_events(bench, part, t_ms)
                landed += part
                known = [replace(event, seq=1) for event in landed]
                assert_counted(bench, checked, bench.begin(checked, t_ms), known)
        for step in (1, 60_000, 3_600_000, DAY_MS, 8 * DAY_MS, 100 * DAY_MS):
            t_ms += step
            assert_counted(bench, checked, bench.begin(checked, t_ms), known)


def test_only_what_is_new_is_folded(bench: Bench) -> None:
    """A refresh folds the events after the last one; a new base folds all of them, once."""
    catalog = Catalog(traits=(Trait("n", "events.purchase.count_30d"),), timezone="America/New_York")
    more = Catalog(traits=(*catalog.traits, Trait("s", "events.purchase.sum(amount)")), timezone="America/New_York")

    def folded(catalog: Catalog) -> tuple[int, int]:
        checked = check_catalog(catalog)
        refresh = bench.begin(checked)
        files = partial(bench.shop.registry.files, "default", refresh.cut)
        again = update_tiles(bench.connection, checked, refresh, files, bench.shop.home.lake)
        assert (0, 0) == (again.events, again.added)
        return len(read_coverage(bench.connection, checked)), again.tiles

    assert (2, 7) == folded(catalog)
    bench.shop.land(event("new", "abe", 1, amount=3))
    assert (2, 9) == folded(catalog)
    bases, tiles = folded(more)
    assert (3, 15) == (bases, tiles)
    assert (2, 9) == folded(catalog)


def test_a_longer_window_brings_dropped_tiles_back(bench: Bench) -> None:
    """Tiles that were dropped because no window reached them are folded again when a longer window asks for them."""
    short = Catalog(traits=(Trait("n", "events.purchase.count_7d"),), timezone="America/New_York")
    longer = replace(short, traits=(*short.traits, Trait("m", "events.purchase.count_30d")))
    bench.shop.land(event("three weeks ago", "eva", 21, amount=3))
    bench.run(check_catalog(short))
    few = _held(bench, check_catalog(short))
    assert 0 == bench.by_user("traits", "n")["eva"]
    bench.run(check_catalog(longer))
    assert (0, 1) == (bench.by_user("traits", "n")["eva"], bench.by_user("traits", "m")["eva"])
    bench.run(check_catalog(short))
    assert few == _held(bench, check_catalog(short))


def test_a_killed_update_changes_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What breaks half-way leaves tiles and coverage as they were; the next refresh folds every event once."""
    checked = check_catalog(
        replace(CHECKED.catalog, traits=(Trait("s", "last_seen_days_ago"), *CHECKED.catalog.traits[:9]))
    )
    bench.begin(checked)
    before = (
        bench.rows("SELECT count(*), sum(count), sum(total) FROM tiles"),
        bench.rows("FROM tile_bases ORDER BY ALL"),
    )
    bench.shop.land(event("new", "ann", 1, amount=3))
    monkeypatch.setattr(duckdb_tiles, "merge_sql", lambda *_: "UPDATE tiles SET count = 0; SELECT error('killed')")
    with pytest.raises(duckdb.Error, match="killed"):
        bench.begin(checked)
    monkeypatch.undo()
    assert before[1] == bench.rows("FROM tile_bases ORDER BY ALL")
    assert before[0] == bench.rows("SELECT count(*), sum(count), sum(total) FROM tiles")
    refresh = bench.begin(checked)
    outside = "SELECT min(base_id) FROM tile_bases WHERE key = 'outside.moments'"
    assert [(11,)] == bench.rows(f"SELECT sum(count) FROM tiles WHERE base_id = ({outside})")
    assert refresh.cut == bench.rows("SELECT min(covered_seq) FROM tile_bases")[0][0]


def test_tiles_that_no_window_reaches_are_dropped(bench: Bench) -> None:
    """Hours are kept for the longest window and a day, days for 90 days more; for ever when a whole life is asked."""
    short = check_catalog(Catalog(traits=(Trait("n", "events.purchase.count_7d"),)))
    assert [(3_600_000, 2), (DAY_MS, 4)] == _held(bench, short)
    whole = check_catalog(Catalog(traits=(Trait("n", "events.purchase.count_7d"), Trait("m", "events.purchase.count"))))
    bench.rows("DELETE FROM tile_bases; DELETE FROM tiles")
    assert [(3_600_000, 2), (DAY_MS, 5)] == _held(bench, whole)


def _held(bench: Bench, checked: object) -> list[tuple[object, ...]]:
    bench.begin(checked)  # type: ignore[arg-type]  # it is checked
    return bench.rows("SELECT grain_ms, count(*) FROM tiles JOIN tile_bases USING (base_id) GROUP BY ALL ORDER BY ALL")


def test_only_profiles_that_something_happened_to_are_read(bench: Bench) -> None:
    """Without a new event, and before a tile leaves a window, nobody's row is written again."""
    checked = check_catalog(Catalog(traits=(Trait("n", "events.purchase.count_7d"),), timezone="America/New_York"))
    bench.begin(checked)
    bench.connection.execute("UPDATE aggregates SET purchase_count_7d = 99")
    bench.shop.land(event("new", "abe", 1, amount=3))
    bench.begin(checked)
    found = bench.by_user("aggregates", "purchase_count_7d")
    assert {"abe": 1, "ann": 99, "bob": 99, "cem": 99, "dee": 99, "eva": 99} == found
    bench.begin(checked, bench.begin(checked).t_ms + 5 * DAY_MS)
    assert {"abe": 1, "ann": 0, "bob": 99} == {
        k: v for k, v in bench.by_user("aggregates", "purchase_count_7d").items() if k < "c"
    }


def test_the_audit_finds_what_is_wrong(bench: Bench) -> None:
    """A sample counted again from the events agrees; a row that was changed is found, and said with both values."""
    checked = check_catalog(CATALOG)
    refresh = bench.run(checked)
    assert Audit(5, 30, 0, ()) == audit_aggregates(bench.connection, checked, refresh, one_in=1)
    sizes = {audit_aggregates(bench.connection, checked, replace(refresh, refresh_id=n), 3).profiles for n in range(9)}
    assert len(sizes) > 1
    bench.connection.execute("UPDATE aggregates SET purchase_count = 9 WHERE profile_id = ?", [profile_id("user:ann")])
    found = audit_aggregates(bench.connection, checked, refresh, one_in=1)
    assert (1, (Difference(profile_id("user:ann"), "purchase_count", "9", "3"),)) == (
        found.mismatches,
        found.differences,
    )
    assert 5 == len(bench.rows("FROM profiles"))
