"""Back-pressure: what has no room is refused whole, before anything is written."""

import asyncio
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import redis
from msgspec.structs import replace

from serving.online import (
    AppendRules,
    BackPressureError,
    OnlineAppender,
    OnlineStoreError,
    Publication,
    Snapshot,
    append,
    connect,
    connect_async,
    embedded,
    read_late,
    read_log,
)
from serving.online.keys import Keys
from serving.online.store import announce_cut
from tests.serving.api import free_port
from tests.serving.appended import NOW, dump, event

FOUR = AppendRules(max_log=4)


def test_a_full_log_takes_nothing_in(valkey_url: str, online: redis.Redis, project: str) -> None:
    """A batch that would make more wait than may is refused whole, as by both clients, until something has landed."""
    append(online, project, [event("1", "user:ann"), replace(event("2", "user:ann"), is_late=True)], NOW, FOUR)
    before, three = dump(online, project), [event(str(number), "user:bob") for number in (3, 4, 5)]
    with pytest.raises(BackPressureError, match=r"^2 records wait to be landed") as refused:
        append(online, project, three, NOW, FOUR)
    assert 5 == refused.value.retry_after_s
    client = connect_async(valkey_url)

    async def ask() -> None:
        with pytest.raises(BackPressureError):
            await OnlineAppender(client, project, FOUR).append(three, NOW)
        await client.aclose()

    asyncio.run(ask())
    assert before == dump(online, project)
    announce_cut(online, project, 1)
    assert [2, 3, 4] == [answer.seq for answer in append(online, project, three, NOW, FOUR)]


def test_no_limit(online: redis.Redis, project: str) -> None:
    """Zero is no limit."""
    items = [event(str(number), "user:ann") for number in range(9)]
    assert 9 == len(append(online, project, items, NOW, AppendRules(max_log=0)))


@pytest.fixture
def small(tmp_path: Path) -> Iterator[redis.Redis]:
    """A server that may hold a few megabytes and evicts nothing."""
    port = free_port()
    options = {"port": port, "save": "", "maxmemory": "6mb", "maxmemory-policy": "noeviction", "dir": tmp_path}
    command = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    with subprocess.Popen([str(embedded.server_binary()), *command], stdout=subprocess.DEVNULL) as server:
        try:
            client = _until_up(port)
            yield client
            client.close()
        finally:
            server.terminate()


def _until_up(port: int) -> redis.Redis:
    for _ in range(500):
        try:
            return connect(f"redis://127.0.0.1:{port}/0")
        except OnlineStoreError:
            time.sleep(0.02)
    raise AssertionError("the server did not start")


def test_a_server_without_memory(small: redis.Redis, project: str) -> None:
    """Out of memory, a batch is refused whole, a late event that was looked up stays in its lane; later all goes on."""
    append(small, project, [replace(event("late", "user:ann"), is_late=True)], NOW)
    batches = ([event(f"{batch}-{n}", f"user:{n}", body="x" * 2_000) for n in range(50)] for batch in range(200))
    sent = 0
    with suppress(BackPressureError):
        for batch in batches:
            append(small, project, batch, NOW)
            sent += 50
    with pytest.raises(BackPressureError, match="out of memory") as refused:
        append(small, project, next(batches), NOW)
    assert 30 == refused.value.retry_after_s
    assert 0 < sent < 200 * 50
    assert sent == len(list(read_log(small, project, 0)))
    # A small batch may still find room: less of it is left.
    small.config_set("maxmemory", "1mb")
    (waiting,) = read_late(small, project)
    checked = replace(event("late", "user:ann"), late_entry=waiting.entry)
    with pytest.raises(BackPressureError):
        append(small, project, [checked], NOW)
    assert [waiting] == read_late(small, project)
    small.config_set("maxmemory", "64mb")
    assert [sent + 1] == [answer.seq for answer in append(small, project, [checked], NOW)]
    assert [] == read_late(small, project)


def test_a_publication_without_memory(small: redis.Redis, project: str) -> None:
    """What a publication has written until then stands; it says why it ends, and is finished by doing it again."""
    publication = Publication(small, project, Snapshot(10, 1_000, 1, 0, "UTC"))
    publication.begin()
    batches = [{f"user:{batch}-{n}": b"x" * 2_000 for n in range(100)} for batch in range(50)]
    with pytest.raises(OnlineStoreError, match="maxmemory"):
        publication.bases(batches)
    small.config_set("maxmemory", "64mb")
    assert 5_000 == publication.bases(batches)
    keys = Keys(project)
    assert {2_000} == {small.strlen(keys.base(source)) for batch in batches for source in batch}
