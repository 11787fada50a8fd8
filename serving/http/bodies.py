"""Bodies: of requests, read up to a limit and within a time, inflated, parsed; of answers, written as JSON."""

import asyncio
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, TypeVar

import msgspec
from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from dsl.sent_json import UnreadableJson, read_sent
from serving.http.problems import Problem, ProblemCode, ProblemItem
from serving.ingest.body import BodyError, TooLargeError, inflate

Model = TypeVar("Model")
LARGEST_BODY_BYTES: Final = 10_000_000
"""As sent, and inflated."""
LONGEST_BODY_S: Final = 30.0
"""Seconds for a body to come: whoever sends a byte now and then does not hold a request for ever."""


async def read_events(request: Request) -> Any:
    """The JSON value of a body, whatever its content type says: browsers send JSON as text to spare a preflight.

    Raises:
        Problem: 413 too large, 415 another encoding than gzip, 400 no JSON, 408 not all of it came.
    """
    return inflated(request, await _body(request))


def inflated(request: Request, body: bytes) -> Any:
    """The JSON value of a body that was read, inflated when its headers say so.

    Raises:
        Problem: as `read_events`.
    """
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    try:
        if encoding == "gzip":
            body = inflate(body, LARGEST_BODY_BYTES)
        elif encoding not in ("identity", ""):
            raise _problem("unsupported_encoding", "the body's `Content-Encoding` is unknown: send gzip, or none")
        return read_sent(body)
    except TooLargeError as error:
        raise _problem("too_large", str(error)) from error
    except BodyError as error:
        raise _problem("malformed_json", str(error)) from error
    except UnreadableJson as error:
        raise _problem("malformed_json", f"the body {error}") from error


async def read_as(request: Request, model: type[Model], largest: int = LARGEST_BODY_BYTES) -> Model:
    """A body of a known shape; fractions of free values are `Decimal`.

    Raises:
        Problem: 422 another shape, with its place; 400 no JSON; 413, 408 as `read_bytes`.
    """
    body = await read_bytes(request, largest)
    try:
        return msgspec.json.Decoder(model, float_hook=Decimal).decode(body)
    except msgspec.ValidationError as error:
        detail, _, path = str(error).partition(" - at `")
        raise _problem("invalid_request", detail, path.rstrip("`") or "$") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _problem("malformed_json", f"the body is not JSON: {error}") from error


def json_answer(document: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """An answer whose body is JSON."""
    return Response(msgspec.json.encode(document), status, headers, media_type="application/json")


async def read_bytes(request: Request, largest: int = LARGEST_BODY_BYTES) -> bytes:
    """The body as it was sent, up to a limit in bytes.

    Raises:
        Problem: it is larger, or not all of it came.
    """
    return await _body(request, largest)


async def _body(request: Request, largest: int = LARGEST_BODY_BYTES) -> bytes:
    try:
        async with asyncio.timeout(LONGEST_BODY_S):
            return await _all_of(request, largest)
    except TimeoutError:
        raise _problem("body_incomplete", f"the body did not come within {LONGEST_BODY_S:g} s") from None
    except ClientDisconnect:
        raise _problem("body_incomplete", "the connection ended before the whole body had come") from None


async def _all_of(request: Request, largest: int) -> bytes:
    parts, size = [], 0
    async for part in request.stream():
        parts.append(part)
        size += len(part)
        if size > largest:
            raise _problem("too_large", f"the body is larger than {largest:,} bytes")
    return b"".join(parts)


def _problem(code: ProblemCode, detail: str, path: str = "$") -> Problem:
    return Problem(code, detail, (ProblemItem(code, detail, path),))
