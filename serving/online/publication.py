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
from pathlib import Path
from typing import Any, Final

import msgspec
import redis

from serving.online.connection import store_errors
from serving.online.exceptions import OlderPublicationError
from serving.online.keys import Keys
from serving.online.snapshot import Snapshot
from serving.online.wire import pack_catalog, pack_ranks, pack_snapshot

_PUBLISH = (Path(__file__).parent / "publish.lua").read_text(encoding="utf-8")
_CHUNK: Final = 2_000
"""Sources or profiles a script call, at most: Lua passes no more than 8,000 values on at once."""
_CHUNK_BYTES: Final = 2_000_000
"""Beyond which a script call is given no more sources: the server is busy for some ten milliseconds, and then has it on
disk once."""
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
    _script: Any = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_keys", Keys(self.project))
        object.__setattr__(self, "_script", self.client.register_script(_PUBLISH))

    def begin(self) -> None:
        """No publication of an older `(cut, as_of_ms)` writes anything from here on; nor does this one, if it is older.

        Raises:
            OlderPublicationError: a newer one has begun; so from every other method too.
        """
        self._write()

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
        sources, tiles = zip(*chunk, strict=True)
        # One argument for all of them: the client and the server need microseconds for each.
        self._write(bases=(_encoder.encode((sources, tuple(map(len, tiles)))), b"".join(tiles)))
        return len(chunk)

    def ranks(self, ranks: Iterable[tuple[str, Mapping[str, int]]]) -> None:
        """Write the ranks of profiles."""
        stream = iter(ranks)
        while chunk := list(islice(stream, _CHUNK)):
            self._write(ranks=[part for key, values in chunk for part in (key, pack_ranks(values))])

    def end(self, document: Mapping[str, Any]) -> None:
        """Make its catalog version the one that decisions use, and announce the snapshot: in one step."""
        version = str(self.snapshot.catalog_version)
        self._write((version, pack_catalog(document), pack_snapshot(self.snapshot)))

    def _write(
        self,
        end: tuple[str | bytes, str | bytes, str | bytes] = ("", "", ""),
        bases: tuple[bytes, bytes] = (b"", b""),
        ranks: Sequence[str | bytes] = (),
    ) -> None:
        keys, snapshot = self._keys, self.snapshot
        prefixes = [keys.base(""), keys.chunk(""), keys.fresh(""), keys.rank(""), keys.catalog_prefix]
        with store_errors():
            newer = self._script(
                keys=[keys.publishing, keys.snapshot, keys.loading, keys.catalog_current],
                args=[snapshot.cut, snapshot.as_of_ms, *prefixes, *end, *bases, *ranks],
            )
        if newer:
            raise OlderPublicationError(
                f"the publication of cut {snapshot.cut} stopped because cut {newer[0]} is already being published:"
                " nothing to do, the newer one stands"
            )


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
