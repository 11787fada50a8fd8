"""`POST /ingest/{project}/{pipeline}`: events that are checked against the schema of their pipeline.

A request has a write key, or is signed with the pipeline's secret.
"""

import time
from collections import Counter
from typing import Any, Final

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from dsl.nearest import nearest
from serving.http.bodies import inflated, json_answer, read_bytes
from serving.http.ingest_plane import IngestPlane, idempotency_key
from serving.http.openapi import answers, json_body
from serving.http.other_dialects import rejection
from serving.http.problems import Problem, ProblemItem
from serving.ingest.conformity import examine_by
from serving.ingest.intake import Parcel, Taken
from serving.ingest.webhook_signature import SignatureError, verify

_FAILURES: Final = (400, 401, 403, 404, 408, 409, 413, 415, 422, 500, 503)
_SIGNATURES: Final = ("webhook-signature", "x-webhook-signature")


class PipelineItem(msgspec.Struct, frozen=True):
    """One event; names in camel case (`userId`) are understood too.

    Attributes:
        event: its name, which the pipeline declares.
        properties: its fields.
    """

    event: str
    user_id: str | int | None = None
    anonymous_id: str | int | None = None
    email: str | None = None
    device_id: str | int | None = None
    external_id: str | int | None = None
    event_id: str | None = None
    timestamp: str | None = None
    properties: dict[str, Any] | None = None


class PipelineBatch(msgspec.Struct, frozen=True):
    """Several events; a bare list is one too."""

    events: list[PipelineItem]


class FieldError(msgspec.Struct, frozen=True):
    """One thing that is wrong with an event."""

    path: str
    message: str


class PipelineResult(msgspec.Struct, frozen=True, rename="camel"):
    """What became of an event.

    Attributes:
        code: `accepted`, `duplicate`, `late`, or why it was not accepted.
    """

    index: int
    event_id: str
    accepted: bool
    code: str
    profile_id: str
    errors: list[FieldError]


class PipelineAnswer(msgspec.Struct, frozen=True):
    """Events that were accepted are durable; the others are kept as dead letters."""

    success: bool
    accepted: int
    rejected: int
    results: list[PipelineResult]


DESCRIBED: Final = (PipelineItem, PipelineBatch, FieldError, PipelineResult, PipelineAnswer)
"""Types of the OpenAPI page."""
router = APIRouter(prefix="/ingest/{project}/{pipeline}", tags=["ingest"])


@router.post("", responses=answers(PipelineAnswer, failures=_FAILURES), openapi_extra=json_body(PipelineItem))
async def ingest_event(request: Request, project: str, pipeline: str) -> Response:
    """One event; one that is not as the pipeline says is a 422 that names every field."""
    body = await _admitted(request, project, pipeline)
    (taken,) = await _take(request, pipeline, [body])
    if not taken.is_accepted:
        raise rejection(taken)
    return _answer([taken])


@router.post("/batch", responses=answers(PipelineAnswer, failures=_FAILURES), openapi_extra=json_body(PipelineBatch))
async def ingest_batch(request: Request, project: str, pipeline: str) -> Response:
    """Several events: a result for each."""
    body = await _admitted(request, project, pipeline)
    events = body.get("events") if isinstance(body, dict) else body
    if not isinstance(events, list):
        detail = "the body is no batch: expected a list, or an object with the list `events`"
        raise Problem("invalid_event", detail, (ProblemItem("invalid_event", detail, "$.events"),))
    return _answer(await _take(request, pipeline, events))


async def _admitted(request: Request, project: str, pipeline: str) -> Any:
    """The body of a request that may write into the pipeline."""
    plane = IngestPlane.of(request)
    if project != plane.project:
        detail = f"this server takes in events of the project `{plane.project}`"
        raise Problem("project_not_found", detail, (ProblemItem("project_not_found", detail, "path.project"),))
    content = await read_bytes(request)
    if any(name in request.headers for name in _SIGNATURES):
        try:
            verify(request.headers, content, await plane.webhook_secrets(pipeline), int(time.time()))
        except SignatureError as error:
            raise Problem("signature_invalid", str(error), (ProblemItem("signature_invalid", str(error)),)) from error
    else:
        await plane.require_writer(request)
    return inflated(request, content)


async def _take(request: Request, key: str, events: list[Any]) -> list[Taken]:
    plane = IngestPlane.of(request)
    compiled = await plane.pipelines()
    pipeline = compiled.get(key)
    if pipeline is None:
        near = nearest(key, compiled)
        advice = f"the nearest is `{near}`" if near else "`tinycdp pipelines list` names them"
        detail = f"there is no pipeline `{key[:80]}`"
        raise Problem(
            "pipeline_not_found", detail, (ProblemItem("pipeline_not_found", detail, "path.pipeline", advice),)
        )
    counted = Counter[tuple[str, str, str]]()
    parcel = Parcel(
        f"pipeline:{key}", events, idempotency_key=idempotency_key(request), examine=examine_by(pipeline, counted)
    )
    taken = await plane.take(parcel)
    await plane.count_violations(counted)
    return taken


def _answer(taken: list[Taken]) -> Response:
    results = [_result(place, each) for place, each in enumerate(taken)]
    accepted = sum(each.accepted for each in results)
    answer = PipelineAnswer(True, accepted, len(results) - accepted, results)
    return json_answer(answer)


def _result(place: int, taken: Taken) -> PipelineResult:
    errors = [] if taken.is_accepted else [FieldError(*each) for each in ((taken.path, taken.detail), *taken.more)]
    return PipelineResult(place, taken.event_id, taken.is_accepted, taken.code, taken.profile_id, errors)
