"""The online store: what is published is what is read."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import redis

from dsl.identifiers import profile_id
from dsl.state import State
from serving.online import (
    OlderPublicationError,
    OnlineStoreError,
    Snapshot,
    connect,
    connect_async,
    current_catalog,
    delete_project,
    look_up,
    publish_catalog,
    publish_keys,
    publish_states,
    read,
    reserve_seq,
    resolve,
)
from serving.online.keys import Keys
from serving.online.reading import snapshot
from tests.serving.world import CATALOG, CUT, publish

ANN = profile_id("user:ann")


def a_state(who: str, cut: int = 10, as_of_ms: int = 1_000) -> State:
    """A state with a value of every kind."""
    return State(
        profile_id(who),
        as_of_ms,
        cut,
        {"name": "Ann", "kids": 2_000_000, "tags": ["a", "b"], "deep": {"x": None}, "member": True},
        {"events.purchase.count": -(2**63), "first_seen_at": None, "p": True, "s": "\u20ac", "l": ("x", 1, False)},
    )


def test_a_state_comes_back_as_it_was(online: redis.Redis, project: str) -> None:
    """Every kind of value survives, by identifier and by profile id."""
    state = a_state("user:ann")
    assert 1 == publish_states(online, project, Snapshot(10, 1_000, 1, 0, "UTC"), [(state, ("user:ann", "anon:x"))])
    assert [state] * 3 == [read(online, project, who) for who in ("user:ann", "anon:x", ANN)]


def test_nobody_is_empty(online: redis.Redis, project: str) -> None:
    """An unknown profile has nothing and the id that it would get, as of the snapshot."""
    publish_states(online, project, Snapshot(10, 1_000, 1, 0, "UTC"), [])
    assert State(profile_id("user:x"), 1_000, 10) == read(online, project, "user:x")
    assert State(profile_id("user:y"), 1_000, 10) == read(online, project, profile_id("user:y"))


def test_a_user_value_may_be_a_profile_id(online: redis.Redis, project: str) -> None:
    """A `user` value that is a known profile id addresses that profile; of another kind it does not."""
    publish(online, project)
    assert ANN == read(online, project, f"user:{ANN}").profile_id
    assert profile_id(f"device:{ANN}") == read(online, project, f"device:{ANN}").profile_id


def test_before_anything_is_published(online: redis.Redis, project: str) -> None:
    """An empty store answers: nobody, no snapshot, no catalog."""
    reading = look_up(online, project, "user:ann")
    assert ({}, 0) == (reading.state.aggregates, reading.state.as_of_seq)
    assert (None, None, None) == (reading.snapshot, reading.catalog_version, reading.age_ms)
    assert (None, None, None) == (
        resolve(online, project, "user:ann"),
        snapshot(online, project),
        current_catalog(online, project),
    )


def test_the_clock_of_the_project(online: redis.Redis, project: str) -> None:
    """The age of a state is counted on the project's clock, whose offset was published with it."""
    world = publish(online, project)
    reading = look_up(online, project, "user:ann")
    assert world.snapshot == reading.snapshot
    assert reading.age_ms is not None
    assert 5_000 <= reading.age_ms < 60_000


@pytest.mark.parametrize("older", [Snapshot(9, 5_000, 1, 0, "UTC"), Snapshot(10, 999, 1, 0, "UTC")])
def test_an_older_publication_is_refused(online: redis.Redis, project: str, older: Snapshot) -> None:
    """Neither an older cut nor an older instant of the same cut overwrites anything."""
    newer = Snapshot(10, 1_000, 1, 0, "UTC")
    publish_states(online, project, newer, [(a_state("user:ann"), ("user:ann",))])
    with pytest.raises(OlderPublicationError, match="already being published"):
        publish_states(online, project, older, [(a_state("user:ann", older.cut), ("user:ann",))])
    assert newer == snapshot(online, project)
    assert 10 == read(online, project, "user:ann").as_of_seq


def test_a_publication_that_is_overtaken_stops(online: redis.Redis, project: str) -> None:
    """An old publisher that comes late with its next chunk writes nothing more, and is not announced."""
    old, new = Snapshot(10, 1_000, 1, 0, "UTC"), Snapshot(11, 2_000, 1, 0, "UTC")

    def slow() -> "list[tuple[State, tuple[str, ...]]]":
        return [(a_state(f"user:{number}"), (f"user:{number}",)) for number in range(1_200)]

    def overtake(done: int) -> None:
        if done == 500:
            publish_states(online, project, new, [(a_state("user:700", 11, 2_000), ("user:700",))])

    with pytest.raises(OlderPublicationError):
        publish_states(online, project, old, slow(), overtake)
    assert new == snapshot(online, project)
    assert 11 == read(online, project, "user:700").as_of_seq
    assert {} == read(online, project, "user:1100").aggregates


