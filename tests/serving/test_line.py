"""One connection for all: who asks gets the answer to its own question, whatever becomes of the others."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import redis
import redis.asyncio

from serving.online import connect_async
from serving.online.line import Line, Script


def using(url: str, work: Callable[[Line, redis.asyncio.Redis], Awaitable[Any]], timeout_s: float = 5.0) -> Any:
    """What comes of some work with a line, which is closed at the end."""

    async def run() -> Any:
        client = connect_async(url)
        try:
            return await work(Line(client, timeout_s), client)
        finally:
            await client.aclose()

    return asyncio.run(run())


def test_everybody_gets_their_own_answer(valkey_url: str) -> None:
    """Many questions at once go over one connection, and each is answered with its own answer."""

    async def work(line: Line, client: redis.asyncio.Redis) -> tuple[list[bytes], int]:
        before = (await client.info("stats"))["total_connections_received"]
        answers = await asyncio.gather(*(line.ask("ECHO", number) for number in range(200)))
        return answers, (await client.info("stats"))["total_connections_received"] - before

    answers, connections = using(valkey_url, work)
    assert [str(number).encode() for number in range(200)] == answers
    assert 1 == connections


def test_a_refusal_is_of_one_question(valkey_url: str) -> None:
    """A command that the store refuses fails with its words; those beside it are answered."""

    async def work(line: Line, _: redis.asyncio.Redis) -> list[Any]:
        asked = (line.ask("ECHO", 1), line.ask("NONSENSE"), line.ask("ECHO", 2))
        return list(await asyncio.gather(*asked, return_exceptions=True))

    first, refused, second = using(valkey_url, work)
    assert (b"1", b"2") == (first, second)
    assert isinstance(refused, redis.ResponseError)
    assert "NONSENSE" in str(refused)


def test_who_goes_away_leaves_no_gap(valkey_url: str) -> None:
    """An answer that nobody waits for any more is not given to somebody else."""

    async def work(line: Line, _: redis.asyncio.Redis) -> bytes:
        await line.ask("PING")
        gone = asyncio.create_task(line.ask("ECHO", "gone"))
        await asyncio.sleep(0)
        gone.cancel()
        return bytes(await line.ask("ECHO", "here"))

    assert b"here" == using(valkey_url, work)


def test_a_lost_connection_is_made_anew(valkey_url: str) -> None:
    """A connection that ended, between two questions or during one, is replaced, and the question asked again."""

    async def work(line: Line, client: redis.asyncio.Redis) -> tuple[bool, Any, Any]:
        first = await line.ask("CLIENT", "ID")
        await client.client_kill_filter(_id=str(first), skipme=False)
        second = await line.ask("CLIENT", "ID")
        waiting = asyncio.create_task(line.ask("BLPOP", "{nobody}:list", 1))
        await asyncio.sleep(0.05)
        await client.client_kill_filter(_id=str(second), skipme=False)
        return first < second, await line.ask("ECHO", "on"), await waiting

    assert (True, b"on", None) == using(valkey_url, work)


def test_a_store_that_says_nothing(valkey_url: str) -> None:
    """A question that is not answered in time fails; the next one has a connection of its own."""

    async def work(line: Line, _: redis.asyncio.Redis) -> tuple[float, bytes]:
        began = time.monotonic()
        with pytest.raises(redis.TimeoutError):
            await line.ask("BLPOP", "{nobody}:list", 5)
        return time.monotonic() - began, bytes(await line.ask("ECHO", "on"))

    seconds, answer = using(valkey_url, work, timeout_s=0.2)
    assert (True, b"on") == (0.2 <= seconds < 2, answer)


def test_nobody_there() -> None:
    """A store that cannot be reached is an error at once."""

    async def work(line: Line, _: redis.asyncio.Redis) -> None:
        with pytest.raises(redis.ConnectionError):
            await line.ask("PING")

    using("redis://127.0.0.1:1/0", work)


def test_a_script_is_sent_where_it_is_not_known(valkey_url: str, online: redis.Redis) -> None:
    """A store that does not know the script, or no longer does, is sent it."""

    async def work(line: Line, _: redis.asyncio.Redis) -> list[Any]:
        script, found = Script(line, "return {KEYS[1], ARGV[1]}"), []
        for turn in range(3):
            if turn != 1:
                online.script_flush()
            found.append(await script.run(["{a}:key"], [turn]))
        return found

    assert [[b"{a}:key", str(turn).encode()] for turn in range(3)] == using(valkey_url, work)
