"""Bodies of requests that bring events: read up to a limit, inflated, parsed."""

from typing import Any, Final

from fastapi import Request

from serving.http.problems import Problem, ProblemCode, ProblemItem
from serving.ingest.body import BodyError, TooLargeError, inflate, read_json

LARGEST_BODY_BYTES: Final = 10_000_000
"""As sent, and inflated."""


async def read_events(request: Request) -> Any:
    """The JSON value of a body, whatever its content type says: browsers send JSON as text to spare a preflight.

    Raises:
        Problem: 413 too large, 415 another encoding than gzip, 400 no JSON.
    """
    body, encoding = await _body(request), request.headers.get("content-encoding", "identity").strip().lower()
    try:
        if encoding == "gzip":
            body = inflate(body, LARGEST_BODY_BYTES)
        elif encoding not in ("identity", ""):
            raise _problem("unsupported_encoding", "the body's `Content-Encoding` is unknown: send gzip, or none")
        return read_json(body)
    except TooLargeError as error:
        raise _problem("too_large", str(error)) from error
    except BodyError as error:
        raise _problem("malformed_json", str(error)) from error


async def read_bytes(request: Request) -> bytes:
    """The body as it was sent, up to the limit.

    Raises:
        Problem: it is larger.
    """
    return await _body(request)


async def _body(request: Request) -> bytes:
    parts, size = [], 0
    async for part in request.stream():
        parts.append(part)
        size += len(part)
        if size > LARGEST_BODY_BYTES:
            raise _problem("too_large", f"the body is larger than {LARGEST_BODY_BYTES:,} bytes")
    return b"".join(parts)


def _problem(code: ProblemCode, detail: str) -> Problem:
    return Problem(code, detail, (ProblemItem(code, detail, "$"),))
