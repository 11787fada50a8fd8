"""Steps of the worker, of refreshes and of compaction, whole and killed; and of a store that is lost."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import chain, islice
from typing import Any, Final

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from dsl.bases import together
from pipelines.rebuild import forget_online
from serving.online import Fold, OlderPublicationError, Publication, delete_project
from serving.online.keys import Keys
from serving.online.log import read_late
from tests.both_sides.deaths import Killed, killed_at, places
from tests.both_sides.senders import Senders
from tests.both_sides.told import DEDUP_WINDOW_MS, MINUTE_MS, USERS, VISITORS
from tests.warehouse.bench import Bench
from warehouse.compaction import GRACE_MS
from warehouse.online_bases import packed_sources
from warehouse.refresh import Refresh

MOST_LOSSES: Final = 2
"""Of one life: each takes as long as a refresh."""
WORKER: Final = places("lake", "landing", "late", "chunk")
PUBLICATION: Final = places("publication")


class Upkeep(Senders):
    """What goes on behind."""

    # -- the worker --------------------------------------------------------------------------------------------------

    def a_busy_day(self) -> None:
        """Everybody is known by now, and has done something, some of it long ago."""
        self.step("a_busy_day")
        now_ms = self.plant.now_ms
        for user, visitor in zip(USERS, VISITORS, strict=True):
            for ago_ms in (0, 45 * MINUTE_MS, 2 * DEDUP_WINDOW_MS):
                self.say(user, "buy", now_ms - ago_ms, visitor, amount=1_500_000, label="b")
            self.say(user, "identify", now_ms - MINUTE_MS, plan="gold")
        self.tick(None)

    @precondition(lambda self: self.told.old(self.plant.now_ms))
    @rule(data=st.data(), is_other=st.booleans(), waits=st.booleans())
    def send_again_when_forgotten(self, data: st.DataObject, is_other: bool, waits: bool) -> None:
        """A week later the store no longer knows the id: the event waits, so that somebody looks for it in the lake."""
        self.step("send_again_when_forgotten")
        said = self.told.accepted[data.draw(st.sampled_from(self.told.old(self.plant.now_ms)))]
        if is_other:
            said = replace(said, event=replace(said.event, properties={"amount": 77_000_000}))
        self.concerned, event_id = said.event.source_id, said.event.event_id
        self.client.delete(Keys(self.plant.project).event(event_id))
        assert ("late", None) == self.append(said)[:2]
        self.told.again[event_id] = is_other
        if not waits:
            self.tick(None)

    @rule(place=st.one_of(st.none(), st.sampled_from(WORKER)))
    def tick(self, place: str | None) -> None:
        """The worker lands, announces, empties the late lane and folds; it may end between any two steps."""
        with killed_at(place) as death:
            self.plant.worker().tick()
        self.step(f"tick killed at {place}" if death.came else "tick")
        told, lane = self.told, {late.event_id for late in read_late(self.client, self.plant.project)}
        assert death.came or not lane
        for event_id in [each for each in told.waiting if each not in lane]:
            self.step("late, appended")
            told.accept(told.waiting.pop(event_id), told.identities.seq + 1)
        for event_id in [each for each in told.again if each not in lane]:
            is_other = told.again.pop(event_id)
            self.step("late, refused" if is_other else "late, dropped")
            (told.refused.add if is_other else told.refused.discard)(event_id)
        letters = self.plant.shop.registry.dead_letters(self.plant.project, status=None, limit=1_000)
        assert told.refused <= {letter.event_id for letter in letters if letter.reason == "id_conflict"}
        self.check_lake()

    # -- refreshes ---------------------------------------------------------------------------------------------------

    @rule(place=st.one_of(st.none(), st.sampled_from(("before", *PUBLICATION, "half way"))), written=st.integers(0, 3))
    def refresh(self, place: str | None, written: int) -> None:
        """Everything is computed, and published: whole, not at all, half, or nearly."""
        self.step("refresh" if place is None else f"refresh killed at {place}")
        if place is None:
            self.check_tables(self.plant.refresh())
            return
        self.plant.land()
        with self.plant.bench() as bench:
            refresh = self.plant.compute(bench)
            if place == "half way":
                self._publish_some(bench, refresh, written)
            elif place in PUBLICATION:
                with killed_at(place):
                    self.plant.publish(bench, refresh)
        if place == "publication.after_end":
            self.plant.fold = Fold(self.plant.checked)

    def _publish_some(self, bench: Bench, refresh: Refresh, written: int) -> None:
        """Some sources are written, the catalog and the snapshot are not."""
        whole = Publication.bases

        def part(self: Publication, sources: Iterator[Mapping[str, bytes]], progress: Any = None) -> int:
            whole(self, [dict(islice(chain.from_iterable(each.items() for each in sources), written))], progress)
            raise Killed

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Publication, "bases", part)
            with suppress(Killed):
                self.plant.publish(bench, refresh)

    @rule(data=st.data(), count=st.integers(1, 4))
    def much_happens_before_publication(self, data: st.DataObject, count: int) -> None:
        """While a refresh computes, people are linked, parted and erased: it publishes what was, they stay what is."""
        self.step("much_happens_before_publication")
        self.plant.land()
        with self.plant.bench() as bench:
            refresh = self.plant.compute(bench)
            for _ in range(count):
                one, other = data.draw(st.sampled_from(USERS)), data.draw(st.sampled_from(VISITORS))
                match data.draw(st.sampled_from(("send", "alias", "separate", "erase"))):
                    case "send":
                        self.send_now(data, one)
                    case "alias":
                        self.alias(one, other)
                    case "separate":
                        self.separate(one, other)
                    case _:
                        self.erase(one)
            self.plant.publish(bench, refresh)

    @precondition(lambda self: not self.held and self.told.identities.seq > self.slept)
    @rule()
    def publisher_falls_asleep(self) -> None:
        """A publisher has computed everything, and writes it much later."""
        self.step("publisher_falls_asleep")
        self.plant.land()
        with self.plant.bench() as bench:
            refresh = self.plant.compute(bench)
            kept = together(self.plant.checked, self.plant.fold.checked)
            packed = list(packed_sources(bench.connection, kept, refresh, 0, frozenset()))
        snapshot = self.plant.snapshot(refresh)
        self.held, self.slept = (snapshot, packed), self.told.identities.seq
        Publication(self.client, self.plant.project, snapshot).begin()

    @precondition(lambda self: self.held)
    @rule()
    def publisher_wakes_up(self) -> None:
        """It is refused when a newer one has begun."""
        assert self.held is not None
        snapshot, packed = self.held
        try:
            Publication(self.client, self.plant.project, snapshot).bases(packed)
            self.step("publisher_wakes_up")
        except OlderPublicationError:
            self.step("publisher_wakes_up too late")
        self.held = None

    # -- the lake and the store --------------------------------------------------------------------------------------

    @rule(place=st.one_of(st.none(), st.sampled_from(places("compaction"))), grows=st.booleans())
    def compact(self, place: str | None, grows: bool) -> None:
        """The files of each day become one; it may end between any two steps, and an hour later they are swept."""
        if grows:
            for label in ("a", "b"):
                self.say("user:cem", "buy", self.plant.now_ms, label=label)
                self.plant.land()
            self.plant.refresh()
        with killed_at(place) as death:
            self._compact()
        self.step(f"compact killed at {place}" if death.came else "compact")
        self.check_lake()
        if grows:
            self.say_when(self.plant.now_ms + GRACE_MS + 1)
            self.check_tables(self.plant.refresh())
            self._compact()
            self.check_lake()

    def _compact(self) -> None:
        done = self.plant.compact()
        self.steps["files merged"] += done.merged
        self.steps["files swept"] += done.swept

    @precondition(lambda self: self.losses < MOST_LOSSES)
    @rule()
    def lose_the_store(self) -> None:
        """Everything that landed comes back; what waited in the late lane was in the store alone."""
        self.step("lose_the_store")
        self.losses += 1
        self.plant.land()
        delete_project(self.client, self.plant.project)
        self.introduce()
        assert 0 == forget_online(self.client, self.plant.shop.home, self.plant.shop.registry, self.plant.shop.project)
        self.held = None
        self.told.waiting.clear()
        self.told.again.clear()
        self.check_tables(self.plant.refresh())
