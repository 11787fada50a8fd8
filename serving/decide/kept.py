"""What this process keeps of profiles between decisions: never beyond the first change that it is told of."""

import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, Protocol

from serving.online import Answer, Fold, Item, Keys, Reading, Unpacked

_MOST_ANSWERS: Final = 64
"""Of one profile: callers that put ever new things into their context must not fill the memory."""
_LARGEST_ANSWER_BYTES: Final = 65_536


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """An answer as it was sent, good before `until_s` of the monotonic clock."""

    body: bytes
    until_s: float


@dataclass(slots=True, eq=False)
class Kept:
    """What was read of one profile, and what was answered from it.

    Attributes:
        unpacked: its tiles and fresh events.
        coming: the catalog that is being prepared, where a flag that was asked for is only there.
        answers: by what was asked.
        read_s: when it was read, of the monotonic clock.
    """

    who: str
    reading: Reading
    fold: Fold
    unpacked: Unpacked
    coming: Fold | None = None
    answers: dict[object, KeptAnswer] = field(default_factory=dict)
    read_s: float = field(default_factory=time.monotonic)

    @property
    def knows_all(self) -> bool:
        """Whether every flag that is known at all is in one of its catalogs."""
        return self.coming is not None or self.reading.coming_version is None

    def remember(self, question: object, answer: KeptAnswer) -> None:
        """Keep an answer, unless it is very long."""
        if len(answer.body) <= _LARGEST_ANSWER_BYTES:
            if len(self.answers) >= _MOST_ANSWERS:
                self.answers.clear()
            self.answers[question] = answer


@dataclass(slots=True, eq=False)
class Flight:
    """A question that the store is answering; what changes meanwhile may or may not be in its answer."""

    profiles: "KeptProfiles"
    changed: set[str] = field(default_factory=set)
    is_void: bool = False

    def land(self, kept: Kept) -> None:
        """Keep what was read, unless some of it has changed since it was asked for."""
        if not self.is_void and _is_direct(kept):
            self.profiles.keep(kept, self.changed)


class Appends(Protocol):
    """What appends items to the log."""

    async def append(self, items: Sequence[Item], now_ms: int) -> list[Answer]:
        """An answer for each."""
        ...


class KeptProfiles:
    """Profiles by the identifier that was asked for, the least recently asked for forgotten first."""

    def __init__(self, project: str, most: int) -> None:
        self._keys = Keys(project)
        self._most = most
        self._by_who: OrderedDict[str, Kept] = OrderedDict()
        self._whose: dict[str, set[str]] = {}
        self._flights: set[Flight] = set()
        self._shared = self._keys.watched_by_all

    def __len__(self) -> int:
        return len(self._by_who)

    def get(self, who: str) -> Kept | None:
        """What is kept of somebody."""
        found = self._by_who.get(who)
        if found is not None:
            self._by_who.move_to_end(who)
        return found

    @contextmanager
    def flight(self) -> Iterator[Flight]:
        """While a question goes to the store and its answer comes back."""
        flight = Flight(self)
        self._flights.add(flight)
        try:
            yield flight
        finally:
            self._flights.discard(flight)

    def keep(self, kept: Kept, changed: set[str]) -> None:
        """Keep what was read, unless it is of keys that have changed."""
        keys = self._of(kept)
        if not changed.isdisjoint(keys):
            return
        self._forget_one(kept.who)
        self._by_who[kept.who] = kept
        for key in keys:
            self._whose.setdefault(key, set()).add(kept.who)
        while len(self._by_who) > self._most:
            self._forget_one(next(iter(self._by_who)))

    def forget(self, keys: Sequence[str] | None) -> None:
        """Keys of the store were written, or any of them may have been: what was read of them counts no longer."""
        if keys is None or any(key.startswith(self._shared) for key in keys):
            self._by_who.clear()
            self._whose.clear()
            for flight in self._flights:
                flight.is_void = True
            return
        for flight in self._flights:
            flight.changed.update(keys)
        for key in keys:
            for who in tuple(self._whose.get(key, ())):
                self._forget_one(who)

    def appended(self, items: Sequence[Item], answers: Sequence[Answer]) -> None:
        """This process itself has appended these: nothing that is older is answered from here on."""
        if not self._by_who and not self._flights:
            return
        keys, told = self._keys, list[str]()
        for item, answer in zip(items, answers, strict=True):
            if item.type == "settings":
                self.forget(None)
            identifiers = {*item.identifiers, answer.source_id}
            if item.previous is not None:
                identifiers.update(f"{kind}:{item.previous}" for kind in ("user", "external", "anon", "device"))
            told += [key for each in identifiers for key in (keys.ident(each), keys.fresh(each))]
            told.append(keys.profile(answer.profile_id))
        self.forget(told)

    def _forget_one(self, who: str) -> None:
        kept = self._by_who.pop(who, None)
        for key in self._of(kept) if kept is not None else ():
            others = self._whose.get(key)
            if others is not None:
                others.discard(who)
                if not others:
                    del self._whose[key]

    def _of(self, kept: Kept) -> set[str]:
        """The keys that say something of this profile; other ones are the same for all."""
        keys, members = self._keys, [source.source_id for source in kept.reading.sources]
        found = {keys.profile(kept.reading.profile_id), *map(keys.fresh, members), *map(keys.ident, members)}
        kind, _, value = kept.who.partition(":")
        found.add(keys.ident(kept.who) if value else keys.profile(kept.who))
        if kind == "user":
            found.add(keys.profile(value))
        return found


def _is_direct(kept: Kept) -> bool:
    """Whether who was asked for is the profile, one of its members, or unknown.

    A retired id leads through other profiles, whose keys are not among those that are told of.
    """
    who, reading = kept.who, kept.reading
    members = [source.source_id for source in reading.sources]
    return not members or who in members or reading.profile_id in (who, who.partition(":")[2])


@dataclass(frozen=True, slots=True)
class ForgetfulAppender:
    """Appends, and forgets what was kept of those whom it concerns before anybody hears of it."""

    appends: Appends
    profiles: KeptProfiles

    async def append(self, items: Sequence[Item], now_ms: int) -> list[Answer]:
        """An answer for each."""
        answers = await self.appends.append(items, now_ms)
        self.profiles.appended(items, answers)
        return answers
