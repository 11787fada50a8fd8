"""OpenFeature's remote evaluation protocol over real HTTP."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from dsl.apikeys import new_key
from dsl.catalog import Flag, Rule
from dsl.identifiers import profile_id, source_id
from serving.http.problems import STATUSES
from serving.http.question import LARGEST_BODY_BYTES
from serving.online import connect, embedded
from tests.ingest.conftest import Shop, shop
from tests.serving.api import running_api, wait_until_it_keeps
from tests.serving.flags_of_types import CATALOG, buy, publish_flags
from tests.serving.world import World, publish
from warehouse.settings import Home

__all__ = ["shop"]

FLAGS = "/ofrep/v1/evaluate/flags"
BEFORE = {
    "free_delivery": ("off", False),
    "big_basket": ("off", False),
    "colour": ("plain", ""),
    "seats": ("none", 0),
    "discount": ("none", 0.0),
    "win_back_offer": ("none", {}),
    "switch": ("no", False),
    "closed": ("off", False),
    "a.b-c_D": ("off", False),
}
AFTER = BEFORE | {
    "free_delivery": ("on", True),
    "colour": ("red", "red"),
    "seats": ("many", 500),
    "discount": ("large", 500.0),
    "win_back_offer": ("large", {"voucher": 20}),
    "switch": ("yes", True),
}


@pytest.fixture(scope="module")
def flags(shop: Shop) -> Shop:
    """The shop with its flags."""
    publish_flags(shop)
    return shop


def ask(flags: Shop, key: str = "", context: Any = None, headers: dict[str, str] | None = None, query: str = "") -> Any:
    """Evaluate a flag, or all of them, with the read key."""
    path = f"{FLAGS}/{key}" if key else FLAGS
    said = {"x-api-key": flags.keys["read"]} | (headers or {})
    return flags.api.http.post(path + query, json={"context": context or {"targetingKey": "ann"}}, headers=said)


# -- values ------------------------------------------------------------------------------------------------------------


def test_every_flag_has_one_type(flags: Shop) -> None:
    """A flag without payloads is a boolean, any other has its payloads' type, also where a variant has none."""
    for who, expected in (("nobody", BEFORE), ("cat", AFTER)):
        if expected is AFTER:
            buy(flags, who)
        single = {key: ask(flags, key, {"targetingKey": who}).json() for key in expected}
        bulk = {each["key"]: each for each in ask(flags, context={"targetingKey": who}).json()["flags"]}
        assert expected == {key: (each["variant"], each["value"]) for key, each in single.items()}
        assert [type(value) for _, value in expected.values()] == [type(each["value"]) for each in single.values()]
        assert {*expected, "halves"} == set(bulk)
        assert [each["value"] for each in single.values()] == [bulk[key]["value"] for key in single]
    assert '"value":500.0,' in ask(flags, "discount", {"targetingKey": "cat"}).text
    assert '"value":500,' in ask(flags, "seats", {"targetingKey": "cat"}).text


def test_an_evaluation_has_every_member(flags: Shop) -> None:
    """What clients read by name is always there, and metadata is flat."""
    buy(flags, "dan")
    answer = ask(flags, "free_delivery", {"targetingKey": "dan"})
    assert (200, "application/json", "no-store") == (
        answer.status_code,
        answer.headers["content-type"],
        answer.headers["cache-control"],
    )
    body = answer.json()
    metadata = body.pop("metadata")
    assert {"key": "free_delivery", "reason": "TARGETING_MATCH", "variant": "on", "value": True} == body
    assert {bool, int, str} == {type(value) for value in metadata.values()}
    assert metadata.pop("asOf") < metadata.pop("expiresAt")
    assert {
        "allow": True,
        "explain": 'rule 1 matched: segment("vip"); segment vip: purchases_30d = 1 >= 1',
        "version": CATALOG.flags[0].version(),
        "catalogVersion": 1,
        "flagSetId": flags.project,
        "contextId": profile_id("user:dan"),
        "asOfSeq": flags.newest(),
        "rule": 1,
        "stale": "no_snapshot",
    } == metadata


