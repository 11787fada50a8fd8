"""Identities of one project, looked at and changed: what the command line and the admin routes share.

Everything that is told counts the newest record of the log. A profile is replayed from the log, seen from its own
identifiers (`warehouse.identity_around`): two passes over four columns of the lake and a few records. The list of all
conflicts replays everything: it takes as long as a first refresh takes for identities.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Final
from uuid import uuid4

from msgspec import structs

from dsl.clock import format_instant
from dsl.event import Kind
from dsl.event_record import EventRecord, write_record
from dsl.failure import Failure, WrongUse
from dsl.identifiers import KINDS, folded, identifiers, is_blocked, source_id
from dsl.identity import Identities
from dsl.identity_records import IdentitySettings, Linked, Profile, Reason, Unmerge
from dsl.identity_text import read_identity
from serving.admin.identity_documents import (
    ChangeAnswer,
    ConflictsAnswer,
    IdentityAnswer,
    KeptApart,
    LogRecord,
    Move,
    Past,
    SettingsAnswer,
    identity_answer,
    moves_between,
    refused,
    settings_answer,
)
from serving.admin.identity_log import Place
from serving.online.append import Answer, Item, append, body_digest, settings_item
from serving.online.exceptions import LogMovedError, OnlineStoreError
from serving.online.identities import first_of, read_settings, unmerge
from warehouse.identity_around import Around, OutgrownError, read_around
from warehouse.log_view import WholeLog

MERGE_EVENT: Final = "profile_merged"
"""Name of the system event that a merge is."""
LONGEST_VALUE: Final = 500
MOST_BLOCKED: Final = 10_000
_PROFILE_ID = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
_EMAIL_HASH = re.compile("[0-9a-fA-F]{64}")
_ATTEMPTS = 10


class ProfileNotFound(Failure):
    """Nobody is known by what was asked for."""


class MergeRefused(Failure):
    """Two profiles cannot be merged.

    Attributes:
        reason: that of the conflict.
    """

    def __init__(self, reason: Reason) -> None:
        why = {
            "unmerged": "an un-merge says that two of their identifiers are never one profile",
            "identifiers": "together they would have more identifiers than the settings allow",
        }
        super().__init__(f"these profiles cannot be merged: {why.get(reason, reason)}")
        self.reason = reason


class SameIdentifier(WrongUse):
    """Both sides of an un-merge are the same identifier."""


class SettingsRefused(WrongUse):
    """A setting has a value that it cannot have."""


# -- looking -----------------------------------------------------------------------------------------------------------


def show(place: Place, asked_for: str) -> IdentityAnswer:
    """A profile, found by any identifier, by a bare value, or by a profile id that it has or had.

    Raises:
        ProfileNotFound: nobody is known by it.
    """
    with place.log() as log:
        known, (identifier,) = _found(place, log, asked_for)
        past = Past.of(known, _profile(known, identifier))
        named = {each.identifier for moves in past.moves.values() for each in moves}
        apart = [each for each in _unmerges(log, known) if not named.isdisjoint((each.one, each.other))]
        return identity_answer(past, (asked_for, identifier), _records(log, past.seqs()), apart, log.seq)


def conflicts(place: Place, reason: str | None = None, limit: int = 100) -> ConflictsAnswer:
    """The newest links that were refused."""
    with place.log() as log:
        found = log.conflicts()
        reasons = dict(sorted(Counter[str](each.reason for each in found).items()))
        chosen = [each for each in reversed(found) if reason in (None, each.reason)]
        records = _records(log, {seq for each in chosen[:limit] for seq in (each.seq, each.link_seq)})
        return ConflictsAnswer([refused(each, records) for each in chosen[:limit]], len(chosen), reasons, log.seq)


def settings(place: Place) -> SettingsAnswer:
    """What links are judged by now."""
    return settings_answer(read_settings(place.client, place.key))


# -- changing ----------------------------------------------------------------------------------------------------------


def merge(place: Place, one: str, other: str, *, dry_run: bool = False) -> ChangeAnswer:
    """Make one profile of two, as an alias does; the side with a user keeps its id, else the older one.

    Raises:
        ProfileNotFound: nobody is known by one of them.
        MergeRefused: it is no dry run and cannot be.
    """
    with place.log() as log:
        before, (left, right) = _found(place, log, one, other)
        sides, after = [_profile(before, each) for each in (left, right)], deepcopy(before)
        source = _speaking(sides[0], before.settings)
        outcome = after.add(Linked(log.seq + 1, source, (), sides[1].first))
        reason = outcome.conflicts[0].reason if outcome and outcome.conflicts else None
        moves = _counted(log, moves_between(before, after, before.names))
        told = ChangeAnswer("merge", dry_run, left, right, moves, _events(moves), [], reason, None, log.seq)
    if dry_run or sides[0] == sides[1]:
        return told
    if reason is not None:
        raise MergeRefused(reason)
    answer = _append_merge(place, source, sides[1])
    if answer.refusals:
        raise MergeRefused(answer.refusals[0].reason)
    return structs.replace(told, recorded_seq=answer.seq)


def part(place: Place, one: str, other: str, *, dry_run: bool = False) -> ChangeAnswer:
    """Record that two identifiers are never one profile; at once it is as if that had always held.

    Raises:
        ProfileNotFound: nobody is known by one of them.
        SameIdentifier: they are the same one.
    """
    for _ in range(_ATTEMPTS):
        try:
            return _part(place, one, other, dry_run)
        except (OutgrownError, LogMovedError):
            # Somebody was linked, or the log landed, between reading and writing: nothing was written.
            continue
    raise OnlineStoreError(f"the log of `{place.key}` did not stand still: repeat when it is quieter")


def alias(place: Place, previous: str, user: str) -> Answer:
    """Append what `alias(previousId, userId)` of the tracking API appends.

    Raises:
        WrongUse: one of the values stands for nobody.
    """
    for value in (previous, user):
        if is_blocked(value):
            raise WrongUse(f"`{value}` stands for nobody: it is a blocked value")
    return _append(place, "alias", "alias", identifiers({"user": user}), previous, "{}")


def change_settings(place: Place, changed: Mapping[str, object]) -> SettingsAnswer:
    """Put other settings in force, from a record of the log on; what is not named stays as it is.

    Args:
        changed: fields of `IdentitySettings`.

    Raises:
        SettingsRefused: a value is not allowed.
    """
    held = read_settings(place.client, place.key)
    wanted = replace(held, **changed)  # type: ignore[arg-type]  # they are checked next
    _check(wanted)
    if wanted == held:
        return settings_answer(held)
    item = settings_item(f"identity-settings-{uuid4().hex}", wanted)
    answer = append(place.client, place.key, [item], place.project.clock.now_ms())[0]
    return settings_answer(wanted, answer.seq)


def with_blocked(held: Iterable[str], block: Sequence[str], unblock: Sequence[str]) -> frozenset[str]:
    """The blocked values after some are added and some, in whatever case, are taken away.

    >>> sorted(with_blocked(["kiosk", "Demo"], ["till"], [" demo"]))
    ['kiosk', 'till']
    """
    away = {folded(value) for value in unblock}
    return frozenset(value for value in (*held, *block) if folded(value) not in away)


# -- parts -------------------------------------------------------------------------------------------------------------


def candidates(asked_for: str) -> tuple[str, ...]:
    """The identifiers that something may stand for, in the order in which they are tried.

    >>> candidates("device:K-7"), candidates("7")[::3]
    (('device:K-7',), ('user:7', 'anon:7'))
    """
    kind, colon, value = asked_for.partition(":")
    if colon and kind in KINDS:
        return (_identifier(kind, value),)
    return tuple(_identifier(each, asked_for) for each in ("user", "external", "email", "anon", "device"))


def _identifier(kind: str, value: str) -> str:
    if kind == "email" and _EMAIL_HASH.fullmatch(value):
        return source_id("email_hash", value)
    return source_id(kind, value)  # type: ignore[arg-type]  # one of KINDS


def _found(place: Place, log: WholeLog, *asked_for: str) -> tuple[Around, list[str]]:
    """The replay around what was asked for, and the identifier that each stands for."""
    tried = [[*_by_profile_id(place, each), *candidates(each)] for each in asked_for]
    known = read_around(log, [name for names in tried for name in names])
    found = []
    for asked, names in zip(asked_for, tried, strict=True):
        identifier = next((name for name in map(known.meant, names) if known.profile_of(name) is not None), None)
        if identifier is None:
            raise ProfileNotFound(f"nobody is known as `{asked}`: give an identifier, or a profile id")
        found.append(identifier)
    return known, found


def _by_profile_id(place: Place, asked_for: str) -> list[str]:
    profile_id = asked_for.removeprefix("user:").lower()
    first = first_of(place.client, place.key, profile_id) if _PROFILE_ID.fullmatch(profile_id) else None
    return [] if first is None else [first]


def _profile(known: Identities, identifier: str) -> Profile:
    profile_id = known.profile_of(identifier)
    profile = None if profile_id is None else known.profile(profile_id)
    if profile is None:
        raise ProfileNotFound(f"nobody is known as `{identifier}`")
    return profile


def _records(log: WholeLog, seqs: Iterable[int]) -> dict[int, LogRecord]:
    asked = set(seqs)
    found = {
        seq: LogRecord(seq, "event", note.event_id, note.kind, note.name, format_instant(note.ts_ms))
        for seq, note in log.notes(asked).items()
    }
    others = (each for each in log.records if each.seq in asked)
    return found | {each.seq: LogRecord(each.seq, each.type, at=format_instant(each.appended_at_ms)) for each in others}


def _unmerges(log: WholeLog, known: Identities) -> list[KeptApart]:
    found = []
    for each in log.records:
        said = read_identity(each.seq, each.type, each.record)
        if isinstance(said, Unmerge) and said.other in known.apart.get(said.one, ()):
            record = LogRecord(each.seq, each.type, at=format_instant(each.appended_at_ms))
            found.append(KeptApart(said.one, said.other, record))
    return found


def _part(place: Place, one: str, other: str, dry_run: bool) -> ChangeAnswer:
    with place.log() as log:
        known, (left, right) = _found(place, log, one, other)
        if left == right:
            raise SameIdentifier(f"both are `{left}`: name two identifiers that are to be kept apart")
        before, seq, now_ms = deepcopy(known), None, place.project.clock.now_ms()
        if dry_run:
            known.add(Unmerge(log.seq + 1, left, right))
        else:
            seq = unmerge(place.client, place.key, known, left, right, now_ms)
        moves = _counted(log, moves_between(before, known, known.names))
        new = [each for each in known.conflicts if each not in before.conflicts]
        records = _records(log, {each.link_seq for each in new})
        here = {each.seq: LogRecord(each.seq, "unmerge", at=format_instant(now_ms)) for each in new}
        told = [refused(each, {**here, **records}) for each in new]
        return ChangeAnswer("unmerge", dry_run, left, right, moves, _events(moves), told, None, seq, log.seq)


def _counted(log: WholeLog, moves: Sequence[Move]) -> list[Move]:
    counts = log.count_events(each.identifier for each in moves)
    return [Move(m.identifier, m.from_profile, m.to_profile, counts.get(m.identifier, 0)) for m in moves]


def _events(moves: Iterable[Move]) -> int:
    return sum(each.events or 0 for each in moves)


def _speaking(profile: Profile, held: IdentitySettings) -> str:
    """The member that a merge is recorded of: one that is not blocked by now."""
    for member in (profile.first, *sorted(profile.members, key=lambda each: KINDS.index(each.split(":")[0]))):
        if not held.blocks(member):
            return member
    raise WrongUse(f"every identifier of `{profile.profile_id}` is blocked by the settings: unblock one first")


def _append_merge(place: Place, source: str, other: Profile) -> Answer:
    if first_of(place.client, place.key, other.profile_id) != other.first:
        raise OnlineStoreError("one of these profiles is not published yet: `tinycdp refresh`, then repeat")
    return _append(place, "system", MERGE_EVENT, (source,), other.profile_id, "{}")


def _append(place: Place, kind: Kind, name: str, named: tuple[str, ...], previous: str, properties: str) -> Answer:
    project, event_id = place.project, f"{name}-{uuid4().hex}"
    now_ms = project.clock.now_ms()
    record = write_record(EventRecord(event_id, kind, name, now_ms, now_ms, project.zone.day(now_ms), properties))
    return append(place.client, place.key, [Item(event_id, record, body_digest(record), named, previous)], now_ms)[0]


def _check(wanted: IdentitySettings) -> None:
    if wanted.max_user_ids_per_profile < 0:
        raise SettingsRefused("a profile may have any number of users (0 is no limit), not fewer than none")
    if wanted.max_identifiers_per_profile < 2:
        raise SettingsRefused("a profile has to be allowed two identifiers at least: with one nothing is ever linked")
    if len(wanted.blocked_values) > MOST_BLOCKED:
        raise SettingsRefused(f"there are {len(wanted.blocked_values):,} blocked values: {MOST_BLOCKED:,} are allowed")
    if any(not folded(value) or len(value) > LONGEST_VALUE for value in wanted.blocked_values):
        raise SettingsRefused(f"a blocked value has 1 to {LONGEST_VALUE} characters that are not white space")
