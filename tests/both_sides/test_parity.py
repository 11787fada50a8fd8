"""Both sides agree: after refreshes, with events of a moment ago, after the loss of the online store."""

import time
from pathlib import Path

import pytest
import redis

from dsl.clock import DAY_MS
from dsl.event import Event
from dsl.identifiers import profile_id
from pipelines.parity import Parity, compare
from pipelines.rebuild import forget_online, forget_tables
from serving.online import Answer, OnlineStoreError, append, delete_project
from serving.online.keys import Keys
from serving.online.log import read_log
from tests.both_sides.plant import Plant, open_plant
from tests.warehouse.small_shop import CATALOG, EVENTS

PROFILES = 6
"""Of the small shop, and somebody new."""


VALUES = len(CATALOG.traits) + len(CATALOG.segments)


@pytest.fixture
def plant(online: redis.Redis, project: str, tmp_path: Path) -> Plant:
    """The small shop, refreshed once."""
    found = open_plant(online, tmp_path / "home", project, time.time_ns() // 1_000_000)
    found.shop.land(*EVENTS)
    found.define(CATALOG)
    found.refresh()
    return found


def send(plant: Plant, event_id: str, who: str, *weaker: str, amount: int = 7) -> Answer:
    """A purchase of this moment."""
    amounts = {"amount": amount * 1_000_000}
    sent = Event(event_id, 0, "track", "purchase", who, plant.now_ms, plant.now_ms // DAY_MS, amounts)
    (answer,) = plant.append([sent], weaker)
    return answer


def parity(plant: Plant) -> Parity:
    """Everybody, compared."""
    return compare(plant.shop.settings, plant.shop.registry, plant.client, plant.shop.project, plant.checked, 100)


def orders(plant: Plant, who: str) -> object:
    """How often somebody has bought, as decisions see it."""
    return plant.ask(who).aggregates["events.purchase.count"]


def forget(plant: Plant) -> int:
    """Bring a lost store to where a refresh completes it."""
    return forget_online(plant.client, plant.shop.home, plant.shop.registry, plant.shop.project)


def test_both_sides_agree(plant: Plant) -> None:
    """Every value of everybody, before and after events, landed or fresh, and after the next refresh."""
    assert Parity(5, 5 * VALUES, 0, 0, 0) == parity(plant)
    send(plant, "new-1", "user:ann", amount=40)
    send(plant, "new-2", "user:zoe")
    assert Parity(PROFILES, PROFILES * VALUES, 0, 0, 0) == parity(plant)
    send(plant, "new-3", "user:ann")
    plant.refresh()
    assert Parity(PROFILES, PROFILES * VALUES, 0, 0, 0) == parity(plant)
    assert (5_000_000, 1_000_000) == (orders(plant, "user:ann"), orders(plant, "user:zoe"))


def test_what_differs_is_found(plant: Plant) -> None:
    """A base of somebody else is a mismatch, a lost one a missing profile, one from nowhere extra."""
    store, keys = plant.client, Keys(plant.project)
    store.restore(keys.base("user:bob"), 0, store.dump(keys.base("user:ann")) or b"", replace=True)
    store.delete(keys.base("user:cem"))
    store.copy(keys.base("user:ann"), keys.base("user:nobody"))
    store.hset(keys.profile(profile_id("user:nobody")), mapping={"first": "user:nobody", "user:nobody": 1})
    found = parity(plant)
    assert (4, 1, 1) == (found.compared, found.missing, found.extra)
    assert not found.agrees
    assert {profile_id("user:bob")} == {each.profile_id for each in found.shown}
    assert {"orders", "spend"} <= {each.key for each in found.shown}
    (spend,) = (each for each in found.shown if each.key == "spend")
    assert (120_000_000, 20_000_000) == (spend.online, spend.counted)


def test_a_store_that_was_lost_is_rebuilt(plant: Plant) -> None:
    """What landed is published anew, ids are remembered, and events that were taken in meanwhile are kept, once."""
    sent = send(plant, "before", "user:ann")
    plant.land()
    delete_project(plant.client, plant.project)
    # Without its counter the store gives numbers again that the lake has.
    assert (1, 2) == tuple(send(plant, each, "user:zoe", "anon:z").seq for each in ("meanwhile-1", "meanwhile-2"))
    with pytest.raises(OnlineStoreError, match="rebuild --online"):
        plant.land()
    assert 2 == forget(plant)
    assert 0 == forget(plant)
    plant.refresh()
    again = send(plant, "before", "user:ann")
    assert ("duplicate", sent.seq) == (again.code, again.seq)
    assert ("duplicate", 14) == ((same := send(plant, "meanwhile-2", "user:zoe", "anon:z")).code, same.seq)
    found = parity(plant)
    assert (PROFILES, True) == (found.compared, found.agrees)
    assert (4_000_000, 2_000_000) == (orders(plant, "user:ann"), orders(plant, "anon:z"))


def test_renumbering_that_is_killed_goes_on(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between appending anew and letting go of the old record: every event is there once in the end."""
    plant.land()
    delete_project(plant.client, plant.project)
    for number in range(3):
        send(plant, f"m{number}", "user:zoe")

    def killed(*arguments: object) -> object:
        append(*arguments)  # type: ignore[arg-type]  # those of the original
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("serving.online.repair.append", killed)
        with pytest.raises(KeyboardInterrupt):
            forget(plant)
    assert 0 == forget(plant)
    assert ["m0", "m1", "m2"] == [entry.event_id for entry in read_log(plant.client, plant.project, 0)]
    plant.refresh()
    assert 3_000_000 == orders(plant, "user:zoe")


def test_tables_that_were_lost_are_rebuilt(plant: Plant) -> None:
    """From the lake alone, the same."""
    send(plant, "new", "user:ann")
    plant.refresh()
    forget_tables(plant.shop.home)
    plant.refresh()
    assert parity(plant).agrees
    assert 4_000_000 == orders(plant, "user:ann")
