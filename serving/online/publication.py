"""Publications: what a refresh makes known to decisions, guarded so that an older one never overwrites a newer.

A publication begins when its refresh does: from then on an older one writes nothing more, also when it wakes up late.
It ends with its catalog version and its snapshot. What it has written until then is right at once, because a base
carries its own cut and the fresh events after it stay; whoever publishes next begins at the snapshot of the last one
that ended.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import accumulate, chain, islice
from queue import SimpleQueue
from typing import Any, Final, cast

import msgspec
import redis

from serving.online.connection import store_errors
from serving.online.keys import Keys
from serving.online.snapshot import Snapshot
from serving.online.steps import Command, Steps
from serving.online.wire import pack_catalog, pack_ranks, pack_snapshot

_CHUNK: Final = 500
"""Sources or profiles at a time, at most."""
_CHUNK_BYTES: Final = 1_000_000
"""Beyond which no more sources are written at a time: the server is busy for some milliseconds, and then has it on disk
once."""
# ARGV: cut; keys of fresh events, as JSON. Most sources of a first publication have none: they are asked about at once.
_LET_GO: Final = """
local fresh = cjson.decode(ARGV[2])
if redis.call('EXISTS', unpack(fresh)) == 0 then return end
local first_left = string.format('%.0f-0', tonumber(ARGV[1]) + 1)
for place = 1, #fresh do
  local gone = redis.call('XTRIM', fresh[place], 'MINID', '=', first_left)
  if gone > 0 and redis.call('XLEN', fresh[place]) == 0 then redis.call('DEL', fresh[place]) end
end
"""
# KEYS: ranges that are loading. ARGV: cut.
_LOADED: Final = """
local ranges = redis.call('HGETALL', KEYS[1])
for place = 1, #ranges, 2 do
  if tonumber(ranges[place + 1]) <= tonumber(ARGV[1]) then redis.call('HDEL', KEYS[1], ranges[place]) end
end
"""
_AHEAD: Final = 4
"""Chunks that wait to be sent."""
_SENDERS: Final = 2
"""So that the server reads one chunk while another is on its way."""

_encoder = msgspec.json.Encoder()

Progress = Callable[[int], None]
"""Is told the number of sources or profiles written so far, after each chunk."""


@dataclass(frozen=True, slots=True)
class Publication:
    """One publication of one project, into a store."""

    client: redis.Redis
    project: str
    snapshot: Snapshot
    _keys: Keys = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_keys", Keys(self.project))

    def begin(self) -> None:
        """No publication of an older `(cut, as_of_ms)` writes anything from here on; nor does this one, if it is older.

        Raises:
            OlderPublicationError: a newer one has begun; so from every other method too.
        """
        with self._steps() as steps:
            steps.take([])

    def bases(self, sources: Iterable[Mapping[str, bytes]], progress: Progress | None = None) -> int:
        """Write the packed tiles of sources, and let go of their fresh events up to the cut; the number of sources.

        Args:
            sources: some at a time, by their ids.
        """
        done = 0
        idle: SimpleQueue[Steps] = SimpleQueue()
        # Chunks are on their way while the next ones are packed.
        with ExitStack() as stack:
            for _ in range(_SENDERS):
                idle.put(stack.enter_context(self._steps()))
            sender = stack.enter_context(ThreadPoolExecutor(_SENDERS))
            waiting: deque[Future[int]] = deque()
            for chunk in _chunks(sources):
                waiting.append(sender.submit(self._write_bases, idle, *chunk))
                while waiting and (len(waiting) > _AHEAD or waiting[0].done()):
                    done += waiting.popleft().result()
                    if progress:
                        progress(done)
            for written in waiting:
                done += written.result()
                if progress:
                    progress(done)
        return done

    def _write_bases(self, idle: SimpleQueue[Steps], sources: Sequence[str], packed: Sequence[bytes]) -> int:
        keys, steps = self._keys, idle.get()
        try:
            fresh, bases = keys.each(keys.fresh, sources), _pairs(keys.each(keys.base, sources), packed)
            # No script writes them: what passes through Lua is copied three times.
            write: list[Command] = [("MSET", *bases), ("DEL", *keys.each(keys.chunk, sources)), ("EXISTS", *fresh)]
            *_, some_fresh = steps.take(write)
            # A reader looks past events that its base has: they may go a moment later.
            if some_fresh:
                steps.take([("EVAL", _LET_GO, 0, self.snapshot.cut, _encoder.encode(fresh))])
        finally:
            idle.put(steps)
        return len(sources)

    def ranks(self, ranks: Iterable[tuple[str, Mapping[str, int]]]) -> None:
        """Write the ranks of profiles."""
        stream = iter(ranks)
        with self._steps() as steps:
            while chunk := list(islice(stream, _CHUNK)):
                names = self._keys.each(self._keys.rank, (profile_id for profile_id, _ in chunk))
                steps.take([("MSET", *_pairs(names, [pack_ranks(values) for _, values in chunk]))])

    def end(self, document: Mapping[str, Any]) -> None:
        """Make its catalog version the one that decisions use, and announce the snapshot: in one step."""
        keys, snapshot = self._keys, self.snapshot
        with self._steps() as steps:
            write = ("MSET", keys.catalog(snapshot.catalog_version), pack_catalog(document))
            announce = (keys.catalog_current, snapshot.catalog_version, keys.snapshot, pack_snapshot(snapshot))
            steps.take([(*write, *announce), ("EVAL", _LOADED, 1, keys.loading, snapshot.cut)])

    @contextmanager
    def _steps(self) -> Iterator[Steps]:
        with store_errors():
            pool = cast(Any, self.client.connection_pool)  # the library has no types there
            connection = pool.get_connection()
            try:
                yield Steps(connection, self._keys.publishing, (self.snapshot.cut, self.snapshot.as_of_ms))
            finally:
                # It watches a key.
                connection.disconnect()
                pool.release(connection)


def _pairs(names: Sequence[str], values: Sequence[str | bytes]) -> Iterator[str | bytes]:
    return chain.from_iterable(zip(names, values, strict=True))


def _chunks(batches: Iterable[Mapping[str, bytes]]) -> Iterator[tuple[list[str], list[bytes]]]:
    for batch in batches:
        sources, packed = list(batch), list(batch.values())
        ends, start = list(accumulate(map(len, packed))), 0
        while start < len(sources):
            full = bisect_left(ends, (ends[start - 1] if start else 0) + _CHUNK_BYTES, start) + 1
            stop = min(full, start + _CHUNK)
            yield sources[start:stop], packed[start:stop]
            start = stop
