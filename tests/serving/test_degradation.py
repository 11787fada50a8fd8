"""Decisions when something is amiss: an answer within the deadline, with its reason, and recovery by itself."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from serving.online import connect, embedded
from tests.serving.api import Api, running_api, wait_until_it_keeps
from tests.serving.world import World, publish
from warehouse.settings import Home

SHORT_S = 0.4
"""For a question and its answer: the deadline of 50 ms, and room for a machine that does other things besides."""


@pytest.fixture
def world(home: Home, project: str) -> World:
    """A project in a store of its own."""
    return publish(connect(embedded.start(home.valkey)), project)


@pytest.fixture
def api(home: Home, world: World, tmp_path: Path) -> Iterator[Api]:
    """Its API, which reads at most forty fresh events of a source."""
    variables = {"HOME": str(home.path), "PROJECT": world.project, "DECIDE_MAX_FRESH": "40"}
    with running_api(tmp_path / "log", **variables) as running:
        yield running


@contextmanager
def frozen(home: Home) -> Iterator[None]:
    """A store that takes connections and says nothing."""
    process = int((home.valkey / "valkey.pid").read_text())
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


def decide(api: Api, world: World, who: str) -> tuple[dict[str, object], float]:
    """An answer, and after how many seconds it was there."""
    begin = time.monotonic()
    headers = {"authorization": f"Bearer {world.keys['admin']}"}
    answer = api.http.get("/v1/decide", params={"userId": who, "flag": "banner"}, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json(), time.monotonic() - begin


def metric(api: Api, name: str) -> float:
    """A number of `/metrics`."""
    lines = api.http.get("/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def test_a_store_that_says_nothing(api: Api, world: World, home: Home) -> None:
    """While the store hangs a decision is what was known, else the default, within the deadline; then it recovers."""
    wait_until_it_keeps(api)
    assert "vip" == decide(api, world, "ann")[0]["variant"]
    with frozen(home):
        time.sleep(1.1)
        kept, kept_s = decide(api, world, "ann")
        default, default_s = decide(api, world, "bob")
        assert ("vip", "STALE", "store_unavailable") == (kept["variant"], kept["reason"], kept["stale"])
        assert ("plain", "ERROR", "store_unavailable") == (default["variant"], default["reason"], default["stale"])
        assert (True, True) == (kept_s < SHORT_S, default_s < SHORT_S)
    begin = time.monotonic()
    while decide(api, world, "bob")[0]["stale"] is not None:
        assert time.monotonic() - begin < 5
    assert metric(api, 'cdp_decisions_degraded_total{why="store_unavailable"}') >= 2
    assert 1 == metric(api, "cdp_decide_keeps")


def test_a_profile_that_is_too_large(api: Api, world: World) -> None:
    """With more events than are read for one answer a flag answers its default, and says why; others are as ever."""
    headers = {"authorization": f"Bearer {world.keys['admin']}"}
    batch = [{"type": "track", "userId": "big", "event": "purchase"} for _ in range(41)]
    found = []
    for events in (batch[:40], batch[40:]):
        assert api.http.post("/v1/batch", json={"batch": events}, headers=headers).json()["accepted"] == len(events)
        answer, took_s = decide(api, world, "big")
        assert took_s < SHORT_S
        found.append((answer["variant"], answer["reason"], answer["stale"]))
    assert [("vip", "TARGETING_MATCH", None), ("plain", "ERROR", "profile_too_large")] == found
    assert "vip" == decide(api, world, "ann")[0]["variant"]


def test_a_store_that_is_killed(api: Api, world: World, home: Home) -> None:
    """Whatever is killed, a decision is answered; what was sent before is in it again once the store is back."""
    headers = {"authorization": f"Bearer {world.keys['admin']}"}
    for number in range(3):
        api.http.post("/v1/track", json={"userId": f"new-{number}", "event": "purchase"}, headers=headers)
    os.kill(int((home.valkey / "valkey.pid").read_text()), signal.SIGKILL)
    assert "ERROR" == decide(api, world, "eve")[0]["reason"]
    embedded.start(home.valkey)
    begin = time.monotonic()
    while (found := decide(api, world, "new-1")[0])["stale"] is not None:
        assert time.monotonic() - begin < 5
    assert "no rule matched" in str(found["reasons"])
    assert 1 == sum("purchases_30d = 1" in reason for reason in found["reasons"])  # type: ignore[attr-defined]
