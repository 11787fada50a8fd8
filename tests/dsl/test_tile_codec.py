"""Packed tiles are the tiles: every aggregate and window answers the same from bytes."""

import random
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from dsl.bases import Bases, bases_of
from dsl.catalog import Catalog, Trait
from dsl.check import check_catalog
from dsl.clock import DAY_MS
from dsl.event import Event
from dsl.tile_codec import TileFormatError, layout_of, pack, unpack
from dsl.tiles import Folded, HopStates, Run, Tiles, add, tiles_of
from tests.dsl.tiled_world import BASES, CHECKED, ZONE, world


def _states(tiles: Tiles, bases: Bases = BASES) -> dict[Run, dict[int, Any]]:
    """Of each run; where only the newest of the last instants is kept, it is the only one told."""
    found: dict[Run, dict[int, Any]] = {}
    for run, hops in tiles.hops.items():
        states = dict(sorted(hops.items()))
        if layout_of(bases.by_id[run[0]]) == "firsts":
            states = {hop: state if hop == max(states) else state[:2] for hop, state in states.items()}
        found[run] = states
    return found


@pytest.mark.parametrize("seed", range(30))
def test_packed_tiles_answer_as_tiles(seed: int) -> None:
    """Unpacking gives the tiles that were packed, and they fold to the same values, when packed once more too."""
    t_ms, events = world(seed)
    sources = [
        tiles_of([event for event in events if event.source_id == source], BASES, CHECKED)
        for source in sorted({event.source_id for event in events})
    ]
    read = [unpack(pack(unpack(pack(tiles, BASES), BASES), BASES), BASES) for tiles in sources]
    assert [_states(tiles) for tiles in sources] == [_states(tiles) for tiles in read]
    assert [(t.cut, t.last_ms, t.attributes) for t in sources] == [(t.cut, t.last_ms, t.attributes) for t in read]
    folded = Folded(CHECKED, BASES, sources, [], t_ms, ZONE)
    assert dict(folded) == dict(Folded(CHECKED, BASES, read, [], t_ms, ZONE))


@pytest.mark.parametrize("seed", range(10))
def test_packed_tiles_are_gone_on_from(seed: int) -> None:
    """Bytes of some events, to which those of the others are added, are packed again: as if all had come at once."""
    t_ms, events = world(seed + 50)
    pick = random.Random(seed)
    pick.shuffle(events)
    ends = [*sorted(pick.randrange(len(events)) for _ in range(5)), len(events)]
    known = Tiles()
    for begin, end in pairwise((0, *ends)):
        known = unpack(pack(add(known, tiles_of(events[begin:end], BASES, CHECKED), BASES), BASES), BASES)
    at_once = tiles_of(events, BASES, CHECKED)
    assert _states(at_once) == _states(known)
    folded = Folded(CHECKED, BASES, [at_once], [], t_ms, ZONE)
    assert dict(folded) == dict(Folded(CHECKED, BASES, [known], [], t_ms, ZONE))


def test_a_gap_begins_at_the_last_event_of_a_hop() -> None:
    """Of a base that is asked for gaps the last instant of every hop is kept."""
    checked = check_catalog(Catalog(traits=(Trait("gap", "events.*.longest_gap_minutes_24h"),)))
    bases, t_ms = bases_of(checked.aggregates.values()), 10 * DAY_MS
    ages_minutes = (50, 39, 36, 7)  # two of them in one hop
    events = [Event(f"e{age}", 1, "track", "a", "user:x", t_ms - age * 60_000, 9, {}) for age in ages_minutes]
    tiles = unpack(pack(tiles_of(events, bases, checked), bases), bases)
    assert [29_000_000] == list(dict(Folded(checked, bases, [tiles], [], t_ms, ZONE)).values())


def test_what_has_no_room_in_columns_is_kept() -> None:
    """Instants before 1970 and beyond 48 bits, 2^16 events in a day and sums beyond 64 bits come back as they were."""
    checked = check_catalog(Catalog(traits=(Trait("c", "events.a.count_7d"), Trait("s", "events.a.sum(n)"))))
    bases = bases_of(checked.aggregates.values())
    largest = {"n": 2**63 - 1}
    events = [Event(f"e{seq}", seq, "track", "a", "user:x", -5, -1, largest) for seq in (1, 2, 3)]
    events.append(Event("e4", 4, "track", "a", "user:x", 10 * DAY_MS, 10, largest))
    tiles = tiles_of(events, bases, checked)
    (run,) = (run for run in tiles.hops if run[1] == DAY_MS and bases.by_id[run[0]].family == "moments")
    for days, count in ((2, 2**16 - 1), (3, 2**16), (4, 2**40), (2**48 // DAY_MS - 1, 1), (2**48 // DAY_MS + 1, 1)):
        crowded = HopStates({days * DAY_MS: (count, days * DAY_MS + 1, days * DAY_MS + 2)})
        tiles = add(tiles, Tiles(hops={run: crowded}), bases)
    read = unpack(pack(tiles, bases), bases)
    assert _states(tiles, bases) == _states(read, bases)
    for t_ms in (10 * DAY_MS + 1, 2**48 + 9 * DAY_MS):
        folded = Folded(checked, bases, [tiles], [], t_ms, ZONE)
        assert dict(folded) == dict(Folded(checked, bases, [read], [], t_ms, ZONE))


def test_only_the_bases_of_a_catalog_are_read() -> None:
    """A base that the catalog does not ask for is passed over."""
    _, events = world(random.Random(7).randrange(100))
    packed = pack(tiles_of(events, BASES, CHECKED), BASES)
    assert {} == unpack(packed, Bases({})).hops


def test_other_versions_are_told_apart() -> None:
    """Bytes of another format are refused with what to do."""
    with pytest.raises(TileFormatError, match="rebuild --online"):
        unpack(msgspec.msgpack.encode((1, 0, None, {}, {}, ())), BASES)
    with pytest.raises(TileFormatError, match="rebuild --online"):
        unpack(b"\xc0", BASES)
