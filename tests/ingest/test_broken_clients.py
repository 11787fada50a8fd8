"""Clients that use no library: cut connections, bodies that never end, bytes that are no HTTP."""

import asyncio
import json
import socket
import struct
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, suppress
from typing import Any
from uuid import uuid4

import httpx
import pytest

from serving.http import bodies
from serving.http.app import create_app
from tests.ingest.conftest import Shop
from warehouse.settings import Settings

RESET = struct.pack("ii", 1, 0)
"""`SO_LINGER`: closing sends a reset."""


class Wire:
    """A connection on which the test writes what it wants."""

    def __init__(self, shop: Shop) -> None:
        self._key = shop.keys["write"]
        self._socket = socket.create_connection(("127.0.0.1", shop.api.http.base_url.port or 80), timeout=20)
        self._received = b""

    def begin(self, *headers: str, path: str = "/v1/batch") -> None:
        """The head of a request with the write key."""
        lines = [f"POST {path} HTTP/1.1", "Host: shop", f"Authorization: Bearer {self._key}", *headers, "", ""]
        self.send("\r\n".join(lines).encode())

    def send(self, data: bytes) -> None:
        """Bytes as they are."""
        self._socket.sendall(data)

    def answer(self) -> tuple[int, Any]:
        """Status and document of the next answer."""
        while b"\r\n\r\n" not in self._received:
            self._receive()
        head, _, self._received = self._received.partition(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        while len(self._received) < length:
            self._receive()
        body, self._received = self._received[:length], self._received[length:]
        return int(head.split()[1]), json.loads(body)

    def rest(self) -> bytes:
        """What comes until the server closes; nothing when it hangs up at once."""
        try:
            while True:
                self._receive()
        except OSError:
            return self._received

    def end(self, how: str) -> None:
        """Closes, resets, or closes only the way there."""
        if how == "half":
            self._socket.shutdown(socket.SHUT_WR)
            return
        if how == "reset":
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self._socket.close()

    def close(self) -> None:
        """Ends the connection."""
        self._socket.close()

    def _receive(self) -> None:
        data = self._socket.recv(65_536)
        if not data:
            raise ConnectionResetError("the server closed the connection")
        self._received += data


@pytest.fixture
def wires(shop: Shop) -> Iterator[Any]:
    """Opens connections; all are closed at the end."""
    with ExitStack() as opened:

        def open_wire() -> Wire:
            wire = Wire(shop)
            opened.callback(wire.close)
            return wire

        yield open_wire


def track(**more: Any) -> dict[str, Any]:
    """A good event."""
    return {"type": "track", "messageId": uuid4().hex, "userId": "ann", "event": "purchase", **more}


def taken_in(shop: Shop) -> tuple[int, int]:
    """What the project has: its newest event, and its dead letters."""
    return shop.newest(), len(shop.letters())


def until_logged(shop: Shop, after: int, status: int, count: int) -> list[dict[str, Any]]:
    """Lines of the API's log behind `after` characters, once `count` requests have ended with a status."""
    for _ in range(300):
        found = [json.loads(line) for line in shop.api.log.read_text()[after:].splitlines() if line[:1] == "{"]
        if sum(line.get("status") == status for line in found) >= count:
            return found
        time.sleep(0.02)
    raise AssertionError(shop.api.log.read_text()[after:])


@pytest.mark.parametrize("how", ["close", "reset", "half"])
@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_a_connection_that_ends_within_a_body(shop: Shop, wires: Any, how: str, framing: str) -> None:
    """Nothing is taken in, not even where what came is whole JSON; the next is served; nobody calls it a bug."""
    before, logged = taken_in(shop), len(shop.api.log.read_text())
    for body in (json.dumps({"batch": [track()]}).encode(), b'{"batch": [{"type"'):
        wire = wires()
        if framing == "length":
            wire.begin(f"Content-Length: {len(body) + 2}")
            wire.send(body)
        else:
            wire.begin("Transfer-Encoding: chunked")
            wire.send(b"%x\r\n%b\r\n" % (len(body), body))
        time.sleep(0.05)
        wire.end(how)
        if how == "half":
            status, document = wire.answer()
            assert (408, "body_incomplete") == (status, document["code"])
    lines = until_logged(shop, logged, 408, 2)
    assert [] == [line for line in lines if line["level"] == "error"]
    assert before == taken_in(shop)
    assert 200 == shop.post("/v1/track", track()).status_code


def test_the_same_batch_five_times_without_listening(shop: Shop, wires: Any) -> None:
    """Sent five times on one connection before the first answer is read, a batch counts once."""
    before, events = shop.newest(), [track(), track()]
    body, wire = json.dumps({"batch": events}).encode(), wires()
    for _ in range(5):
        wire.begin(f"Content-Length: {len(body)}")
        wire.send(body)
    assert [(200, 2)] * 5 == [(status, found["accepted"]) for status, found in (wire.answer() for _ in range(5))]
    assert [event["messageId"] for event in events] == [record["id"] for record in shop.events(before)]


def test_the_same_batch_on_five_connections_at_once(shop: Shop, wires: Any) -> None:
    """However they race, each event counts once."""
    before, events = shop.newest(), [track() for _ in range(50)]
    body, opened = json.dumps({"batch": events}).encode(), [wires() for _ in range(5)]
    for wire in opened:
        wire.begin(f"Content-Length: {len(body)}")
        wire.send(body[:-1])
    for wire in opened:
        wire.send(body[-1:])
    assert [(200, 50)] * 5 == [(status, found["accepted"]) for status, found in (wire.answer() for wire in opened)]
    assert [event["messageId"] for event in events] == [record["id"] for record in shop.events(before)]


def test_a_sender_that_hangs_up_before_the_answer(shop: Shop, wires: Any) -> None:
    """What came whole may be taken in; the sender, who cannot know, sends it again, and it counts once."""
    before, event = shop.newest(), track()
    body, wire = json.dumps({"batch": [event]}).encode(), wires()
    wire.begin(f"Content-Length: {len(body)}")
    wire.send(body)
    wire.end("reset")
    assert 1 == shop.post("/v1/batch", {"batch": [event]}).json()["accepted"]
    time.sleep(0.2)
    assert [event["messageId"]] == [record["id"] for record in shop.events(before)]


def test_ten_megabytes(shop: Shop) -> None:
    """A body of the largest size is taken in; far more is 413, told to senders that write on regardless."""
    before = shop.newest()
    events = [json.dumps(track(properties={"text": "x" * 30_000})) for _ in range(320)]
    body = f'{{"batch":[{",".join(events)}]}}'
    answer = shop.api.http.post("/v1/batch", content=body.ljust(10_000_000), headers=shop.headers(), timeout=60)
    assert (200, 320) == (answer.status_code, answer.json()["accepted"])
    assert 320 == len(shop.events(before))
    answer = shop.api.http.post("/v1/batch", content=b" " * 30_000_000, headers=shop.headers(), timeout=60)
    assert (413, "too_large") == (answer.status_code, answer.json()["code"])


def test_bytes_that_come_one_by_one(shop: Shop, wires: Any) -> None:
    """A slow sender is served, and others meanwhile: two hundred that say nothing keep nobody waiting."""
    silent = [wires() for _ in range(200)]
    for wire in silent[:100]:
        wire.begin("Content-Length: 1000000")
    slow, body = wires(), json.dumps({"batch": [track()]}).encode()
    slow.begin(f"Content-Length: {len(body)}")
    for place in range(0, len(body), 10):
        slow.send(body[place : place + 10])
        began = time.perf_counter()
        assert 200 == shop.post("/v1/track", track()).status_code
        assert time.perf_counter() - began < 5
    status, document = slow.answer()
    assert (200, 1) == (status, document["accepted"])


def test_a_body_that_never_ends(shop: Shop, monkeypatch: pytest.MonkeyPatch, valkey_url: str) -> None:
    """After half a minute (here half a second) the sender is told that not all of it came; nothing is taken in."""
    assert 30 == bodies.LONGEST_BODY_S
    monkeypatch.setattr(bodies, "LONGEST_BODY_S", 0.5)
    settings = Settings(home=shop.home, redis_url=valkey_url, project=shop.project)
    before = taken_in(shop)

    async def drops() -> AsyncIterator[bytes]:
        while True:
            yield b" "
            await asyncio.sleep(0.05)

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(create_app(settings))
        async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
            return await client.post("/v1/batch", content=drops(), headers=shop.headers())

    answer = asyncio.run(ask())
    assert (408, "body_incomplete") == (answer.status_code, answer.json()["code"])
    assert before == taken_in(shop)


@pytest.mark.parametrize(
    "text",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"HELO shop\r\n\r\n",
        b"POST /v1/batch HTTP/9.9\r\n\r\n",
        b"POST /v1/batch HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/batch HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        b"POST /v1/batch HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nZZZ\r\n",
        b"POST /v1/batch HTTP/1.1\r\nHost: a\r\n" + b"X: " + b"y" * 1_000_000 + b"\r\n\r\n",
    ],
    ids=["tls", "smtp", "version", "negative", "huge", "chunk", "headers"],
)
def test_what_is_no_request(shop: Shop, wires: Any, text: bytes) -> None:
    """It is refused or hung up on; nothing is taken in and the server lives."""
    before, wire = taken_in(shop), wires()
    with suppress(OSError):  # it may hang up while it is still being told
        wire.send(text)
        wire.end("half")
    assert wire.rest()[:10] in (b"", b"HTTP/1.1 4")
    assert before == taken_in(shop)
    assert 200 == shop.post("/v1/track", track()).status_code


