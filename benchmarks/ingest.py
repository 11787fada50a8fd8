"""Taking events in over HTTP, each on disk before it is answered, against the same server's route that does nothing.

`wrk` (of Debian) sends: a body that nothing is made of, single events, batches of a hundred. Contestants run in turns.
Then one client tracks an event and asks a decision that it changes, one after the other: how long until the answer
that knows it. Medians are shown; raw timings are kept as JSON.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
_SCRIPT: Final = Path(__file__).with_suffix(".wrk.lua")
CATALOG: Final = Catalog(flags=(Flag("known", (Rule("events.purchase.count_30d >= 1", "on"),)),))


@dataclass(frozen=True, slots=True)
class Run:
    """One timed run of `wrk`, or of the client that tracks and asks (`connections` 1)."""

    contestant: str
    connections: int
    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    failed: int

    @property
    def events_a_second(self) -> float:
        """Events, or requests where there are none."""
        return self.requests * max(1, EVENTS.get(self.contestant, 0)) / self.seconds


@contextmanager
def api(settings: Settings) -> Iterator[tuple[str, str]]:
    """Address and admin key of an API over an empty project."""
    with Registry(settings.registry_url) as registry:
        registry.create_project(PROJECT)
        made = registry.create_key(PROJECT, "admin")
    client = connect(str(settings.redis_url))
    publish_calendar(client, PROJECT, "UTC", 0)
    publish_keys(client, PROJECT, {made.key.digest: "admin"})
    publish_catalog(client, PROJECT, 1, CATALOG.to_document())
    port = free_port()
    environment = {"TINYCDP_HOME": str(settings.home.path), "TINYCDP_PROJECT": PROJECT,
                   "TINYCDP_REDIS_URL": str(settings.redis_url), "TINYCDP_LOG_LEVEL": "warning"}  # fmt: skip
    code = f"from serving.http.server import serve; serve('127.0.0.1', {port})"
    process = subprocess.Popen([sys.executable, "-c", code], env={**_outside(), **environment})
    try:
        _wait(f"http://127.0.0.1:{port}/health")
        yield f"http://127.0.0.1:{port}", made.plain
    finally:
        process.terminate()
        process.wait(20)


def measure(address: str, key: str, contestant: str, connections: int, seconds: int) -> Run:
    """One run of `wrk` with one thread."""
    kind, path = _PATHS[contestant]
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(_SCRIPT), address + path]
    done = subprocess.run([*command, "--", kind, key, uuid4().hex[:8]], capture_output=True, text=True, check=True)
    return Run(contestant, connections, **json.loads(done.stdout.splitlines()[-1]))


def track_then_ask(address: str, key: str, times: int) -> Run:
    """From the moment an event is sent to the decision that knows it, for somebody new each time.

    Raises:
        Failure: a decision did not know it.
    """
    taken = []
    with httpx.Client(base_url=address, headers={"authorization": f"Bearer {key}"}) as http:
        for number in range(times):
            who = f"new-{number}-{uuid4().hex[:6]}"
            begin = time.perf_counter()
            http.post("/v1/track", json={"userId": who, "event": "purchase"}).raise_for_status()
            answer = http.get("/v1/decide", params={"userId": who, "flag": "known"}).json()
            taken.append((time.perf_counter() - begin) * 1_000)
            if not answer["allow"]:
                raise Failure("a decision did not know the event that was answered before")
    return Run("track, then decide", 1, times, sum(taken) / 1_000, median(taken), quantiles(taken, n=100)[98], 0)


def rows(runs: Sequence[Run]) -> list[list[str]]:
    """A line a contestant and number of connections: medians, and the ratio to the route that does nothing."""
    found = []
    for name, connections in dict.fromkeys((run.contestant, run.connections) for run in runs):
        own = [run for run in runs if (run.contestant, run.connections) == (name, connections)]
        requests = median(run.requests / run.seconds for run in own)
        idle = [
            run.requests / run.seconds for run in runs if (run.contestant, run.connections) == ("no-op", connections)
        ]
        ratio = f"{requests / median(idle):.2f}" if idle else ""
        events = f"{median(run.events_a_second for run in own):,.0f}"
        latencies = [f"{median(getattr(run, field) for run in own):.2f}" for field in ("p50_ms", "p99_ms")]
        found.append(
            [name, str(connections), f"{requests:,.0f}", ratio, events, *latencies, str(sum(r.failed for r in own))]
        )
    return found


def main() -> None:
    """Measures and prints."""
    options = _arguments()
    if shutil.which("wrk") is None:
        raise SystemExit("`wrk` is not installed: it is a package of Debian (`apt-get install wrk`)")
    console, bench = Console(width=140), Settings.read().home.path / "bench"
    console.print(f"python -m benchmarks.ingest\n{this_machine()}\n{load_line()}", highlight=False)
    runs: list[Run] = []
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder))
        settings = Settings(home, embedded.start(home.valkey), PROJECT)
        try:
            with api(settings) as (address, key):
                for _ in range(options.rounds):
                    runs += [
                        measure(address, key, name, connections, options.seconds)
                        for connections in options.connections
                        for name in _PATHS
                    ]
                    runs.append(track_then_ask(address, key, options.times))
        finally:
            embedded.stop(home.valkey)
    titles = ("contestant", "connections", "requests/s", "of no-op", "events/s", "p50 ms", "p99 ms", "failed")
    console.print(figures_table(titles, rows(runs)))
    console.print(load_line(), highlight=False)
    console.print(f"raw timings: {keep(bench, 'ingest', {}, runs)}", soft_wrap=True, highlight=False)


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
