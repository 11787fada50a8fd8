"""A refresh after a few new events, against one that computes everything from nothing.

Ten copies of the shop: everything from nothing, then one per cent more events, of 24 % of the profiles, then no event.
After that the same events after 1, 4 and 16 years of the same households: what a refresh costs must not grow with the
history. The instant of the question is the same everywhere.
"""

import argparse
import os
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

import polars as pl
from rich.console import Console

from benchmarks.machine import load_line, this_machine
from benchmarks.report import figures_table, keep
from benchmarks.shop import land_copies, land_more, land_years, shop_catalog
from benchmarks.steps import Line, line_of
from examples.shop.journey import END_OF_DATA_MS
from warehouse.columns import count
from warehouse.settings import Settings

COPIES: Final = 10
YEARS: Final = (1, 4, 16)
DELTA_ROUNDS: Final = 5
TOUCHED: Final = 0.24
"""Share of the sources that have a new event."""
MORE: Final = 0.01
"""New events, as a share of those of the ten copies, or of one year."""
STEPS: Final = (
    "land",
    "begin",
    "sources, identities",
    "tiles",
    "profiles",
    "aggregates",
    "values",
    "finish",
    "publication",
)
WHOLE: Final = "from nothing"
DELTA: Final = "+1 % events"
IDLE: Final = "no event"
_DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class Run:
    """One refresh.

    Attributes:
        history: what lay in the lake before.
        events: of them; `new` those that landed for this refresh.
        seconds: of each step.
        processor: seconds of processor time of all steps but landing; the online store's own are not in it.
    """

    history: str
    case: str
    events: int
    new: int
    seconds: dict[str, float]
    processor: float

    @property
    def total(self) -> float:
        """Seconds of all steps but landing, which is the same in all histories and of no refresh."""
        return sum(seconds for step, seconds in self.seconds.items() if step != "land")


def refreshes(line: Line, history: str, new: int, rounds: int) -> Iterator[Run]:
    """From nothing once; then with new events and without, in turns.

    Args:
        new: events of each turn.
    """
    now_ms = END_OF_DATA_MS
    used = _refresh(line, now_ms)
    events = count(line.connection, "SELECT count(*) FROM events")
    yield Run(history, WHOLE, events, events, line.seconds, used)
    for number in range(rounds):
        line.seconds = {}
        with line.timed("land"):
            land_more(_delta(line, number, new, now_ms), line.project, line.home, line.registry, now_ms)
        _settle()
        used = _refresh(line, now_ms)
        yield Run(history, DELTA, events + number * new, new, line.seconds, used)
        line.seconds = {}
        used = _refresh(line, now_ms)
        yield Run(history, IDLE, events + (number + 1) * new, 0, line.seconds, used)


def _settle() -> None:
    """Landing has read all ids, which are more with more history; what it left to be written is none of a refresh."""
    os.sync()
    time.sleep(1)


def _refresh(line: Line, now_ms: int) -> float:
    """A refresh; the processor time that it took, in seconds."""
    begin = time.process_time()
    line.refresh(now_ms)
    return time.process_time() - begin