@pytest.mark.parametrize(
    ("content", "content_type", "code"),
    [
        ('{"userId":"a","event":"caf\xe9"}'.encode("latin-1"), "application/json; charset=latin-1", "malformed_json"),
        ('{"userId":"a","event":"e"}'.encode("utf-16-le"), "application/json; charset=utf-16le", "malformed_json"),
        (b'{"userId":"a","event":"\xc0\xaf"}', "application/json", "malformed_json"),
        (b'{"userId":"a","event":"a\x00b"}', "application/json", "malformed_json"),
        (b'{"userId":"a","event":"e"} trailing', "application/json", "malformed_json"),
        (b'{"userId":"a","userId":"b"', "application/json", "malformed_json"),
        (b"userId=a&event=e", "application/x-www-form-urlencoded", "malformed_json"),
        (b"", "application/json", "malformed_json"),
        (b'{"userId":"a","event":"e","properties":{"n":1e999999999}}', "application/json", None),
        (b'{"userId":"a","event":"e","properties":{"n":' + b"9" * 5_000 + b"}}", "application/json", None),
        (b'\xef\xbb\xbf{"userId":"a","event":"e"}', "application/json", None),
        (b'{"userId":"a","event":"e"}', "image/png", None),
    ],
    ids=[
        "latin-1",
        "utf-16",
        "overlong",
        "nul",
        "trailing",
        "cut",
        "form",
        "empty",
        "exponent",
        "digits",
        "bom",
        "png",
    ],
)
def test_bodies_in_wrong_encodings(shop: Shop, content: bytes, content_type: str, code: str | None) -> None:
    """JSON is UTF-8 whatever the header says; what is not is 400, and a number of any size harms nobody."""
    before = shop.newest()
    answer = shop.api.http.post("/v1/track", content=content, headers={**shop.headers(), "content-type": content_type})
    if code is None:
        assert (200, 1) == (answer.status_code, answer.json()["accepted"] + len(answer.json()["rejected"]))
    else:
        assert (400, code) == (answer.status_code, answer.json()["code"])
        assert before == shop.newest()


