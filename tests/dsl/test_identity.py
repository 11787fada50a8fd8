"""Identities as a replay of the log: every rule by hand, and the laws of the whole on random logs."""

from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsl.identifiers import Kind, identifiers, profile_id
from dsl.identity import Identities, replay
from dsl.identity_records import (
    Conflict,
    Erasure,
    IdentitySettings,
    Interval,
    Linked,
    Mention,
    Record,
    Reserved,
    SettingsChange,
    Unmerge,
)
from tests.dsl.identity_logs import NAMES, Forget, Part, Step, record_of, steps

ANN = profile_id("user:ann")
BOB = profile_id("user:bob")
VISITOR = profile_id("anon:a")
TWO_USERS = SettingsChange(1, IdentitySettings(max_user_ids_per_profile=2))


def who(seq: int, **values: str | int) -> Mention:
    """An event that names these identifiers, by kind."""
    given: dict[Kind, str | int | None] = {**values}  # type: ignore[dict-item]  # the kinds are checked by what they do
    return Mention(seq, identifiers(given))


def groups(known: Identities) -> dict[str, set[str]]:
    """The members of every profile."""
    return {profile.profile_id: set(profile.members) for profile in known.profiles()}


def reasons(known: Identities) -> list[tuple[int, str, str, str]]:
    """When, why and between whom links were refused."""
    return [(found.seq, found.reason, found.stronger, found.weaker) for found in known.conflicts]


# --- who joins whom ---------------------------------------------------------------------------------------------------


def test_a_profile_is_named_after_its_first_identifier() -> None:
    """A visitor who logs in keeps the profile id; a user known from the start names the profile."""
    assert {VISITOR: {"anon:a", "user:ann"}} == groups(replay([who(1, anon="a"), who(2, user="ann", anon="a")]))
    assert {ANN: {"anon:a", "user:ann"}} == groups(replay([who(1, user="ann", anon="a"), who(2, anon="a")]))


def test_a_number_is_its_decimal_text() -> None:
    """A numeric id and its text are one identifier; of another kind they are not."""
    known = replay([who(1, user=208), who(2, user="208"), who(3, external=208)])
    assert {profile_id("user:208"): {"user:208"}, profile_id("external:208"): {"external:208"}} == groups(known)


def test_addresses_meet_in_any_writing() -> None:
    """An address links in any case and spacing, and as its hash."""
    hashed = identifiers({"email": "ann@x.no"})[0]
    known = replay([who(1, user="ann", email=" Ann@X.no"), who(2, email_hash=hashed[6:].upper(), device="d")])
    assert {ANN: {"user:ann", hashed, "device:d"}} == groups(known)


def test_every_weaker_identifier_is_linked_to_the_strongest() -> None:
    """One event joins all of its identifiers; its source is the strongest."""
    outcome = Identities().add(who(1, anon="a", device="d", external="e", user="ann"))
    assert outcome is not None
    assert Linked(1, "user:ann", ("external:e", "device:d", "anon:a")) == outcome.linked
    assert (ANN, ()) == (outcome.profile_id, outcome.conflicts)


def test_the_side_with_a_user_survives() -> None:
    """A merge keeps the profile that has a user, also when the other is older."""
    known = replay([who(1, anon="a"), who(2, user="ann"), who(3, user="ann", anon="a")])
    assert {ANN: {"user:ann", "anon:a"}} == groups(known)
    assert {VISITOR: "anon:a"} == known.retired()
    assert ANN == known.resolve(VISITOR) == known.resolve(ANN)


def test_the_older_side_survives() -> None:
    """Without a user, or with one on both sides, the profile that began first stays."""
    known = replay([who(1, device="d"), who(2, external="e"), who(3, external="e", device="d")])
    assert {profile_id("device:d"): {"device:d", "external:e"}} == groups(known)
    both = [who(2, user="bob"), who(3, user="ann"), Mention(4, ("user:ann",), "bob")]
    assert {BOB: {"user:bob", "user:ann"}} == groups(replay([TWO_USERS, *both]))


