"""What deployments, the registry and bulk loads write into the online store."""

from collections.abc import Mapping
from itertools import islice
from typing import Any

import redis

from serving.online.connection import store_errors
from serving.online.keys import Keys
from serving.online.wire import pack_catalog

# KEYS: counter, log, last appended_at, ranges that are not published. The log says that the range is reserved: its gap
# is no loss.
_RESERVE = """
local held = tonumber(redis.call('GET', KEYS[1]) or '0')
if tonumber(ARGV[2]) > held then redis.call('SET', KEYS[1], ARGV[2]) end
local first = string.format('%.0f', redis.call('INCRBY', KEYS[1], 0) + 1)
local last = redis.call('INCRBY', KEYS[1], ARGV[1])
if tonumber(ARGV[1]) > 0 then
  local at = redis.call('GET', KEYS[3]) or '0'
  redis.call('XADD', KEYS[2], first .. '-0', 'at', at, 'type', 'reserved', 'last', string.format('%.0f', last))
  redis.call('HSET', KEYS[4], first, string.format('%.0f', last))
end
return last
"""


# KEYS: counter, log.
_NEWEST = """
local held = tonumber(redis.call('GET', KEYS[1]) or '0')
if held < tonumber(ARGV[1]) and redis.call('XLEN', KEYS[2]) == 0 then redis.call('SET', KEYS[1], ARGV[1]) end
return redis.call('GET', KEYS[1]) or '0'
"""
# KEYS: the announced cut, log.
_ANNOUNCE = """
if tonumber(ARGV[1]) <= tonumber(redis.call('GET', KEYS[1]) or '-1') then return end
redis.call('SET', KEYS[1], ARGV[1])
redis.call('XTRIM', KEYS[2], 'MINID', string.format('%.0f-0', tonumber(ARGV[1]) + 1))
"""


def reserve_seq(client: redis.Redis, project: str, count: int, floor: int) -> int:
    """The first of `count` numbers that nobody else ever gets; those that are not used become holes.

    Decisions say `stale: bulk_load` until a publication that contains the range has ended.

    Args:
        floor: highest `seq` known to be in use elsewhere; the range begins above it even when the counter was lost.
    """
    keys = Keys(project)
    with store_errors():
        its_keys = [keys.seq, keys.log, keys.appended_at, keys.loading]
        last: int = client.register_script(_RESERVE)(keys=its_keys, args=[count, floor])
    return last - count + 1


def newest_seq(client: redis.Redis, project: str, floor: int) -> int:
    """The newest number that was given; a counter that was lost goes on after `floor` unless the log has a record."""
    keys = Keys(project)
    with store_errors():
        return int(client.register_script(_NEWEST)(keys=[keys.seq, keys.log], args=[floor]))


def announce_cut(client: redis.Redis, project: str, cut: int) -> None:
    """Say that every record up to a cut has landed, and let go of it in the log; an older cut changes nothing."""
    keys = Keys(project)
    with store_errors():
        client.register_script(_ANNOUNCE)(keys=[keys.cut, keys.log], args=[cut])


def publish_catalog(client: redis.Redis, project: str, version: int, document: Mapping[str, Any]) -> None:
    """Make a catalog version the one that decisions use, from the next request on."""
    keys = Keys(project)
    with store_errors(), client.pipeline(transaction=True) as pipeline:
        pipeline.set(keys.catalog(version), pack_catalog(document))
        pipeline.set(keys.catalog_current, version)
        pipeline.execute()


def announce_catalog(client: redis.Redis, project: str, version: int, document: Mapping[str, Any]) -> None:
    """Say that a catalog version is coming: its new flags answer their defaults, and who decides reads it ahead."""
    keys = Keys(project)
    with store_errors(), client.pipeline(transaction=True) as pipeline:
        pipeline.set(keys.catalog(version), pack_catalog(document))
        pipeline.set(keys.catalog_pending, version)
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


def delete_project(client: redis.Redis, project: str) -> int:
    """Remove every key of the project, and of no other; returns how many there were."""
    removed = 0
    with store_errors():
        found = client.scan_iter(match=Keys(project).pattern, count=1000)
        while chunk := list(islice(found, 1000)):
            removed += client.unlink(*chunk)
    return removed
