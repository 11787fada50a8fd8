"""Decisions over HTTP, against the limits of the server under them, and against Feast's feature server.

One flag over three segments and eight aggregates, about users drawn at random, each with some sixty events: answered
from the store (`uncached`) and from what the process keeps (`cached`); beside it, on the same server (granian, one
worker) FastAPI routes that do nothing, and that do nothing but one `MGET`; and Feast's own server reading ten values of
a user from the same Valkey. `wrk` (of Debian) asks, over connections that are kept. Contestants run in turns; medians
are shown, raw timings are kept as JSON.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

import httpx
from rich.console import Console

from benchmarks.feast_server import feast_server
from benchmarks.machine import load_line, this_machine
from benchmarks.report import figures_table, keep
from dsl.apikeys import digest, new_key
from dsl.catalog import Catalog, EventSchema, Flag, Rule, Segment
from dsl.check import check_catalog
from dsl.clock import DAY_MS
from dsl.event import Event
from dsl.failure import Failure
from dsl.identifiers import profile_id
from dsl.identity_records import Profile
from dsl.tile_codec import pack
from dsl.tiles import tiles_of
from serving.online import Fold, Publication, Snapshot, connect, embedded, publish_keys, publish_profiles, reserve_seq
from serving.online.project import publish_calendar
from tinycdp.supervisor import free_port
from warehouse.settings import Home, Settings

PROJECT: Final = "bench"
USERS: Final = 2_000
CATALOG: Final = Catalog(
    events=(EventSchema("purchase", {"amount": "number", "category": "string"}), EventSchema("visit", {})),
    attributes={"plan": "string"},
    segments=(
        Segment("buyers", "events.purchase.count_30d >= 3 && events.purchase.sum_90d(amount) >= 100"),
        Segment(
            "regulars",
            "events.visit.count_7d >= 2 && events.visit.unique_days_14d >= 2 && events.visit.days_since_last < 30",
        ),
        Segment(
            "readers",
            'events.purchase[category == "books"].count_90d >= 1 && events.purchase.avg_30d(amount) > 5'
            ' && events.purchase.last(category) != "toys"',
        ),
    ),
    flags=(
        Flag(
            "offer",
            (
                Rule('segment("buyers") && segment("regulars") && segment("readers")', "on"),
                Rule('segment("buyers") && profile.plan == "gold"', "on"),
            ),
        ),
    ),
)
_SCRIPT: Final = Path(__file__).with_suffix(".wrk.lua")
_BASELINE: Final = (
    "from granian import Granian; from granian.constants import Interfaces; import sys;"
    "Granian('benchmarks.baseline_app:factory', address='127.0.0.1', port=int(sys.argv[1]), interface=Interfaces.ASGI,"
    " factory=True, workers=1, websockets=False, log_access=False).serve()"
)


@dataclass(frozen=True, slots=True)
class Contestant:
    """Something that answers: its address and path, its key, and what `wrk` sends."""

    name: str
    address: str
    path: str
    key: str = ""
    kind: str = "plain"


@dataclass(frozen=True, slots=True)
class Run:
    """One timed run of `wrk`."""

    contestant: str
    connections: int
    requests: int
    seconds: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    failed: int


@contextmanager
def api(settings: Settings, variables: Mapping[str, str]) -> Iterator[str]:
    """Address of an API with these settings."""
    port = free_port()
    its_own = {"TINYCDP_HOME": str(settings.home.path), "TINYCDP_PROJECT": PROJECT, **variables,
               "TINYCDP_REDIS_URL": str(settings.redis_url), "TINYCDP_LOG_LEVEL": "warning"}  # fmt: skip
    outside = {name: value for name, value in os.environ.items() if not name.startswith("TINYCDP_")}
    code = f"from serving.http.server import serve; serve('127.0.0.1', {port})"
    process = subprocess.Popen([sys.executable, "-c", code], env={**outside, **its_own})
    try:
        wait_for(f"http://127.0.0.1:{port}/health")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


def publish_users(settings: Settings) -> str:
    """Users with sixty events each over ninety days, in bases; a read key."""
    client, fold = connect(str(settings.redis_url)), Fold(check_catalog(CATALOG))
    now_ms = time.time_ns() // 1_000_000
    cut = USERS * 60
    reserve_seq(client, PROJECT, cut, 0)
    publication = Publication(client, PROJECT, Snapshot(cut, now_ms, 1, 0, "UTC"))
    publication.begin()
    ids = [f"user:user-{number}" for number in range(USERS)]
    publish_profiles(client, PROJECT, cut, [Profile(profile_id(each), each, 1, {each: 1}) for each in ids])
    publication.bases(
        [{each: pack(tiles_of(_events(each, now_ms), fold.bases, fold.checked), fold.bases) for each in ids}]
    )
    publication.end(CATALOG.to_document())
    client.mset({f"baseline:user-{number}": "x" * 600 for number in range(USERS)} | {"baseline:catalog": "1"})
    key = new_key("read")
    publish_calendar(client, PROJECT, "UTC", 0)
    publish_keys(client, PROJECT, {digest(key): "read"})
    client.close()
    return key


def _events(source: str, now_ms: int) -> list[Event]:
    seed, found = int(source.rpartition("-")[2]), []
    for number in range(60):
        ts_ms = now_ms - (number * 37 + seed) % 90 * DAY_MS - number * 60_000 - 1
        name = "purchase" if (number + seed) % 3 else "visit"
        category = ("books", "toys", "food")[(seed + number) % 3]
        properties = {"amount": (number % 50 + 1) * 1_000_000, "category": category} if name == "purchase" else {}
        found.append(Event(f"{source}-{number}", number + 1, "track", name, source, ts_ms, ts_ms // DAY_MS, properties))
    return found


@contextmanager
def baseline(settings: Settings) -> Iterator[str]:
    """Address of the routes that do nothing."""
    port = free_port()
    outside = {**os.environ, "BASELINE_REDIS_URL": str(settings.redis_url)}
    process = subprocess.Popen([sys.executable, "-c", _BASELINE, str(port)], env=outside, stderr=subprocess.DEVNULL)
    try:
        wait_for(f"http://127.0.0.1:{port}/noop")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def measure(who: Contestant, connections: int, seconds: float) -> Run:
    """One run of `wrk` with one thread."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(_SCRIPT), who.address]
    arguments = [who.path, who.key, str(USERS), who.kind]
    done = subprocess.run([*command, "--", *arguments], capture_output=True, text=True, check=True)
    return Run(who.name, connections, **json.loads(done.stdout.splitlines()[-1]))


