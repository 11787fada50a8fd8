"""The four dialects that events are sent in, each read into the same form.

A dialect only says where things stand in an event; what they may be is checked once for all (`serving.ingest.check`).
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from dsl.event import Kind
from serving.ingest.sent import Envelope, Rejected, Sent, kind_of, object_of, text_of

Dialect = Callable[[Mapping[str, Any], Envelope], Sent]
"""Reads an event.

Raises:
    Rejected: a field that its kind needs is missing or of another type.
"""

_KINDS: Final = ("track", "page", "screen", "identify", "alias", "group")
_NAMES: Final[tuple[str, ...]] = ("event", "event_name", "name", "event_type")


def segment(event: Mapping[str, Any], envelope: Envelope) -> Sent:
    """Segment's HTTP tracking API, and TinyCDP's own routes, whose `ts`, `props` and further identifiers it has too."""
    kind = _kind(envelope.type or event.get("type"))
    context = object_of(event, "context")
    if envelope.context:
        context = {**envelope.context, **context}
    named, previous = _segment_names(event), None
    properties: Mapping[str, Any]
    match kind:
        case "identify":
            properties = _traits(event, context)
        case "group":
            properties = {**object_of(event, "traits"), "groupId": _needed(event, "groupId")}
        case "page" | "screen":
            said = {name: event[name] for name in ("name", "category") if event.get(name) is not None}
            properties = {**object_of(event, "properties"), **said}
        case "alias":
            properties = object_of(event, "properties")
            _needed(event, "userId")
            previous = _needed(event, "previousId")
        case _:
            properties = object_of(event, "properties") or object_of(event, "props")
    return Sent(
        kind,
        text_of(event, "event") if kind == "track" else kind,
        event.get("messageId"),
        _first(event, "timestamp", "originalTimestamp", "ts"),
        event.get("sentAt", envelope.sent_at),
        named,
        previous,
        properties,
        context,
    )


def mini(event: Mapping[str, Any], envelope: Envelope) -> Sent:
    """mini-cdp: `email`, `user_id`, `anonymous_id`, with `traits`, or `event_type`, `properties` and `occurred_at`."""
    kind = _kind(envelope.type)
    track = kind == "track"
    return Sent(
        kind,
        text_of(event, "event_type") if track else kind,
        event.get("event_id"),
        event.get("occurred_at"),
        None,
        _names(event, user="user_id", external="external_id", email="email", device="device_id", anon="anonymous_id"),
        None,
        object_of(event, "properties" if track else "traits"),
    )


def cdp(event: Mapping[str, Any], envelope: Envelope) -> Sent:
    """The CDP module: `eventId`, `ts` and a `payload` of the type `IDENTIFY`, `TRACK` or `ALIAS`."""
    payload = object_of(event, "payload")
    written = payload.get("type")
    if written not in ("IDENTIFY", "TRACK", "ALIAS"):
        raise Rejected("invalid_type", "payload.type must be IDENTIFY, TRACK or ALIAS", "$.payload.type")
    if not event.get("eventId"):
        raise Rejected("missing_field", "eventId must not be empty", "$.eventId")
    kind, name = cast(Kind, str(written).lower()), payload.get("name")
    if kind == "track" and not name:
        raise Rejected("missing_field", "TRACK events require a name", "$.payload.name")
    names = _names(payload, user="userId", email="email", anon="anonymousId")
    previous = names["anon"] if kind == "alias" and (names["user"] or names["email"]) else None
    properties = object_of(payload, "traits" if kind == "identify" else "properties")
    its_name = name if kind == "track" else kind
    return Sent(kind, its_name, event["eventId"], event.get("ts"), None, names, previous, properties)


def pipeline(event: Mapping[str, Any], envelope: Envelope) -> Sent:
    """A pipeline's events: a name, whom it is about, `timestamp`, and its fields in `properties`.

    Names may be written with `_` or in camel case: `user_id`, `userId`.
    """
    field = next((name for name in _NAMES if event.get(name) not in (None, "")), "event")
    names = _names(
        event, user="user_id", external="external_id", email="email", device="device_id", anon="anonymous_id"
    )
    camel = _names(event, user="userId", external="externalId", email="email", device="deviceId", anon="anonymousId")
    held = next((name for name in ("properties", "fields", "data") if event.get(name) is not None), "properties")
    return Sent(
        "track",
        text_of(event, field),
        _first(event, "event_id", "eventId", "message_id", "messageId", "id"),
        _first(event, "timestamp", "ts", "occurred_at"),
        _first(event, "sent_at", "sentAt"),
        {kind: value if value is not None else camel[kind] for kind, value in names.items()},
        None,
        object_of(event, held),
        object_of(event, "context"),
    )


DIALECTS: Final[Mapping[str, Dialect]] = {"segment": segment, "mini": mini, "cdp": cdp, "pipeline": pipeline}
"""By name; a route is a dialect's name, with what follows a `:` for the dialect itself."""


def _kind(written: object) -> Kind:
    if written is None:
        raise Rejected("invalid_type", f"the event has no `type`: expected one of {', '.join(_KINDS)}", "$.type")
    kind = written.lower() if isinstance(written, str) else ""
    if kind not in _KINDS:
        said = f"`{written[:40]}`" if isinstance(written, str) else kind_of(written)
        raise Rejected("invalid_type", f"`type` is {said}: expected one of {', '.join(_KINDS)}", "$.type")
    return cast(Kind, kind)


def _segment_names(event: Mapping[str, Any]) -> dict[Any, object]:
    get = event.get
    user, external = get("userId"), get("externalId")
    if user is None or user == "":
        user, external = external, None
    return {
        "user": user,
        "external": external,
        "email": get("email"),
        "device": get("deviceId"),
        "anon": get("anonymousId"),
    }


def _names(event: Mapping[str, Any], **fields: str) -> dict[Any, object]:
    return {kind: event.get(field) for kind, field in fields.items()}


def _traits(event: Mapping[str, Any], context: Mapping[str, Any]) -> Mapping[str, Any]:
    """Attributes; some libraries send them in the context."""
    beside = context.get("traits")
    return {**beside, **object_of(event, "traits")} if isinstance(beside, dict) else object_of(event, "traits")


def _needed(event: Mapping[str, Any], name: str) -> object:
    value = event.get(name)
    if value is None or value == "":
        raise Rejected("missing_field", f"the event has no `{name}`", f"$.{name}")
    return value


def _first(event: Mapping[str, Any], *names: str) -> object:
    for name in names:
        value = event.get(name)
        if value is not None:
            return value
    return None
