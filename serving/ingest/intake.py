"""Taking events in: understood, checked, appended; what is not accepted is kept as a dead letter before the answer."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol
from uuid import uuid4

import msgspec

from dsl.failpoints import reached
from dsl.sent_json import raw_text
from serving.ingest.check import Rules, check
from serving.ingest.dialects import DIALECTS
from serving.ingest.sent import Envelope, ReasonCode, Rejected, Sent, kind_of
from serving.online import Answer, Item
from warehouse.records import DeadLetter

Examine = Callable[[Sent], None]
"""Looks at an event as understood, before it is checked.

Raises:
    Rejected: it is not to be taken in.
"""


class Appends(Protocol):
    """What appends items: `serving.ingest.group.GroupAppender`, or one that does it at once."""

    async def append(self, items: Sequence[Item], now_ms: int) -> list[Answer]:
        """An answer for each."""
        ...


Keep = Callable[[Sequence[DeadLetter]], Any]
"""Keeps dead letters; they are on disk when the awaitable that it gives is done."""


class Parcel(msgspec.Struct, frozen=True):
    """Events that came together.

    Attributes:
        route: a dialect, and after a `:` what it is for: `segment`, `pipeline:checkout`.
        events: as JSON values; each should be an object.
        idempotency_key: of the request: events without an id get one that a repeated request gives again.
        examine: further looks at each event.
        bad_keys: write keys that do not work: an event that carries one is not accepted.
    """

    route: str
    events: Sequence[Any]
    envelope: Envelope = Envelope()
    idempotency_key: str = ""
    examine: Examine | None = None
    bad_keys: frozenset[str] = frozenset()


class Taken(msgspec.Struct, frozen=True, gc=False):
    """What became of an event.

    Attributes:
        code: `accepted`, `duplicate` (it was accepted before), `late` (it waits, durably, until its id was looked up),
            or why it was not accepted.
        profile_id: whose it is; empty when it was not accepted.
        more: further things that are wrong.
    """

    code: Literal["accepted", "duplicate", "late"] | ReasonCode
    event_id: str
    profile_id: str = ""
    seq: int | None = None
    detail: str = ""
    path: str = ""
    more: tuple[tuple[str, str], ...] = ()

    @property
    def is_accepted(self) -> bool:
        """Whether it is durable and will count, or counts already."""
        return self.code in ("accepted", "duplicate", "late")


async def take(
    parcel: Parcel, rules: Rules, appends: Appends, keep: Keep, received_at_ms: int, schema_version: int = 0
) -> list[Taken]:
    """Take in the events of a parcel, in this order; what became of each.

    When this returns, accepted events are durable and seen by the next decision, and the others are dead letters. When
    it fails, the same parcel can be sent again: nothing counts twice.

    Args:
        received_at_ms: the project's now.
        schema_version: the catalog's, which dead letters name.
    """
    understood = [_understood(parcel, place, event, rules, received_at_ms) for place, event in enumerate(parcel.events)]
    items = [each for each in understood if isinstance(each, Item)]
    reached("ingest.before_append")
    answers = iter(await appends.append(items, received_at_ms) if items else ())
    reached("ingest.after_append")
    taken = [taken_of(each, next(answers)) if isinstance(each, Item) else each for each in understood]
    letters = [
        _letter(parcel, event, each, received_at_ms, schema_version)
        for event, each in zip(parcel.events, taken, strict=True)
        if not each.is_accepted
    ]
    if letters:
        await keep(letters)
        reached("ingest.after_dead_letters")
    return taken


def understand(
    route: str,
    event: object,
    envelope: Envelope,
    rules: Rules,
    received_at_ms: int,
    make_id: Callable[[], str],
    examine: Examine | None = None,
) -> Item:
    """One event as it is appended.

    Args:
        make_id: gives the id of an event that has none.

    Raises:
        Rejected: it is none, or breaks a rule.
    """
    if not isinstance(event, dict):
        raise Rejected("invalid_event", f"the event is {kind_of(event)}: expected an object")
    sent = DIALECTS[route.partition(":")[0]](event, envelope)
    if examine is not None:
        examine(sent)
    return check(sent, rules, received_at_ms, "" if sent.event_id else make_id())


def _understood(parcel: Parcel, place: int, event: object, rules: Rules, received_at_ms: int) -> Item | Taken:
    """The event as it is appended, or why it is not."""
    try:
        if parcel.bad_keys and isinstance(event, dict) and event.get("writeKey") in parcel.bad_keys:
            raise Rejected("invalid_write_key", "the event's own write key is not valid", "$.writeKey")
        return understand(
            parcel.route,
            event,
            parcel.envelope,
            rules,
            received_at_ms,
            lambda: _made_id(parcel.idempotency_key, place),
            parcel.examine,
        )
    except Rejected as why:
        return Taken(why.code, _id_of(event), "", None, why.detail, why.path, why.more)


def _made_id(idempotency_key: str, place: int) -> str:
    if not idempotency_key:
        return str(uuid4())
    return hashlib.sha256(f"{idempotency_key}\x1f{place}".encode()).hexdigest()[:32]


def _id_of(event: object) -> str:
    """The id of an event that may be anything."""
    if isinstance(event, Mapping):
        for name in ("messageId", "eventId", "event_id", "id"):
            if isinstance(event.get(name), str):
                return str(event[name])
    return ""


_REFUSALS: Mapping[str, str] = {
    "id_conflict": "an event with this id and other content was accepted before, which stays",
    "no_identifier": "the event names nobody: its identifiers are blocked in this project",
}


def taken_of(item: Item, answer: Answer) -> Taken:
    """What the append script made of an item."""
    detail = _REFUSALS.get(answer.code, "")
    profile_id = "" if detail else answer.profile_id
    return Taken(answer.code, item.event_id, profile_id, answer.seq, detail, "$" if detail else "")


def _letter(parcel: Parcel, event: object, why: Taken, received_at_ms: int, schema_version: int) -> DeadLetter:
    return DeadLetter(
        why.code,
        why.detail,
        why.path,
        why.event_id,
        parcel.route,
        raw_text(event),
        received_at_ms,
        parcel.envelope.to_document(),
        schema_version,
    )
