"""An accepted event as the text that the log keeps: what was sent, and what was computed once when it was appended.

JSON: `id`, `kind`, `name`, `ts` and `received` (epoch milliseconds), `day` (its date in the project's zone, days since
1970-01-01), `properties` and `context`, whose JSON as it was sent is text here: it may hold what strict readers refuse.
Its `seq` and its source stand beside it.
"""

from dataclasses import dataclass

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


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_Record)


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
