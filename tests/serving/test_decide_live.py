"""Decisions as the process keeps them: never older than promised, whoever writes."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
import redis

from dsl.catalog import Flag, Rule
from serving.online import connect
from serving.online.store import announce_catalog, publish_catalog
from tests.serving.api import Api, running_api
from tests.serving.world import CATALOG, World, publish

ONE_SECOND = 1.0
PURCHASE = {"event": "purchase", "properties": {"amount": 5}}


@pytest.fixture(scope="module")
def two(world: World, valkey_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Api, Api]]:
    """Two processes over one project."""
    folder = tmp_path_factory.mktemp("two")
    with ExitStack() as stack:
        apis = [
            stack.enter_context(
                # On a busy machine the store may take its time.
                running_api(folder / name, REDIS_URL=valkey_url, PROJECT=world.project, DECIDE_DEADLINE_MS="5000")
            )
            for name in ("one", "other")
        ]
        yield apis[0], apis[1]


def decide(api: Api, world: World, **query: str) -> dict[str, object]:
    """An answer of `GET /v1/decide`."""
    answer = api.http.get("/v1/decide", params=query, headers=key(world))
    assert answer.status_code == 200, answer.text
    found: dict[str, object] = answer.json()
    return found


def key(world: World) -> dict[str, str]:
    """Headers that may do all."""
    return {"authorization": f"Bearer {world.keys['admin']}"}


def track(api: Api, world: World, who: str, **more: object) -> None:
    """Sends one purchase."""
    sent = {"userId": who, **PURCHASE, **more}
    assert api.http.post("/v1/track", json=sent, headers=key(world)).status_code == 200


def new() -> str:
    """Somebody whom nobody knows."""
    return f"new-{uuid4().hex[:12]}"


def test_the_next_decision_knows_what_was_sent(two: tuple[Api, Api], world: World) -> None:
    """A decision of the process that took an event in counts it, though an answer was kept a moment before."""
    one, who = two[0], new()
    for sent in range(1, 40):
        decide(one, world, userId=who, flag="free_shipping")
        track(one, world, who)
        assert (sent >= 3) == decide(one, world, userId=who, flag="free_shipping")["allow"]


def test_another_process_knows_within_a_second(two: tuple[Api, Api], world: World) -> None:
    """What one process took in another one counts within a second, though it keeps its answers."""
    one, other = two
    waits = []
    for _ in range(20):
        who = new()
        for _ in range(2):
            track(one, world, who)
        assert decide(other, world, userId=who, flag="free_shipping")["allow"] is False
        track(one, world, who)
        begin = time.monotonic()
        while decide(other, world, userId=who, flag="free_shipping")["allow"] is False:
            assert time.monotonic() - begin < ONE_SECOND
        waits.append(time.monotonic() - begin)
    assert max(waits) < ONE_SECOND


def test_answers_are_kept(two: tuple[Api, Api], world: World) -> None:
    """The same question gets the same answer, of the same instant, until something of the profile changes."""
    one = two[0]
    first = decide(one, world, userId="ann", flag="banner")
    assert first == decide(one, world, userId="ann", flag="banner")
    track(one, world, new())
    assert first == decide(one, world, userId="ann", flag="banner")
    track(one, world, "ann")
    later = decide(one, world, userId="ann", flag="banner")
    assert (True, True) == (str(later["asOf"]) > str(first["asOf"]), later["asOfSeq"] != first["asOfSeq"])


def test_a_link_is_known_at_once(two: tuple[Api, Api], world: World) -> None:
    """When a device turns out to be somebody, decisions about either know both histories, in this process at once."""
    one, who, device = two[0], new(), new()
    for _ in range(3):
        track(one, world, who)
    assert [True, False] == [
        decide(one, world, **named, flag="free_shipping")["allow"] for named in ({"userId": who}, {"deviceId": device})
    ]
    one.http.post("/v1/identify", json={"userId": who, "deviceId": device}, headers=key(world))
    assert decide(one, world, deviceId=device, flag="free_shipping")["allow"] is True


def test_events_of_the_request(two: tuple[Api, Api], world: World) -> None:
    """Events and traits of a request count in its answer and in no other; one that was tracked counts once."""
    one, who = two[0], new()
    for _ in range(2):
        track(one, world, who)
    sent = {"userId": who, "flag": "free_shipping", "events": [{**PURCHASE, "messageId": f"{who}-3"}]}

    def allowed() -> object:
        return one.http.post("/v1/decide", json=sent, headers=key(world)).json()["allow"]

    assert [True, False] == [allowed(), decide(one, world, userId=who, flag="free_shipping")["allow"]]
    track(one, world, who, messageId=f"{who}-3")
    four = {**sent, "flag": "banner", "traits": {"plan": "gold"}}
    reasons = one.http.post("/v1/decide", json=four, headers=key(world)).json()["reasons"]
    assert ['rule 1 matched: segment("vip")', "segment vip: purchases_30d = 3 >= 3"] == reasons
    paying = {"userId": new(), "flag": "free_shipping", "traits": {"plan": "silver"}, "events": [PURCHASE]}
    assert one.http.post("/v1/decide", json=paying, headers=key(world)).json()["allow"] is True


def test_an_event_of_the_request_that_is_none(two: tuple[Api, Api], world: World) -> None:
    """What is wrong with an event of the request is said with its place."""
    sent = {"userId": "ann", "flag": "banner", "events": [PURCHASE, {"event": 5}]}
    answer = two[0].http.post("/v1/decide", json=sent, headers=key(world))
    assert (400, "$.events[1].event") == (answer.status_code, answer.json()["errors"][0]["path"])


def test_several_and_all(two: tuple[Api, Api], world: World) -> None:
    """Several flags, and all of them, come from one state, in the order of the question or of the catalog."""
    asked = [
        [answer["flag"] for answer in decide(two[0], world, userId="ann", **which)["decisions"]]  # type: ignore[attr-defined]
        for which in ({"flags": "closed,banner"}, {"flag": "*"})
    ]
    assert [["closed", "banner"], [flag.key for flag in CATALOG.flags]] == asked


def test_the_whole_story(two: tuple[Api, Api], world: World) -> None:
    """With `explain` an answer has every condition, with its values and what would make it hold."""
    told = decide(two[0], world, userId="bob", flag="free_shipping", explain="1")
    story = told["explanation"]
    first, second = story["rules"]  # type: ignore[index]
    assert ("rule", [False, True], [False, True]) == (
        story["stage"],  # type: ignore[index]
        [rule["matched"] for rule in (first, second)],
        [rule["decided"] for rule in (first, second)],
    )
    vip = first["condition"]
    assert ('segment("vip")', False) == (vip["text"], vip["holds"])
    assert ["2 more `purchase` events within 30 days"] == vip["wouldMatch"]
    assert "explanation" not in decide(two[0], world, userId="bob", flag="free_shipping")


def test_new_definitions_without_a_restart(valkey_url: str, tmp_path: Path) -> None:
    """A version that becomes current is what the next second decides by; a new flag answers its default till then."""
    client: redis.Redis = connect(valkey_url)
    world = publish(client, f"versions-{uuid4().hex[:12]}")
    fresh = replace(CATALOG, flags=(*CATALOG.flags, Flag("fresh", (Rule("true", "on"),))))
    with running_api(tmp_path / "log", REDIS_URL=valkey_url, PROJECT=world.project, DECIDE_DEADLINE_MS="5000") as api:
        question = {"userId": "ann", "flag": "fresh"}
        assert api.http.get("/v1/decide", params=question, headers=key(world)).status_code == 404
        announce_catalog(client, world.project, 2, fresh.to_document())
        waiting = until(api, world, warming=True)
        assert (False, "off", "WARMING") == (waiting["allow"], waiting["variant"], waiting["reason"])
        publish_catalog(client, world.project, 2, fresh.to_document())
        found = until(api, world, warming=False)
        assert (True, "TARGETING_MATCH") == (found["allow"], found["reason"])
    client.close()


def until(api: Api, world: World, *, warming: bool) -> dict[str, object]:
    """The answer about the flag `fresh` once it is, or is no longer, warming: within a second."""
    begin = time.monotonic()
    while time.monotonic() - begin < ONE_SECOND:
        answer = api.http.get("/v1/decide", params={"userId": "ann", "flag": "fresh"}, headers=key(world))
        if answer.status_code == 200 and answer.json()["warming"] is warming:
            found: dict[str, object] = answer.json()
            return found
        time.sleep(0.02)
    raise AssertionError(answer.text)
