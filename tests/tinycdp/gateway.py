"""A shop with flags, clients of it, and a gateway between the two that is not always in good health."""

import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from dsl.catalog import Catalog, EventSchema, Flag, Rule, Segment, Trait, Variant
from serving.online import publish_catalog
from tests.ingest.conftest import Shop
from tests.ingest.test_sdks import address
from tinycdp.client import (
    ClientError,
    TinyCDP,
)

VIP = 'segment("vip")'
CATALOG = Catalog(
    events=(EventSchema("purchase", {"amount": "number"}),),
    attributes={"plan": "string"},
    traits=(Trait("purchases_30d", "events.purchase.count_30d"),),
    segments=(Segment("vip", "purchases_30d >= 1"),),
    flags=(
        Flag(
            "offer",
            (Rule(VIP, "large"), Rule("context.amount >= 100", "small")),
            (
                Variant("large", True, {"voucher": 20, "for": ["food", None]}),
                Variant("small", True, 0.25),
                Variant("none", False),
            ),
            "none",
        ),
        Flag("gold", (Rule('profile.plan == "gold"', "on"),)),
        Flag(
            "halves",
            (Rule(None),),
            (Variant("left", True, "l", 1_000_000), Variant("right", True, "r", 1_000_000)),
            "left",
        ),
        Flag("closed", (Rule(None, "on"),), enabled=False),
    ),
)
Lost = list[tuple[ClientError, Sequence[Mapping[str, Any]]]]


@pytest.fixture(scope="module")
def flags(shop: Shop) -> Shop:
    """The shop with its flags."""
    publish_catalog(shop.client, shop.project, 1, CATALOG.to_document())
    return shop


@contextmanager
def connected(shop: Shop, endpoint: str | None = None, **settings: Any) -> Iterator[tuple[TinyCDP, Lost]]:
    """A client of the shop, and what its `on_error` is told; pauses are short."""
    lost: Lost = []
    given: dict[str, Any] = {"write_key": shop.keys["write"], "read_key": shop.keys["read"], "first_retry_s": 0.01}
    given["on_error"] = lambda error, events: lost.append((error, events))
    with TinyCDP(endpoint or address(shop), **(given | settings)) as client:
        yield client, lost


class Gateway(ThreadingHTTPServer):
    """What stands between a client and the API, and is not always in good health.

    Attributes:
        faults: of the next requests, in order; without one a request is passed on.
        limit: of bodies, in bytes.
        asked: bodies of all requests, and when they came.
    """

    daemon_threads = True

    def __init__(self, shop: Shop) -> None:
        super().__init__(("127.0.0.1", 0), _Passing)
        self.api_port = shop.api.http.base_url.port
        self.faults: list[str] = []
        self.limit = sys.maxsize
        self.asked: list[tuple[float, bytes]] = []

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that did not wait."""

    @property
    def endpoint(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Passing(BaseHTTPRequestHandler):
    server: Gateway
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.asked.append((time.monotonic(), body))
        fault, _, figure = (self.server.faults.pop(0) if self.server.faults else "").partition(" ")
        match fault:
            case "status":
                self._answer(int(figure), b"<html>not now</html>")
            case "retry-after":
                self._answer(503, b'{"code": "overloaded", "detail": "later"}', {"Retry-After": figure})
            case "page":
                self._answer(200, b"<html>log in first</html>")
            case _ if len(body) > self.server.limit:
                self._answer(413, b'{"code": "too_large", "detail": "no"}')
            case "cut":
                self.close_connection = True
            case "unheard":
                self._pass_on(body)
                self.close_connection = True
            case "drip":
                self._drip()
            case "slow":
                time.sleep(float(figure))
                self._answer(200, b"{}")
            case _:
                self._answer(*self._pass_on(body))

    def _pass_on(self, body: bytes) -> tuple[int, bytes]:
        api = HTTPConnection("127.0.0.1", self.server.api_port, timeout=10)
        api.request("POST", self.path, body, {name: self.headers[name] for name in self.headers if name != "Host"})
        answer = api.getresponse()
        found = answer.status, answer.read()
        api.close()
        return found

    def _drip(self) -> None:
        self.close_connection = True
        for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b" " * 20:
            try:
                self.wfile.write(bytes([byte]))
            except OSError:
                return
            time.sleep(0.05)

    def _answer(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name
        """Say nothing."""


@pytest.fixture
def gateway(flags: Shop) -> Iterator[Gateway]:
    """A gateway before the shop's API."""
    with Gateway(flags) as found:
        threading.Thread(target=found.serve_forever, args=(0.01,), daemon=True).start()
        yield found
        found.shutdown()


def until(condition: Any, seconds: float = 5.0) -> None:
    """Return when something holds."""
    end_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.005)


def ids(shop: Shop, after: int) -> list[str]:
    """Ids of the events that came in since."""
    return [str(record["id"]) for record in shop.events(after)]
