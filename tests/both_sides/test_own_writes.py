"""Whoever has sent something reads it: at once from the process that took it, within a second from any other."""

import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from serving.online import connect
from tests.both_sides.own_writes import Found, Readers
from tests.chaos.town import CATALOG
from tests.serving.api import Api, running_api
from tests.serving.world import World, publish

READS = int(os.environ.get("TINYCDP_TEST_READS", "0"))
"""Of all tests together, for whoever has time; otherwise each goes on for a moment."""
MOMENT_S, MANY = 2.0, 100_000
THREADS = 4
PROMISE_S = 1.0


@dataclass(frozen=True, slots=True)
class Three:
    """Three processes over one project: two that keep what they have answered, and one that keeps nothing."""

    world: World
    keeps: Api
    keeps_too: Api
    forgets: Api

    def read(self, write: Api, read: Api, patience_s: float = 0.0) -> Found:
        """What becomes of writes to one that are read from another, or from the same."""
        one, other = (api.http.base_url.netloc.decode() for api in (write, read))
        readers = Readers(one, other, self.world.keys, patience_s)
        found = readers.run(THREADS, READS // 4) if READS else readers.run(THREADS, MANY, MOMENT_S)
        sys.stdout.write(f"{found}\n")
        return found


@pytest.fixture(scope="module")
def three(valkey_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Three]:
    """They run."""
    folder = tmp_path_factory.mktemp("three")
    client = connect(valkey_url)
    world = publish(client, f"reads-{uuid4().hex[:12]}", catalog=CATALOG)
    client.close()
    with ExitStack() as stack:
        yield Three(world, *(stack.enter_context(_api(folder, valkey_url, world, ttl)) for ttl in ("60s", "60s", "0")))


def _api(folder: Path, url: str, world: World, ttl: str) -> AbstractContextManager[Api]:
    log = folder / uuid4().hex
    # On a busy machine the store may take longer than a decision would wait for it.
    where = {"REDIS_URL": url, "PROJECT": world.project, "DECIDE_DEADLINE_MS": "5000", "DECIDE_CACHE_TTL": ttl}
    return running_api(log, **where)


def test_one_process(three: Three) -> None:
    """The very next answer of the process that took an event in knows it, though it keeps its answers."""
    assert 0 == three.read(three.keeps, three.keeps).old


def test_one_process_that_keeps_nothing(three: Three) -> None:
    """So does that of one that keeps none."""
    assert 0 == three.read(three.forgets, three.forgets).old


def test_two_processes_that_keep_nothing(three: Three) -> None:
    """Where nothing is kept, any process knows at once what another one has taken in."""
    assert 0 == three.read(three.keeps, three.forgets).old


def test_two_processes(three: Three) -> None:
    """A process that keeps its answers knows within a second what another one has taken in."""
    found = three.read(three.keeps, three.keeps_too, PROMISE_S)
    assert 0 == found.old
    assert found.longest_s < PROMISE_S
