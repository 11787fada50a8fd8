"""What is linked, parted and erased while a publication is under way: it is of then, and the store is of now."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from dsl.catalog import Catalog, Trait
from dsl.clock import DAY_MS
from dsl.event import Event
from dsl.identifiers import profile_id
from dsl.identity import Identities
from dsl.identity_records import Linked
from serving.online import catch_up, delete_project, erase_identity, reserve_seq, unmerge
from serving.online.keys import Keys
from serving.online.repair import forget_publications
from tests.both_sides.plant import Plant, open_plant
from tests.warehouse.logged import land_log_of

ANN, BOB = (profile_id(each) for each in ("user:ann", "user:bob"))


@pytest.fixture
def plant(online: redis.Redis, project: str, tmp_path: Path) -> Iterator[Plant]:
    """An empty one."""
    found = open_plant(online, tmp_path / "home", project, time.time_ns() // 1_000_000)
    found.define(Catalog(traits=(Trait("buys", "events.buy.count"),)))
    yield found
    delete_project(online, project)
    found.shop.registry.close()


def send(plant: Plant, event_id: str, who: str, *weaker: str) -> None:
    """A purchase of this moment."""
    plant.append([Event(event_id, 0, "track", "buy", who, plant.now_ms, plant.now_ms // DAY_MS)], weaker)


def test_links_of_a_load_are_published_past_newer_ones(plant: Plant) -> None:
    """A profile that an event of now has changed is published as the whole log has it, not left as it was."""
    reserve_seq(plant.client, plant.project, 10, 0)
    send(plant, "e-11", "user:bob", "device:tv")
    assert BOB == plant.ask("device:tv").profile_id
    land_log_of(plant.shop, Linked(1, "user:ann", ("device:tv",)), *(Linked(n, f"anon:{n}") for n in range(2, 11)))
    with plant.bench() as bench:
        refresh = plant.compute(bench)
        assert 10 == refresh.cut
        plant.publish(bench, refresh)
    assert [ANN, ANN, BOB] == [plant.ask(who).profile_id for who in ("device:tv", "user:ann", "user:bob")]
    plant.refresh()
    assert [ANN, ANN, BOB] == [plant.ask(who).profile_id for who in ("device:tv", "user:ann", "user:bob")]


def test_what_was_erased_meanwhile_is_not_kept_apart_again(plant: Plant) -> None:
    """A rebuild publishes un-merges as of now: one whose person was erased after the cut is not written."""
    send(plant, "e-1", "user:ann", "anon:a")
    send(plant, "e-2", "user:bob", "anon:b")
    known = Identities()
    catch_up(plant.client, plant.project, known)
    unmerge(plant.client, plant.project, known, "user:ann", "anon:a", plant.now_ms)
    unmerge(plant.client, plant.project, known, "user:bob", "anon:b", plant.now_ms)
    plant.refresh()
    forget_publications(plant.client, plant.project)
    with plant.bench() as bench:
        refresh = plant.compute(bench)
        erase_identity(plant.client, plant.project, known, ANN, plant.now_ms)
        plant.publish(bench, refresh)
    apart = Keys(plant.project).apart
    assert {"user:bob", "anon:b"} == set(plant.client.hkeys(apart))
    plant.client.delete(apart)
    forget_publications(plant.client, plant.project)
    with plant.bench() as bench:
        plant.publish(bench, plant.compute(bench))
    assert {"user:bob", "anon:b"} == set(plant.client.hkeys(apart))


def test_whoever_was_erased_meanwhile_stays_unknown(plant: Plant) -> None:
    """A publication of before an erasure writes neither the profile nor ids that lead to it; who comes back is new."""
    send(plant, "e-1", "device:tv")
    send(plant, "e-2", "user:ann", "device:tv")
    send(plant, "e-3", "user:bob", "anon:b")
    send(plant, "e-4", "anon:old")
    send(plant, "e-5", "user:bob", "anon:old")
    known, old = Identities(), profile_id("anon:old")
    catch_up(plant.client, plant.project, known)
    plant.land()
    with plant.bench() as bench:
        refresh = plant.compute(bench)
        for each in ("user:ann", "user:bob"):
            erase_identity(plant.client, plant.project, known, plant.ask(each).profile_id, plant.now_ms)
        send(plant, "e-6", "user:bob")
        plant.publish(bench, refresh)
    for _ in range(2):
        assert [(), ("user:bob",), (), ()] == [
            plant.ask(each).identifiers for each in ("user:ann", "user:bob", "anon:b", old)
        ]
        keys = Keys(plant.project)
        assert 0 == plant.client.exists(*map(keys.ident, ("user:ann", "device:tv", "anon:b")), keys.profile(old))
        plant.refresh()
