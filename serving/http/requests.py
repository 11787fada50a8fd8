"""Around every request: its id and its log line."""

import os
import re
import time
from collections.abc import Callable, Mapping
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.http.logs import ACCESS_LOG, REQUEST_ID

_SANE_ID = re.compile(rb"[A-Za-z0-9._:=+/-]{1,128}")
_SLASHES = re.compile("/{2,}")
_HEADER: Final = b"x-request-id"


def request_id(scope: Scope) -> str:
    """The id of the request that `RequestFrame` gave it."""
    return str(scope["state"]["request_id"])


class RequestFrame:
    """ASGI middleware: takes or makes `x-request-id`, sends it back, logs and measures the request.

    A hot route is served by its own application, whatever else by `app`.
    """

    def __init__(
        self, app: ASGIApp, hot: Mapping[tuple[str, str], ASGIApp], observe: Callable[[str, int, float], None]
    ) -> None:
        self._app = app
        self._hot = hot
        self._observe = observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        if "//" in scope["path"]:
            # Some libraries join an address that ends in `/` with a path that begins with one.
            scope["path"] = _SLASHES.sub("/", scope["path"])
        made_id = _given_id(scope) or os.urandom(16).hex()
        scope.setdefault("state", {})["request_id"] = made_id
        REQUEST_ID.set(made_id)
        answer = _Answer(send, made_id)
        try:
            await self._hot.get((scope["method"], scope["path"]), self._app)(scope, receive, answer)
        finally:
            seconds, route = time.perf_counter() - began, _route(scope)
            self._observe(route, answer.status, seconds)
            ACCESS_LOG.add(made_id, scope["method"], route, answer.status, seconds)


class _Answer:
    """`send` that adds the request's id and remembers the status; 0 until the answer has begun."""

    __slots__ = ("_made_id", "_send", "status")

    def __init__(self, send: Send, made_id: str) -> None:
        self._send = send
        self._made_id = made_id
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message.get("headers", ()), (_HEADER, self._made_id.encode())]
        await self._send(message)


def _given_id(scope: Scope) -> str | None:
    """An id from outside if it is short, plain and no key that somebody put into the wrong header."""
    given = next((value for name, value in scope["headers"] if name == _HEADER), None)
    if given is None or b"tcdp_" in given or not _SANE_ID.fullmatch(given):
        return None
    return bytes(given).decode()


def _route(scope: Scope) -> str:
    """The template of the route: paths may hold identifiers."""
    return str(getattr(scope.get("route"), "path", "unmatched"))
