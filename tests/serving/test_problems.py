"""Every failure has the one shape."""

import base64
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from dsl.apikeys import digest, new_key
from serving.http.problems import STATUSES
from serving.http.question import LARGEST_BODY_BYTES
from serving.online import connect, embedded
from tests.ingest.test_failures import FAILING as OF_INGEST
from tests.serving.api import Api, running_api, wait_until_it_keeps
from tests.serving.world import World, publish
from warehouse.settings import Home

WHO, EVE = "userId=ann", "userId=eve"


@dataclass(frozen=True, slots=True)
class Failing:
    """A request that fails, and how; `{read}` in a header stands for that key."""

    code: str
    path: str = f"/v1/decide?{WHO}&flag=banner"
    method: str = "GET"
    headers: dict[str, str] = field(default_factory=lambda: {"x-api-key": "{read}"})
    body: str | None = None


def post(code: str, body: str) -> Failing:
    """A POST to `/v1/decide` that fails."""
    return Failing(code, "/v1/decide", "POST", body=body)


FAILING = [
    Failing("route_not_found", "/nowhere"),
    Failing("route_not_found", "/v1/decide/"),
    Failing("route_not_found", "/"),
    Failing("method_not_allowed", "/v1/decide", "DELETE"),
    Failing("method_not_allowed", "/health", "POST"),
    Failing("key_missing", headers={}),
    Failing("key_missing", "/v1/decide", "POST", {}, "{"),
    Failing("key_missing", headers={"authorization": "Digest x"}),
    Failing("key_invalid", headers={"x-api-key": "nonsense"}),
    Failing("key_invalid", headers={"x-api-key": ""}),
    Failing("key_invalid", headers={"authorization": "Bearer"}),
    Failing("key_invalid", headers={"authorization": "Basic !!!"}),
    Failing("key_invalid", headers={"authorization": "Basic /w=="}),
    Failing("key_invalid", headers={"authorization": "Bearer {unknown}"}),
    Failing("key_wrong_kind", headers={"authorization": "Bearer {write}"}),
    Failing("flag_missing", f"/v1/decide?{WHO}"),
    Failing("flag_missing", f"/v1/decide?{WHO}&flag="),
    Failing("flag_not_found", f"/v1/decide?{WHO}&flag=baner"),
    Failing("identifier_missing", "/v1/decide?flag=banner"),
    Failing("identifier_missing", "/v1/decide?flag=banner&userId=&email=null"),
    Failing("identifier_invalid", "/v1/decide?flag=banner&profileId=user:ann"),
    Failing("invalid_request", f"/v1/decide?{WHO}&flag=banner&context.amount=100"),
    Failing("invalid_request", f"/v1/decide?{WHO}&flag=banner&explain=yes"),
    Failing("invalid_request", f"/v1/decide?{WHO}&flag=banner&flags=closed"),
    Failing("profile_not_found", "/v1/admin/users/nobody/identity", headers={"x-api-key": "{admin}"}),
    Failing("profile_not_found", "/v1/admin/users/ann/merge", "POST", {"x-api-key": "{admin}"}, '{"with": "nobody"}'),
    Failing("key_wrong_kind", "/v1/admin/users/ann/identity"),
    Failing("malformed_json", "/v1/admin/users/ann/merge", "POST", {"x-api-key": "{admin}"}, "{"),
    Failing("invalid_request", "/v1/admin/users/ann/merge", "POST", {"x-api-key": "{admin}"}, "{}"),
    Failing("invalid_request", "/v1/admin/users/ann/unmerge", "POST", {"x-api-key": "{admin}"}, '{"with": "bob"}'),
    Failing("invalid_request", "/v1/admin/identity/conflicts?reason=none", headers={"x-api-key": "{admin}"}),
    Failing("invalid_request", "/v1/admin/identity/conflicts?limit=0", headers={"x-api-key": "{admin}"}),
    Failing("invalid_request", "/v1/admin/identity/settings", "PUT", {"x-api-key": "{admin}"}, '{"maxUsers": 1}'),
    post("malformed_json", ""),
    post("malformed_json", "{"),
    post("malformed_json", '{"userId": NaN}'),
    post("malformed_json", '{"context": ' + "[" * 100_000 + "]" * 100_000 + "}"),
    post("invalid_request", "[]"),
    post("invalid_request", '"text"'),
    post("invalid_request", '{"userId": ["a"], "flag": "banner"}'),
    post("invalid_request", '{"userId": true, "flag": "banner"}'),
    post("invalid_request", '{"userId": "a", "flag": 5}'),
    post("invalid_request", '{"userId": "a", "flag": "banner", "context": []}'),
    post("invalid_request", '{"userId": "a", "flag": "banner", "flags": ["banner"]}'),
    post("invalid_request", '{"userId": "a", "flags": []}'),
    post("invalid_request", '{"user_id": "a", "flag": "banner"}'),
    post("flag_missing", '{"userId": "a"}'),
    post("flag_not_found", '{"userId": "a", "flags": ["banner", "nope", "closd"]}'),
    post("identifier_missing", '{"flag": "banner", "userId": 1e40}'),
    post("too_large", '{"flag": "' + "x" * LARGEST_BODY_BYTES + '"}'),
]


