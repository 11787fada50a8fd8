"""Landing the log: what was appended becomes files of the lake, then its cut is announced and the log trimmed.

A stretch lands whole or not at all, and the registry moves the newest cut in the same transaction: whatever is killed
when, the next landing begins where the last one ended, and no record is landed twice. The log is trimmed only then.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

import redis

from dsl.event_record import read_record
from dsl.identity_records import Linked, Reserved
from serving.online.exceptions import OnlineStoreError
from serving.online.log import LogEntry, read_log
from serving.online.store import announce_cut, newest_seq
from warehouse import lake
from warehouse.log_landing import LoggedEvent, land_stretch
from warehouse.records import IdentityRecord, Project
from warehouse.registry import Registry
from warehouse.settings import Home

STRETCH = 50_000
"""Records that land at a time: their texts are in memory."""


@dataclass(frozen=True, slots=True)
class LogLanding:
    """What landing the log did.

    Attributes:
        events: that are new in the lake.
        cut: the newest cut: every record up to it has landed.
        sources: how many of the events each source has sent.
    """

    events: int
    cut: int
    sources: Mapping[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Stretch:
    """Records of the log without a gap."""

    landed_seq: int
    events: list[LoggedEvent] = field(default_factory=list)
    records: list[IdentityRecord] = field(default_factory=list)

    def take(self, entry: LogEntry) -> None:
        """The next record.

        Raises:
            OnlineStoreError: it is not the next one.
        """
        if entry.seq != self.landed_seq + 1:
            raise OnlineStoreError(
                f"the log goes on at {entry.seq}, but everything up to {self.landed_seq} has landed: records are "
                "missing; restore the online store from its append-only file"
            )
        self.landed_seq = entry.seq
        match entry.identity:
            case Linked() as linked:
                record, named = read_record(entry.record), (linked.source_id, *linked.weaker)
                self.events.append(LoggedEvent(entry.seq, entry.appended_at_ms, record, named, linked.alias))
            case Reserved(_, last_seq):
                # The load has landed or was given up: who loads keeps others from landing meanwhile.
                self.landed_seq = last_seq
            case _:
                self.records.append(IdentityRecord(entry.seq, entry.type, entry.record, entry.appended_at_ms))


def land_log(client: redis.Redis, home: Home, registry: Registry, project: Project) -> LogLanding:
    """Land everything that the log holds by now; many may call this at once.

    Raises:
        OnlineStoreError: the store is away, or records of its log are missing.
    """
    landed, sources = 0, Counter[str]()
    with lake.only_writer(home.lake, project.key):
        cut = registry.landed_seq(project.key)
        if newest_seq(client, project.key, cut) < cut:
            raise OnlineStoreError(
                f"the lake holds records up to {cut}, which the online store's counter has not reached: the store was "
                "lost and has taken in events since; `tinycdp rebuild --online`"
            )
        entries = read_log(client, project.key, cut)
        while stretch := _next(entries, cut):
            land_stretch(home, registry, project, cut, stretch.landed_seq, stretch.events, stretch.records)
            landed, cut = landed + len(stretch.events), stretch.landed_seq
            sources.update(event.identifiers[0] for event in stretch.events)
        announce_cut(client, project.key, cut)
    return LogLanding(landed, cut, sources)


def _next(entries: Iterator[LogEntry], cut: int) -> _Stretch | None:
    stretch = _Stretch(cut)
    for entry in islice(entries, STRETCH):
        stretch.take(entry)
    return stretch if stretch.landed_seq > cut else None
