"""Steps of the worker, of refreshes and of compaction, whole and killed; and of a store that is lost."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from dsl.bases import together
from pipelines.rebuild import forget_online
from serving.online import Fold, OlderPublicationError, Publication, Snapshot, delete_project
from serving.online.log import read_late
from tests.both_sides.deaths import Killed, killed_at, places
from tests.both_sides.senders import Senders
from tests.both_sides.told import USERS, VISITORS, ZONE
from warehouse.online_bases import packed_sources

MOST_LOSSES = 2
"""Of one life: each takes as long as a refresh."""


class Upkeep(Senders):
    """What goes on behind."""

    # -- the worker --------------------------------------------------------------------------------------------------

    @rule()
    def tick(self) -> None:
        """The worker lands, announces, empties the late lane and folds."""
        self.step("tick")
        self._tick(None)

    @rule(place=st.sampled_from(places("lake", "landing", "late", "chunk")))
    def tick_killed(self, place: str) -> None:
        """The worker ends between any two of its steps."""
        self.step("tick_killed")
        self._tick(place)

    def _tick(self, place: str | None) -> None:
        told = self.told
        with killed_at(place) as death:
            self.plant.worker().tick()
        if death.came:
            self.step(f"killed at {place}")
        lane = {late.event_id for late in read_late(self.client, self.plant.project)}
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

    @rule()
    def refresh(self) -> None:
        """Everything, to the end; the tables are what the events say."""
        self.step("refresh")
        self.check_tables(self.plant.refresh())

    @rule()
    def refresh_killed_before_publication(self) -> None:
        """The tables are computed, nothing is published."""
        self.step("refresh_killed_before_publication")
        self.plant.land()
        with self.plant.bench() as bench:
            self.plant.compute(bench)

    @rule(place=st.sampled_from(places("publication")))
    def publication_killed(self, place: str) -> None:
        """A publication ends between any two of its steps."""
        self.step(f"killed at {place}")
        self.plant.land()
        with self.plant.bench() as bench:
            refresh = self.plant.compute(bench)
            with killed_at(place):
                self.plant.publish(bench, refresh)
        if place == "publication.after_end":
            self.plant.fold = Fold(self.plant.checked)

    @rule(written=st.integers(0, 3))
    def publication_killed_half_way(self, written: int) -> None:
        """Some sources are written, the catalog and the snapshot are not."""
        self.step("publication_killed_half_way")
        whole = Publication.bases

        def part(self: Publication, sources: Iterator[tuple[str, bytes]], progress: Any = None) -> int:
            whole(self, [source for source, _ in zip(sources, range(written), strict=False)], progress)
            raise Killed

        self.plant.land()
        with self.plant.bench() as bench, pytest.MonkeyPatch.context() as patch, suppress(Killed):
            refresh = self.plant.compute(bench)
            patch.setattr(Publication, "bases", part)
            self.plant.publish(bench, refresh)

    @rule(data=st.data(), count=st.integers(1, 3))
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
                        self._send(self._said(data, one, "buy", self.plant.now_ms))
                    case "alias":
                        self.alias(one, other)
                    case "separate":
                        self.separate(one, other)
                    case _:
                        self.erase(one)
            self.plant.publish(bench, refresh)

    @rule()
    def publisher_falls_asleep(self) -> None:
        """A publisher has computed everything, and writes it much later."""
        self.step("publisher_falls_asleep")
        self.plant.land()
        with self.plant.bench() as bench:
            refresh = self.plant.compute(bench)
            kept = together(self.plant.checked, self.plant.fold.checked)
            found = packed_sources(bench.connection, kept, refresh, 0, frozenset())
            packed = [(source.source_id, source.packed) for source in found]
        snapshot = Snapshot(refresh.cut, refresh.t_ms, self.plant.version, 0, ZONE.name)
        self.held = snapshot, packed
        Publication(self.client, self.plant.project, snapshot).begin()

    @precondition(lambda self: self.held)
    @rule()
    def publisher_wakes_up(self) -> None:
        """It is refused when a newer one has begun."""
        self.step("publisher_wakes_up")
        assert self.held is not None
        snapshot, packed = self.held
        try:
            Publication(self.client, self.plant.project, snapshot).bases(packed)
        except OlderPublicationError:
            self.held = None

    # -- the lake and the store --------------------------------------------------------------------------------------

    @rule(place=st.sampled_from((None, *places("compaction"))))
    def compact(self, place: str | None) -> None:
        """The files of each day become one, those that nobody reads any more go; it may end between any two steps."""
        self.step("compact")
        with killed_at(place) as death:
            done = self.plant.compact()
            self.steps["files merged"] += done.merged
            self.steps["files swept"] += done.swept
        if death.came:
            self.step(f"killed at {place}")
        self.check_lake()

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
