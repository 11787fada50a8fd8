"""Segment's and RudderStack's libraries for Python, as published: what they send is taken in, whatever goes wrong."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import rudderstack.analytics
import segment.analytics

from dsl.identifiers import source_id
from tests.docs.blocks import Block, of_language
from tests.ingest.conftest import Shop
from tests.serving.api import free_port, launch

PAGE = "docs/reference/ingest.md"
CLIENTS: dict[str, Callable[..., Any]] = {
    "segment-analytics-python": segment.analytics.Client,
    "rudder-sdk-python": rudderstack.analytics.Client,
}

every_library = pytest.mark.parametrize("library", CLIENTS)


def address(shop: Shop) -> str:
    """Where the API of a shop listens."""
    return str(shop.api.http.base_url).rstrip("/")


@contextmanager
def sending(library: str, shop: Shop, **settings: Any) -> Iterator[Any]:
    """A client that sends to the shop; at the end it has delivered everything, and complained of nothing."""
    failures: list[Exception] = []
    given = {"host": address(shop), "on_error": lambda error, _: failures.append(error)} | settings
    client = CLIENTS[library](shop.keys["write"], **given)
    yield client
    client.shutdown()
    assert [] == failures


def requests_with(shop: Shop, status: int) -> int:
    """How many batches the API has answered so."""
    lines = [json.loads(line) for line in shop.api.log.read_text().splitlines() if '"event":"request"' in line]
    return sum((line["route"], line["status"]) == ("/v1/batch", status) for line in lines)


@every_library
@pytest.mark.parametrize("gzip", [False, True])
def test_every_call(shop: Shop, library: str, gzip: bool) -> None:
    """All six calls arrive, in their order, with what they said."""
    before = shop.newest()
    with sending(library, shop, gzip=gzip) as client:
        client.identify("ann", {"plan": "gold", "email": "Ann@Example.org"})
        client.track("ann", "purchase", {"amount": 12.3, "items": ["a", "b"]})
        client.page("ann", "docs", "Install", {"url": "https://shop.example/"})
        client.screen("ann", None, "Basket")
        client.group("ann", "acme", {"seats": 5})
        client.alias("visitor-7", "ann")
    entries, records = shop.log(before), shop.events(before)
    assert ["identify", "purchase", "page", "screen", "group", "alias"] == [record["name"] for record in records]
    assert [
        {"plan": "gold", "email": "Ann@Example.org"},
        {"amount": 12_300_000, "items": ["a", "b"]},
        {"url": "https://shop.example/", "category": "docs", "name": "Install"},
        {"name": "Basket"},
        {"seats": 5_000_000, "groupId": "acme"},
        {},
    ] == [record["properties"] for record in records]
    identities: list[Any] = [entry.identity for entry in entries]
    assert {"user:ann"} == {identity.source_id for identity in identities}
    assert (source_id("email", "ann@example.org"),) == identities[0].weaker
    assert "visitor-7" in repr(identities[5])


@every_library
def test_values_of_python(shop: Shop, library: str) -> None:
    """Numbers as ids, dates, decimals, nothing: as the library writes them; `NaN` spoils its own event only."""
    before, at = shop.newest(), datetime(2018, 1, 1, 4, 1, 21, 500_000, UTC)
    with sending(library, shop) as client:
        client.track(42, "values", {"at": at, "on": date(2018, 1, 1), "price": Decimal("12.30"), "none": None})
        client.track(42, "values", {"ratio": math.nan}, message_id=f"nan-{library}")
        client.track(42, "values", {"big": 2**40 + 1, "text": "hé😀"})
    first, last = shop.events(before)
    said = {"at": "2018-01-01T04:01:21.500000+00:00", "on": "2018-01-01", "price": 12_300_000, "none": None}
    assert said == first["properties"]
    assert {"big": (2**40 + 1) * 1_000_000, "text": "hé😀"} == last["properties"]
    assert {"user:42"} == {entry.identity.source_id for entry in shop.log(before)}  # type: ignore[union-attr]  # events
    assert [f"nan-{library}"] == [letter.event_id for letter in shop.letters("invalid_number")][-1:]


@every_library
def test_when_it_happened(shop: Shop, library: str) -> None:
    """A timestamp from before is kept; an old one is late, which is no failure."""
    before = shop.newest()
    hour_ago, month_ago = (datetime.now(UTC) - timedelta(hours=hours) for hours in (1, 24 * 30))
    with sending(library, shop) as client:
        client.track("ann", "past", timestamp=hour_ago)
        client.track("ann", "past", timestamp=month_ago)
    ((record,)) = shop.events(before)
    assert abs(record["ts"] / 1_000_000 - hour_ago.timestamp() * 1_000) < 2_000


@every_library
def test_a_wrong_key(shop: Shop, library: str) -> None:
    """The library gives up at once: one request, one failure, nothing taken in."""
    before, refused, failures = shop.newest(), requests_with(shop, 401), []
    client = CLIENTS[library](
        "tcdp_w_nobody", host=address(shop), on_error=lambda error, batch: failures.append((error, len(batch)))
    )
    client.track("ann", "purchase")
    client.track("ann", "purchase")
    client.shutdown()
    ((error, lost),) = failures
    assert (401, "invalid_write_key", 2) == (error.status, error.code, lost)
    time.sleep(0.5)
    assert (1, before) == (requests_with(shop, 401) - refused, shop.newest())


def test_events_that_are_too_large(shop: Shop) -> None:
    """RudderStack's library sends up to four megabytes: an event of 100 KB is a dead letter, others are kept."""
    before = shop.newest()
    with sending("rudder-sdk-python", shop, timeout=60) as client:
        for place in range(100):
            client.track("ann", "load", {"place": place, "text": "x" * (100_000 if place == 50 else 30_000)})
    assert [place for place in range(100) if place != 50] == [
        record["properties"]["place"] // 1_000_000 for record in shop.events(before)
    ]
    assert 100_000 < len(shop.letters("too_large")[-1].raw)