def test_reasons_are_those_of_openfeature(flags: Shop) -> None:
    """A flag whose definitions are not in use yet answers its default, and says so beside the reason."""
    found = {each["key"]: each["reason"] for each in ask(flags, context={"targetingKey": "nobody"}).json()["flags"]}
    assert {"free_delivery": "DEFAULT", "closed": "DISABLED", "a.b-c_D": "STATIC", "halves": "SPLIT"}.items() <= (
        found.items()
    )
    coming = replace(CATALOG, flags=(*CATALOG.flags, Flag("coming", (Rule(None, "on"),))))
    flags.client.set(f"{{{flags.project}}}:catalog:9", json.dumps(coming.to_document()))
    flags.client.set(f"{{{flags.project}}}:catalog:pending", 9)
    body = ask(flags, "coming").json()
    flags.client.delete(f"{{{flags.project}}}:catalog:pending")
    assert ("DEFAULT", False, True) == (body["reason"], body["value"], body["metadata"]["warming"])


@pytest.mark.parametrize(
    ("key", "who"),
    [
        ("eve", "user:eve"),
        (208, "user:208"),
        ("user:eve", "user:eve"),
        ("user:anon:7", "user:anon:7"),
        ("anon:k-7", "anon:k-7"),
        ("external:e", "external:e"),
        ("device:d", "device:d"),
        ("email: Eve@Example.com", source_id("email", "eve@example.com")),
        ("sso:9", "user:sso:9"),
        ("é世 {x}*", "user:é世 {x}*"),
    ],
)
def test_whom_a_targeting_key_names(flags: Shop, key: str | int, who: str) -> None:
    """A user's own id, or an identifier of a kind that is known."""
    assert profile_id(who) == ask(flags, "colour", {"targetingKey": key}).json()["metadata"]["contextId"]


def test_a_profile_id_names_its_profile(flags: Shop) -> None:
    """The id that an answer carries may be sent as the targeting key; other members of the context name nobody."""
    buy(flags, "fay")
    context = {"targetingKey": profile_id("user:fay"), "userId": "ann", "email": "ann@example.com"}
    body = ask(flags, "colour", context).json()
    assert (profile_id("user:fay"), "red") == (body["metadata"]["contextId"], body["value"])


@pytest.mark.parametrize(("amount", "value"), [("100.5", True), ("100.4999999", True), ("100.499999", False)])
def test_the_context_is_exact(flags: Shop, amount: str, value: bool) -> None:
    """All of the context but the targeting key is what conditions read, its numbers from their text."""
    body = f'{{"context": {{"targetingKey": "nobody", "amount": {amount}}}}}'
    answer = flags.api.http.post(f"{FLAGS}/big_basket", content=body, headers=flags.headers("read"))
    assert value is answer.json()["value"]


# -- failures ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Failing:
    """A request that fails, and how; `{read}` in a header stands for that key.

    Attributes:
        flag: None asks all.
    """

    code: str
    error: str
    body: str = '{"context": {"targetingKey": "ann"}}'
    flag: str | None = "colour"
    method: str = "POST"
    headers: dict[str, str] = field(default_factory=lambda: {"authorization": "Bearer {read}"})

    @property
    def path(self) -> str:
        """Where it is sent."""
        return FLAGS if self.flag is None else f"{FLAGS}/{self.flag}"


OF_BOTH = [
    ("malformed_json", "PARSE_ERROR", ""),
    ("malformed_json", "PARSE_ERROR", "{"),
    ("malformed_json", "PARSE_ERROR", '{"context": {"targetingKey": NaN}}'),
    ("invalid_context", "INVALID_CONTEXT", "[]"),
    ("invalid_context", "INVALID_CONTEXT", '{"context": []}'),
    ("invalid_context", "INVALID_CONTEXT", '{"context": null}'),
    ("invalid_context", "INVALID_CONTEXT", '{"context": {"targetingKey": {"id": "ann"}}}'),
    ("invalid_context", "INVALID_CONTEXT", '{"context": {"targetingKey": true}}'),
    ("identifier_missing", "TARGETING_KEY_MISSING", "{}"),
    ("identifier_missing", "TARGETING_KEY_MISSING", '{"context": {}}'),
    ("identifier_missing", "TARGETING_KEY_MISSING", '{"context": {"userId": "ann"}}'),
    ("identifier_missing", "TARGETING_KEY_MISSING", '{"context": {"targetingKey": ""}}'),
    ("identifier_missing", "TARGETING_KEY_MISSING", '{"context": {"targetingKey": null}}'),
    ("identifier_missing", "TARGETING_KEY_MISSING", '{"context": {"targetingKey": "null"}}'),
    ("identifier_missing", "TARGETING_KEY_MISSING", '{"context": {"targetingKey": "anon:"}}'),
    ("too_large", "GENERAL", '{"context": {"x": "' + "x" * LARGEST_BODY_BYTES + '"}}'),
]
FAILING = [
    *(Failing(*each, flag) for each in OF_BOTH for flag in (None, "colour")),
    Failing("flag_not_found", "FLAG_NOT_FOUND", flag="color"),
    Failing("flag_not_found", "FLAG_NOT_FOUND", flag="a/b"),
    Failing("flag_not_found", "FLAG_NOT_FOUND", flag=""),
    Failing("key_missing", "GENERAL", headers={}),
    Failing("key_missing", "GENERAL", flag=None, headers={}),
    Failing("key_invalid", "GENERAL", headers={"x-api-key": "{unknown}"}),
    Failing("key_wrong_kind", "GENERAL", headers={"x-api-key": "{write}"}),
    Failing("key_wrong_kind", "GENERAL", flag=None, headers={"x-api-key": "{write}"}),
    Failing("method_not_allowed", "GENERAL", method="GET"),
    Failing("method_not_allowed", "GENERAL", method="PUT", flag=None),
]


