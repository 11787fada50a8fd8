"""`GET /health`: whether decisions can be answered, and from how old a snapshot. Needs no key."""

import time

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from dsl.clock import format_instant
from serving.http.openapi import answers
from serving.http.plane import Plane
from serving.online import Snapshot


class StoreHealth(msgspec.Struct, frozen=True, rename="camel"):
    """The online store: whether it answered, and within how many milliseconds."""

    reachable: bool
    latency_ms: float


class SnapshotHealth(msgspec.Struct, frozen=True, rename="camel"):
    """The newest publication: its cut, its instant, how long ago that was."""

    cut: int
    as_of: str
    age_ms: int
    catalog_version: int


class HealthAnswer(msgspec.Struct, frozen=True):
    """The store answers; `snapshot` is null when nothing was ever published. A store that is away is a 503."""

    status: str
    store: StoreHealth
    snapshot: SnapshotHealth | None


router = APIRouter(tags=["health"])


@router.get("/health", responses=answers(HealthAnswer, failures=(500, 503)))
async def health(request: Request) -> Response:
    """Whether this process can answer."""
    began = time.perf_counter()
    found = await Plane.of(request).reader.snapshot()
    store = StoreHealth(reachable=True, latency_ms=round((time.perf_counter() - began) * 1000, 3))
    answer = HealthAnswer("ok", store, _snapshot_health(found) if found else None)
    return Response(msgspec.json.encode(answer), media_type="application/json")


def _snapshot_health(found: Snapshot) -> SnapshotHealth:
    return SnapshotHealth(found.cut, format_instant(found.as_of_ms), found.age_ms, found.catalog_version)
