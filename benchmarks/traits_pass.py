"""All traits and segments of the demo in one pass, against a bare count by profile over the same files.

Each contestant runs in a process of its own, in rounds, so that a slow moment of the machine meets all of them: one run
that warms the file cache and DuckDB, then one that is timed. Medians are shown; raw timings are kept as JSON.
"""

import argparse
from collections.abc import Sequence

from rich.console import Console

from benchmarks.alone import Contestant, Run, run_alone
from benchmarks.machine import this_machine
from benchmarks.report import keep, runs_table
from benchmarks.shop import Shop, open_shop, shop_catalog
from dsl.sql import aggregates_sql, catalog_sql, expression_sql, values_sql
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
        "one statement": [_table("result", catalog_sql(shop.checked, *at))],
        "a statement each": alone,
    }
    return tuple(Contestant(name, tuple(texts), str(shop.warehouse)) for name, texts in statements.items())


def _table(name: str, query: str) -> str:
    return f"CREATE OR REPLACE TEMP TABLE {name} AS\n{query}"


def measure(shop: Shop, rounds: int) -> list[Run]:
    """Every contestant `rounds` times."""
    return [run_alone(contestant) for _ in range(rounds) for contestant in contestants(shop)]


def show(console: Console, shop: Shop, runs: Sequence[Run]) -> None:
    """Prints what was measured, on what, and the figures."""
    traits = sum(value.kind == "trait" for value in shop.checked.values.values())
    console.print(
        f"{traits} traits and {len(shop.checked.values) - traits} segments from {len(shop.checked.aggregates)} "
        f"aggregates over {shop.events:,} events in {len(shop.lake_files)} files\n{this_machine()}",
        highlight=False,
    )
    console.print(runs_table(runs, BARE, shop.events))


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description="All traits of the demo in one pass against a bare count by profile.")
    parser.add_argument("--rounds", type=int, default=7, help=f"timed runs of each contestant, at least {MIN_ROUNDS}")
    rounds = parser.parse_args().rounds
    if rounds < MIN_ROUNDS:
        parser.error(f"--rounds takes {MIN_ROUNDS} or more: fewer say nothing")
    folder, console = Settings.read().home.path / "bench", Console(width=120)
    with console.status("landing the shop's events, once"):
        shop = open_shop(folder / "home", shop_catalog())
    with console.status("measuring"):
        runs = measure(shop, rounds)
    show(console, shop, runs)
    facts = {"events": shop.events, "aggregates": len(shop.checked.aggregates), "values": len(shop.checked.values)}
    console.print(f"raw timings: {keep(folder, 'traits_pass', facts, runs)}", soft_wrap=True, highlight=False)


if __name__ == "__main__":
    main()
