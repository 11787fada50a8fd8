"""The worker: lands what was appended, announces the cut, folds the sources that were busiest."""

import threading
from dataclasses import dataclass, field

import redis
import structlog

from dsl.catalog import Catalog
from dsl.check import check_catalog
from dsl.failure import Failure
from serving.online.chunks import ChunkFolding
from serving.online.fold import Fold
from serving.online.reading import current_catalog, current_version
from serving.worker.landing import LogLanding, land_log
from warehouse.records import Project
from warehouse.registry import Registry
from warehouse.settings import Home

TICK_S = 1.0
"""Seconds between two looks at the log."""
_log = structlog.get_logger("tinycdp.worker")


@dataclass(slots=True)
class Worker:
    """One project's worker; several may run, of which one at a time lands."""

    client: redis.Redis
    home: Home
    registry: Registry
    project: Project
    _folding: ChunkFolding | None = field(default=None, init=False)

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
        """Land everything that is in the log by now."""
        landing = land_log(self.client, self.home, self.registry, self.project)
        folding = self._current_folding() if landing.sources else None
        if folding is not None:
            folding.fold_hot(landing.sources, landing.cut)
        return landing

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
