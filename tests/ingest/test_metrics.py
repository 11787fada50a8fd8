"""What Prometheus reads."""

import re
from uuid import uuid4

from tests.ingest.conftest import Shop


def values(shop: Shop) -> dict[str, float]:
    """Every sample of the page."""
    page = shop.api.http.get("/metrics")
    assert page.headers["content-type"].startswith("text/plain")
    lines = (line.rpartition(" ") for line in page.text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


def test_events_are_counted_by_what_became_of_them(shop: Shop) -> None:
    """Accepted once, repeated, not accepted with its reason; and what waits to be landed."""
    before = values(shop)
    event = {"messageId": uuid4().hex, "userId": "a", "event": "e"}
    for _ in range(3):
        shop.post("/v1/track", event)
    shop.post("/v1/track", {"userId": "null", "event": "e"})
    after = values(shop)
    changed = {name: after[name] - before.get(name, 0) for name in after if name.endswith("}") and "_total" in name}
    assert {
        'cdp_events_accepted_total{route="segment"}': 1,
        'cdp_events_dedup_hits_total{route="segment"}': 2,
        'cdp_events_dead_total{reason="no_identifier",route="segment"}': 1,
    } == {name: value for name, value in changed.items() if value}
    assert after["cdp_events_buffered"] == before["cdp_events_buffered"] + 1
    assert re.search(
        r'cdp_http_request_seconds_count\{route="/v1/track",status="200"\} \d', shop.api.http.get("/metrics").text
    )
