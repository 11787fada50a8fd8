"""A refresh without Dagster, step by step, each timed: what the assets do, in their order."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import redis

from benchmarks.shop import PROJECT, project_of
from dsl.check import CheckedCatalog
from pipelines.publication import publish
from serving.online import Snapshot, connect, embedded
from warehouse.aggregates import build_aggregates
from warehouse.database import Connection
from warehouse.database import connect as open_warehouse
from warehouse.identities import update_identities
from warehouse.profiles import update_profiles
from warehouse.records import Project
from warehouse.refresh import Refresh, begin_refresh, finish_refresh
from warehouse.registry import Registry
from warehouse.settings import Home, Settings
from warehouse.sources import update_sources
from warehouse.tiles import update_tiles
from warehouse.values import align_values, build_values


@dataclass(slots=True)
class Line:
    """A home that is refreshed, with its warehouse and its online store open.

    Attributes:
        seconds: of each step that was timed last.
    """

    home: Home
    registry: Registry
    project: Project
    connection: Connection
    client: redis.Redis
    checked: CheckedCatalog
    seconds: dict[str, float] = field(default_factory=dict)

    def refresh(self, now_ms: int) -> Refresh:
        """All tables at the newest cut, published."""
        refresh = self.compute(now_ms)
        with self.timed("publication"):
            self.publish(refresh)
        return refresh

    def compute(self, now_ms: int) -> Refresh:
        """All tables at the newest cut."""
        connection, checked, lake = self.connection, self.checked, self.home.lake
        with self.timed("begin"):
            refresh = begin_refresh(connection, self.registry, self.project, lake, checked, 1, now_ms)
            files = partial(self.registry.files, PROJECT, refresh.cut)
            records = self.registry.identity_records(PROJECT)
        with self.timed("sources, identities"):
            update_sources(connection, refresh, files, lake)
            update_identities(connection, refresh, files, lake, records)
        with self.timed("tiles"):
            update_tiles(connection, checked, refresh, files, lake)
        with self.timed("profiles"):
            update_profiles(connection, checked, refresh)
        with self.timed("aggregates"):
            build_aggregates(connection, checked, refresh)
        with self.timed("values"):
            align_values(connection, checked, refresh)
            build_values(connection, checked, checked.order, refresh)
        with self.timed("finish"):
            finish_refresh(connection, refresh, now_ms)
        return refresh

    def publish(self, refresh: Refresh) -> None:
        """What is computed, into the online store."""
        snapshot = Snapshot(refresh.cut, refresh.t_ms, 1, 0, self.project.timezone)
        publish(self.connection, self.client, PROJECT, snapshot, self.checked, refresh)

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Notes how long the block takes."""
        begin = time.perf_counter()
        yield
        self.seconds[step] = time.perf_counter() - begin


@contextmanager
def line_of(landed: Path | None, checked: CheckedCatalog, bench: Path) -> Iterator[Line]:
    """A home of its own with the data of another one, nothing computed, and an empty online store; gone afterwards.

    Args:
        landed: the home with the data, None for no data; it is not changed. Files of a lake
            never are: they are linked, not copied.
        bench: where the home is made; on the disk of `landed`.
    """
    with tempfile.TemporaryDirectory(dir=bench) as folder:
        settings = Settings(Home(Path(folder)))
        home = settings.home
        if landed is not None:
            shutil.copytree(Home(landed).lake, home.lake, copy_function=os.link)
            shutil.copy(Home(landed).registry, home.registry)
        client = connect(embedded.start(home.valkey))
        try:
            with Registry(settings.registry_url) as registry, open_warehouse(home.warehouse) as connection:
                yield Line(home, registry, project_of(registry), connection, client, checked)
        finally:
            client.close()
            embedded.stop(home.valkey)
