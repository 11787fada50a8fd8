"""Identities as a replay of the log: which identifiers are one profile, since when, and which links were refused.

A fold over records in the order of their `seq`, and nothing else decides:

- An event's blocked identifiers are dropped first; `user:<profile id>` stands for the profile's first identifier. The
  strongest that is left is its source, and each weaker one is linked to it. An alias links what `previousId` names
  before that.
- A profile id is the UUIDv5 of the profile's first identifier, and resolves for ever to the profile in which that
  identifier is now.
- An un-merge takes the links that could have to do with its two identifiers and judges them again, in order, each by
  the settings of its own `seq`, as if the two had always been kept apart. Profiles change at the un-merge's `seq`:
  before it the merge is still seen.
- An erasure does the same as if nobody had ever named the identifiers of the profile, and forgets their past too.

The rules of a single link are in `dsl.identity_graph`. The online store follows them in a script of its own; a property
test holds both equal.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from dsl.identity_graph import Graph
from dsl.identity_journal import Journal, Judged
from dsl.identity_records import (
    Change,
    Conflict,
    Erasure,
    IdentitySettings,
    Interval,
    Linked,
    Mention,
    Outcome,
    Profile,
    Record,
    Reserved,
    SettingsChange,
    Unmerge,
)

_PREVIOUS_KINDS = ("user", "external", "anon", "device")
"""Kinds that the value of an alias's `previousId` is tried as, in this order; unknown, it is the third."""


def replay(records: Iterable[Record]) -> "Identities":
    """The identities after these records, which come in the order of their `seq`.

    >>> seen = replay([Mention(1, ("anon:a",)), Mention(2, ("user:ann", "anon:a")), Mention(3, ("user:bob", "anon:a"))])
    >>> seen.profile_of("user:ann") == seen.profile_of("anon:a") != seen.profile_of("user:bob")
    True
    >>> [(conflict.seq, conflict.reason, conflict.weaker) for conflict in seen.conflicts]
    [(3, 'users', 'anon:a')]
    """
    identities = Identities()
    for record in records:
        identities.add(record)
    return identities