def test_ids_resolve_along_many_merges() -> None:
    """A retired id leads to the profile that its first identifier is in, however often that was merged."""
    known = replay(
        [
            who(1, anon="a"),
            who(2, device="d"),
            who(3, device="d", anon="a"),
            who(4, user="ann"),
            who(5, user="ann", anon="a"),
        ]
    )
    assert [ANN] * 3 == [known.resolve(each) for each in (VISITOR, profile_id("device:d"), ANN)]
    assert None is known.resolve(BOB)


def test_two_moves_of_one_record_are_one_interval() -> None:
    """An identifier that one event moves twice has been in the last profile only."""
    events = [who(1, device="d"), who(2, anon="a"), who(3, external="e"), who(4, user="ann", anon="a")]
    known = replay([*events, Mention(5, ("external:e", "device:d", "anon:a"))])
    rows = [row for row in known.intervals() if row.source_id == "external:e"]
    assert [Interval("external:e", profile_id("external:e"), 3, 5), Interval("external:e", VISITOR, 5, None)] == rows


def test_a_new_user_with_a_new_address_joins_the_visitor() -> None:
    """Unknown identifiers beside an unknown source join with it: they are no profile that would survive."""
    known = replay([who(1, anon="a"), who(2, user="ann", email="ann@x.no", anon="a")])
    assert [VISITOR] == list(groups(known))


# --- what is refused --------------------------------------------------------------------------------------------------


def test_two_users_are_not_one_profile() -> None:
    """(a) The first user to claim a device keeps its anonymous history; the next one starts their own."""
    known = replay([who(1, device="d"), who(2, user="ann", device="d"), who(3, user="bob", device="d")])
    device = profile_id("device:d")
    assert {device: {"device:d", "user:ann"}, BOB: {"user:bob"}} == groups(known)
    assert [Conflict(3, 3, "users", "user:bob", "device:d", "", device)] == known.conflicts


def test_two_known_users_are_not_joined_by_an_address() -> None:
    """(a) holds for every kind of link."""
    known = replay([who(1, user="ann", email="a@x.no"), who(2, user="bob"), who(3, user="bob", email="a@x.no")])
    assert {ANN, BOB} == set(groups(known))
    assert ["users"] == [found.reason for found in known.conflicts]


def test_a_profile_may_have_several_users() -> None:
    """(a) is a setting: two are joined where two may be, and any number without a limit."""
    events = [who(seq, user=f"u{seq}", device="d") for seq in (2, 3, 4)]
    assert [2, 1] == [len(found - {"device:d"}) for found in groups(replay([TWO_USERS, *events])).values()]
    free = SettingsChange(1, IdentitySettings(max_user_ids_per_profile=0))
    assert 1 == len(groups(replay([free, *events])))


def test_settings_hold_from_their_seq_on() -> None:
    """A link is judged by the settings in force at its own `seq`; a change joins nothing by itself."""
    both = [who(1, user="ann", device="d"), who(2, user="bob", device="d")]
    free = SettingsChange(3, IdentitySettings(max_user_ids_per_profile=0))
    assert {ANN, BOB} == set(groups(replay([*both, free])))
    assert {ANN} == set(groups(replay([*both, free, who(4, user="bob", device="d")])))


def test_a_shared_device_does_not_join_two_addresses() -> None:
    """(b) Two e-mails are not joined through a device while one side has no user."""
    known = replay([who(1, email="a@x.no", device="d"), who(2, email="b@x.no", device="d")])
    assert 2 == len(groups(known))
    assert [(2, "emails")] == [(found.seq, found.reason) for found in known.conflicts]


def test_two_addresses_of_known_users_may_meet() -> None:
    """(b) is about profiles without a user: with one on both sides the limit of users decides."""
    events = [who(2, user="ann", email="a@x.no", device="d"), who(3, user="bob", email="b@x.no", device="d")]
    assert 1 == len(groups(replay([TWO_USERS, *events])))
    assert ["users"] == [found.reason for found in replay(events).conflicts]


def test_an_address_joins_what_a_device_may_not() -> None:
    """(b) is about devices and anonymous ids: an external id or an address joins."""
    known = replay([who(1, external="e", email="a@x.no"), who(2, email="b@x.no"), who(3, external="e", email="b@x.no")])
    assert 1 == len(groups(known))


