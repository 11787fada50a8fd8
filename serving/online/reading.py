"""Looking into the online store: the state of a profile, the current catalog version, keys.

What is asked and how the answer is read are pure functions, shared by the blocking client of the command line and the
asynchronous one of the API.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import redis
import redis.asyncio

from dsl.clock import Clock
from dsl.identifiers import profile_id as new_profile_id
from dsl.state import State
from serving.online.connection import store_errors
from serving.online.keys import Keys
from serving.online.snapshot import Reading, Snapshot
from serving.online.wire import unpack_catalog, unpack_snapshot, unpack_state

# One round trip: which profile, its state, and what that is to be judged by. KEYS[3] is absent for a profile id.
# ARGV: what state keys begin with, the profile id if unknown, a profile id that a `user` value may be (or nothing).
_LOOK_UP = """
local id = ARGV[2]
if ARGV[3] ~= '' and redis.call('EXISTS', ARGV[1] .. ARGV[3]) == 1 then
  id = ARGV[3]
elseif KEYS[3] then
  id = redis.call('GET', KEYS[3]) or id
end
return {id, redis.call('GET', ARGV[1] .. id), redis.call('GET', KEYS[1]), redis.call('GET', KEYS[2])}
"""


def read(client: redis.Redis, project: str, who: str) -> State:
    """What is known of a profile; an unknown one has empty mappings and the id that it would get.

    Args:
        who: an identifier (`user:208`, as `dsl.identifiers.source_id` writes it) or a profile id. A `user` value that
            is a known profile id addresses that profile.
    """
    return look_up(client, project, who).state


def look_up(client: redis.Redis, project: str, who: str) -> Reading:
    """The state of a profile together with the snapshot and the catalog version of the same moment."""
    question = _Question.of(project, who)
    with store_errors():
        return _reading(client.register_script(_LOOK_UP)(keys=question.keys, args=question.arguments))


def resolve(client: redis.Redis, project: str, identifier: str) -> str | None:
    """The profile id of an identifier; None when nobody is known by it."""
    with store_errors():
        found = client.get(Keys(project).ident(identifier))
    return None if found is None else str(found)


def snapshot(client: redis.Redis, project: str) -> Snapshot | None:
    """The newest finished publication; None when there never was one."""
    with store_errors():
        return _snapshot(client.get(Keys(project).snapshot))


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
        self._look_up = client.register_script(_LOOK_UP)

    async def look_up(self, who: str) -> Reading:
        """As the function `look_up`."""
        question = _Question.of(self._keys.project, who)
        with store_errors():
            return _reading(await self._look_up(keys=question.keys, args=question.arguments))

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
            return _snapshot(await self._client.get(self._keys.snapshot))

    async def close(self) -> None:
        """Give the connections back."""
        await self._client.aclose()


@dataclass(frozen=True, slots=True)
class _Question:
    """Keys and arguments of the look-up script."""

    keys: list[str]
    arguments: list[str]

    @classmethod
    def of(cls, project: str, who: str) -> "_Question":
        keys = Keys(project)
        judged_by = [keys.catalog_current, keys.snapshot]
        kind, colon, value = who.partition(":")
        if not colon:
            return cls(judged_by, [keys.states, who, ""])
        may_be_profile = value if kind == "user" else ""
        return cls([*judged_by, keys.ident(who)], [keys.states, new_profile_id(who), may_be_profile])


def _reading(answer: list[str | None]) -> Reading:
    found_id, state, version, packed_snapshot = answer
    profile_id = str(found_id)
    taken = _snapshot(packed_snapshot)
    return Reading(
        state=unpack_state(profile_id, state) if state is not None else _unknown(profile_id, taken),
        snapshot=taken,
        catalog_version=int(version) if version is not None else None,
    )


def _unknown(profile_id: str, taken: Snapshot | None) -> State:
    """Nobody: as of the snapshot, which would hold the profile if it had an event."""
    if taken is None:
        return State(profile_id, as_of_ms=Clock().now_ms(), as_of_seq=0)
    return State(profile_id, as_of_ms=taken.as_of_ms, as_of_seq=taken.cut)


def _snapshot(packed: bytes | str | None) -> Snapshot | None:
    return None if packed is None else unpack_snapshot(str(packed))
