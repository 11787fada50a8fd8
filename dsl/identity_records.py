"""What the log says about identity, and what comes of it: frozen values that the replay and the online store share.

Every record has a `seq`, its position in the project's log. What an event says arrives as a `Mention` (as sent) and is
kept as a `Linked` (as it was understood when it got its `seq`): a replay reads the second, so that no event ever
changes its source.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from dsl.identifiers import email_hash, folded

Reason = Literal["users", "emails", "identifiers", "unmerged"]
"""Why a link was refused.

`users`: too many user identifiers in one profile. `emails`: a device or anonymous id would join two e-mails.
`identifiers`: too many identifiers in one profile. `unmerged`: it would join what was declared never to be one.
"""


@dataclass(frozen=True)
class IdentitySettings:
    """What links are judged by; a change of it is a record of the log, and holds from its `seq` on.

    Attributes:
        max_user_ids_per_profile: 0 is no limit.
        blocked_values: of this project, beyond `dsl.identifiers.BLOCKED_VALUES`; of any kind, in any case.
        email_from_traits: whether `traits.email` of an identify counts as the e-mail when none is given beside it;
            looked at when an event comes in.
    """

    max_user_ids_per_profile: int = 1
    max_identifiers_per_profile: int = 100
    blocked_values: frozenset[str] = frozenset()
    email_from_traits: bool = True

    @cached_property
    def blocked(self) -> frozenset[str]:
        """The blocked values as they are met in identifiers: folded, and as hashes of addresses.

        >>> "guest" in IdentitySettings(blocked_values=frozenset({" Guest"})).blocked
        True
        """
        return frozenset(form for value in self.blocked_values for form in (folded(value), email_hash(value)))

    def blocks(self, identifier: str) -> bool:
        """Whether the project drops this identifier.

        >>> IdentitySettings(blocked_values=frozenset({"kiosk"})).blocks("device:KIOSK")
        True
        """
        return bool(self.blocked) and folded(identifier.partition(":")[2]) in self.blocked


@dataclass(frozen=True, slots=True)
class Mention:
    """Who an event is about, as sent.

    Attributes:
        identifiers: as `dsl.identifiers.identifiers` gives them, the strongest first.
        previous: of an `alias` the value `previousId`, without a kind; None when there is none or it is blocked.
    """

    seq: int
    identifiers: tuple[str, ...]
    previous: str | None = None


@dataclass(frozen=True, slots=True)
class Linked:
    """Who an event is about, as understood at its `seq`.

    Attributes:
        source_id: the strongest identifier, of which the event is.
        weaker: the others, each linked to the source, the stronger first.
        alias: the identifier that an `alias` joins to the source, before the weaker ones.
    """

    seq: int
    source_id: str
    weaker: tuple[str, ...] = ()
    alias: str | None = None

    def links(self) -> Iterator[tuple[str, bool]]:
        """What is linked to the source, in order, and whether an alias does it."""
        if self.alias is not None:
            yield self.alias, True
        for identifier in self.weaker:
            yield identifier, False

    def identifiers(self) -> Iterator[str]:
        """Everybody it names, the source first."""
        yield self.source_id
        for identifier, _ in self.links():
            yield identifier


@dataclass(frozen=True, slots=True)
class SettingsChange:
    """From its `seq` on links are judged by other settings."""

    seq: int
    settings: IdentitySettings


@dataclass(frozen=True, slots=True)
class Unmerge:
    """The identifiers `one` and `other` are never one profile, and never have been."""

    seq: int
    one: str
    other: str


@dataclass(frozen=True, slots=True)
class Erasure:
    """A profile is forgotten with all its identifiers, as if no earlier record had named them."""

    seq: int
    profile_id: str


@dataclass(frozen=True, slots=True)
class Reserved:
    """The numbers `seq .. last_seq` were reserved for a bulk load; those it does not use are holes."""

    seq: int
    last_seq: int


Record = Mention | Linked | SettingsChange | Unmerge | Erasure | Reserved


@dataclass(frozen=True, slots=True)
class Conflict:
    """A link that was refused.

    Attributes:
        seq: when it was refused: the link's own record, or the un-merge by which a link no longer held.
        link_seq: the record that made the link.
        stronger_profile: the profile of the stronger identifier at that moment; empty when nobody knew it.
    """

    seq: int
    link_seq: int
    reason: Reason
    stronger: str
    weaker: str
    stronger_profile: str
    weaker_profile: str


@dataclass(frozen=True, slots=True)
class Interval:
    """An identifier belongs to a profile for `valid_from_seq <= S < valid_to_seq`; None is open."""

    source_id: str
    profile_id: str
    valid_from_seq: int
    valid_to_seq: int | None


@dataclass(frozen=True, slots=True)
class Profile:
    """A profile and who belongs to it.

    Attributes:
        first: the identifier that it began with, whose UUIDv5 its id is.
        since_seq: the record that it began with.
        members: every identifier of it, with the record that brought it here; `first` is one of them.
    """

    profile_id: str
    first: str
    since_seq: int
    members: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one event came to."""

    linked: Linked
    profile_id: str
    conflicts: tuple[Conflict, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """What an un-merge or an erasure makes of the profiles.

    Attributes:
        profiles: those that differ from before.
        unknown: identifiers that belong to nobody now.
        forgotten: profile ids that no longer name anybody.
        apart: of each identifier named here, all that it is kept apart from now.
    """

    profiles: tuple[Profile, ...]
    unknown: tuple[str, ...]
    forgotten: tuple[str, ...]
    apart: Mapping[str, tuple[str, ...]]
