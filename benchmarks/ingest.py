"""Taking events in over HTTP, each on disk before it is answered, against the same server's route that does nothing.

`wrk` (of Debian) sends: a body that nothing is made of, single events, batches of a hundred. Contestants run in turns,
and a contestant is compared with the no-op of its own turn. The no-op is `POST /v1/m`, an ordinary route of the
framework: what is made fast for events alone does not make it faster. Then one client tracks an event and asks a
decision that it changes, one after the other: how long until the answer that knows it. Shown are medians, the processor
time of API and store for each event, and how long the disk takes to make a record durable, which no single event can go
below; raw timings are kept as JSON.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Final
from uuid import uuid4

import httpx
from rich.console import Console

from benchmarks.machine import load_line, this_machine
from benchmarks.report import figures_table, keep
from dsl.catalog import Catalog, Flag, Rule
from dsl.failure import Failure
from serving.online import connect, embedded, publish_catalog, publish_keys
from serving.online.project import publish_calendar
from tinycdp.supervisor import free_port
from warehouse.registry import Registry
from warehouse.settings import Home, Settings

PROJECT: Final = "bench"
EVENTS: Final = {"no-op": 0, "single": 1, "batches of 100": 100}
_PATHS: Final = {
    "no-op": ("none", "/v1/m"),
    "single": ("single", "/v1/track"),
    "batches of 100": ("batch", "/v1/batch"),
}
_TITLES: Final = (
    "contestant",
    "connections",
    "requests/s",
    "of no-op",
    "events/s",
    "p50 ms",
    "p99 ms",
    "API us",
    "store us",
    "failed",
)
_SCRIPT: Final = Path(__file__).with_suffix(".wrk.lua")
CATALOG: Final = Catalog(flags=(Flag("known", (Rule("events.purchase.count_30d >= 1", "on"),)),))


@dataclass(frozen=True, slots=True)
class Run:
    """One timed run of `wrk`, or of the client that tracks and asks (`connections` 1).

    Attributes:
        turn: those of one turn ran one after the other.
        api_us: processor time of the API for each event (or request without one), microseconds; `store_us` the store's.
    """

    contestant: str
    connections: int
    turn: int
    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    failed: int
    api_us: float = 0.0
    store_us: float = 0.0

    @property
    def events_a_second(self) -> float:
        """Events, or requests where there are none."""
        return self.requests * max(1, EVENTS.get(self.contestant, 0)) / self.seconds


@dataclass(frozen=True, slots=True)
class Server:
    """A running API: its address, an admin key, the ids of its processes and of its store's."""

    address: str
    key: str
    api: tuple[int, ...]
    store: tuple[int, ...]


@contextmanager
def api(settings: Settings) -> Iterator[Server]:
    """An API over an empty project, with the settings that it ships with."""
    with Registry(settings.registry_url) as registry:
        registry.create_project(PROJECT)
        made = registry.create_key(PROJECT, "admin")
    client = connect(str(settings.redis_url))
    publish_calendar(client, PROJECT, "UTC", 0)
    publish_keys(client, PROJECT, {made.key.digest: "admin"})
    publish_catalog(client, PROJECT, 1, CATALOG.to_document())
    port = free_port()
    environment = {"TINYCDP_HOME": str(settings.home.path), "TINYCDP_PROJECT": PROJECT,
                   "TINYCDP_REDIS_URL": str(settings.redis_url)}  # fmt: skip
    code = f"from serving.http.server import serve; serve('127.0.0.1', {port})"
    process = subprocess.Popen([sys.executable, "-c", code], env={**_outside(), **environment},
                               stderr=subprocess.DEVNULL)  # fmt: skip
    try:
        _wait(f"http://127.0.0.1:{port}/health")
        store = int(client.info("server")["process_id"])
        yield Server(f"http://127.0.0.1:{port}", made.plain, (process.pid, *children(process.pid)), (store,))
    finally:
        process.terminate()
        process.wait(20)


def measure(server: Server, contestant: str, connections: int, seconds: int, turn: int) -> Run:
    """One run of `wrk` with one thread."""
    kind, path = _PATHS[contestant]
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(_SCRIPT), server.address + path]
    before = processor_s(server.api), processor_s(server.store)
    done = subprocess.run(
        [*command, "--", kind, server.key, uuid4().hex[:8]], capture_output=True, text=True, check=True
    )
    said = json.loads(done.stdout.splitlines()[-1])
    each = 1e6 / max(1, said["requests"]) / max(1, EVENTS[contestant])
    used = (processor_s(server.api) - before[0]) * each, (processor_s(server.store) - before[1]) * each
    return Run(contestant, connections, turn, **said, api_us=used[0], store_us=used[1])


