"""Identity as machines read it: the shapes of answers, and how they are made from a replay. No engine is needed."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import msgspec

from dsl.identity import Identities
from dsl.identity_records import Conflict, IdentitySettings, Interval, Profile, Reason


class LogRecord(msgspec.Struct, frozen=True, rename="camel"):
    """One record of the log.

    Attributes:
        type: `event`, `settings`, `unmerge`, `erasure`; of an event that came as `alias` still `event`.
        kind: of an event; `event_id` and `name` too. A merge is a `system` event called `profile_merged`.
        at: when it happened, ISO 8601; of a record that is no event when it was appended.
    """

    seq: int
    type: str
    event_id: str | None = None
    kind: str | None = None
    name: str | None = None
    at: str | None = None


class Member(msgspec.Struct, frozen=True, rename="camel"):
    """An identifier of a profile, and what brought it there."""

    identifier: str
    kind: str
    value: str
    since: LogRecord


class Move(msgspec.Struct, frozen=True, rename={"from_profile": "from", "to_profile": "to"}):
    """An identifier that goes from one profile to another.

    Attributes:
        from_profile: null: nobody was known by it; `to_profile` null: nobody is any more.
        events: that it is the source of; null where they were not counted.
    """

    identifier: str
    from_profile: str | None
    to_profile: str | None
    events: int | None = None


class Refused(msgspec.Struct, frozen=True, rename="camel"):
    """A link that was refused.

    Attributes:
        record: when: the link's own record, or the un-merge by which it no longer held.
        link: the record that made the link.
        reason: `users`, `emails`, `identifiers`, `unmerged`.
        stronger_profile: at that moment; empty when nobody knew the identifier.
    """

    record: LogRecord
    link: LogRecord
    reason: Reason
    stronger: str
    weaker: str
    stronger_profile: str
    weaker_profile: str


class Step(msgspec.Struct, frozen=True, rename="camel"):
    """What one record of the log did to a profile."""

    record: LogRecord
    moved: list[Move]
    refused: list[Refused]


class KeptApart(msgspec.Struct, frozen=True, rename="camel"):
    """Two identifiers that are never one profile, and the un-merge that says so."""

    one: str
    other: str
    record: LogRecord | None = None


class IdentityAnswer(msgspec.Struct, frozen=True, rename="camel"):
    """A profile and how it came to be.

    Attributes:
        identifier: the one that the profile was found by.
        retired_ids: other profile ids that lead to this profile.
        history: by `seq`; what somebody said again without changing anything is left out.
        as_of_seq: every record up to this one is counted.
    """

    asked_for: str
    identifier: str
    profile_id: str
    first_identifier: str
    since: LogRecord
    retired_ids: list[str]
    members: list[Member]
    history: list[Step]
    conflicts: list[Refused]
    unmerges: list[KeptApart]
    as_of_seq: int


class ChangeAnswer(msgspec.Struct, frozen=True, rename="camel"):
    """What a merge or an un-merge does, or would do.

    Attributes:
        action: `merge` or `unmerge`.
        one, other: the identifiers that it is about.
        moves: with the events of each identifier; `events` is their sum.
        conflicts: links that are refused because of it.
        refused: null, or why the merge cannot be.
        recorded_seq: null when nothing was recorded: a dry run, or nothing to change.
    """

    action: str
    dry_run: bool
    one: str
    other: str
    moves: list[Move]
    events: int
    conflicts: list[Refused]
    refused: Reason | None
    recorded_seq: int | None
    as_of_seq: int


class ConflictsAnswer(msgspec.Struct, frozen=True, rename="camel"):
    """Links that were refused, the newest first.

    Attributes:
        total: how many there are for the reason that was asked for.
        reasons: how many there are of each reason.
    """

    conflicts: list[Refused]
    total: int
    reasons: dict[str, int]
    as_of_seq: int


class SettingsAnswer(msgspec.Struct, frozen=True, rename="camel"):
    """What links are judged by.

    Attributes:
        recorded_seq: the record from which they hold; null when nothing was changed.
    """

    max_user_ids_per_profile: int
    max_identifiers_per_profile: int
    blocked_values: list[str]
    email_from_traits: bool
    recorded_seq: int | None = None


class MergeRequest(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"other": "with", "dry_run": "dryRun"}
):
    """With whom; a dry run tells what would happen."""

    other: str
    dry_run: bool = False


class UnmergeRequest(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"other": "from", "dry_run": "dryRun"}
):
    """From whom; a dry run tells what would happen."""

    other: str
    dry_run: bool = False


class SettingsRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Other settings; what is left out stays as it is."""

    max_user_ids_per_profile: int | None = None
    max_identifiers_per_profile: int | None = None
    blocked_values: list[str] | None = None
    email_from_traits: bool | None = None


