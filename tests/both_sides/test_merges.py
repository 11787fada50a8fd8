"""Merging and keeping apart, over real HTTP and in the tables: at once, exactly, and without a trace but the record."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import redis

from dsl.apikeys import digest, new_key
from dsl.catalog import Catalog, Flag, Rule, Segment, Trait
from dsl.clock import DAY_MS
from dsl.event import Event
from dsl.identifiers import profile_id
from serving.online import delete_project, publish_keys
from serving.online.identities import read_settings
from tests.both_sides.plant import Plant, open_plant
from tests.serving.api import Api, running_api
from warehouse.identity_tables import valid_at

CATALOG = Catalog(
    traits=(
        Trait("buys", "events.buy.count"),
        Trait("recent", "events.buy.count_7d"),
        Trait("first_buy", "events.buy.first_at"),
        Trait("seen", "events.*.last_at"),
        Trait("plan", "profile.plan", type="string"),
    ),
    segments=(Segment("loyal", "buys >= 3"), Segment("gold", 'plan == "gold"')),
    flags=(
        Flag("reward", (Rule('segment("loyal")', "on"),)),
        Flag("lounge", (Rule('segment("gold") && last_seen_minutes_ago < 600', "on"),)),
    ),
)
ANN, BOB, VISITOR = "user:ann", "user:bob", "anon:visitor"
EVERYBODY = (ANN, BOB, VISITOR, "device:tv", "email:nobody")
TABLES = {
    "profiles": "SELECT * FROM profiles ORDER BY profile_id",
    "traits": "SELECT * FROM traits ORDER BY profile_id",
    "segment_members": "SELECT segment, profile_id FROM segment_members ORDER BY ALL",
    "identities": "SELECT source_id, profile_id FROM identities WHERE valid_to_seq IS NULL ORDER BY ALL",
}


@dataclass(frozen=True, slots=True)
class Town:
    """A plant and what its API answers."""

    plant: Plant
    api: Api
    keys: dict[str, str]

    def decide(self, who: str, flag: str) -> tuple[bool, str, list[str]]:
        """Allowed or not, for which profile, and why."""
        kind, _, value = who.partition(":")
        name = {"user": "userId", "anon": "anonymousId", "device": "deviceId"}[kind]
        query = {name: value, "flag": flag}
        found = self.api.http.get("/v1/decide", params=query, headers=self._key("read")).json()
        return found["allow"], found["profileId"], found["reasons"]

    def admin(self, method: str, path: str, body: object = None, status: int = 200) -> Any:
        """What an admin route answers."""
        found = self.api.http.request(method, f"/v1/admin/{path}", json=body, headers=self._key("admin"))
        assert status == found.status_code, found.text
        return found.json()

    def _key(self, kind: str) -> dict[str, str]:
        return {"x-api-key": self.keys[kind]}


def peopled(client: redis.Redis, folder: Path, now_ms: int) -> Plant:
    """Ann with a visitor's id and two purchases, bob with a television and one."""
    plant = open_plant(client, folder, f"merge-{uuid4().hex[:12]}", now_ms)
    plant.define(CATALOG)
    send(plant, VISITOR, "buy", 30, 0)
    send(plant, ANN, "buy", 20, 1, VISITOR)
    send(plant, ANN, "identify", 19, 2, plan="gold")
    send(plant, BOB, "buy", 10, 3, "device:tv")
    send(plant, BOB, "identify", 9, 4, plan="free")
    plant.refresh()
    return plant