def test_a_profile_has_at_most_a_hundred_identifiers() -> None:
    """(c) The hundredth identifier is let in, the next is refused and stays unknown."""
    known = replay([who(seq, user="ann", anon=f"a{seq}") for seq in range(1, 101)])
    assert [100] == [len(found) for found in groups(known).values()]
    assert [(100, "identifiers", "user:ann", "anon:a100")] == reasons(known)
    assert None is known.profile_of("anon:a100")


def test_a_conflict_is_listed_once() -> None:
    """A link that is refused with every event of a shared device is one conflict, at its first `seq`."""
    events = [who(1, user="ann", device="d"), *(who(seq, user="bob", device="d") for seq in range(2, 9))]
    known = replay(events)
    assert [(2, "users", "user:bob", "device:d")] == reasons(known)
    again = known.add(who(9, user="bob", device="d"))
    assert again is not None
    assert ["users"] == [found.reason for found in again.conflicts]


# --- aliases, blocked values, profile ids -----------------------------------------------------------------------------


def test_an_alias_may_join_two_users() -> None:
    """An alias breaks (a): the person said so."""
    known = replay([who(1, user="old"), who(2, user="ann"), Mention(3, ("user:ann",), "old")])
    assert {profile_id("user:old"): {"user:old", "user:ann"}} == groups(known)


def test_an_alias_may_join_two_addresses() -> None:
    """An alias breaks (b)."""
    events = [who(1, email="a@x.no", device="d"), who(2, email="b@x.no", anon="z"), Mention(3, ("device:d",), "z")]
    assert 1 == len(groups(replay(events)))


def test_an_alias_may_not_break_the_size() -> None:
    """An alias keeps (c)."""
    events = [*(who(seq, user="ann", anon=f"a{seq}") for seq in range(1, 100)), who(100, user="bob")]
    known = replay([*events, Mention(101, ("user:ann",), "bob")])
    assert [(101, "identifiers", "user:ann", "user:bob")] == reasons(known)


@pytest.mark.parametrize(
    ("known", "meant"),
    [
        (("device:7",), "device:7"),
        (("device:7", "anon:7"), "anon:7"),
        (("device:7", "anon:7", "external:7"), "external:7"),
        (("device:7", "anon:7", "external:7", "user:7"), "user:7"),
        ((), "anon:7"),
    ],
)
def test_what_an_alias_means(known: tuple[str, ...], meant: str) -> None:
    """`previousId` is the known identifier of that value: user, external, anon, device; else an anonymous one."""
    identities = replay(Mention(seq, (identifier,)) for seq, identifier in enumerate(known, start=1))
    outcome = identities.add(Mention(9, ("user:ann",), "7"))
    assert outcome is not None
    assert Linked(9, "user:ann", (), meant) == outcome.linked


def test_an_alias_of_oneself_links_nothing() -> None:
    """`previousId` that is the source itself, or blocked by the project, is no link."""
    known = replay([SettingsChange(1, IdentitySettings(blocked_values=frozenset({"kiosk"})))])
    for seq, previous in ((2, "ann"), (3, "KIOSK")):
        outcome = known.add(Mention(seq, ("user:ann",), previous))
        assert outcome is not None
        assert Linked(seq, "user:ann") == outcome.linked


def test_blocked_values_are_dropped_first() -> None:
    """A value that the project blocks names nobody, of any kind, in any case, an address by its hash too."""
    blocked = SettingsChange(2, IdentitySettings(blocked_values=frozenset({"Kiosk", "desk@x.no"})))
    known = replay([who(1, device="kiosk"), blocked])
    outcome = known.add(who(3, user="KIOSK ", email="DESK@x.no", device="kiosk", anon="a"))
    assert outcome is not None
    assert Linked(3, "anon:a") == outcome.linked
    assert None is known.add(who(4, device="kiosk"))


def test_a_profile_id_addresses_its_profile() -> None:
    """A `user` value that is a known profile id stands for the profile's first identifier and counts as no user."""
    known = replay([who(1, anon="a"), who(2, user=VISITOR), who(3, user=VISITOR, device="d"), who(4, user=BOB)])
    assert {VISITOR: {"anon:a", "device:d"}, profile_id(f"user:{BOB}"): {f"user:{BOB}"}} == groups(known)
    assert VISITOR == known.profile_of(f"user:{VISITOR}")


