"""`/ofrep/v1/evaluate/flags`: OpenFeature's remote evaluation protocol 0.3, for its clients as they are published."""

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec
from fastapi import APIRouter, Request, Security
from starlette.responses import Response

from dsl.numbers import write_number
from serving.decide import Answered, Asked, UnknownFlagsError
from serving.http.addressed import addressed
from serving.http.auth import DOCUMENTED, authorise
from serving.http.bodies import json_answer, read_bytes
from serving.http.decisions import flag_not_found
from serving.http.ofrep_answers import FLAGS, Metadata, OfrepEvaluation, OfrepEvaluations, OfrepFailure, evaluation
from serving.http.openapi import answers, json_body, query_parameters
from serving.http.plane import Plane
from serving.http.problems import Problem, ProblemCode, ProblemItem
from serving.http.question import LARGEST_BODY_BYTES, read_exactly

_FAILURES: Final = (400, 401, 403, 408, 413, 500, 503)
_TARGETING_KEY: Final = "targetingKey"
_ENTITY_TAG: Final = re.compile(r'(?:W/)?("[\x21\x23-\x7e\x80-\xff]*")')
_MOVING: Final = ("asOf", "asOfSeq", "snapshotAgeSeconds", "expiresAt")
"""Metadata that changes while the answer stays what it is."""


class OfrepRequest(msgspec.Struct, frozen=True):
    """Whom and what a flag is asked about.

    Attributes:
        context: `targetingKey` says who: a user's own id, the id of a profile, or `<kind>:<value>` (`user`, `external`,
            `email`, `device`, `anon`). All else is what conditions read as `context.…`.
    """

    context: dict[str, Any]


DESCRIBED: Final = (OfrepRequest, OfrepEvaluation, OfrepEvaluations, OfrepFailure)
"""Types of the OpenAPI page."""
_DOCUMENTED: Final = json_body(OfrepRequest) | query_parameters(
    {"exposures": "`0` does not log which variants chance showed."}
)
router = APIRouter(prefix=FLAGS, tags=["ofrep"], dependencies=[Security(scheme) for scheme in DOCUMENTED])


class _Question(NamedTuple):
    who: str
    context: Mapping[str, object]
    exposes: bool


@router.post(
    "",
    responses=answers(OfrepEvaluations, failures=_FAILURES, failure=OfrepFailure)
    | {304: {"description": "Nothing has changed since the answer that `If-None-Match` names"}},
    openapi_extra=_DOCUMENTED,
)
async def evaluate_all(request: Request) -> Response:
    """All flags about one profile, from one state; with the `ETag` of before in `If-None-Match`, only what changed."""
    question = await _asked(request)
    answered, project = await _ask(request, question, None), Plane.of(request).project.project
    found = [evaluation(answered, decision, project) for decision in answered.decisions]
    tag = _entity_tag(question, answered, found)
    headers = {"etag": tag, "cache-control": "private, no-cache"}
    if _is_known(tag, request.headers.getlist("if-none-match")):
        return Response(status_code=304, headers=headers)
    shared: Metadata = {"flagSetId": project, "catalogVersion": answered.catalog_version}
    return json_answer(OfrepEvaluations(found, shared), headers=headers)


@router.post(
    "/{key:path}",
    responses=answers(OfrepEvaluation, failures=(*_FAILURES, 404, 422), failure=OfrepFailure),
    openapi_extra=_DOCUMENTED,
)
async def evaluate_flag(request: Request, key: str) -> Response:
    """One flag about one profile."""
    question = await _asked(request)
    answered = await _ask(request, question, (key,))
    (decision,) = answered.decisions
    found = evaluation(answered, decision, Plane.of(request).project.project)
    return json_answer(found, headers={"cache-control": "no-store"})


async def _asked(request: Request) -> _Question:
    """The question of a request that may ask."""
    await authorise(request, "read")
    body = read_exactly(await read_bytes(request, LARGEST_BODY_BYTES))
    if not isinstance(body, dict):
        raise _problem("invalid_context", 'the body is no object: send `{"context": {"targetingKey": …}}`', "$")
    context = body.get("context", {})
    if not isinstance(context, dict):
        raise _problem("invalid_context", "`context` is no object", "$.context")
    key = context.get(_TARGETING_KEY) or ""
    if isinstance(key, bool) or not isinstance(key, str | int):
        raise _problem("invalid_context", f"`{_TARGETING_KEY}` is no text", f"$.context.{_TARGETING_KEY}")
    who = addressed(write_number(key) if isinstance(key, int) else key)
    if who is None:
        detail = f"`{_TARGETING_KEY}` names nobody: send a user's id, a profile's, or `<kind>:<value>`"
        raise _problem("identifier_missing", detail, f"$.context.{_TARGETING_KEY}")
    rest = {name: value for name, value in context.items() if name != _TARGETING_KEY}
    return _Question(who, rest, request.query_params.get("exposures") not in ("0", "false"))


async def _ask(request: Request, question: _Question, flags: tuple[str, ...] | None) -> Answered:
    asked = Asked(question.who, flags, question.context, exposes=question.exposes)
    try:
        return await Plane.of(request).decider.ask(asked)
    except UnknownFlagsError as error:
        raise flag_not_found(error) from error


def _entity_tag(question: _Question, answered: Answered, found: list[OfrepEvaluation]) -> str:
    """Names all that an answer is made of: definitions, who and what was asked, and every value that decided."""
    told = [
        msgspec.structs.replace(each, metadata={n: value for n, value in each.metadata.items() if n not in _MOVING})
        for each in found
    ]
    made_of = (answered.catalog_version, question.who, question.context, told)
    return f'"{hashlib.sha256(msgspec.json.encode(made_of, order="sorted")).hexdigest()[:32]}"'


def _is_known(tag: str, given: list[str]) -> bool:
    """Whether a tag is among those of `If-None-Match`, compared weakly (RFC 9110); `*` is any."""
    listed = ",".join(given)
    return listed.strip() == "*" or tag in _ENTITY_TAG.findall(listed)


def _problem(code: ProblemCode, detail: str, path: str) -> Problem:
    return Problem(code, detail, (ProblemItem(code, detail, path),))
