"""Landing the log: what was appended becomes files of the lake, then its cut is announced and the log trimmed.

A stretch lands whole or not at all, and the registry moves the newest cut in the same transaction: whatever is killed
when, the next landing begins where the last one ended, and no record is landed twice. The log is trimmed only then.
"""

import gc
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import msgspec
import polars as pl
import redis

from dsl.failpoints import reached
from dsl.identity_records import Linked, Reserved
from serving.online.exceptions import OnlineStoreError
from serving.online.log import LogEntry, LogPage, read_pages
from serving.online.metrics import note_landing
from serving.online.store import announce_cut, newest_seq
from warehouse import lake
from warehouse.exceptions import LandingError
from warehouse.log_landing import LoggedEvents, land_stretch
from warehouse.records import IdentityRecord, Project
from warehouse.registry import Registry
from warehouse.settings import Home

STRETCH = 50_000
"""Records that land at a time, or a page more: their texts are in memory."""
GRACE_PERIOD_MS = 120_000
"""Unless the settings say otherwise: an event that comes later than this after it happened counts as late."""


@dataclass(frozen=True, slots=True)
class LogLanding:
    """What landing the log did.

    Attributes:
        events: that are new in the lake.
        cut: the newest cut: every record up to it has landed.
        sources: how many of the events each source has sent.
        late: how many of the events came after the grace period.
    """

    events: int
    cut: int
    sources: Mapping[str, int] = field(default_factory=dict)
    late: int = 0


@dataclass(slots=True)
class _Stretch:
    """Records of the log without a gap."""

    landed_seq: int
    entries: int = 0
    events: LoggedEvents = field(default_factory=LoggedEvents)
    records: list[IdentityRecord] = field(default_factory=list)

    def take(self, page: LogPage) -> None:
        """The next records.

        Raises:
            OnlineStoreError: they are not the next ones.
            LandingError: an event is no event.
        """
        self._follow(page)
        self.entries += page.count
        events = self.events
        events.aliases.update({place + len(events.seq): alias for place, alias in page.aliases.items()})
        events.seq.extend(page.seqs)
        events.appended_at_ms.extend(page.appended_at_ms)
        events.identifiers.extend(page.identifiers)
        self._read(page.records, len(page.seqs), f"{page.first_seq} to {page.last_seq}")
        for entry in page.others:
            self._take_other(entry)

    def _follow(self, page: LogPage) -> None:
        """Move on over the numbers of a page."""
        # The load has landed or was given up: who loads keeps others from landing meanwhile.
        reserved = {e.seq: e.identity.last_seq for e in page.others if isinstance(e.identity, Reserved)}
        for seq in sorted([*page.seqs, *(entry.seq for entry in page.others)]):
            if seq != self.landed_seq + 1:
                raise OnlineStoreError(
                    f"the log goes on at {seq}, but everything up to {self.landed_seq} has landed: records are "
                    "missing; restore the online store from its append-only file"
                )
            self.landed_seq = reserved.get(seq, seq)

    def _take_other(self, entry: LogEntry) -> None:
        match entry.identity:
            case Linked() as linked:
                if linked.alias is not None:
                    self.events.aliases[len(self.events.seq)] = linked.alias
                self.events.seq.append(entry.seq)
                self.events.appended_at_ms.append(entry.appended_at_ms)
                self.events.identifiers.append([linked.source_id, *linked.weaker])
                self._read(f"[{entry.record}]".encode(), 1, str(entry.seq))
            case Reserved():
                pass
            case _:
                self.records.append(IdentityRecord(entry.seq, entry.type, entry.record, entry.appended_at_ms))

    def _read(self, records: bytes, count: int, seqs: str) -> None:
        try:
            found = self.events.records.read(records)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise LandingError(f"a record of the log, seq {seqs}, is no event: {error}; nothing has landed") from error
        if found != count:
            raise LandingError(f"the log has {count} records where {found} are read, seq {seqs}; nothing has landed")


def land_log(
    client: redis.Redis, home: Home, registry: Registry, project: Project, grace_period_ms: int = GRACE_PERIOD_MS
) -> LogLanding:
    """Land everything that the log holds by now; many may call this at once.

    Raises:
        OnlineStoreError: the store is away, or records of its log are missing.
    """
    with lake.only_writer(home.lake, project.key):
        return land_log_alone(client, home, registry, project, grace_period_ms)


def land_log_alone(
    client: redis.Redis, home: Home, registry: Registry, project: Project, grace_period_ms: int = GRACE_PERIOD_MS
) -> LogLanding:
    """The same for who holds `lake.only_writer` of the project."""
    cut = registry.landed_seq(project.key)
    if newest_seq(client, project.key, cut) < cut:
        raise OnlineStoreError(
            f"the lake holds records up to {cut}, which the online store's counter has not reached: the store was "
            "lost and has taken in events since; `tinycdp rebuild --online`"
        )
    with _collector_paused():
        return _land(client, home, registry, project, cut, grace_period_ms)


def _land(
    client: redis.Redis, home: Home, registry: Registry, project: Project, cut: int, grace_period_ms: int
) -> LogLanding:
    landed, late, oldest_ms, sources = 0, 0, list[int](), Counter[str]()
    pages = read_pages(client, project.key, cut)
    stretch = _next(pages, cut)
    # Writing leaves a core idle, and waits for the disk: the next records are read meanwhile.
    with ThreadPoolExecutor(max_workers=1) as ahead:
        while stretch:
            following = ahead.submit(_next, pages, stretch.landed_seq)
            frame = stretch.events.frame()
            land_stretch(home, registry, project, cut, stretch.landed_seq, frame, stretch.records)
            landed, cut = landed + frame.height, stretch.landed_seq
            sources.update(frame["source_id"].to_list())
            late += frame.filter(pl.col("appended_at_ms") - pl.col("ts_ms") > grace_period_ms).height
            oldest_ms = oldest_ms or frame["appended_at_ms"].head(1).to_list()
            stretch = following.result()
    announce_cut(client, project.key, cut)
    reached("landing.after_announce")
    if landed:
        now_ms = project.clock.now_ms()
        note_landing(client, project.key, registry.events(project.key), late, now_ms, max(0, now_ms - oldest_ms[0]))
    return LogLanding(landed, cut, sources, late)


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Without the search for cycles: it would go through millions of small values again and again, and find none."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _next(pages: Iterator[LogPage], cut: int) -> _Stretch | None:
    stretch = _Stretch(cut)
    while stretch.entries < STRETCH and (page := next(pages, None)) is not None:
        stretch.take(page)
    return stretch if stretch.entries else None
