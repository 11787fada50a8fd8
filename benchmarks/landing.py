"""Landing the log, against what nothing can be faster than; and what compaction does for a scan.

Contestants run in turns over one log in one server: reading its entries and nothing else; Polars writing the very frame
that lands, sorted and on disk; the landing itself, from the log to the manifest. Then a day that landed in very many
small files is scanned before and after it is compacted.
"""

import argparse
import random
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final, cast

import polars as pl
import redis
from rich.console import Console

from benchmarks.machine import load_line, this_machine
from benchmarks.report import figures_table, keep
from dsl.clock import DAY_MS
from dsl.event_record import EventRecord, write_record
from serving.online import Item, append, body_digest, connect, embedded
from serving.online.append import AppendRules
from serving.online.keys import Keys
from serving.worker.landing import land_log
from warehouse.compaction import compact
from warehouse.database import connect as open_warehouse
from warehouse.events_view import events_view_sql
from warehouse.lake import SORTED_BY
from warehouse.records import Project
from warehouse.registry import Registry
from warehouse.settings import Home, Settings

MIN_ROUNDS = 5
READ: Final = "XRANGE, nothing else"
WRITE: Final = "Polars writes the frame"
LAND: Final = "landing"
SMALL: Final = "scan of small files"
MERGED: Final = "scan, compacted"
COMPACT: Final = "compaction itself"
_NOW_MS = 1_700_000_000_000 // DAY_MS * DAY_MS + DAY_MS // 2
_FILLED = "filled"
_PEOPLE = 5_000
_TITLES = ("contestant", "events/s", "us/event", "cores' us", "seconds", "min", "max", "files")
_SCAN = "SELECT name, count(*), sum(n_amount), max(ts_ms) FROM events GROUP BY name"


@dataclass(frozen=True, slots=True)
class Run:
    """One timed run.

    Attributes:
        cpu_seconds: of all cores of this process; the server's own are not in it.
    """

    contestant: str
    seconds: float
    cpu_seconds: float
    events: int
    files: int


