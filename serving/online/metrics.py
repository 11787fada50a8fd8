"""What the worker and the append script have counted, for `/metrics`.

The hash `{p}:metrics`: `processed` and `landed_at`, `lag`, `late_landed` (the worker, as it lands), `late` (the append
script). `processed` is the lake's own count and exact; a process that is killed may have left its last few out of the
others.
"""

from dataclasses import dataclass
from typing import Any

import redis
import redis.asyncio

from serving.online.connection import store_errors
from serving.online.keys import Keys


@dataclass(frozen=True, slots=True)
class WorkerMetrics:
    """Numbers of one project's log and worker; instants are epoch milliseconds on the project's clock.

    Attributes:
        buffered: records in the log that have not landed (`cdp_events_buffered`).
        waiting_late: events in the late lane.
        processed: events in the lake (`cdp_events_processed`).
        late: events that ever took the late lane; with `late_landed`, those that landed after the grace period, this is
            `cdp_events_late`. An event of the late lane that was no duplicate is in both.
        cut: the announced cut; None before the first.
        landed_at_ms: when events landed last; None before that.
        lag_ms: how long the oldest event of that landing had waited; None before that.
        oldest_at_ms: when the oldest record that has not landed was appended; None when all have.
    """

    buffered: int
    waiting_late: int
    processed: int
    late: int
    late_landed: int
    cut: int | None
    landed_at_ms: int | None
    lag_ms: int | None
    oldest_at_ms: int | None

    def landing_lag_ms(self, now_ms: int) -> int:
        """How long the oldest record that has not landed has waited; 0 when all have.

        Args:
            now_ms: the project's.
        """
        return 0 if self.oldest_at_ms is None else max(0, now_ms - self.oldest_at_ms)


def note_landing(client: redis.Redis, project: str, processed: int, late: int, landed_at_ms: int, lag_ms: int) -> None:
    """Events have landed.

    Args:
        processed: events in the lake by now; `late` of those that landed came after the grace period.
    """
    key = Keys(project).metrics
    with store_errors(), client.pipeline(transaction=True) as pipeline:
        pipeline.hset(key, mapping={"processed": processed, "landed_at": landed_at_ms, "lag": lag_ms})
        pipeline.hincrby(key, "late_landed", late)
        pipeline.execute()


def worker_metrics(client: redis.Redis, project: str) -> WorkerMetrics:
    """The numbers as they are now."""
    with store_errors(), client.pipeline(transaction=True) as pipeline:
        _ask(pipeline, Keys(project))
        return _metrics(*pipeline.execute())


async def read_worker_metrics(client: redis.asyncio.Redis, project: str) -> WorkerMetrics:
    """The same, without blocking."""
    with store_errors():
        async with client.pipeline(transaction=True) as pipeline:
            _ask(pipeline, Keys(project))
            return _metrics(*await pipeline.execute())


def _ask(pipeline: Any, keys: Keys) -> None:
    pipeline.xlen(keys.log)
    pipeline.xlen(keys.late)
    pipeline.get(keys.cut)
    pipeline.hgetall(keys.metrics)
    pipeline.xrange(keys.log, count=1)


def _metrics(
    buffered: int, late: int, cut: str | None, counted: dict[str, str], first: list[tuple[str, dict[str, str]]]
) -> WorkerMetrics:
    return WorkerMetrics(
        buffered,
        late,
        int(counted.get("processed", 0)),
        int(counted.get("late", 0)),
        int(counted.get("late_landed", 0)),
        None if cut is None else int(cut),
        int(counted["landed_at"]) if "landed_at" in counted else None,
        int(counted["lag"]) if "lag" in counted else None,
        int(first[0][1].get("at", 0)) if first else None,
    )