DESCRIBED = (
    IdentityAnswer,
    ChangeAnswer,
    ConflictsAnswer,
    SettingsAnswer,
    MergeRequest,
    UnmergeRequest,
    SettingsRequest,
)
"""What the OpenAPI page describes."""


@dataclass(frozen=True, slots=True)
class Past:
    """What a replay tells of one profile.

    Attributes:
        moves: by `seq` what it did to identifiers that were ever of the profile.
        conflicts: that have to do with it, by `seq`.
        retired: other profile ids that lead here.
    """

    profile: Profile
    moves: Mapping[int, list[Move]]
    conflicts: list[Conflict]
    retired: list[str]

    @classmethod
    def of(cls, known: Identities, profile: Profile) -> "Past":
        """What `known` tells of one of its profiles."""
        intervals = defaultdict[str, list[Interval]](list)
        for interval in known.intervals():
            intervals[interval.source_id].append(interval)
        here = profile.profile_id
        its_own = {each for each, past in intervals.items() if any(some.profile_id == here for some in past)}
        moves = defaultdict[int, list[Move]](list)
        for identifier in sorted(its_own):
            for seq, move in _moves(intervals[identifier]):
                moves[seq].append(move)
        retired = [each for each in known.retired() if known.resolve(each) == here]
        refused = [
            found
            for found in known.conflicts
            if not its_own.isdisjoint((found.stronger, found.weaker))
            or here in (found.stronger_profile, found.weaker_profile)
        ]
        return cls(profile, moves, refused, sorted(retired))

    def seqs(self) -> set[int]:
        """Every record that is spoken of."""
        told = {seq for found in self.conflicts for seq in (found.seq, found.link_seq)}
        return told | set(self.moves) | set(self.profile.members.values()) | {self.profile.since_seq}


def identity_answer(
    past: Past, found: tuple[str, str], records: Mapping[int, LogRecord], unmerges: list[KeptApart], as_of_seq: int
) -> IdentityAnswer:
    """The answer about a profile.

    Args:
        found: what was asked for, and the identifier that it stands for.
        records: those of `past.seqs()`.
    """
    profile = past.profile
    conflicts = [refused(each, records) for each in past.conflicts]
    at = sorted(set(past.moves) | {each.record.seq for each in conflicts})
    history = [
        Step(records[seq], past.moves.get(seq, []), [each for each in conflicts if each.record.seq == seq])
        for seq in at
    ]
    members = [
        Member(identifier, *_parts(identifier), records[seq])
        for identifier, seq in sorted(profile.members.items(), key=lambda member: (member[1], member[0]))
    ]
    return IdentityAnswer(
        *found,
        profile.profile_id,
        profile.first,
        records[profile.since_seq],
        past.retired,
        members,
        history,
        conflicts,
        unmerges,
        as_of_seq,
    )


def refused(conflict: Conflict, records: Mapping[int, LogRecord]) -> Refused:
    """A conflict with its records."""
    return Refused(
        records[conflict.seq],
        records[conflict.link_seq],
        conflict.reason,
        conflict.stronger,
        conflict.weaker,
        conflict.stronger_profile,
        conflict.weaker_profile,
    )


def settings_answer(settings: IdentitySettings, recorded_seq: int | None = None) -> SettingsAnswer:
    """The settings as they are shown."""
    return SettingsAnswer(
        settings.max_user_ids_per_profile,
        settings.max_identifiers_per_profile,
        sorted(settings.blocked_values),
        settings.email_from_traits,
        recorded_seq,
    )


def moves_between(before: Identities, after: Identities, identifiers: Iterable[str]) -> list[Move]:
    """Identifiers that are of another profile, by identifier."""
    sides = ((each, before.profile_of(each), after.profile_of(each)) for each in sorted(identifiers))
    return [Move(each, one, other) for each, one, other in sides if one != other]


def _moves(intervals: Iterable[Interval]) -> Iterator[tuple[int, Move]]:
    """What became of one identifier, and when."""
    held, until = None, None
    for interval in intervals:
        if until is not None and until < interval.valid_from_seq:
            yield until, Move(interval.source_id, held, None)
            held = None
        yield interval.valid_from_seq, Move(interval.source_id, held, interval.profile_id)
        held, until, source_id = interval.profile_id, interval.valid_to_seq, interval.source_id
    if until is not None:
        yield until, Move(source_id, held, None)


def _parts(identifier: str) -> tuple[str, str]:
    kind, _, value = identifier.partition(":")
    return kind, value
