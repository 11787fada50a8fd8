"""Segment's HTTP tracking API, over HTTP, into the log."""

import gzip
import json
import time
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from dsl.identifiers import profile_id, source_id
from tests.ingest.conftest import Shop


def stamp(ms_ago: int = 0) -> str:
    """An instant as libraries write it."""
    return datetime.fromtimestamp(time.time() - ms_ago / 1000, UTC).isoformat()


def track(**more: Any) -> dict[str, Any]:
    """A good event."""
    return {"type": "track", "messageId": uuid4().hex, "userId": "ann", "event": "purchase", **more}


@pytest.mark.parametrize(
    ("path", "kind"),
    [("identify", "identify"), ("t", "track"), ("page", "page"), ("s", "screen"), ("g", "group"), ("alias", "alias")],
)
def test_every_kind_of_event(shop: Shop, path: str, kind: str) -> None:
    """The route names the kind; long and short names are the same, and the answer is always 200."""
    before = shop.newest()
    event = {"userId": "ann", "event": "purchase", "groupId": "g1", "previousId": "old", "name": "Home", "traits": {}}
    answer = shop.post(f"/v1/{path}", event)
    assert (200, 1, []) == (answer.status_code, answer.json()["accepted"], answer.json()["rejected"])
    ((record,)) = shop.events(before)
    assert (kind, "purchase" if kind == "track" else kind) == (record["kind"], record["name"])


def test_identify_answers_with_the_profile(shop: Shop) -> None:
    """The profile id that identify answers with may be sent as `userId` from then on."""
    found = shop.post("/v1/identify", {"deviceId": "d-77", "traits": {"plan": "gold"}}).json()["profileId"]
    assert profile_id(source_id("device", "d-77")) == found
    before = shop.newest()
    assert found == shop.post("/v1/identify", {"userId": found}).json()["profileId"]
    assert "device:d-77" == shop.log(before)[0].identity.source_id  # type: ignore[union-attr]  # an event


def test_a_batch_is_taken_in_part(shop: Shop) -> None:
    """Good events are kept, the others are named and lie among the dead letters as they were sent."""
    before, good = shop.newest(), track(properties={"amount": 12.30})
    bad = {"type": "track", "messageId": "bad-1", "event": "purchase"}
    odd = {"type": "purchase", "messageId": "bad-2", "userId": "x"}
    answer = shop.post("/v1/batch", {"batch": [bad, good, odd, 7], "sentAt": stamp()})
    assert 200 == answer.status_code
    assert 1 == answer.json()["accepted"]
    assert [(0, "bad-1", "no_identifier"), (2, "bad-2", "invalid_type"), (3, "", "invalid_event")] == [
        (each["index"], each["messageId"], each["code"]) for each in answer.json()["rejected"]
    ]
    assert [good["messageId"]] == [record["id"] for record in shop.events(before)]
    assert bad in [json.loads(letter.raw) for letter in shop.letters("no_identifier")]


def test_numbers_keep_their_digits(shop: Shop) -> None:
    """What was sent is what is kept: no digit passes through a double."""
    before = shop.newest()
    body = '{"userId":"ann","event":"e","properties":{"a":9223372036854.775807,"b":1.10,"c":12345678901234567890}}'
    shop.api.http.post("/v1/track", content=body, headers=shop.headers())
    assert {"a": 2**63 - 1, "b": 1_100_000, "c": None} == shop.events(before)[0]["properties"]
    assert r"{\"a\":9223372036854.775807,\"b\":1.10,\"c\":12345678901234567890}" in shop.log(before)[0].record


def test_an_event_sent_again_counts_once(shop: Shop) -> None:
    """A library that did not hear the answer sends the batch again, with a new `sentAt`; five times change nothing."""
    before, events = shop.newest(), [track(timestamp=stamp(60_000)), track(timestamp=stamp(50_000))]
    for _ in range(5):
        answer = shop.post("/v1/batch", {"batch": events, "sentAt": stamp()})
        assert (200, 2) == (answer.status_code, answer.json()["accepted"])
    assert [event["messageId"] for event in events] == [record["id"] for record in shop.events(before)]


