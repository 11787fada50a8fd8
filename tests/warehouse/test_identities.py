"""Who is who in the tables: the replay of the log, however it is cut into refreshes, and what the online store has."""

import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import msgspec
import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dsl.check import check_catalog
from dsl.event_record import EventRecord, write_record
from dsl.identifiers import profile_id
from dsl.identity import Identities, replay
from dsl.identity_records import Erasure, IdentitySettings, Linked, SettingsChange, Unmerge
from dsl.identity_text import unpack_settings
from serving.online import (
    Item,
    append,
    catch_up,
    delete_project,
    erase_identity,
    publish_profiles,
    settings_item,
    unmerge,
)
from serving.online.identities import publish_retired, publish_rules
from serving.online.keys import Keys
from serving.worker.landing import land_log
from tests.dsl.identity_logs import About, Forget, Judge, Part, Step, steps
from tests.serving.appended import NOW, computed, stored
from tests.warehouse.bench import Bench
from tests.warehouse.logged import Logged, Purchase, land_log_of
from tests.warehouse.small_shop import CATALOG, EVENTS, SmallShop, event, open_shop
from warehouse import identities, identity_step
from warehouse.analytics import publish_analytics
from warehouse.coverage import read_covered, write_covered
from warehouse.database import Connection, connect
from warehouse.events_view import events_view_sql
from warehouse.identities import build_identities, update_identities
from warehouse.identity_tables import valid_at
from warehouse.online_profiles import changed_profiles, read_rules, retired_profiles
from warehouse.refresh import Refresh
from warehouse.registry import Registry
from warehouse.settings import Home, Settings

CHECKED = check_catalog(CATALOG)
ANN, BOB, VISITOR = (profile_id(each) for each in ("user:ann", "user:bob", "anon:a"))
INTERVALS = "SELECT source_id, profile_id, valid_from_seq, valid_to_seq FROM identities"
CONFLICTS = "SELECT seq, link_seq, reason, stronger, weaker, stronger_profile, weaker_profile FROM identity_conflicts"

Rows = list[tuple[Any, ...]]


def update(connection: Connection, shop: SmallShop) -> int:
    """Bring the tables of identities to the newest cut, which comes back."""
    cut = shop.registry.landed_seq(shop.project.key)
    # Nothing is read of that table: where it is says that its turn has come.
    read_covered(connection, "sources", cut)
    write_covered(connection, "sources", cut)
    files = partial(shop.registry.files, shop.project.key, cut)
    records = shop.registry.identity_records(shop.project.key)
    update_identities(connection, Refresh(1, cut, NOW, 0, 0), files, shop.home.lake, records)
    return cut


def tables(connection: Connection) -> tuple[Rows, Rows]:
    """Intervals and conflicts."""
    intervals = sorted(connection.execute(INTERVALS).fetchall(), key=_by_source)
    return intervals, sorted(connection.execute(CONFLICTS).fetchall())


def replayed(known: Identities) -> tuple[Rows, Rows]:
    """The same as a replay has them."""
    intervals = [(i.source_id, i.profile_id, i.valid_from_seq, i.valid_to_seq) for i in known.intervals()]
    conflicts = [
        (c.seq, c.link_seq, c.reason, c.stronger, c.weaker, c.stronger_profile, c.weaker_profile)
        for c in known.conflicts
    ]
    return sorted(intervals, key=_by_source), sorted(conflicts)


def _by_source(interval: tuple[Any, ...]) -> tuple[str, int]:
    return interval[0], interval[2]


def built(shop: SmallShop) -> tuple[Rows, Rows]:
    """The same, all read from the lake at once."""
    cut = shop.registry.landed_seq(shop.project.key)
    with connect() as connection:
        connection.execute(events_view_sql(shop.registry.files(shop.project.key, cut), cut, (), shop.home.lake))
        build_identities(connection, shop.registry.identity_records(shop.project.key), cut)
        return tables(connection)


# -- whatever happens --------------------------------------------------------------------------------------------------


