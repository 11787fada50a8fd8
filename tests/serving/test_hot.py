"""Hot routes: the same functions, the same answers, past the framework."""

import asyncio
import io
import json
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, Depends, Security
from fastapi.security import HTTPBearer
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from serving.http import tracking
from serving.http.app import create_app
from serving.http.hot import HotRoute, hot_routes
from serving.http.logs import AccessLog
from warehouse.settings import Home, Settings


def app_of(tmp_path: Any, *more: HotRoute) -> Any:
    """An app of a project whose store is away, with further hot routes."""
    app: Any = create_app(Settings(Home(tmp_path), redis_url="redis://127.0.0.1:1/0"))
    app.hot = [*app.hot, *more]
    return app


def asked(app: Any, method: str, path: str, **more: Any) -> httpx.Response:
    """An answer of the app in this process."""

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://api") as http:
            return await http.request(method, path, **more)

    return asyncio.run(ask())


async def alone(request: Request) -> Response:
    """A function of the request."""
    return PlainTextResponse(request.method)


async def none() -> Response:
    """A function of nothing."""
    return PlainTextResponse("")


async def broken(_: Request) -> Response:
    """A fault of ours."""
    raise LookupError("ann@example.com")


def test_which_routes_are_hot() -> None:
    """A fixed path, a function of the request alone, and nothing that the framework has to see to, such as a key."""
    router = APIRouter(prefix="/v1")
    router.add_api_route("/a", alone, methods=["POST"])
    router.add_api_route("/b", none)
    router.add_api_route("/c/{name}", alone)
    router.add_api_route("/d", alone, dependencies=[Depends(none)])
    router.add_api_route("/e", alone, dependencies=[Security(HTTPBearer(auto_error=True))])
    router.add_api_route("/f", alone, dependencies=[Security(HTTPBearer(auto_error=False))])
    assert [HotRoute("POST", "/v1/a", alone), HotRoute("GET", "/v1/f", alone)] == hot_routes(router)


def test_tracking_is_hot() -> None:
    """Every route of the tracking API that takes events; not the one that does nothing, the measure of others."""
    paths = {route.path for route in hot_routes(tracking.router)}
    assert {"/v1/track", "/v1/t", "/v1/identify", "/v1/batch", "/v1/b"} <= paths
    assert "/v1/m" not in paths


def test_a_hot_route_is_documented(tmp_path: Any) -> None:
    """Whatever is hot is a declared route, whose page says what it takes and answers."""
    app = app_of(tmp_path)
    documented = app.openapi()["paths"]
    assert all("responses" in documented[route.path][route.method.lower()] for route in app.hot)


def test_other_origins(tmp_path: Any) -> None:
    """A page of another origin is let in on hot routes as on others, and its preflight; nobody else is told of that."""
    app = app_of(tmp_path, HotRoute("POST", "/hot", alone))
    origin = {"origin": "https://shop.example"}
    hot = asked(app, "POST", "/hot", headers=origin)
    plain = asked(app, "POST", "/v1/m", headers=origin)
    for name in ("access-control-allow-origin", "access-control-expose-headers"):
        assert plain.headers[name] == hot.headers[name]
    assert ("*", 200) == (hot.headers["access-control-allow-origin"], hot.status_code)
    preflight = asked(app, "OPTIONS", "/v1/track", headers={**origin, "access-control-request-method": "POST"})
    assert (200, "*") == (preflight.status_code, preflight.headers["access-control-allow-origin"])
    assert "access-control-allow-origin" not in asked(app, "POST", "/hot").headers


@pytest.mark.parametrize("headers", [{}, {"origin": "https://shop.example"}])
def test_a_fault_of_a_hot_route(tmp_path: Any, headers: dict[str, str]) -> None:
    """What nobody expected is 500 `bug` in the one shape, with the id of the request and nothing of the exception."""
    answer = asked(app_of(tmp_path, HotRoute("GET", "/broken", broken)), "GET", "/broken", headers=headers)
    body = answer.json()
    assert (500, "bug", "application/problem+json") == (
        answer.status_code,
        body["code"],
        answer.headers["content-type"],
    )
    assert f"urn:tinycdp:request:{answer.headers['x-request-id']}" == body["instance"]
    assert "ann@example.com" not in answer.text


def test_the_store_is_away(tmp_path: Any) -> None:
    """A failure that is expected has the answer that it has elsewhere."""
    answer = asked(app_of(tmp_path), "POST", "/v1/track", json={"userId": "ann", "event": "e", "writeKey": "k"})
    assert (503, "store_unavailable", "1") == (answer.status_code, answer.json()["code"], answer.headers["retry-after"])


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("POST", "/v1//track", "store_unavailable"),
        ("POST", "//v1/track", "store_unavailable"),
        ("POST", "/v1/track/", "route_not_found"),
        ("GET", "/v1/track", "method_not_allowed"),
        ("POST", "/V1/track", "route_not_found"),
    ],
)
def test_paths_that_are_nearly_hot(tmp_path: Any, method: str, path: str, code: str) -> None:
    """Doubled slashes are one; another method, case or a slash at the end is the framework's, with its answer."""
    assert code == asked(app_of(tmp_path), method, path, json={"userId": "ann", "event": "e"}).json()["code"]


def test_lines_are_written_together() -> None:
    """The lines of several requests are written a moment later, in their order, each a JSON object."""

    async def serve(log: AccessLog) -> bytes:
        for number in range(3):
            log.add(f"r{number}", "POST", "/v1/track", 200, 0.0012345)
        before = sink.getvalue()
        await asyncio.sleep(0.2)
        return before

    sink, log = io.BytesIO(), AccessLog()
    log.add("unheard", "GET", "/health", 200, 0.0)
    log.open(sink)
    assert b"" == asyncio.run(serve(log))
    lines = [json.loads(line) for line in sink.getvalue().splitlines()]
    assert ["r0", "r1", "r2"] == [line["request_id"] for line in lines]
    assert ("request", "info", 1.234, 200) == tuple(
        lines[0][key] for key in ("event", "level", "duration_ms", "status")
    )
