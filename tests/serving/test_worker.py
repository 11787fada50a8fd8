"""The worker: what was appended lands once, is announced, and a busy source is folded."""

import threading

import polars as pl
import pytest

from dsl.check import check_catalog
from dsl.clock import DAY_MS
from dsl.event_record import EventRecord, write_record
from dsl.identity_records import IdentitySettings
from serving.online import Fold, Item, OnlineStoreError, delete_project, look_up, reserve_seq, settings_item
from serving.online.chunks import HOT, ChunkFolding
from serving.online.keys import Keys
from serving.online.log import read_log
from serving.online.publication import Publication
from serving.online.snapshot import Snapshot
from serving.worker.landing import land_log
from serving.worker.loop import Worker
from tests.serving.worker_plant import NOW_MS, Plant
from tests.serving.world import CATALOG, COUNT, packed, person, publish_people
from tests.warehouse.small_shop import event
from warehouse import lake
from warehouse.exceptions import RegistryError
from warehouse.landing import land

FOLD = Fold(check_catalog(CATALOG))


def item(event_id: str, *identifiers: str, ts_ms: int = NOW_MS, kind: str = "track", properties: str = "{}") -> Item:
    """An event."""
    name = "purchase" if kind == "track" else kind
    record = EventRecord(event_id, kind, name, ts_ms, NOW_MS, ts_ms // DAY_MS, properties)  # type: ignore[arg-type]
    return Item(event_id, write_record(record), "d", identifiers)


def test_what_was_appended_lands(plant: Plant) -> None:
    """Every event is in the lake as it was sent, with its `seq`, once; the log is trimmed and the cut announced."""
    properties = '{"amount": 12.50, "big": 1e40, "cart": {"total": 3}}'
    plant.append(item("a", "user:ann", "anon:x", properties=properties), item("b", "user:bob", ts_ms=NOW_MS - DAY_MS))
    plant.append(item("c", "user:ann", kind="identify", properties='{"plan": "gold"}'), item("a", "user:ann"))
    assert [3, 3, 3] == [plant.land() for _ in range(3)]
    columns = ("event_id", "source_id", "ts_ms", "received_at_ms", "appended_at_ms", "identifiers", "properties")
    both = '["user:ann", "anon:x"]'
    assert [
        (1, "a", "user:ann", NOW_MS, NOW_MS, NOW_MS, both, properties),
        (2, "b", "user:bob", NOW_MS - DAY_MS, NOW_MS, NOW_MS, None, "{}"),
        (3, "c", "user:ann", NOW_MS, NOW_MS, NOW_MS, None, '{"plan": "gold"}'),
    ] == plant.landed(*columns)
    assert "3" == plant.client.get(Keys(plant.key).cut)
    assert [] == list(read_log(plant.client, plant.key, 0))
    assert 3 == plant.shop.registry.landed_seq(plant.key)


def test_records_that_are_no_events_land_too(plant: Plant) -> None:
    """Identity settings go into the registry, at their place of the log."""
    plant.append(item("a", "user:ann"), settings_item("s", IdentitySettings(max_user_ids_per_profile=0)))
    assert 2 == plant.land()
    ((seq, kind),) = ((r.seq, r.type) for r in plant.shop.registry.identity_records(plant.key))
    assert (2, "settings") == (seq, kind)


def test_loads_and_the_log_take_turns(plant: Plant) -> None:
    """A load that was reserved while the log went on becomes visible when the log before it has landed."""

    def load(event_id: str) -> int | None:
        row = event(event_id, "eve", 1)
        return land(
            pl.DataFrame([row]),
            project=plant.shop.project,
            home=plant.shop.home,
            registry=plant.shop.registry,
            reserve=lambda count: reserve_seq(plant.client, plant.key, count, 0),
            received_at_ms=NOW_MS,
        ).seq_lo

    assert 1 == load("first")
    assert 1 == plant.shop.registry.landed_seq(plant.key)
    plant.append(item("a", "user:ann"))
    assert 3 == load("second")
    # The event before it has not landed: the cut must not pass it.
    assert 1 == plant.shop.registry.landed_seq(plant.key)
    plant.append(item("b", "user:ann"))
    assert 4 == plant.land()
    assert ["first", "a", "second", "b"] == [event_id for _, event_id in plant.landed("event_id")]
    # A range whose load was killed is a hole.
    reserve_seq(plant.client, plant.key, 10, 0)
    plant.append(item("c", "user:ann"))
    assert 15 == plant.land()


def test_a_landing_that_is_killed_is_done_again(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between files and manifest, and between manifest and announcement: every event is there once."""
    plant.append(item("a", "user:ann"), item("b", "user:bob"))
    for place in ("warehouse.registry.Registry.add_log", "serving.worker.landing.announce_cut"):
        with monkeypatch.context() as patch:
            patch.setattr(place, _killed)
            with pytest.raises(KeyboardInterrupt):
                plant.land()
        plant.append(item(f"after {place}", "user:ann"))
    assert 4 == plant.land()
    assert [1, 2, 3, 4] == [seq for seq, _ in plant.landed("event_id")]


def _killed(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_two_workers_land_every_event_once(plant: Plant) -> None:
    """Whoever comes second finds it done; one that has not seen the other's landing is refused whole."""
    for number in range(40):
        plant.append(item(f"e{number}", f"user:{number % 3}"))
    workers = [threading.Thread(target=plant.land) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert list(range(1, 41)) == [seq for seq, _ in plant.landed("event_id")]
    with lake.only_writer(plant.shop.home.lake, plant.key), pytest.raises(RegistryError, match="meanwhile"):
        plant.shop.registry.add_log(plant.key, [], [], 0, 41)


def test_a_log_with_a_gap_does_not_land(plant: Plant) -> None:
    """Records that are missing, and a store that was lost, are told, and nothing lands."""
    plant.append(*(item(f"e{number}", "user:ann") for number in range(3)))
    plant.client.xdel(Keys(plant.key).log, "2-0")
    with pytest.raises(OnlineStoreError, match="goes on at 3, but everything up to 1 has landed"):
        plant.land()
    assert [] == plant.landed("event_id")
    delete_project(plant.client, plant.key)
    plant.shop.registry.add_log(plant.key, [], [], 0, 7)
    plant.append(item("new", "user:ann"))
    with pytest.raises(OnlineStoreError, match="rebuild --online"):
        plant.land()


def test_a_busy_source_is_folded(plant: Plant) -> None:
    """Its fresh events are in a chunk, its answers the same: with later events, another catalog, a new base."""
    publish_people(plant.client, plant.key, Snapshot(0, 0, 1, 0, "UTC"), [person("ann", NOW_MS - DAY_MS, 0)])
    worker = Worker(plant.client, plant.shop.home, plant.shop.registry, plant.shop.project)
    counted = 0
    for batch in range(4):
        names = [f"{batch}-{number}" for number in range(HOT // 2 + 1)]
        plant.append(*(item(name, "user:ann", ts_ms=NOW_MS - number) for number, name in enumerate(names)))
        counted += len(names)
        worker.tick()
        reading = look_up(plant.client, plant.key, "user:ann")
        (source,) = (each for each in reading.sources if each.base or each.fresh or each.chunk)
        assert counted * 1_000_000 == FOLD.state(reading, NOW_MS).aggregates[COUNT]
        assert (batch > 0, batch in (0, 2)) == (source.chunk is not None, len(source.fresh) > 0)
    # Another catalog version does not use it.
    publish_people(plant.client, plant.key, Snapshot(0, 0, 2, 0, "UTC"), [])
    reading = look_up(plant.client, plant.key, "user:ann")
    assert [(None, counted)] == [(each.chunk, len(each.fresh)) for each in reading.sources if each.fresh]
    assert counted * 1_000_000 == FOLD.state(reading, NOW_MS).aggregates[COUNT]
    # A new base takes the place of both.
    base = packed(person("ann", NOW_MS, 3), FOLD, counted - 1)
    Publication(plant.client, plant.key, Snapshot(counted - 1, 1, 2, 0, "UTC")).bases([{"user:ann": base}])
    reading = look_up(plant.client, plant.key, "user:ann")
    assert [(None, 1)] == [(each.chunk, len(each.fresh)) for each in reading.sources if each.base]
    assert 4_000_000 == FOLD.state(reading, NOW_MS).aggregates[COUNT]


def test_a_chunk_does_not_overtake_a_publication(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    """A chunk that was folded from an older base is not written."""
    publish_people(plant.client, plant.key, Snapshot(0, 0, 1, 0, "UTC"), [person("ann", NOW_MS - DAY_MS, 0)])
    plant.append(*(item(f"e{number}", "user:ann") for number in range(HOT + 2)))
    folding = ChunkFolding(plant.client, plant.key, 1, FOLD)
    base = packed(person("ann", NOW_MS, 3), FOLD, 100)
    read = ChunkFolding._read

    def overtaken(self: ChunkFolding, keys: Keys, source_id: str) -> object:
        found = read(self, keys, source_id)
        Publication(plant.client, plant.key, Snapshot(100, 1, 1, 0, "UTC")).bases([{source_id: base}])
        return found

    monkeypatch.setattr(ChunkFolding, "_read", overtaken)
    assert [] == folding.fold_hot(["user:ann"], HOT + 2)
    state = FOLD.state(look_up(plant.client, plant.key, "user:ann"), NOW_MS)
    assert (3 + HOT + 2 - 100) * 1_000_000 == state.aggregates[COUNT]
    monkeypatch.undo()
    plant.append(*(item(f"f{number}", "user:ann") for number in range(HOT)))
    assert ["user:ann"] == folding.fold_hot(["user:ann"], 2 * HOT)
    assert (3 + HOT + 2 - 100 + HOT) * 1_000_000 == FOLD.state(
        look_up(plant.client, plant.key, "user:ann"), NOW_MS
    ).aggregates[COUNT]


def test_a_publication_takes_the_place_of_a_chunk(plant: Plant) -> None:
    """A base that has the events of a chunk is read alone, also by the catalog version that the chunk is of."""
    publish_people(plant.client, plant.key, Snapshot(0, 0, 1, 0, "UTC"), [person("ann", NOW_MS - DAY_MS, 0)])
    plant.append(*(item(f"e{number}", "user:ann") for number in range(HOT + 2)))
    assert ["user:ann"] == ChunkFolding(plant.client, plant.key, 1, FOLD).fold_hot(["user:ann"], HOT + 2)
    base = packed(person("ann", NOW_MS, 3), FOLD, HOT + 2)
    Publication(plant.client, plant.key, Snapshot(HOT + 2, 1, 1, 0, "UTC")).bases([{"user:ann": base}])
    assert 3_000_000 == FOLD.state(look_up(plant.client, plant.key, "user:ann"), NOW_MS).aggregates[COUNT]


def test_the_worker_goes_on_after_a_failure(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tick that fails is tried again, until it is asked to stop."""
    worker = Worker(plant.client, plant.shop.home, plant.shop.registry, plant.shop.project)
    stop, ticks = threading.Event(), list[int]()
    plant.append(item("a", "user:ann"))

    def fails_once(*arguments: object) -> object:
        ticks.append(1)
        if len(ticks) == 1:
            raise OnlineStoreError("away")
        stop.set()
        return land_log(*arguments)  # type: ignore[arg-type]  # those of the original

    monkeypatch.setattr("serving.worker.loop.land_log", fails_once)
    worker.run(stop, 0.01)
    assert 2 == len(ticks)
    assert 1 == plant.shop.registry.landed_seq(plant.key)
