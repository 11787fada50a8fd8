"""Publishing the tiles of every source into the embedded Valkey, against `materialize` of Feast into the same server.

Thrice: 17 aggregates that share few tiles, 57 and 65 a source, and the demo's 17.

Ours begins at the tables of the warehouse and ends when the last base is written: values are folded from it at any
instant later, fresh events included. Feast's begins at a Parquet file that has the finished values, as many floats a
source as we publish aggregates. Both write into an emptied server that puts every write on disk (`appendfsync always`).
"""

import argparse
import json
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any, Final, cast

import redis
from rich.console import Console

from benchmarks.machine import load_line, this_machine
from benchmarks.report import figures_table, keep
from benchmarks.shop import PROJECT, land_copies, shop_catalog
from benchmarks.steps import Line, line_of
from dsl.catalog import Catalog, Trait
from dsl.check import CheckedCatalog, check_catalog
from serving.online import Publication, Snapshot
from serving.online.keys import Keys
from warehouse.columns import count, quoted
from warehouse.online_bases import packed_sources
from warehouse.refresh import Refresh
from warehouse.settings import Settings

MIN_ROUNDS: Final = 5
_FEW: Final = (
    *(
        f"events.{event}.{aggregate}"
        for event in ("purchase", "campaign_received", "coupon_redeemed")
        for aggregate in ("count", "count_365d", "count_{some}", "first_at", "last_at")
    ),
    *("events.purchase.count_30d", "events.campaign_received.count_30d"),
)
"""A trait each. A year is asked for, so that all days of the data are kept by themselves, and hours of some days."""
_SOME: Final = ("45d", "90d")
"""57 and 65 tiles a source."""
OURS: Final = "packed bases"
THEIRS: Final = "feast materialize"
FEAST: Final = "feast[redis]==0.67.0"
_FOLDER: Final = Path(__file__).parent / "feast"
_SAMPLE: Final = 500


@dataclass(frozen=True, slots=True)
class Run:
    """One publication of all sources into an empty server.

    Attributes:
        cpu_seconds: of the process that publishes; the server's are not in it.
        bytes_a_source: mean of what the server says its key takes, over a sample.
        server_bytes: by which the server's memory has grown, a source.
    """

    contestant: str
    tiles: int
    sources: int
    seconds: float
    cpu_seconds: float
    bytes_a_source: float
    server_bytes: float


def publish(line: Line, refresh: Refresh) -> Run:
    """Ours."""
    cast(Any, line.client).execute_command("FLUSHDB", "SYNC")
    before = _used(line.client)
    begin, begin_cpu = time.perf_counter(), time.process_time()
    snapshot = Snapshot(refresh.cut, refresh.t_ms, 1, 0, line.project.timezone)
    publication = Publication(line.client, PROJECT, snapshot)
    publication.begin()
    packed = packed_sources(line.connection, line.checked, refresh, 0, frozenset())
    sources = publication.bases(packed)
    seconds, cpu_seconds = time.perf_counter() - begin, time.process_time() - begin_cpu
    keys = line.client.scan_iter(match=Keys(PROJECT).base("*").replace("{", "[{]"), count=10_000)
    return _run(OURS, line, [str(key).encode() for key in keys], sources, (seconds, cpu_seconds), before)


