"""Publisher, worker, senders and readers at the same time, on a real server: every reader sees each event once."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count

import pytest
import redis

from dsl.catalog import Catalog, Trait
from dsl.check import check_catalog
from dsl.clock import DAY_MS
from dsl.event_record import EventRecord, read_event, write_record
from dsl.tile_codec import pack
from dsl.tiles import tiles_of
from serving.online import Fold, Item, Publication, Snapshot, append, connect, look_up
from serving.online.chunks import ChunkFolding
from serving.online.log import read_log

FOLD = Fold(check_catalog(Catalog(traits=(Trait("n", "events.buy.count"), Trait("s", "events.buy.sum_7d(amount)")))))
NOW_MS = 1_500_000_000_000
BATCHES, BATCH = 400, 3


@contextmanager
def going_on(*works: Callable[[], None]) -> Iterator[None]:
    """Works repeat in threads of their own until the block ends; what one of them raises is raised here."""
    stop = threading.Event()

    def repeat(work: Callable[[], None]) -> None:
        while not stop.is_set():
            work()

    with ThreadPoolExecutor(len(works)) as pool:
        running = [pool.submit(repeat, work) for work in works]
        try:
            yield
        finally:
            stop.set()
        for each in running:
            each.result()


def an_item(event_id: str) -> Item:
    """One purchase of the user."""
    record = EventRecord(event_id, "track", "buy", NOW_MS - 1, NOW_MS, NOW_MS // DAY_MS, '{"amount": 1}')
    return Item(event_id, write_record(record), "d", ("user:ann",))


def test_no_reader_sees_an_event_twice_or_not(
    valkey_url: str, online: redis.Redis, project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All events are of one user and each has one `seq`: at every moment the count is the `seq` of the answer."""
    monkeypatch.setattr("serving.online.chunks.HOT", 10)
    Publication(online, project, Snapshot(0, 0, 1, 0, "UTC")).end(FOLD.checked.catalog.to_document())
    seen, numbers = list[int](), count()

    def publish() -> None:
        client = connect(valkey_url)
        entries = list(read_log(client, project, 0))
        events = [read_event(entry.record, entry.seq, "user:ann") for entry in entries]
        tiles = tiles_of(events, FOLD.bases, FOLD.checked)
        publication = Publication(client, project, Snapshot(tiles.cut, next(numbers), 1, 0, "UTC"))
        publication.bases([{"user:ann": pack(tiles, FOLD.bases)}])
        publication.end(FOLD.checked.catalog.to_document())
        client.close()

    def fold() -> None:
        client = connect(valkey_url)
        seq = int(client.get(f"{{{project}}}:seq") or 0)
        ChunkFolding(client, project, 1, FOLD).fold_hot(["user:ann"], seq)
        client.close()

    def read() -> None:
        client = connect(valkey_url)
        for _ in range(50):
            reading = look_up(client, project, "user:ann")
            state = FOLD.state(reading, NOW_MS)
            found = [state.aggregates[key] for key in FOLD.checked.aggregates]
            assert [reading.seq * 1_000_000] * 2 == found
            seen.append(reading.seq)
        client.close()

    with going_on(publish, fold, read, read):
        for batch in range(BATCHES):
            names = [f"{batch}-{number}" for number in range(BATCH)]
            records = [
                EventRecord(n, "track", "buy", NOW_MS - 1, NOW_MS, NOW_MS // DAY_MS, '{"amount": 1}') for n in names
            ]
            append(online, project, [Item(r.event_id, write_record(r), "d", ("user:ann",)) for r in records], NOW_MS)
    assert BATCHES * BATCH == look_up(online, project, "user:ann").seq
    assert len(set(seen)) > 10
