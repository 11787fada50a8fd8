"""Which identifiers are one profile at one moment, and the rules by which a link joins two profiles or is refused.

A link says that two identifiers are the same person. What nobody knew joins the profile that it is linked to: only two
known profiles merge, so an anonymous visitor who logs in keeps the profile id. An unknown source and the unknown
identifiers beside it are judged as one group, which becomes a profile of its own when it may join none. A weaker
identifier that nobody knew and whose link is refused stays unknown.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from dsl.identifiers import profile_id as new_profile_id
from dsl.identity_records import Conflict, IdentitySettings, Linked, Profile, Reason

_SHARED = ("device:", "anon:")
"""Kinds of identifiers that several people may use."""


@dataclass(slots=True)
class Group:
    """Identifiers that are one person: a profile, or one in the making, which has no id yet."""

    first: str
    since_seq: int
    members: dict[str, int]
    profile_id: str = ""

    def count(self, kind: str) -> int:
        """Members of a kind, written with its colon: `user:`."""
        return sum(member.startswith(kind) for member in self.members)

    def frozen(self) -> Profile:
        """The profile as others may keep it."""
        return Profile(self.profile_id, self.first, self.since_seq, dict(self.members))


@dataclass(slots=True)
class Taken:
    """What one event did: identifiers whose profile is another now, and the links that were refused."""

    moved: list[str] = field(default_factory=list)
    refused: list[Conflict] = field(default_factory=list)


class Graph:
    """Identifiers and profiles after some links; it knows no history.

    Attributes:
        groups: the profile of each known identifier.
        profiles: every profile by its id.
        firsts: of every profile id that there ever was, the identifier that it began with.
        apart: of an identifier, those that are never one profile with it.
    """

    def __init__(self, apart: Mapping[str, set[str]]) -> None:
        self.groups: dict[str, Group] = {}
        self.profiles: dict[str, Group] = {}
        self.firsts: dict[str, str] = {}
        self.apart = apart

    def take(self, linked: Linked, settings: IdentitySettings) -> Taken:
        """Apply an event: link each weaker identifier to its source, then see that the source has a profile."""
        taken, seq = Taken(), linked.seq
        own = self._group(linked.source_id, seq)
        for weaker, by_alias in linked.links():
            if weaker in own.members:
                continue
            other = self._group(weaker, seq)
            reason = self._refusal(own, other, weaker, by_alias, settings)
            if reason is None:
                own = self._join(own, other, seq, taken.moved)
            else:
                both = (own.profile_id, other.profile_id)
                taken.refused.append(Conflict(seq, seq, reason, linked.source_id, weaker, *both))
        if not own.profile_id:
            self._begin(own, taken.moved)
        return taken

    def remove(self, identifier: str) -> None:
        """Nobody knows this identifier any more; a profile without any ends."""
        if group := self.groups.pop(identifier, None):
            del group.members[identifier]
            if not group.members:
                del self.profiles[group.profile_id]

    def put(self, group: Group) -> None:
        """A profile as another graph has it; its members are removed from here first."""
        self.profiles[group.profile_id] = group
        self.firsts[group.profile_id] = group.first
        self.groups.update(dict.fromkeys(group.members, group))

    def _group(self, identifier: str, seq: int) -> Group:
        return self.groups.get(identifier) or Group(identifier, seq, {identifier: seq})

    def _refusal(
        self, own: Group, other: Group, weaker: str, by_alias: bool, settings: IdentitySettings
    ) -> Reason | None:
        if self.apart and any(self.apart.get(member, set()) & other.members.keys() for member in own.members):
            return "unmerged"
        if not by_alias:
            users = (own.count("user:"), other.count("user:"))
            if all(users) and 0 < settings.max_user_ids_per_profile < sum(users):
                return "users"
            if weaker.startswith(_SHARED) and not all(users) and own.count("email:") and other.count("email:"):
                return "emails"
        if len(own.members) + len(other.members) > settings.max_identifiers_per_profile:
            return "identifiers"
        return None

    def _join(self, own: Group, other: Group, seq: int, moved: list[str]) -> Group:
        stays, goes = (own, other) if _survives(own, other) else (other, own)
        stays.members.update(dict.fromkeys(goes.members, seq))
        if stays.profile_id:
            self.groups.update(dict.fromkeys(goes.members, stays))
            moved += goes.members
        if goes.profile_id:
            del self.profiles[goes.profile_id]
        return stays

    def _begin(self, group: Group, moved: list[str]) -> None:
        group.profile_id = new_profile_id(group.first)
        self.put(group)
        moved += group.members


def _survives(own: Group, other: Group) -> bool:
    """Whether `own` is the side that stays: a profile over none, a user over none, else the older."""
    if not (own.profile_id and other.profile_id):
        return not other.profile_id
    users = (own.count("user:") > 0, other.count("user:") > 0)
    if users[0] != users[1]:
        return users[0]
    return own.since_seq < other.since_seq
