"""Segment's HTTP tracking API, which is TinyCDP's own too: single events, batches, and what browsers ask besides."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from serving.http.bodies import json_answer, read_events
from serving.http.ingest_plane import IngestPlane, idempotency_key
from serving.http.openapi import answers, json_body
from serving.http.problems import Problem, ProblemItem
from serving.ingest.intake import Parcel, Taken
from serving.ingest.sent import Envelope

FAILURES: Final = (400, 401, 403, 408, 413, 415, 500, 503)
_SINGLE: Final[Mapping[str, str]] = {
    kind: kind for kind in ("identify", "track", "page", "screen", "group", "alias")
} | {"i": "identify", "t": "track", "p": "page", "s": "screen", "g": "group", "a": "alias"}
_BATCH: Final = ("batch", "b", "import")


class TrackingEvent(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """One event as Segment's libraries send it; `ts`, `props`, `externalId`, `deviceId` and `email` are ours.

    Fields that are not listed are kept where they are of the context, and otherwise passed over.
    """

    type: str | None = None
    message_id: str | None = None
    user_id: str | int | None = None
    anonymous_id: str | int | None = None
    external_id: str | int | None = None
    device_id: str | int | None = None
    email: str | None = None
    previous_id: str | int | None = None
    group_id: str | int | None = None
    event: str | None = None
    name: str | None = None
    category: str | None = None
    timestamp: str | None = None
    ts: str | None = None
    sent_at: str | None = None
    properties: dict[str, Any] | None = None
    props: dict[str, Any] | None = None
    traits: dict[str, Any] | None = None
    context: dict[str, Any] | None = None
    write_key: str | None = None


class TrackingBatch(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """Events of any kind; each says its `type`. The context of the batch is of every event, whose own comes first."""

    batch: list[TrackingEvent]
    sent_at: str | None = None
    context: dict[str, Any] | None = None
    write_key: str | None = None


class ItemAnswer(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What became of one event; `code` is also the reason of its dead letter."""

    index: int
    message_id: str
    code: str
    message: str = ""
    path: str = ""


class TrackingAnswer(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """The request was taken in.

    Attributes:
        accepted: events that are durable, those that were accepted before among them.
        rejected: events that are not; they are kept as dead letters, and can be corrected and replayed.
        late: accepted events that are too old for the online window: they count once their ids were looked up.
        profile_id: of an identify, whose it is.
        profile_ids: of several, in order; empty texts where an event was rejected.
    """

    success: bool
    accepted: int
    rejected: list[ItemAnswer]
    late: list[ItemAnswer] = []
    profile_id: str | None = None
    profile_ids: list[str] = []


DESCRIBED: Final = (TrackingEvent, TrackingBatch, ItemAnswer, TrackingAnswer)
"""Types of the OpenAPI page."""
router = APIRouter(prefix="/v1", tags=["ingest"])


def _single(path: str, kind: str) -> None:
    @router.post(
        f"/{path}",
        name=path,
        summary=f"Take in {kind} events",
        responses=answers(TrackingAnswer, failures=FAILURES),
        openapi_extra=json_body(TrackingEvent),
    )
    async def single(request: Request) -> Response:
        """One event, or a list of them; the write key stands in the body or in the headers."""
        body = await read_events(request)
        events = body if isinstance(body, list) else [body]
        told = [event.get("writeKey") for event in events if isinstance(event, dict)]
        plane = IngestPlane.of(request)
        parcel = _parcel(request, events, Envelope(kind), await plane.require_writer(request, told))
        taken = await plane.take(parcel)
        return _answer(taken, names_profiles=kind == "identify", several=isinstance(body, list))


def _batch(path: str) -> None:
    @router.post(
        f"/{path}",
        name=path,
        summary="Take in a batch of events",
        responses=answers(TrackingAnswer, failures=FAILURES),
        openapi_extra=json_body(TrackingBatch),
    )
    async def batch(request: Request) -> Response:
        """Good events are kept, the others are named in the answer and kept as dead letters."""
        body = await read_events(request)
        if isinstance(body, list):
            body = {"batch": body}
        events = body.get("batch") if isinstance(body, dict) else None
        if not isinstance(events, list):
            detail = "the body is no batch: expected an object with the list `batch`"
            raise Problem("invalid_event", detail, (ProblemItem("invalid_event", detail, "$.batch"),))
        context = body.get("context")
        told = [body.get("writeKey"), *(event.get("writeKey") for event in events if isinstance(event, dict))]
        plane = IngestPlane.of(request)
        envelope = Envelope("", body.get("sentAt"), context if isinstance(context, dict) else {})
        parcel = _parcel(request, events, envelope, await plane.require_writer(request, told))
        return _answer(await plane.take(parcel))


for _path, _kind in _SINGLE.items():
    _single(_path, _kind)
for _path in _BATCH:
    _batch(_path)


@router.post("/m", summary="Metrics of a browser library", responses=answers(TrackingAnswer, failures=(500,)))
async def library_metrics() -> Response:
    """Accepted and passed over: libraries send counts of themselves here."""
    return json_answer(TrackingAnswer(True, 0, []))


@router.get(
    "/projects/{write_key}/settings",
    responses={
        **answers(failures=(404, 422, 500, 503)),
        200: {"description": "OK", "content": {"application/json": {}}},
    },
)
async def library_settings(request: Request, write_key: str) -> Response:
    """What Segment's browser library asks before it sends: that its events go here and nowhere else."""
    if await IngestPlane.of(request).kind_of(write_key) not in ("write", "admin"):
        raise Problem("route_not_found", "no project has this write key")
    scheme = request.headers.get("x-forwarded-proto", request.url.scheme)
    ours = {
        "apiKey": write_key,
        "apiHost": f"{request.url.netloc}/v1",
        "protocol": scheme,
        "versionSettings": {"version": "4.4.7", "componentTypes": ["browser"]},
    }
    everything = {"__default": {"enabled": True}}
    return json_answer(
        {
            "integrations": {"Segment.io": ours},
            "plan": {"track": everything, "identify": everything, "group": everything},
            "metrics": {"sampleRate": 0},
            "analyticsNextEnabled": True,
        }
    )


def _parcel(request: Request, events: Sequence[Any], envelope: Envelope, bad_keys: frozenset[str]) -> Parcel:
    return Parcel("segment", events, envelope, idempotency_key(request), bad_keys=bad_keys)


def _answer(taken: Sequence[Taken], *, names_profiles: bool = False, several: bool = True) -> Response:
    rejected = _items(taken, [place for place, each in enumerate(taken) if not each.is_accepted])
    found = TrackingAnswer(
        success=True,
        accepted=len(taken) - len(rejected),
        rejected=rejected,
        late=_items(taken, [place for place, each in enumerate(taken) if each.code == "late"]),
        profile_id=taken[0].profile_id if names_profiles and not several and taken[0].is_accepted else None,
        profile_ids=[each.profile_id for each in taken] if names_profiles and several else [],
    )
    return json_answer(found)


def _items(taken: Sequence[Taken], places: Sequence[int]) -> list[ItemAnswer]:
    told = ((place, taken[place]) for place in places)
    return [ItemAnswer(place, each.event_id, each.code, each.detail, each.path) for place, each in told]