@pytest.mark.parametrize("failing", FAILING, ids=lambda failing: f"{failing.code}-{failing.method}")
def test_every_failure_has_the_shape(api: Api, world: World, failing: Failing) -> None:
    """RFC 9457 with `code`, `message` and `errors`, under the status of its code, naming the request."""
    known: dict[str, str] = {str(kind): key for kind, key in world.keys.items()} | {"unknown": new_key("read")}
    headers = {name: value.format(**known) for name, value in failing.headers.items()}
    answer = api.http.request(failing.method, failing.path, headers=headers, content=failing.body)
    body = answer.json()
    assert failing.code == body["code"]
    check_shape(answer.status_code, answer.headers["content-type"], body)
    assert f"urn:tinycdp:request:{answer.headers['x-request-id']}" == body["instance"]
    assert ("www-authenticate" in answer.headers) is (answer.status_code == 401)
    assert body["errors"]
    assert not [key for key in known.values() if key in answer.text]


def check_shape(status: int, content_type: str, body: dict[str, object]) -> None:
    """What holds of every problem."""
    assert "application/problem+json" == content_type
    members = ["type", "title", "status", "detail", "instance", "code", "message", "errors"]
    assert members == list(body)
    assert status == body["status"] == next(number for code, number in STATUSES.items() if code == body["code"])
    assert body["detail"] == body["message"]
    assert f"urn:tinycdp:problem:{body['code']}" == body["type"]
    assert isinstance(body["errors"], list)
    assert all({"code", "message", "path", "help"} == set(item) for item in body["errors"])


def test_every_code_is_met() -> None:
    """The walks leave no code out but those that need something broken, and what the framework refuses by itself."""
    broken = {"bug", "catalog_unusable", "store_unavailable", "registry_unavailable", "project_unknown", "overloaded"}
    of_one_in_a_batch = {"invalid_type", "schema_violation"}  # tests/ingest/test_tracking.py, test_other_routes.py
    of_their_routes = {"feature_not_found", "invalid_context"}  # test_features_http.py, test_ofrep.py
    elsewhere = broken | of_one_in_a_batch | of_their_routes | {"body_incomplete", "http_error", "merge_refused"}
    walked = {failing.code for failing in FAILING} | {failing.code for failing in OF_INGEST}
    assert walked == set(map(str, STATUSES)) - elsewhere


def test_errors_name_the_place_and_the_nearest_name(api: Api, world: World) -> None:
    """An item says where it went wrong and what was probably meant."""

    def items(path: str, body: str | None = None) -> list[tuple[str, str]]:
        headers = {"x-api-key": world.keys["read"]}
        answer = api.http.request("GET" if body is None else "POST", path, headers=headers, content=body)
        return [(item["path"], item["help"]) for item in answer.json()["errors"]]

    assert [("flag", "the nearest flag is `banner`")] == items(f"/v1/decide?{WHO}&flag=baner")
    assert [("$", "the nearest is `anonymousId`")] == items("/v1/decide", '{"anonymous_id": "a"}')
    assert [("$.context", "")] == items("/v1/decide", '{"context": 5}')
    unknown = items("/v1/decide", '{"userId": "a", "flags": ["nope", "closd"]}')
    assert ["flag", "flag"] == [path for path, _ in unknown]
    assert "the nearest flag is `closed`" == unknown[1][1]


def test_methods_are_named(api: Api) -> None:
    """A refused method is answered with all that the path takes."""
    assert "GET, POST" == api.http.put("/v1/decide").headers["allow"]


@pytest.mark.parametrize("kind", ["read", "admin"])
@pytest.mark.parametrize("form", ["Bearer {key}", "bearer  {key}", "Basic {basic}", "basic {user}", "X"])
def test_keys_in_all_forms(api: Api, world: World, kind: str, form: str) -> None:
    """A read key works as Bearer, as X-API-Key and as the user of Basic; an admin key can do all."""
    key = world.keys["admin" if kind == "admin" else "read"]
    basic = base64.b64encode(f"{key}:".encode()).decode()
    user = base64.b64encode(f"{key}:password".encode()).decode()
    headers = {"x-api-key": key} if form == "X" else {"authorization": form.format(key=key, basic=basic, user=user)}
    answer = api.http.get(f"/v1/decide?{WHO}&flag=banner", headers=headers)
    assert 200 == answer.status_code


def test_a_revoked_key(api: Api, world: World, online: redis.Redis) -> None:
    """A key that is no longer published is refused within a second."""
    headers = {"x-api-key": world.keys["read"]}
    online.hdel(f"{{{world.project}}}:apikeys", *online.hkeys(f"{{{world.project}}}:apikeys"))
    try:
        begin = time.monotonic()
        while (answer := api.http.get(f"/v1/decide?{WHO}&flag=banner", headers=headers)).status_code == 200:
            assert time.monotonic() - begin < 1
        assert (401, "key_invalid") == (answer.status_code, answer.json()["code"])
    finally:
        online.hset(f"{{{world.project}}}:apikeys", mapping={digest(key): kind for kind, key in world.keys.items()})


