"""What events have held so far: names that were seen, and the types of their values. It warns, and decides nothing."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

from dsl.types import Type

Types = frozenset[Type]


class Sighting(NamedTuple):
    """A value was seen: of an event's property, or of an attribute (`event` is empty).

    Attributes:
        path: steps joined by dots; empty for an event that was seen at all.
        type: of the value; empty for an event that was seen at all.
    """

    event: str
    path: str
    type: str


class Seen(NamedTuple):
    """How often and when something was seen, in events that have landed.

    Attributes:
        times: events.
        first_ms: smallest `ts` of them, epoch milliseconds; `last_ms` the largest.
    """

    times: int
    first_ms: int
    last_ms: int

    def __or__(self, other: "Seen") -> "Seen":
        """Both together.

        >>> Seen(1, 5, 5) | Seen(2, 3, 4)
        Seen(times=3, first_ms=3, last_ms=5)
        """
        return Seen(self.times + other.times, min(self.first_ms, other.first_ms), max(self.last_ms, other.last_ms))


@dataclass(frozen=True, slots=True)
class Observed:
    """Everything that was seen.

    Attributes:
        events: types of each property's values by its path, by event name.
        attributes: types of each attribute's values by its path.
    """

    events: Mapping[str, Mapping[str, Types]] = field(default_factory=dict)
    attributes: Mapping[str, Types] = field(default_factory=dict)

    @classmethod
    def of(cls, sightings: Iterable[Sighting]) -> "Observed":
        """What the sightings add up to.

        >>> Observed.of([Sighting("buy", "", ""), Sighting("", "plan", "string")])
        Observed(events={'buy': {}}, attributes={'plan': frozenset({'string'})})
        """
        by_event = groupby(sorted(set(sightings)), key=lambda sighting: sighting.event)
        events = {event: _types(list(found)) for event, found in by_event}
        attributes = events.pop("", {})
        return cls(events, attributes)

    def properties(self, event: str | None) -> Mapping[str, Types]:
        """Types by path of an event's properties; of any event when it is None."""
        if event is not None:
            return self.events.get(event, {})
        found: dict[str, Types] = {}
        for properties in self.events.values():
            for path, types in properties.items():
                found[path] = found.get(path, frozenset()) | types
        return found


def _types(sightings: Sequence[Sighting]) -> dict[str, Types]:
    paths = dict.fromkeys(sighting.path for sighting in sightings if sighting.path)
    return {path: frozenset(s.type for s in sightings if s.path == path) for path in paths}  # type: ignore[misc]  # as written
