"""What this process counts, as Prometheus reads it."""

import math
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, cast

from fastapi import Request
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.metrics_core import CounterMetricFamily
from prometheus_client.registry import Collector

from serving.decide import Counts
from serving.ingest.intake import Taken
from serving.online.metrics import WorkerMetrics

_SECONDS: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)


# When a counter began is of no use to who reads it, and doubles the page.
disable_created_metrics()  # type: ignore[no-untyped-call]  # the library has no types there


class Metrics:
    """What this process counts, and gauges of the project that are read when they are asked for."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._accepted = self._counter("accepted", "Events that are durable; each once.", "route")
        self._duplicates = self._counter("dedup_hits", "Events that had been accepted before.", "route")
        self._lane = self._counter(
            "late_lane", "Events older than the dedup window, which wait to be looked up.", "route"
        )
        self._dead = self._counter("dead", "Events that were not accepted, kept as dead letters.", "route", "reason")
        self._requests = Histogram(
            "cdp_http_request_seconds",
            "Time from a request's head to its answer.",
            ("route", "status"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._by_answer: dict[tuple[str, int], Histogram] = {}
        self._buffered = self._gauge("cdp_events_buffered", "Records of the log that have not landed.")
        self._waiting = self._gauge("cdp_events_waiting_late", "Events in the late lane.")
        self._processed = self._gauge("cdp_events_processed", "Events in the lake.")
        self._late = self._gauge(
            "cdp_events_late", "Events that came later than the grace period, or took the late lane."
        )
        self._cut = self._gauge("cdp_landed_seq", "The announced cut.")
        self._lag = self._gauge("cdp_landing_lag_seconds", "How long the oldest record that has not landed has waited.")
        self._snapshot_age = self._gauge("cdp_snapshot_age_seconds", "Since the instant of the newest publication.")

    @staticmethod
    def of(request: Request) -> "Metrics":
        """The metrics of the app that serves this request."""
        return cast("Metrics", request.app.state.metrics)

    def count(self, route: str, taken: Iterable[Taken]) -> None:
        """Events have come in by a route."""
        for code, count in Tally(each.code for each in taken).items():
            match code:
                case "accepted":
                    self._accepted.labels(route).inc(count)
                case "duplicate":
                    self._duplicates.labels(route).inc(count)
                case "late":
                    self._lane.labels(route).inc(count)
                case _:
                    self._dead.labels(route, code).inc(count)

    def show_decisions(self, counts: Counts, is_watching: Callable[[], bool]) -> None:
        """Show what is decided, too.

        Args:
            is_watching: whether the store tells this process of changes; while it does not, nothing is kept.
        """
        self.registry.register(_Decided(counts))
        watched = self._gauge("cdp_decide_keeps", "1 while the store tells of changes, so that answers may be kept.")
        watched.set_function(lambda: float(is_watching()))

    def observe(self, route: str, status: int, seconds: float) -> None:
        """A request was answered."""
        held = self._by_answer.get((route, status))
        if held is None:
            held = self._by_answer[route, status] = self._requests.labels(route, str(status))
        held.observe(seconds)

    def page(self, worker: WorkerMetrics, now_ms: int, snapshot_age_ms: int | None) -> bytes:
        """The text that Prometheus reads.

        Args:
            worker: the project's log and worker, as they are now.
            now_ms: the project's.
            snapshot_age_ms: None when nothing was ever published.
        """
        self._buffered.set(worker.buffered)
        self._waiting.set(worker.waiting_late)
        self._processed.set(worker.processed)
        self._late.set(worker.late + worker.late_landed)
        self._cut.set(worker.cut or 0)
        self._lag.set(worker.landing_lag_ms(now_ms) / 1_000)
        self._snapshot_age.set(math.nan if snapshot_age_ms is None else snapshot_age_ms / 1_000)
        return generate_latest(self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"cdp_events_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(name, text, registry=self.registry)


class _Decided(Collector):
    """The counts of decisions as Prometheus reads them."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts

    def collect(self) -> Iterator[CounterMetricFamily]:
        counts = self._counts
        yield self._of("cdp_decisions", "Decisions that were computed.", "reason", counts.decided)
        yield self._of("cdp_decisions_degraded", "Questions answered without the store.", "why", counts.troubled)
        yield self._one("cdp_decisions_kept", "Answers given again as they were.", counts.kept)
        yield self._one("cdp_exposures_logged", "Exposures that this process has sent to the log.", counts.exposed)
        yield self._one("cdp_exposures_failed", "Exposures that the store did not take.", counts.unexposed)

    def _of(self, name: str, text: str, label: str, counted: Mapping[str, int]) -> CounterMetricFamily:
        family = CounterMetricFamily(name, text, labels=[label])
        for value, count in counted.items():
            family.add_metric([value], count)
        return family

    def _one(self, name: str, text: str, count: int) -> CounterMetricFamily:
        return CounterMetricFamily(name, text, value=count)