def test_our_own_fault(api: Api, world: World, online: redis.Redis) -> None:
    """What nobody expected is 500 `bug` in the same shape; the next request is answered as if nothing happened."""
    key = f"{{{world.project}}}:base:user:eve"
    before = online.dump(key) or b""
    online.set(key, '{"secret": "eve@example.com"')
    headers = {"x-api-key": world.keys["read"], "origin": "https://shop.example"}
    broken = api.http.get("/v1/decide?userId=eve&flag=banner", headers=headers)
    online.restore(key, 0, before, replace=True)
    assert (500, "*") == (broken.status_code, broken.headers["access-control-allow-origin"])
    check_shape(500, broken.headers["content-type"], broken.json())
    assert broken.headers["x-request-id"] in broken.json()["instance"]
    again = api.http.get("/v1/decide?userId=eve&flag=banner", headers={"x-api-key": world.keys["read"]})
    assert 200 == again.status_code
    logged = api.lines(broken.headers["x-request-id"])
    assert '"error_type":"TileFormatError"' in logged[0]
    assert "eve@example.com" not in api.log.read_text()
    assert "Traceback" not in api.log.read_text()


def test_a_catalog_of_another_program(valkey_url: str, tmp_path: Path, online: redis.Redis, project: str) -> None:
    """Definitions that this program cannot read are 503 while it has no others; else flags answer their defaults."""
    world = publish(online, project)
    tag = f"{{{world.project}}}"

    def decide() -> httpx.Response:
        return api.http.get(f"/v1/decide?{WHO}&flag=banner", headers={"x-api-key": world.keys["read"]})

    online.mset({f"{tag}:catalog:99": '{"flags": 1}', f"{tag}:catalog:current": "99"})
    with running_api(tmp_path / "log", REDIS_URL=valkey_url, PROJECT=world.project) as api:
        answer = decide()
        assert (503, "catalog_unusable") == (answer.status_code, answer.json()["code"])
        check_shape(503, answer.headers["content-type"], answer.json())
        online.set(f"{tag}:catalog:current", 1)
        assert "vip" == until(decide, "stale", None)["variant"]
        online.set(f"{tag}:catalog:current", 99)
        found = until(decide, "stale", "catalog_unusable")
        assert ("plain", "ERROR", None) == (found["variant"], found["reason"], found["profileId"])


def until(decide: Callable[[], httpx.Response], field: str, value: object) -> dict[str, Any]:
    """The first answer that has a value in a field: within a second of the change."""
    begin = time.monotonic()
    while time.monotonic() - begin < 1:
        answer: dict[str, Any] = decide().json()
        if answer.get(field) == value and "flag" in answer:
            return answer
        time.sleep(0.01)
    raise AssertionError(answer)


def test_a_store_that_is_away(home: Home, tmp_path: Path, project: str) -> None:
    """The API starts without its store and says 503; once it was there decisions go on without it, and recover."""
    with running_api(tmp_path / "log", HOME=str(home.path), PROJECT=project) as api:
        check_away(api, new_key("read"))
        world = publish(connect(embedded.start(home.valkey)), project)
        wait_until_it_keeps(api)
        check_there(api, world)
        embedded.stop(home.valkey)
        headers = {"x-api-key": world.keys["read"]}
        kept, default = (api.http.get(f"/v1/decide?{who}&flag=banner", headers=headers).json() for who in (WHO, EVE))
        assert ("vip", "STALE", "store_unavailable") == (kept["variant"], kept["reason"], kept["stale"])
        assert ("plain", "ERROR", "store_unavailable") == (default["variant"], default["reason"], default["stale"])
        assert 503 == api.http.get("/health").status_code
        embedded.start(home.valkey)
        check_there(api, world)


def check_away(api: Api, key: str) -> None:
    """Health and decisions are 503 in the one shape."""
    for path in ("/health", f"/v1/decide?{WHO}&flag=banner"):
        answer = api.http.get(path, headers={"x-api-key": key})
        assert (503, "store_unavailable") == (answer.status_code, answer.json()["code"])
        check_shape(503, answer.headers["content-type"], answer.json())


def check_there(api: Api, world: World) -> None:
    """Health tells the snapshot, decisions are given."""
    health = api.http.get("/health").json()
    assert ("ok", True) == (health["status"], health["store"]["reachable"])
    assert 0 < health["store"]["latencyMs"] < 5_000
    assert (world.snapshot.cut, 1) == (health["snapshot"]["cut"], health["snapshot"]["catalogVersion"])
    assert health["snapshot"]["ageMs"] >= 5_000
    found = until(
        lambda: api.http.get(f"/v1/decide?{WHO}&flag=banner", headers={"x-api-key": world.keys["read"]}), "stale", None
    )
    assert "vip" == found["variant"]