@dataclass
class Town:
    """A log that is appended to by the real script, and the tables that follow it.

    Attributes:
        known: the replay of all that was appended.
        past: who was who at the cut of each refresh.
    """

    client: redis.Redis
    shop: SmallShop
    connection: Connection
    known: Identities = field(default_factory=Identities)
    past: dict[int, dict[str, str]] = field(default_factory=dict)
    sent: int = 0

    @property
    def project(self) -> str:
        """Its key."""
        return self.shop.project.key

    def take(self, step: Step) -> None:
        """Append a step as a sender or an administrator would."""
        self.sent += 1
        match step:
            case About(names, previous):
                record = EventRecord(f"m{self.sent}", "track", "visit", NOW, NOW, 17_000)
                item = Item(record.event_id, write_record(record), "d", names, previous)
                append(self.client, self.project, [item], NOW)
            case Judge(judged):
                append(self.client, self.project, [settings_item(f"m{self.sent}", judged)], NOW)
            case Part(one, other):
                unmerge(self.client, self.project, self.known, one, other, NOW)
            case Forget(identifier):
                catch_up(self.client, self.project, self.known)
                whom = self.known.profile_of(identifier) or "nobody"
                erase_identity(self.client, self.project, self.known, whom, NOW)

    def refresh(self) -> None:
        """Land everything, and see that the tables are the replay."""
        catch_up(self.client, self.project, self.known)
        since = max(self.past, default=0)
        cut = land_log(self.client, self.shop.home, self.shop.registry, self.shop.project).cut
        assert cut == update(self.connection, self.shop) == self.known.seq
        assert replayed(self.known) == tables(self.connection)
        self.past[cut] = self.known.profiles_at(cut)
        gone = {key for key, _ in retired_profiles(self.connection, since, cut)}
        for profile in changed_profiles(self.connection, since, cut):
            assert self.known.profile(profile.profile_id) == profile
            assert profile.profile_id not in gone


@contextmanager
def town(client: redis.Redis) -> Iterator[Town]:
    """An empty one."""
    project = f"town-{uuid4().hex[:12]}"
    with TemporaryDirectory() as folder, connect() as connection:
        shop = open_shop(Path(folder) / "home", project=project)
        yield Town(client, shop, connection)
        shop.registry.close()
        delete_project(client, project)
        delete_project(client, f"{project}-again")


@st.composite
def logs(draw: st.DrawFn) -> list[Step]:
    """Logs without records that change what was, and logs in which they part and forget those who were joined."""
    log = draw(steps(8, 30))
    if draw(st.booleans()):
        return [step for step in log if isinstance(step, About | Judge)]
    told: list[Step] = []
    for step in log:
        told.append(step)
        if isinstance(step, About) and len(step.identifiers) > 1 and draw(st.integers(0, 3)) == 0:
            one, other, *_ = draw(st.permutations(step.identifiers))
            told.append(Forget(one) if draw(st.integers(0, 2)) == 0 else Part(one, other))
    return told


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(log=logs(), cuts=st.sets(st.integers(0, 39), max_size=8), links=st.sampled_from((1, 2, 500_000)))
def test_tables_are_the_replay_and_the_store(online: redis.Redis, log: list[Step], cuts: set[int], links: int) -> None:
    """At every cut of any log the tables are its replay; at the end they are what the script has made of it."""
    with town(online) as here, pytest.MonkeyPatch.context() as patch:
        patch.setattr(identity_step, "STEP_LINKS", links)
        for place, step in enumerate(log):
            here.take(step)
            if place in cuts:
                here.refresh()
        here.refresh()
        for cut in here.past:
            then = here.connection.execute(f"SELECT source_id, profile_id FROM identities WHERE {valid_at(cut)}")
            assert here.known.profiles_at(cut) == dict(then.fetchall())
        assert tables(here.connection) == built(here.shop)
        assert stored(online, here.project) == computed(here.known)
        assert_rebuilt(here)


