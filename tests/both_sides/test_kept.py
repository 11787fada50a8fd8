"""What a process keeps of a profile: forgotten with its own appends, with what changes meanwhile, and in time."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import redis

from dsl.catalog import Catalog, Flag, Rule
from dsl.check import check_catalog
from dsl.clock import parse_instant
from dsl.event_record import EventRecord, write_record
from serving.decide.kept import ForgetfulAppender, Kept, KeptProfiles
from serving.online import Fold, Item, Keys, OnlineAppender, OnlineReader, append, connect_async
from serving.online.project import publish_calendar
from tests.serving.api import running_api
from tests.serving.world import OFFSET_MS, now_ms, publish

NOW_MS = 1_500_000_000_000
FOLD = Fold(check_catalog(Catalog()))
SOON_MS = 250
"""Before an answer expires: time to ask twice."""


def an_item(event_id: str, *identifiers: str, previous: str | None = None) -> Item:
    """A purchase."""
    record = EventRecord(event_id, "track", "buy", NOW_MS, NOW_MS, 0)
    return Item(event_id, write_record(record), event_id, identifiers, previous)


class Process:
    """What one process keeps of a project, and how it reads and appends."""

    def __init__(self, client: redis.asyncio.Redis, project: str) -> None:
        self.keys = Keys(project)
        self.profiles = KeptProfiles(project, 100)
        self.appender = ForgetfulAppender(OnlineAppender(client, project), self.profiles)
        self._reader = OnlineReader(client, project)

    async def read(self, *everybody: str, meanwhile: Callable[[], object] = lambda: None) -> None:
        """Ask for somebody, one after the other; something happens before the answers are kept."""
        with self.profiles.flight() as flight:
            found = [await self._reader.look_up(who) for who in everybody]
            meanwhile()
            for who, reading in zip(everybody, found, strict=True):
                flight.land(Kept(who, reading, FOLD, FOLD.unpack(reading)))

    def kept(self, *everybody: str) -> list[bool]:
        """Of whom something is kept."""
        return [self.profiles.get(who) is not None for who in everybody]


def in_process(url: str, project: str, work: Callable[[Process], Awaitable[None]]) -> None:
    """Do something in a process of its own loop and connection."""

    async def run() -> None:
        client = connect_async(url)
        await work(Process(client, project))
        await client.aclose()

    asyncio.run(run())


def test_its_own_appends_are_forgotten_at_once(valkey_url: str, online: redis.Redis, project: str) -> None:
    """Of whom an event names, and of nobody else, nothing older is kept once it is appended; nobody has to tell."""
    append(online, project, [an_item("1", "user:ann", "anon:a"), an_item("2", "user:bob"), an_item("3", "anon:c")], 0)

    async def work(process: Process) -> None:
        for sent, expected in (
            (an_item("4", "anon:a"), [False, False, True, True]),
            (an_item("5", "user:bob", "anon:d"), [True, True, False, True]),
            (an_item("6", "user:ann", previous="c"), [False, False, True, False]),
        ):
            everybody = "user:ann", "anon:a", "user:bob", "anon:c"
            await process.read(*everybody)
            assert [True] * 4 == process.kept(*everybody)
            await process.appender.append([sent], NOW_MS)
            assert expected == process.kept(*everybody)

    in_process(valkey_url, project, work)


def test_what_changes_meanwhile_is_not_kept(valkey_url: str, online: redis.Redis, project: str) -> None:
    """Of whom something changes while the store is asked, what it said is not kept; of others it is."""
    append(online, project, [an_item("1", "user:ann"), an_item("2", "user:bob")], 0)

    async def work(process: Process) -> None:
        everybody = "user:ann", "user:bob", "user:eve"
        await process.read(*everybody, meanwhile=lambda: process.profiles.forget([process.keys.fresh("user:ann")]))
        assert [False, True, True] == process.kept(*everybody)
        await process.read(*everybody, meanwhile=lambda: process.profiles.forget([process.keys.ident("user:eve")]))
        assert [True, True, False] == process.kept(*everybody)
        await process.read(*everybody, meanwhile=lambda: process.profiles.forget(None))
        assert [False, False, False] == process.kept(*everybody)

    in_process(valkey_url, project, work)


def test_an_answer_is_kept_until_it_expires(valkey_url: str, online: redis.Redis, project: str, tmp_path: Path) -> None:
    """The same answer is given again until the instant at which it ends, and not after it."""
    catalog = Catalog(flags=(Flag("recent", (Rule("events.purchase.count_90s >= 1", "on"),)),))
    world = publish(online, project, catalog=catalog)
    with running_api(tmp_path / "log", REDIS_URL=valkey_url, PROJECT=project, DECIDE_DEADLINE_MS="5000") as api:
        headers = {"x-api-key": world.keys["admin"]}

        def ask() -> tuple[bool, str, int]:
            answer = api.http.get("/v1/decide?userId=dan&flag=recent", headers=headers).json()
            ends = answer["expiresAt"]
            return answer["allow"], answer["asOf"], 0 if ends is None else parse_instant(ends)

        api.http.post("/v1/track", json={"userId": "dan", "event": "purchase"}, headers=headers)
        end_ms = ask()[2]
        offset_ms = OFFSET_MS - (end_ms - now_ms() - SOON_MS)
        publish_calendar(online, project, "UTC", offset_ms)

        def passed_ms() -> int:
            return time.time_ns() // 1_000_000 - offset_ms - end_ms

        while parse_instant((first := ask())[1]) < end_ms - 2 * SOON_MS:
            assert passed_ms() < 0
        again = ask()
        assert passed_ms() > 0 or (True, first) == (first[0], again)
        while passed_ms() <= 0:
            assert (True, end_ms) == ask()[::2] or passed_ms() > 0
            time.sleep(0.002)
        assert not ask()[0]