@every_library
def test_the_server_is_killed_meanwhile(shop: Shop, library: str, valkey_url: str, tmp_path: Path) -> None:
    """Killed while batches come in, and up again after a second: every event counts, and counts once."""
    before, port, failures = shop.newest(), free_port(), list[Exception]()
    settings = {"HOME": str(shop.home.path), "REDIS_URL": valkey_url, "PROJECT": shop.project}
    server = launch(port, tmp_path / "log", **settings)
    client = CLIENTS[library](
        shop.keys["write"],
        host=f"http://127.0.0.1:{port}/",
        on_error=lambda error, _: failures.append(error),
        upload_size=5,
        upload_interval=0.05,
    )
    sent = [f"{library}-{place}" for place in range(120)]
    for place, message_id in enumerate(sent):
        client.track("ann", "restart", {"place": place}, message_id=message_id)
    while len(shop.events(before)) < 20:
        time.sleep(0.01)
    server.send_signal(signal.SIGKILL)
    server.wait()
    time.sleep(1)  # its worker notices that it is gone
    server = launch(port, tmp_path / "log", **settings)
    client.shutdown()
    server.send_signal(signal.SIGTERM)
    server.wait(20)
    assert [] == failures
    assert sent == [record["id"] for record in shop.events(before)]


@pytest.mark.parametrize("block", of_language(PAGE, "python"), ids=lambda block: block.info)
def test_the_page_runs(shop: Shop, block: Block) -> None:
    """What the page shows is a whole program: it ends well, and its events are there."""
    before = shop.newest()
    program = block.text.replace("http://localhost:8000", address(shop)).replace("YOUR_WRITE_KEY", shop.keys["write"])
    subprocess.run([sys.executable, "-c", program], env=os.environ, check=True, timeout=60)
    assert ["identify", "purchase"] == [record["name"] for record in shop.events(before)]


def test_the_page_names_every_library() -> None:
    """There is a program for each library that is tested."""
    assert set(CLIENTS) == {block.info for block in of_language(PAGE, "python")}
