"""Asking the API as an application would: JSON over HTTP with a key."""

import json
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from dsl.failure import Failure


class ApiFailure(Failure):
    """The API answered with a problem."""


def get_json(base_url: str, path: str, key: str, query: dict[str, str]) -> dict[str, Any]:
    """The answer to a GET.

    Raises:
        ApiFailure: its status was not 2xx; the message is that of the problem.
    """
    return _answer(Request(f"{base_url}{path}?{urlencode(query)}", headers=_headers(key)))  # noqa: S310  # the address of our own API


def post_json(base_url: str, path: str, key: str, body: object) -> dict[str, Any]:
    """The answer to a POST.

    Raises:
        ApiFailure: its status was not 2xx; the message is that of the problem.
    """
    headers = {**_headers(key), "Content-Type": "application/json"}
    return _answer(Request(f"{base_url}{path}", data=json.dumps(body).encode(), headers=headers, method="POST"))  # noqa: S310  # the address of our own API


def _headers(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}", "Accept": "application/json"}


def _answer(request: Request) -> dict[str, Any]:
    try:
        with urlopen(request, timeout=10) as response:  # noqa: S310  # the address of our own API
            answer: dict[str, Any] = json.load(response)
            return answer
    except HTTPError as error:
        raise ApiFailure(
            f"{request.full_url} answered {error.code}: {error.read().decode(errors='replace')}"
        ) from error