def test_a_retired_profile_id_addresses_the_survivor() -> None:
    """An id that lost a merge still leads to the profile, in events and in aliases."""
    known = replay(
        [who(1, anon="a"), who(2, user="ann"), who(3, user="ann", anon="a"), who(4, user=VISITOR, device="d")]
    )
    assert {ANN: {"user:ann", "anon:a", "device:d"}} == groups(known)


# --- un-merge and erasure ---------------------------------------------------------------------------------------------


def test_an_unmerge_separates() -> None:
    """Links are judged again as if the two had always been apart; what would rejoin them is a conflict."""
    events = [who(1, anon="a"), who(2, user="ann"), who(3, user="ann", anon="a"), who(4, user="ann", device="d")]
    known = replay([*events, Unmerge(5, "user:ann", "anon:a"), who(6, user="ann", anon="a")])
    assert {VISITOR: {"anon:a"}, ANN: {"user:ann", "device:d"}} == groups(known)
    assert [Conflict(5, 3, "unmerged", "user:ann", "anon:a", ANN, VISITOR)] == known.conflicts
    assert (VISITOR, ANN) == (known.resolve(VISITOR), known.resolve(ANN))


def test_an_unmerge_is_seen_from_its_seq_on() -> None:
    """Earlier cuts still show the merge."""
    known = replay(
        [who(1, anon="a"), who(2, user="ann"), who(3, user="ann", anon="a"), Unmerge(4, "user:ann", "anon:a")]
    )
    assert [
        {"anon:a": VISITOR},
        {"anon:a": VISITOR, "user:ann": ANN},
        {"anon:a": ANN, "user:ann": ANN},
        {"anon:a": VISITOR, "user:ann": ANN},
    ] == [known.profiles_at(seq) for seq in (1, 2, 3, 4)]
    assert {
        Interval("anon:a", VISITOR, 1, 3),
        Interval("anon:a", ANN, 3, 4),
        Interval("anon:a", VISITOR, 4, None),
        Interval("user:ann", ANN, 2, None),
    } == set(known.intervals())


def test_an_unmerge_lets_others_in() -> None:
    """A link that was refused because of the merge is made when links are judged again."""
    events = [who(1, device="d"), who(2, user="ann", device="d"), who(3, user="bob", device="d")]
    known = replay([*events, Unmerge(4, "user:ann", "device:d")])
    assert {profile_id("device:d"): {"device:d", "user:bob"}, ANN: {"user:ann"}} == groups(known)


def test_an_unmerge_forgets_who_was_only_mentioned() -> None:
    """An identifier that was known through the refused link alone belongs to nobody again."""
    known = replay([who(1, user="ann", device="d"), Unmerge(2, "user:ann", "device:d")])
    assert (None, {ANN: {"user:ann"}}) == (known.profile_of("device:d"), groups(known))
    assert [Interval("device:d", ANN, 1, 2)] == [row for row in known.intervals() if row.source_id == "device:d"]


def test_an_alias_does_not_undo_an_unmerge() -> None:
    """Never means never."""
    known = replay(
        [who(1, user="ann"), Unmerge(2, "user:ann", "user:old"), Mention(3, ("user:ann", "anon:old"), "old")]
    )
    assert {ANN: {"user:ann", "anon:old"}} == groups(known)
    known.add(who(4, user="old"))
    known.add(Mention(5, ("user:ann",), "old"))
    assert [(5, "unmerged", "user:ann", "user:old")] == reasons(known)


def test_links_are_judged_again_by_their_own_settings() -> None:
    """An un-merge judges a link by the settings of the link's `seq`, not by today's."""
    free, strict = IdentitySettings(max_user_ids_per_profile=0), IdentitySettings()
    records: list[Record] = [SettingsChange(1, free), who(2, user="ann", device="d"), who(3, user="bob", device="d")]
    records += [who(4, device="d", anon="a"), SettingsChange(5, strict), Unmerge(6, "anon:a", "device:d")]
    assert {"user:ann", "user:bob", "device:d"} in groups(replay(records)).values()


