"""Around every request: its id and its log line."""

import re
import time
from collections.abc import Callable
from uuid import uuid4

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_SANE_ID = re.compile(r"[A-Za-z0-9._:=+/-]{1,128}")
_SLASHES = re.compile("/{2,}")
_log = structlog.get_logger("tinycdp.http")


def request_id(scope: Scope) -> str:
    """The id of the request that `RequestFrame` gave it."""
    return str(scope["state"]["request_id"])


class RequestFrame:
    """ASGI middleware: takes or makes `x-request-id`, sends it back, logs and measures the request."""

    def __init__(self, app: ASGIApp, observe: Callable[[str, int, float], None]) -> None:
        self._app = app
        self._observe = observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if "//" in scope["path"]:
            # Some libraries join an address that ends in `/` with a path that begins with one.
            scope["path"] = _SLASHES.sub("/", scope["path"])
        made_id = _accepted(Headers(scope=scope).get("x-request-id")) or uuid4().hex
        scope.setdefault("state", {})["request_id"] = made_id
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=made_id)
        await self._serve(scope, receive, _Answer(send, made_id))

    async def _serve(self, scope: Scope, receive: Receive, answer: "_Answer") -> None:
        began = time.perf_counter()
        try:
            await self._app(scope, receive, answer)
        finally:
            seconds, route = time.perf_counter() - began, _route(scope)
            self._observe(route, answer.status, seconds)
            duration_ms = round(seconds * 1000, 3)
            _log.info("request", method=scope["method"], route=route, status=answer.status, duration_ms=duration_ms)


class _Answer:
    """`send` that adds the request's id and remembers the status; 0 until the answer has begun."""

    def __init__(self, send: Send, made_id: str) -> None:
        self._send = send
        self._made_id = made_id
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = int(message["status"])
            MutableHeaders(scope=message)["x-request-id"] = self._made_id
        await self._send(message)


def _accepted(given: str | None) -> str | None:
    """An id from outside if it is short, plain and no key that somebody put into the wrong header."""
    if given is None or "tcdp_" in given or not _SANE_ID.fullmatch(given):
        return None
    return given


def _route(scope: Scope) -> str:
    """The template of the route: paths may hold identifiers."""
    return str(getattr(scope.get("route"), "path", "unmatched"))
