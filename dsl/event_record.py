"""An accepted event as the text that the log keeps: what was sent, and what was computed once when it was appended.

JSON: `id`, `kind`, `name`, `ts` and `received` (epoch milliseconds), `day` (its date in the project's zone, days since
1970-01-01), `properties` and `context`, whose JSON as it was sent is text here: it may hold what strict readers refuse.
Its `seq` and its source stand beside it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec

from dsl.event import Event, Kind
from dsl.numbers import read_json


@dataclass(frozen=True, slots=True)
class EventRecord:
    """An event without `seq` and source.

    Attributes:
        properties: text of a JSON object, and so `context`.
    """

    event_id: str
    kind: Kind
    name: str
    ts_ms: int
    received_at_ms: int
    local_day: int
    properties: str = "{}"
    context: str = "{}"


class _Record(msgspec.Struct):
    id: str
    kind: Kind
    name: str
    ts: int
    received: int
    day: int
    properties: str
    context: str


_NAMES: Final = {"event_id": "id", "ts_ms": "ts", "local_day": "day", "sent": "properties", "around": "context"}


class FreshEvent(msgspec.Struct, rename=_NAMES):
    """An event as aggregates see it (`dsl.event.Happened`), read no further than it is asked for.

    Attributes:
        sent: text of its properties; `around` that of its context.
    """

    event_id: str
    kind: Kind
    name: str
    ts_ms: int
    local_day: int
    sent: str
    around: str
    _properties: Mapping[str, object] | None = None
    _context: Mapping[str, object] | None = None

    @property
    def properties(self) -> Mapping[str, object]:
        """As in `Event`."""
        if self._properties is None:
            self._properties = _values(self.sent)
        return self._properties

    @property
    def context(self) -> Mapping[str, object]:
        """As in `Event`."""
        if self._context is None:
            self._context = _values(self.around)
        return self._context


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_Record)
read_fresh: Final = msgspec.json.Decoder(FreshEvent).decode
"""`read_event` without what stands beside the record: the many events of one decision are read in C."""


def write_record(event: EventRecord) -> str:
    """The text of an event."""
    its_own = (event.event_id, event.kind, event.name, event.ts_ms, event.received_at_ms, event.local_day)
    return _encoder.encode(_Record(*its_own, event.properties, event.context)).decode()


def read_record(text: str | bytes) -> EventRecord:
    """The event that `write_record` wrote."""
    found = _decoder.decode(text)
    its_own = (found.id, found.kind, found.name, found.ts, found.received, found.day)
    return EventRecord(*its_own, found.properties, found.context)


def read_event(text: str | bytes, seq: int, source_id: str) -> Event:
    """The event as expressions see it."""
    found = _decoder.decode(text)
    return Event(
        found.id,
        seq,
        found.kind,
        found.name,
        source_id,
        found.ts,
        found.day,
        _values(found.properties),
        _values(found.context),
    )


def _values(text: str) -> dict[str, object]:
    values = read_json(text) if text != "{}" else {}
    return values if isinstance(values, dict) else {}


@dataclass(frozen=True, slots=True)
class RecordColumns:
    """Many events, a list for each thing that is known of them: what `EventRecord` has one of."""

    event_id: list[str] = field(default_factory=list)
    kind: list[Kind] = field(default_factory=list)
    name: list[str] = field(default_factory=list)
    ts_ms: list[int] = field(default_factory=list)
    received_at_ms: list[int] = field(default_factory=list)
    local_day: list[int] = field(default_factory=list)
    properties: list[str] = field(default_factory=list)
    context: list[str] = field(default_factory=list)

    def read(self, array: bytes) -> int:
        """Add the events of a JSON array of records; how many.

        Raises:
            ValueError: it is no such array; nothing was added.
        """
        found = _array_decoder.decode(array)
        self.event_id.extend([each.id for each in found])
        self.kind.extend([each.kind for each in found])
        self.name.extend([each.name for each in found])
        self.ts_ms.extend([each.ts for each in found])
        self.received_at_ms.extend([each.received for each in found])
        self.local_day.extend([each.day for each in found])
        self.properties.extend([each.properties for each in found])
        self.context.extend([each.context for each in found])
        return len(found)


_array_decoder = msgspec.json.Decoder(list[_Record])
