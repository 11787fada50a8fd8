"""Everything that is written into the online store by a refresh, a deployment and the registry."""

from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any

import redis

from dsl.state import State
from serving.online.connection import store_errors
from serving.online.exceptions import OlderPublicationError
from serving.online.keys import Keys
from serving.online.snapshot import Snapshot
from serving.online.wire import pack_catalog, pack_snapshot, pack_state

# Profiles a script call: about 1 MB, so that the server is never busy for more than a few milliseconds.
_CHUNK = 500

# KEYS: counter, log, last appended_at. The log says that the range is reserved: its gap is no loss.
_RESERVE = """
local held = tonumber(redis.call('GET', KEYS[1]) or '0')
if tonumber(ARGV[2]) > held then redis.call('SET', KEYS[1], ARGV[2]) end
local first = string.format('%.0f', redis.call('INCRBY', KEYS[1], 0) + 1)
local last = redis.call('INCRBY', KEYS[1], ARGV[1])
if tonumber(ARGV[1]) > 0 then
  local at = redis.call('GET', KEYS[3]) or '0'
  redis.call('XADD', KEYS[2], first .. '-0', 'at', at, 'type', 'reserved', 'last', string.format('%.0f', last))
end
return last
"""

# KEYS[1]: the newest publication begun. The others are set to ARGV[3..] unless that one is newer than ours.
_PUBLISH = """
local held = redis.call('HMGET', KEYS[1], 'cut', 'as_of')
local cut, as_of = tonumber(ARGV[1]), tonumber(ARGV[2])
if held[1] then
  local held_cut, held_as_of = tonumber(held[1]), tonumber(held[2])
  if cut < held_cut or (cut == held_cut and as_of < held_as_of) then return held end
end
redis.call('HSET', KEYS[1], 'cut', ARGV[1], 'as_of', ARGV[2])
for i = 2, #KEYS do redis.call('SET', KEYS[i], ARGV[i + 1]) end
return {}
"""


def reserve_seq(client: redis.Redis, project: str, count: int, floor: int) -> int:
    """The first of `count` numbers that nobody else ever gets; those that are not used become holes.

    Args:
        floor: highest `seq` known to be in use elsewhere; the range begins above it even when the counter was lost.
    """
    keys = Keys(project)
    with store_errors():
        last: int = client.register_script(_RESERVE)(keys=[keys.seq, keys.log, keys.appended_at], args=[count, floor])
    return last - count + 1


def publish_catalog(client: redis.Redis, project: str, version: int, document: Mapping[str, Any]) -> None:
    """Make a catalog version the one that decisions use, from the next request on."""
    keys = Keys(project)
    with store_errors(), client.pipeline(transaction=True) as pipeline:
        pipeline.set(keys.catalog(version), pack_catalog(document))
        pipeline.set(keys.catalog_current, version)
        pipeline.execute()


def publish_keys(client: redis.Redis, project: str, kinds: Mapping[str, str]) -> None:
    """Replace all API keys of the project.

    Args:
        kinds: hex SHA-256 of each key -> `write`, `read` or `admin`.
    """
    keys = Keys(project)
    with store_errors(), client.pipeline(transaction=True) as pipeline:
        pipeline.delete(keys.api_keys)
        if kinds:
            pipeline.hset(keys.api_keys, mapping=dict(kinds.items()))
        pipeline.execute()


def publish_states(
    client: redis.Redis,
    project: str,
    snapshot: Snapshot,
    profiles: Iterable[tuple[State, Iterable[str]]],
    progress: Callable[[int], None] | None = None,
) -> int:
    """Publish the state of each profile and the identifiers that lead to it; returns the number of profiles.

    A publication that began with a newer `(cut, as_of_ms)` makes this one stop: what was written until then has been,
    or is being, written over. The snapshot is announced when all states are there.

    Args:
        profiles: states with the profile's identifiers: `(State(…), ("user:208",))`.
        progress: told the number of profiles written so far, after each chunk.

    Raises:
        OlderPublicationError: a newer publication has begun.
    """
    keys, stream, done = Keys(project), iter(profiles), 0
    _publish(client, keys, snapshot, {})
    while chunk := list(islice(stream, _CHUNK)):
        _publish(client, keys, snapshot, _entries(keys, chunk))
        done += len(chunk)
        if progress:
            progress(done)
    _publish(client, keys, snapshot, {keys.snapshot: pack_snapshot(snapshot)})
    return done


def delete_project(client: redis.Redis, project: str) -> int:
    """Remove every key of the project, and of no other; returns how many there were."""
    removed = 0
    with store_errors():
        found = client.scan_iter(match=Keys(project).pattern, count=1000)
        while chunk := list(islice(found, 1000)):
            removed += client.unlink(*chunk)
    return removed


def _entries(keys: Keys, chunk: Iterable[tuple[State, Iterable[str]]]) -> dict[str, bytes | str]:
    entries: dict[str, bytes | str] = {}
    for state, identifiers in chunk:
        entries[keys.state(state.profile_id)] = pack_state(state)
        entries.update((keys.ident(identifier), state.profile_id) for identifier in identifiers)
    return entries


def _publish(client: redis.Redis, keys: Keys, snapshot: Snapshot, entries: Mapping[str, bytes | str]) -> None:
    with store_errors():
        newer: list[str] = client.register_script(_PUBLISH)(
            keys=[keys.publishing, *entries],
            args=[snapshot.cut, snapshot.as_of_ms, *entries.values()],
        )
    if newer:
        raise OlderPublicationError(
            f"the publication of cut {snapshot.cut} stopped because cut {newer[0]} is already being published:"
            " nothing to do, the newer one stands"
        )
