"""What every event has to be, whichever way it came: from what was sent to what is appended."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

from dsl.clock import DAY_MS, UTC_ZONE, Zone, parse_instant
from dsl.event_record import EventRecord, write_record
from dsl.identifiers import Kind as IdentifierKind
from dsl.identifiers import identifiers, is_blocked
from dsl.numbers import replace_surrogates
from dsl.sent_json import canonical_json, depth_of, find_not_a_number, json_text
from serving.ingest.sent import Rejected, Sent, kind_of
from serving.online import Item, body_digest
from serving.online.append import RULES, AppendRules

LONGEST_EVENT_ID: Final = 100
LONGEST_NAME: Final = 400
LONGEST_IDENTIFIER: Final = 500
MOST_PROPERTIES: Final = 300
DEEPEST: Final = 32
_MOST_DIGITS: Final = 30
_LATEST_MS: Final = 10**15
_EARLIEST_MS: Final = parse_instant("0001-01-02")
_FIELDS: Final[Mapping[IdentifierKind, str]] = {
    "user": "userId",
    "external": "externalId",
    "email": "email",
    "email_hash": "emailHash",
    "device": "deviceId",
    "anon": "anonymousId",
}


@dataclass(frozen=True, slots=True)
class Rules:
    """What a project's events are checked by.

    Attributes:
        zone: of the local day.
        email_from_traits: `traits.email` of an identify counts where no e-mail is given beside it.
        append: by which an event takes the late lane.
        max_lateness_ms: events that are older than that when they come are not accepted.
        max_event_bytes: of the record that the log keeps.
    """

    zone: Zone = UTC_ZONE
    email_from_traits: bool = True
    append: AppendRules = RULES
    max_lateness_ms: int = 400 * DAY_MS
    max_event_bytes: int = 32_768


def check(sent: Sent, rules: Rules, received_at_ms: int, otherwise: str) -> Item:
    """The event as it is appended.

    Args:
        received_at_ms: epoch milliseconds on the project's clock.
        otherwise: the event id if the sender gave none.

    Raises:
        Rejected: it breaks a rule; the first one is told.
    """
    try:
        return _checked(sent, rules, received_at_ms, otherwise)
    except TypeError:
        path, text = find_not_a_number({"properties": sent.properties, "context": sent.context})
        if not path:
            raise
        raise Rejected("invalid_number", f"`{text}` is no number: leave it out, or send null", path) from None


def _checked(sent: Sent, rules: Rules, received_at_ms: int, otherwise: str) -> Item:
    event_id, name = _event_id(sent.event_id, otherwise), _name(sent.name)
    happened_ms = _instant(sent.timestamp, "timestamp") if sent.timestamp is not None else None
    ts_ms = _ts(happened_ms, sent.sent_at, received_at_ms)
    if received_at_ms - ts_ms > rules.max_lateness_ms:
        days = (received_at_ms - ts_ms) // DAY_MS
        raise Rejected("too_late", f"the event is {days} days old: more than {rules.max_lateness_ms // DAY_MS}",
                       "$.timestamp")  # fmt: skip
    named = identifiers(_named(sent, rules))
    previous = _previous(sent.previous)
    properties, context = _properties(sent.properties), json_text(sent.context) if sent.context else "{}"
    record = EventRecord(event_id, sent.kind, name, ts_ms, received_at_ms, rules.zone.day(ts_ms), properties, context)
    text = write_record(record)
    if len(text) * 4 > rules.max_event_bytes and len(text.encode()) > rules.max_event_bytes:
        raise Rejected("too_large", f"the event has more than {rules.max_event_bytes:,} bytes")
    if not named:
        raise Rejected(
            "no_identifier", "the event names nobody: it has no identifier, or only such as stand for nobody"
        )
    if previous is not None and len(previous) > LONGEST_IDENTIFIER:
        raise Rejected("invalid_identifier", f"`previousId` is longer than {LONGEST_IDENTIFIER}", "$.previousId")
    return Item(
        event_id,
        text,
        body_digest(canonical_json([sent.kind, name, named, previous, happened_ms, sent.properties])),
        named,
        previous,
        is_late=rules.append.is_late(ts_ms, received_at_ms),
    )


def _event_id(value: object, otherwise: str) -> str:
    if value is None or value == "":
        return otherwise
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise Rejected("invalid_field", f"the event's id is {kind_of(value)}: expected a text", "$.messageId")
    if len(value) > LONGEST_EVENT_ID:
        raise Rejected("invalid_field", f"the event's id is longer than {LONGEST_EVENT_ID} characters", "$.messageId")
    return value


def _name(value: object) -> str:
    if not isinstance(value, str):
        raise Rejected("invalid_field", f"the event's name is {kind_of(value)}: expected a text", "$.event")
    if len(value) > LONGEST_NAME:
        raise Rejected("invalid_field", f"the event's name is longer than {LONGEST_NAME} characters", "$.event")
    return value


def _instant(value: object, field: str) -> int:
    if isinstance(value, str):
        try:
            found = _parsed(value.strip())
        except ValueError as error:
            raise Rejected("invalid_timestamp", str(error), f"$.{field}") from None
    elif isinstance(value, int | Decimal) and not isinstance(value, bool) and -_LATEST_MS < value < _LATEST_MS:
        found = int(value // 1)
    else:
        raise Rejected(
            "invalid_timestamp",
            f"`{field}` is {kind_of(value)}: expected a text like `2018-01-01T04:01:21Z`, or epoch milliseconds",
            f"$.{field}",
        )
    if found < _EARLIEST_MS:
        raise Rejected("invalid_timestamp", f"`{field}` lies before the year 1", f"$.{field}")
    return found


@lru_cache(maxsize=1_024)
def _parsed(text: str) -> int:
    """Events of a batch share `sentAt`, and some their instant."""
    return parse_instant(text)


def _ts(happened_ms: int | None, sent_at: object, received_at_ms: int) -> int:
    """When it happened on our clock: what the sender's clock is wrong by is what `sent_at` is wrong by."""
    if happened_ms is None:
        return received_at_ms
    try:
        sent_ms = None if sent_at is None else _instant(sent_at, "sentAt")
    except Rejected:
        sent_ms = None  # a stamp that cannot be read corrects nothing
    corrected = happened_ms if sent_ms is None else received_at_ms - (sent_ms - happened_ms)
    return max(_EARLIEST_MS, min(corrected, received_at_ms))


