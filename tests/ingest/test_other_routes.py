"""Routes of the systems that this one takes the place of: mini-cdp, the CDP module, CartNudge's pipelines."""

import hashlib
import hmac
import json
import time
from typing import Any
from uuid import uuid4

import pytest

from dsl.catalog import Catalog, Pipeline, PipelineEvent, PipelineField
from dsl.identifiers import profile_id, source_id
from serving.ingest.webhook_signature import sign
from serving.online import publish_catalog
from serving.online.pipelines import publish_webhook_secrets, read_violations
from tests.ingest.conftest import Shop

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
CATALOG = Catalog(
    pipelines=(
        Pipeline(
            "checkout",
            (
                PipelineEvent(
                    "add_to_cart",
                    (
                        PipelineField("price", "number", required=True),
                        PipelineField("cart.items", "list"),
                        PipelineField("at", "timestamp"),
                    ),
                ),
                PipelineEvent("old", (), enabled=False),
            ),
        ),
        Pipeline("closed", (PipelineEvent("x"),), status="inactive"),
    )
)


@pytest.fixture(scope="module")
def pipelines(shop: Shop) -> Shop:
    """The project with pipelines, one of which has a secret for signatures."""
    publish_catalog(shop.client, shop.project, 1, CATALOG.to_document())
    publish_webhook_secrets(shop.client, shop.project, {"checkout": [(SECRET, None)]})
    time.sleep(1.1)  # what the API knows of a project is at most a second old
    return shop


def test_mini_cdp(shop: Shop) -> None:
    """Its documents' own examples, as they stand there."""
    before = shop.newest()
    who = {"email": "alice@example.com", "user_id": "user_123", "anonymous_id": "anon_abc"}
    identified = shop.post("/identify", {**who, "traits": {"name": "Alice", "plan": "gold"}})
    tracked = shop.post(
        "/track",
        {
            "event_type": "purchase",
            "user_id": "user_123",
            "anonymous_id": "anon_abc",
            "properties": {"order_id": "ord_001", "amount": 59.99, "currency": "USD"},
            "occurred_at": "2026-11-22T15:00:00Z",
        },
    )
    assert [200, 200] == [identified.status_code, tracked.status_code]
    assert profile_id("user:user_123") == identified.json()["profile_id"] == tracked.json()["profile_id"]
    first, second = shop.log(before)
    assert ("user:user_123", (source_id("email", "alice@example.com"), "anon:anon_abc")) == (
        first.identity.source_id,  # type: ignore[union-attr]  # an event
        first.identity.weaker,  # type: ignore[union-attr]  # an event
    )
    assert [("identify", "identify"), ("track", "purchase")] == [(r["kind"], r["name"]) for r in shop.events(before)]
    assert 59_990_000 == shop.events(second.seq - 1)[0]["properties"]["amount"]


def test_mini_cdp_refuses_in_our_shape(shop: Shop) -> None:
    """What is not accepted is a problem with its code, and a dead letter."""
    answer = shop.post("/track", {"event_type": "x", "user_id": "null"})
    assert (400, "no_identifier") == (answer.status_code, answer.json()["code"])
    assert [] != list(shop.letters("no_identifier"))


def cdp(event_id: str, **payload: Any) -> dict[str, Any]:
    """An event of the CDP module."""
    return {"eventId": event_id, "ts": "2026-10-04T10:30:00Z", "payload": payload}


def test_the_cdp_module(shop: Shop) -> None:
    """202 in its own shape; the same id again is accepted once."""
    before, one, two = shop.newest(), uuid4().hex, uuid4().hex
    identify = cdp(one, type="IDENTIFY", userId="user-123", email="user@example.com", traits={"plan": "pro"})
    track = cdp(two, type="TRACK", userId="user-123", name="Feature Used", properties={"duration": 120})
    answers = [shop.post("/cdp/ingest", event) for event in (identify, track, track)]
    assert [(202, {"status": "accepted", "eventId": event_id}) for event_id in (one, two, two)] == [
        (answer.status_code, answer.json()) for answer in answers
    ]
    late = shop.client.xlen(f"{{{shop.project}}}:late")
    assert 2 == len(shop.events(before)) + int(late)


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (cdp("e", type="TRACK", userId="u"), "TRACK events require a name"),
        (cdp("", type="IDENTIFY", userId="u"), "eventId must not be empty"),
        (cdp("e", type="IDENTIFY"), "At least one of userId, email, or anonymousId must be present"),
        (cdp("e", type="PAGE", userId="u"), "payload.type must be IDENTIFY, TRACK or ALIAS"),
        (
            {**cdp("e", type="IDENTIFY", userId="u"), "ts": "now"},
            "`now` is no instant: write it like `2018-01-01T04:01:21Z`",
        ),
    ],
)
def test_the_cdp_module_refuses_in_its_own_shape(shop: Shop, event: dict[str, Any], message: str) -> None:
    """400 with the sentence of its document."""
    answer = shop.post("/cdp/ingest", event)
    assert (400, {"status": "error", "message": message}) == (answer.status_code, answer.json())


