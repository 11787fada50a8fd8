"""One person with 1,000 events a minute: what looking them up and deciding costs, minute after minute.

With the worker, which folds what has landed into a chunk, and with landing alone, where every event since the last
publication stays fresh. The clock of the events is simulated; the server and the files are real.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from rich.console import Console

from benchmarks.fold import catalog_of, decide, records
from benchmarks.machine import load_line, this_machine
from benchmarks.report import figures_table, keep
from benchmarks.shop import PROJECT
from benchmarks.steps import Line, line_of
from dsl.clock import DAY_MS
from serving.online import Fold, Item, append, look_up
from serving.worker.landing import land_log
from serving.worker.loop import Worker
from warehouse.settings import Settings

CHUNKS: Final = "worker, with chunks"
LANDING: Final = "landing alone"
BATCH: Final = 100
A_MINUTE: Final = 1_000
ASKED: Final = 10
"""Decisions a measurement, of which the median counts."""
BEGIN_MS: Final = 1_700_000_000_000
_SOURCE: Final = "user:hot"
_AGGREGATES: Final = 5


@dataclass(frozen=True, slots=True)
class Run:
    """One measurement, at the end of a minute.

    Attributes:
        fresh: events that the decision folds one by one.
        look_up_us: microseconds of the look into the store; `decide_us` of state and segments; medians.
        worst_us: of both together.
    """

    contestant: str
    minute: int
    fresh: int
    look_up_us: float
    decide_us: float
    worst_us: float


def minutes(line: Line, contestant: str, count: int) -> Iterator[Run]:
    """Ten batches a minute, a tick of the worker after each; measured before the first and after each minute."""
    fold = Fold(line.checked)
    worker = Worker(line.client, line.home, line.registry, line.project)
    _send(line, 0, 58, BEGIN_MS - 58 * DAY_MS, BEGIN_MS - DAY_MS)
    land_log(line.client, line.home, line.registry, line.project)
    line.refresh(BEGIN_MS)
    yield _ask(line, fold, contestant, 0)
    for minute in range(count):
        for batch in range(A_MINUTE // BATCH):
            number = minute * A_MINUTE + batch * BATCH
            first_ms = BEGIN_MS + number * 60_000 // A_MINUTE
            _send(line, 58 + number, BATCH, first_ms, first_ms + BATCH * 60_000 // A_MINUTE)
            if contestant == CHUNKS:
                worker.tick()
            else:
                land_log(line.client, line.home, line.registry, line.project)
        yield _ask(line, fold, contestant, minute + 1)


def _send(line: Line, number: int, count: int, first_ms: int, last_ms: int) -> None:
    items = [
        Item(f"hot-{number}-{seq}", record.decode(), f"{number}-{seq}", (_SOURCE,))
        for seq, record in records(count, first_ms, last_ms, number + 1)
    ]
    append(line.client, PROJECT, items, last_ms)


def _ask(line: Line, fold: Fold, contestant: str, minute: int) -> Run:
    looks, decisions, now_ms = [], [], BEGIN_MS + minute * 60_000
    for _ in range(ASKED):
        begin = time.perf_counter()
        reading = look_up(line.client, PROJECT, _SOURCE)
        between = time.perf_counter()
        decide(fold, reading, now_ms)
        looks.append((between - begin) * 1e6)
        decisions.append((time.perf_counter() - between) * 1e6)
    fresh = sum(len(source.fresh) for source in reading.sources)
    worst = max(look + decision for look, decision in zip(looks, decisions, strict=True))
    return Run(contestant, minute, fresh, median(looks), median(decisions), worst)


def rows(runs: Sequence[Run]) -> list[list[str]]:
    """A line a minute: fresh events and microseconds of both."""
    found = []
    for minute in dict.fromkeys(run.minute for run in runs):
        line = [f"minute {minute}"]
        for name in (CHUNKS, LANDING):
            own = [run for run in runs if (run.contestant, run.minute) == (name, minute)]
            look, decision = median(run.look_up_us for run in own), median(run.decide_us for run in own)
            figures = (median(run.fresh for run in own), look, decision, look + decision)
            line += [f"{figure:,.0f}" for figure in figures]
        found.append(line)
    return found


def measure(bench: Path, rounds: int, count: int) -> list[Run]:
    """Both contestants in turns, each time in a home of its own."""
    runs: list[Run] = []
    for _ in range(rounds):
        for name in (CHUNKS, LANDING):
            with line_of(None, catalog_of(_AGGREGATES), bench) as line:
                runs += minutes(line, name, count)
    return runs


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description="Decisions about one person with 1,000 events a minute.")
    parser.add_argument("--rounds", type=int, default=5, help="of which medians are shown")
    parser.add_argument("--minutes", type=int, default=10, help="of events")
    options = parser.parse_args()
    bench, console = Settings.read().home.path / "bench", Console(width=140)
    bench.mkdir(parents=True, exist_ok=True)
    with console.status("measuring"):
        runs = measure(bench, options.rounds, options.minutes)
    console.print(f"python -m benchmarks.hot_user\n{this_machine()}\n{load_line()}", highlight=False)
    asked = ("fresh", "look_up us", "decide us", "both us")
    titles = ("", *(f"{CHUNKS}: {asked[0]}", *asked[1:]), *(f"{LANDING}: {asked[0]}", *asked[1:]))
    console.print(figures_table(titles, rows(runs)))
    kept = keep(bench, "hot_user", {"aggregates": _AGGREGATES, "events_a_minute": A_MINUTE}, runs)
    console.print(f"raw timings: {kept}", soft_wrap=True, highlight=False)


if __name__ == "__main__":
    main()
