"""Looking into the online store: what is known of a profile, the current catalog version, keys.

What is asked and how the answer is read are pure functions, shared by the blocking client of the command line and the
asynchronous one of the API.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha1
from pathlib import Path
from typing import Any, Final, cast

import redis
import redis.asyncio
from redis.client import NEVER_DECODE
from redis.exceptions import NoScriptError

from dsl.identifiers import profile_id as new_profile_id
from serving.online.connection import store_errors
from serving.online.exceptions import ProfileTooLargeError
from serving.online.keys import Keys
from serving.online.line import Line, Script
from serving.online.snapshot import Reading, Snapshot, SourceReading
from serving.online.wire import unpack_catalog, unpack_ranks, unpack_snapshot

_LOOK_UP: Final = (Path(__file__).parent / "look_up.lua").read_text(encoding="utf-8")
_TIMEOUT_S: Final = 1.0
_PROFILE_ID_LENGTH: Final = 36
"""How long the store may take over one question."""
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
            answer = run.execute_command("EVALSHA", _script(project).sha, *question.arguments, **_RAW)
        except NoScriptError:
            answer = run.execute_command("EVAL", _script(project).text, *question.arguments, **_RAW)
    return _reading(answer, who, question.event_ids)


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
        self._look_up = Script(Line(client, _TIMEOUT_S), _script(project).text)

    async def look_up(
        self, who: str, event_ids: Sequence[str] = (), most_fresh: int = 0, patience_s: float = _TIMEOUT_S
    ) -> Reading:
        """As the function `look_up`.

        Args:
            event_ids: of which the reading tells whether the log has them.
            most_fresh: how many fresh events of a source are read at most; 0 is no limit.
            patience_s: how long to wait for the store.

        Raises:
            ProfileTooLargeError: a source has more.
        """
        key, *arguments = _Question.of(self._keys.project, who, event_ids, most_fresh).arguments[1:]
        with store_errors():
            return _reading(await self._look_up.run([str(key)], arguments, patience_s), who, event_ids)

    async def key_kind(self, digest: str) -> str | None:
        """`write`, `read` or `admin` of the API key with this hex SHA-256; None when there is no such key."""
        with store_errors():
            found = await self._client.hget(self._keys.api_keys, digest)
        return None if found is None else str(found)

    async def catalog_versions(self) -> set[int]:
        """The version that decisions use, and one that is being prepared; none where nothing was published."""
        with store_errors():
            found = await self._client.mget(self._keys.catalog_current, self._keys.catalog_pending)
        return {int(version) for version in found if version is not None}

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
class _Script:
    """The script of one project, and the hash that the server knows it by."""

    text: str
    sha: str


@lru_cache(maxsize=1_000)
def _script(project: str) -> _Script:
    """The script with the names of the project's keys before it."""
    keys = Keys(project)
    names = {
        "CURRENT": keys.catalog_current,
        "COMING": keys.catalog_pending,
        "SNAPSHOT": keys.snapshot,
        "SEQ": keys.seq,
        "LOADING": keys.loading,
        "IDENT": keys.ident(""),
        "PROFILE": keys.profile(""),
        "BASE": keys.base(""),
        "CHUNK": keys.chunk(""),
        "FRESH": keys.fresh(""),
        "RANK": keys.rank(""),
        "EVENT": keys.event(""),
    }
    values = ("".join(f"\\{byte:03d}" for byte in name.encode()) for name in names.values())
    stated = ", ".join(f"'{value}'" for value in values)
    text = f"local {', '.join(names)} = {stated}\n{_LOOK_UP}"
    return _Script(text, sha1(text.encode(), usedforsecurity=False).hexdigest())


@dataclass(frozen=True, slots=True)
class _Question:
    """What follows the script in a call of it: number of keys, keys, arguments."""

    arguments: Sequence[str | int]
    event_ids: Sequence[str]

    @classmethod
    def of(cls, project: str, who: str, event_ids: Sequence[str] = (), most_fresh: int = 0) -> "_Question":
        keys = Keys(project)
        kind, colon, value = who.partition(":")
        if not colon:
            return cls((1, keys.profile(who), who, "", "id", most_fresh, *event_ids), event_ids)
        may_be_profile = value if kind == "user" and len(value) == _PROFILE_ID_LENGTH else ""
        return cls((1, keys.ident(who), "", may_be_profile, "", most_fresh, *event_ids), event_ids)


def _reading(answer: Any, who: str, event_ids: Sequence[str] = ()) -> Reading:
    profile_id, version, coming, taken, seq, is_loading, ranks, sources, known = answer
    return Reading(
        profile_id=profile_id.decode() or new_profile_id(who),
        sources=[_source(*source) for source in sources],
        seq=int(seq or 0),
        snapshot=None if taken is None else unpack_snapshot(taken),
        catalog_version=None if version is None else int(version),
        coming_version=None if coming is None or coming == version else int(coming),
        is_loading=bool(is_loading),
        ranks={} if ranks is None else unpack_ranks(ranks),
        known_events=frozenset(id_ for id_, is_known in zip(event_ids, known, strict=True) if is_known),
    )


def _source(source_id: bytes, base: bytes | None, chunk: bytes | None, entries: list[Any] | None) -> SourceReading:
    if entries is None:
        raise ProfileTooLargeError(
            "the profile has more events that no tile has yet than are read for one answer: see that `tinycdp worker`"
            " runs, which folds them"
        )
    fresh = [(int(entry.partition(b"-")[0]), fields[1]) for entry, fields in entries]
    return SourceReading(source_id.decode(), base, chunk, fresh)
