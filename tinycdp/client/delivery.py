"""Events on their way: queued, sent in batches by a thread, and sent again until somebody has taken them.

An event has its id from the start, and the API counts an id once: sending again is always safe, sending never is not.
"""

import atexit
import gzip
import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, Literal

import msgspec

from tinycdp.client.events import Queued
from tinycdp.client.exceptions import (
    ClientError,
    QueueFullError,
    RefusedError,
    RejectedError,
    UnavailableError,
    UndeliveredError,
    WrongUseError,
)
from tinycdp.client.forks import tell_after_fork
from tinycdp.client.transport import Transport

OnError = Callable[[ClientError, Sequence[Mapping[str, Any]]], object]
"""Is told of events that are given up, as they were sent, and why; it is called in the thread that sends."""
WhenFull = Literal["raise", "block"]

MOST_EVENTS: Final = 100
MOST_BYTES: Final = 500_000
"""Of one batch, unless a single event is larger."""
COMPRESSED_BYTES: Final = 8_192
"""Larger bodies are compressed."""
LONGEST_RETRY_AFTER_S: Final = 600.0
_ONE_MAY_BE_BAD: Final = frozenset({400, 413, 422})
"""Statuses of a batch that may be the fault of some of its events."""
_log = logging.getLogger("tinycdp.client")
_decode: Final = msgspec.json.Decoder(float_hook=Decimal).decode


@dataclass(frozen=True, slots=True)
class Sending:
    """How events are sent.

    Attributes:
        flush_at: as many that wait are sent at once.
        flush_interval_s: none waits longer than this to be sent for the first time.
        timeout_s: of one request.
        max_queue: events that may wait, those on their way among them.
        when_full: what a further one does: `raise` a `QueueFullError`, or `block` until there is room.
        first_retry_s: about how long after a failure; each further pause is twice as long, up to `longest_retry_s`.
    """

    flush_at: int = 20
    flush_interval_s: float = 10.0
    timeout_s: float = 10.0
    max_queue: int = 10_000
    when_full: WhenFull = "raise"
    first_retry_s: float = 0.5
    longest_retry_s: float = 30.0
    on_error: OnError | None = None

    def __post_init__(self) -> None:
        """Refuses what cannot work.

        Raises:
            WrongUseError: a setting is out of range.
        """
        if not 1 <= self.flush_at <= self.max_queue:
            raise WrongUseError("invalid_setting", "`flush_at` is between 1 and `max_queue`")
        if self.when_full not in ("raise", "block"):
            raise WrongUseError("invalid_setting", f"`when_full` is `{self.when_full}`: it takes `raise` or `block`")
        for name in ("flush_interval_s", "timeout_s", "first_retry_s", "longest_retry_s"):
            if not getattr(self, name) > 0:
                raise WrongUseError("invalid_setting", f"`{name}` is {getattr(self, name)}: seconds above 0 are needed")

    def pause_s(self, failures: int, retry_after_s: float | None) -> float:
        """Seconds until the next try, after so many failures in a row; senders do not all come back at once."""
        longest_s = min(self.longest_retry_s, self.first_retry_s * 2.0 ** min(failures - 1, 32))
        drawn_s = random.uniform(longest_s / 2, longest_s)  # noqa: S311  # no secret
        asked_s = min(retry_after_s or 0.0, LONGEST_RETRY_AFTER_S)
        return asked_s + random.uniform(0, self.first_retry_s) if asked_s > drawn_s else drawn_s  # noqa: S311  # as above


class _Item(msgspec.Struct, frozen=True):
    index: int
    code: str
    message: str = ""
    path: str = "$"


class _Taken(msgspec.Struct, frozen=True):
    accepted: int
    rejected: list[_Item]


