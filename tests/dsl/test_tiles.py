"""Tiles answer what raw events answer: any split of the events into tiles, sources and fresh ones gives one value."""

import random

import pytest

from dsl.bases import Kept, bases_of
from dsl.catalog import Catalog, Trait
from dsl.check import check_catalog
from dsl.clock import DAY_MS
from dsl.event import Event
from dsl.recount import attributes_of as counted_attributes
from dsl.recount import count_again
from dsl.tiles import Folded, Tiles, add, attributes_of, hop_of, tiles_of
from tests.dsl.tiled_world import BASES, CHECKED, ZONE, world


@pytest.mark.parametrize("seed", range(40))
def test_tiles_and_fresh_events_are_the_raw_events(seed: int) -> None:
    """State = tiles of each source (+) tiles of the next stretch of the log, and the fresh events after its cut."""
    t_ms, events = world(seed)
    pick = random.Random(seed + 1_000)
    sources, fresh = [], []
    for source in sorted({event.source_id for event in events}):
        own = [event for event in events if event.source_id == source]
        first, cut = sorted((pick.randrange(len(events) + 1), pick.randrange(len(events) + 1)))
        parts = [[e for e in own if e.seq <= first], [e for e in own if first < e.seq <= cut]]
        older, newer = (tiles_of(pick.sample(part, len(part)), BASES, CHECKED) for part in parts)
        merged = add(older, newer, BASES)
        assert merged == add(newer, older, BASES) == tiles_of(parts[0] + parts[1], BASES, CHECKED)
        sources.append(merged)
        fresh += [event for event in own if event.seq > cut]
    counted = count_again("p", events, CHECKED, t_ms, len(events), ZONE)
    folded = Folded(CHECKED, BASES, sources, fresh, t_ms, ZONE)
    assert dict(counted.aggregates) == dict(folded)
    late = Tiles(0, {}, tiles_of([event for event in fresh if event.kind == "identify"], BASES, CHECKED).attributes)
    assert counted_attributes(events) == attributes_of([*sources, late])


def test_windows_share_one_base() -> None:
    """The windows of an aggregate, and the aggregates of one family, are folded once; filters and types tell apart."""
    texts = (
        "events.a.count", "events.a.count_7d", "events.a.last_at_30d", "events.a.sum(n)", "events.a.avg_1h(n)",
        "events.a[n > 1].count", "events.a.longest_gap_minutes_30m",
    )  # fmt: skip
    checked = check_catalog(Catalog(traits=tuple(Trait(f"t{n}", text) for n, text in enumerate(texts))))
    bases = bases_of(checked.aggregates.values())
    assert ["events.a.moments", "events.a.numbers(n: number)", "events.a[n > 1 // n: number].moments"] == list(
        bases.by_key
    )
    hour, day, beyond = 3_600_000, DAY_MS, 90 * DAY_MS
    assert {
        1_000: Kept(1_800_000 + day, day, whole_days=True),
        hour: Kept(31 * day, day, whole_days=True),
        day: Kept(30 * day + beyond, beyond, carried=True),
    } == dict(bases.by_key["events.a.moments"].grains)
    assert {1_000: Kept(hour + day, day), day: Kept(hour + beyond, beyond, carried=True)} == dict(
        bases.by_key["events.a.numbers(n: number)"].grains
    )


def test_hops_begin_at_or_before_their_events() -> None:
    """A hop is the last multiple of its grain that is not after the event, before 1970 as well."""
    instants = (-1_001, -1_000, -1, 0, 999, 1_000)
    events = [Event("e", 1, "track", "a", "user:x", ts_ms, 0, {}) for ts_ms in instants]
    assert [-2_000, -1_000, -1_000, 0, 0, 1_000] == [hop_of(event, 1_000) for event in events]
