"""Whatever happens, and whatever is killed when: decisions and tables are what the accepted events say.

Steps are drawn at random over a real Valkey and a real DuckDB. After each of them everybody is asked, and the answer,
its instant, its `seq` and its profile are those that are counted from all accepted events, given the replay of the log.
"""

import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import polars as pl
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from dsl.bases import together
from dsl.catalog import Catalog, Segment, Trait
from dsl.clock import Zone
from dsl.evaluate import Evaluation
from dsl.event import Event, Kind
from dsl.identifiers import profile_id
from dsl.identity import Identities
from dsl.identity_records import Mention
from dsl.recount import count_again
from dsl.windows import read_window
from pipelines.rebuild import forget_online
from serving.online import (
    Item,
    OlderPublicationError,
    Publication,
    Snapshot,
    append,
    connect,
    delete_project,
    reserve_seq,
    unmerge,
)
from serving.worker.loop import Worker
from tests.both_sides.plant import open_plant
from tests.differential.tables import in_table, of_table
from warehouse.attributes import json_text
from warehouse.landing import land
from warehouse.online_bases import packed_sources
from warehouse.refresh import Refresh

ZONE = Zone("America/New_York")
USERS, VISITORS = ("user:ann", "user:bob", "user:cem"), ("anon:1", "anon:2", "device:d")
EVERYBODY = (*USERS, *VISITORS, "email:nobody")
WINDOWS = ("90s", "30m", "24h", "7d")
MINUTE_MS = 60_000
CATALOGS = (
    Catalog(
        traits=(
            Trait("buys", "events.buy.count_30m"),
            Trait("spend", "events.buy.sum_24h(amount)"),
            Trait("ever", "events.buy.sum(amount)"),
            Trait("label", "events.buy.last(label)", type="string"),
            Trait("days", "events.*.unique_days_2d"),
            Trait("plan", "profile.plan", type="string"),
        ),
        segments=(
            Segment("busy", "buys >= 2 && last_seen_minutes_ago < 30"),
            Segment("gold", 'plan == "gold" || spend > 3'),
        ),
    ),
    Catalog(
        traits=(
            Trait("buys", "events.buy.count_7d"),
            Trait("large", "events.buy[amount > 1].count_90s"),
            Trait("labels", "events.buy.unique_list_24h(label)"),
            Trait("middle", "events.buy.median_7d(amount)"),
            Trait("gap", "events.*.longest_gap_minutes_30m"),
        ),
        segments=(Segment("away", "gap >= 5 || last_seen_hours_ago >= 1"), Segment("many", "buys >= 3")),
    ),
    Catalog(traits=(Trait("ever", "events.buy.sum(amount)"),), segments=(Segment("rich", "ever >= 5"),)),
)
"""Versions of the definitions: they share some bases, at other grains too, and drop others."""
AMOUNTS = (1_000_000, 2_500_000, -1, None)


class Killed(BaseException):
    """A process that ends in the middle of something."""


def _killed(*_: object, **__: object) -> None:
    raise Killed


