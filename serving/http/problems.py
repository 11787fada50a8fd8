"""Failures over HTTP: one shape for every one of them (RFC 9457, plus `code`, `message` and `errors`)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Literal

import msgspec
from starlette.responses import Response

ProblemCode = Literal[
    "body_incomplete",
    "bug",
    "catalog_unusable",
    "feature_not_found",
    "flag_missing",
    "flag_not_found",
    "http_error",
    "id_conflict",
    "identifier_invalid",
    "identifier_missing",
    "invalid_context",
    "invalid_event",
    "invalid_field",
    "invalid_identifier",
    "invalid_number",
    "invalid_request",
    "invalid_timestamp",
    "invalid_type",
    "invalid_write_key",
    "key_invalid",
    "key_missing",
    "key_wrong_kind",
    "letter_not_found",
    "malformed_json",
    "merge_refused",
    "method_not_allowed",
    "missing_field",
    "no_identifier",
    "overloaded",
    "pipeline_not_found",
    "profile_not_found",
    "project_not_found",
    "project_unknown",
    "registry_unavailable",
    "route_not_found",
    "schema_violation",
    "signature_invalid",
    "store_unavailable",
    "too_deep",
    "too_large",
    "too_late",
    "too_many_properties",
    "unsupported_encoding",
]

STATUSES: Mapping[ProblemCode, int] = {
    "body_incomplete": 408,
    "bug": 500,
    "catalog_unusable": 503,
    "feature_not_found": 404,
    "flag_missing": 400,
    "flag_not_found": 404,
    "http_error": 400,
    "id_conflict": 409,
    "identifier_invalid": 400,
    "identifier_missing": 400,
    "invalid_context": 400,
    "invalid_event": 400,
    "invalid_field": 400,
    "invalid_identifier": 400,
    "invalid_number": 400,
    "invalid_request": 422,
    "invalid_timestamp": 400,
    "invalid_type": 400,
    "invalid_write_key": 401,
    "key_invalid": 401,
    "key_missing": 401,
    "key_wrong_kind": 403,
    "letter_not_found": 404,
    "malformed_json": 400,
    "merge_refused": 409,
    "method_not_allowed": 405,
    "missing_field": 400,
    "no_identifier": 400,
    "overloaded": 503,
    "pipeline_not_found": 404,
    "profile_not_found": 404,
    "project_not_found": 404,
    "project_unknown": 503,
    "registry_unavailable": 503,
    "route_not_found": 404,
    "schema_violation": 422,
    "signature_invalid": 401,
    "store_unavailable": 503,
    "too_deep": 400,
    "too_large": 413,
    "too_late": 400,
    "too_many_properties": 400,
    "unsupported_encoding": 415,
}
"""The status of each code. `http_error` stands for whatever the framework refuses by itself and keeps its status."""


@dataclass(frozen=True, slots=True)
class ProblemItem:
    """One thing that is wrong with a request.

    Attributes:
        path: where: `query.flag`, `$.context` (of the body), `header.authorization`.
        help: what to do; may be empty.
    """

    code: ProblemCode
    message: str
    path: str = ""
    help: str = ""


@dataclass(slots=True, eq=False)  # not frozen: Python sets the traceback of an exception
class Problem(Exception):  # the word of RFC 9457
    """A failure as the sender of the request sees it.

    Attributes:
        detail: one sentence that says what and what to do.
        status: None is the status of the code.
    """

    code: ProblemCode
    detail: str
    errors: tuple[ProblemItem, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int | None = None


class ProblemDocument(msgspec.Struct, frozen=True):
    """The body of every answer that is not a success, sent as `application/problem+json`."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: ProblemCode
    message: str
    errors: tuple[ProblemItem, ...]


def problem_response(problem: Problem, request_id: str, more: Mapping[str, object] | None = None) -> Response:
    """The answer that carries `problem`; `instance` names the request, by which its log line is found.

    Args:
        more: members that the protocol of the route wants besides.
    """
    status = problem.status or STATUSES[problem.code]
    document = ProblemDocument(
        type=f"urn:tinycdp:problem:{problem.code}",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=problem.detail,
        instance=f"urn:tinycdp:request:{request_id}",
        code=problem.code,
        message=problem.detail,
        errors=problem.errors,
    )
    body = msgspec.json.encode(document if more is None else {**msgspec.structs.asdict(document), **more})
    return Response(body, status, dict(problem.headers), media_type="application/problem+json")
