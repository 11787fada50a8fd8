"""Requests that bring events and fail: one shape for all of them, and what is not accepted is kept."""

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from serving.http.problems import STATUSES
from tests.ingest.conftest import Shop


@dataclass(frozen=True, slots=True)
class Failing:
    """A POST that fails, and how; `{project}` in its path stands for that."""

    code: str
    path: str
    body: str
    kind: str = "write"
    headers: dict[str, str] = field(default_factory=dict)


def track(code: str, **event: Any) -> Failing:
    """A single event that is not accepted."""
    return Failing(code, "/track", json.dumps({"event_type": "e", "user_id": "a", **event}))


FAILING = [
    track("invalid_field", event_type=5),
    track("invalid_identifier", user_id=[]),
    track("invalid_timestamp", occurred_at="yesterday"),
    track("missing_field", event_type=None),
    track("no_identifier", user_id="guest"),
    track("too_late", occurred_at="2001-01-01T00:00:00Z"),
    track("too_many_properties", properties={str(number): 1 for number in range(301)}),
    track("too_large", properties={"text": "x" * 40_000}),
    Failing("too_deep", "/track", '{"event_type":"e","user_id":"a","properties":{"x":' + "[" * 40 + "]" * 40 + "}}"),
    Failing("invalid_number", "/track", '{"event_type":"e","user_id":"a","properties":{"x":NaN}}'),
    Failing("invalid_event", "/track", "7"),
    Failing("invalid_event", "/v1/batch", "{}"),
    Failing("malformed_json", "/v1/batch", "{"),
    Failing("unsupported_encoding", "/v1/batch", "{}", headers={"content-encoding": "br"}),
    Failing("invalid_write_key", "/v1/batch", '{"batch": []}', "none"),
    Failing("key_wrong_kind", "/v1/batch", '{"batch": []}', "read"),
    Failing("pipeline_not_found", "/ingest/{project}/none", "{}"),
    Failing("project_not_found", "/ingest/another/none", "{}"),
    Failing("signature_invalid", "/ingest/{project}/none", "{}", headers={"x-webhook-signature": "sha256=0"}),
    Failing("letter_not_found", "/v1/admin/dead-letters/replay", '{"ids": [999999]}', "admin"),
    Failing("invalid_request", "/v1/admin/dead-letters/replay", "{}", "admin"),
    Failing("id_conflict", "/track", '{"event_type":"e","user_id":"a","event_id":"once","properties":{"n":2}}'),
]


@pytest.mark.parametrize("failing", FAILING, ids=lambda failing: failing.code)
def test_every_failure_has_the_shape(shop: Shop, failing: Failing) -> None:
    """RFC 9457 with `code` and `message`, without which Segment's libraries repeat for ever."""
    shop.post("/track", {"event_type": "e", "user_id": "a", "event_id": "once", "properties": {"n": 1}})
    headers = {} if failing.kind == "none" else shop.headers(failing.kind)  # type: ignore[arg-type]  # a kind
    path = failing.path.format(project=shop.project)
    answer = shop.api.http.post(path, content=failing.body, headers={**headers, **failing.headers})
    body = answer.json()
    assert (failing.code, "application/problem+json") == (body["code"], answer.headers["content-type"])
    status = next(number for code, number in STATUSES.items() if code == failing.code)
    assert [status] * 2 == [answer.status_code, body["status"]]
    assert body["detail"] == body["message"] != ""
    assert all({"code", "message", "path", "help"} == set(item) for item in body["errors"])
    assert body["errors"]
