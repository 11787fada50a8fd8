"""The late lane: what is older than the store's memory is looked up in the lake, and never counted twice."""

import time
from typing import Any

import pytest
from msgspec.structs import replace

from dsl.clock import DAY_MS
from dsl.event_record import EventRecord, write_record
from dsl.identifiers import profile_id
from dsl.identity_records import IdentitySettings
from serving.online import AppendRules, Item, append, read_late, settings_item, worker_metrics
from serving.online.keys import Keys
from serving.worker.landing import LogLanding, land_log_alone
from serving.worker.late import LateTaken, take_late
from serving.worker.loop import Worker
from tests.serving.worker_plant import NOW_MS, Plant

OLD_MS = NOW_MS - 30 * DAY_MS
PROPERTIES = '{"amount": 12.50, "tags": ["a", 1], "on": true}'


def late(
    event_id: str, *identifiers: str, ts_ms: int = OLD_MS, properties: str = PROPERTIES, kind: str = "track"
) -> Item:
    """An old event as it is sent; its digest is of what it says."""
    name = "purchase" if kind == "track" else kind
    record = EventRecord(event_id, kind, name, ts_ms, NOW_MS, ts_ms // DAY_MS, properties)  # type: ignore[arg-type]
    text = write_record(record)
    return Item(event_id, text, str(hash((text, identifiers))), identifiers, is_late=True)


def forget(plant: Plant, *event_ids: str) -> None:
    """The store's memory of these ids has ended."""
    for event_id in event_ids:
        plant.client.delete(Keys(plant.key).event(event_id))


def take(plant: Plant) -> tuple[int, int, int]:
    """What became of the lane: appended, duplicates, refused."""
    taken = _take(plant)
    return taken.appended, taken.duplicates, taken.refused


def _take(plant: Plant) -> LateTaken:
    return take_late(plant.client, plant.shop.home, plant.shop.registry, plant.shop.project)


def test_a_new_event_is_appended(plant: Plant) -> None:
    """An old event that has not landed gets a `seq`, once, and lands at its own day."""
    assert [None] == plant.append(late("a", "user:ann", "anon:x"))
    assert (1, 0, 0) == take(plant)
    assert (0, 0, 0) == take(plant)
    assert [(1, "a", OLD_MS)] == plant.landed("event_id", "ts_ms")
    assert [1] == plant.append(late("a", "user:ann", "anon:x"))
    assert [] == read_late(plant.client, plant.key)


@pytest.mark.parametrize(
    "properties", [PROPERTIES, '{"on":true,"amount":12.5,"tags":["a",1.0]}'], ids=["as sent", "written otherwise"]
)
def test_a_very_late_duplicate_gets_no_seq(plant: Plant, properties: str) -> None:
    """What landed long ago and comes again leaves the lane without a `seq`, and is a duplicate from then on."""
    first, other = late("a", "user:ann", "anon:x"), late("b", "user:bob")
    plant.append(replace(first, is_late=False), replace(other, is_late=False))
    plant.land()
    forget(plant, "a", "b")
    again = late("a", "user:ann", "anon:x", properties=properties)
    assert [None] == plant.append(again)
    assert (0, 1, 0) == take(plant)
    assert [1] == plant.append(again)
    assert 2 == plant.land()
    assert ["a", "b"] == [event_id for _, event_id in plant.landed("event_id")]
    assert [] == read_late(plant.client, plant.key)
    assert {} == plant.shop.registry.count_dead_letters(plant.key)


OTHERS = {
    "properties": late("a", "user:ann", properties='{"amount": 13}'),
    "a boolean for a number": late(
        "a", "user:ann", properties='{"amount": 12.50, "tags": ["a", true], "on": 0.000001}'
    ),
    "instant": late("a", "user:ann", ts_ms=OLD_MS + 60_001),
    "kind": late("a", "user:ann", kind="page"),
    "identifiers": late("a", "user:ann", "anon:y"),
    "who": late("a", "user:bob"),
}


def test_a_resend_whose_instant_was_corrected_anew(plant: Plant) -> None:
    """`sentAt` of each sending moves the instant by the time that the request took: it is the same event still."""
    plant.append(late("a", "user:ann"))
    assert (1, 0, 0) == take(plant)
    forget(plant, "a")
    plant.append(late("a", "user:ann", ts_ms=OLD_MS - 1_500))
    assert (0, 1, 0) == take(plant)
    assert [(1, "a", OLD_MS)] == plant.landed("event_id", "ts_ms")


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_another_event_with_its_id_is_a_dead_letter(plant: Plant, other: Item) -> None:
    """With other content the first stays, and the second is kept as it was sent; sent again it is looked up again."""
    plant.append(replace(late("a", "user:ann"), is_late=False))
    plant.land()
    for times in (1, 2):
        forget(plant, "a") if times == 1 else None
        plant.append(other)
        assert (0, 0, 1) == take(plant)
        (letter,) = plant.shop.registry.dead_letters(plant.key)
        assert ("id_conflict", "late", "a", times) == (letter.reason, letter.route, letter.event_id, letter.times)
        assert (other.record, list(other.identifiers)) == (letter.raw, letter.envelope["identifiers"])
        assert [] == read_late(plant.client, plant.key)
    assert 1 == plant.land()
    # The genuine one is still known for what it is.
    plant.append(late("a", "user:ann"))
    assert (0, 1, 0) == take(plant)


def test_what_was_appended_meanwhile_is_found(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    """An id that comes between the look through the lake and the append, and one before it, get one `seq` each."""
    plant.append(late("before", "user:ann"), late("between", "user:ann"))
    # As after eight days in the lane: the store does not know any more that they wait.
    forget(plant, "before", "between")
    plant.append(replace(late("before", "user:ann"), is_late=False))

    def reached(place: str) -> None:
        if place == "late.before_append":
            plant.append(replace(late("between", "user:ann"), is_late=False))

    monkeypatch.setattr("serving.worker.late.reached", reached)
    assert (0, 2, 0) == take(plant)
    assert 2 == plant.land()
    assert ["before", "between"] == [event_id for _, event_id in plant.landed("event_id")]


def test_what_landed_meanwhile_is_found(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    """An event that was still in the log when its double was met in the lane is in the lake when that is looked up."""
    plant.append(late("a", "user:ann"))
    forget(plant, "a")
    plant.append(replace(late("a", "user:ann"), is_late=False))
    # The worst case: its id is forgotten as soon as it has landed.
    landing = land_log_alone

    def lands_and_forgets(*given: Any) -> LogLanding:
        landed = landing(*given)
        forget(plant, "a")
        return landed

    monkeypatch.setattr("serving.worker.late.land_log_alone", lands_and_forgets)
    assert (0, 1, 0) == take(plant)
    assert 1 == plant.land()


def test_a_killed_refusal_waits(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    """An event that is refused when it is appended stays in the lane until it is a dead letter."""
    plant.append(late("a", "user:bob"))
    forget(plant, "a")
    plant.append(replace(late("a", "user:eve"), is_late=False))

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("serving.worker.late.landed_events", lambda *_: {})
        patch.setattr("warehouse.registry.Registry.add_dead_letters", killed)
        with pytest.raises(KeyboardInterrupt):
            take(plant)
    assert ["a"] == [each.event_id for each in read_late(plant.client, plant.key)]
    assert (0, 0, 1) == take(plant)


def test_names_are_compared_as_understood(plant: Plant) -> None:
    """A profile id, and a value that the project blocks, are no difference: the landed event was understood so."""
    append(plant.client, plant.key, [settings_item("s", IdentitySettings(blocked_values=frozenset({"kiosk"})))], NOW_MS)
    plant.append(replace(late("a", "user:ann"), is_late=False))
    sent = late("b", f"user:{profile_id('user:ann')}", "device:kiosk", "anon:x")
    alias = replace(late("c", "user:ann", kind="alias"), previous="x")
    plant.append(replace(sent, is_late=False), replace(alias, is_late=False))
    plant.land()
    forget(plant, "a", "b", "c")
    plant.append(sent, alias, late("a", "user:ann", "device:kiosk"))
    assert (0, 3, 0) == take(plant)
    forget(plant, "c")
    plant.append(replace(alias, previous="y"))
    assert (0, 0, 1) == take(plant)


def test_a_refusal_is_a_dead_letter(plant: Plant) -> None:
    """An event whose last identifier was blocked while it waited, and one whose id was taken, are kept."""
    plant.append(late("a", "device:kiosk"), late("b", "user:bob"))
    forget(plant, "b")
    plant.append(replace(late("b", "user:eve"), is_late=False))
    append(plant.client, plant.key, [settings_item("s", IdentitySettings(blocked_values=frozenset({"kiosk"})))], NOW_MS)
    assert (0, 0, 2) == take(plant)
    letters = plant.shop.registry.dead_letters(plant.key)
    assert {("no_identifier", "a"), ("id_conflict", "b")} == {(each.reason, each.event_id) for each in letters}
    assert [] == read_late(plant.client, plant.key)


@pytest.mark.parametrize("place", ["late.before_append", "late.after_append", "late.after_dead_letters"])
def test_a_killed_look_is_done_again(plant: Plant, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """Wherever it ends: each event is appended once, dropped, or kept as one letter."""
    plant.append(replace(late("old", "user:ann"), is_late=False), replace(late("other", "user:ann"), is_late=False))
    plant.land()
    forget(plant, "old", "other")
    plant.append(late("new", "user:ann"), late("old", "user:ann"), late("other", "user:bob"))

    def reached(at: str) -> None:
        if at == place:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("serving.worker.late.reached", reached)
        with pytest.raises(KeyboardInterrupt):
            take(plant)
    take(plant)
    plant.land()
    assert ["old", "other", "new"] == [event_id for _, event_id in plant.landed("event_id")]
    assert ["other"] == [letter.event_id for letter in plant.shop.registry.dead_letters(plant.key)]
    assert [] == read_late(plant.client, plant.key)


def test_the_worker_empties_the_lane(plant: Plant) -> None:
    """At its tick, but never for more than a tenth of the time; what it appends lands at the next tick."""
    worker = Worker(plant.client, plant.shop.home, plant.shop.registry, plant.shop.project, AppendRules(), 60_000)
    plant.append(late("a", "user:ann"))
    worker.tick()
    assert [] == read_late(plant.client, plant.key)
    plant.append(late("b", "user:ann"))
    assert 1 == worker.tick().events
    assert ["b"] == [each.event_id for each in read_late(plant.client, plant.key)]
    worker._late_from_s = time.monotonic()
    worker.tick()
    assert 2 == worker.tick().cut
    metrics = worker_metrics(plant.client, plant.key)
    assert (2, 2, 2, 0) == (metrics.late, metrics.late_landed, metrics.processed, metrics.waiting_late)


def test_a_full_log_takes_what_was_looked_up(plant: Plant) -> None:
    """Back-pressure keeps new events out, not those that have waited inside."""
    rules = AppendRules(max_log=1)
    append(plant.client, plant.key, [late("a", "user:ann")], NOW_MS, rules)
    taken = take_late(plant.client, plant.shop.home, plant.shop.registry, plant.shop.project, rules)
    assert 1 == taken.appended


def test_ids_are_found_however_many_files(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lake is looked through file after file, each event once."""
    monkeypatch.setattr("warehouse.lake._FILES_AT_ONCE", 2)
    items = [replace(late(f"e{n}", "user:ann", ts_ms=OLD_MS + n * DAY_MS), is_late=False) for n in range(7)]
    for item in items:
        plant.append(item)
        plant.land()
    forget(plant, *(item.event_id for item in items))
    plant.append(*(replace(item, is_late=True) for item in items), late("new", "user:ann"))
    assert (1, 7, 0) == take(plant)
