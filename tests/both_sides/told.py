"""What senders have said, and what they were told became of it: all that the truth is counted from."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from dsl.clock import Zone
from dsl.event import Event
from dsl.identity import Identities
from dsl.identity_records import Mention
from dsl.windows import Window, read_window

ZONE = Zone("America/New_York")
USERS, VISITORS = ("user:ann", "user:bob", "user:cem"), ("anon:1", "anon:2", "device:d")
EVERYBODY = (*USERS, *VISITORS, "email:nobody")
MINUTE_MS = 60_000
DEDUP_WINDOW_MS = 7 * 24 * 60 * MINUTE_MS

Way = Literal["store", "http", "load", "own"]


def _window(text: str) -> Window:
    found = read_window(text)
    assert found is not None
    return found


WINDOWS = tuple(map(_window, ("90s", "30m", "24h", "7d")))


@dataclass(frozen=True, slots=True)
class Said:
    """An event as it was said.

    Attributes:
        named: whom it names, its source first.
        previous: what an alias names without a kind.
        way: who appended it: a process beside the API, the API, a bulk load, TinyCDP itself.
    """

    event: Event
    named: tuple[str, ...]
    previous: str | None = None
    way: Way = "store"


@dataclass(slots=True)
class Told:
    """All that counts.

    Attributes:
        accepted: by event id; each with its `seq`.
        waiting: those that wait in the late lane, in its order.
        again: events that came again when the store had forgotten their ids, and wait; with another body or not.
        refused: those that came with another body and became dead letters: their ids are not known again.
        identities: the replay of the log.
    """

    accepted: dict[str, Said] = field(default_factory=dict)
    waiting: dict[str, Said] = field(default_factory=dict)
    again: dict[str, bool] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    identities: Identities = field(default_factory=Identities)

    def accept(self, said: Said, seq: int) -> None:
        """It has this number."""
        self.accepted[said.event.event_id] = replace(said, event=replace(said.event, seq=seq))
        self.identities.add(Mention(seq, said.named, said.previous))

    def owner(self, event: Event) -> str | None:
        """The profile that it counts for; None when that was erased."""
        return self.identities.profile_of(event.source_id)

    def events_of(self, profile_id: str | None) -> list[Event]:
        """What counts for a profile."""
        events = (said.event for said in self.accepted.values())
        return [] if profile_id is None else [event for event in events if self.owner(event) == profile_id]

    def members_of(self, profile_id: str) -> list[str]:
        """The identifiers of a profile; none when nobody has this id."""
        found = self.identities.profile(profile_id)
        return [] if found is None else list(found.members)

    def in_tables(self) -> set[str]:
        """The profiles that somebody outside has sent anything about."""
        owners = {self.owner(said.event) for said in self.accepted.values() if said.event.kind != "system"}
        return {owner for owner in owners if owner is not None}

    def old(self, now_ms: int) -> list[str]:
        """Ids of events so old that the store need not know them any more, and of which none waits again."""
        return sorted(
            event_id
            for event_id, said in self.accepted.items()
            if said.event.ts_ms < now_ms - DEDUP_WINDOW_MS and said.way != "load" and event_id not in self.again
        )

    def edges(self, now_ms: int) -> Iterator[int]:
        """Instants at which something changes by itself."""
        yield ZONE.start_ms(ZONE.day(now_ms) + 1)
        for said in self.accepted.values():
            ts_ms = said.event.ts_ms
            for window in WINDOWS:
                yield ts_ms // window.hop_ms * window.hop_ms + window.hop_ms + window.width_ms
            yield ts_ms + 30 * MINUTE_MS


def beginnings(now_ms: int) -> list[int]:
    """Now, and instants before it at which a window, a hop or a day begins."""
    found = {now_ms}
    for window in WINDOWS:
        start = window.start_ms(now_ms)
        found |= {start - 1, start, start + 1, start + window.hop_ms}
    midnight = ZONE.start_ms(ZONE.day(now_ms))
    return sorted(ms for ms in {*found, midnight - 1, midnight, midnight + 1} if ms <= now_ms)


def is_late(event: Event, now_ms: int) -> bool:
    """Whether it has to be looked up before it gets a number."""
    return event.ts_ms < now_ms - DEDUP_WINDOW_MS