def materialize(python: Path, line: Line, folder: Path, values: Path, sources: int) -> Run:
    """Feast's."""
    cast(Any, line.client).execute_command("FLUSHDB", "SYNC")
    before = _used(line.client)
    command = [str(python), str(_FOLDER / "materialize.py"), str(folder), str(values)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    told = json.loads(said.strip().splitlines()[-1])
    # Its keys are no text.
    raw = redis.Redis(unix_socket_path=_socket(line.client))
    keys = [cast(bytes, key) for key in raw.scan_iter(count=10_000)]
    fields = raw.hlen(keys[0]) - 1
    if (len(keys), fields) != (sources, len(line.checked.aggregates)):
        raise ValueError(f"Feast wrote {len(keys):,} keys of {fields} values for {sources:,} sources")
    raw.close()
    return _run(THEIRS, line, keys, sources, (told["seconds"], told["cpu_seconds"]), before)


def _run(name: str, line: Line, keys: list[bytes], sources: int, seconds: tuple[float, float], before: int) -> Run:
    client, tiles = line.client, count(line.connection, "SELECT count(*) FROM tiles")
    sample = random.Random(0).sample(keys, min(_SAMPLE, len(keys)))  # noqa: S311  # the same sample in each run
    sizes = [float(cast(Any, client).memory_usage(key, samples=0)) for key in sample]
    return Run(name, tiles, sources, *seconds, fmean(sizes), (_used(client) - before) / sources)


def _used(client: redis.Redis) -> int:
    return int(cast(Any, client).info("memory")["used_memory"])


def _socket(client: redis.Redis) -> str:
    return str(client.connection_pool.connection_kwargs["path"])


def feast_python(bench: Path) -> Path:
    """Feast's Python: an environment of its own, made once."""
    folder = bench / "feast-venv"
    if not (folder / "bin" / "feast").exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install", "-qq", FEAST]
        subprocess.run(pip, check=True)
    return folder / "bin" / "python"


def prepare_feast(line: Line, refresh: Refresh) -> tuple[Path, Path]:
    """Its folder, and the Parquet file of finished values."""
    folder = line.home.path / "feast"
    folder.mkdir()
    settings = (_FOLDER / "feature_store.yaml").read_text("utf-8")
    filled = settings.replace("{folder}", str(folder)).replace("{socket}", _socket(line.client))
    (folder / "feature_store.yaml").write_text(filled, "utf-8")
    columns = ", ".join(
        f"CAST({quoted(use.column)} AS FLOAT) AS feature_{number}"
        for number, use in enumerate(line.checked.aggregates.values())
    )
    values = folder / "values.parquet"
    line.connection.execute(
        f"COPY (SELECT source_id, make_timestamptz({refresh.t_ms} * 1000) AS happened_at, {columns} FROM aggregates "
        f"JOIN identities USING (profile_id) WHERE valid_to_seq IS NULL) TO '{values}' (FORMAT parquet)"
    )
    return folder, values


def rows(runs: Sequence[Run]) -> list[list[str]]:
    """A line a contestant and size: sources a second and their spread, seconds of its process, bytes a source."""
    found = []
    for tiles, name in dict.fromkeys((run.tiles, run.contestant) for run in runs):
        own = [run for run in runs if (run.tiles, run.contestant) == (tiles, name)]
        unit = median(run.seconds for run in runs if (run.tiles, run.contestant) == (tiles, OURS))
        rates = [run.sources / run.seconds for run in own]
        seconds, cores = median(run.seconds for run in own), median(run.cpu_seconds for run in own)
        sizes = (median(run.bytes_a_source for run in own), median(run.server_bytes for run in own))
        times = (f"{median(rates):,.0f}", f"{min(rates):,.0f}", f"{max(rates):,.0f}", f"{seconds:.2f}", f"{cores:.2f}")
        title = f"{name}, {tiles / own[0].sources:.0f} tiles a source"
        found.append([title, *times, f"{seconds / unit:.2f}", *(f"{size:,.0f}" for size in sizes)])
    return found


def measure(landed: Path, checked: CheckedCatalog, bench: Path, python: Path, rounds: int) -> list[Run]:
    """Both in turns, `rounds` times; what comes first, before files are in memory, does not count."""
    with line_of(landed, checked, bench) as line:
        refresh = line.compute(0)
        folder, values = prepare_feast(line, refresh)
        entities = count(line.connection, f"SELECT count(*) FROM '{values}'")
        runs: list[Run] = []
        for _ in range(rounds + 1):
            runs += [publish(line, refresh), materialize(python, line, folder, values, entities)]
    return runs[2:]


def few_tiles(some: str) -> CheckedCatalog:
    """As many aggregates as the demo has, of few tiles: hours are kept of some days."""
    timezone = shop_catalog().catalog.timezone
    traits = tuple(Trait(f"t{number}", text.format(some=some)) for number, text in enumerate(_FEW))
    return check_catalog(Catalog(traits=traits, timezone=timezone))


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description="All sources into the online store, by us and by Feast.")
    parser.add_argument("--rounds", type=int, default=MIN_ROUNDS, help=f"timed runs of each, at least {MIN_ROUNDS}")
    parser.add_argument("--copies", type=int, default=10, help="of the shop")
    options = parser.parse_args()
    if options.rounds < MIN_ROUNDS:
        parser.error(f"--rounds takes {MIN_ROUNDS} or more: fewer say nothing")
    bench, console = Settings.read().home.path / "bench", Console(width=140)
    landed = bench / ("home_of_copies" if options.copies == 10 else f"home_of_{options.copies}_copies")
    land_copies(landed, options.copies)
    with console.status("installing Feast, once"):
        python = feast_python(bench)
    runs: list[Run] = []
    with console.status("measuring"):
        for checked in (*map(few_tiles, _SOME), shop_catalog()):
            runs += measure(landed, checked, bench, python, options.rounds)
    facts = {"aggregates": len(_FEW), "baseline": FEAST}
    console.print(
        f"python -m benchmarks.publication\n{runs[0].sources:,} sources, {len(_FEW)} aggregates, {FEAST}\n"
        f"{this_machine()}\n{load_line()}",
        highlight=False,
        markup=False,
    )
    titles = ("sources/s", "median", "min", "max", "seconds", "cores", "ratio", "bytes a source", "server's growth")
    console.print(figures_table(titles, rows(runs)))
    console.print(f"raw timings: {keep(bench, 'publication', facts, runs)}", soft_wrap=True, highlight=False)


if __name__ == "__main__":
    main()