def _named(sent: Sent, rules: Rules) -> dict[IdentifierKind, str | int | None]:
    found: dict[IdentifierKind, str | int | None] = {}
    for kind, value in sent.named.items():
        if type(value) is str and len(value) <= LONGEST_IDENTIFIER:
            found[kind] = value
        elif value is not None:
            found[kind] = _identifier(value, _FIELDS[kind])
    if rules.email_from_traits and sent.kind == "identify" and not found.get("email"):
        address = sent.properties.get("email")
        if isinstance(address, str) and len(address) <= LONGEST_IDENTIFIER:
            found["email"] = address
    return found


def _identifier(value: object, field: str) -> str | int | None:
    match value:
        case None:
            return None
        case bool():
            pass
        case int() if abs(value) < 10**_MOST_DIGITS:
            return value
        case Decimal() if value.is_finite() and abs(value.adjusted()) < _MOST_DIGITS:
            text = format(value, "f")
            return (text.rstrip("0").rstrip(".") if "." in text else text) or "0"
        case str():
            if len(value) > LONGEST_IDENTIFIER:
                raise Rejected(
                    "invalid_identifier", f"`{field}` is longer than {LONGEST_IDENTIFIER} characters", f"$.{field}"
                )
            return value
    raise Rejected("invalid_identifier", f"`{field}` is {kind_of(value)}: expected a text or a number", f"$.{field}")


def _previous(value: object) -> str | None:
    found = _identifier(value, "previousId")
    return None if found is None or is_blocked(found) else replace_surrogates(str(found))


def _properties(properties: Mapping[str, Any]) -> str:
    if not properties:
        return "{}"
    if len(properties) > MOST_PROPERTIES:
        raise Rejected(
            "too_many_properties",
            f"the event has {len(properties)} properties: more than {MOST_PROPERTIES}",
            "$.properties",
        )
    text = json_text(properties)
    if text.count("{") + text.count("[") > DEEPEST and depth_of(properties, DEEPEST) > DEEPEST:
        raise Rejected("too_deep", f"the event's properties nest more than {DEEPEST} levels", "$.properties")
    return text
