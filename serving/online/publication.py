"""Publications: what a refresh makes known to decisions, guarded so that an older one never overwrites a newer.

A publication begins when its refresh does: from then on an older one writes nothing more, also when it wakes up late.
It ends with its catalog version and its snapshot. What it has written until then is right at once, because a base
carries its own cut and the fresh events after it stay; whoever publishes next begins at the snapshot of the last one
that ended.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final

import redis

from serving.online.connection import store_errors
from serving.online.exceptions import OlderPublicationError
from serving.online.keys import Keys
from serving.online.snapshot import Snapshot
from serving.online.wire import pack_catalog, pack_ranks, pack_snapshot

_PUBLISH = (Path(__file__).parent / "publish.lua").read_text(encoding="utf-8")
_CHUNK: Final = 500
"""Sources a script call: about 1 MB, so that the server is never busy for more than a few milliseconds."""

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
        stream, done = iter(sources), 0
        while chunk := list(islice(stream, _CHUNK)):
            self._write(bases=[part for source in chunk for part in source])
            done += len(chunk)
            if progress:
                progress(done)
        return done

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
        bases: Sequence[str | bytes] = (),
        ranks: Sequence[str | bytes] = (),
    ) -> None:
        keys, snapshot = self._keys, self.snapshot
        prefixes = [keys.base(""), keys.chunk(""), keys.fresh(""), keys.rank(""), keys.catalog_prefix]
        with store_errors():
            newer = self._script(
                keys=[keys.publishing, keys.snapshot, keys.loading, keys.catalog_current],
                args=[snapshot.cut, snapshot.as_of_ms, *prefixes, *end, len(bases) // 2, *bases, *ranks],
            )
        if newer:
            raise OlderPublicationError(
                f"the publication of cut {snapshot.cut} stopped because cut {newer[0]} is already being published:"
                " nothing to do, the newer one stands"
            )
