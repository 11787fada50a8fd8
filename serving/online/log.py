"""Reading the log and the late lane: what was appended, in the order of `seq`.

An entry of the stream `{p}:log` has the id `<seq>-0` and these fields:

- `at`: when it was appended, epoch milliseconds on the project's clock; never less than that of the entry before
- `type`: absent for an event; `settings`, `unmerge`, `erasure`, `reserved`
- `id`: the event id; `record`: the JSON text that was appended
- `who`: JSON list of identifiers as understood, the source first; `alias`: what an alias joined to the source
- `conflicts`: JSON list of `[reason, stronger, weaker, profile of the stronger, profile of the weaker]`
- `last`: of `reserved`, the last number of the range that begins with the entry's own
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import msgspec
import redis
from redis.client import NEVER_DECODE

from dsl.identity_records import Conflict, Linked, Reason, Record, Reserved
from dsl.identity_text import IDENTITY_TYPES, read_identity
from serving.online.connection import store_errors
from serving.online.keys import Keys

_PAGE, _LARGE_PAGE = 1_000, 2_000
_AT, _WHO, _RECORD, _PLAIN = 1, 5, 7, 8
"""Where fields of an event stand in its entry, name before value (append.lua), and how long a plain one is."""
_RAW: Final[dict[str, Any]] = {NEVER_DECODE: True}
_many_names = msgspec.json.Decoder(list[list[str]])
_names = msgspec.json.Decoder(list[str])
_refusals = msgspec.json.Decoder(list[tuple[Reason, str, str, str, str]])


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One entry of the log.

    Attributes:
        type: `event`, `settings`, `unmerge`, `erasure` or `reserved`.
        event_id: empty of a reserved range.
        record: the JSON text that was appended; empty of a reserved range.
        identity: what it says about who is who.
        conflicts: the links of this entry that were refused.
    """

    seq: int
    appended_at_ms: int
    type: str
    event_id: str
    record: str
    identity: Record
    conflicts: tuple[Conflict, ...] = ()

    @property
    def is_event(self) -> bool:
        """Whether it is an event, and not a record of our own."""
        return isinstance(self.identity, Linked)


@dataclass(frozen=True, slots=True)
class LateEvent:
    """An event in the late lane, as it was sent: the fields of an `Item`, and the entry that it waits in."""

    entry: str
    appended_at_ms: int
    event_id: str
    digest: str
    identifiers: tuple[str, ...]
    previous: str | None
    record: str


@dataclass(frozen=True, slots=True)
class LogPage:
    """Entries of the log that stand together, as columns.

    Attributes:
        count: of all entries. Their numbers lie from `first_seq` to `last_seq`, both inclusive.
        seqs: of the events; so are `appended_at_ms` and `identifiers` (the source first).
        records: the events' records as one JSON array.
        aliases: what an alias joins to the source, by place among the events.
        others: every entry that is no event.
    """

    count: int
    first_seq: int
    last_seq: int
    seqs: list[int]
    appended_at_ms: list[int]
    identifiers: list[list[str]]
    records: bytes
    aliases: dict[int, str]
    others: list[LogEntry]


def read_pages(client: redis.Redis, project: str, after: int) -> Iterator[LogPage]:
    """The same as `read_log` gives, page after page, for who reads very much of it."""
    key, flat = Keys(project).log, redis.Redis(connection_pool=client.connection_pool)
    # A mapping of each entry takes the client as long as all the rest of reading it.
    flat.set_response_callback("XRANGE", lambda found, **_: found)
    while True:
        with store_errors():
            found = cast(Any, flat).execute_command("XRANGE", key, f"({after}-0", "+", "COUNT", _LARGE_PAGE, **_RAW)
        if not found:
            return
        page = _log_page(found)
        yield page
        after = page.last_seq


def _log_page(found: Sequence[tuple[bytes, list[bytes]]]) -> LogPage:
    events = [entry for entry in found if entry[1][_WHO - 1] == b"who"]
    others = [entry for entry in found if entry[1][_WHO - 1] != b"who"] if len(events) < len(found) else []
    return LogPage(
        len(found),
        _seq(found[0][0]),
        _seq(found[-1][0]),
        [int(entry[:-2]) for entry, _ in events],
        [int(fields[_AT]) for _, fields in events],
        _many_names.decode(b"[" + b",".join([fields[_WHO] for _, fields in events]) + b"]"),
        b"[" + b",".join([fields[_RECORD] for _, fields in events]) + b"]",
        {place: alias for place, (_, fields) in enumerate(events) if (alias := _alias(fields)) is not None},
        [_log_entry(_seq(entry), _as_mapping(fields)) for entry, fields in others],
    )


def _alias(fields: list[bytes]) -> str | None:
    return None if len(fields) == _PLAIN else _as_mapping(fields).get("alias")


def _as_mapping(fields: list[bytes]) -> dict[str, str]:
    texts = [field.decode() for field in fields]
    return dict(zip(texts[::2], texts[1::2], strict=True))


def _seq(entry: bytes) -> int:
    return int(entry.partition(b"-")[0])


def read_log(client: redis.Redis, project: str, after: int) -> Iterator[LogEntry]:
    """Every entry with a larger `seq` that is in the stream, in order; read in pages, those of one moment together."""
    key, last = Keys(project).log, f"{after}-0"
    while page := _page(client, key, f"({last}"):
        for entry, fields in page:
            yield _log_entry(int(entry.partition("-")[0]), fields)
        last = page[-1][0]


def read_late(client: redis.Redis, project: str, count: int = _PAGE) -> list[LateEvent]:
    """The events that have waited longest in the late lane."""
    return [_late_event(entry, fields) for entry, fields in _page(client, Keys(project).late, "-", count)]


def late_waiting(client: redis.Redis, project: str) -> int:
    """How many events wait in the late lane."""
    with store_errors():
        return int(cast(Any, client.xlen(Keys(project).late)))


def _page(client: redis.Redis, key: str, start: str, count: int = _PAGE) -> list[tuple[str, dict[str, str]]]:
    with store_errors():
        found: Any = client.xrange(key, min=start, count=count)
    return list(found)


def _log_entry(seq: int, fields: Mapping[str, str]) -> LogEntry:
    refused = _refusals.decode(fields["conflicts"]) if "conflicts" in fields else []
    return LogEntry(
        seq,
        int(fields.get("at", 0)),
        fields.get("type", "event"),
        fields.get("id", ""),
        fields.get("record", ""),
        _identity(seq, fields),
        tuple(Conflict(seq, seq, *refusal) for refusal in refused),
    )


def _identity(seq: int, fields: Mapping[str, str]) -> Record:
    kind = fields.get("type")
    if kind in IDENTITY_TYPES:
        return read_identity(seq, kind, fields["record"])
    if kind == "reserved":
        return Reserved(seq, int(fields["last"]))
    source_id, *weaker = _names.decode(fields["who"])
    return Linked(seq, source_id, tuple(weaker), fields.get("alias"))


def _late_event(entry: str, fields: Mapping[str, str]) -> LateEvent:
    return LateEvent(
        entry,
        int(fields["at"]),
        fields["id"],
        fields["digest"],
        tuple(_names.decode(fields["who"])),
        fields["previous"] or None,
        fields["record"],
    )
