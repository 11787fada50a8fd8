"""The replay seen from a few identifiers: what a replay of everything says about them, whoever else is in the log."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsl.identity import Identities
from dsl.identity_records import Erasure, IdentitySettings, Linked, Mention, Record, SettingsChange, Unmerge
from dsl.identity_text import pack_identity, pack_settings
from tests.dsl.identity_logs import NAMES, Step, record_of, steps
from tests.warehouse.logged import land_log_of
from tests.warehouse.small_shop import NOW_MS, open_shop
from warehouse.identity_around import Around, OutgrownError, read_around
from warehouse.log_view import LogTail, WaitingEvent, WholeLog, open_log
from warehouse.records import IdentityRecord
from warehouse.registry import Registry
from warehouse.settings import Home

BY_PROFILE = frozenset(name for name in NAMES if len(name) == 41)
"""Users who are called like a profile: who asks about them has to find its first identifier first."""


def replayed(log: Sequence[Step]) -> tuple[Identities, list[Record]]:
    """The replay of everything, and the records as the log keeps them."""
    known, kept = Identities(), list[Record]()
    for seq, step in enumerate(log, start=1):
        record = record_of(step, seq, known)
        outcome = known.add(record)
        if not isinstance(record, Mention):
            kept.append(record)
        elif outcome is not None:
            kept.append(outcome.linked)
    return known, kept


def tail_of(records: Sequence[Record]) -> LogTail:
    """A log of which nothing has landed."""
    tail = LogTail(0, max((each.seq for each in records), default=0), [], [])
    events, others = list[WaitingEvent](), list[IdentityRecord]()
    for each in records:
        if isinstance(each, Linked):
            said = (each.source_id, *each.weaker)
            events.append(WaitingEvent(each.seq, f"m-{each.seq}", "track", "buy", NOW_MS + each.seq, said, each.alias))
        else:
            others.append(_packed(each))
    return LogTail(0, tail.seq, events, others)


def _packed(record: Record) -> IdentityRecord:
    if isinstance(record, SettingsChange):
        return IdentityRecord(record.seq, "settings", pack_settings(record.settings), NOW_MS)
    assert isinstance(record, Unmerge | Erasure)
    return IdentityRecord(record.seq, type(record).__name__.lower(), pack_identity(record), NOW_MS)


@contextmanager
def whole(records: Sequence[Record]) -> Iterator[WholeLog]:
    """The log, open."""
    with Registry("sqlite://") as registry, open_log(Home(Path("nowhere")), registry, "p", tail_of(records)) as log:
        yield log


def told(known: Identities, names: frozenset[str]) -> object:
    """All that a replay says of some identifiers."""
    return (
        {name: known.profile_of(name) for name in names if name not in BY_PROFILE},
        sorted((each for each in known.profiles() if not names.isdisjoint(each.members)), key=str),
        sorted((each for each in known.intervals() if each.source_id in names), key=str),
        [each for each in known.conflicts if not names.isdisjoint((each.stronger, each.weaker))],
        {one: others for one, others in known.apart.items() if one in names},
        sorted(each for each in known.retired().items() if each[1] in names),
        known.settings,
    )


@settings(max_examples=40, deadline=None)
@given(steps(5, 30), st.lists(st.sampled_from(NAMES), min_size=1, max_size=2), st.sampled_from(NAMES))
def test_it_is_the_replay_of_everything(log: list[Step], asked: list[str], other: str) -> None:
    """Profiles, intervals, conflicts and ids of whom is asked about, and what an un-merge would make of them."""
    known, records = replayed(log)
    asked, other = [known.meant(each) for each in asked], known.meant(other)
    with whole(records) as opened:
        around = read_around(opened, asked)
        both = read_around(opened, [*asked, other])
        assert set(asked) <= around.names
        assert told(known, around.names) == told(around, around.names)
        assert sorted(known.conflicts, key=str) == sorted(opened.conflicts(), key=str)
    if asked[0] != other:
        last = len(log) + 1
        known.add(Unmerge(last, asked[0], other))
        both.add(Unmerge(last, asked[0], other))
        assert told(known, both.names) == told(both, both.names)


def test_others_pass_by() -> None:
    """What is about others moves only the number; who is linked to somebody unknown has to be read again."""
    around = Around(frozenset({"user:ann", "anon:a"}))
    around.add(Linked(1, "user:ann", ("anon:a",)))
    around.add(Linked(2, "user:bob", ("anon:b",)))
    assert (2, None) == (around.seq, around.profile_of("user:bob"))
    with pytest.raises(OutgrownError):
        around.add(Linked(3, "user:bob", ("anon:a",)))
    with pytest.raises(OutgrownError):
        around.add(Unmerge(3, "user:bob", "anon:a"))


def test_what_landed_and_what_waits(tmp_path: Path) -> None:
    """The lake and what is not landed yet are one log, with the events that did it and how many there are."""
    shop = open_shop(tmp_path / "home")
    land_log_of(shop, Linked(1, "user:ann", ("anon:a",)), Linked(2, "user:bob"), Linked(3, "anon:a"))
    settings_record = IdentityRecord(5, "settings", pack_settings(IdentitySettings(2)), NOW_MS)
    waiting = [WaitingEvent(4, "w", "system", "profile_merged", NOW_MS, ("user:bob",), "user:ann")]
    tail = LogTail(3, 5, waiting, [settings_record])
    with open_log(shop.home, shop.registry, shop.project.key, tail) as log:
        around = read_around(log, ["user:bob"])
        assert frozenset({"user:ann", "user:bob", "anon:a"}) == around.names
        assert 1 == len({around.profile_of(name) for name in around.names})
        assert (5, 2) == (around.seq, around.settings.max_user_ids_per_profile)
        assert {"user:ann": 1, "user:bob": 1, "anon:a": 1} == log.count_events(around.names)
        notes = log.notes([1, 4, 5])
        assert {1: ("l1", "purchase"), 4: ("w", "profile_merged")} == {
            seq: (note.event_id, note.name) for seq, note in notes.items()
        }
    shop.registry.close()
