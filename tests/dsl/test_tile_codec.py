"""Packed tiles are the tiles: every aggregate and window answers the same from bytes."""

import random

import msgspec
import pytest

from dsl.bases import Bases, bases_of
from dsl.catalog import Catalog, Trait
from dsl.check import check_catalog
from dsl.clock import DAY_MS
from dsl.event import Event
from dsl.tile_codec import TileFormatError, pack, unpack
from dsl.tiles import Folded, Tiles, tiles_of
from tests.dsl.tiled_world import BASES, CHECKED, ZONE, world


def _states(tiles: Tiles) -> dict[tuple[int, int], dict[int, object]]:
    return {run: dict(hops.items()) for run, hops in sorted(tiles.hops.items(), key=lambda each: each[0])}


@pytest.mark.parametrize("seed", range(30))
def test_packed_tiles_answer_as_tiles(seed: int) -> None:
    """Unpacking gives the tiles that were packed, and they fold to the same values."""
    t_ms, events = world(seed)
    sources = [
        tiles_of([event for event in events if event.source_id == source], BASES, CHECKED)
        for source in sorted({event.source_id for event in events})
    ]
    read = [unpack(pack(tiles, BASES), BASES) for tiles in sources]
    assert [_states(tiles) for tiles in sources] == [_states(tiles) for tiles in read]
    assert [(t.cut, t.last_ms, t.attributes) for t in sources] == [(t.cut, t.last_ms, t.attributes) for t in read]
    folded = Folded(CHECKED, BASES, sources, [], t_ms, ZONE)
    assert dict(folded) == dict(Folded(CHECKED, BASES, read, [], t_ms, ZONE))


def test_what_has_no_room_in_columns_is_kept() -> None:
    """Instants before 1970, more than 2^32 events in a day and sums beyond 64 bits come back as they were."""
    checked = check_catalog(Catalog(traits=(Trait("c", "events.a.count_7d"), Trait("s", "events.a.sum(n)"))))
    bases = bases_of(checked.aggregates.values())
    largest = {"n": 2**63 - 1}
    events = [Event(f"e{seq}", seq, "track", "a", "user:x", -5, -1, largest) for seq in (1, 2, 3)]
    events.append(Event("e4", 4, "track", "a", "user:x", 10 * DAY_MS, 10, largest))
    tiles = tiles_of(events, bases, checked)
    assert _states(tiles) == _states(unpack(pack(tiles, bases), bases))
    t_ms = 10 * DAY_MS + 1
    assert dict(Folded(checked, bases, [tiles], [], t_ms, ZONE)) == dict(
        Folded(checked, bases, [unpack(pack(tiles, bases), bases)], [], t_ms, ZONE)
    )


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
