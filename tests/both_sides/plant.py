"""A whole TinyCDP without Dagster: append, land, refresh, publish, compact, ask; each step by itself."""

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import redis

from dsl.catalog import Catalog
from dsl.check import CheckedCatalog, check_catalog
from dsl.event import Event
from dsl.event_record import EventRecord, write_record
from dsl.state import State
from pipelines.publication import Published, publish
from serving.online import Answer, Fold, Item, Snapshot, append, look_up
from serving.online.append import RULES
from serving.online.log import read_log
from serving.online.project import publish_calendar
from serving.worker.landing import LogLanding, land_log
from serving.worker.loop import Worker
from tests.warehouse.bench import Bench
from tests.warehouse.small_shop import SmallShop, open_shop
from warehouse.analytics import publish_analytics
from warehouse.attributes import json_text
from warehouse.compaction import Compaction, compact, finished_cut
from warehouse.database import connect
from warehouse.log_view import WholeLog, open_whole_log
from warehouse.refresh import Refresh, finish_refresh, open_project
from warehouse.values import build_values


@dataclass(slots=True)
class Plant:
    """A project of one home and one store.

    Attributes:
        now_ms: the instant at which its clock stands, for whoever asks here; for processes of their own, and for the
            worker, it runs on from where it was put (`running_ms`).
        checked: the definitions of the next refresh; `fold` those of the last publication.
    """

    client: redis.Redis
    shop: SmallShop
    now_ms: int
    checked: CheckedCatalog = field(default_factory=lambda: check_catalog(Catalog()))
    fold: Fold = field(default_factory=lambda: Fold(check_catalog(Catalog())))
    version: int = 0

    @property
    def project(self) -> str:
        """Its key."""
        return self.shop.project.key

    @property
    def running_ms(self) -> int:
        """The project's time by the clock that runs."""
        return self.shop.project.clock.now_ms()

    def put_clock(self, now_ms: int) -> None:
        """It is so late now, for everybody."""
        self.now_ms, offset_ms = now_ms, time.time_ns() // 1_000_000 - now_ms
        self.shop = replace(self.shop, project=replace(self.shop.project, clock_offset_ms=offset_ms))
        self.tell_clock()

    def tell_clock(self) -> None:
        """Tell the online store the project's zone and clock."""
        project = self.shop.project
        publish_calendar(self.client, project.key, project.timezone, project.clock_offset_ms)

    def define(self, catalog: Catalog) -> None:
        """Other definitions, from the next refresh on."""
        catalog = replace(catalog, timezone=self.shop.project.timezone)
        self.version += 1
        self.checked = self.shop.define(catalog)

    def append(self, events: Sequence[Event], weaker: Sequence[str] = (), previous: str | None = None) -> list[Answer]:
        """Append events as a sender would, old ones to the late lane; `seq` is theirs from the answer.

        Args:
            weaker: identifiers that each of them names beside its source.
            previous: what an alias names without a kind.
        """
        items = [
            Item(
                event.event_id,
                write_record(self._record(event)),
                event.event_id,
                (event.source_id, *weaker),
                previous,
                RULES.is_late(event.ts_ms, self.now_ms),
            )
            for event in events
        ]
        return append(self.client, self.project, items, self.now_ms)

    def _record(self, event: Event) -> EventRecord:
        texts = json_text(event.properties), json_text(event.context)
        return EventRecord(event.event_id, event.kind, event.name, event.ts_ms, self.now_ms, event.local_day, *texts)

    def worker(self) -> Worker:
        """One that has just been started."""
        return Worker(self.client, self.shop.home, self.shop.registry, self.shop.project)

    def land(self) -> LogLanding:
        """What the worker does first."""
        return land_log(self.client, self.shop.home, self.shop.registry, self.shop.project)

    def log(self) -> AbstractContextManager[WholeLog]:
        """All of it, also what has not landed."""
        read = partial(read_log, self.client, self.project)
        return open_whole_log(self.shop.home, self.shop.registry, self.project, read)

    @contextmanager
    def bench(self) -> Iterator[Bench]:
        """The warehouse, open."""
        with connect(self.shop.home.warehouse) as connection:
            open_project(connection, self.project)
            yield Bench(self.shop, connection)

    def compute(self, bench: Bench) -> Refresh:
        """All tables at the newest cut."""
        refresh = bench.begin(self.checked, self.now_ms, self.fold.checked)
        build_values(bench.connection, self.checked, self.checked.order, refresh)
        finish_refresh(bench.connection, refresh, self.now_ms)
        return replace(refresh, catalog_version=self.version)

    def publish(self, bench: Bench, refresh: Refresh) -> Published:
        """What was computed, into the online store and the analysts' file."""
        found = publish(
            bench.connection,
            self.client,
            self.project,
            self.snapshot(refresh),
            self.checked,
            refresh,
            before=self.fold.checked,
            log=self.log,
        )
        self.fold = Fold(self.checked)
        publish_analytics(bench.connection, self.shop.home.analytics)
        return found

    def snapshot(self, refresh: Refresh) -> Snapshot:
        """What the publication of a refresh is of."""
        project = self.shop.project
        return Snapshot(refresh.cut, refresh.t_ms, self.version, project.clock_offset_ms, project.timezone)

    def refresh(self) -> Refresh:
        """Land, compute, publish."""
        self.land()
        with self.bench() as bench:
            refresh = self.compute(bench)
            self.publish(bench, refresh)
            return refresh

    def compact(self) -> Compaction:
        """Merge the files of each day that the last finished refresh has seen, and sweep what nobody reads."""
        with self.bench() as bench:
            cut = finished_cut(bench.connection)
        return compact(self.shop.home, self.shop.registry, self.shop.project, cut, self.now_ms, fewest=2)

    def ask(self, who: str) -> State:
        """What a decision sees of somebody now."""
        return self.fold.state(look_up(self.client, self.project, who), self.now_ms)


def open_plant(
    client: redis.Redis, folder: Path, project: str, now_ms: int, timezone: str = "America/New_York"
) -> Plant:
    """An empty one, in which it is `now_ms`."""
    shop = open_shop(folder, timezone, project)
    its_own = replace(shop.project, clock_offset_ms=time.time_ns() // 1_000_000 - now_ms)
    return Plant(client, replace(shop, project=its_own), now_ms)
