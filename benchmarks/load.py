"""Loading events from Parquet, against copying the same file: what reading, a codec and the disk allow at best.

The shop's tickets, copied to more households, in the order of time. Contestants run in turns, each run into an empty
home and in a process of its own: Polars scans the file and writes it again; `tinycdp load` without its refresh, event
ids derived from three columns, every column a property. Seconds of all cores are told too: what else the machine does
changes them less; and the peak of memory, which `--copies 2 16` compares for files of other sizes.
"""

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import polars as pl
from rich.console import Console

from benchmarks.alone import Run, peak_bytes
from benchmarks.report import keep, runs_table
from dsl.source import Source
from examples.shop.journey import TIMEZONE, read_events
from warehouse.bulk.inputs import Input
from warehouse.bulk.landing import Online
from warehouse.bulk.load import Loading
from warehouse.bulk.mapping_file import read_mapping
from warehouse.registry import Registry
from warehouse.settings import Home, Settings

MIN_ROUNDS = 3
COPY, LOAD = "Polars: scan and write", "tinycdp load"
MAPPING = """\
name: tickets
identifiers: {user: household}
event: {value: purchase}
ts: {column: at, unit: ms}
event_id: {hash: [basket_id, product_id, household]}
"""


def write_tickets(path: Path, copies: int) -> int:
    """A file of the shop's purchases, of so many times the households; rows in it."""
    purchases = read_events().events.filter(pl.col("name") == "purchase")
    columns = {
        "at": pl.col("ts_ms"),
        "amount": pl.col("n_amount") / 1_000_000,
        "quantity": pl.col("n_quantity") // 1_000_000,
    }
    texts = {name: pl.col(f"s_{name}") for name in ("product_id", "basket_id", "store_id", "department", "brand")}
    texts |= {name: pl.col(f"s_{name}") for name in ("category", "product_type")}
    household = pl.col("source_id").str.slice(5).cast(pl.Int64)
    each = purchases.select(household.alias("household"), **columns, **texts)
    tickets = pl.concat([each.with_columns(household=pl.col("household") + copy * 10_000) for copy in range(copies)])
    tickets.sort("at").write_parquet(path)
    return tickets.height


def copy(path: Path, folder: Path) -> None:
    """What the file says, written again as the lake compresses."""
    pl.scan_parquet(path).sink_parquet(folder / "copy.parquet", compression="zstd", compression_level=1)


def load(path: Path, folder: Path) -> None:
    """The file, landed in an empty home."""
    mapping, home = read_mapping(Source(MAPPING, "tickets.yaml")), Home(folder)
    with Registry(f"sqlite:///{home.registry}") as registry:
        project = registry.create_project("tickets", TIMEZONE)
        online = Online(lambda _: registry.max_seq(project.key) + 1)
        Loading([Input.of(path, mapping)], mapping, home, registry, project, online).run()


def timed(contestant: str, path: Path, bench: Path) -> Run:
    """One run in a folder of its own, in this process."""
    folder = Path(tempfile.mkdtemp(dir=bench))
    try:
        begin, cpu = time.perf_counter(), time.process_time()
        CONTESTANTS[contestant](path, folder)
        return Run(contestant, time.perf_counter() - begin, time.process_time() - cpu, peak_bytes())
    finally:
        shutil.rmtree(folder)


CONTESTANTS: Final[Mapping[str, Callable[[Path, Path], None]]] = {COPY: copy, LOAD: load}


def measure(copies: int, rounds: int, bench: Path, console: Console) -> None:
    """One size: writes the file, runs the contestants in turns, prints medians, keeps raw timings."""
    path = bench / f"tickets-{copies}.parquet"
    events = write_tickets(path, copies)
    runs = []
    # A new process for each, so that its peak is its own.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as alone:
        for _ in range(max(rounds, 1)):
            runs += [alone.submit(timed, contestant, path, bench).result() for contestant in CONTESTANTS]
    console.print(f"{events:,} events, {path.stat().st_size / 2**20:.0f} MiB of Parquet")
    console.print(runs_table(runs, LOAD, events))
    console.print(f"raw timings: {keep(bench, 'load', {'events': events, 'copies': copies}, runs)}")


def main() -> None:
    """One size after another."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=MIN_ROUNDS)
    parser.add_argument("--copies", type=int, nargs="+", default=(3,), help="how many times the shop's households")
    choices = parser.parse_args()
    bench = Settings.read().home.path / "bench"
    bench.mkdir(parents=True, exist_ok=True)
    console = Console(width=120)
    for copies in choices.copies:
        measure(copies, choices.rounds, bench, console)


if __name__ == "__main__":
    main()
