"""Hot sources: their fresh events are folded into a chunk, so that a decision does not fold them all again.

A chunk goes on from its source's base up to an announced cut. The events stay until a base has them: another catalog,
which needs other tiles of them, finds them whole.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha1
from pathlib import Path
from typing import Any, Final, cast

import redis
from redis.client import NEVER_DECODE

from dsl.event_record import read_event
from dsl.failpoints import reached
from dsl.tile_codec import pack, unpack
from dsl.tiles import add, tiles_of
from serving.online.connection import store_errors
from serving.online.fold import Fold
from serving.online.keys import Keys

HOT: Final = 500
"""Fresh events from which on a source is folded."""
_WRITE = (Path(__file__).parent / "chunk.lua").read_text(encoding="utf-8")
_RAW: Final[dict[str, Any]] = {NEVER_DECODE: True}


@dataclass(frozen=True, slots=True)
class ChunkFolding:
    """Folds the hot sources of a project for one version of its catalog."""

    client: redis.Redis
    project: str
    version: int
    fold: Fold

    def fold_hot(self, sources: Iterable[str], cut: int) -> list[str]:
        """Fold those of some sources that have more than `HOT` events which neither base nor chunk has; their ids.

        Args:
            cut: an announced one; later events stay fresh.
        """
        listed, keys = list(sources), Keys(self.project)
        with store_errors(), self.client.pipeline(transaction=False) as pipeline:
            for source_id in listed:
                pipeline.xlen(keys.fresh(source_id))
                pipeline.hmget(keys.chunk(source_id), ["version", "events"])
            answers = pipeline.execute()
        pairs = zip(listed, answers[::2], answers[1::2], strict=True)
        hot = [source_id for source_id, length, chunk in pairs if length - self._folded(*chunk) > HOT]
        return [source_id for source_id in hot if self._fold(keys, source_id, cut)]

    def _folded(self, version: str | None, events: str | None) -> int:
        return int(events) if events is not None and version == str(self.version) else 0

    def _fold(self, keys: Keys, source_id: str, cut: int) -> bool:
        """Whether it was written: a publication may have overtaken it."""
        base, hi, tiles, known = self._read(keys, source_id)
        folded = None if tiles is None else unpack(tiles, self.fold.bases)
        start = "-" if folded is None else f"({hi}-0"
        with store_errors():
            entries: Any = self.client.xrange(keys.fresh(source_id), start, f"{cut}-0")
        lowest = 0 if base is None else unpack(base, self.fold.bases).cut
        events = [
            read_event(fields["record"], seq, source_id)
            for entry, fields in entries
            if (seq := int(entry.partition("-")[0])) > lowest
        ]
        if not events:
            return False
        new = tiles_of(events, self.fold.bases, self.fold.checked)
        if folded is not None:
            new = add(folded, new, self.fold.bases)
        count = len(events) if folded is None else int(known) + len(events)
        as_read = [sha1(base or b"", usedforsecurity=False).hexdigest(), hi]
        arguments: list[Any] = [*as_read, self.version, new.cut, count, pack(new, self.fold.bases)]
        reached("chunk.before_write")
        with store_errors():
            its_keys = [keys.base(source_id), keys.chunk(source_id)]
            written = bool(self.client.register_script(_WRITE)(keys=its_keys, args=arguments))
        reached("chunk.after_write")
        return written

    def _read(self, keys: Keys, source_id: str) -> tuple[bytes | None, str, bytes | None, bytes]:
        """Base; `hi`, tiles and number of events of the chunk, whose tiles are none if they are of another version."""
        run = cast(Any, self.client)
        with store_errors():
            base = run.execute_command("GET", keys.base(source_id), **_RAW)
            held = run.execute_command("HGETALL", keys.chunk(source_id), **_RAW)
            version, hi, tiles, events = (held.get(name) for name in (b"version", b"hi", b"tiles", b"events"))
        usable = version is not None and int(version) == self.version
        return base, (hi or b"").decode(), tiles if usable else None, events or b"0"
