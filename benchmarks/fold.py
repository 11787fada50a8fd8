"""What one decision computes: the state of a profile from packed tiles and fresh events, then every segment of it.

Readings are in memory: looking into the store is not in the figures. The yardstick is the same segments from the same
events, all fresh: what a decision would cost without tiles.
"""

import argparse
import gc
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Final

from rich.console import Console

from benchmarks.machine import load_line, this_machine
from benchmarks.report import figures_table, keep
from dsl.catalog import Catalog, Segment
from dsl.check import CheckedCatalog, check_catalog
from dsl.clock import DAY_MS, UTC_ZONE
from dsl.evaluate import Evaluation
from dsl.event import Event
from dsl.event_record import EventRecord, read_event, write_record
from dsl.tile_codec import pack, unpack
from dsl.tiles import tiles_of
from serving.online import Fold, Reading, SourceReading
from warehouse.settings import Settings

MIN_ROUNDS: Final = 5
SIZES: Final = (1, 5, 20)
FRESH: Final = (0, 50, 500)
TILED_EVENTS: Final = 58
"""One an hop: so many tiles a base at its finest grain."""
T_MS: Final = 1_700_000_000_000
SOURCE: Final = "user:1"
_AGGREGATES: Final = (
    *("purchase.count_30d >= 3", "purchase.sum_30d(amount) > 100", "purchase.unique_days_30d >= 4"),
    *("purchase.days_since_last < 7", "purchase.count_7d >= 1", "purchase.sum_7d(amount) > 50"),
    *("purchase.unique_days_7d >= 2", "purchase.avg_30d(amount) > 10", "purchase.max_30d(amount) > 80"),
    *("purchase.count > 20", "purchase.sum(amount) > 1000", "purchase.days_since_first > 30"),
    *('purchase[department == "FUEL"].count_30d >= 2', 'purchase[department == "FUEL"].sum_30d(amount) > 20'),
    *("purchase[amount > 50].count_7d >= 1", "purchase[amount > 50].count_30d >= 3"),
    *("product_viewed.count_7d >= 5", "product_viewed.unique_days_30d >= 3", "*.count_30d >= 10"),
    "*.days_since_last < 14",
)
"""A segment each; the first so many are the catalog of a size."""
_WARM_UP = 20


@dataclass(frozen=True, slots=True)
class Run:
    """One timed run: decisions of one kind, one after another.

    Attributes:
        tiles: rows that the base holds, over all bases and grains.
    """

    aggregates: int
    fresh: int
    tiles: int
    base_bytes: int
    tiled: bool
    decisions: int
    seconds: float
    cpu_seconds: float


def catalog_of(size: int) -> CheckedCatalog:
    """A catalog with a segment for each of the first `size` aggregates."""
    texts = [f"events.{text}" for text in _AGGREGATES[:size]]
    checked = check_catalog(Catalog(segments=tuple(Segment(f"s{n}", text) for n, text in enumerate(texts))))
    if len(checked.aggregates) != size:
        raise ValueError(f"{len(checked.aggregates)} aggregates, not {size}")
    return checked


def records(count: int, first_ms: int, last_ms: int, first_seq: int) -> list[tuple[int, bytes]]:
    """Events of one person as the log keeps them, in the order of time, evenly spread."""
    pick, found = random.Random(first_seq), []  # noqa: S311  # made-up data, the same in each run
    for number in range(count):
        ts_ms = first_ms + (last_ms - first_ms) * number // max(1, count)
        department = pick.choice(("FUEL", "GROCERY", "DRUG"))
        properties = f'{{"amount": {pick.randrange(9_000) / 100}, "department": "{department}", "basket": "b{number}"}}'
        name = "purchase" if number % 3 else "product_viewed"
        event_id = f"018f3c2e-7d1a-7c31-9d0b-{first_seq + number:012d}"
        record = EventRecord(event_id, "track", name, ts_ms, ts_ms, UTC_ZONE.day(ts_ms), properties)
        found.append((first_seq + number, write_record(record).encode()))
    return found


