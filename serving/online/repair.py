"""Repair of an online store that was lost, or that is not trusted: what a publication does not bring back.

Everything here may be repeated, and goes on while others append and decide.
"""

from collections.abc import Iterable
from itertools import islice

import redis

from dsl.identity_records import Linked
from serving.online.append import RULES, UNKNOWN_DIGEST, AppendRules, Item, append
from serving.online.connection import store_errors
from serving.online.keys import Keys
from serving.online.log import LogEntry, read_log

_CHUNK = 1_000

# KEYS: counter, up to which numbers are given anew. ARGV: newest cut. A counter behind it was lost.
_BEGIN = """
if tonumber(redis.call('GET', KEYS[1]) or '0') >= tonumber(ARGV[1]) then return end
redis.call('SET', KEYS[1], ARGV[1])
redis.call('SET', KEYS[2], ARGV[1])
"""


def forget_publications(client: redis.Redis, project: str) -> None:
    """The next publication writes everything: whatever is there counts as never published."""
    keys = Keys(project)
    with store_errors():
        client.delete(keys.snapshot, keys.publishing)


def renumber(client: redis.Redis, project: str, landed_seq: int, now_ms: int) -> int:
    """Append anew what a store that had lost its counter gave numbers that the lake has already; how many events.

    An event keeps its id and is counted once: its new record is there before the old one goes.
    """
    keys, moved = Keys(project), 0
    with store_errors():
        client.register_script(_BEGIN)(keys=[keys.seq, keys.renumbering], args=[landed_seq])
        until = int(client.get(keys.renumbering) or 0)
    while entries := [entry for entry in islice(read_log(client, project, 0), _CHUNK) if entry.seq <= until]:
        items = [item for entry in entries if (item := _item(client, keys, entry)) is not None]
        with store_errors(), client.pipeline(transaction=True) as pipeline:
            for item in items:
                pipeline.delete(keys.event(item.event_id))
            pipeline.execute()
        # Each takes the place of one that goes: they are let in also when the log is full.
        append(client, project, items, now_ms, AppendRules(max_log=0))
        moved += len(items)
        with store_errors(), client.pipeline(transaction=True) as pipeline:
            for entry in entries:
                pipeline.xdel(keys.log, f"{entry.seq}-0")
                if isinstance(entry.identity, Linked):
                    pipeline.xdel(keys.fresh(entry.identity.source_id), f"{entry.seq}-0")
            pipeline.execute()
    with store_errors():
        client.delete(keys.renumbering)
    return moved


def remember_ids(
    client: redis.Redis,
    project: str,
    landed: Iterable[tuple[str, int, int | None]],
    now_ms: int,
    rules: AppendRules = RULES,
) -> int:
    """Ids of events that have landed and are not known any more, so that they are never appended again; how many.

    Args:
        landed: event id, `seq`, `appended_at_ms` of the events of the last days; without an instant an id is known for
            ever.
        now_ms: the project's; an id is kept until its window ends.
    """
    keys, stream, told = Keys(project), iter(landed), 0
    while chunk := list(islice(stream, _CHUNK)):
        with store_errors(), client.pipeline(transaction=False) as pipeline:
            for event_id, seq, appended_at_ms in chunk:
                left_ms = None if appended_at_ms is None else appended_at_ms + rules.keep_ms - now_ms
                if left_ms is None or left_ms > 0:
                    pipeline.set(keys.event(event_id), f"{seq}:{UNKNOWN_DIGEST}", px=left_ms, nx=True)
            told += sum(done is not None for done in pipeline.execute())
    return told


def _item(client: redis.Redis, keys: Keys, entry: LogEntry) -> Item | None:
    """What is appended anew; None when that was done already, or it was no event."""
    if not isinstance(entry.identity, Linked):
        return None
    with store_errors():
        known = str(client.get(keys.event(entry.event_id)) or "")
    seq, _, digest = known.partition(":")
    if known and seq != str(entry.seq):
        return None
    linked = entry.identity
    previous = None if linked.alias is None else linked.alias.partition(":")[2]
    return Item(entry.event_id, entry.record, digest or UNKNOWN_DIGEST, (linked.source_id, *linked.weaker), previous)
