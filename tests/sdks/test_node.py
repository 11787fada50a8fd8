"""Segment's library for Node, as published."""

import json
import signal
import subprocess
import time
from pathlib import Path

from tests.docs.blocks import of_language
from tests.ingest.conftest import Shop
from tests.sdks.conftest import HERE, Run, address, filled
from tests.serving.api import free_port, launch

PAGE = "docs/reference/ingest.md"
BEGIN = """
import { Analytics } from "@segment/analytics-node";
const failures = [];
const analytics = new Analytics({ writeKey: "YOUR_WRITE_KEY", host: "http://localhost:8000", ...SETTINGS });
analytics.on("error", (error) => failures.push(String(error.reason?.message ?? error.reason ?? error.code)));
"""
END = """
await analytics.closeAndFlush();
console.log(JSON.stringify(failures));
"""


def program(shop: Shop, calls: str, settings: str = "{}") -> str:
    """A module that makes calls, delivers them, and prints the failures."""
    return filled(BEGIN.replace("SETTINGS", settings) + calls + END, shop)


def test_the_page_runs(shop: Shop, node: Run) -> None:
    """What the page shows is a whole program: it ends well, and its events are there."""
    before = shop.newest()
    ((block,)) = [block for block in of_language(PAGE, "js") if block.info == "@segment/analytics-node"]
    node(filled(block.text, shop))
    assert ["identify", "purchase"] == [record["name"] for record in shop.events(before)]


def test_every_call(shop: Shop, node: Run) -> None:
    """All six calls arrive, in their order, with what they said."""
    before = shop.newest()
    calls = """
      analytics.identify({ userId: "ann", traits: { plan: "gold", since: new Date(0) } });
      analytics.track({ userId: "ann", event: "purchase", properties: { amount: 12.3, ratio: NaN, none: undefined } });
      analytics.page({ anonymousId: "visitor", category: "docs", name: "Install" });
      analytics.screen({ userId: "ann", name: "Basket" });
      analytics.group({ userId: "ann", groupId: "acme", traits: { seats: 5 } });
      analytics.alias({ userId: "ann", previousId: "visitor-7" });
    """
    assert [] == json.loads(node(program(shop, calls)))
    records = shop.events(before)
    assert ["identify", "purchase", "page", "screen", "group", "alias"] == [record["name"] for record in records]
    assert [
        {"plan": "gold", "since": "1970-01-01T00:00:00.000Z"},
        {"amount": 12_300_000, "ratio": None},
        {"category": "docs", "name": "Install"},
        {"name": "Basket"},
        {"seats": 5_000_000, "groupId": "acme"},
        {},
    ] == [record["properties"] for record in records]
    sources = [entry.identity.source_id for entry in shop.log(before)]  # type: ignore[union-attr]  # events
    assert ["user:ann", "user:ann", "anon:visitor", "user:ann", "user:ann", "user:ann"] == sources


def test_an_address_below_a_path(shop: Shop, node: Run) -> None:
    """The library drops what its `host` has as a path; its setting `path` takes any of our names of the route."""
    before = shop.newest()
    call = 'analytics.track({ userId: "ann", event: "path" });'
    assert [] == json.loads(node(program(shop, call, '{ path: "/v1/b" }')))
    assert ["path"] == [record["name"] for record in shop.events(before)]


def test_an_event_that_is_too_large(shop: Shop, node: Run) -> None:
    """The library lets an event of 100 KB pass: it is a dead letter, the others of its batch are kept."""
    before = shop.newest()
    calls = """
      for (let place = 0; place < 10; place++) {
        const text = place === 5 ? "x".repeat(100_000) : "x";
        analytics.track({ userId: "ann", event: "load", messageId: `load-${place}`, properties: { text } });
      }
    """
    assert [] == json.loads(node(program(shop, calls)))
    assert [f"load-{place}" for place in range(10) if place != 5] == [record["id"] for record in shop.events(before)]
    assert ["load-5"] == [letter.event_id for letter in shop.letters("too_large")]


def test_a_wrong_key(shop: Shop, node: Run) -> None:
    """The library gives up at once: one request, one failure for each event, nothing taken in."""
    before, logged = shop.newest(), len(shop.api.log.read_text())
    calls = """
      analytics.track({ userId: "ann", event: "purchase" });
      analytics.track({ userId: "ann", event: "purchase" });
    """
    failures = json.loads(node(program(shop, calls, '{ writeKey: "tcdp_w_nobody" }')))
    assert ["[401] Unauthorized"] * 2 == failures
    time.sleep(0.2)
    assert 1 == shop.api.log.read_text()[logged:].count('"status":401')
    assert before == shop.newest()


def test_the_server_is_killed_meanwhile(shop: Shop, node: Run, valkey_url: str, tmp_path: Path) -> None:
    """Killed while batches come in, and up again after a second: every event counts, and counts once."""
    before, port = shop.newest(), free_port()
    settings = {"HOME": str(shop.home.path), "REDIS_URL": valkey_url, "PROJECT": shop.project}
    calls = """
      for (let place = 0; place < 60; place++) {
        analytics.track({ userId: "ann", event: "restart", messageId: `restart-${place}` });
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    """
    text = program(shop, calls, "{ flushAt: 5 }").replace(address(shop), f"http://127.0.0.1:{port}")
    server = launch(port, tmp_path / "log", **settings)
    sender = subprocess.Popen(
        ["node", "--input-type=module"], cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert sender.stdin is not None
    sender.stdin.write(text)
    sender.stdin.close()
    sender.stdin = None
    while len(shop.events(before)) < 20:
        time.sleep(0.01)
    server.send_signal(signal.SIGKILL)
    server.wait()
    time.sleep(1)  # its worker notices that it is gone
    server = launch(port, tmp_path / "log", **settings)
    printed, _ = sender.communicate(timeout=60)
    server.send_signal(signal.SIGTERM)
    server.wait(20)
    assert [] == json.loads(printed)
    # Batches are sent side by side: a retried one comes after those that were sent later.
    assert sorted(f"restart-{place}" for place in range(60)) == sorted(record["id"] for record in shop.events(before))
