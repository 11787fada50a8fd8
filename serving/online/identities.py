"""Identities that a replay of the log has computed, written into the online store.

The append script applies each link as it comes. Three things it cannot do alone, because they need the past:

- Links that landed in bulk have a smaller `seq` than links that were applied since: `publish_identities` writes what a
  replay of everything gives. A profile that was changed or erased by a record which the replay has not seen is left
  alone and named: `catch_up`, then publish those again.
- An un-merge or an erasure judges links again. The replay is brought up to date from the log, the change is computed,
  and one guarded script appends the record and writes the change, unless the log has gone on meanwhile: then again.

Identifiers move one by one, each at once out of its old profile and into the new: whoever reads between two steps of a
publication finds every identifier in exactly one profile.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path

import msgspec
import redis

from dsl.identity import Identities
from dsl.identity_records import Change, Erasure, IdentitySettings, Profile, Unmerge
from dsl.identity_text import pack_identity, pack_settings, unpack_settings
from serving.online.connection import store_errors
from serving.online.exceptions import LogMovedError, OnlineStoreError
from serving.online.keys import Keys
from serving.online.log import read_log

_SCRIPT = (Path(__file__).parent / "identities.lua").read_text(encoding="utf-8")
_CHUNK = 500
_ATTEMPTS = 50


@dataclass(frozen=True, slots=True)
class _Written:
    """What one call of the script writes; a record is absent from a publication.

    Attributes:
        guarded: nothing is written when the log has gone on; with a record that always holds.
    """

    profiles: Sequence[Profile] = ()
    retired: Sequence[tuple[str, str]] = ()
    unknown: Sequence[str] = ()
    forgotten: Sequence[str] = ()
    apart: dict[str, tuple[str, ...]] = field(default_factory=dict)
    settings: IdentitySettings = field(default_factory=IdentitySettings)
    record: dict[str, str | int] | None = None
    guarded: bool = False


def catch_up(client: redis.Redis, project: str, identities: Identities) -> int:
    """Add what the log holds beyond the replay; the `seq` that it goes up to now.

    Raises:
        LogMovedError: the log has been trimmed beyond the replay.
    """
    for entry in read_log(client, project, identities.seq):
        if entry.seq != identities.seq + 1:
            raise LogMovedError(
                f"the log of `{project}` begins at {entry.seq}, the identities end at {identities.seq}:"
                " replay what has landed, then repeat"
            )
        identities.add(entry.identity)
    return identities.seq


def read_settings(client: redis.Redis, project: str) -> IdentitySettings:
    """The settings in force: what the next link is judged by."""
    with store_errors():
        packed = client.get(Keys(project).identity)
    return unpack_settings(str(packed)) if packed else IdentitySettings()


def first_of(client: redis.Redis, project: str, profile_id: str) -> str | None:
    """The identifier that a profile began with, also of an id that leads to another; None when nobody has the id."""
    with store_errors():
        found = client.hget(Keys(project).profile(profile_id), "first")
    return None if found is None else str(found)


def publish_identities(
    client: redis.Redis,
    project: str,
    identities: Identities,
    profile_ids: Iterable[str] | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[str]:
    """Write profiles as they are at `identities.seq`; ids of those that a later record has changed and that were left.

    Settings and un-merges are written when the store has none, as after its loss: it is ahead of any replay otherwise.

    Args:
        profile_ids: only these, and the retired ids that lead to them; None for all.
        progress: told the number of profiles done so far, after each chunk.
    """
    chosen = None if profile_ids is None else set(profile_ids)
    profiles = (each for each in identities.profiles() if chosen is None or each.profile_id in chosen)
    leads = (
        (key, first)
        for key, first in identities.retired().items()
        if chosen is None or identities.resolve(key) in chosen
    )
    publish_rules(client, project, identities.seq, identities.settings, identities.apart)
    left = publish_profiles(client, project, identities.seq, profiles, progress)
    publish_retired(client, project, identities.seq, leads)
    return left


def publish_rules(
    client: redis.Redis, project: str, seq: int, settings: IdentitySettings, apart: Mapping[str, tuple[str, ...]]
) -> None:
    """Write the settings and the un-merges of `seq` where the store has none, as after its loss.

    Args:
        apart: of an identifier, those that an un-merge keeps apart from it.
    """
    _write(client, project, seq, _Written(apart=dict(apart), settings=settings))


def publish_newest_rules(client: redis.Redis, project: str, identities: Identities) -> None:
    """The same as of the newest record of the log: what was erased meanwhile is not written again.

    Args:
        identities: of all that has landed; brought up to date here.

    Raises:
        LogMovedError: the log has been trimmed beyond the replay.
    """
    for _ in range(_ATTEMPTS):
        seq = catch_up(client, project, identities)
        written = _Written(apart=identities.apart, settings=identities.settings, guarded=True)
        if _write(client, project, seq, written) is not None:
            return
    raise _busy(project)


def publish_newest(client: redis.Redis, project: str, identities: Identities, identifiers: Iterable[str]) -> int:
    """Write the profiles of some identifiers as of the newest record of the log; how many.

    Args:
        identities: of all that has landed; brought up to date here.

    Raises:
        LogMovedError: the log has been trimmed beyond the replay.
    """
    named = set(identifiers)
    for _ in range(_ATTEMPTS):
        seq = catch_up(client, project, identities)
        ids = {identities.profile_of(each) for each in named}
        if not publish_profiles(
            client, project, seq, (each for each in identities.profiles() if each.profile_id in ids)
        ):
            leads = identities.retired().items()
            publish_retired(client, project, seq, (each for each in leads if identities.resolve(each[0]) in ids))
            return len(ids - {None})
    raise _busy(project)


def _busy(project: str) -> OnlineStoreError:
    return OnlineStoreError(
        f"the log of `{project}` did not stand still in {_ATTEMPTS} attempts: repeat when it is quiet"
    )


def publish_retired(client: redis.Redis, project: str, seq: int, retired: Iterable[tuple[str, str]]) -> None:
    """Write ids that lead to another profile at `seq`, each with the identifier that it began with."""
    stream = iter(retired)
    while some := list(islice(stream, _CHUNK)):
        _write(client, project, seq, _Written(retired=some))


def publish_profiles(
    client: redis.Redis,
    project: str,
    seq: int,
    profiles: Iterable[Profile],
    progress: Callable[[int], None] | None = None,
) -> list[str]:
    """Write profiles as they are at `seq`; ids of those that a later record has changed and that were left.

    Args:
        progress: told the number of profiles done so far, after each chunk.
    """
    stream, left, done = iter(profiles), list[str](), 0
    while some := list(islice(stream, _CHUNK)):
        left += _write(client, project, seq, _Written(profiles=some)) or []
        done += len(some)
        if progress:
            progress(done)
    return left


def unmerge(client: redis.Redis, project: str, identities: Identities, one: str, other: str, now_ms: int) -> int | None:
    """Record that two identifiers are never one profile, and separate them at once.

    Args:
        identities: of all that has landed; brought up to date here.
        one: an identifier; a profile id is written `user:<profile id>`.

    Returns:
        The `seq` of the record; None when it was recorded before.

    Raises:
        OnlineStoreError: the store is away, or so busy that the log never stood still.
    """
    return _record(
        client,
        project,
        identities,
        lambda seq: Unmerge(seq, identities.meant(one), identities.meant(other)),
        now_ms,
    )


def erase_identity(
    client: redis.Redis, project: str, identities: Identities, profile_id: str, now_ms: int
) -> int | None:
    """Record that a profile is forgotten, and remove its identifiers at once; its events are not touched.

    Returns:
        The `seq` of the record; None when nobody is known by this profile id.

    Raises:
        OnlineStoreError: the store is away, or so busy that the log never stood still.
    """
    return _record(client, project, identities, lambda seq: Erasure(seq, profile_id), now_ms)


def _record(
    client: redis.Redis,
    project: str,
    identities: Identities,
    record_at: Callable[[int], Unmerge | Erasure],
    now_ms: int,
) -> int | None:
    for _ in range(_ATTEMPTS):
        record = record_at(catch_up(client, project, identities) + 1)
        change = identities.plan(record)
        if change == Change((), (), (), {}):
            return None
        if _write(client, project, identities.seq, _of_change(record, change, now_ms)) is not None:
            catch_up(client, project, identities)
            return record.seq
    raise _busy(project)


def _of_change(record: Unmerge | Erasure, change: Change, now_ms: int) -> _Written:
    kind = type(record).__name__.lower()
    return _Written(
        profiles=change.profiles,
        unknown=change.unknown,
        forgotten=change.forgotten,
        apart=dict(change.apart),
        record={"type": kind, "text": pack_identity(record), "now": now_ms},
    )


def _write(client: redis.Redis, project: str, seq: int, written: _Written) -> list[str] | None:
    """Ids of the profiles that were left alone; None when the log has gone on."""
    keys = Keys(project)
    with store_errors():
        answer: list[str] = client.register_script(_SCRIPT)(
            keys=[keys.seq, keys.log, keys.appended_at, keys.identity, keys.apart, keys.erased],
            args=[keys.ident(""), keys.profile(""), seq, _packed(written)],
        )
    return None if answer[0] == "moved" else answer[1:]


def _packed(written: _Written) -> bytes:
    settings, packed = written.settings, msgspec.json.encode
    document = {
        "profiles": [
            (each.profile_id, each.first, each.since_seq, tuple(chain.from_iterable(each.members.items())))
            for each in written.profiles
        ],
        "retired": list(written.retired),
        "unknown": list(written.unknown),
        "forgotten": list(written.forgotten),
        "apart": {each: packed(others).decode() if others else "" for each, others in written.apart.items()},
        "settings": "" if settings == IdentitySettings() else pack_settings(settings),
    }
    if written.guarded:
        document["guarded"] = True
    if written.record:
        document["record"] = written.record
    return msgspec.msgpack.encode(document)
