"""The worker: lands what was appended, announces the cut, empties the late lane, folds the busiest sources."""

import threading
import time
from dataclasses import dataclass, field

import redis
import structlog

from dsl.catalog import Catalog
from dsl.check import check_catalog
from dsl.failure import Failure
from serving.online.append import RULES, AppendRules
from serving.online.chunks import ChunkFolding
from serving.online.fold import Fold
from serving.online.log import late_waiting
from serving.online.reading import current_catalog, current_version
from serving.worker.landing import GRACE_PERIOD_MS, LogLanding, land_log
from serving.worker.late import take_late
from warehouse.records import Project
from warehouse.registry import Registry
from warehouse.settings import Home, Settings

TICK_S = 1.0
"""Seconds between two looks at the log."""
_LATE_REST = 9
"""How many times as long as a look through the lake took nobody looks again: it is a tenth of the time at most."""
_log = structlog.get_logger("tinycdp.worker")


@dataclass(slots=True)
class Worker:
    """One project's worker; several may run, of which one at a time lands.

    Attributes:
        grace_period_ms: events that come later than this after they happened are counted as late.
    """

    client: redis.Redis
    home: Home
    registry: Registry
    project: Project
    rules: AppendRules = RULES
    grace_period_ms: int = GRACE_PERIOD_MS
    _folding: ChunkFolding | None = field(default=None, init=False)
    _late_from_s: float = field(default=0.0, init=False)

    @classmethod
    def of(cls, settings: Settings, client: redis.Redis, registry: Registry, project: Project) -> "Worker":
        """A worker as the settings want it."""
        rules = AppendRules(settings.dedup_ttl_ms, settings.max_log)
        return cls(client, settings.home, registry, project, rules, settings.grace_period_ms)

    def run(self, stop: threading.Event, tick_s: float = TICK_S) -> None:
        """Go on until `stop` is set; what fails is logged and tried again at the next tick."""
        while not stop.is_set():
            try:
                landing = self.tick()
            except Failure as error:
                _log.error("tick_failed", error_type=type(error).__name__, detail=str(error))
            else:
                if landing.events:
                    _log.info("landed", events=landing.events, cut=landing.cut)
            stop.wait(tick_s)

    def tick(self) -> LogLanding:
        """Land everything that is in the log by now, and take events of the late lane."""
        landing = self._land()
        folding = self._current_folding() if landing.sources else None
        if folding is not None:
            folding.fold_hot(landing.sources, landing.cut)
        return landing

    def _land(self) -> LogLanding:
        given = self.client, self.home, self.registry, self.project
        begin_s = time.monotonic()
        if begin_s < self._late_from_s or not late_waiting(self.client, self.project.key):
            return land_log(*given, self.grace_period_ms)
        taken = take_late(*given, self.rules, self.grace_period_ms)
        _log.info("late", appended=taken.appended, duplicates=taken.duplicates, refused=taken.refused)
        end_s = time.monotonic()
        self._late_from_s = end_s + _LATE_REST * (end_s - begin_s)
        return taken.landing

    def _current_folding(self) -> ChunkFolding | None:
        """For the catalog that decisions use; None before the first was published."""
        version = current_version(self.client, self.project.key)
        if version is None or (self._folding is not None and self._folding.version == version):
            return self._folding
        document = current_catalog(self.client, self.project.key)
        if document is not None:
            fold = Fold(check_catalog(Catalog.from_document(document)))
            self._folding = ChunkFolding(self.client, self.project.key, version, fold)
        return self._folding
