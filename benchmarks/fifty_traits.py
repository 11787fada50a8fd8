"""Fifty traits over ten copies of the shop: our one statement against the best that others are asked for the same.

Every contestant's values are compared with ours, exactly, before any time is believed. Each runs in a process of its
own, in rounds, so that a slow moment of the machine meets all of them: once to warm up, then timed. Medians are shown;
raw timings are kept as JSON.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from rich.console import Console

from benchmarks import fifty_polars
from benchmarks.alone import Contestant, Run, run_alone
from benchmarks.machine import this_machine
from benchmarks.report import keep, runs_table
from benchmarks.shop import Shop, open_shop, shop_catalog
from dsl.check import CheckedCatalog, check_catalog
from dsl.documents.definitions import load_directory
from dsl.sql import catalog_sql, expression_sql
from examples.shop.journey import TIMEZONE
from warehouse.columns import quoted
from warehouse.database import connect
from warehouse.settings import Settings

COPIES: Final = 10
MIN_ROUNDS: Final = 5
OURS: Final = "our one statement"
APART: Final = "a statement each"
FLOOR: Final = "bare GROUP BY of the columns"
_FOLDER = Path(__file__).parent / "fifty"
_READ = (
    *("source_id", "name", "kind", "seq", "ts_ms", "local_day", "event_id", "n_amount", "n_quantity"),
    *("n_retail_discount", "n_coupon_discount", "s_store_id", "s_department", "s_brand", "s_basket_id"),
    "s_campaign_type",
)
"""Columns of events that the fifty values are made of."""
_CLICKHOUSE_TYPES = {"n_": "Nullable(Int64)", "s_": "Nullable(String)"}
_CLICKHOUSE_SETTINGS = "SETTINGS join_use_nulls = 1"


def fifty() -> CheckedCatalog:
    """The definitions of `fifty/traits.yaml` over the shop's events, checked."""
    shop, traits = shop_catalog().catalog, load_directory(_FOLDER).catalog.traits
    return check_catalog(replace(shop, traits=traits, segments=(), flags=(), exports=(), timezone=TIMEZONE))


def contestants(shop: Shop, folder: Path) -> list[Contestant]:
    """Who runs: the floor first, then ours.

    Args:
        folder: where tables are kept that some of them read as Parquet.
    """
    at = (shop.refresh.t_ms, shop.refresh.cut, shop.refresh.today)
    warehouse = str(shop.warehouse)
    counts = ", ".join(f"count({name})" for name in _READ[1:])
    floor = f"SELECT source_id, {counts} FROM events GROUP BY source_id"
    alone = {key: expression_sql(value.text, shop.checked, *at) for key, value in shop.checked.values.items()}
    joined = "".join(f" JOIN {quoted(key)} USING (profile_id)" for key in alone)
    columns = ", ".join(f"{quoted(key)}.value AS {quoted(key)}" for key in alone)
    people = [str(_table_file(shop, name, folder)) for name in ("identities", "profiles")]
    return [
        Contestant(FLOOR, (_table("result", floor),), warehouse),
        Contestant(OURS, (_table("result", catalog_sql(shop.checked, *at)),), warehouse),
        Contestant("SQL by hand", (_table("result", (_FOLDER / "by_hand.sql").read_text("utf-8")),), warehouse),
        Contestant(
            APART,
            tuple(_table(quoted(key), statement) for key, statement in alone.items()),
            warehouse,
            assemble=_table("result", f"SELECT profile_id, {columns} FROM profiles{joined}"),
        ),
        Contestant("Polars, lazy", (), warehouse, "polars", (*map(str, shop.lake_files), *people)),
        Contestant("ClickHouse (chdb)", _clickhouse(shop, *people), warehouse, "chdb"),
    ]


def _table(name: str, query: str) -> str:
    return f"CREATE OR REPLACE TEMP TABLE {name} AS\n{query}"


def _table_file(shop: Shop, name: str, folder: Path) -> Path:
    path = folder / f"{name}.parquet"
    columns = "profile_id, first_seen_ms" if name == "profiles" else "*"
    with connect(shop.warehouse, read_only=True) as connection:
        connection.execute(f"COPY (SELECT {columns} FROM {name}) TO '{path}' (FORMAT parquet)")
    return path


