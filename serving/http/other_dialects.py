"""Routes of two systems that this one takes the place of: mini-cdp and the CDP module, in their own shapes."""

from typing import Any, Final

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from serving.http.bodies import json_answer, read_events
from serving.http.ingest_plane import IngestPlane, idempotency_key
from serving.http.openapi import answers, json_body
from serving.http.problems import Problem, ProblemItem
from serving.http.tracking import FAILURES
from serving.ingest.intake import Parcel, Taken
from serving.ingest.sent import Envelope

_REFUSED: Final = (*FAILURES, 409)


class MiniIdentify(msgspec.Struct, frozen=True):
    """Who somebody is, and attributes of theirs."""

    email: str | None = None
    user_id: str | int | None = None
    anonymous_id: str | int | None = None
    traits: dict[str, Any] | None = None
    event_id: str | None = None


class MiniTrack(msgspec.Struct, frozen=True):
    """What somebody did."""

    event_type: str
    user_id: str | int | None = None
    anonymous_id: str | int | None = None
    email: str | None = None
    properties: dict[str, Any] | None = None
    occurred_at: str | None = None
    event_id: str | None = None


class MiniAnswer(msgspec.Struct, frozen=True):
    """The event is durable; `code` is `accepted`, `duplicate` or `late`."""

    success: bool
    code: str
    event_id: str
    profile_id: str


class CdpPayload(msgspec.Struct, frozen=True, rename="camel"):
    """Whom it is about, and what."""

    type: str
    user_id: str | None = None
    email: str | None = None
    anonymous_id: str | None = None
    name: str | None = None
    properties: dict[str, Any] | None = None
    traits: dict[str, Any] | None = None


class CdpEvent(msgspec.Struct, frozen=True, rename="camel"):
    """An event of the CDP module."""

    event_id: str
    payload: CdpPayload
    ts: str | None = None


class CdpAccepted(msgspec.Struct, frozen=True, rename="camel"):
    """The event is durable, now or since before."""

    status: str
    event_id: str


class CdpError(msgspec.Struct, frozen=True):
    """The event was not accepted; it is kept as a dead letter."""

    status: str
    message: str


DESCRIBED: Final = (MiniIdentify, MiniTrack, MiniAnswer, CdpEvent, CdpPayload, CdpAccepted, CdpError)
"""Types of the OpenAPI page."""
router = APIRouter(tags=["ingest"])


@router.post(
    "/identify",
    responses=answers(MiniAnswer, failures=_REFUSED),
    openapi_extra=json_body(MiniIdentify),
    name="mini_identify",
)
async def mini_identify(request: Request) -> Response:
    """mini-cdp: create or change a profile."""
    return await _mini(request, "identify")


@router.post(
    "/track", responses=answers(MiniAnswer, failures=_REFUSED), openapi_extra=json_body(MiniTrack), name="mini_track"
)
async def mini_track(request: Request) -> Response:
    """mini-cdp: an event."""
    return await _mini(request, "track")


@router.post(
    "/cdp/ingest",
    status_code=202,
    responses=answers(CdpAccepted, failures=(401, 403, 408, 413, 415, 500, 503), success=202)
    | answers(CdpError, failures=(), success=400),
    openapi_extra=json_body(CdpEvent),
)
async def cdp_ingest(request: Request) -> Response:
    """The CDP module: one event; sent again it is accepted once."""
    plane = IngestPlane.of(request)
    await plane.require_writer(request)
    try:
        body = await read_events(request)
    except Problem as problem:
        if problem.code != "malformed_json":
            raise
        return _cdp_error(problem.detail)
    (taken,) = await plane.take(Parcel("cdp", [body], idempotency_key=idempotency_key(request)))
    if taken.is_accepted:
        return json_answer(CdpAccepted("accepted", taken.event_id), 202)
    return _cdp_error(_CDP_SENTENCES.get(taken.code, taken.detail))


_CDP_SENTENCES: Final = {"no_identifier": "At least one of userId, email, or anonymousId must be present"}


async def _mini(request: Request, kind: str) -> Response:
    plane = IngestPlane.of(request)
    await plane.require_writer(request)
    parcel = Parcel("mini", [await read_events(request)], Envelope(kind), idempotency_key(request))
    (taken,) = await plane.take(parcel)
    if not taken.is_accepted:
        raise rejection(taken)
    return json_answer(MiniAnswer(True, taken.code, taken.event_id, taken.profile_id))


def rejection(taken: Taken) -> Problem:
    """The answer where a single event was not accepted."""
    places = [(taken.path, taken.detail), *taken.more]
    items = tuple(ProblemItem(taken.code, text, path) for path, text in places)  # type: ignore[arg-type]  # no success
    return Problem(taken.code, f"{taken.detail}; it is kept as a dead letter", items)  # type: ignore[arg-type]  # as above


def _cdp_error(message: str) -> Response:
    return json_answer(CdpError("error", message), 400)
