"""The whole log in memory, as far as identity goes: what has landed, and what still waits in the online store."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

import msgspec
import polars as pl

from dsl.event_record import read_record
from dsl.identity_records import Conflict, Linked, Record, Reserved
from warehouse.database import Connection, connect
from warehouse.events_view import events_view_sql
from warehouse.exceptions import WarehouseError
from warehouse.identities import build_identities
from warehouse.records import IdentityRecord
from warehouse.registry import Registry
from warehouse.settings import Home

_SCHEMA: Final = {
    "seq": pl.Int64(),
    "event_id": pl.String(),
    "kind": pl.String(),
    "name": pl.String(),
    "source_id": pl.String(),
    "ts_ms": pl.Int64(),
    "identifiers": pl.String(),
    "alias": pl.String(),
}
_ATTEMPTS: Final = 20
_COLUMNS: Final = ", ".join(_SCHEMA)
_EVENTS = f"CREATE VIEW events AS SELECT {_COLUMNS} FROM landed_events UNION ALL SELECT {_COLUMNS} FROM waiting_events"
_CONFLICTS = """
SELECT seq, link_seq, reason, stronger, weaker, stronger_profile, weaker_profile
FROM identity_conflicts ORDER BY seq, link_seq, stronger, weaker
"""


class WaitingEvent(NamedTuple):
    """An event that has not landed yet.

    Attributes:
        identifiers: whom it names, as understood; the source first.
        alias: what an alias joins to the source.
    """

    seq: int
    event_id: str
    kind: str
    name: str
    ts_ms: int
    identifiers: Sequence[str]
    alias: str | None


@dataclass(frozen=True, slots=True)
class LogTail:
    """The records of the log that follow what has landed, without a gap.

    Attributes:
        after: the newest cut; the first record has the next number.
        seq: the last number.
        records: those that are no events.
    """

    after: int
    seq: int
    events: Sequence[WaitingEvent] = ()
    records: Sequence[IdentityRecord] = ()


@dataclass(frozen=True, slots=True)
class EventNote:
    """What a person needs to find an event again."""

    event_id: str
    kind: str
    name: str
    ts_ms: int


@dataclass(frozen=True, slots=True)
class WholeLog:
    """Every record up to a `seq`, inclusive.

    Attributes:
        connection: has the view `events`. Grain: one row an event.
        records: those that are no events, in order.
    """

    connection: Connection
    seq: int
    records: Sequence[IdentityRecord]

    def notes(self, seqs: Iterable[int]) -> Mapping[int, EventNote]:
        """The events among some records, by `seq`."""
        asked = pl.DataFrame({"seq": sorted(set(seqs))}, schema={"seq": pl.Int64()})
        self.connection.register("asked_seqs", asked)
        found = self.connection.execute(
            "SELECT seq, event_id, kind, name, ts_ms FROM events SEMI JOIN asked_seqs USING (seq)"
        ).fetchall()
        self.connection.unregister("asked_seqs")
        return {seq: EventNote(*rest) for seq, *rest in found}

    def count_events(self, sources: Iterable[str]) -> Mapping[str, int]:
        """How many events each source has sent, those that we log ourselves left out."""
        asked = pl.DataFrame({"source_id": sorted(set(sources))}, schema={"source_id": pl.String()})
        self.connection.register("asked_sources", asked)
        found = self.connection.execute(
            "SELECT source_id, count(*) FROM events SEMI JOIN asked_sources USING (source_id) "
            "WHERE kind <> 'system' GROUP BY source_id"
        ).fetchall()
        self.connection.unregister("asked_sources")
        return dict(found)

    def conflicts(self) -> list[Conflict]:
        """Every link that was ever refused, by `seq`: all that the log says about identity is read for it."""
        build_identities(self.connection, self.records, self.seq)
        return [Conflict(*row) for row in self.connection.execute(_CONFLICTS).fetchall()]


class LoggedRecord(Protocol):
    """A record of the log as whoever reads it has it."""

    @property
    def seq(self) -> int: ...  # noqa: D102

    @property
    def appended_at_ms(self) -> int: ...  # noqa: D102

    @property
    def type(self) -> str: ...  # noqa: D102

    @property
    def record(self) -> str:
        """The text that was appended; empty of a reserved range."""

    @property
    def identity(self) -> Record:
        """What it says about who is who."""


class LogGapError(WarehouseError):
    """The log goes on later than what has landed ends: it has landed meanwhile, or records are missing."""


def open_whole_log(
    home: Home, registry: Registry, project: str, read: Callable[[int], Iterable[LoggedRecord]]
) -> AbstractContextManager[WholeLog]:
    """Everything that the log holds by now.

    Args:
        read: the records after a `seq` that have not landed.

    Raises:
        LogGapError: records are missing.
    """
    for _ in range(_ATTEMPTS):
        after = registry.landed_seq(project)
        try:
            tail = read_tail(after, read(after))
        except LogGapError:
            continue
        # Who lands trims the log only after that: nothing was missed when nothing has landed.
        if registry.landed_seq(project) == after:
            return open_log(home, registry, project, tail)
    raise LogGapError(f"the log of `{project}` does not go on where what has landed ends: `tinycdp rebuild --online`")


def read_tail(after: int, records: Iterable[LoggedRecord]) -> LogTail:
    """What follows a cut.

    Raises:
        LogGapError: it begins later.
    """
    seq, events, others = after, list[WaitingEvent](), list[IdentityRecord]()
    for each in records:
        if each.seq != seq + 1:
            raise LogGapError(f"the log goes on at {each.seq}, not at {seq + 1}")
        seq = each.seq
        match each.identity:
            case Linked() as said:
                named, record = (said.source_id, *said.weaker), read_record(each.record)
                note = (record.event_id, record.kind, record.name, record.ts_ms)
                events.append(WaitingEvent(seq, *note, named, said.alias))
            case Reserved(_, last_seq):
                seq = last_seq
            case _:
                others.append(IdentityRecord(seq, each.type, each.record, each.appended_at_ms))
    return LogTail(after, seq, events, others)


@contextmanager
def open_log(home: Home, registry: Registry, project: str, tail: LogTail) -> Iterator[WholeLog]:
    """What has landed up to `tail.after`, and the tail."""
    records = [each for each in registry.identity_records(project) if each.seq <= tail.after]
    with connect() as connection:
        files = registry.files(project, tail.after)
        connection.execute(events_view_sql(files, tail.after, (), home.lake, "landed_events"))
        connection.register("waiting_events", _frame(tail.events))
        connection.execute(_EVENTS)
        yield WholeLog(connection, tail.seq, [*records, *tail.records])


def _frame(events: Iterable[WaitingEvent]) -> pl.DataFrame:
    rows = [
        (
            each.seq,
            each.event_id,
            each.kind,
            each.name,
            each.identifiers[0],
            each.ts_ms,
            msgspec.json.encode(each.identifiers).decode() if len(each.identifiers) > 1 else None,
            each.alias,
        )
        for each in events
    ]
    return pl.DataFrame(rows, schema=_SCHEMA, orient="row")