def test_a_link_that_was_made_again_is_judged_again_each_time() -> None:
    """Two addresses that a device joined only once both sides had a user are joined when links are judged again."""
    records: list[Record] = [SettingsChange(1, IdentitySettings(max_user_ids_per_profile=0))]
    records += [who(2, email="a@x.no", device="d"), who(3, email="b@x.no", device="d")]
    records += [who(4, user="ann", email="a@x.no"), who(5, user="bob", email="b@x.no")]
    records += [who(6, email="b@x.no", device="d"), who(7, user="ann", anon="z")]
    known = replay([*records, Unmerge(8, "user:ann", "anon:z")])
    assert [5] == [len(members) for members in groups(known).values()]


def test_a_link_made_again_after_an_erasure_counts() -> None:
    """What is linked after an erasure as it was before stays linked when links are judged again."""
    events = [who(1, user="ann", device="d"), who(2, user="bob", device="d")]
    records: list[Record] = [*events, Erasure(3, ANN), who(4, user="bob", device="d"), who(5, user="bob", anon="z")]
    known = replay([*records, Unmerge(6, "user:bob", "anon:z")])
    assert {BOB: {"user:bob", "device:d"}} == groups(known)


def test_an_erased_profile_is_unknown() -> None:
    """Its identifiers, ids and conflicts are gone, also from the past; the next event begins anew."""
    events = [who(1, user="ann", device="d"), who(2, user="bob", device="d"), who(3, anon="a")]
    known = replay([*events, Erasure(4, ANN)])
    assert (None, None, []) == (known.profile_of("device:d"), known.resolve(ANN), known.conflicts)
    assert {"user:bob": BOB, "anon:a": VISITOR} == known.profiles_at(3) == known.profiles_at(4)
    known.add(who(5, user="bob", device="d"))
    assert {BOB: {"user:bob", "device:d"}, VISITOR: {"anon:a"}} == groups(known)


def test_an_erasure_of_nobody_changes_nothing() -> None:
    """An unknown profile id is no error: the log has already been rewritten."""
    assert {VISITOR: {"anon:a"}} == groups(replay([who(1, anon="a"), Erasure(2, ANN)]))


def test_a_replay_goes_by_seq() -> None:
    """A record that comes twice or too late is refused, also inside a range that was reserved."""
    known = replay([who(1, anon="a"), Reserved(2, 9)])
    for seq in (1, 9):
        with pytest.raises(ValueError, match=f"record {seq} comes after record 9"):
            known.add(who(seq, anon="a"))
    known.add(who(10, anon="a"))
    assert 10 == known.seq


# --- laws -------------------------------------------------------------------------------------------------------------


def run(log: Iterable[Step]) -> tuple[Identities, list[Record], list[dict[str, str]]]:
    """The identities after a log, its records as they were understood, and who was who after each."""
    known, records, seen = Identities(), list[Record](), list[dict[str, str]]()
    for seq, step in enumerate(log, start=1):
        record = record_of(step, seq, known)
        outcome = known.add(record)
        if outcome is not None:
            records.append(outcome.linked)
        elif not isinstance(record, Mention):
            records.append(record)
        seen.append({member: each.profile_id for each in known.profiles() for member in each.members})
    return known, records, seen


def past_of(known: Identities) -> tuple[object, ...]:
    """All that a replay tells."""
    profiles = sorted(known.profiles(), key=lambda profile: profile.profile_id)
    return profiles, sorted(known.intervals(), key=str), known.conflicts, known.retired(), known.apart


@settings(max_examples=150, deadline=None)
@given(steps())
def test_profiles_are_whole(log: list[Step]) -> None:
    """Every identifier is in one profile, every profile is named after a member, and every id leads to a profile."""
    known, records, _ = run(log)
    assert past_of(known) == past_of(replay(records))
    members = [member for profile in known.profiles() for member in profile.members]
    assert len(set(members)) == len(members)
    for profile in known.profiles():
        assert profile_id(profile.first) == profile.profile_id
        assert profile.first in profile.members
        assert not any(set(known.apart.get(member, ())) & profile.members.keys() for member in profile.members)
    assert all(known.resolve(key) in groups(known) for key in known.retired())


