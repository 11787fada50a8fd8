"""mini-cdp's checkout: what is known of a buyer crossed with what is in the basket, over real HTTP."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dsl.catalog import Rule
from dsl.documents.definitions import load_directory
from dsl.identifiers import profile_id
from serving.online import publish_catalog
from tests.docs.blocks import ROOT, of_language, write
from tests.docs.shown import is_shown, requests_shown, send
from tests.ingest.conftest import Shop, shop

__all__ = ["shop"]

CATALOG = load_directory(ROOT / "examples/shop").catalog
OFFER = next(flag for flag in CATALOG.flags if flag.key == "checkout_offer")
PAGE = "docs/reference/checkout.md"
PATH = "/v1/checkout/decide"
SPENT = "segment high_value: total_spent = 6000 >= 5000"


@pytest.fixture(scope="module")
def checkout(shop: Shop) -> Shop:
    """A shop with the demo's definitions, and one customer who has spent much."""
    publish_catalog(shop.client, shop.project, 1, CATALOG.to_document())
    shop.post("/v1/track", {"userId": "rich", "event": "purchase", "properties": {"amount": 6000}})
    return shop


def ask(checkout: Shop, body: Any, status: int = 200) -> Any:
    """Ask with the read key."""
    answer = checkout.api.http.post(PATH, json=body, headers=checkout.headers("read"))
    assert status == answer.status_code, answer.text
    return answer.json()


@pytest.mark.parametrize(
    ("user", "amount", "offer", "known", "live"),
    [
        ("rich", 120.0, "premium", True, True),
        ("rich", 99.99, "loyalty", True, False),
        ("new", 100, "acquisition", False, True),
        ("new", 5, "control", False, False),
        ("new", None, "control", False, False),
    ],
)
def test_both_sides(checkout: Shop, user: str, amount: float | None, offer: str, known: bool, live: bool) -> None:
    """Valuable and buying much: premium; one of both: loyalty or acquisition; neither: control."""
    body = ask(checkout, {"user_id": user, "amount": amount, "category": "Concert ticket"})
    assert (offer, known, live) == (body["variant"], body["warehouse"]["qualifies"], body["live"]["qualifies"])
    assert [('segment("high_value")', known)] == [(s["condition"], s["holds"]) for s in body["warehouse"]["signals"]]
    assert [("context.amount >= 100", live)] == [(s["condition"], s["holds"]) for s in body["live"]["signals"]]


def test_an_answer_is_a_decision_with_its_sides(checkout: Shop) -> None:
    """All members of a decision, the same as the flag itself answers, and why each side is as it is."""
    body = ask(checkout, {"userId": "rich", "amount": 120})
    plain = {"userId": "rich", "flag": "checkout_offer", "context": {"amount": 120}}
    decision = checkout.api.http.post("/v1/decide", json=plain, headers=checkout.headers("read")).json()
    warehouse, live = body.pop("warehouse"), body.pop("live")
    assert decision | {"asOf": "", "expiresAt": ""} == body | {"asOf": "", "expiresAt": ""}
    assert {"offer": "premium upgrade"} == body["payload"]
    assert [SPENT, "segment high_value: events.*.days_since_last = 0 < 30"] == warehouse["signals"][0]["because"]
    assert ["context.amount = 120 >= 100"] == live["signals"][0]["because"]


@pytest.mark.parametrize(("command", "shown"), requests_shown(PAGE))
def test_the_page_shows_what_is_answered(checkout: Shop, command: str, shown: Any) -> None:
    """The request of the page has the answer below it."""
    assert is_shown(shown, send(command, checkout.api.http, checkout.keys["read"], checkout.project))


def test_the_page_shows_the_flag(tmp_path: Path) -> None:
    """The definition of the page is the demo's."""
    (block,) = of_language(PAGE, "yaml")
    write(replace(block, info="flags.yaml"), tmp_path)
    (flag,) = load_directory(tmp_path).catalog.flags
    assert replace(OFFER, description="") == flag


@pytest.mark.parametrize(
    ("who", "identifier"),
    [
        ({"user_id": "a"}, "user:a"),
        ({"userId": 7}, "user:7"),
        ({"anonymous_id": "x", "email": None}, "anon:x"),
        ({"profileId": profile_id("user:rich"), "email": "b@example.com"}, "user:rich"),
    ],
)
def test_ways_to_name_a_buyer(checkout: Shop, who: dict[str, Any], identifier: str) -> None:
    """As mini-cdp writes identifiers, and as decisions take them."""
    assert profile_id(identifier) == ask(checkout, {**who, "amount": 1})["profileId"]


def test_another_flag(checkout: Shop) -> None:
    """The rule is in the definitions: the request may name another flag, which reads whatever the basket has."""
    rule = Rule('context.category == "Concert ticket"', "premium")
    newer = replace(CATALOG, flags=(*CATALOG.flags, replace(OFFER, key="concerts", rules=(rule,))))
    publish_catalog(checkout.client, checkout.project, 2, newer.to_document())
    body = ask(checkout, {"user_id": "new", "flag": "concerts", "category": "Concert ticket", "amount": 1})
    assert ("concerts", "premium", None) == (body["flag"], body["variant"], body["warehouse"]["qualifies"])
    assert [('context.category == "Concert ticket"', True)] == [
        (s["condition"], s["holds"]) for s in body["live"]["signals"]
    ]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"amount": 120}, 400, "identifier_missing"),
        ({"user_id": "a", "amount": "120"}, 422, "invalid_request"),
        ({"user_id": "a", "amount": True}, 422, "invalid_request"),
        ({"user_id": ["a"]}, 422, "invalid_request"),
        ([], 422, "invalid_request"),
        ({"user_id": "a", "flag": "nope"}, 404, "flag_not_found"),
    ],
)
def test_failures(checkout: Shop, body: Any, status: int, code: str) -> None:
    """In the one shape, with the place."""
    problem = ask(checkout, body, status)
    assert (code, True) == (problem["code"], bool(problem["errors"]))


def test_a_flag_that_is_not_defined(checkout: Shop) -> None:
    """The answer says how to define it."""
    help_lines = [item["help"] for item in ask(checkout, {"user_id": "a", "flag": "checkout_ofer"}, 404)["errors"]]
    assert "the nearest flag is `checkout_offer`" == help_lines[0]
    assert "examples/shop/flags.yaml" in help_lines[1]