def test_an_alias_of_the_cdp_module_joins(shop: Shop) -> None:
    """The anonymous history belongs to the user from then on, also when another user had it."""
    now = {"ts": None}
    shop.post("/cdp/ingest", {**cdp(uuid4().hex, type="IDENTIFY", userId="first", anonymousId="an-9"), **now})
    shop.post("/cdp/ingest", {**cdp(uuid4().hex, type="ALIAS", userId="second", anonymousId="an-9"), **now})
    keys = [f"{{{shop.project}}}:ident:{name}" for name in ("user:first", "user:second", "anon:an-9")]
    assert 1 == len(set(shop.client.mget(keys)))


def item(**more: Any) -> dict[str, Any]:
    """A good event of the pipeline."""
    return {"event": "add_to_cart", "user_id": "ann", "properties": {"price": 1.5}, **more}


def test_a_pipeline_takes_what_its_schema_allows(pipelines: Shop) -> None:
    """With a result; the event counts like any other."""
    before = pipelines.newest()
    answer = pipelines.post(f"/ingest/{pipelines.project}/checkout", item(eventId="p-1", timestamp=None))
    assert (200, 1, "accepted", "p-1") == (
        answer.status_code,
        answer.json()["accepted"],
        answer.json()["results"][0]["code"],
        answer.json()["results"][0]["eventId"],
    )
    assert {"price": 1_500_000} == pipelines.events(before)[0]["properties"]


@pytest.mark.parametrize(
    ("event", "path"),
    [
        (item(properties={}), "$.properties.price"),
        (item(properties={"price": "1.5"}), "$.properties.price"),
        (item(properties={"price": 1, "cart": {"items": 3}}), "$.properties.cart.items"),
        (item(properties={"price": 1, "at": "tomorrow"}), "$.properties.at"),
        (item(event="add_to_kart"), "$"),
        (item(event="old"), "$"),
    ],
)
def test_violations_are_named_and_kept(pipelines: Shop, event: dict[str, Any], path: str) -> None:
    """422 with the place; the event is a dead letter of its pipeline, and the violation is counted."""
    before = sum(each.times for each in read_violations(pipelines.client, pipelines.project).values())
    answer = pipelines.post(f"/ingest/{pipelines.project}/checkout", event)
    assert (422, "schema_violation", path) == (
        answer.status_code,
        answer.json()["code"],
        answer.json()["errors"][0]["path"],
    )
    assert "pipeline:checkout" in {letter.route for letter in pipelines.letters("schema_violation")}
    assert before < sum(each.times for each in read_violations(pipelines.client, pipelines.project).values())


def test_a_batch_of_a_pipeline(pipelines: Shop) -> None:
    """A result for each; good ones are kept."""
    events = [item(), item(properties={"price": True}), item(user_id="null")]
    answer = pipelines.post(f"/ingest/{pipelines.project}/checkout/batch", {"events": events}).json()
    assert (1, 2) == (answer["accepted"], answer["rejected"])
    assert ["accepted", "schema_violation", "no_identifier"] == [each["code"] for each in answer["results"]]


def test_a_pipeline_that_is_not_there_or_not_active(pipelines: Shop) -> None:
    """404 with the nearest name; an inactive one keeps what comes as dead letters."""
    missing = pipelines.post(f"/ingest/{pipelines.project}/chekout", item())
    assert (404, "the nearest is `checkout`") == (missing.status_code, missing.json()["errors"][0]["help"])
    assert 404 == pipelines.post("/ingest/other/checkout", item()).status_code
    assert 422 == pipelines.post(f"/ingest/{pipelines.project}/closed", {"event": "x", "user_id": "a"}).status_code


def test_a_signed_request_needs_no_key(pipelines: Shop) -> None:
    """Standard Webhooks, and the plain form; another body, an old stamp, a wrong secret are refused."""
    body, now = json.dumps(item()).encode(), int(time.time())
    path, http = f"/ingest/{pipelines.project}/checkout", pipelines.api.http

    def standard(stamp: int, content: bytes) -> dict[str, str]:
        signature = sign(SECRET, "m1", stamp, content)
        return {"webhook-id": "m1", "webhook-timestamp": str(stamp), "webhook-signature": signature}

    plain = {"x-webhook-signature": "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()}
    sent = [
        standard(now, body),
        plain,
        standard(now, b"other"),
        standard(now - 301, body),
        {"x-webhook-signature": "x"},
        {},
    ]
    assert [200, 200, 401, 401, 401, 401] == [http.post(path, content=body, headers=each).status_code for each in sent]
