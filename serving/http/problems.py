"""Failures over HTTP: one shape for every one of them (RFC 9457, plus `code`, `message` and `errors`)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Literal

import msgspec
from starlette.responses import Response

ProblemCode = Literal[
    "bug",
    "catalog_unusable",
    "flag_missing",
    "flag_not_found",
    "http_error",
    "identifier_invalid",
    "identifier_missing",
    "invalid_request",
    "key_invalid",
    "key_missing",
    "key_wrong_kind",
    "malformed_json",
    "method_not_allowed",
    "route_not_found",
    "store_unavailable",
    "too_large",
]

STATUSES: Mapping[ProblemCode, int] = {
    "bug": 500,
    "catalog_unusable": 503,
    "flag_missing": 400,
    "flag_not_found": 404,
    "http_error": 400,
    "identifier_invalid": 400,
    "identifier_missing": 400,
    "invalid_request": 422,
    "key_invalid": 401,
    "key_missing": 401,
    "key_wrong_kind": 403,
    "malformed_json": 400,
    "method_not_allowed": 405,
    "route_not_found": 404,
    "store_unavailable": 503,
    "too_large": 413,
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


def problem_response(problem: Problem, request_id: str) -> Response:
    """The answer that carries `problem`; `instance` names the request, by which its log line is found."""
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
    return Response(msgspec.json.encode(document), status, dict(problem.headers), media_type="application/problem+json")
