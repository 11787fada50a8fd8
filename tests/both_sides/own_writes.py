"""Reading one's own writes: somebody sends an event and asks at once, again and again, from many places at a time."""

import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from itertools import count, islice
from typing import Final
from uuid import uuid4

from dsl.apikeys import KeyKind
from tests.chaos.town import FLAG

PEOPLE: Final = 3
"""About whom one sender sends: an answer about each is kept while it sends about the others."""
_Ask = Callable[[str, str, bytes | None], str]
_TICKS = re.compile(r"\bticks\b[^=]*= (\d+) >= 0")


@dataclass(slots=True)
class Found:
    """What became of writes that were read.

    Attributes:
        reads: answers, each asked for after a write was acknowledged.
        makeshift: answers besides that were made without the store, and said so.
        old: answers that lacked it although they had to have it.
        longest_s: from the acknowledgement of a write to the last question whose answer lacked it.
    """

    reads: int = 0
    makeshift: int = 0
    old: int = 0
    longest_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Readers:
    """Senders that ask for what they have just sent.

    Attributes:
        write: `host:port` of the API that takes events in; `read` of the one that is asked.
        keys: one that works of each kind.
        patience_s: how old an answer may be; 0 where the first one has to know.
    """

    write: str
    read: str
    keys: Mapping[KeyKind, str]
    patience_s: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, threads: int, most: int, longest_s: float = 600.0) -> Found:
        """Write and read from so many threads, `most` times together, but for no longer than `longest_s` seconds."""
        found, end_s, each = Found(), time.monotonic() + longest_s, -(-most // threads)
        with ThreadPoolExecutor(threads) as pool:
            for one in [pool.submit(self._send, found, each, end_s) for _ in range(threads)]:
                one.result()
        return found

    def _send(self, found: Found, most: int, end_s: float) -> None:
        with _line(self.write, self.keys["write"]) as writer, _line(self.read, self.keys["read"]) as reader:
            self._send_on(found, most, end_s, writer, reader)

    def _send_on(self, found: Found, most: int, end_s: float, writer: _Ask, reader: _Ask) -> None:
        people = [f"reader-{uuid4().hex[:12]}" for _ in range(PEOPLE)]
        for turn in islice(count(), most):
            if time.monotonic() > end_s:
                return
            who, sent = people[turn % PEOPLE], turn // PEOPLE + 1
            tick = {"userId": who, "event": "tick", "properties": {"n": 1}}
            writer("POST", "/v1/track", json.dumps(tick).encode())
            self._read(found, reader, who, sent)

    def _read(self, found: Found, reader: _Ask, who: str, sent: int) -> None:
        """Ask until the answer knows what was sent, or has been old for too long."""
        written_s = time.monotonic()
        while True:
            asked_s = time.monotonic()
            body = reader("GET", f"/v1/decide?userId={who}&flag={FLAG}", None)
            told = _TICKS.search(body)
            if told is None:
                assert '"stale":"store_unavailable"' in body, body
                with self._lock:
                    found.makeshift += 1
                continue
            known, waited_s = int(told[1]), asked_s - written_s
            is_over = known == sent or waited_s >= self.patience_s
            with self._lock:
                found.reads += 1
                found.old += is_over and known != sent
                if known != sent:
                    found.longest_s = max(found.longest_s, waited_s)
            if is_over:
                return


@contextmanager
def _line(address: str, key: str) -> Iterator[_Ask]:
    """A connection that stays: method, path and body in, the text of a good answer out."""
    headers = {"x-api-key": key, "content-type": "application/json"}
    with closing(HTTPConnection(address, timeout=30)) as connection:

        def ask(method: str, path: str, body: bytes | None) -> str:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            text = answer.read().decode()
            assert answer.status == 200, text
            return text

        yield ask
