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

_OWN_NAMES: Final = {"event_id": "id", "ts_ms": "ts", "received_at_ms": "received", "local_day": "day"}


class EventRecord(msgspec.Struct, frozen=True, gc=False, rename=_OWN_NAMES):
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
_decoder = msgspec.json.Decoder(EventRecord)
read_fresh: Final = msgspec.json.Decoder(FreshEvent).decode
"""`read_event` without what stands beside the record: the many events of one decision are read in C."""


def write_record(event: EventRecord) -> str:
    """The text of an event."""
    return _encoder.encode(event).decode()


def read_record(text: str | bytes) -> EventRecord:
    """The event that `write_record` wrote."""
    return _decoder.decode(text)


def read_event(text: str | bytes, seq: int, source_id: str) -> Event:
    """The event as expressions see it."""
    found = _decoder.decode(text)
    return Event(
        found.event_id,
        seq,
        found.kind,
        found.name,
        source_id,
        found.ts_ms,
        found.local_day,
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
        self.event_id.extend([each.event_id for each in found])
        self.kind.extend([each.kind for each in found])
        self.name.extend([each.name for each in found])
        self.ts_ms.extend([each.ts_ms for each in found])
        self.received_at_ms.extend([each.received_at_ms for each in found])
        self.local_day.extend([each.local_day for each in found])
        self.properties.extend([each.properties for each in found])
        self.context.extend([each.context for each in found])
        return len(found)


_array_decoder = msgspec.json.Decoder(list[EventRecord])
