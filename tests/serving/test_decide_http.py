"""`/v1/decide` over real HTTP."""

from dataclasses import replace

import pytest
import redis

from dsl.catalog import Flag, Rule, Segment
from dsl.clock import parse_instant
from dsl.event_record import EventRecord, write_record
from dsl.identifiers import profile_id
from serving.online import Item, Publication, Snapshot, append, delete_project, publish_catalog, reserve_seq
from serving.online.keys import Keys
from tests.serving.api import Api
from tests.serving.world import CATALOG, CUT, OFFSET_MS, World, now_ms, person, publish_people

Ask = dict[str, str]
HOUR_MS = 3_600_000


def test_get(api: Api, world: World, ask: Ask) -> None:
    """A decision has every field of the contract."""
    answer = api.http.get("/v1/decide", params={"userId": "ann", "flag": "banner"}, headers=ask)
    assert (200, "application/json", "no-store") == (
        answer.status_code,
        answer.headers["content-type"],
        answer.headers["cache-control"],
    )
    body = answer.json()
    age = body.pop("snapshotAgeMs")
    assert 5_000 <= age < 120_000
    assert abs(parse_instant(body.pop("asOf")) - world.snapshot.as_of_ms - age) < 60_000
    # When the first of the four purchases leaves the window, the answer is looked at again.
    expires_ms = parse_instant(body.pop("expiresAt"))
    first_ms = world.snapshot.as_of_ms - 4 * HOUR_MS
    assert 0 < expires_ms - first_ms - 30 * 24 * HOUR_MS <= HOUR_MS
    assert {
        "flag": "banner",
        "allow": True,
        "variant": "vip",
        "payload": {"text": "welcome back", "share": 0.25},
        "reasons": ['rule 1 matched: segment("vip")', "segment vip: purchases_30d = 4 >= 3"],
        "profileId": profile_id("user:ann"),
        "asOfSeq": CUT,
        "reason": "TARGETING_MATCH",
        "stale": None,
        "warming": False,
    } == body


@pytest.mark.parametrize(
    "who",
    [
        {"email": " ANN@example.com"},
        {"profileId": profile_id("user:ann")},
        {"profileId": profile_id("user:ann").upper()},
        {"userId": profile_id("user:ann")},
        {"externalId": "ann"},
        {"userId": "ann", "email": "bob@example.com", "deviceId": "d"},
        {"userId": "null", "email": "ann@example.com"},
        {"profileId": profile_id("user:ann"), "userId": "bob"},
    ],
)
def test_ways_to_name_somebody(api: Api, ask: Ask, who: dict[str, str]) -> None:
    """The strongest identifier counts; values that stand for nobody are dropped first; GET and POST agree."""
    got = api.http.get("/v1/decide", params={**who, "flag": "banner"}, headers=ask)
    posted = api.http.post("/v1/decide", json={**who, "flag": "banner"}, headers=ask)
    assert [profile_id("user:ann"), "vip"] * 2 == [
        answer.json()[name] for answer in (got, posted) for name in ("profileId", "variant")
    ]


@pytest.mark.parametrize(("name", "kind"), [("userId", "user"), ("anonymousId", "anon"), ("deviceId", "device")])
def test_somebody_unknown_is_evaluated_as_empty(api: Api, ask: Ask, name: str, kind: str) -> None:
    """An unknown profile gets an answer, and the id that it would get."""
    body = api.http.get("/v1/decide", params={name: "new", "flag": "free_shipping"}, headers=ask).json()
    assert (False, "off", profile_id(f"{kind}:new"), CUT) == (
        body["allow"],
        body["variant"],
        body["profileId"],
        body["asOfSeq"],
    )


def test_several_flags_at_once(api: Api, ask: Ask) -> None:
    """A POST with `flags` answers all of them in order, from one state."""
    flags = ["closed", "free_shipping", "big_basket", "closed"]
    body = api.http.post("/v1/decide", json={"userId": "bob", "flags": flags}, headers=ask).json()
    assert ["decisions"] == list(body)
    assert flags == [decision["flag"] for decision in body["decisions"]]
    assert [False, True, False, False] == [decision["allow"] for decision in body["decisions"]]


@pytest.mark.parametrize(
    ("amount", "allowed"), [("100.5", True), ("100.4999999", True), ("100.499999", False), ("1005e-1", True)]
)
def test_context_is_exact(api: Api, ask: Ask, amount: str, allowed: bool) -> None:
    """Numbers of the context are read from their decimal text, to six places."""
    body = f'{{"userId": "eve", "flag": "big_basket", "context": {{"amount": {amount}}}}}'
    assert allowed is api.http.post("/v1/decide", content=body, headers=ask).json()["allow"]