def test_another_body_under_a_known_id(shop: Shop) -> None:
    """The first one stays; the other is a dead letter."""
    event = track(properties={"amount": 1})
    shop.post("/v1/track", event)
    other = shop.post("/v1/track", {**event, "properties": {"amount": 2}}).json()
    assert (0, "id_conflict") == (other["accepted"], other["rejected"][0]["code"])
    assert [{**event, "properties": {"amount": 2}}] == [json.loads(each.raw) for each in shop.letters("id_conflict")]


def test_the_clock_of_the_sender_is_corrected(shop: Shop) -> None:
    """A clock that is an hour fast says so by `sentAt`; nothing lies in the future."""
    before = shop.newest()
    fast = {"timestamp": stamp(-3_600_000 + 5_000), "sentAt": stamp(-3_600_000)}
    shop.post("/v1/batch", {"batch": [track(**fast), track(timestamp=stamp(-9_999_999))]})
    first, second = shop.events(before)
    micros = 1_000_000
    assert abs(first["received"] - first["ts"] - 5_000 * micros) < 1_000 * micros
    assert second["received"] == second["ts"]


def test_late_and_too_late(shop: Shop) -> None:
    """Older than the window is accepted and waits; older than 400 days is a dead letter."""
    day = 86_400_000
    old, ancient = track(timestamp=stamp(30 * day)), track(timestamp=stamp(401 * day))
    answer = shop.post("/v1/batch", {"batch": [old, ancient]}).json()
    assert 1 == answer["accepted"]
    assert [(0, "late")] == [(each["index"], each["code"]) for each in answer["late"]]
    assert [(1, "too_late")] == [(each["index"], each["code"]) for each in answer["rejected"]]


@pytest.mark.parametrize(
    ("event", "code"),
    [
        ({"userId": "null", "event": "e"}, "no_identifier"),
        ({"userId": {"a": 1}, "event": "e"}, "invalid_identifier"),
        ({"userId": "x" * 501, "event": "e"}, "invalid_identifier"),
        ({"userId": "a"}, "missing_field"),
        ({"userId": "a", "event": 7}, "invalid_field"),
        ({"userId": "a", "event": "e" * 401}, "invalid_field"),
        ({"userId": "a", "event": "e", "messageId": "m" * 101}, "invalid_field"),
        ({"userId": "a", "event": "e", "timestamp": "yesterday"}, "invalid_timestamp"),
        ({"userId": "a", "event": "e", "timestamp": True}, "invalid_timestamp"),
        ({"userId": "a", "event": "e", "properties": []}, "invalid_field"),
        ({"userId": "a", "event": "e", "properties": {"text": "x" * 33_000}}, "too_large"),
        ({"userId": "a", "event": "e", "properties": {str(n): n for n in range(301)}}, "too_many_properties"),
    ],
)
def test_events_that_break_a_rule(shop: Shop, event: dict[str, Any], code: str) -> None:
    """Each is named by its code, says where, and is kept."""
    answer = shop.post("/v1/track", event).json()
    assert (0, code) == (answer["accepted"], answer["rejected"][0]["code"])
    assert answer["rejected"][0]["message"]
    assert event in [json.loads(letter.raw) for letter in shop.letters(code)]


def test_what_is_no_number(shop: Shop) -> None:
    """`NaN`, which some libraries write, spoils its own event and not its neighbours."""
    before = shop.newest()
    body = (
        f'{{"batch":[{{"type":"track","userId":"a","event":"e","properties":{{"x":[1,NaN]}}}},{json.dumps(track())}]}}'
    )
    answer = shop.api.http.post("/v1/batch", content=body, headers=shop.headers()).json()
    assert (1, "invalid_number", "$.properties.x[1]") == (
        answer["accepted"],
        answer["rejected"][0]["code"],
        answer["rejected"][0]["path"],
    )
    assert 1 == len(shop.events(before))