def items(count: int) -> Iterator[Item]:
    """Events of a shop: two identifiers, four properties, a context that repeats somewhat; about 700 bytes each."""
    chance = random.Random(7)  # noqa: S311  # drawn the same each time, no secret
    for number in range(count):
        person = number % _PEOPLE
        amount, category = f"{chance.randrange(500)}.{chance.randrange(100):02d}", chance.choice(("books", "toys"))
        properties = f'{{"amount": {amount}, "category": "{category}", "order": "o-{number}", "items": {number % 9}}}'
        page = f'{{"url": "https://shop.example/p/{chance.randrange(2_000)}"}}'
        context = f'{{"page": {page}, "locale": "nb-NO", "library": {{"name": "shop", "version": "2.1.0"}}}}'
        name, ts_ms = chance.choice(("purchase", "view", "cart")), _NOW_MS - chance.randrange(60_000)
        event_id = f"018f3c2e-7d1a-7c31-9d0b-{number:012d}"
        record = EventRecord(event_id, "track", name, ts_ms, _NOW_MS, ts_ms // DAY_MS, properties, context)
        text = write_record(record)
        who = (f"user:{person}", f"anon:018f3c2e-0000-7c31-9d0b-{person:012d}")
        yield Item(event_id, text, body_digest(text), who)


def fill(client: redis.Redis, count: int) -> None:
    """Append them."""
    sent = list(items(count))
    for start in range(0, count, 1_000):
        append(client, _FILLED, sent[start : start + 1_000], _NOW_MS, AppendRules(max_log=0))


@contextmanager
def project_of(client: redis.Redis, folder: Path, number: int) -> Iterator[tuple[Home, Registry, Project]]:
    """A home of its own whose log is a copy of what was filled."""
    key = f"bench-{number}"
    for name in ("seq", "log"):
        cast(Any, client).copy(getattr(Keys(_FILLED), name), getattr(Keys(key), name), replace=True)
    home = Home(folder / key)
    home.path.mkdir(parents=True)
    with Registry(f"sqlite:///{home.registry}") as registry:
        yield home, registry, registry.create_project(key, "Europe/Oslo")
    client.delete(Keys(key).seq, Keys(key).log)
    shutil.rmtree(home.path)


class Stopwatch:
    """Seconds since it was made, by the clock and of all cores of this process."""

    def __init__(self) -> None:
        self._begin = time.perf_counter(), time.process_time()

    def run(self, contestant: str, events: int, files: int) -> Run:
        """What was done since."""
        clock_s, cores_s = time.perf_counter() - self._begin[0], time.process_time() - self._begin[1]
        return Run(contestant, clock_s, cores_s, events, files)


def read_only(client: redis.Redis, events: int) -> Run:
    """Read every entry of the log, as they are."""
    key, last, watch = Keys(_FILLED).log, "0-0", Stopwatch()
    while page := cast(Any, client.xrange(key, min=f"({last}", count=1_000)):
        last = page[-1][0]
    return watch.run(READ, events, 0)


def landed_once(client: redis.Redis, folder: Path, number: int, events: int) -> Iterator[Run]:
    """The landing, and Polars writing what landed."""
    with project_of(client, folder, number) as (home, registry, project):
        watch = Stopwatch()
        land_log(client, home, registry, project)
        yield watch.run(LAND, events, len(registry.files(project.key)))
        paths = [file.absolute(home.lake) for file in registry.files(project.key)]
        frames = [pl.read_parquet(path, glob=False).sort("seq") for path in paths]
        watch = Stopwatch()
        for place, frame in enumerate(frames):
            frame.sort(SORTED_BY, maintain_order=True).write_parquet(home.path / f"{place}.parquet", compression="zstd")
        yield watch.run(WRITE, events, len(paths))


def compacted(client: redis.Redis, folder: Path, number: int, files: int, rounds: int) -> Iterator[Run]:
    """A day in very many files, scanned, compacted, scanned."""
    each = 50
    with project_of(client, folder, number) as (home, registry, project):
        client.delete(Keys(project.key).log, Keys(project.key).seq)
        sent = list(items(files * each))
        for start in range(0, len(sent), each):
            append(client, project.key, sent[start : start + each], _NOW_MS)
            land_log(client, home, registry, project)
        yield from (_scan(SMALL, home, registry, project) for _ in range(rounds))
        watch = Stopwatch()
        found = compact(home, registry, project, len(sent), _NOW_MS)
        yield watch.run(COMPACT, len(sent), found.files_after)
        yield from (_scan(MERGED, home, registry, project) for _ in range(rounds))


def _scan(contestant: str, home: Home, registry: Registry, project: Project) -> Run:
    files = registry.files(project.key)
    with open_warehouse(home.path / "scan.duckdb") as connection:
        watch = Stopwatch()
        connection.execute(events_view_sql(files, 2**62, ["n_amount"], home.lake))
        connection.execute(_SCAN).fetchall()
        return watch.run(contestant, sum(file.rows for file in files), len(files))


def measure(client: redis.Redis, folder: Path, events: int, files: int, rounds: int) -> list[Run]:
    """Every contestant `rounds` times, after one round that warms up."""
    fill(client, events)
    runs: list[Run] = []
    for number in range(rounds + 1):
        runs += [read_only(client, events), *landed_once(client, folder, number, events)]
    return [*runs[3:], *compacted(client, folder, rounds + 1, files, rounds)]


def rows(runs: Sequence[Run]) -> list[list[str]]:
    """A line a contestant: events a second, microseconds an event by the clock and of the cores, seconds, files."""
    found = []
    for name in dict.fromkeys(run.contestant for run in runs):
        own = [run for run in runs if run.contestant == name]
        seconds, events = [run.seconds for run in own], own[0].events
        middle = median(seconds)
        cores = median(run.cpu_seconds for run in own)
        microseconds = f"{1e6 * middle / events:.2f}", f"{1e6 * cores / events:.2f}"
        figures = f"{events / middle:,.0f}", *microseconds, f"{middle:.3f}"
        found.append([name, *figures, f"{min(seconds):.3f}", f"{max(seconds):.3f}", f"{own[0].files:,}"])
    return found


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description="Landing the log, and compaction.")
    parser.add_argument("--rounds", type=int, default=7, help=f"timed runs of each, at least {MIN_ROUNDS}")
    parser.add_argument("--events", type=int, default=200_000, help="in the log")
    parser.add_argument("--files", type=int, default=1_000, help="that are compacted")
    options = parser.parse_args()
    if options.rounds < MIN_ROUNDS:
        parser.error(f"--rounds takes {MIN_ROUNDS} or more: less says nothing")
    console, bench = Console(width=130), Settings.read().home.path / "bench"
    bench.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=bench) as folder:
        client = connect(embedded.start(Path(folder) / "valkey"))
        try:
            with console.status("measuring"):
                runs = measure(client, Path(folder), options.events, options.files, options.rounds)
        finally:
            client.close()
            embedded.stop(Path(folder) / "valkey")
    console.print(f"python -m benchmarks.landing\n{this_machine()}\n{load_line()}", highlight=False)
    console.print(figures_table(_TITLES, rows(runs)))
    kept = keep(bench, "landing", {"events": options.events, "files": options.files}, runs)
    console.print(f"raw timings: {kept}", soft_wrap=True, highlight=False)


if __name__ == "__main__":
    main()
