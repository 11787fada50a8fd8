"""All traits and segments of the demo in one pass, against a bare count by profile over the same files.

Each contestant runs in a process of its own, in rounds, so that a slow moment of the machine meets all of them: one run
that warms the file cache and DuckDB, then one that is timed. Medians are shown; raw timings are kept as JSON.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from benchmarks.alone import Contestant, Run, run_alone
from benchmarks.machine import this_machine
from benchmarks.shop import Shop, open_shop
from dsl.sql import aggregates_sql, expression_sql, values_sql
from warehouse.settings import Settings

MIN_ROUNDS = 5
BARE = "count by profile"


def contestants(shop: Shop) -> tuple[Contestant, ...]:
    """Who runs: the yardstick first."""
    at = (shop.refresh.t_ms, shop.refresh.cut, shop.refresh.today)
    paths = ", ".join(f"'{path}'" for path in shop.lake_files)
    bare = f"SELECT source_id, count(*) AS events FROM read_parquet([{paths}]) GROUP BY source_id"
    aggregates = _table("aggregates", aggregates_sql(shop.checked, *at))
    values = _table("result", values_sql(shop.checked, shop.checked.order, *at))
    alone = [_table("result", expression_sql(v.text, shop.checked, *at)) for v in shop.checked.values.values()]
    statements = {
        BARE: [_table("result", bare)],
        "all aggregates": [aggregates],
        "traits and segments": [aggregates, values],
        "a statement each": alone,
    }
    return tuple(Contestant(name, tuple(texts), str(shop.warehouse)) for name, texts in statements.items())


def _table(name: str, query: str) -> str:
    return f"CREATE OR REPLACE TEMP TABLE {name} AS\n{query}"


def measure(shop: Shop, rounds: int) -> list[Run]:
    """Every contestant `rounds` times."""
    return [run_alone(contestant) for _ in range(rounds) for contestant in contestants(shop)]


def show(console: Console, shop: Shop, runs: Sequence[Run]) -> None:
    """Prints medians, spread, ratio to the yardstick, rows a second and peak memory."""
    traits = sum(value.kind == "trait" for value in shop.checked.values.values())
    console.print(
        f"{traits} traits and {len(shop.checked.values) - traits} segments from {len(shop.checked.aggregates)} "
        f"aggregates over {shop.events:,} events in {len(shop.lake_files)} files\n{this_machine()}",
        highlight=False,
    )
    table = Table(box=SIMPLE)
    for number, title in enumerate(("contestant, seconds", "median", "min", "max", "ratio", "rows/s", "peak MiB")):
        table.add_column(title, justify="right" if number else "left", no_wrap=True)
    yardstick = median(run.seconds for run in runs if run.contestant == BARE)
    for name in dict.fromkeys(run.contestant for run in runs):
        own = [run for run in runs if run.contestant == name]
        seconds = [run.seconds for run in own]
        middle = median(seconds)
        figures = (f"{middle:.3f}", f"{min(seconds):.3f}", f"{max(seconds):.3f}", f"{middle / yardstick:.1f}")
        peak = max(run.peak_bytes for run in own) / 2**20
        table.add_row(name, *figures, f"{shop.events / middle:,.0f}", f"{peak:,.0f}")
    console.print(table)


def keep(folder: Path, shop: Shop, runs: Sequence[Run]) -> Path:
    """Writes machine and raw timings as JSON; the path of the file."""
    now = datetime.now(UTC)
    path = folder / f"traits_pass-{now:%Y%m%dT%H%M%SZ}.json"
    document = {
        "benchmark": "traits_pass",
        "at": now.isoformat(timespec="seconds"),
        "machine": asdict(this_machine()),
        "events": shop.events,
        "aggregates": len(shop.checked.aggregates),
        "values": len(shop.checked.values),
        "runs": [asdict(run) for run in runs],
    }
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return path


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description="All traits of the demo in one pass against a bare count by profile.")
    parser.add_argument("--rounds", type=int, default=7, help=f"timed runs of each contestant, at least {MIN_ROUNDS}")
    rounds = parser.parse_args().rounds
    if rounds < MIN_ROUNDS:
        parser.error(f"--rounds takes {MIN_ROUNDS} or more: fewer say nothing")
    folder, console = Settings.read().home.path / "bench", Console()
    with console.status("landing the shop's events, once"):
        shop = open_shop(folder / "home")
    with console.status("measuring"):
        runs = measure(shop, rounds)
    show(console, shop, runs)
    console.print(f"raw timings: {keep(folder, shop, runs)}", soft_wrap=True, highlight=False)


if __name__ == "__main__":
    main()
