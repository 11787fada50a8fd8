"""One connection to the store for all that a process asks at once: commands go out as they come, in this order.

redis-py connects, and speaks TLS and passwords; from then on its parts that cost tens of microseconds for each command
are left out of the way. A command is sent again, once, when the connection turns out to be lost: what is asked here has
to bear that. An answer that takes more than `timeout_s` is given up, after twice that time at the latest.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from hashlib import sha1
from typing import Any, Final, cast

import hiredis
import redis
import redis.asyncio

_NO_SCRIPT: Final = "NOSCRIPT"


class Line:
    """Asks commands of a store."""

    def __init__(self, client: redis.asyncio.Redis, timeout_s: float) -> None:
        self._pool = cast(Any, client.connection_pool)  # the library has no types there
        self._timeout_s = timeout_s
        self._talk: _Talk | None = None
        self._connecting = asyncio.Lock()

    async def ask(self, *words: str | bytes | int, patience_s: float | None = None) -> Any:
        """The answer to a command; texts in it are bytes.

        Args:
            patience_s: gives up this question, and no other, after that time; a connection is given it once more.

        Raises:
            redis.RedisError: the store is away, too slow, or refuses the command.
            OSError: as above.
            TimeoutError: no connection was made in that time.
        """
        packed = hiredis.pack_command(cast(Any, words))  # its types allow one word only
        try:
            return await self._ask(packed, patience_s)
        except redis.TimeoutError:
            raise
        except redis.ConnectionError:
            return await self._ask(packed, patience_s)

    async def _ask(self, packed: bytes, patience_s: float | None) -> Any:
        talk = self._talk
        if talk is None or talk.is_over:
            async with asyncio.timeout(patience_s):
                talk = await self._open()
        answer = talk.ask(packed)
        if patience_s is None:
            return await answer
        impatience = answer.get_loop().call_later(patience_s, _give_up, answer, patience_s)
        try:
            return await answer
        finally:
            impatience.cancel()

    async def _open(self) -> "_Talk":
        talk = self._talk
        if talk is not None and not talk.is_over:
            return talk
        async with self._connecting:
            if self._talk is None or self._talk.is_over:
                self._talk = await self._connect()
            return self._talk

    async def _connect(self) -> "_Talk":
        connection = await self._pool.get_connection()
        transport = connection._writer.transport  # noqa: SLF001  # it has no other way to hand it over
        talk = _Talk(transport, self._timeout_s, lambda: self._give_back(connection))
        transport.set_protocol(talk)
        return talk

    def _give_back(self, connection: Any) -> None:
        """The connection is lost, which its pool has to know."""

        async def end() -> None:
            await connection.disconnect(nowait=True)
            await self._pool.release(connection)

        self._ending = asyncio.get_running_loop().create_task(end())


def _give_up(answer: "asyncio.Future[Any]", patience_s: float) -> None:
    if not answer.done():
        answer.set_exception(redis.TimeoutError(f"no answer within {patience_s:g} s"))


class _Talk(asyncio.Protocol):
    """What is said over one connection: answers come in the order of the questions."""

    def __init__(self, transport: asyncio.Transport, timeout_s: float, over: Callable[[], None]) -> None:
        self._transport = transport
        self._before = transport.get_protocol()
        self._timeout_s = timeout_s
        self._over = over
        self._reader = hiredis.Reader(protocolError=redis.InvalidResponse, replyError=redis.ResponseError)
        self._waiting = deque[asyncio.Future[Any]]()
        self._loop = asyncio.get_running_loop()
        self._watched: asyncio.Future[Any] | None = None
        self._watch: asyncio.TimerHandle | None = None
        self.is_over = False

    def ask(self, packed: bytes) -> "asyncio.Future[Any]":
        if self.is_over:
            raise redis.ConnectionError("the connection is lost")
        answer: asyncio.Future[Any] = self._loop.create_future()
        self._waiting.append(answer)
        # At once: the store works while the rest of this turn of the loop is done here.
        self._transport.write(packed)
        if self._watch is None:
            self._look()
        return answer

    def data_received(self, data: bytes) -> None:
        """Some of what the store says."""
        self._reader.feed(data)
        try:
            while (said := self._reader.gets()) is not False:
                if not isinstance(said, hiredis.PushNotification):
                    self._tell(said)
        except redis.InvalidResponse as error:
            self._end(redis.ConnectionError(str(error)))

    def connection_lost(self, exc: Exception | None) -> None:
        """The store has gone, or the process ends."""
        self._end(redis.ConnectionError("the connection is lost" if exc is None else str(exc)))
        # Who closes the connection waits for this.
        cast(asyncio.Protocol, self._before).connection_lost(exc)

    def _tell(self, said: Any) -> None:
        answer = self._waiting.popleft()
        if answer.done():  # nobody waits for it any more
            return
        if isinstance(said, redis.ResponseError):
            answer.set_exception(said)
        else:
            answer.set_result(said)

    def _look(self) -> None:
        """Whether the question that was the oldest the last time still is: then the store is too slow, or away."""
        oldest = self._waiting[0] if self._waiting else None
        if oldest is not None and oldest is self._watched:
            self._end(redis.TimeoutError(f"no answer within {self._timeout_s:g} s"))
        self._watched = oldest
        is_needed = oldest is not None and not self.is_over
        self._watch = self._loop.call_later(self._timeout_s, self._look) if is_needed else None

    def _end(self, why: redis.RedisError) -> None:
        if self.is_over:
            return
        self.is_over = True
        waiting, self._waiting = self._waiting, deque()
        for answer in waiting:
            if not answer.done():
                answer.set_exception(why)
        if self._watch is not None:
            self._watch.cancel()
        self._transport.abort()
        self._over()


class Script:
    """A Lua script, known to the store by its digest."""

    def __init__(self, line: Line, text: str) -> None:
        self._line = line
        self._text = text
        self._digest = sha1(text.encode(), usedforsecurity=False).hexdigest()

    async def run(self, keys: list[str], arguments: list[Any], patience_s: float | None = None) -> Any:
        """What the script returns; as `Line.ask`."""
        ask = self._line.ask
        try:
            return await ask("EVALSHA", self._digest, len(keys), *keys, *arguments, patience_s=patience_s)
        except redis.ResponseError as error:
            if not str(error).startswith(_NO_SCRIPT):
                raise
        return await ask("EVAL", self._text, len(keys), *keys, *arguments, patience_s=patience_s)
