"""Requests as pages show them, `curl` with its answer below: sent without curl, and compared."""

import json
import shlex
from itertools import pairwise
from typing import Any

import httpx

from tests.docs.blocks import blocks

ANYTHING = "…"
"""Stands in an answer for whatever is there."""


def requests_shown(page: str) -> list[tuple[str, Any]]:
    """Each command that asks the API, and the JSON that the page shows below it."""
    pairs = pairwise(blocks(page))
    return [(block.text, json.loads(below.text)) for block, below in pairs if block.text.startswith("curl ")]


def send(command: str, client: httpx.Client, key: str, project: str) -> Any:
    """The JSON that a command would print; its address is that of `client`."""
    words = iter(shlex.split(command.replace("$READ_KEY", key).replace("/default/", f"/{project}/"))[1:])
    url, body, headers = "", None, dict[str, str]()
    for word in words:
        match word:
            case "-H":
                name, _, value = next(words).partition(": ")
                headers[name] = value
            case "-d":
                body = next(words)
            case _:
                url = word
    path = url.removeprefix("http://localhost:8000")
    return client.request("GET" if body is None else "POST", path, headers=headers, content=body).json()


def is_shown(shown: Any, found: Any) -> bool:
    """Whether an answer is what a page shows, members in their order.

    >>> is_shown({"a": "…", "b": [1, "…"]}, {"a": None, "b": [1, 2]}), is_shown({"a": 1}, {"a": 1, "b": 2})
    (True, False)
    """
    if shown == ANYTHING:
        return True
    if isinstance(shown, dict) and isinstance(found, dict):
        return list(shown) == list(found) and all(is_shown(shown[name], found[name]) for name in shown)
    if isinstance(shown, list) and isinstance(found, list):
        return len(shown) == len(found) and all(map(is_shown, shown, found))
    return bool(shown == found)