def assert_rebuilt(here: Town) -> None:
    """A store that is written from the tables alone is the one that was appended to."""
    again, cut = f"{here.project}-again", here.known.seq
    rules = read_rules(here.connection)
    publish_rules(here.client, again, cut, rules.settings, rules.apart)
    publish_profiles(here.client, again, cut, changed_profiles(here.connection, 0, cut))
    publish_retired(here.client, again, cut, retired_profiles(here.connection, 0, cut))
    assert stored(here.client, here.project) == stored(here.client, again)
    for name in (here.project, again):
        assert read_rules(here.connection).apart == {
            one: tuple(unpacked(others)) for one, others in here.client.hgetall(Keys(name).apart).items()
        }
        packed = here.client.get(Keys(name).identity)
        assert here.known.settings == (unpack_settings(str(packed)) if packed else IdentitySettings())


def unpacked(others: bytes | str) -> list[str]:
    """A list of the online store."""
    return msgspec.json.decode(others, type=list[str])


# -- by hand -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def shop(tmp_path: Path) -> SmallShop:
    """An empty one."""
    return open_shop(tmp_path / "home")


def both(shop: SmallShop, *stretches: tuple[Logged, ...]) -> tuple[Rows, Rows]:
    """The tables after stretches of a log that were landed and taken one by one; they are those of one replay."""
    with connect() as connection:
        for stretch in stretches:
            land_log_of(shop, *stretch)
            update(connection, shop)
        known = replay([record for stretch in stretches for record in stretch])
        assert replayed(known) == tables(connection)
        published = changed_profiles(connection, 0, known.seq)
        assert {each.profile_id: each for each in known.profiles()} == {each.profile_id: each for each in published}
        assert built(shop) == tables(connection)
        return tables(connection)


def test_a_profile_begins_with_the_first_event(shop: SmallShop) -> None:
    """Who is named alone first, and linked later in the same refresh, has been a profile in between."""
    intervals, conflicts = both(shop, (Linked(1, "anon:a"), Linked(2, "user:ann"), Linked(3, "user:ann", ("anon:a",))))
    assert [("anon:a", VISITOR, 1, 3), ("anon:a", ANN, 3, None), ("user:ann", ANN, 2, None)] == intervals
    assert [] == conflicts


def test_a_refused_link_holds_later(shop: SmallShop) -> None:
    """What was refused is judged again when it is said again, by the settings of then; it is listed as refused once."""
    said = ("device:d",)
    first = (Linked(1, "user:ann", said), Linked(2, "user:bob"), Linked(3, "user:bob", said))
    second = (Linked(4, "user:bob", said),)
    third = (SettingsChange(5, IdentitySettings(max_user_ids_per_profile=2)), Linked(6, "user:bob", said))
    intervals, conflicts = both(shop, first, second, third)
    assert ("user:bob", ANN, 6, None) in intervals
    assert [(3, 3, "users", "user:bob", "device:d", BOB, ANN)] == conflicts


def test_an_unmerge_holds_in_later_refreshes(shop: SmallShop) -> None:
    """What an un-merge parts stays apart, the past still shows them as one, and other links go on as before."""
    said = ("device:d",)
    first = (Linked(1, "user:ann", ("anon:a",)), Linked(2, "anon:a"), Unmerge(3, "user:ann", "anon:a"))
    third = (Linked(5, "anon:a", said), Linked(6, "user:bob", ("anon:a",)))
    intervals, conflicts = both(shop, first, (Linked(4, "user:ann", ("anon:a",)),), third, (Linked(7, "user:bob"),))
    assert [
        ("anon:a", ANN, 1, 3),
        ("anon:a", VISITOR, 3, None),
        ("device:d", VISITOR, 5, None),
        ("user:ann", ANN, 1, None),
        ("user:bob", VISITOR, 6, None),
    ] == intervals
    assert [(3, 1, "unmerged", "user:ann", "anon:a")] == [row[:5] for row in conflicts]


def test_who_was_parted_joins_another(shop: SmallShop) -> None:
    """The record that brought somebody into a profile is the one that does, also of who was parted before."""
    first = (Linked(1, "user:ann", ("anon:a",)), Linked(2, "anon:a"), Unmerge(3, "user:ann", "anon:a"))
    intervals, _ = both(shop, first, (Linked(4, "user:bob"),), (Linked(5, "user:bob", ("anon:a",)),))
    assert [(ANN, 1, 3), (VISITOR, 3, 5), (BOB, 5, None)] == [row[1:] for row in intervals if row[0] == "anon:a"]


