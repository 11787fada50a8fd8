"""Worlds: the log of a project as it was sent, the moment of the question, and both readings of it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from dsl.clock import Zone
from dsl.event import Event, Kind
from dsl.numbers import read_json, write_number
from dsl.recount import attributes_of
from tests.oracle.evaluate import Definitions, Evaluator
from tests.oracle.values import load_json

Identity = tuple[str, str, int, int | None]
"""Source, profile, first `seq` at which the source is of the profile, `seq` from which it is not or None."""


def instant(text: str) -> int:
    """Epoch milliseconds of `2017-03-12T07:00:00`, UTC."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1000


@dataclass(frozen=True, slots=True)
class Entry:
    """One event of the log, its JSON as it was sent."""

    event_id: str
    seq: int
    kind: Kind
    name: str
    source_id: str
    ts_ms: int
    properties: str = "{}"
    context: str = "{}"


@dataclass(frozen=True)
class World:
    """Everything that was sent, and the moment of the question.

    Attributes:
        identities: without any, each source is a profile of the same name.
        request: JSON of what the request brought along.
    """

    entries: Sequence[Entry]
    t_ms: int
    cut: int
    zone: Zone
    identities: Sequence[Identity] = ()
    request: str = "{}"

    @cached_property
    def events(self) -> list[Event]:
        """The log as the engines know it: ingestion gives no `seq` to a second event of one id."""
        accepted: dict[str, Entry] = {}
        for entry in sorted(self.entries, key=lambda entry: entry.seq):
            accepted.setdefault(entry.event_id, entry)
        return [_event(entry, self.zone) for entry in accepted.values()]

    @cached_property
    def owners(self) -> Mapping[str, str]:
        """The profile of each source as of the cut."""
        if not self.identities:
            return {entry.source_id: entry.source_id for entry in self.entries}
        return {
            source: profile
            for source, profile, since, until in self.identities
            if since <= self.cut and (until is None or until > self.cut)
        }

    def of_profile(self, profile_id: str) -> list[Event]:
        """Every event of a profile, known or not."""
        return [event for event in self.events if self.owners.get(event.source_id) == profile_id]

    def known(self, profile_id: str) -> list[Event]:
        """The events of a profile with `seq <= cut` and `ts < t`."""
        return [event for event in self.of_profile(profile_id) if event.seq <= self.cut and event.ts_ms < self.t_ms]

    def attributes(self, profile_id: str) -> Mapping[str, object]:
        """Attributes of a profile, numbers as micro-units."""
        return attributes_of(self.known(profile_id))

    def oracle(self, definitions: Definitions, declared: Mapping[str, str]) -> Evaluator:
        """The oracle over the log as it was sent, its numbers as text.

        Args:
            declared: what the schemas declare, by path: `events.purchase.due`, `profile.plan`.
        """
        raw: list[dict[str, Any]] = [
            {
                "event_id": entry.event_id,
                "seq": entry.seq,
                "ts": entry.ts_ms,
                "kind": entry.kind,
                "name": entry.name,
                "source_id": entry.source_id,
                "properties": load_json(entry.properties),
                "context": load_json(entry.context),
            }
            for entry in self.entries
        ]
        request = load_json(self.request)
        assert isinstance(request, dict)
        return Evaluator(
            raw,
            definitions,
            self.t_ms,
            self.cut,
            self.zone.name,
            request,
            identities=self.owners if self.identities else None,
            declared=declared,
        )


def document(text: str) -> dict[str, object]:
    """A JSON object as the engines read it: numbers as micro-units."""
    value = read_json(text)
    assert isinstance(value, dict)
    return value


def json_text(value: object) -> str:
    """JSON of a value whose whole numbers are micro-units.

    >>> json_text({"amount": 2_500_000, "tags": ["a", None]})
    '{"amount": 2.5, "tags": ["a", null]}'
    """
    match value:
        case Mapping():
            return "{" + ", ".join(f"{json.dumps(key)}: {json_text(item)}" for key, item in value.items()) + "}"
        case list() | tuple():
            return f"[{', '.join(map(json_text, value))}]"
        case int() if not isinstance(value, bool):
            return write_number(value)
    return json.dumps(value)


def _event(entry: Entry, zone: Zone) -> Event:
    return Event(
        event_id=entry.event_id,
        seq=entry.seq,
        kind=entry.kind,
        name=entry.name,
        source_id=entry.source_id,
        ts_ms=entry.ts_ms,
        local_day=zone.day(entry.ts_ms),
        properties=document(entry.properties),
        context=document(entry.context),
    )
