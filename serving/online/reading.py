"""Looking into the online store: what is known of a profile, the current catalog version, keys.

What is asked and how the answer is read are pure functions, shared by the blocking client of the command line and the
asynchronous one of the API.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha1
from pathlib import Path
from typing import Any, Final, cast

import redis
import redis.asyncio
from redis.client import NEVER_DECODE
from redis.exceptions import NoScriptError

from dsl.identifiers import profile_id as new_profile_id
from serving.online.connection import store_errors
from serving.online.keys import Keys
from serving.online.snapshot import Reading, Snapshot, SourceReading
from serving.online.wire import unpack_catalog, unpack_ranks, unpack_snapshot

_LOOK_UP: Final = (Path(__file__).parent / "look_up.lua").read_text(encoding="utf-8")
_SHA: Final = sha1(_LOOK_UP.encode(), usedforsecurity=False).hexdigest()
_RAW: Final[dict[str, Any]] = {NEVER_DECODE: True}
"""Tiles are bytes, whatever the client makes of other answers."""


def look_up(client: redis.Redis, project: str, who: str) -> Reading:
    """All that is known of a profile at one moment.

    Args:
        who: an identifier (`user:208`, as `dsl.identifiers.source_id` writes it) or a profile id. A `user` value that
            is a known profile id addresses that profile.
    """
    question, run = _Question.of(project, who), cast(Any, client)
    with store_errors():
        try:
            answer = run.execute_command("EVALSHA", _SHA, *question.arguments, **_RAW)
        except NoScriptError:
            answer = run.execute_command("EVAL", _LOOK_UP, *question.arguments, **_RAW)
    return _reading(answer)


def resolve(client: redis.Redis, project: str, identifier: str) -> str | None:
    """The profile id of an identifier; None when nobody is known by it."""
    with store_errors():
        found = client.get(Keys(project).ident(identifier))
    return None if found is None else str(found)


def profile_ids(client: redis.Redis, project: str) -> Iterator[str]:
    """Profiles with members, in no order, each once at least; reading a few takes little time."""
    prefix, keys = Keys(project).profile(""), Keys(project)
    with store_errors():
        for key in client.scan_iter(match=keys.profiles_pattern, count=1_000):
            profile_id = str(key).removeprefix(prefix)
            if any(":" in member for member in client.hkeys(key)):
                yield profile_id


def snapshot(client: redis.Redis, project: str) -> Snapshot | None:
    """The newest finished publication; None when there never was one."""
    with store_errors():
        found = client.get(Keys(project).snapshot)
    return None if found is None else unpack_snapshot(str(found).encode())


def current_version(client: redis.Redis, project: str) -> int | None:
    """The catalog version that decisions use; None when none was published."""
    with store_errors():
        found = client.get(Keys(project).catalog_current)
    return None if found is None else int(found)


def current_catalog(client: redis.Redis, project: str) -> Mapping[str, Any] | None:
    """The document of the catalog version that decisions use; None when none was published."""
    keys = Keys(project)
    with store_errors():
        version = client.get(keys.catalog_current)
        found = None if version is None else client.get(keys.catalog(int(version)))
    return None if found is None else unpack_catalog(str(found))


class OnlineReader:
    """The same, without blocking: for processes that answer many at once."""

    def __init__(self, client: redis.asyncio.Redis, project: str) -> None:
        self._client = client
        self._keys = Keys(project)

    async def look_up(self, who: str) -> Reading:
        """As the function `look_up`."""
        question, run = _Question.of(self._keys.project, who), cast(Any, self._client)
        with store_errors():
            try:
                answer = await run.execute_command("EVALSHA", _SHA, *question.arguments, **_RAW)
            except NoScriptError:
                answer = await run.execute_command("EVAL", _LOOK_UP, *question.arguments, **_RAW)
        return _reading(answer)

    async def key_kind(self, digest: str) -> str | None:
        """`write`, `read` or `admin` of the API key with this hex SHA-256; None when there is no such key."""
        with store_errors():
            found = await self._client.hget(self._keys.api_keys, digest)
        return None if found is None else str(found)

    async def catalog(self, version: int) -> Mapping[str, Any] | None:
        """The document of a catalog version; None when it is not in the store."""
        with store_errors():
            found = await self._client.get(self._keys.catalog(version))
        return None if found is None else unpack_catalog(str(found))

    async def snapshot(self) -> Snapshot | None:
        """As the function `snapshot`."""
        with store_errors():
            found = await self._client.get(self._keys.snapshot)
        return None if found is None else unpack_snapshot(str(found).encode())

    async def close(self) -> None:
        """Give the connections back."""
        await self._client.aclose()


@dataclass(frozen=True, slots=True)
class _Question:
    """What follows the script in a call of it: number of keys, keys, arguments."""

    arguments: list[str | int]

    @classmethod
    def of(cls, project: str, who: str) -> "_Question":
        keys = Keys(project)
        its_keys = [keys.catalog_current, keys.snapshot, keys.seq, keys.loading]
        prefixes = [keys.ident(""), keys.profile(""), keys.base(""), keys.chunk(""), keys.fresh(""), keys.rank("")]
        kind, colon, value = who.partition(":")
        if not colon:
            return cls([4, *its_keys, *prefixes, who, ""])
        may_be_profile = value if kind == "user" else ""
        return cls([5, *its_keys, keys.ident(who), *prefixes, new_profile_id(who), may_be_profile])


def _reading(answer: Any) -> Reading:
    profile_id, version, taken, seq, is_loading, ranks, sources = answer
    return Reading(
        profile_id=profile_id.decode(),
        sources=[_source(*source) for source in sources],
        seq=int(seq or 0),
        snapshot=None if taken is None else unpack_snapshot(taken),
        catalog_version=None if version is None else int(version),
        is_loading=bool(is_loading),
        ranks={} if ranks is None else unpack_ranks(ranks),
    )


def _source(source_id: bytes, base: bytes | None, chunk: bytes | None, entries: list[Any]) -> SourceReading:
    fresh = [(int(entry.partition(b"-")[0]), fields[1]) for entry, fields in entries]
    return SourceReading(source_id.decode(), base, chunk, fresh)