def test_lone_surrogates_and_depth(shop: Shop) -> None:
    """Halves of characters become U+FFFD; what nests too deeply is refused alone."""
    before, deep = shop.newest(), "[" * 40 + "]" * 40
    events = [
        f'{{"type":"track","userId":"a","event":"e","properties":{{"x":{text}}}}}' for text in (r'"\ud800!"', deep)
    ]
    body = f'{{"batch":[{",".join(events)}]}}'
    answer = shop.api.http.post("/v1/batch", content=body, headers=shop.headers()).json()
    assert (1, "too_deep") == (answer["accepted"], answer["rejected"][0]["code"])
    assert {"x": "�!"} == shop.events(before)[0]["properties"]


@pytest.mark.parametrize(
    ("content", "headers", "status", "code"),
    [
        (b'{"batch": [', {}, 400, "malformed_json"),
        (b"\xff\xfe{", {}, 400, "malformed_json"),
        ("{}".encode("utf-16"), {}, 400, "malformed_json"),
        (b"[" * 100_000, {}, 400, "malformed_json"),
        (b'{"events": []}', {}, 400, "invalid_event"),
        (b"no gzip", {"content-encoding": "gzip"}, 400, "malformed_json"),
        (gzip.compress(b"{}" * 9_000_000, mtime=0), {"content-encoding": "gzip"}, 413, "too_large"),
        (gzip.compress(b"{}", mtime=0)[:-4], {"content-encoding": "gzip"}, 400, "malformed_json"),
        (b"{}", {"content-encoding": "br"}, 415, "unsupported_encoding"),
        (b" " * 10_000_001, {}, 413, "too_large"),
    ],
)
def test_bodies_that_nothing_can_be_read_from(
    shop: Shop, content: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    """Refused whole, with `code` and `message`, without which Segment's libraries repeat for ever."""
    answer = shop.api.http.post("/v1/batch", content=content, headers={**shop.headers(), **headers})
    assert (status, code) == (answer.status_code, answer.json()["code"])
    assert answer.json()["message"]


def test_gzip_of_several_members_as_text(shop: Shop) -> None:
    """Inflated member by member; the content type does not matter."""
    before, body = shop.newest(), json.dumps({"batch": [track()]}).encode()
    zipped = gzip.compress(body[:20]) + gzip.compress(body[20:])
    headers = {**shop.headers(), "content-encoding": "gzip", "content-type": "text/plain; charset=UTF-8"}
    url = f"{str(shop.api.http.base_url).rstrip('/')}//v1//b"
    assert 200 == shop.api.http.post(url, content=zipped, headers=headers).status_code
    assert 1 == len(shop.events(before))


def test_where_the_key_may_stand(shop: Shop) -> None:
    """In the body, in Basic, as Bearer, as `X-API-Key`; credentials of another tool beside it do no harm."""
    key, http = shop.keys["write"], shop.api.http
    foreign = {"authorization": "Basic bmV0cmM6c2VjcmV0"}
    answers = [
        http.post("/v1/track", json=track(writeKey=key)),
        http.post("/v1/batch", json={"batch": [track()], "writeKey": key}, headers=foreign),
        http.post("/v1/track", json=track(), headers={"authorization": f"Bearer {key}"}),
        http.post("/v1/track", json=track(), headers={"x-api-key": key}),
        http.post("/v1/track", json=track(), headers=shop.headers("admin")),
    ]
    assert [200] * 5 == [answer.status_code for answer in answers]


@pytest.mark.parametrize(
    ("kind", "status", "code"), [(None, 401, "invalid_write_key"), ("read", 403, "key_wrong_kind")]
)
def test_keys_that_do_not_write(shop: Shop, kind: Any, status: int, code: str) -> None:
    """Nothing is taken in, and nothing becomes a dead letter."""
    before, letters = shop.newest(), len(shop.letters())
    headers = shop.headers(kind) if kind else {"authorization": "Bearer nobody"}
    answer = shop.api.http.post("/v1/track", json=track(), headers=headers)
    assert (status, code) == (answer.status_code, answer.json()["code"])
    assert (before, letters) == (shop.newest(), len(shop.letters()))


def test_an_event_with_a_key_of_its_own(shop: Shop) -> None:
    """It counts before that of the batch: one that does not work is not accepted."""
    answer = shop.post("/v1/batch", {"batch": [track(writeKey="other"), track(writeKey=shop.keys["write"])]}).json()
    assert (1, [(0, "invalid_write_key")]) == (
        answer["accepted"],
        [(each["index"], each["code"]) for each in answer["rejected"]],
    )


def test_the_context_of_a_batch(shop: Shop) -> None:
    """It is of each event, whose own comes first."""
    before = shop.newest()
    events = [track(), track(context={"locale": "de"})]
    shop.post("/v1/batch", {"batch": events, "context": {"locale": "en", "app": {"name": "a"}}})
    assert ["en", "de"] == [record["context"]["locale"] for record in shop.events(before)]
    assert [{"name": "a"}] * 2 == [record["context"]["app"] for record in shop.events(before)]


def test_attributes_in_the_context(shop: Shop) -> None:
    """RudderStack's library puts them there; the e-mail among them identifies."""
    before = shop.newest()
    shop.post("/v1/identify", {"userId": "rud", "context": {"traits": {"plan": "x", "email": "R@x.org"}}})
    ((entry,)) = shop.log(before)
    assert {"plan": "x", "email": "R@x.org"} == shop.events(before)[0]["properties"]
    assert (source_id("email", "r@x.org"),) == entry.identity.weaker  # type: ignore[union-attr]  # an event


def test_arrays_are_batches(shop: Shop) -> None:
    """As TinyCDP's own SDK sends them, with `ts` and `props`."""
    before = shop.newest()
    answer = shop.post(
        "/v1/track", [{"userId": "a", "event": "x", "ts": stamp(5_000), "props": {"n": 1}}] * 1 + [track()]
    )
    assert 2 == answer.json()["accepted"]
    assert {"n": 1_000_000} == shop.events(before)[0]["properties"]


def test_idempotency_key(shop: Shop) -> None:
    """Events without an id get the same one when the request is repeated under its key."""
    before, event = shop.newest(), {"userId": "a", "event": "x", "timestamp": stamp(1_000)}
    for _ in range(3):
        shop.post("/v1/track", [event, event], headers={"idempotency-key": "k-1"})
    assert 2 == len(shop.events(before))


def test_what_browsers_ask_besides(shop: Shop) -> None:
    """Settings of the library, its metrics, and the preflight of a request with `x-retry-count`."""
    settings = shop.api.http.get(f"/v1/projects/{shop.keys['write']}/settings").json()
    assert shop.keys["write"] == settings["integrations"]["Segment.io"]["apiKey"]
    assert 404 == shop.api.http.get("/v1/projects/nobody/settings").status_code
    assert {"success": True} == {"success": shop.api.http.post("/v1/m", content='{"series":[]}').json()["success"]}
    preflight = shop.api.http.options(
        "/v1/t",
        headers={
            "origin": "https://shop.example",
            "access-control-request-method": "POST",
            "access-control-request-headers": "authorization,content-type,x-retry-count",
        },
    )
    assert 200 == preflight.status_code
    assert "x-retry-count" in preflight.headers["access-control-allow-headers"]
    assert preflight.headers["access-control-max-age"]
    sent = shop.post("/v1/t", track(), headers={"origin": "https://shop.example"})
    assert "*" == sent.headers["access-control-allow-origin"]