class Life(RuleBasedStateMachine):
    """A project, its worker, its refreshes, and everything that may happen to them."""

    url = ""

    @initialize()
    def begin(self) -> None:
        """The first definitions are published; nobody is known."""
        self.folder = Path(tempfile.mkdtemp())
        self.client = connect(self.url)
        self.plant = open_plant(
            self.client, self.folder / "home", f"life-{uuid4().hex[:12]}", time.time_ns() // 1_000_000, ZONE.name
        )
        self.events: dict[str, Event] = {}
        self.digests: dict[str, tuple[str, ...]] = {}
        self.identities = Identities()
        self.held: tuple[Snapshot, list[tuple[str, bytes]]] | None = None
        self.plant.define(CATALOGS[0])
        self.refresh()

    def teardown(self) -> None:
        """Nothing is left."""
        if hasattr(self, "plant"):
            delete_project(self.client, self.plant.project)
            self.plant.shop.registry.close()
            self.client.close()
            shutil.rmtree(self.folder)

    # -- events ------------------------------------------------------------------------------------------------------

    @rule(data=st.data(), who=st.sampled_from((*USERS, *VISITORS)), name=st.sampled_from(("buy", "buy", "other")))
    def send(self, data: st.DataObject, who: str, name: str) -> None:
        """Somebody does something, now or earlier, at an edge of a window or of a day."""
        weaker = data.draw(st.sampled_from(((), (), *((each,) for each in VISITORS)))) if who in USERS else ()
        self._send(self._event(who, name, data.draw(st.sampled_from(self._instants())), data), weaker)

    @rule(who=st.sampled_from((*USERS, *VISITORS)), plan=st.sampled_from(("gold", "free", None)), data=st.data())
    def identify(self, who: str, plan: str | None, data: st.DataObject) -> None:
        """Somebody's plan is set, or unset, perhaps by a write that comes late."""
        event = self._event(who, "identify", data.draw(st.sampled_from(self._instants())), data)
        self._send(replace(event, properties={"plan": plan}), ())

    @precondition(lambda self: self.digests)
    @rule(data=st.data())
    def send_again(self, data: st.DataObject) -> None:
        """The same event once more changes nothing; its id with another body is refused."""
        event_id = data.draw(st.sampled_from(sorted(self.digests)))
        event = self.events[event_id]
        (answer,) = self.plant.append([event], self.digests[event_id][1:])
        assert ("duplicate", event.seq) == (answer.code, answer.seq)
        other = Item(event_id, "{}", "another body", self.digests[event_id])
        # After the loss of the store nobody remembers the body.
        (answer,) = append(self.client, self.plant.project, [other], self.plant.now_ms)
        assert answer.code in ("id_conflict", "duplicate")

    @rule(data=st.data(), count=st.integers(3, 6))
    def send_many(self, data: st.DataObject, count: int) -> None:
        """One user is busy."""
        for _ in range(count):
            self._send(self._event("user:ann", "buy", self.plant.now_ms, data), ())

    @rule(data=st.data())
    def load(self, data: st.DataObject) -> None:
        """A bulk load, which ends with its publication."""
        events = [self._event(who, "buy", self.plant.now_ms - 1, data) for who in ("user:bob", "user:new")]
        rows = [
            {"event_id": e.event_id, "kind": e.kind, "name": e.name, "source_id": e.source_id, "ts_ms": e.ts_ms,
             "properties": json_text(e.properties)}
            for e in events
        ]  # fmt: skip
        landed = land(
            pl.DataFrame(rows),
            project=self.plant.shop.project,
            home=self.plant.shop.home,
            registry=self.plant.shop.registry,
            reserve=lambda count: reserve_seq(self.client, self.plant.project, count, 0),
            received_at_ms=self.plant.now_ms,
        )
        assert landed.seq_lo is not None
        for seq, event in enumerate(sorted(events, key=lambda e: (e.ts_ms, e.event_id)), landed.seq_lo):
            self._accept(event, seq, ())
            del self.digests[event.event_id]
        self.refresh()

    # -- who is who --------------------------------------------------------------------------------------------------

    @rule(one=st.sampled_from(USERS), other=st.sampled_from(VISITORS))
    def separate(self, one: str, other: str) -> None:
        """Two identifiers were never one profile."""
        seq = unmerge(self.client, self.plant.project, self.identities, one, other, self.plant.now_ms)
        assert seq in (None, self.identities.seq)

    # -- time and definitions ----------------------------------------------------------------------------------------

    @rule(data=st.data())
    def wait(self, data: st.DataObject) -> None:
        """Time goes on to just before, at, or just after an edge."""
        later = [ms for ms in self._edges() if ms > self.plant.now_ms]
        nearest = sorted(later)[:12] or [self.plant.now_ms + MINUTE_MS]
        self.plant.now_ms = max(self.plant.now_ms, data.draw(st.sampled_from(nearest)) + data.draw(st.integers(-1, 1)))

    @rule(number=st.integers(0, len(CATALOGS) - 1))
    def define(self, number: int) -> None:
        """Other definitions, or those of before: the next refresh publishes them."""
        self.plant.define(CATALOGS[number])

    # -- the worker and refreshes ------------------------------------------------------------------------------------

    @rule()
    def tick(self) -> None:
        """The worker lands, announces and folds."""
        self._worker().tick()

    @rule(place=st.sampled_from(("warehouse.registry.Registry.add_log", "serving.worker.landing.announce_cut")))
    def tick_killed(self, place: str) -> None:
        """The worker ends before the manifest, or between manifest and announcement."""
        with pytest.MonkeyPatch.context() as patch, suppress(Killed):
            patch.setattr(place, _killed)
            self._worker().tick()

    @rule()
    def refresh(self) -> None:
        """Everything, to the end; the tables are what the events say."""
        refresh = self.plant.refresh()
        self._check_tables(refresh)

    @rule()
    def refresh_killed_before_publication(self) -> None:
        """The tables are computed, nothing is published."""
        self.plant.land()
        with self.plant.bench() as bench:
            self.plant.compute(bench)

    @rule(written=st.integers(0, 3))
    def publication_killed(self, written: int) -> None:
        """Some sources are written, the catalog and the snapshot are not."""
        whole = Publication.bases

        def part(self: Publication, sources: Iterator[tuple[str, bytes]], progress: Any = None) -> int:
            whole(self, [source for source, _ in zip(sources, range(written), strict=False)], progress)
            raise Killed

        self.plant.land()
        with self.plant.bench() as bench, pytest.MonkeyPatch.context() as patch, suppress(Killed):
            refresh = self.plant.compute(bench)
            patch.setattr(Publication, "bases", part)
            self.plant.publish(bench, refresh)

    @rule()
    def publisher_falls_asleep(self) -> None:
        """A publisher has computed everything, and writes it much later."""
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
        assert self.held is not None
        snapshot, packed = self.held
        try:
            Publication(self.client, self.plant.project, snapshot).bases(packed)
        except OlderPublicationError:
            self.held = None

    @rule()
    def lose_the_store(self) -> None:
        """Everything that landed comes back."""
        self.plant.land()
        delete_project(self.client, self.plant.project)
        assert 0 == forget_online(self.client, self.plant.shop.home, self.plant.shop.registry, self.plant.shop.project)
        self.held = None
        self.refresh()

    # -- what holds --------------------------------------------------------------------------------------------------

    @invariant()
    def decisions_are_what_the_events_say(self) -> None:
        """Of everybody, by every identifier."""
        checked, now_ms = self.plant.fold.checked, self.plant.now_ms
        for who in EVERYBODY:
            state, its_id = self.plant.ask(who), self.identities.profile_of(who)
            own = [event for event in self.events.values() if self._owner(event) == its_id is not None]
            t_ms = max([now_ms, *(event.ts_ms + 1 for event in own)])
            assert (its_id or profile_id(who), t_ms, self.identities.seq) == (
                state.profile_id,
                state.as_of_ms,
                state.as_of_seq,
            )
            counted = count_again(state.profile_id, own, checked, t_ms, state.as_of_seq, ZONE)
            assert _values(Evaluation(checked, counted)) == _values(Evaluation(checked, state)), who

    def _check_tables(self, refresh: Refresh) -> None:
        checked = self.plant.checked
        traits = [key for key in checked.order if checked.values[key].kind == "trait"]
        with self.plant.bench() as bench:
            rows = bench.rows(f"SELECT profile_id, {', '.join(traits)} FROM traits ORDER BY ALL")
            members = set(bench.rows("SELECT profile_id, segment FROM segment_members"))
        expected, holding = {}, set()
        for owner in {self._owner(event) for event in self.events.values()}:
            assert owner is not None
            own = [event for event in self.events.values() if self._owner(event) == owner]
            counted = Evaluation(checked, count_again(owner, own, checked, refresh.t_ms, refresh.cut, ZONE))
            expected[owner] = {key: in_table(counted.definition(key)) for key in traits}
            holding |= {(owner, key) for key in checked.order if key not in traits and counted.definition(key)}
        types = {key: checked.values[key].type for key in traits}
        found = {who: {k: of_table(v, types[k]) for k, v in zip(traits, row, strict=True)} for who, *row in rows}
        assert expected == found
        assert holding == members

    # -- pieces ------------------------------------------------------------------------------------------------------

    def _worker(self) -> Worker:
        return Worker(self.client, self.plant.shop.home, self.plant.shop.registry, self.plant.shop.project)

    def _owner(self, event: Event) -> str | None:
        return self.identities.profile_of(event.source_id)

    def _event(self, who: str, name: str, ts_ms: int, data: st.DataObject) -> Event:
        event_id = f"e{len(self.events)}-{uuid4().hex[:6]}"
        properties: dict[str, object] = {
            "amount": data.draw(st.sampled_from(AMOUNTS)),
            "label": data.draw(st.sampled_from(("a", "b"))),
        }
        kind: Kind = "identify" if name == "identify" else "track"
        return Event(event_id, 0, kind, name, who, ts_ms, ZONE.day(ts_ms), properties)

    def _send(self, event: Event, weaker: Sequence[str]) -> None:
        (answer,) = self.plant.append([event], weaker)
        assert "accepted" == answer.code
        assert answer.seq is not None
        self._accept(event, answer.seq, weaker)
        assert self.identities.profile_of(event.source_id) == answer.profile_id

    def _accept(self, event: Event, seq: int, weaker: Sequence[str]) -> None:
        self.events[event.event_id] = replace(event, seq=seq)
        self.digests[event.event_id] = (event.source_id, *weaker)
        self.identities.add(Mention(seq, (event.source_id, *weaker)))

    def _instants(self) -> list[int]:
        """Now, and instants before it at which a window, a hop or a day begins."""
        now_ms, found = self.plant.now_ms, {self.plant.now_ms}
        for text in WINDOWS:
            window = read_window(text)
            assert window is not None
            start = window.start_ms(now_ms)
            found |= {start - 1, start, start + 1, start + window.hop_ms}
        midnight = ZONE.start_ms(ZONE.day(now_ms))
        return sorted(ms for ms in {*found, midnight - 1, midnight, midnight + 1} if ms <= now_ms)

    def _edges(self) -> Iterator[int]:
        """Instants at which something changes by itself."""
        yield ZONE.start_ms(ZONE.day(self.plant.now_ms) + 1)
        for event in self.events.values():
            for text in WINDOWS:
                window = read_window(text)
                assert window is not None
                yield event.ts_ms // window.hop_ms * window.hop_ms + window.hop_ms + window.width_ms
            yield event.ts_ms + 30 * MINUTE_MS


def _values(evaluation: Evaluation) -> dict[str, object]:
    return {key: evaluation.definition(key) for key in evaluation.checked.values}


def test_life(valkey_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random lives; the seed is printed, `TINYCDP_TEST_SEED` lives them again."""
    seed = int(os.environ.get("TINYCDP_TEST_SEED", "1" if os.environ.get("CI") else str(random.randrange(2**32))))
    sys.stdout.write(f"TINYCDP_TEST_SEED={seed}\n")
    # A source is hot sooner, so that chunks are met.
    monkeypatch.setattr("serving.online.chunks.HOT", 2)
    monkeypatch.setattr(Life, "url", valkey_url)
    machine = seeded(seed)(Life)
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=8,
            stateful_step_count=25,
            deadline=None,
            database=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
