"""The events and traits that a request brings along, read as if they had been tracked just now."""

from collections.abc import Mapping
from typing import Any, Final
from uuid import uuid4

from fastapi import Request

from dsl.event_record import FreshEvent, read_fresh
from dsl.sent_json import read_sent
from serving.http.plane import Plane
from serving.http.problems import Problem, ProblemItem
from serving.http.question import DecideRequest
from serving.ingest.check import Rules
from serving.ingest.intake import understand
from serving.ingest.sent import Envelope, Rejected

_TRAITS_ID: Final = "\U0010ffff"
"""Id of the event that sets the request's traits: the last of those of one instant."""


async def own_events(request: Request, question: DecideRequest, body: bytes) -> list[FreshEvent]:
    """The request's own events, those that set its traits among them; none when it brings none.

    Raises:
        Problem: one of them is not as an event has to be.
    """
    if not question.events and not question.traits:
        return []
    sent = read_sent(body)
    facts = await Plane.of(request).project.facts()
    rules, now_ms = Rules(zone=facts.zone), facts.clock.now_ms()
    own = [(f"$.events[{place}]", {"type": "track", **event}) for place, event in enumerate(sent.get("events") or ())]
    if question.traits:
        own.append(("$", {"type": "identify", "messageId": _TRAITS_ID, "traits": sent["traits"]}))
    return [_understood(place, {**question.names(), **event}, rules, now_ms) for place, event in own]


def _understood(place: str, event: Mapping[str, Any], rules: Rules, now_ms: int) -> FreshEvent:
    try:
        item = understand("segment", event, Envelope(""), rules, now_ms, lambda: str(uuid4()))
    except Rejected as why:
        path = place + why.path.removeprefix("$")
        raise Problem(why.code, why.detail, (ProblemItem(why.code, why.detail, path),)) from why
    return read_fresh(item.record.encode())
