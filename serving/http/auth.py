"""Who may ask: API keys in three header forms, looked up by digest in the online store."""

import base64
import binascii
from collections.abc import Awaitable, Callable
from typing import Literal

from fastapi import Request
from fastapi.security import APIKeyHeader, HTTPBearer

from dsl.apikeys import KeyKind
from serving.http.plane import Plane
from serving.http.problems import Problem, ProblemItem

_CHALLENGE = {"www-authenticate": 'Bearer realm="tinycdp"'}
_FORMS = "send it as `Authorization: Bearer KEY`, as `X-API-Key: KEY` or with Basic as the user"

DOCUMENTED = (HTTPBearer(auto_error=False), APIKeyHeader(name="X-API-Key", auto_error=False))
"""Only for the OpenAPI page; what counts is `require`."""


def require(kind: KeyKind) -> Callable[[Request], Awaitable[None]]:
    """A dependency that lets a request pass as `authorise` does."""

    async def check(request: Request) -> None:
        await authorise(request, kind)

    return check


async def authorise(request: Request, kind: KeyKind) -> None:
    """Let a request pass with a key of this kind, or of kind `admin`, which can do all.

    Raises:
        Problem: 401 without a valid key, 403 with a key of another kind.
    """
    key = _given_key(request)
    project = Plane.of(request).project
    found = project.known_kind(key) or (await project.kinds([key]))[key]
    if found is None:
        raise _unauthorised("key_invalid", "this key is not valid: it is mistyped, revoked or of another project")
    if found not in (kind, "admin"):
        detail = f"this is a {found} key and a {kind} key is needed: `tinycdp keys create --kind {kind}` makes one"
        raise Problem("key_wrong_kind", detail, (ProblemItem("key_wrong_kind", detail, "header.authorization"),))


def _given_key(request: Request) -> str:
    """The key of a request; `Authorization` counts before `X-API-Key`."""
    # Every request is asked: the framework decodes all headers for each name.
    sent: dict[bytes, bytes] = dict(reversed(request.scope["headers"]))  # the first of one name counts
    scheme, _, credentials = sent.get(b"authorization", b"").decode("latin-1").partition(" ")
    alone = sent.get(b"x-api-key")
    match scheme.lower(), None if alone is None else alone.decode("latin-1"):
        case "bearer", _:
            return credentials.strip()
        case "basic", _:
            return _basic_user(credentials.strip())
        case _, str(key):
            return key.strip()
    raise _unauthorised("key_missing", f"a key is needed: {_FORMS}")


def given_keys(request: Request) -> list[str]:
    """Every key that the headers carry; none of them need be one of ours."""
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    found = [request.headers.get("x-api-key", "").strip()]
    if scheme.lower() == "bearer":
        found.append(credentials.strip())
    if scheme.lower() == "basic":
        found.append(_basic_user(credentials.strip()))
    return [key for key in found if key]


def _basic_user(credentials: str) -> str:
    """The user of Basic credentials; empty when they are not readable, which no key is."""
    try:
        return base64.b64decode(credentials, validate=True).decode().partition(":")[0]
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _unauthorised(code: Literal["key_missing", "key_invalid"], detail: str) -> Problem:
    return Problem(code, detail, (ProblemItem(code, detail, "header.authorization", _FORMS),), _CHALLENGE)