def test_who_was_only_named_is_nobody_once_parted(shop: SmallShop) -> None:
    """An identifier that an un-merge leaves to nobody is a profile of its own from its own first event on."""
    first = (Linked(1, "user:ann", ("anon:a",)), Unmerge(2, "user:ann", "anon:a"))
    intervals, _ = both(shop, first, (Linked(3, "anon:a"),))
    assert [("anon:a", ANN, 1, 2), ("anon:a", VISITOR, 3, None), ("user:ann", ANN, 1, None)] == intervals


def test_a_user_who_is_called_like_a_profile(shop: SmallShop) -> None:
    """A value of a user that became a profile id stands for that profile's first identifier when it is parted."""
    said, named = ("device:d",), f"user:{VISITOR}"
    first = (Linked(1, named, said), Linked(2, "anon:a"))
    _, conflicts = both(shop, first, (Unmerge(3, named, "device:d"),), (Linked(4, "anon:a", said),))
    assert [(4, 4, "unmerged", "anon:a", "device:d")] == [row[:5] for row in conflicts]


def test_who_is_erased_begins_again(shop: SmallShop) -> None:
    """No row names who was erased, nor what was refused of it; who comes back is new from there on."""
    first = (Linked(1, "user:ann", ("device:d",)), Linked(2, "user:bob", ("device:d",)), Linked(3, "anon:a"))
    intervals, conflicts = both(shop, first, (Erasure(4, ANN),))
    assert [("anon:a", VISITOR, 3, None), ("user:bob", BOB, 2, None)] == intervals
    assert [] == conflicts
    second = open_shop(shop.home.path / "second")
    intervals, _ = both(
        second, first, (Erasure(4, ANN), Linked(5, "user:ann")), (Erasure(6, VISITOR), Linked(7, "anon:a"))
    )
    assert [("anon:a", VISITOR, 7, None), ("user:ann", ANN, 5, None), ("user:bob", BOB, 2, None)] == intervals


def test_a_load_is_known_before_what_was_appended_after_it(shop: SmallShop) -> None:
    """Events of a load name their source alone; links that follow join it to others, in a refresh of any later cut."""
    shop.land(event("e1", "ann", 2), event("e2", "bob", 1))
    land_log_of(shop, Linked(3, "user:ann", ("anon:a",)), Linked(4, "user:bob", ("anon:a",)))
    with connect() as connection:
        update(connection, shop)
        alone = [Linked(1, "user:ann"), Linked(2, "user:bob")]
        linked = [Linked(3, "user:ann", ("anon:a",)), Linked(4, "user:bob", ("anon:a",))]
        assert replayed(replay([*alone, *linked])) == tables(connection)


def test_profiles_that_have_ended_are_not_published(shop: SmallShop) -> None:
    """A profile whose members have all left is told as retired, with its first identifier, and in no other way."""
    land_log_of(shop, Linked(1, "anon:a", ("device:d",)), Linked(2, "user:ann"))
    with connect() as connection:
        update(connection, shop)
        cut = land_log_of(shop, Linked(3, "user:ann", ("anon:a",)), Linked(4, "user:bob"))
        update(connection, shop)
        found = {
            each.profile_id: (each.first, each.since_seq, dict(each.members))
            for each in changed_profiles(connection, 2, cut)
        }
        members = {"user:ann": 2, "anon:a": 3, "device:d": 3}
        assert {ANN: ("user:ann", 2, members), BOB: ("user:bob", 4, {"user:bob": 4})} == found
        assert [(VISITOR, "anon:a")] == list(retired_profiles(connection, 2, cut))
        assert [] == list(retired_profiles(connection, 3, cut))


# -- what follows from it ----------------------------------------------------------------------------------------------


def shown(bench: Bench) -> dict[str, Rows]:
    """Every table that follows from identities; when members came is left out."""
    left_out = {"aggregates": "EXCLUDE (refresh_id)", "segment_members": "EXCLUDE (since_at, since_ms)"}
    names = ("identities", "identity_conflicts", "profiles", "aggregates", "traits", "segment_members")
    return {name: bench.rows(f"SELECT * {left_out.get(name, '')} FROM {name} ORDER BY ALL") for name in names}