def reading_of(fold: Fold, fresh: int, *, tiled: bool) -> Reading:
    """58 older events, as tiles or fresh like the others, and newer ones.

    Args:
        fresh: how many newer ones.
    """
    older = records(TILED_EVENTS, T_MS - 58 * DAY_MS, T_MS - DAY_MS // 2, 1)
    newer = records(fresh, T_MS - DAY_MS // 2, T_MS, TILED_EVENTS + 1)
    if not tiled:
        return Reading("p", [SourceReading(SOURCE, fresh=[*older, *newer])], TILED_EVENTS + fresh, None, 1)
    tiles = tiles_of(events_of(older), fold.bases, fold.checked)
    return Reading("p", [SourceReading(SOURCE, pack(tiles, fold.bases), fresh=newer)], TILED_EVENTS + fresh, None, 1)


def events_of(kept: Sequence[tuple[int, bytes]]) -> Iterator[Event]:
    """What the records say."""
    return (read_event(record, seq, SOURCE) for seq, record in kept)


def decide(fold: Fold, reading: Reading, now_ms: int = T_MS) -> list[bool]:
    """Whether the profile is in each segment."""
    evaluation = Evaluation(fold.checked, fold.state(reading, now_ms))
    return [evaluation.definition(key) is True for key in fold.checked.order]


def measure(rounds: int, decisions: int) -> list[Run]:
    """Every case in turn, `rounds` times; with and without tiles the answers are the same, or nothing is timed."""
    cases: list[tuple[Fold, Reading, Run]] = []
    for size in SIZES:
        fold = Fold(catalog_of(size))
        for fresh in FRESH:
            ours, bare = (reading_of(fold, fresh, tiled=tiled) for tiled in (True, False))
            if decide(fold, ours) != decide(fold, bare):
                raise ValueError(f"{size} aggregates, {fresh} fresh events: answers differ")
            base = ours.sources[0].base or b""
            tiles = _tiles(fold, base)
            cases += [
                (fold, ours, Run(size, fresh, tiles, len(base), True, decisions, 0.0, 0.0)),
                (fold, bare, Run(size, fresh, 0, 0, False, decisions, 0.0, 0.0)),
            ]
    return [_timed(*case) for _ in range(rounds) for case in cases]


def _tiles(fold: Fold, base: bytes) -> int:
    return sum(len(list(hops.items())) for hops in unpack(base, fold.bases).hops.values())


def _timed(fold: Fold, reading: Reading, case: Run) -> Run:
    # Long readings are decided less often: a run of each case takes about as long.
    decisions = max(_WARM_UP, case.decisions // (1 + case.fresh // 10))
    for _ in range(_WARM_UP):
        decide(fold, reading)
    gc.collect()
    begin, begin_cpu = time.perf_counter(), time.thread_time()
    for _ in range(decisions):
        decide(fold, reading)
    seconds, cpu_seconds = time.perf_counter() - begin, time.thread_time() - begin_cpu
    return replace(case, decisions=decisions, seconds=seconds, cpu_seconds=cpu_seconds)


def rows(runs: Sequence[Run]) -> list[list[str]]:
    """A line a case: microseconds a decision, their spread, and what it would cost without tiles."""
    found = []
    for size in SIZES:
        for fresh in FRESH:
            of_case = [run for run in runs if (run.aggregates, run.fresh) == (size, fresh)]
            ours, bare = (
                [run.seconds / run.decisions * 1e6 for run in of_case if run.tiled is tiled] for tiled in (True, False)
            )
            first = next(run for run in of_case if run.tiled)
            middle, without = median(ours), median(bare)
            core = median(run.cpu_seconds / run.decisions * 1e6 for run in of_case if run.tiled)
            times = [f"{us:,.1f}" for us in (middle, min(ours), max(ours), core, without)]
            case = [f"{size} aggregates, {fresh} fresh", str(first.tiles), f"{first.base_bytes:,}"]
            found.append([*case, *times, f"{without / middle:.2f}"])
    return found


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description="State and segments of one decision, from a reading in memory.")
    parser.add_argument("--rounds", type=int, default=MIN_ROUNDS, help=f"timed runs of each, at least {MIN_ROUNDS}")
    parser.add_argument("--decisions", type=int, default=1_000, help="of a run without fresh events")
    options = parser.parse_args()
    if options.rounds < MIN_ROUNDS:
        parser.error(f"--rounds takes {MIN_ROUNDS} or more: fewer say nothing")
    console = Console(width=140)
    with console.status("measuring"):
        runs = measure(options.rounds, options.decisions)
    console.print(f"python -m benchmarks.fold\n{this_machine()}\n{load_line()}", highlight=False)
    titles = ("us a decision", "tiles", "bytes", "median", "min", "max", "core", "without tiles", "ratio")
    console.print(figures_table(titles, rows(runs)))
    kept = keep(Settings.read().home.path / "bench", "fold", {}, runs)
    console.print(f"raw timings: {kept}", soft_wrap=True, highlight=False)


if __name__ == "__main__":
    main()
