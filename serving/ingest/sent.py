"""One event as a dialect understood it, and why one is not accepted."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from dsl.event import Kind
from dsl.identifiers import Kind as IdentifierKind
from dsl.sent_json import raw_text, read_sent

ReasonCode = Literal[
    "id_conflict",
    "invalid_event",
    "invalid_field",
    "invalid_identifier",
    "invalid_number",
    "invalid_timestamp",
    "invalid_type",
    "invalid_write_key",
    "missing_field",
    "no_identifier",
    "schema_violation",
    "too_deep",
    "too_large",
    "too_late",
    "too_many_properties",
]
"""Why an event was not accepted; each is a reason of dead letters."""


@dataclass(slots=True, eq=False)  # not frozen: Python sets the traceback of an exception
class Rejected(Exception):
    """An event that cannot be accepted as it is; its neighbours in the batch can.

    Attributes:
        detail: one sentence: what was expected, what was found.
        path: where in the event, `$.properties.amount`.
        more: further things that are wrong, as `(path, sentence)`.
    """

    code: ReasonCode
    detail: str
    path: str = "$"
    more: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Envelope:
    """What came around an event and counts for it; a dead letter keeps it for its replay.

    Attributes:
        type: of a route that is for one kind of event; empty where each event says its own.
        sent_at: `sentAt` of the batch.
        context: of the batch: the event's own comes before it.
    """

    type: str = ""
    sent_at: object = None
    context: Mapping[str, Any] = field(default_factory=dict)

    def to_document(self) -> dict[str, Any]:
        """As plain texts, which keep every digit, and what is no JSON."""
        return {"type": self.type, "sentAt": raw_text(self.sent_at), "context": raw_text(self.context)}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "Envelope":
        """The envelope that `to_document` wrote."""
        sent_at, context = (read_sent(str(document[name]).encode()) for name in ("sentAt", "context"))
        return cls(str(document["type"]), sent_at, context)


class Sent(msgspec.Struct, frozen=True, gc=False):
    """An event whose fields were found; their values are not checked yet.

    Attributes:
        name: of a `track` its event; of others their kind.
        event_id: None when the sender gave none.
        timestamp: when it happened, as sent: text, or epoch milliseconds; None when it was not said.
        sent_at: when it was sent, on the clock that also gave `timestamp`.
        named: whom it names, by kind of identifier.
        previous: `previousId` of an alias.
        properties: of an identify the attributes.
    """

    kind: Kind
    name: object
    event_id: object
    timestamp: object
    sent_at: object
    named: Mapping[IdentifierKind, object]
    previous: object = None
    properties: Mapping[str, Any] = {}
    context: Mapping[str, Any] = {}


def text_of(event: Mapping[str, Any], name: str) -> str:
    """A field that has to be a text with something in it.

    Raises:
        Rejected: it is missing, or something else.
    """
    value = event.get(name)
    if value is None or value == "":
        raise Rejected("missing_field", f"the event has no `{name}`", f"$.{name}")
    if not isinstance(value, str):
        raise Rejected("invalid_field", f"`{name}` is {kind_of(value)}: expected a text", f"$.{name}")
    return value


def object_of(event: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A field that is a JSON object, or absent, which is an empty one.

    Raises:
        Rejected: it is something else.
    """
    value = event.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Rejected("invalid_field", f"`{name}` is {kind_of(value)}: expected an object", f"$.{name}")
    return value


def kind_of(value: object) -> str:
    """What a JSON value is, for people.

    >>> kind_of([]), kind_of(None), kind_of(True), kind_of(3)
    ('a list', 'null', 'a boolean', 'a number')
    """
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case str():
            return "a text"
        case list():
            return "a list"
        case dict():
            return "an object"
    return "a number"
