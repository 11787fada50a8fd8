"""Dead letters over HTTP: listed, corrected, taken in again, given up."""

import time
from typing import Any
from uuid import uuid4

from tests.ingest.conftest import Shop


def ask(shop: Shop, method: str, path: str = "", **more: Any) -> Any:
    """A request with the admin key."""
    return shop.api.http.request(method, f"/v1/admin/dead-letters{path}", headers=shop.headers("admin"), **more)


def dead(shop: Shop, event: dict[str, Any]) -> int:
    """Send an event that is not accepted; the id of its letter."""
    answer = shop.post("/v1/track", event).json()
    assert 0 == answer["accepted"]
    return max(letter.id for letter in shop.letters())


def test_a_letter_is_corrected_and_replayed_once(shop: Shop) -> None:
    """It keeps its message id and the instant at which it first came; a second replay changes nothing."""
    message_id = uuid4().hex
    letter_id = dead(shop, {"messageId": message_id, "userId": "null", "event": "purchase", "properties": {"n": 1}})
    before, received = shop.newest(), shop.registry.dead_letter(shop.project, letter_id).received_at_ms
    time.sleep(0.05)
    wanted = {"ids": [letter_id], "patch": {"userId": "ann"}}
    answers = [ask(shop, "POST", "/replay", json=wanted).json() for _ in range(3)]
    assert [{"replayed": 1, "rejected": []}] * 3 == answers
    ((record,)) = shop.events(before)
    assert (message_id, received * 1_000_000, {"n": 1_000_000}) == (
        record["id"],
        record["received"],
        record["properties"],
    )
    assert "replayed" == shop.registry.dead_letter(shop.project, letter_id).status


def test_an_event_without_an_id_is_replayed_once(shop: Shop) -> None:
    """Its letter's own identity is its id: whatever is killed when, it counts once."""
    letter_id = dead(shop, {"event": f"e-{uuid4().hex}", "properties": {}})
    before = shop.newest()
    for _ in range(2):
        assert 1 == ask(shop, "POST", "/replay", json={"ids": [letter_id], "patch": {"userId": "a"}}).json()["replayed"]
    assert 1 == len(shop.events(before))


def test_a_letter_that_is_still_wrong_stays_open(shop: Shop) -> None:
    """The answer says why; nothing of it is lost."""
    letter_id = dead(shop, {"userId": "null", "event": "e", "messageId": uuid4().hex})
    wanted = {"ids": [letter_id], "patch": {"userId": "a", "properties": []}}
    answer = ask(shop, "POST", "/replay", json=wanted).json()
    assert (0, [(letter_id, "invalid_field")]) == (
        answer["replayed"],
        [(each["id"], each["code"]) for each in answer["rejected"]],
    )
    assert "open" == shop.registry.dead_letter(shop.project, letter_id).status


def test_letters_are_listed_in_pages(shop: Shop) -> None:
    """By id, of a reason, with how many there are of each."""
    for number in range(3):
        dead(shop, {"userId": "a", "event": "e", "timestamp": f"no instant {number}"})
    page = ask(shop, "GET", params={"reason": "invalid_timestamp", "limit": 2}).json()
    assert 2 == len(page["letters"])
    rest = ask(shop, "GET", params={"reason": "invalid_timestamp", "after": page["next"], "limit": 2}).json()
    assert (1, None) == (len(rest["letters"]), rest["next"])
    assert {"status": "open", "reason": "invalid_timestamp", "letters": 3} in rest["counts"]


def test_a_letter_is_given_up(shop: Shop) -> None:
    """It stays to be seen, among the discarded ones."""
    letter_id = dead(shop, {"event": f"e-{uuid4().hex}"})
    assert {"discarded": 1} == ask(shop, "POST", "/discard", json={"ids": [letter_id]}).json()
    listed = ask(shop, "GET", params={"status": "discarded", "limit": 1000}).json()["letters"]
    assert letter_id in [each["id"] for each in listed]


def test_wrong_use(shop: Shop) -> None:
    """One shape for every failure; a write key does not read letters."""
    assert 403 == shop.api.http.get("/v1/admin/dead-letters", headers=shop.headers("write")).status_code
    failures = [
        ask(shop, "GET", params={"status": "old"}),
        ask(shop, "GET", params={"limit": "many"}),
        ask(shop, "POST", "/replay", json={}),
        ask(shop, "POST", "/replay", json={"ids": ["x"]}),
        ask(shop, "POST", "/replay", content=b"{"),
        ask(shop, "POST", "/replay", json={"ids": [999_999]}),
    ]
    assert [422, 422, 422, 422, 400, 404] == [failure.status_code for failure in failures]
    assert all(failure.json()["code"] and failure.json()["message"] for failure in failures)