@pytest.mark.parametrize(("sent", "meant"), [("208", "208"), ("208.0", "208"), ("12345678901", "12345678901")])
def test_numeric_ids_are_decimal_text(api: Api, ask: Ask, sent: str, meant: str) -> None:
    """A number as an id is its decimal text."""
    answer = api.http.post("/v1/decide", content=f'{{"userId": {sent}, "flag": "empty"}}', headers=ask)
    assert profile_id(f"user:{meant}") == answer.json()["profileId"]


def test_any_text_can_be_an_id(api: Api, ask: Ask) -> None:
    """Colons, spaces, braces, stars and other scripts are part of an id."""
    for value in ("a:b", "{x}*?", "ann lee", "\u00e9\u4e16", "user:ann", "x" * 5_000):
        answer = api.http.post("/v1/decide", json={"userId": value, "flag": "empty"}, headers=ask)
        assert profile_id(f"user:{value}") == answer.json()["profileId"]


def test_what_is_published_is_live_at_the_next_request(api: Api, world: World, ask: Ask, online: redis.Redis) -> None:
    """A new catalog version, a new base, an event and a load that has begun are seen at once."""
    wanted = {"params": {"userId": "zoe", "flag": "fresh"}, "headers": ask}
    assert 404 == api.http.get("/v1/decide", **wanted).status_code  # type: ignore[arg-type]  # both are plain dicts
    newer = replace(CATALOG, flags=(*CATALOG.flags, replace(CATALOG.flags[0], key="fresh")))
    later = Snapshot(CUT + 1, now_ms(), 2, OFFSET_MS, "UTC")
    reserve_seq(online, world.project, 1, 0)
    publish_people(online, world.project, later, [person("zoe", later.as_of_ms, 2)], newer)
    first = api.http.get("/v1/decide", params={"userId": "zoe", "flag": "fresh"}, headers=ask).json()
    assert (False, None) == (first["allow"], first["stale"])
    record = EventRecord("new", "track", "purchase", now_ms(), now_ms(), 0)
    (appended,) = append(online, world.project, [Item("new", write_record(record), "d", ("user:zoe",))], now_ms())
    second = api.http.get("/v1/decide", params={"userId": "zoe", "flag": "fresh"}, headers=ask).json()
    assert (True, None, appended.seq) == (second["allow"], second["stale"], second["asOfSeq"])
    reserve_seq(online, world.project, 5, 0)
    third = api.http.get("/v1/decide", params={"userId": "zoe", "flag": "fresh"}, headers=ask).json()
    assert (True, "bulk_load") == (third["allow"], third["stale"])
    online.delete(Keys(world.project).loading)


def test_ranks_are_of_the_last_refresh(api: Api, world: World, ask: Ask, online: redis.Redis) -> None:
    """A flag that compares the profile with all others, itself or through a segment, says that its answer is old."""
    top = Segment("top", "percent_rank(purchases_30d) >= 0.9")
    flags = (Flag("top_only", (Rule('segment("top")', "on"),)), Flag("anybody", (Rule("true", "on"),)))
    newer = replace(CATALOG, segments=(*CATALOG.segments, top), flags=flags)
    later = Snapshot(CUT + 9, now_ms(), 7, OFFSET_MS, "UTC")
    zoe = person("zoe", later.as_of_ms, 9)
    publish_people(online, world.project, later, [zoe], newer)
    ranks = {'percent_rank(trait("purchases_30d"))': 950_000}
    Publication(online, world.project, later).ranks([(zoe.profile.profile_id, ranks)])
    for flag, stale in (("top_only", "percent_rank"), ("anybody", None)):
        answer = api.http.get("/v1/decide", params={"userId": "zoe", "flag": flag}, headers=ask).json()
        assert (True, stale) == (answer["allow"], answer["stale"])


def test_before_anything_is_published(api: Api, world: World, ask: Ask, online: redis.Redis) -> None:
    """With definitions but no snapshot the answer is that for nobody, marked; with neither, flags are unknown."""
    keys = online.hgetall(f"{{{world.project}}}:apikeys")
    delete_project(online, world.project)
    online.hset(f"{{{world.project}}}:apikeys", mapping=dict(keys.items()))
    unknown = api.http.get("/v1/decide", params={"userId": "ann", "flag": "plain"}, headers=ask)
    assert (404, "flag_not_found") == (unknown.status_code, unknown.json()["code"])
    assert "tinycdp apply" in unknown.json()["errors"][0]["help"]
    publish_catalog(online, world.project, 3, replace(CATALOG, flags=(Flag("plain", ()),)).to_document())
    body = api.http.get("/v1/decide", params={"userId": "ann", "flag": "plain"}, headers=ask).json()
    assert (False, 0, None, "no_snapshot") == (
        body["allow"],
        body["asOfSeq"],
        body["snapshotAgeMs"],
        body["stale"],
    )
    assert api.http.get("/health").json()["snapshot"] is None