@pytest.mark.parametrize("depth", [33, 500, 100_000])
def test_json_that_nests_deeply(shop: Shop, depth: int) -> None:
    """An event that nests too deeply is alone in being refused, or the body is, at once."""
    before, began = shop.newest(), time.perf_counter()
    deep = '{"a":' * depth + "1" + "}" * depth
    bad = f'{{"type":"track","userId":"a","event":"e","properties":{deep}}}'
    answer = shop.api.http.post(
        "/v1/batch", content=f'{{"batch":[{bad},{json.dumps(track())}]}}', headers=shop.headers()
    )
    if answer.status_code == 200:
        assert ["too_deep"] == [each["code"] for each in answer.json()["rejected"]]
        assert 1 == len(shop.events(before))
    else:
        assert (400, "malformed_json", before) == (answer.status_code, answer.json()["code"], shop.newest())
    assert time.perf_counter() - began < 5


def test_no_numbers_anywhere(shop: Shop) -> None:
    """`NaN` and the like in attributes, context, id, or for an event: each is refused alone."""
    before = shop.newest()
    bad = [
        '{"type":"identify","userId":"a","traits":{"x":NaN}}',
        '{"type":"track","userId":"a","event":"e","context":{"x":-Infinity}}',
        '{"type":"track","userId":NaN,"event":"e"}',
        '{"type":"track","userId":"a","event":NaN}',
        '{"type":"track","userId":"a","event":"e","timestamp":Infinity}',
        '{"type":"track","userId":"a","event":"e","messageId":NaN}',
        '{"type":"track","userId":"a","event":"e","properties":{"n":1e99999999999999999999}}',
        "NaN",
    ]
    body = f'{{"batch":[{",".join(bad)},{json.dumps(track())}],"sentAt":NaN,"context":{{"density":1.5}}}}'
    answer = shop.api.http.post("/v1/batch", content=body, headers=shop.headers())
    assert (200, 1, len(bad)) == (answer.status_code, answer.json()["accepted"], len(answer.json()["rejected"]))
    assert 1 == len(shop.events(before))
