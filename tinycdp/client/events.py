"""Events and values as they are sent: JSON without a lost digit, ids and instants given when an event is made."""

import math
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple, TypedDict
from uuid import UUID, uuid4

import msgspec

from tinycdp.client.exceptions import WrongUseError

DEEPEST: Final = 32
"""Levels of properties, traits and context; the API takes no more."""
_encode: Final = msgspec.json.Encoder(decimal_format="number").encode


class Identifiers(TypedDict, total=False):
    """Who an event is about, or whom a question asks about; of several the strongest counts, in this order."""

    user_id: str | int | None
    external_id: str | int | None
    email: str | None
    device_id: str | int | None
    anonymous_id: str | int | None


class Asked(Identifiers, total=False):
    """Whom a question asks about; `profile_id` is one that a decision returned, and the strongest of all."""

    profile_id: str | None


class Event(msgspec.Struct, frozen=True):
    """An event that a question brings along, counted in its answer and nowhere else.

    Attributes:
        event: its name.
        timestamp: when it happened; None is now.
        message_id: of an event that was tracked too (`TinyCDP.track` returns it): it counts once.
    """

    event: str
    properties: Mapping[str, object] = {}
    timestamp: datetime | None = None
    message_id: str | None = None


class Queued(NamedTuple):
    """An event on its way.

    Attributes:
        body: its JSON.
    """

    message_id: str
    body: bytes


_SENT_AS: Final = {
    "user_id": "userId",
    "external_id": "externalId",
    "email": "email",
    "device_id": "deviceId",
    "anonymous_id": "anonymousId",
    "profile_id": "profileId",
}
_OF_EVENTS: Final = frozenset(_SENT_AS) - {"profile_id"}


def made_event(who: Identifiers, parts: Mapping[str, object], timestamp: datetime | None = None) -> Queued:
    """An event with an id and an instant of its own, by which it counts once however often it is sent.

    Args:
        parts: what its kind has besides, as the API names it.

    Raises:
        WrongUseError: it names nobody, or holds what is no JSON.
    """
    message_id, named = str(uuid4()), names(who, _OF_EVENTS)
    happened_at = datetime.now(UTC) if timestamp is None else timestamp
    return Queued(message_id, json_of({**parts, **named, "messageId": message_id, "timestamp": happened_at}))


def names(who: Identifiers | Asked, allowed: Collection[str] = frozenset(_SENT_AS)) -> dict[str, str | int]:
    """Identifiers as the API names them.

    Raises:
        WrongUseError: there is none, or another than is allowed.

    >>> names({"user_id": 17, "email": None})
    {'userId': 17}
    """
    given: Mapping[str, Any] = who
    listed = ", ".join(name for name in _SENT_AS if name in allowed)
    unknown = sorted(given.keys() - set(allowed))
    if unknown:
        raise WrongUseError("unknown_identifier", f"`{unknown[0]}` is no identifier here: there are {listed}")
    found = {_SENT_AS[name]: value for name, value in given.items() if value is not None}
    if not found:
        raise WrongUseError("identifier_missing", f"nobody is named: give one of {listed}")
    return found


def brought(event: Event | Mapping[str, object]) -> Mapping[str, object]:
    """An event that a question brings along, as it is sent; a mapping stays as it is."""
    if not isinstance(event, Event):
        return event
    told = {"timestamp": event.timestamp, "messageId": event.message_id}
    given = {name: value for name, value in told.items() if value is not None}
    return {"event": event.event, "properties": event.properties, **given}


def json_of(value: object) -> bytes:
    """JSON of a value: whole numbers and `Decimal` digit by digit, floats by their shortest text, instants as ISO 8601.

    Raises:
        WrongUseError: something in it is none of JSON; the message says where.

    >>> json_of({"price": Decimal("12.30"), "items": (1, 2**70)})
    b'{"price":12.30,"items":[1,1180591620717411303424]}'
    """
    try:
        return _encode(_plain(value, "", DEEPEST + 2))
    except UnicodeEncodeError as error:
        raise WrongUseError("invalid_value", "a text holds half of a surrogate pair, which no UTF-8 has") from error


def _plain(value: object, path: str, levels: int) -> object:
    """The same as what JSON has.

    Args:
        levels: how many may follow.
    """
    match value:
        case None | bool() | str() | int():
            return value
        case float() if math.isfinite(value):
            return value
        case Decimal() if value.is_finite():
            return value
        case date():  # a datetime is one
            return value.isoformat()
        case UUID():
            return str(value)
        case Mapping() | Sequence() if levels == 0:
            raise WrongUseError("too_deep", f"`{_place(path)}` nests too deeply: at most {DEEPEST} levels")
        case Mapping():
            return {_key(name, path): _plain(part, f"{path}.{name}", levels - 1) for name, part in value.items()}
        case Sequence() if not isinstance(value, bytes | bytearray | memoryview):
            return [_plain(part, f"{path}[{place}]", levels - 1) for place, part in enumerate(value)]
    shown = f"`{value}`" if isinstance(value, float | Decimal) else f"of the type `{type(value).__name__}`"
    raise WrongUseError("invalid_value", f"`{_place(path)}` is {shown}, which is no value of JSON")


def _key(name: object, path: str) -> str:
    if not isinstance(name, str):
        raise WrongUseError("invalid_value", f"a key in `{_place(path)}` is {name!r}: keys are texts")
    return name


def _place(path: str) -> str:
    return path.removeprefix(".") or "the value"