def test_the_same_publication_again(online: redis.Redis, project: str) -> None:
    """A publication that was broken off is finished by doing it again."""
    same = Snapshot(10, 1_000, 1, 0, "UTC")
    for _ in range(2):
        publish_states(online, project, same, [(a_state("user:ann"), ("user:ann",))])
    assert same == snapshot(online, project)


def test_progress_counts_profiles(online: redis.Redis, project: str) -> None:
    """Progress is told after each chunk and ends at the number of profiles."""
    told: list[int] = []
    people = ((a_state(f"user:{number}"), (f"user:{number}",)) for number in range(1_050))
    assert 1_050 == publish_states(online, project, Snapshot(10, 1_000, 1, 0, "UTC"), people, told.append)
    assert [500, 1_000, 1_050] == told


def test_reserved_ranges_never_meet(valkey_url: str, online: redis.Redis, project: str) -> None:
    """Ranges reserved by many at once are disjoint and without gaps."""

    def reserve(_: int) -> list[int]:
        client = connect(valkey_url)
        firsts = [reserve_seq(client, project, 7, 0) for _ in range(50)]
        client.close()
        return firsts

    with ThreadPoolExecutor(4) as pool:
        firsts = sorted(first for found in pool.map(reserve, range(4)) for first in found)
    assert list(range(1, 1_400, 7)) == firsts


def test_a_lost_counter_starts_above_the_floor(online: redis.Redis, project: str) -> None:
    """The counter never falls behind what the lake holds, nor behind itself."""
    assert [1_001, 1_006, 1_011] == [reserve_seq(online, project, 5, floor) for floor in (1_000, 0, 1_010)]


def test_catalog_versions(online: redis.Redis, project: str) -> None:
    """The version published last is the current one, also when it is an older one."""
    publish_catalog(online, project, 1, CATALOG.to_document())
    publish_catalog(online, project, 2, replace(CATALOG, flags=()).to_document())
    assert 2 == look_up(online, project, "user:ann").catalog_version
    publish_catalog(online, project, 1, CATALOG.to_document())
    assert 1 == look_up(online, project, "user:ann").catalog_version
    document = current_catalog(online, project)
    assert document is not None
    assert CATALOG.digest() == type(CATALOG).from_document(document).digest()


def test_publishing_keys_replaces_all(online: redis.Redis, project: str) -> None:
    """A key that is no longer in the registry is gone; none at all is possible."""
    publish_keys(online, project, {"a": "read", "b": "write"})
    publish_keys(online, project, {"b": "write"})
    assert {"b": "write"} == online.hgetall(Keys(project).api_keys)
    publish_keys(online, project, {})
    assert {} == online.hgetall(Keys(project).api_keys)


def test_deleting_a_project_touches_no_other(online: redis.Redis, project: str) -> None:
    """Only keys with the hash tag of the project go, also when its name looks like a pattern."""
    other, pattern = f"{project}-2", f"{project}*"
    for each in (project, other, pattern):
        publish(online, each)
    assert delete_project(online, pattern) == 3 + 6 + 5
    assert CUT == read(online, other, "user:ann").as_of_seq
    delete_project(online, project)
    assert [] == list(online.scan_iter(match=f"{{{project}}}:*"))
    assert CUT == read(online, other, "user:ann").as_of_seq


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://me:secret@127.0.0.1:1/0", r"^the online store at redis://127\.0\.0\.1:1/0 does not answer \(.+\): "),
        ("unix:///nowhere/at/all.sock", r"^the online store at unix:///nowhere/at/all\.sock does not answer \(.+\): "),
        ("localhost:6379", r"^the given address is no address of a store: TINYCDP_REDIS_URL looks like "),
        ("http://me:secret@x/", r"^http://x/ is no address of a store: TINYCDP_REDIS_URL looks like "),
    ],
)
def test_a_store_that_is_not_there(url: str, said: str) -> None:
    """An address where nobody answers is refused in one sentence that names it and no password."""
    with pytest.raises(OnlineStoreError, match=said) as caught:
        connect(url)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_asynchronous_client_needs_an_address_too() -> None:
    """What cannot be an address is refused before the first request."""
    with pytest.raises(OnlineStoreError, match="no address of a store"):
        _ = connect_async("localhost")
