"""Segment's library for browsers, as published, in Chromium, on a page of another origin."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.docs.blocks import of_language
from tests.ingest.conftest import Shop
from tests.sdks.conftest import Visit, address, filled

PAGE = "docs/reference/ingest.md"
Open = Callable[..., Visit]
STANDARD = """
import { AnalyticsBrowser } from "@segment/analytics-next";
const analytics = AnalyticsBrowser.load({ writeKey: "YOUR_WRITE_KEY", cdnURL: "http://localhost:8000" });
"""
BATCHING = """
import { AnalyticsBrowser } from "@segment/analytics-next";
const deliveryStrategy = { strategy: "batching", config: { size: 3, timeout: 60_000 } };
const analytics = AnalyticsBrowser.load(
  { writeKey: "YOUR_WRITE_KEY", cdnURL: "http://localhost:8000" },
  { integrations: { "Segment.io": { deliveryStrategy } } },
);
"""


def posts(found: Visit) -> list[dict[str, Any]]:
    """What the page sent."""
    return [request for request in found.requests if request["method"] == "POST"]


def until_there(shop: Shop, after: int, count: int) -> list[dict[str, Any]]:
    """Records behind a `seq`, once there are so many, or after ten seconds."""
    for _ in range(200):
        if len(shop.events(after)) >= count:
            break
        time.sleep(0.05)
    return shop.events(after)


@pytest.mark.parametrize("name", ["@segment/analytics-next", "@segment/analytics-next, batches"])
def test_the_page_runs(shop: Shop, visit: Open, name: str) -> None:
    """What the page shows works as it stands, and sends to nobody else."""
    before = shop.newest()
    ((block,)) = [block for block in of_language(PAGE, "js") if block.info == name]
    found = visit(filled(block.text, shop), "navigate", lambda: until_there(shop, before, 2))
    assert ["identify", "purchase"] == [record["name"] for record in shop.events(before)]
    assert [] == [request["url"] for request in found.requests if not request["url"].startswith(address(shop))]
    assert [] == found.errors


def test_every_call(shop: Shop, visit: Open) -> None:
    """All six calls arrive, each by its short route, as text with the key as Basic credentials."""
    before = shop.newest()
    calls = """
      await analytics.page("docs", "Install");
      await analytics.identify("ann", { plan: "gold", since: new Date(0) });
      await analytics.track("purchase", { amount: 12.3, ratio: NaN });
      await analytics.screen("Basket");
      await analytics.group("acme", { seats: 5 });
      await analytics.alias("ann", "visitor-7");
    """
    found = visit(filled(STANDARD + calls, shop))
    assert [] == found.errors
    assert [f"{address(shop)}/v1/{short}" for short in "pitsga"] == [each["url"] for each in posts(found)]
    assert {"text/plain"} == {each["headers"]["content-type"] for each in posts(found)}
    assert {shop.headers()["authorization"]} == {each["headers"]["authorization"] for each in posts(found)}
    records = shop.events(before)
    assert ["page", "identify", "purchase", "screen", "group", "alias"] == [record["name"] for record in records]
    sources = [entry.identity.source_id for entry in shop.log(before)]  # type: ignore[union-attr]  # events
    assert ("anon", {"user:ann"}) == (sources[0].partition(":")[0], set(sources[1:]))
    page, identify, purchase, _, group, _ = [record["properties"] for record in records]
    assert ("Install", "docs", "/") == (page["name"], page["category"], page["path"])
    assert {"plan": "gold", "since": "1970-01-01T00:00:00.000Z"} == identify
    assert {"amount": 12_300_000, "ratio": None} == purchase
    assert {"seats": 5_000_000, "groupId": "acme"} == group
    assert "HeadlessChrome" in records[0]["context"]["userAgent"]


def test_batches(shop: Shop, visit: Open) -> None:
    """Three events that wait are one request."""
    before = shop.newest()
    calls = 'for (const place of [1, 2, 3]) analytics.track("batched", { place });'
    wait = "await new Promise((resolve) => setTimeout(resolve, 1_000));"
    found = visit(filled(BATCHING + calls + wait, shop), "", lambda: until_there(shop, before, 3))
    ((sent,)) = posts(found)
    assert (f"{address(shop)}/v1/b", 3) == (sent["url"], len(json.loads(sent["body"])["batch"]))
    assert ["batched"] * 3 == [record["name"] for record in shop.events(before)]


@pytest.mark.parametrize("leave", ["navigate", "close"])
def test_a_page_that_is_left(shop: Shop, visit: Open, leave: str) -> None:
    """Events that wait when the page is left are sent by the browser after it: none is lost, none comes twice."""
    before = shop.newest()
    calls = 'for (const place of [1, 2]) await analytics.track("left", { place });'
    found = visit(filled(BATCHING + calls, shop), leave, lambda: until_there(shop, before, 2))
    assert [] == found.errors
    assert [1_000_000, 2_000_000] == [record["properties"]["place"] for record in shop.events(before)]


def test_a_wrong_key(shop: Shop, visit: Open) -> None:
    """The library hears that there are no settings, says so, and sends nothing."""
    before = shop.newest()
    script = STANDARD.replace("YOUR_WRITE_KEY", "tcdp_w_nobody")
    found = visit(filled(script + "window.told = await analytics.catch((error) => String(error));", shop))
    assert ([], before) == (posts(found), shop.newest())
    assert ["GET"] == [request["method"] for request in found.requests]