def send(plant: Plant, who: str, name: str, hours_ago: int, number: int, *weaker: str, **properties: str) -> None:
    """Somebody does something, hours ago."""
    ts_ms = plant.now_ms - hours_ago * 3_600_000
    kind = "identify" if name == "identify" else "track"
    sent = Event(f"e-{number}", 0, kind, name, who, ts_ms, ts_ms // DAY_MS, properties)  # type: ignore[arg-type]
    (answer,) = plant.append([sent], weaker)
    assert "accepted" == answer.code


@pytest.fixture
def town(online: redis.Redis, valkey_url: str, tmp_path: Path) -> Iterator[Town]:
    """One that is served."""
    plant = peopled(online, tmp_path / "home", time.time_ns() // 1_000_000)
    keys = {kind: new_key(kind) for kind in ("read", "admin")}
    publish_keys(online, plant.project, {digest(key): kind for kind, key in keys.items()})
    where = {"REDIS_URL": valkey_url, "PROJECT": plant.project, "HOME": str(plant.shop.home.path)}
    with running_api(tmp_path / "log", **where) as api:
        yield Town(plant, api, keys)
    delete_project(online, plant.project)
    plant.shop.registry.close()


def shown(plant: Plant) -> dict[str, Any]:
    """What a refresh makes of everybody, and what decisions see then."""
    refresh = plant.refresh()
    assert plant.now_ms == refresh.t_ms
    with plant.bench() as bench:
        found: dict[str, Any] = {name: bench.rows(statement) for name, statement in TABLES.items()}
    return found | {who: seen(plant, who) for who in EVERYBODY}


def seen(plant: Plant, who: str) -> tuple[object, ...]:
    """What a decision sees of somebody: all but up to which `seq`."""
    state = plant.ask(who)
    values = {key: state.aggregates[key] for key in plant.checked.aggregates if key in state.aggregates}
    return state.profile_id, state.as_of_ms, dict(state.attributes), values


def test_merged_and_parted_is_never_merged(town: Town, online: redis.Redis, tmp_path: Path) -> None:
    """Decisions change at once, twice; then values and tables are those of a project that never merged anybody."""
    plant = town.plant
    never = peopled(online, tmp_path / "never", plant.now_ms)
    ann, bob = profile_id(VISITOR), profile_id(BOB)
    assert [(False, ann), (False, bob)] == [town.decide(who, "reward")[:2] for who in (ANN, BOB)]

    dry = town.admin("POST", "users/ann/merge", {"with": "user:bob", "dryRun": True})
    told = town.admin("POST", "users/ann/merge", {"with": "user:bob"})
    moves = [
        {"identifier": "device:tv", "from": bob, "to": ann, "events": 0},
        {"identifier": BOB, "from": bob, "to": ann, "events": 2},
    ]
    assert (moves, 2, None, None) == (dry["moves"], dry["events"], dry["refused"], dry["recordedSeq"])
    assert (moves, 2, 6) == (told["moves"], told["events"], told["recordedSeq"])
    reasons = ['rule 1 matched: segment("loyal")', "segment loyal: buys = 3 >= 3"]
    assert [(True, ann, reasons)] * 4 == [town.decide(who, "reward") for who in EVERYBODY[:4]]
    assert (True, ann, reasons) == town.decide(f"user:{bob}", "reward")

    plant.now_ms = time.time_ns() // 1_000_000 + 10
    assert 3_000_000 == shown(plant)[BOB][-1]["events.buy.count"]
    assert [True] * 2 == [town.decide(who, "reward")[0] for who in (ANN, BOB)]

    parted = town.admin("POST", "users/ann/unmerge", {"from": BOB})
    assert [{**move, "from": ann, "to": bob} for move in moves] == parted["moves"]
    assert [("unmerged", 6)] == [(each["reason"], each["link"]["seq"]) for each in parted["conflicts"]]
    assert [(False, ann), (False, bob)] == [town.decide(who, "reward")[:2] for who in (ANN, BOB)]
    again = town.admin("POST", "users/ann/unmerge", {"from": BOB})
    assert ([], None) == (again["moves"], again["recordedSeq"])

    plant.now_ms = never.now_ms = time.time_ns() // 1_000_000 + 10
    assert shown(never) == shown(plant)
    assert [bob, ann, ann] == [plant.ask(f"user:{each}").profile_id for each in (bob, ann, profile_id(VISITOR))]
    with plant.bench() as bench:
        at = f"SELECT profile_id FROM identities WHERE source_id = '{BOB}' AND {{}}"
        assert [[(bob,)], [(ann,)], [(bob,)]] == [bench.rows(at.format(valid_at(seq))) for seq in (5, 6, 7)]
        found = bench.rows("SELECT reason, seq, link_seq FROM identity_conflicts")
        assert [("unmerged", 7, 6)] == found
    delete_project(online, never.project)
    never.shop.registry.close()


def test_what_is_known_about_a_profile(town: Town) -> None:
    """Identifiers, what brought each, what moved and what was refused, by any way to name the profile."""
    plant, bob = town.plant, profile_id(BOB)
    send(plant, BOB, "buy", 5, 10, "device:tv")
    send(plant, BOB, "buy", 4, 11, VISITOR)
    town.admin("POST", "users/bob/merge", {"with": "visitor"})
    found = town.admin("GET", "users/ann/identity")
    assert (profile_id(VISITOR), VISITOR, [bob]) == (found["profileId"], found["firstIdentifier"], found["retiredIds"])
    assert [(VISITOR, 1, "buy"), (ANN, 2, "buy"), ("device:tv", 8, "profile_merged"), (BOB, 8, "profile_merged")] == [
        (each["identifier"], each["since"]["seq"], each["since"]["name"]) for each in found["members"]
    ]
    assert [1, 2, 4, 7, 8] == [step["record"]["seq"] for step in found["history"]]
    assert ["e-0", "e-1", "e-3", "e-11"] == [step["record"]["eventId"] for step in found["history"]][:4]
    refused = [("users", BOB, VISITOR, 7)]
    assert refused == [(c["reason"], c["stronger"], c["weaker"], c["link"]["seq"]) for c in found["conflicts"]]
    assert 8 == found["asOfSeq"]
    for name in ("tv", bob, f"user:{bob}", profile_id(VISITOR).upper(), "device:tv"):
        assert found["profileId"] == town.admin("GET", f"users/{name}/identity")["profileId"]
    listed = town.admin("GET", "identity/conflicts")
    assert (found["conflicts"], 1, {"users": 1}) == (listed["conflicts"], listed["total"], listed["reasons"])
    assert [] == town.admin("GET", "identity/conflicts?reason=emails")["conflicts"]
    plant.land()
    assert found == town.admin("GET", "users/ann/identity")
    assert listed == town.admin("GET", "identity/conflicts?limit=1")


def test_refused_changes(town: Town) -> None:
    """Whom nobody knows, who was parted, and one and the same: each is refused with its reason, and nothing changes."""
    missing = town.admin("POST", "users/ann/merge", {"with": "eve"}, 404)
    assert "profile_not_found" == missing["code"]
    assert "profile_not_found" == town.admin("GET", "users/eve/identity", status=404)["code"]
    assert "invalid_request" == town.admin("POST", "users/ann/unmerge", {"from": ANN}, 422)["code"]
    assert 6 == town.admin("POST", "users/ann/unmerge", {"from": "tv"})["recordedSeq"]
    assert "unmerged" == town.admin("POST", "users/ann/merge", {"with": BOB, "dryRun": True})["refused"]
    refused = town.admin("POST", "users/ann/merge", {"with": BOB}, 409)
    assert ("merge_refused", 6) == (refused["code"], town.admin("GET", "users/bob/identity")["asOfSeq"])
    assert [("user:ann", "device:tv")] == [
        (each["one"], each["other"]) for each in town.admin("GET", "users/bob/identity")["unmerges"]
    ]


def test_settings_over_http(town: Town) -> None:
    """Settings change from a record of the log on; what is left out stays; the same again records nothing."""
    defaults = {
        "maxUserIdsPerProfile": 1,
        "maxIdentifiersPerProfile": 100,
        "blockedValues": [],
        "emailFromTraits": True,
        "recordedSeq": None,
    }
    assert defaults == town.admin("GET", "identity/settings")
    changed = {**defaults, "maxUserIdsPerProfile": 0, "emailFromTraits": False, "recordedSeq": 6}
    assert changed == town.admin("PUT", "identity/settings", {"maxUserIdsPerProfile": 0, "emailFromTraits": False})
    blocked = town.admin("PUT", "identity/settings", {"blockedValues": ["Kiosk"]})
    assert {**changed, "blockedValues": ["Kiosk"], "recordedSeq": 7} == blocked
    assert {**blocked, "recordedSeq": None} == town.admin("PUT", "identity/settings", {"blockedValues": ["Kiosk"]})
    held = read_settings(town.plant.client, town.plant.project)
    assert (0, False, True) == (held.max_user_ids_per_profile, held.email_from_traits, held.blocks("anon:kiosk"))
    send(town.plant, BOB, "buy", 1, 20, VISITOR)
    assert profile_id(VISITOR) == town.plant.ask(BOB).profile_id
    for wrong in ({"maxIdentifiersPerProfile": 1}, {"maxUserIdsPerProfile": -1}, {"blockedValues": [" "]}, {"max": 1}):
        assert "invalid_request" == town.admin("PUT", "identity/settings", wrong, 422)["code"]
