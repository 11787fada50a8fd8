"""`GET /health` and `GET /metrics`: whether this process can answer, and what it has counted. Neither needs a key.

There are counts and ages in them, and nobody's data.
"""

import time

import msgspec
from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import Response

from dsl.clock import format_instant
from serving.http.ingest_plane import IngestPlane
from serving.http.metrics import Metrics
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


DESCRIBED = (HealthAnswer,)
"""Types of the OpenAPI page."""
router = APIRouter(tags=["health"])


@router.get("/health", responses=answers(HealthAnswer, failures=(500, 503)))
async def health(request: Request) -> Response:
    """Whether this process can answer."""
    began = time.perf_counter()
    found = await Plane.of(request).reader.snapshot()
    store = StoreHealth(reachable=True, latency_ms=round((time.perf_counter() - began) * 1000, 3))
    answer = HealthAnswer("ok", store, _snapshot_health(found) if found else None)
    return Response(msgspec.json.encode(answer), media_type="application/json")


@router.get(
    "/metrics", responses={**answers(failures=(500, 503)), 200: {"description": "OK", "content": {"text/plain": {}}}}
)
async def read_metrics(request: Request) -> Response:
    """Counters of this process, and gauges of the project's log, worker and newest publication, for Prometheus."""
    ingest = IngestPlane.of(request)
    facts, worker = await ingest.facts(), await ingest.worker_metrics()
    published = await Plane.of(request).reader.snapshot()
    age_ms = None if published is None else published.age_ms
    return Response(Metrics.of(request).page(worker, facts.clock.now_ms(), age_ms), media_type=CONTENT_TYPE_LATEST)


def _snapshot_health(found: Snapshot) -> SnapshotHealth:
    return SnapshotHealth(found.cut, format_instant(found.as_of_ms), found.age_ms, found.catalog_version)
