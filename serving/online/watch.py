"""What changes in a project, told by the store as it happens: what a process keeps of it is never old for long.

The store broadcasts the names of keys that were written (client tracking of Redis 6 and Valkey, RESP3). A probe is sent
every `PROBE_S` seconds on the same connection: when its answer is here, so is the name of every key that was written
before it was sent. Whoever keeps what it has read may use it until `SURE_S` seconds after the last such probe, and not
at all while the store does not answer.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final, cast

import redis
import redis.asyncio
from redis.asyncio.connection import AbstractConnection

from serving.online.connection import connect_async
from serving.online.keys import Keys

PROBE_S: Final = 0.2
SURE_S: Final = 0.9
"""Seconds for which a probe vouches for what is kept, counted from when it was sent: less than the second that is
promised."""
_RETRY_S: Final = 0.5

Changed = Callable[[Sequence[str] | None], None]
"""Takes the keys that were written; None when any may have been."""


class Watch:
    """Names of changed keys of one project; runs as long as its process needs it."""

    def __init__(self, url: str, project: str, changed: Changed) -> None:
        self._client = connect_async(url)
        self._prefixes = Keys(project).watched
        self._changed = changed
        self._sure_until_s = 0.0
        self._task: asyncio.Task[None] | None = None

    @property
    def is_sure(self) -> bool:
        """Whether every change that is older than a second has been told."""
        return time.monotonic() < self._sure_until_s

    def start(self) -> None:
        """Watch from now on; nothing if it does already."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Watch no longer."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        await self._client.aclose()

    async def _run(self) -> None:
        while True:
            with suppress(redis.RedisError, OSError):
                await self._watch()
            self._sure_until_s = 0.0
            await asyncio.sleep(_RETRY_S)

    async def _watch(self) -> None:
        pool = cast(Any, self._client.connection_pool)  # the library has no types there
        connection = await pool.get_connection()
        try:
            parser = cast(Any, connection)._parser  # noqa: SLF001  # its one way to hand pushes on
            parser.set_invalidation_push_handler(_as_it_is)
            prefixes = [word for prefix in self._prefixes for word in ("PREFIX", prefix)]
            await connection.send_command("CLIENT", "TRACKING", "ON", "BCAST", *prefixes)
            while self._take(await _next(connection)):
                pass
            # What was written while nobody listened is not known.
            self._changed(None)
            await self._listen(connection)
        finally:
            # It still tracks: nobody else may have it.
            await connection.disconnect()
            await pool.release(connection)

    async def _listen(self, connection: AbstractConnection) -> None:
        """Take what is told, for ever; each answer to a probe vouches for what is kept."""
        asked_s = deque[float]()
        probing = asyncio.create_task(self._probe(connection, asked_s))
        try:
            while True:
                if not self._take(await _next(connection)):
                    self._sure_until_s = asked_s.popleft() + SURE_S
        finally:
            probing.cancel()
            with suppress(asyncio.CancelledError, redis.RedisError, OSError):
                await probing

    async def _probe(self, connection: AbstractConnection, asked_s: deque[float]) -> None:
        while True:
            asked_s.append(time.monotonic())
            await connection.send_command("PING")
            await asyncio.sleep(PROBE_S)

    def _take(self, answer: Any) -> bool:
        """Whether this was news and no answer."""
        if not isinstance(answer, list) or not answer or answer[0] not in ("invalidate", b"invalidate"):
            return False
        self._changed(None if answer[1] is None else answer[1])
        return True


async def _next(connection: AbstractConnection) -> Any:
    """What the store says next.

    Raises:
        redis.RedisError: nothing for so long that it must be away.
    """
    return await connection.read_response(timeout=SURE_S, push_request=True)


async def _as_it_is(message: Any) -> Any:
    return message