class Delivery:
    """Delivers events in their order; each until it is accepted, rejected, or the client is closed."""

    def __init__(self, transport: Transport, write_key: str, sending: Sending) -> None:
        self._transport = transport
        self._write_key = write_key
        self._sending = sending
        self._begin()
        tell_after_fork(self)

    def _begin(self) -> None:
        """Start empty."""
        self._changed = threading.Condition()
        self._waiting: deque[tuple[Queued, float]] = deque()
        self._on_its_way: Sequence[Queued] = ()
        self._put, self._settled, self._urgent = 0, 0, 0
        self._thread: threading.Thread | None = None
        self._is_closed = self._is_over = False

    def after_fork(self) -> None:
        """In a child process: what waits is the parent's, and so is the thread that sends it."""
        was_closed = self._is_closed
        self._begin()
        self._is_closed = was_closed

    def put(self, event: Queued) -> None:
        """Queue an event.

        Raises:
            QueueFullError: there is no room, and `when_full` is `raise`.
            WrongUseError: the client is closed.
        """
        with self._changed:
            while not self._is_closed and self._put - self._settled >= self._sending.max_queue:
                if self._sending.when_full == "raise":
                    detail = f"{self._sending.max_queue:,} events wait to be sent: this one was not taken"
                    raise QueueFullError("queue_full", detail)
                self._changed.wait()
            if self._is_closed:
                raise WrongUseError("closed", "the client is closed: it takes no more events")
            if self._put == 0:
                atexit.register(self.close)
            self._waiting.append((event, time.monotonic()))
            self._put += 1
            self._ensure_thread()
            self._changed.notify_all()

    def flush(self, timeout_s: float) -> None:
        """Return when everything that was queued before is accepted or given up.

        Raises:
            UndeliveredError: it is not, after that time; it is still being tried.
        """
        with self._changed:
            self._urgent = target = self._put
            self._changed.notify_all()
            if not self._changed.wait_for(lambda: self._settled >= target, timeout_s):
                waiting = target - self._settled
                raise UndeliveredError("not_delivered", f"{waiting:,} events still wait after {timeout_s:g} s")

    def close(self, timeout_s: float = 10.0) -> None:
        """Deliver what waits, as far as that works in this time; the rest is given up, and `on_error` told."""
        with self._changed:
            if self._is_closed:
                return
            self._is_closed = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._settled >= self._put, timeout_s)
            self._is_over = True
            lost = [*self._on_its_way, *(event for event, _ in self._waiting)]
            self._on_its_way = ()
            self._waiting.clear()
            self._settled = self._put
            self._changed.notify_all()
        atexit.unregister(self.close)
        self._transport.close()
        if lost:
            detail = f"{len(lost):,} events were not delivered within {timeout_s:g} s"
            self._report(UndeliveredError("not_delivered", detail), lost)

    # -- the thread ------------------------------------------------------------------------------------------------

    def _ensure_thread(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="tinycdp-events", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        settled = self._settled
        try:
            while batch := self._next_batch():
                self._deliver(batch)
        finally:
            with self._changed:
                self._thread = None
                self._waiting.extendleft((event, 0.0) for event in reversed(self._on_its_way))
                self._on_its_way = ()
                if self._waiting and self._settled > settled:
                    # `on_error` has raised: that ends this thread, and not the delivery.
                    self._ensure_thread()

    def _next_batch(self) -> Sequence[Queued]:
        """The next events to be sent, when it is time; none when nothing will come any more."""
        with self._changed:
            while (due_s := self._due_s()) > 0:
                if self._is_closed and not self._waiting:
                    return ()
                self._changed.wait(None if not self._waiting else due_s)
            batch: list[Queued] = []
            size = 0
            while self._waiting and len(batch) < MOST_EVENTS:
                size += len(self._waiting[0][0].body)
                if batch and size > MOST_BYTES:
                    break
                batch.append(self._waiting.popleft()[0])
            self._on_its_way = batch
            return batch

    def _due_s(self) -> float:
        """Seconds until something has to be sent; 0 is now."""
        if not self._waiting:
            return 1.0
        if self._is_closed or len(self._waiting) >= self._sending.flush_at or self._settled < self._urgent:
            return 0.0
        return max(0.0, self._waiting[0][1] + self._sending.flush_interval_s - time.monotonic())

    def _deliver(self, batch: Sequence[Queued]) -> None:
        """Send a batch until it is taken; where it is refused for what may be one event, its halves."""
        parts = [batch]
        while parts and not self._has_ended():
            part = parts.pop()
            try:
                given_up = self._send(part)
            except RefusedError as error:
                if error.status in _ONE_MAY_BE_BAD and len(part) > 1:
                    middle = len(part) // 2
                    parts += [part[middle:], part[:middle]]
                    continue
                given_up = [(error, part)]
            try:
                for why, events in () if self._has_ended() else given_up:
                    self._report(why, events)
            finally:
                self._settle(part)

    def _has_ended(self) -> bool:
        """Whether whatever was on its way was given up meanwhile."""
        return self._is_over

    def _settle(self, part: Sequence[Queued]) -> None:
        """The first of those on their way are done with."""
        with self._changed:
            if not self._is_over:
                self._on_its_way = self._on_its_way[len(part) :]
                self._settled += len(part)
                self._changed.notify_all()

    def _send(self, part: Sequence[Queued]) -> Sequence[tuple[ClientError, Sequence[Queued]]]:
        """Which of the events were rejected, and why; the others are accepted. When it is over it returns nothing.

        Raises:
            RefusedError: the API does not want these events.
        """
        failures = 0
        while True:
            try:
                taken = self._post(part)
            except UnavailableError as error:
                failures += 1
                if failures == 1:
                    _log.warning("events wait: %s", error)
                if not self._wait(self._sending.pause_s(failures, error.retry_after_s)):
                    return ()
            else:
                if failures:
                    _log.info("events are sent again, after %d failures", failures)
                return [(RejectedError(its.code, its.message, its.path), [part[its.index]]) for its in taken.rejected]

    def _wait(self, pause_s: float) -> bool:
        """Whether the pause is over; otherwise everything is."""
        with self._changed:
            return not self._changed.wait_for(lambda: self._is_over, pause_s)

    def _post(self, part: Sequence[Queued]) -> _Taken:
        # By the instant of sending the API corrects a wrong clock: it is that of this try.
        sent_at = datetime.now(UTC).isoformat()
        body = b'{"sentAt":"%b","batch":[%b]}' % (sent_at.encode(), b",".join(event.body for event in part))
        encoding = "gzip" if len(body) > COMPRESSED_BYTES else None
        if encoding:
            body = gzip.compress(body, compresslevel=6)
        answer = self._transport.post("/v1/batch", body, self._write_key, self._sending.timeout_s, encoding=encoding)
        try:
            taken = msgspec.json.decode(answer, type=_Taken)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise UnavailableError("answer_unreadable", f"what answered is no API of TinyCDP: {error}", 200) from error
        if taken.accepted + len(taken.rejected) != len(part) or any(its.index >= len(part) for its in taken.rejected):
            raise UnavailableError("answer_unreadable", "what answered counts other events than were sent", 200)
        return taken

    def _report(self, error: ClientError, events: Sequence[Queued]) -> None:
        if self._sending.on_error is not None:
            self._sending.on_error(error, [_decode(event.body) for event in events])
            return
        ids = ", ".join(event.message_id for event in events[:3])
        _log.error("%d events were given up (%s, …): %s", len(events), ids, error)
