"""The links of a log, kept so that they can be judged again as if an un-merge had always held.

A link that is made again need not be kept: groups only grow while links are judged again, so under the same settings
what was joined is joined and what was refused is refused once more. The one exception: two e-mails may be joined by a
device once both sides have a user, if a profile may have several; such links are kept every time.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from dsl.identity_graph import Graph
from dsl.identity_records import Conflict, IdentitySettings, Linked


@dataclass(frozen=True, slots=True)
class Entry:
    """An event's links and the settings in force at its `seq`."""

    linked: Linked
    settings: IdentitySettings


@dataclass(frozen=True, slots=True)
class Judged:
    """Links that were judged again.

    Attributes:
        graph: who is who by these links alone.
        met: every identifier that they name, and those that were asked about.
        refused: as of the record that had them judged again.
    """

    graph: Graph
    met: frozenset[str]
    refused: tuple[Conflict, ...]


class Journal:
    """Every link that may matter when links are judged again, in the order of the log."""

    def __init__(self) -> None:
        self._entries: dict[int, Entry] = {}
        self._written = 0
        self._seen: set[tuple[str, tuple[str, ...], str | None, int, int]] = set()
        self._touching: defaultdict[str, list[int]] = defaultdict(list)
        self._indexed = 0

    def write(self, linked: Linked, settings: IdentitySettings) -> None:
        """Keep an event's links unless they say nothing new."""
        limits = (settings.max_user_ids_per_profile, settings.max_identifiers_per_profile)
        key = (linked.source_id, linked.weaker, linked.alias, *limits)
        if key in self._seen and (limits[0] == 1 or not linked.weaker):
            return
        self._seen.add(key)
        self._entries[self._written] = Entry(linked, settings)
        self._written += 1

    def judge(
        self, seq: int, around: Iterable[str], apart: Mapping[str, set[str]], erased: frozenset[str] = frozenset()
    ) -> Judged:
        """Judge all links that could have to do with some identifiers again, in order: those that links lead to.

        Args:
            seq: the record that has them judged again.
            apart: as if this had always held.
            erased: as if nobody had ever named these.
        """
        graph, refused = Graph(apart), list[Conflict]()
        met = set(around)
        for entry in self._around(met):
            met.update(entry.linked.identifiers())
            if kept := _without(entry, erased):
                refused += graph.take(kept.linked, kept.settings).refused
        return Judged(graph, frozenset(met), tuple(replace(conflict, seq=seq) for conflict in refused))

    def _around(self, identifiers: Iterable[str]) -> list[Entry]:
        self._index()
        waiting = list(identifiers)
        met, places = set(waiting), set[int]()
        while waiting:
            for place in self._touching.get(waiting.pop(), ()):
                if place in places:
                    continue
                places.add(place)
                new = [other for other in self._entries[place].linked.identifiers() if other not in met]
                met.update(new)
                waiting += new
        return [self._entries[place] for place in sorted(places)]

    def strike(self, identifiers: frozenset[str]) -> None:
        """Make it so that no entry ever named these identifiers."""
        self._index()
        for place in {place for identifier in identifiers for place in self._touching.pop(identifier, ())}:
            entry = self._entries.pop(place)
            if kept := _without(entry, identifiers):
                self._entries[place] = kept
            else:
                for other in set(entry.linked.identifiers()) - identifiers:
                    self._touching[other].remove(place)
        self._seen = {key for key in self._seen if identifiers.isdisjoint((key[0], *key[1], key[2] or ""))}

    def _index(self) -> None:
        # Only un-merges and erasures need it: a log without any pays nothing.
        for place in range(self._indexed, self._written):
            for identifier in set(self._entries[place].linked.identifiers()):
                self._touching[identifier].append(place)
        self._indexed = self._written


def _without(entry: Entry, identifiers: frozenset[str]) -> Entry | None:
    """The entry as if it had not named these identifiers; None when its source is one of them."""
    linked = entry.linked
    if linked.source_id in identifiers:
        return None
    weaker = tuple(identifier for identifier in linked.weaker if identifier not in identifiers)
    alias = None if linked.alias in identifiers else linked.alias
    return Entry(replace(linked, weaker=weaker, alias=alias), entry.settings)
