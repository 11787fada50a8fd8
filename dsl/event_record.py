"""An accepted event as the text that the log keeps: what was sent, and what was computed once when it was appended.

JSON: `id`, `kind`, `name`, `ts` and `received` (epoch milliseconds), `day` (its date in the project's zone, days since
1970-01-01), `properties` and `context` as they were sent. Its `seq` and its source stand beside it.
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
    properties: msgspec.Raw
    context: msgspec.Raw


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_Record)


def write_record(event: EventRecord) -> str:
    """The text of an event."""
    texts = (msgspec.Raw(text.encode()) for text in (event.properties, event.context))
    its_own = (event.event_id, event.kind, event.name, event.ts_ms, event.received_at_ms, event.local_day)
    return _encoder.encode(_Record(*its_own, *texts)).decode()


def read_record(text: str | bytes) -> EventRecord:
    """The event that `write_record` wrote."""
    found = _decoder.decode(text)
    properties, context = (bytes(raw).decode() for raw in (found.properties, found.context))
    return EventRecord(found.id, found.kind, found.name, found.ts, found.received, found.day, properties, context)


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


def _values(raw: msgspec.Raw) -> dict[str, object]:
    text = bytes(raw).decode()
    values = read_json(text) if text != "{}" else {}
    return values if isinstance(values, dict) else {}
