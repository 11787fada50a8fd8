"""Routes that are asked thousands of times a second: found by method and path, and served past the framework.

A route is hot when its path is fixed and its function takes the request alone and gives a response: the framework has
nothing to do for it then. It stays declared, which documents it, and serves what differs by a method or a slash. What
surrounds it is the same: the frame of every request, headers for other origins, problems in the one shape, and `bug`.
"""

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

from fastapi import APIRouter
from fastapi.params import Depends
from fastapi.routing import APIRoute
from fastapi.security.base import SecurityBase
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

Handler = Callable[[Request], Awaitable[Response]]
AnswerFailure = Callable[[Request, Exception], Response]
_ORIGIN: Final = b"origin"


class HotRoute(NamedTuple):
    """A method, a path as it stands in a URL, and what answers it."""

    method: str
    path: str
    handler: Handler


class Around(NamedTuple):
    """What surrounds every hot route.

    Attributes:
        failures: exceptions that `answer` makes an answer of; any other is a fault of ours.
        cross_origin: arguments of Starlette's `CORSMiddleware`.
    """

    failures: tuple[type[Exception], ...]
    answer: AnswerFailure
    answer_bug: AnswerFailure
    cross_origin: Mapping[str, Any]


def hot_routes(router: APIRouter) -> list[HotRoute]:
    """The routes of a router that the framework has nothing to do for.

    Security schemes that only document are nothing; whatever else a route depends on keeps it with the framework.
    """
    return [
        HotRoute(method, route.path, route.endpoint)
        for route in router.routes
        if isinstance(route, APIRoute) and _serves_itself(route)
        for method in sorted(route.methods or ())
    ]


def hot_paths(routes: Iterable[HotRoute], around: Around) -> dict[tuple[str, str], ASGIApp]:
    """The application of each hot route, by method and path."""
    return {(route.method, route.path): _surrounded(route, around) for route in routes}


def _serves_itself(route: APIRoute) -> bool:
    is_alone = list(inspect.signature(route.endpoint).parameters) == ["request"]
    return is_alone and "{" not in route.path and all(map(_only_documents, route.dependencies))


def _only_documents(dependency: Depends) -> bool:
    scheme: object = dependency.dependency
    return isinstance(scheme, SecurityBase) and getattr(scheme, "auto_error", True) is False


def _surrounded(route: HotRoute, around: Around) -> ASGIApp:
    served = _Served(route, around.failures, around.answer)
    split = _SplitByOrigin(served, CORSMiddleware(served, **around.cross_origin))
    return ServerErrorMiddleware(split, around.answer_bug)


class _Served:
    """Runs a route; `scope["route"]` is what the frame reads the path's name from."""

    def __init__(self, route: HotRoute, failures: tuple[type[Exception], ...], answer: AnswerFailure) -> None:
        self._route = route
        self._failures = failures
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["route"] = self._route
        request = Request(scope, receive, send)
        try:
            response = await self._route.handler(request)
        except self._failures as error:
            response = self._answer(request, error)
        await response(scope, receive, send)


class _SplitByOrigin:
    """Headers for other origins are only for those who say one."""

    def __init__(self, plain: ASGIApp, cross_origin: ASGIApp) -> None:
        self._plain = plain
        self._cross_origin = cross_origin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        says = any(name == _ORIGIN for name, _ in scope["headers"])
        await (self._cross_origin if says else self._plain)(scope, receive, send)