def _delta(line: Line, number: int, new: int, now_ms: int) -> pl.DataFrame:
    """Purchases of the last hours of 24 % of the sources."""
    known = line.connection.execute("SELECT source_id FROM sources ORDER BY source_id").fetchall()
    pick = random.Random(number)  # noqa: S311  # made-up data, the same in each run
    chosen = pick.sample([source_id for (source_id,) in known], round(TOUCHED * len(known)))
    return pl.DataFrame(
        {
            "event_id": [f"new-{number}-{each}" for each in range(new)],
            "kind": "track",
            "name": "purchase",
            "source_id": [chosen[each % len(chosen)] for each in range(new)],
            "ts_ms": [now_ms - 1 - pick.randrange(_DAY_MS // 4) for _ in range(new)],
            "n_amount": [pick.randrange(50) * 1_000_000 for _ in range(new)],
            "s_department": [pick.choice(("GROCERY", "FUEL", "PRODUCE")) for _ in range(new)],
        }
    )


def steps_rows(runs: Sequence[Run], history: str) -> list[list[str]]:
    """Seconds of each step (medians), a line a case, and how often it fits into everything from nothing."""
    found = []
    whole = _median_total(runs, history, WHOLE)
    for case in (WHOLE, DELTA, IDLE):
        own = [run for run in runs if (run.history, run.case) == (history, case)]
        if own:
            steps = [median(run.seconds.get(step, 0.0) for run in own) for step in STEPS]
            total = _median_total(runs, history, case)
            found.append([case, *(f"{each:.2f}" for each in steps), f"{total:.2f}", f"{total / whole:.3f}"])
    return found


def growth_rows(runs: Sequence[Run], years: Sequence[int]) -> list[list[str]]:
    """A line a history: seconds of the refresh with new events, least and most, and its growth since the shortest.

    Then the same of processor time, with new events and without.
    """
    found: list[list[str]] = []
    first, first_used = 0.0, 0.0
    for name in (_years(each) for each in years):
        totals = [run.total for run in runs if (run.history, run.case) == (name, DELTA)]
        events = next(run.events for run in runs if run.history == name)
        used = [
            median(run.processor for run in runs if (run.history, run.case) == (name, case)) for case in (DELTA, IDLE)
        ]
        first, first_used = first or median(totals), first_used or used[0]
        idle, whole = (_median_total(runs, name, case) for case in (IDLE, WHOLE))
        times = [f"{each:.2f}" for each in (median(totals), min(totals), max(totals), idle, whole)]
        found.append([name, f"{events:,}", *times, f"{median(totals) / first - 1:+.0%}"])
        found[-1] += [*(f"{each:.2f}" for each in used), f"{used[0] / first_used - 1:+.0%}"]
    return found


def _median_total(runs: Sequence[Run], history: str, case: str) -> float:
    return median(run.total for run in runs if (run.history, run.case) == (history, case))


def _years(years: int) -> str:
    return f"{years} {'year' if years == 1 else 'years'}"


def measure_copies(bench: Path, rounds: int) -> list[Run]:
    """The ten copies."""
    land_copies(bench / "home_of_copies", COPIES)
    with line_of(bench / "home_of_copies", shop_catalog(), bench) as line:
        return list(refreshes(line, "copies", round(MORE * COPIES * 1_478_799), rounds))


def measure_years(bench: Path, rounds: int, years: int) -> list[Run]:
    """So many years of one shop."""
    landed = bench / f"home_of_{years}_years"
    land_years(landed, years)
    with line_of(landed, shop_catalog(), bench) as line:
        return list(refreshes(line, _years(years), round(MORE * 1_478_799), rounds))


def main() -> None:
    """Measures and prints."""
    options = _arguments()
    bench, console = Settings.read().home.path / "bench", Console(width=150)
    runs: list[Run] = []
    console.print(f"python -m benchmarks.refresh\n{this_machine()}\n{load_line()}", highlight=False)
    titles = ("seconds, medians", *STEPS, "sum without land", "ratio")
    if not options.only_years:
        runs += measure_copies(bench, options.rounds)
        console.print(f"{COPIES} copies, {runs[0].events:,} events", highlight=False)
        console.print(figures_table(titles, steps_rows(runs, "copies")))
    for years in options.years:
        runs += measure_years(bench, options.rounds, years)
        console.print(f"{_years(years)}, {runs[-1].events:,} events", highlight=False)
        console.print(figures_table(titles, steps_rows(runs, _years(years))))
    columns = ("history", "events", DELTA, "min", "max", IDLE, WHOLE, "growth", "CPU +1 %", "CPU idle", "growth")
    console.print(figures_table(columns, growth_rows(runs, options.years)))
    console.print(load_line(), highlight=False)
    console.print(f"raw timings: {keep(bench, 'refresh', {}, runs)}", soft_wrap=True, highlight=False)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A refresh after a few events, against one from nothing.")
    parser.add_argument("--rounds", type=int, default=DELTA_ROUNDS, help="refreshes of each kind after the first")
    parser.add_argument("--years", type=int, nargs="+", default=YEARS, help="histories of the same households")
    parser.add_argument("--only-years", action="store_true", help="leave the ten copies out")
    return parser.parse_args()


if __name__ == "__main__":
    main()