@settings(max_examples=150, deadline=None)
@given(steps())
def test_the_past_is_kept(log: list[Step]) -> None:
    """At every cut, who was who is what was known then, but for those that were erased since."""
    known, _, seen = run(log)
    erased = set[str]()
    for seq in range(len(log), 0, -1):
        now = {name: profile for name, profile in seen[seq - 1].items() if name not in erased}
        assert now == {name: profile for name, profile in known.profiles_at(seq).items() if name not in erased}
        if isinstance(log[seq - 1], Forget) and seq > 1:
            erased |= seen[seq - 2].keys() - seen[seq - 1].keys()


@settings(max_examples=200, deadline=None)
@given(steps())
def test_an_unmerge_is_as_if_it_had_always_held(log: list[Step]) -> None:
    """Profiles after un-merges are those of a log that began with them."""
    known, records, _ = run(step for step in log if not isinstance(step, Forget))
    parted = [record for record in records if isinstance(record, Unmerge)]
    first = [replace(record, seq=seq) for seq, record in enumerate(parted, start=1)]
    rest = [replace(record, seq=record.seq + len(log)) for record in records if not isinstance(record, Unmerge)]
    assert groups(replay([*first, *rest])) == groups(known)


@settings(max_examples=200, deadline=None)
@given(steps(), st.integers(0, 40), st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)))
def test_merged_and_parted_is_never_merged(log: list[Step], at: int, pair: tuple[str, str]) -> None:
    """Profiles, their ids and their members since when are those of a log in which nobody was merged by hand."""
    _, records, _ = run(step for step in log if not isinstance(step, Forget | Part))
    before = [record for record in records if record.seq <= at]
    known = replay(before)
    ids = [known.profile_of(each) for each in pair]
    one, other = (known.profile(each) if each else None for each in ids)
    if one is None or other is None or one == other:
        return
    never = replay([*before, *(replace(record, seq=record.seq + 1) for record in records[len(before) :])])
    # A user who is called like a profile that begins later cannot be named any more: the value stands for that profile.
    if never.profile_of(one.first) == never.profile_of(other.first) or never.meant(other.first) != other.first:
        return
    if never.meant(one.first) != one.first:
        return
    merged = replay([*before, Linked(at + 1, one.first, (), other.first)])
    for record in records[len(before) :]:
        merged.add(replace(record, seq=record.seq + 1))
    merged.add(Unmerge(merged.seq + len(log) + at, one.first, other.first))
    assert sorted(never.profiles(), key=str) == sorted(merged.profiles(), key=str)
    assert never.retired() == merged.retired()


@settings(max_examples=200, deadline=None)
@given(steps())
def test_an_erasure_is_as_if_nobody_had_named_them(log: list[Step]) -> None:
    """Profiles after an erasure are those of a log from which its identifiers were struck."""
    log = [step for step in log if not isinstance(step, Part)]
    known, records, seen = run(log)
    kept = list[Record]()
    for record in records:
        if not isinstance(record, Erasure):
            kept.append(record)
        elif record.seq > 1:
            erased = seen[record.seq - 2].keys() - seen[record.seq - 1].keys()
            kept = [left for each in kept if (left := struck(each, erased)) is not None]
    assert groups(replay(kept)) == groups(known)


def struck(record: Record, names: set[str]) -> Record | None:
    """The record as if it had not named these identifiers."""
    if not isinstance(record, Linked):
        return record
    if record.source_id in names:
        return None
    weaker = tuple(name for name in record.weaker if name not in names)
    return replace(record, weaker=weaker, alias=None if record.alias in names else record.alias)


def test_a_profile_that_began_with_what_became_a_profile_id() -> None:
    """Its first identifier, `user:<uuid>`, is its own, also once another profile has that id."""
    other = profile_id("anon:a1")
    known = replay([Mention(1, (f"user:{other}", "external:7")), Mention(2, ("anon:a1",))])
    mine = profile_id(f"user:{other}")
    assert (mine, other) == (known.resolve(mine), known.resolve(other))
    assert {"user:" + other, "external:7"} == set(known.plan(Erasure(3, mine)).unknown)
