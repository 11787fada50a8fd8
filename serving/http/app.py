"""The API as an ASGI application."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp

from serving.decide import Catalogs, CatalogUnusableError
from serving.http import dead_letters, decisions, health, identity, other_dialects, pipeline_ingest, tracking
from serving.http.ingest_plane import IngestPlane
from serving.http.logs import configure_logs, fault_fields
from serving.http.metrics import Metrics
from serving.http.openapi import DocumentedApi
from serving.http.orphan import end_with_parent
from serving.http.plane import Plane
from serving.http.problems import Problem, ProblemCode, ProblemDocument, ProblemItem, problem_response
from serving.http.requests import RequestFrame, request_id
from serving.ingest.letters import LettersUnavailableError
from serving.online import OnlineReader, OnlineStoreError, connect_async, embedded_url
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
    "decide": (decisions,),
    "ingest": (tracking, other_dialects, pipeline_ingest),
    "admin": (identity, dead_letters),
}
"""Modules of routes: each has `router`, and in `DESCRIBED` the types of its OpenAPI page."""
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
    return create_app(settings)


def create_app(settings: Settings) -> FastAPI:
    """The application for one project.

    It connects at the first request, so it starts, and answers 503, while the store is away.
    """
    url = settings.redis_url or embedded_url(settings.home.valkey)
    client = connect_async(url)
    reader = OnlineReader(client, settings.project)
    app = _Api(
        title="TinyCDP",
        version="1",
        description=_DESCRIPTION,
        lifespan=_lifespan,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.plane = Plane(reader, Catalogs(reader))
    app.state.settings = settings
    app.state.metrics = Metrics()
    app.state.ingest = IngestPlane(client, settings, app.state.metrics)
    modules = [module for plane, its in _PLANES.items() if plane in settings.planes for module in its]
    app.described = (ProblemDocument, *(each for module in [*modules, health] for each in module.DESCRIBED))
    for module in [*modules, health]:
        app.include_router(module.router)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=["*"],
        allow_methods=["GET", "POST", "PUT", "DELETE", "OPTIONS"],
        allow_headers=_ALLOWED_HEADERS,
        expose_headers=["retry-after", "x-request-id", "etag"],
        max_age=7_200,
    )
    app.add_exception_handler(Problem, _answer_problem)
    app.add_exception_handler(OnlineStoreError, _answer_problem)
    app.add_exception_handler(CatalogUnusableError, _answer_problem)
    app.add_exception_handler(LettersUnavailableError, _answer_problem)
    app.add_exception_handler(HTTPException, _answer_problem)
    app.add_exception_handler(RequestValidationError, _answer_problem)
    app.add_exception_handler(Exception, _answer_bug)
    return app


class _Api(DocumentedApi):
    """The frame is outermost, so that answers to our own faults have an id and a line in the log too."""

    def build_middleware_stack(self) -> ASGIApp:
        """What serves a connection."""
        return RequestFrame(super().build_middleware_stack(), self.state.metrics.observe)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield
    await app.state.plane.reader.close()


def _answer_problem(request: Request, error: Exception) -> Response:
    return problem_response(_problem(request, error), request_id(request.scope))


def _answer_bug(request: Request, error: Exception) -> Response:
    _log.error("bug", **fault_fields(error))
    problem = Problem("bug", "this is a fault of TinyCDP, not of the request: report it with the request's id")
    return problem_response(problem, request_id(request.scope))


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