def track_then_ask(server: Server, times: int, turn: int) -> Run:
    """From the moment an event is sent to the decision that knows it, for somebody new each time.

    An answer that was given without the store, which took longer than a decision waits for it, is asked for again: that
    counts as failed.

    Raises:
        Failure: a decision read the store and did not know the event.
    """
    taken, failed = [], 0
    with httpx.Client(base_url=server.address, headers={"authorization": f"Bearer {server.key}"}) as http:
        for number in range(times):
            who = f"new-{number}-{uuid4().hex[:6]}"
            begin = time.perf_counter()
            http.post("/v1/track", json={"userId": who, "event": "purchase"}).raise_for_status()
            while not (answer := http.get("/v1/decide", params={"userId": who, "flag": "known"}).json())["allow"]:
                if answer["stale"] != "store_unavailable":
                    raise Failure(f"a decision did not know the event that was answered before: {answer}")
                failed += 1
            taken.append((time.perf_counter() - begin) * 1_000)
    percentiles = median(taken), quantiles(taken, n=100)[98]
    return Run("track, then decide", 1, turn, times, sum(taken) / 1_000, *percentiles, failed)


def durable_ms(folder: Path, times: int = 200) -> list[float]:
    """How long the disk of a folder takes to make one short record durable, each time, sorted."""
    taken = []
    with (folder / "disk").open("ab", buffering=0) as file:
        for _ in range(times):
            file.write(b"x" * 500)
            begin = time.perf_counter()
            os.fdatasync(file.fileno())
            taken.append((time.perf_counter() - begin) * 1_000)
    return sorted(taken)


def children(pid: int) -> list[int]:
    """The processes that a process has started, and theirs."""
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    own = [int(child) for child in listed.read_text().split()] if listed.exists() else []
    return own + [each for child in own for each in children(child)]


def processor_s(pids: Iterable[int]) -> float:
    """Seconds that a processor has spent on processes; 0 where the system does not tell."""
    found = 0
    for task in [task for pid in pids for task in Path(f"/proc/{pid}/task").glob("*/schedstat")]:
        with suppress(OSError):  # a thread that has just ended
            found += int(task.read_text().split()[0])
    return found / 1e9


def rows(runs: Sequence[Run]) -> list[list[str]]:
    """A line a contestant and number of connections: medians, and that of the ratios to the no-op of the same turn."""
    idle = {(r.connections, r.turn): r.requests / r.seconds for r in runs if r.contestant == "no-op"}
    found = []
    for name, connections in dict.fromkeys((run.contestant, run.connections) for run in runs):
        own = [run for run in runs if (run.contestant, run.connections) == (name, connections)]
        ratios = [run.requests / run.seconds / idle[connections, run.turn] for run in own if name in EVENTS]
        figures = [
            f"{median(run.requests / run.seconds for run in own):,.0f}",
            f"{median(ratios):.2f}" if ratios else "",
            f"{median(run.events_a_second for run in own):,.0f}",
            *(f"{median(getattr(run, field) for run in own):.2f}" for field in ("p50_ms", "p99_ms")),
            *(f"{median(getattr(run, field) for run in own):.0f}" for field in ("api_us", "store_us")),
            str(sum(run.failed for run in own)),
        ]
        found.append([name, str(connections), *figures])
    return found


def main() -> None:
    """Measures and prints."""
    options = _arguments()
    if shutil.which("wrk") is None:
        raise SystemExit("`wrk` is not installed: it is a package of Debian (`apt-get install wrk`)")
    console, bench = Console(width=140), Settings.read().home.path / "bench"
    console.print(f"python -m benchmarks.ingest\n{this_machine()}\n{load_line()}", highlight=False)
    runs: list[Run] = []
    bench.mkdir(parents=True, exist_ok=True)
    # On the disk of the home, not in memory: what is measured is also how soon an event is on disk.
    with tempfile.TemporaryDirectory(dir=bench) as folder:
        home, disk = Home(Path(folder)), durable_ms(Path(folder))
        settings = Settings(home, embedded.start(home.valkey), PROJECT)
        try:
            with api(settings) as server:
                for turn in range(options.rounds):
                    for connections in options.connections:
                        runs += [measure(server, name, connections, options.seconds, turn) for name in _PATHS]
                    runs.append(track_then_ask(server, options.times, turn))
        finally:
            embedded.stop(home.valkey)
        disk = sorted(disk + durable_ms(Path(folder)))
    console.print(figures_table(_TITLES, rows(runs)))
    console.print(f"the disk makes a record durable in {median(disk):.2f} ms (p99 {disk[-len(disk) // 100]:.2f} ms)")
    console.print(load_line(), highlight=False)
    kept = keep(bench, "ingest", {"disk_ms": disk}, runs)
    console.print(f"raw timings: {kept}", soft_wrap=True, highlight=False)


def _outside() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("TINYCDP_")}


def _wait(url: str) -> None:
    for _ in range(200):
        try:
            if httpx.get(url).status_code in (200, 503):
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise Failure(f"nothing answers at {url}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Taking events in over HTTP, against a route that does nothing.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="of each run of wrk")
    parser.add_argument("--connections", type=int, nargs="+", default=(1, 16))
    parser.add_argument("--times", type=int, default=500, help="of tracking and asking, a round")
    return parser.parse_args()


if __name__ == "__main__":
    main()
