"""Dead letters, corrected and taken in again: under their own ids, as of the instant at which they first came."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from dsl.sent_json import read_sent
from serving.ingest.check import Rules
from serving.ingest.dialects import DIALECTS
from serving.ingest.intake import Appends, Examine, Taken, taken_of, understand
from serving.ingest.sent import Envelope, Rejected
from serving.online import Item
from warehouse.records import DeadLetter

ExamineRoute = Callable[[str], Examine | None]
"""Further looks at the events of a route, by today's definitions."""
_ADVICE: Final[Mapping[str, str]] = {
    "bulk": "correct the file and load it again: what has landed is left out",
    "late": "an event with this id has landed: send it under another id",
}


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of a letter; it is closed when the event was accepted, and stays open as it was otherwise."""

    letter: DeadLetter
    taken: Taken


async def replay(
    letters: Sequence[DeadLetter],
    patch: Mapping[str, Any],
    rules: Rules,
    appends: Appends,
    examine: ExamineRoute,
    now_ms: int,
) -> list[Replayed]:
    """Take letters in again; the caller closes those that were accepted.

    An event without an id gets one of its letter's: whatever is killed when, a second replay finds it a duplicate.

    Args:
        patch: JSON merge patch (RFC 7396) for each event: null takes a field away.
        now_ms: the project's; each event was received when its letter was.
    """
    found: dict[int, Taken] = {}
    items = {}
    for place, letter in enumerate(letters):
        try:
            items[place] = _item(letter, patch, rules, examine)
        except Rejected as why:
            found[place] = Taken(why.code, letter.event_id, "", None, why.detail, why.path, why.more)
    answers = await appends.append(list(items.values()), now_ms) if items else []
    for (place, item), answer in zip(items.items(), answers, strict=True):
        found[place] = taken_of(item, answer)
    return [Replayed(letter, found[place]) for place, letter in enumerate(letters)]


def merged(event: Any, patch: Any) -> Any:
    """An event with a JSON merge patch (RFC 7396).

    >>> merged({"userId": "null", "properties": {"a": 1, "b": 2}}, {"userId": "ann", "properties": {"b": None}})
    {'userId': 'ann', 'properties': {'a': 1}}
    """
    if not isinstance(patch, Mapping):
        return patch
    found = dict(event) if isinstance(event, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            found.pop(name, None)
        else:
            found[name] = merged(found.get(name), value)
    return found


def _item(letter: DeadLetter, patch: Mapping[str, Any], rules: Rules, examine: ExamineRoute) -> Item:
    dialect = letter.route.partition(":")[0]
    if dialect not in DIALECTS:
        advice = _ADVICE.get(dialect, "its route is unknown")
        raise Rejected("invalid_event", f"this letter cannot be replayed: {advice}")
    event = read_sent(letter.raw.encode())
    if isinstance(event, dict):
        # A key that did not work then is not asked again: who replays has another.
        event = {name: value for name, value in event.items() if name != "writeKey"}
    envelope = Envelope.from_document(letter.envelope)
    event = merged(event, patch) if patch else event
    received = letter.received_at_ms
    return understand(
        letter.route, event, envelope, rules, received, lambda: f"letter-{letter.digest[:32]}", examine(letter.route)
    )