def refreshed(bench: Bench) -> dict[str, Any]:
    """A refresh that carries on, whose tables are those of one from nothing; what everybody has spent."""
    bench.run(CHECKED)
    with connect() as connection:
        again = Bench(bench.shop, connection)
        again.run(CHECKED)
        assert shown(again) == shown(bench)
    return dict(bench.rows("SELECT profile_id, spend FROM traits WHERE orders > 0 ORDER BY ALL"))


def test_values_follow_merges(bench: Bench) -> None:
    """After a merge, an un-merge and an erasure every table is that of a build from nothing."""
    before = refreshed(bench)
    assert (120, 20) == (before[ANN], before[BOB])
    seq = len(EVENTS)
    land_log_of(
        bench.shop, Purchase(Linked(seq + 1, "anon:a"), 7), *(Linked(seq + n, f"anon:{n}") for n in range(2, 9))
    )
    assert (120, 7) == ((alone := refreshed(bench))[ANN], alone[VISITOR])
    land_log_of(bench.shop, Linked(seq + 9, "user:ann", ("anon:a",)))
    merged = refreshed(bench)
    assert 127 == merged[ANN]
    assert VISITOR not in merged
    land_log_of(bench.shop, Unmerge(seq + 10, "user:ann", "anon:a"))
    assert (120, 7) == ((parted := refreshed(bench))[ANN], parted[VISITOR])
    land_log_of(bench.shop, Erasure(seq + 11, ANN))
    assert ANN not in refreshed(bench)
    land_log_of(bench.shop, Linked(seq + 12, "user:bob", ("anon:a",)), Linked(seq + 13, "user:ann", ("anon:2",)))
    last = refreshed(bench)
    # Her events are still there: who is erased is not what is erased.
    assert (120, 27) == (last[profile_id("anon:2")], last[BOB])


def test_analysts_read_conflicts(bench: Bench) -> None:
    """The published file has the links that were refused, and not what only refreshes go on from."""
    said = ("device:d",)
    land_log_of(bench.shop, Linked(12, "user:ann", said), Linked(13, "user:bob", said))
    bench.run(CHECKED)
    publish_analytics(bench.connection, bench.shop.home.analytics)
    with connect(bench.shop.home.analytics, read_only=True) as connection:
        assert [(13, 13, "users", "user:bob", "device:d", BOB, ANN)] == connection.execute(CONFLICTS).fetchall()
        names = {name for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
    assert {"identities", "identity_conflicts"} == {name for name in names if name.startswith("identit")}


# -- when it ends half-way ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("record", [Linked(4, "user:ann", ("anon:a",)), Unmerge(4, "user:ann", "device:d")])
def test_a_process_that_dies_leaves_the_old_state(shop: SmallShop, record: Logged) -> None:
    """What is killed before its end has changed nothing; the next one does it."""
    before = [Linked(1, "user:ann", ("device:d",)), Linked(2, "anon:a"), Linked(3, "anon:b")]
    land_log_of(shop, *before)
    with connect(shop.home.warehouse) as connection:
        update(connection, shop)
    land_log_of(shop, record)
    process = multiprocessing.get_context("spawn").Process(target=_die, args=(shop.home.path,))
    process.start()
    process.join()
    assert 7 == process.exitcode
    with connect(shop.home.warehouse) as connection:
        assert replayed(replay(before)) == tables(connection)
        update(connection, shop)
        assert replayed(replay([*before, record])) == tables(connection)


def _die(folder: Path) -> None:
    shop = reopened(folder)
    with connect(shop.home.warehouse) as connection, pytest.MonkeyPatch.context() as patch:
        # The last thing that happens before the transaction ends.
        patch.setattr(identities, "write_covered", lambda *_: os._exit(7))
        update(connection, shop)


def reopened(folder: Path) -> SmallShop:
    """The shop that lies in a folder."""
    shop_settings = Settings(Home(folder))
    registry = Registry(shop_settings.registry_url)
    return SmallShop(shop_settings, registry, registry.project("default"))