def _clickhouse(shop: Shop, identities: str, profiles: str) -> tuple[str, ...]:
    plain = {"seq": "Int64", "ts_ms": "Int64", "local_day": "Int32"}
    types = {name: plain.get(name) or _CLICKHOUSE_TYPES.get(name[:2], "String") for name in _READ}
    names = {
        "{events}": str(shop.lake_files[0].parent.parent / "day=*" / "*.parquet"),
        "{columns}": ", ".join(f"{name} {found}" for name, found in types.items()),
        "{identities}": identities,
        "{profiles}": profiles,
    }
    query = (_FOLDER / "clickhouse.sql").read_text("utf-8")
    for name, value in names.items():
        query = query.replace(name, value)
    made = f"CREATE TABLE result ENGINE = Memory AS\n{query} {_CLICKHOUSE_SETTINGS}"
    return ("DROP TABLE IF EXISTS result", made)


def differences(ours: Path, theirs: Path) -> list[str]:
    """What differs between two results, a line a column; numbers are equal to the last micro-unit or not at all."""
    found: list[str] = []
    with connect() as connection:
        described = connection.execute(f"DESCRIBE FROM '{ours}'").fetchall()
        for name, sql_type, *_ in described:
            differ = _differ(quoted(name), sql_type)
            query = f"SELECT count(*), min(profile_id) FROM '{ours}' AS ours FULL JOIN '{theirs}' AS theirs "
            ((count, profile),) = connection.execute(f"{query} USING (profile_id) WHERE {differ}").fetchall()
            if count:
                found.append(f"{name}: {count} profiles, the first is {profile}")
    return found


def _differ(column: str, sql_type: str) -> str:
    ours, theirs = f"ours.{column}", f"theirs.{column}"
    if not sql_type.startswith("DECIMAL"):
        return f"{ours} IS DISTINCT FROM {theirs}"
    # Who has no such decimals gives micro-units.
    scaled, other = (f"CAST(CAST({value} AS DECIMAL(25, 6)) * 1000000 AS BIGINT)" for value in (ours, theirs))
    return (
        f"{scaled} IS DISTINCT FROM "
        f"CASE WHEN typeof({theirs}) LIKE 'DECIMAL%' THEN {other} ELSE CAST({theirs} AS BIGINT) END"
    )


def agree(everyone: Sequence[Contestant], folder: Path) -> dict[str, list[str]]:
    """How each contestant's values differ from ours, by its name; the floor has none."""
    asked = [contestant for contestant in everyone if contestant.name != FLOOR]
    kept = {contestant.name: folder / f"result_{number}.parquet" for number, contestant in enumerate(asked)}
    for contestant in asked:
        run_alone(replace(contestant, kept=str(kept[contestant.name])))
    return {name: differences(kept[OURS], path) for name, path in kept.items()}


def main() -> None:
    """Compares, measures and prints."""
    arguments = _arguments()
    folder, console = Settings.read().home.path / "bench", Console(width=120)
    with console.status(f"landing {COPIES} copies of the shop's events, once"):
        shop = open_shop(folder / "home_of_copies", fifty(), COPIES)
    if (shop.refresh.t_ms, shop.refresh.cut, shop.refresh.today) != fifty_polars.MOMENT:
        sys.exit("the contestants ask about another instant than the end of this data")
    everyone = [c for c in contestants(shop, folder) if c.name == OURS or c.name.startswith(tuple(arguments.only))]
    with console.status("comparing all values"):
        wrong = {name: found for name, found in agree(everyone, folder).items() if found}
    if wrong:
        console.print(wrong)
        sys.exit("values differ: no time is worth showing")
    with console.status("measuring"):
        runs: list[Run] = [run_alone(contestant) for _ in range(arguments.rounds) for contestant in everyone]
    values, files = len(shop.checked.values), len(shop.lake_files)
    console.print(
        f"{values} values of each profile over {shop.events:,} events in {files} files, the same from every "
        f"contestant\n{this_machine()}",
        highlight=False,
    )
    console.print(runs_table(runs, OURS, shop.events))
    facts = {"events": shop.events, "values": values, "files": files}
    console.print(f"raw timings: {keep(folder, 'fifty_traits', facts, runs)}", soft_wrap=True, highlight=False)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Fifty traits over ten copies of the shop, by six contestants.")
    parser.add_argument("--rounds", type=int, default=MIN_ROUNDS, help=f"timed runs of each, at least {MIN_ROUNDS}")
    parser.add_argument("--only", nargs="+", default=[""], help="contestants whose names begin so, beside ours")
    arguments = parser.parse_args()
    if arguments.rounds < MIN_ROUNDS:
        parser.error(f"--rounds takes {MIN_ROUNDS} or more: fewer say nothing")
    return arguments


if __name__ == "__main__":
    main()