@pytest.mark.parametrize("failing", FAILING, ids=lambda failing: f"{failing.error}-{failing.code}-{failing.flag}")
def test_every_failure_is_both(flags: Shop, failing: Failing) -> None:
    """One body is a problem as everywhere and what OpenFeature's clients read."""
    known: dict[str, str] = {str(kind): key for kind, key in flags.keys.items()} | {"unknown": new_key("read")}
    headers = {name: value.format(**known) for name, value in failing.headers.items()}
    answer = flags.api.http.request(failing.method, failing.path, headers=headers, content=failing.body)
    assert failing.code == answer.json()["code"]
    check_failure(answer, failing.flag or "", failing.error)
    assert ("www-authenticate" in answer.headers) is (answer.status_code == 401)


def check_failure(answer: Any, flag: str, error: str) -> None:
    """What holds of every failure."""
    body = answer.json()
    assert "application/problem+json" == answer.headers["content-type"]
    members = ["type", "title", "status", "detail", "instance", "code", "message", "errors"]
    assert [*members, "key", "errorCode", "errorDetails"] == list(body)
    assert answer.status_code == body["status"] == STATUSES[body["code"]]
    assert (flag, error) == (body["key"], body["errorCode"])
    assert body["errorDetails"] == body["detail"] == body["message"] != ""


def test_an_unknown_flag_has_its_nearest(flags: Shop) -> None:
    """Clients show `errorDetails`: it names what was probably meant."""
    assert "no flag is named `color`; the nearest is `colour`" == ask(flags, "color").json()["errorDetails"]


@pytest.mark.parametrize("key", ["a.b-c_D", "a%2Eb%2Dc%5FD", "%61.b-c_D"])
def test_keys_in_the_path(flags: Shop, key: str) -> None:
    """Clients encode the key of a flag, or do not."""
    assert "a.b-c_D" == ask(flags, key).json()["key"]


@pytest.mark.parametrize("flag", ["", "colour"])
def test_our_own_fault(flags: Shop, flag: str) -> None:
    """What nobody expected has the members too."""
    buy(flags, "gil")
    flags.client.set(f"{{{flags.project}}}:base:user:gil", "no tiles")
    broken = ask(flags, flag, {"targetingKey": "gil"})
    flags.client.delete(f"{{{flags.project}}}:base:user:gil")
    assert 500 == broken.status_code
    check_failure(broken, flag, "GENERAL")


def test_a_store_that_is_away(home: Home, tmp_path: Path, project: str) -> None:
    """503 with the members where nothing was ever read; defaults, marked, once the definitions are known."""
    settings = {"HOME": str(home.path), "PROJECT": project, "DECIDE_DEADLINE_MS": "2000"}
    with running_api(tmp_path / "log", **settings) as api:
        body = {"context": {"targetingKey": "ann"}}
        for flag in ("", "banner"):
            answer = api.http.post(
                f"{FLAGS}/{flag}" if flag else FLAGS, json=body, headers={"x-api-key": new_key("read")}
            )
            assert 503 == answer.status_code
            check_failure(answer, flag, "GENERAL")
        headers = {"x-api-key": started(home, project).keys["read"]}
        wait_until_it_keeps(api)
        before = api.http.post(FLAGS, json=body, headers=headers).json()["flags"]
        embedded.stop(home.valkey)
        after = api.http.post(FLAGS, json=body, headers=headers).json()["flags"]
        unknown = api.http.post(FLAGS, json={"context": {"targetingKey": "bob"}}, headers=headers).json()["flags"]
    assert [(each["variant"], "STALE") for each in before] == [(each["variant"], each["reason"]) for each in after]
    assert {("ERROR", "store_unavailable")} == {(each["reason"], each["metadata"]["stale"]) for each in unknown}