class Identities:
    """Who is who after the records added so far.

    Attributes:
        seq: of the last record; the next one has a larger one.
        settings: what links are judged by.
    """

    def __init__(self) -> None:
        self.seq = 0
        self.settings = IdentitySettings()
        self._graph = Graph({})
        self._journal = Journal()
        self._past: defaultdict[str, list[tuple[int, str | None]]] = defaultdict(list)
        self._conflicts: dict[tuple[str, str, str], Conflict] = {}

    def add(self, record: Record) -> Outcome | None:
        """Apply a record; what an event came to, None for other records and for an event without an identifier.

        Raises:
            ValueError: a record with this `seq` or a later one was added before.
        """
        if record.seq <= self.seq:
            raise ValueError(f"record {record.seq} comes after record {self.seq}: a replay goes by seq")
        self.seq = record.seq
        match record:
            case Mention():
                linked = self.understand(record)
                return None if linked is None else self._link(linked)
            case Linked():
                return self._link(record)
            case SettingsChange(_, settings):
                self.settings = settings
            case Unmerge() | Erasure():
                self._install(record)
            case Reserved():
                self.seq = record.last_seq
        return None

    def understand(self, mention: Mention) -> Linked | None:
        """Who an event is about, by what is known now; None when no identifier is left."""
        left = [self.meant(each) for each in mention.identifiers if not self.settings.blocks(each)]
        if not left:
            return None
        source, *weaker = dict.fromkeys(left)
        alias = self._previous(mention.previous, left) if mention.previous is not None else None
        alias = None if alias == source else alias
        return Linked(mention.seq, source, tuple(each for each in weaker if each != alias), alias)

    def meant(self, identifier: str) -> str:
        """The identifier itself; of `user:<profile id>` with a known id the one that the profile began with."""
        kind, _, value = identifier.partition(":")
        return self._graph.firsts.get(value, identifier) if kind == "user" else identifier

    def plan(self, record: Unmerge | Erasure) -> Change:
        """What a record would change; nothing changes yet."""
        return self._again(record)[1]

    def profile_of(self, identifier: str) -> str | None:
        """The profile of an identifier; None when nobody is known by it."""
        group = self._graph.groups.get(self.meant(identifier))
        return None if group is None else group.profile_id

    def resolve(self, profile_id: str) -> str | None:
        """The profile that a profile id leads to: the one that its first identifier is in; None when it is unknown."""
        first = self._graph.firsts.get(profile_id)
        # The identifier itself: one that is written like the id of a profile does not stand for that profile here.
        group = None if first is None else self._graph.groups.get(first)
        return None if group is None else group.profile_id

    def profile(self, profile_id: str) -> Profile | None:
        """The profile with this id; None when there is none, also for an id that leads to another."""
        group = self._graph.profiles.get(profile_id)
        return None if group is None else group.frozen()

    def profiles(self) -> Iterator[Profile]:
        """Every profile."""
        return (group.frozen() for group in self._graph.profiles.values())

    def retired(self) -> dict[str, str]:
        """Profile ids that lead to another profile, with the identifier that each began with."""
        return {key: first for key, first in self._graph.firsts.items() if key not in self._graph.profiles}

    @property
    def apart(self) -> dict[str, tuple[str, ...]]:
        """Of an identifier, those that an un-merge keeps apart from it."""
        return {identifier: tuple(sorted(others)) for identifier, others in self._graph.apart.items() if others}

    @property
    def conflicts(self) -> list[Conflict]:
        """The links that were refused, by `seq`; one that is refused again for the same reason is listed once."""
        return sorted(self._conflicts.values(), key=lambda conflict: conflict.seq)

    def intervals(self) -> Iterator[Interval]:
        """The table `identities`. Grain: one row per identifier and interval of the log."""
        for identifier, past in self._past.items():
            ends = [*(since for since, _ in past[1:]), None]
            for (since, profile), until in zip(past, ends, strict=True):
                if profile is not None:
                    yield Interval(identifier, profile, since, until)

    def profiles_at(self, seq: int) -> dict[str, str]:
        """The profile of every identifier that was known at a knowledge cut (inclusive)."""
        found = {}
        for identifier, past in self._past.items():
            place = bisect_right(past, seq, key=lambda entry: entry[0])
            if place and (profile := past[place - 1][1]) is not None:
                found[identifier] = profile
        return found

    def _previous(self, value: str, own: list[str]) -> str | None:
        """The identifier that `previousId` names: of those that are known, or that the event itself names."""
        tried = [f"{kind}:{value}" for kind in _PREVIOUS_KINDS]
        if self.settings.blocks(tried[0]):
            return None
        return next((each for each in map(self.meant, tried) if each in self._graph.groups or each in own), tried[2])

    def _link(self, linked: Linked) -> Outcome:
        taken = self._graph.take(linked, self.settings)
        self._journal.write(linked, self.settings)
        for identifier in taken.moved:
            self._note(identifier, self._graph.groups[identifier].profile_id)
        for conflict in taken.refused:
            self._refuse(conflict)
        return Outcome(linked, self._graph.groups[linked.source_id].profile_id, tuple(taken.refused))

    def _again(self, record: Unmerge | Erasure) -> tuple[Judged, Change]:
        """The links around a record judged again, and what comes of them that is not so now."""
        erased = self._erased_by(record)
        apart = {each: others - erased for each, others in self._graph.apart.items() if each not in erased}
        around: Iterable[str] = erased
        if isinstance(record, Unmerge):
            one, other = around = (self.meant(record.one), self.meant(record.other))
            if one != other:
                apart[one] = apart.get(one, set()) | {other}
                apart[other] = apart.get(other, set()) | {one}
        judged = self._journal.judge(record.seq, around, apart, erased)
        profiles = (group.frozen() for group in judged.graph.profiles.values())
        named = sorted(apart.keys() | self._graph.apart.keys())
        change = Change(
            profiles=tuple(profile for profile in profiles if profile != self.profile(profile.profile_id)),
            unknown=tuple(sorted((judged.met & self._graph.groups.keys()) - judged.graph.groups.keys())),
            forgotten=tuple(key for key, first in self._graph.firsts.items() if first in erased) if erased else (),
            apart={each: tuple(sorted(apart.get(each, ()))) for each in named if self._differs(each, apart)},
        )
        return judged, change

    def _erased_by(self, record: Unmerge | Erasure) -> frozenset[str]:
        key = self.resolve(record.profile_id) if isinstance(record, Erasure) else None
        return frozenset() if key is None else frozenset(self._graph.profiles[key].members)

    def _differs(self, identifier: str, apart: Mapping[str, set[str]]) -> bool:
        return apart.get(identifier, set()) != self._graph.apart.get(identifier, set())

    def _install(self, record: Unmerge | Erasure) -> None:
        erased = self._erased_by(record)
        judged, change = self._again(record)
        for identifier in judged.met:
            self._graph.remove(identifier)
        for group in judged.graph.profiles.values():
            self._graph.put(group)
        self._graph.apart = judged.graph.apart
        for identifier in change.unknown:
            self._note(identifier, None)
        for profile in change.profiles:
            for identifier in profile.members:
                self._note(identifier, profile.profile_id)
        for conflict in judged.refused:
            self._refuse(conflict)
        if erased:
            self._forget(erased, change.forgotten)

    def _forget(self, erased: frozenset[str], forgotten: Iterable[str]) -> None:
        self._journal.strike(erased)
        for identifier in erased:
            del self._past[identifier]
        for profile_id in forgotten:
            del self._graph.firsts[profile_id]
        kept = self._conflicts.items()
        self._conflicts = {key: found for key, found in kept if erased.isdisjoint((found.stronger, found.weaker))}

    def _note(self, identifier: str, profile_id: str | None) -> None:
        past = self._past[identifier]
        if past and past[-1][0] == self.seq:
            past.pop()
        if (past[-1][1] if past else None) != profile_id:
            past.append((self.seq, profile_id))

    def _refuse(self, conflict: Conflict) -> None:
        self._conflicts.setdefault((conflict.reason, conflict.stronger, conflict.weaker), conflict)
