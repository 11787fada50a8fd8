"""Appending to the log from one client, 100 events a batch, each batch on disk before it is answered.

Contestants run in turns on one server, started as that of every home (`appendfsync always`): a bare `XADD` of each
event in a pipeline, with no ids checked and no links; events of people that are known; of people that are new; and the
same batches sent again. Medians are shown; raw timings are kept as JSON.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from uuid import uuid4

import redis
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from benchmarks.machine import this_machine
from serving.online import Item, append, body_digest, connect, delete_project, embedded
from warehouse.settings import Settings

MIN_ROUNDS = 5
BATCH = 100
PEOPLE = 5_000
BARE = "bare XADD"
NOW_MS = 1_700_000_000_000


@dataclass(frozen=True, slots=True)
class Run:
    """One timed run: all events of a contestant in one project of their own."""

    contestant: str
    seconds: float
    events: int


def batches(events: int, people: int) -> list[list[Item]]:
    """Events of a shop, two identifiers each, in batches of 100; everybody comes back after `people` events."""
    items = [_item(number, number % people) for number in range(events)]
    return [items[start : start + BATCH] for start in range(0, events, BATCH)]


def _item(number: int, person: int) -> Item:
    record = json.dumps(
        {
            "event_id": f"018f3c2e-7d1a-7c31-9d0b-{number:012d}",
            "kind": "track",
            "name": "purchase",
            "ts_ms": NOW_MS + number,
            "received_at_ms": NOW_MS + number,
            "properties": {"amount": number % 9_000 / 100, "category": "books", "order": f"o-{number}"},
            "context": {"page": {"url": "https://shop.example/cart"}, "locale": "nb-NO"},
        }
    )
    who = (f"user:{person}", f"anon:018f3c2e-0000-7c31-9d0b-{person:012d}")
    return Item(f"018f3c2e-7d1a-7c31-9d0b-{number:012d}", record, body_digest(record), who)


def bare(client: redis.Redis, project: str, sent: Sequence[Sequence[Item]]) -> None:
    """Each event into a stream, a pipeline a batch."""
    for batch in sent:
        pipeline = client.pipeline(transaction=False)
        for item in batch:
            pipeline.xadd(f"{{{project}}}:log", {"record": item.record})
        pipeline.execute()


def appended(client: redis.Redis, project: str, sent: Sequence[Sequence[Item]]) -> None:
    """Each batch with one call of `append`."""
    for batch in sent:
        append(client, project, batch, NOW_MS)


def measure(client: redis.Redis, events: int, rounds: int) -> list[Run]:
    """Every contestant `rounds` times, after one round that warms the server."""
    known, new = batches(events, PEOPLE), batches(events, events)
    runs: list[Run] = []
    for _ in range(rounds + 1):
        first, second, third = (f"bench-{uuid4().hex[:12]}" for _ in range(3))
        appended(client, second, known[: PEOPLE // BATCH])
        runs += [
            _timed(BARE, bare, client, first, known),
            _timed("append, known people", appended, client, second, known[PEOPLE // BATCH :]),
            _timed("append, new people", appended, client, third, new),
            _timed("append, sent again", appended, client, third, new),
        ]
        for project in (first, second, third):
            delete_project(client, project)
    return runs[4:]


def _timed(
    name: str,
    contestant: Callable[[redis.Redis, str, Sequence[Sequence[Item]]], None],
    client: redis.Redis,
    project: str,
    sent: Sequence[Sequence[Item]],
) -> Run:
    begin = time.perf_counter()
    contestant(client, project, sent)
    return Run(name, time.perf_counter() - begin, sum(map(len, sent)))


def show(console: Console, runs: Sequence[Run]) -> None:
    """Prints events a second, their spread, and microseconds an event against the yardstick."""
    console.print(f"one client, {BATCH} events a batch, appendfsync always\n{this_machine()}", highlight=False)
    table = Table(box=SIMPLE)
    for number, title in enumerate(("contestant, events/s", "median", "min", "max", "us/event", "ratio")):
        table.add_column(title, justify="right" if number else "left", no_wrap=True)
    yardstick = median(run.seconds / run.events for run in runs if run.contestant == BARE)
    for name in dict.fromkeys(run.contestant for run in runs):
        rates = [run.events / run.seconds for run in runs if run.contestant == name]
        middle = median(rates)
        figures = (f"{middle:,.0f}", f"{min(rates):,.0f}", f"{max(rates):,.0f}", f"{1e6 / middle:.1f}")
        table.add_row(name, *figures, f"{1 / middle / yardstick:.2f}")
    console.print(table)


def keep(folder: Path, runs: Sequence[Run]) -> Path:
    """Writes machine and raw timings as JSON; the path of the file."""
    now = datetime.now(UTC)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"append-{now:%Y%m%dT%H%M%SZ}.json"
    document = {
        "benchmark": "append",
        "at": now.isoformat(timespec="seconds"),
        "machine": asdict(this_machine()),
        "batch": BATCH,
        "runs": [asdict(run) for run in runs],
    }
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return path


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description="Appending events to the log from one client.")
    parser.add_argument("--rounds", type=int, default=7, help=f"timed runs of each contestant, at least {MIN_ROUNDS}")
    parser.add_argument("--events", type=int, default=20_000, help="events of a run, more than 5,000")
    options = parser.parse_args()
    if options.rounds < MIN_ROUNDS or options.events <= PEOPLE:
        parser.error(f"--rounds takes {MIN_ROUNDS} or more, --events more than {PEOPLE}: less says nothing")
    console = Console()
    bench = Settings.read().home.path / "bench"
    bench.mkdir(parents=True, exist_ok=True)
    # On the disk of the home, not in memory: what is measured is mostly how soon a batch is on disk.
    with tempfile.TemporaryDirectory(dir=bench) as folder:
        client = connect(embedded.start(Path(folder) / "valkey"))
        try:
            with console.status("measuring"):
                runs = measure(client, options.events, options.rounds)
        finally:
            client.close()
            embedded.stop(Path(folder) / "valkey")
    show(console, runs)
    console.print(f"raw timings: {keep(bench, runs)}", soft_wrap=True, highlight=False)


if __name__ == "__main__":
    main()
