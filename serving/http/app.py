"""The API as an ASGI application."""

import gc
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.decide import CatalogUnusableError, ForgetfulAppender, KeptProfiles
from serving.http import (
    checkout,
    dead_letters,
    decisions,
    features,
    health,
    identity,
    ofrep,
    other_dialects,
    pipeline_ingest,
    tracking,
)
from serving.http.hot import Around, HotRoute, hot_paths, hot_routes
from serving.http.ingest_plane import IngestPlane
from serving.http.logs import ACCESS_LOG, configure_logs, fault_fields
from serving.http.metrics import Metrics
from serving.http.ofrep_answers import failure_members
from serving.http.openapi import DocumentedApi
from serving.http.orphan import end_with_parent
from serving.http.plane import Plane
from serving.http.problems import Problem, ProblemCode, ProblemDocument, ProblemItem, problem_response
from serving.http.requests import RequestFrame, request_id
from serving.ingest.group import GroupAppender
from serving.ingest.letters import LettersUnavailableError
from serving.online import KnownProject, OnlineAppender, OnlineStoreError, connect_async, embedded_url
from serving.online.append import AppendRules
from serving.online.exceptions import BackPressureError
from warehouse.settings import Settings

_log = structlog.get_logger("tinycdp.http")
_DESCRIPTION = "Keys go into `Authorization: Bearer KEY`, `X-API-Key`, or Basic with the key as user."
_ALLOWED_HEADERS = (
    "authorization",
    "content-encoding",
    "content-type",
    "idempotency-key",
    "if-none-match",
    "x-api-key",
    "x-request-id",
    "x-retry-count",
)
_PLANES: Mapping[str, tuple[Any, ...]] = {
    "decide": (decisions, ofrep, checkout, features),
    "ingest": (tracking, other_dialects, pipeline_ingest),
    "admin": (identity, dead_letters),
}
"""Modules of routes: each has `router`, and in `DESCRIBED` the types of its OpenAPI page."""
_CROSS_ORIGIN: Mapping[str, Any] = {
    "allow_origins": ["*"],
    "allow_methods": ["GET", "POST", "PUT", "DELETE", "OPTIONS"],
    "allow_headers": _ALLOWED_HEADERS,
    "expose_headers": ["retry-after", "x-request-id", "etag"],
    "max_age": 7_200,
}
_FAILURES: tuple[type[Exception], ...] = (
    Problem,
    OnlineStoreError,
    CatalogUnusableError,
    LettersUnavailableError,
    HTTPException,
    RequestValidationError,
)
_GARBAGE_AT = 50_000
"""Objects that are new, beyond which garbage is looked for: some megabytes."""
_SOON = {"retry-after": "1"}
_REFUSED: dict[int, tuple[ProblemCode, str]] = {
    404: ("route_not_found", "nothing is here: the paths are listed at /docs"),
    413: ("too_large", "the body is too large"),
    405: ("method_not_allowed", "this path takes other methods: see the header `Allow`"),
}


def factory() -> FastAPI:
    """The application with the settings of the environment: what each worker of `serving.http.server` loads."""
    settings = Settings.read()
    configure_logs(settings.log_level)
    end_with_parent()
    app = create_app(settings)
    # What is there now stays: looking through all of it for garbage would hold up requests for some 50 ms each time.
    gc.freeze()
    # Requests that are under way together hold thousands of objects, next to none of which are in a cycle: to look
    # through them at every 700 takes a twentieth of all time.
    gc.set_threshold(_GARBAGE_AT)
    return app