def rows(runs: Sequence[Run]) -> list[list[str]]:
    """A line a contestant and number of connections: medians, and how they compare with the others."""

    def rate(name: str, connections: int) -> float | None:
        own = [run.requests / run.seconds for run in runs if (run.contestant, run.connections) == (name, connections)]
        return median(own) if own else None

    def compared(value: float, name: str, connections: int) -> str:
        other = rate(name, connections)
        return "" if other is None else f"{value / other:.2f}"

    found = []
    for name, connections in dict.fromkeys((run.contestant, run.connections) for run in runs):
        own = [run for run in runs if (run.contestant, run.connections) == (name, connections)]
        mine = rate(name, connections) or 0.0
        against = [compared(mine, other, connections) for other in ("no-op", "no-op + MGET", "Feast, 10 values")]
        latencies = [f"{median(getattr(run, f'p{at}_ms') for run in own):.2f}" for at in (50, 95, 99)]
        found.append([name, str(connections), f"{mine:,.0f}", *against, *latencies, str(sum(r.failed for r in own))])
    return found


def wait_for(url: str, headers: Mapping[str, str] | None = None, seconds: float = 60) -> None:
    """Until something is answered there."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            if httpx.get(url, headers=headers).status_code < 600:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise Failure(f"nothing answers at {url}")


def contestants(settings: Settings, stack: ExitStack, *, with_feast: bool) -> list[Contestant]:
    """All of them, running until the stack is left."""
    limits = stack.enter_context(baseline(settings))
    found = [
        Contestant("no-op", limits, "/noop?userId="),
        Contestant("no-op + MGET", limits, "/mget?userId="),
    ]
    key = publish_users(settings)
    for name, variables in (("decide, uncached", {"TINYCDP_DECIDE_CACHE_TTL": "0"}), ("decide, cached", {})):
        address = stack.enter_context(api(settings, variables))
        found.append(Contestant(name, address, "/v1/decide?flag=offer&userId=", key))
    if with_feast:
        address = stack.enter_context(feast_server(settings, USERS))
        found.append(Contestant("Feast, 10 values", address, "/get-online-features", kind="feast"))
    return found


def main() -> None:
    """Measures and prints."""
    options = _arguments()
    if shutil.which("wrk") is None:
        raise SystemExit("`wrk` is not installed: it is a package of Debian (`apt-get install wrk`)")
    console, bench = Console(width=160), Settings.read().home.path / "bench"
    console.print(f"python -m benchmarks.decide\n{this_machine()}\n{load_line()}", highlight=False)
    runs: list[Run] = []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        home = Home(Path(folder))
        stack.callback(embedded.stop, home.valkey)
        settings = Settings(home, embedded.start(home.valkey), PROJECT)
        them = contestants(settings, stack, with_feast=not options.without_feast)
        for who in them:
            measure(who, 16, 2)  # warm
        for _ in range(options.rounds):
            runs += [measure(who, c, options.seconds) for c in options.connections for who in them]
    titles = (
        *("contestant", "connections", "requests/s", "of no-op", "of no-op + MGET", "of Feast"),
        *("p50 ms", "p95 ms", "p99 ms", "failed"),
    )
    console.print(figures_table(titles, rows(runs)))
    console.print(load_line(), highlight=False)
    console.print(f"raw timings: {keep(bench, 'decide', {}, runs)}", soft_wrap=True, highlight=False)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Decisions over HTTP, against the limits of the server under them.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="of each run of wrk")
    parser.add_argument("--connections", type=int, nargs="+", default=(1, 16, 64))
    parser.add_argument("--without-feast", action="store_true", help="which takes minutes to install the first time")
    return parser.parse_args()


if __name__ == "__main__":
    main()