def started(home: Home, project: str) -> World:
    """A store in which something is published."""
    return publish(connect(embedded.start(home.valkey)), project)


# -- all flags ---------------------------------------------------------------------------------------------------------


def test_nothing_new_is_304(flags: Shop) -> None:
    """The tag of the last answer is answered without a body, and with the tag."""
    first = ask(flags)
    second = ask(flags, headers={"if-none-match": first.headers["etag"]})
    assert (304, b"", first.headers["etag"]) == (second.status_code, second.content, second.headers["etag"])
    assert {"flagSetId": flags.project, "catalogVersion": 1} == first.json()["metadata"]


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ("{tag}", 304),
        ("W/{tag}", 304),
        ('"x", W/"y,z",{tag}', 304),
        ("*", 304),
        ('"x"', 200),
        ("{bare}", 200),
        ('"x{bare}"', 200),
        ("", 200),
        ("nonsense", 200),
    ],
)
def test_tags_are_compared_as_rfc_9110_says(flags: Shop, given: str, status: int) -> None:
    """Lists, weak tags and `*`; a tag without its quotes is none."""
    tag = ask(flags).headers["etag"]
    assert status == ask(flags, headers={"if-none-match": given.format(tag=tag, bare=tag[1:-1])}).status_code


def test_a_tag_holds_for_all_that_an_answer_is_made_of(flags: Shop) -> None:
    """What was done, what is known, the context, whom it is about and the definitions: each changes the tag."""
    tags = [ask(flags, context={"targetingKey": who}).headers["etag"] for who in ("hal", "ida")]
    buy(flags, "hal")
    tags.append(ask(flags, context={"targetingKey": "hal"}).headers["etag"])
    buy(flags, "hal")  # no variant changes, but the value that decides does
    tags.append(ask(flags, context={"targetingKey": "hal"}).headers["etag"])
    tags += [ask(flags, context={"targetingKey": "hal", "amount": amount}).headers["etag"] for amount in (1, 2)]
    changed = replace(CATALOG, flags=(replace(CATALOG.flags[0], description="new"), *CATALOG.flags[1:]))
    publish_flags(flags, changed, 2)
    tags.append(ask(flags, context={"targetingKey": "hal", "amount": 2}).headers["etag"])
    publish_flags(flags, CATALOG, 1)
    assert len(tags) == len(set(tags))
    again = ask(flags, context={"amount": 2, "targetingKey": "hal"}, headers={"if-none-match": tags[-2]})
    assert 304 == again.status_code


def test_what_others_do_changes_no_tag(flags: Shop) -> None:
    """A client that polls hears nothing of events of other people."""
    tag = ask(flags, context={"targetingKey": "jan"}).headers["etag"]
    buy(flags, "kim")
    assert 304 == ask(flags, context={"targetingKey": "jan"}, headers={"if-none-match": tag}).status_code


# -- what else ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flag", ["", "halves"])
def test_exposures(flags: Shop, flag: str) -> None:
    """A variant that chance showed is logged once, unless the query says no."""
    before, context = flags.newest(), {"targetingKey": f"lee-{flag}"}
    assert 200 == ask(flags, flag, context, query="?exposures=0").status_code
    assert [] == flags.events(before)
    for _ in range(2):
        assert 200 == ask(flags, flag, context).status_code
    shown = [(each["name"], each["properties"]["flag"]) for each in flags.events(before)]
    assert [("flag_exposure", "halves")] == shown


def test_pages_of_other_origins_may_ask(flags: Shop) -> None:
    """A browser may send the tag and the key, and read the tag."""
    asked = {
        "origin": "https://shop.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type,if-none-match,x-api-key",
    }
    assert 200 == flags.api.http.options(FLAGS, headers=asked).status_code
    answer = ask(flags, headers={"origin": "https://shop.example"})
    assert ("*", True) == (
        answer.headers["access-control-allow-origin"],
        "etag" in answer.headers["access-control-expose-headers"],
    )