def create_app(settings: Settings) -> FastAPI:
    """The application for one project.

    It connects at the first request, so it starts, and answers 503, while the store is away.
    """
    url = settings.redis_url or embedded_url(settings.home.valkey)
    client = connect_async(url)
    project = KnownProject(client, settings.project)
    profiles = KeptProfiles(settings.project, settings.decide_most_kept)
    rules = AppendRules(settings.dedup_ttl_ms, settings.max_log)
    appends = GroupAppender(ForgetfulAppender(OnlineAppender(client, settings.project, rules), profiles))
    app = _Api(
        title="TinyCDP",
        version="1",
        description=_DESCRIPTION,
        lifespan=_lifespan,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.plane = Plane.connected(url, project, profiles, appends, settings)
    app.state.settings = settings
    app.state.metrics = Metrics()
    app.state.metrics.show_decisions(app.state.plane.decider.counts, lambda: app.state.plane.is_watching)
    app.state.ingest = IngestPlane(client, settings, app.state.metrics, project, appends)
    modules = [module for plane, its in _PLANES.items() if plane in settings.planes for module in its]
    app.described = (ProblemDocument, *(each for module in [*modules, health] for each in module.DESCRIBED))
    for module in [*modules, health]:
        app.include_router(module.router)
    app.hot = [route for module in [*modules, health] for route in hot_routes(module.router)]
    app.add_middleware(CORSMiddleware, **_CROSS_ORIGIN)
    for failure in _FAILURES:
        app.add_exception_handler(failure, _answer_problem)
    app.add_exception_handler(Exception, _answer_bug)
    return app


class _Api(DocumentedApi):
    """The frame is outermost, so that answers to our own faults have an id and a line in the log too.

    Attributes:
        hot: routes that are served past the framework.
    """

    hot: Sequence[HotRoute] = ()
    _frame: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if self._frame is None:
            hot = hot_paths(self.hot, Around(_FAILURES, _answer_problem, _answer_bug, _CROSS_ORIGIN))
            self._frame = RequestFrame(super().__call__, hot, self.state.metrics.observe)
        scope["app"] = self
        await self._frame(scope, receive, send)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.plane.start()
    yield
    await app.state.plane.close()
    await app.state.ingest.close()
    ACCESS_LOG.flush()


def _answer_problem(request: Request, error: Exception) -> Response:
    return _answered(request, _problem(request, error))


def _answer_bug(request: Request, error: Exception) -> Response:
    _log.error("bug", **fault_fields(error))
    problem = Problem("bug", "this is a fault of TinyCDP, not of the request: report it with the request's id")
    response = _answered(request, problem)
    if "origin" in request.headers:
        # What adds this to other answers stands inside of what catches faults.
        response.headers["access-control-allow-origin"] = "*"
    return response


def _answered(request: Request, problem: Problem) -> Response:
    more = failure_members(request.scope["path"], problem)
    return problem_response(problem, request_id(request.scope), more)


def _problem(request: Request, error: Exception) -> Problem:
    match error:
        case Problem():
            return error
        case BackPressureError():
            headers = {"retry-after": str(error.retry_after_s)}
            return Problem("overloaded", "too many events wait to be landed: send these again later", headers=headers)
        case OnlineStoreError():
            # Its own text names addresses of the inside, and a store may repeat what it was asked.
            _log.warning("store_unavailable", error_type=type(error.__cause__ or error).__name__)
            return Problem(
                "store_unavailable", "the online store does not answer: try again in a moment", headers=_SOON
            )
        case LettersUnavailableError():
            _log.error("registry_unavailable", detail=str(error))
            return Problem("registry_unavailable", str(error), headers=_SOON)
        case CatalogUnusableError():
            _log.error("catalog_unusable", detail=str(error))
            return Problem("catalog_unusable", str(error))
        case RequestValidationError():
            return _validation_problem(error)
        case HTTPException():
            return _refusal(request, error)
    raise error


def _refusal(request: Request, error: HTTPException) -> Problem:
    code, detail = _REFUSED.get(error.status_code, ("http_error", str(error.detail)))
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers = {"allow": ", ".join(_methods(request)) or headers.get("Allow", "")}
    return Problem(code, detail, (ProblemItem(code, detail),), headers, error.status_code)


def _methods(request: Request) -> list[str]:
    """Methods of this path; Starlette itself names those of the first route that has it, and no more."""
    path = getattr(request.scope.get("route"), "path", "")
    return sorted(method.upper() for method in request.app.openapi()["paths"].get(path, ()))


def _validation_problem(error: RequestValidationError) -> Problem:
    items = tuple(
        ProblemItem("invalid_request", str(found["msg"]), ".".join(str(part) for part in found["loc"]))
        for found in error.errors()
    )
    return Problem("invalid_request", "the request is not of the expected shape: see `errors`", items)
