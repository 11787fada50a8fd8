"""Publications: what a refresh makes known to decisions, guarded so that an older one never overwrites a newer.

A publication begins when its refresh does: from then on an older one writes nothing more, also when it wakes up late.
It ends with its catalog version and its snapshot. What it has written until then is right at once, because a base
carries its own cut and the fresh events after it stay; whoever publishes next begins at the snapshot of the last one
that ended.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from operator import methodcaller
from typing import Any, Final, cast

import msgspec
import redis

from serving.online.connection import store_errors
from serving.online.exceptions import OlderPublicationError
from serving.online.keys import Keys
from serving.online.snapshot import Snapshot
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
_AHEAD: Final = 16
"""Chunks that wait to be sent."""

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
        self._step(lambda _: None)

    def bases(self, sources: Iterable[tuple[str, bytes]], progress: Progress | None = None) -> int:
        """Write the packed tiles of sources, and let go of their fresh events up to the cut; the number of sources."""
        done = 0
        # A chunk is on its way while the next ones are packed.
        with ThreadPoolExecutor(max_workers=2) as sender:
            waiting: deque[Future[int]] = deque()
            for chunk in _chunks(sources):
                waiting.append(sender.submit(self._write_bases, chunk))
                while waiting and (len(waiting) > _AHEAD or waiting[0].done()):
                    done += waiting.popleft().result()
                    if progress:
                        progress(done)
            for written in waiting:
                done += written.result()
                if progress:
                    progress(done)
        return done

    def _write_bases(self, chunk: Sequence[tuple[str, bytes]]) -> int:
        keys, cut = self._keys, self.snapshot.cut
        sources = [source for source, _ in chunk]
        fresh = _encoder.encode([keys.fresh(source) for source in sources])
        bases = [part for source, packed in chunk for part in (keys.base(source), packed)]

        def write(queue: Any) -> None:
            # No script: what passes through Lua is copied three times.
            queue.execute_command("MSET", *bases)
            queue.delete(*map(keys.chunk, sources))
            queue.eval(_LET_GO, 0, cut, fresh)

        self._step(write)
        return len(chunk)

    def ranks(self, ranks: Iterable[tuple[str, Mapping[str, int]]]) -> None:
        """Write the ranks of profiles."""
        stream = iter(ranks)
        while chunk := list(islice(stream, _CHUNK)):
            packed = {self._keys.rank(profile_id): pack_ranks(values) for profile_id, values in chunk}
            self._step(methodcaller("mset", packed))

    def end(self, document: Mapping[str, Any]) -> None:
        """Make its catalog version the one that decisions use, and announce the snapshot: in one step."""
        keys, snapshot = self._keys, self.snapshot

        def write(queue: Any) -> None:
            queue.set(keys.catalog(snapshot.catalog_version), pack_catalog(document))
            queue.set(keys.catalog_current, str(snapshot.catalog_version))
            queue.set(keys.snapshot, pack_snapshot(snapshot))
            queue.eval(_LOADED, 1, keys.loading, snapshot.cut)

        self._step(write)

    def _step(self, write: Callable[[Any], None]) -> None:
        """All that is queued at one moment, unless a newer publication has begun; else nothing."""
        key, its_own = self._keys.publishing, (self.snapshot.cut, self.snapshot.as_of_ms)
        with store_errors(), self.client.pipeline(transaction=True) as pipeline:
            queue = cast(Any, pipeline)  # its commands are typed as if they were answered one by one
            while True:
                queue.watch(key)
                begun = tuple(int(value or -1) for value in queue.hmget(key, "cut", "as_of"))
                if begun > its_own:
                    raise OlderPublicationError(
                        f"the publication of cut {its_own[0]} stopped because cut {begun[0]} is already being"
                        " published: nothing to do, the newer one stands"
                    )
                queue.multi()
                if begun < its_own:
                    queue.hset(key, mapping={"cut": its_own[0], "as_of": its_own[1]})
                write(queue)
                try:
                    queue.execute()
                except redis.WatchError:
                    continue  # another one has begun meanwhile
                return


def _chunks(sources: Iterable[tuple[str, bytes]]) -> Iterator[list[tuple[str, bytes]]]:
    chunk: list[tuple[str, bytes]] = []
    size = 0
    for source in sources:
        chunk.append(source)
        size += len(source[1])
        if size >= _CHUNK_BYTES or len(chunk) == _CHUNK:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk
