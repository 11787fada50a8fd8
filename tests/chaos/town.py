"""The processes of one installation, API, worker and Valkey: killed by a test, started again as by a supervisor.

Everything runs as it does for a user: `tinycdp serve`, `tinycdp worker`, the Valkey of the home with its append-only
file written at every step. What dies comes back a moment later, until the town is at rest.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import httpx
import redis

from dsl.apikeys import KeyKind
from dsl.catalog import Catalog, EventSchema, Flag, Rule, Trait
from serving.online import connect, embedded
from serving.online.keys import Keys
from serving.online.log import late_waiting
from serving.online.store import newest_seq
from tests.serving.api import free_port
from tinycdp.workspace import Workspace
from warehouse.records import Project
from warehouse.registry import Registry
from warehouse.settings import Home, Settings

ROOT = Path(__file__).parents[2]
FLAG = "counted"
CATALOG = Catalog(
    events=(EventSchema("tick", {"n": "number"}),),
    traits=(Trait("ticks", "events.tick.count"), Trait("total", "events.tick.sum(n)")),
    flags=(Flag(FLAG, (Rule("ticks >= 0 && total >= 0", "on"),)),),
)
"""A flag whose reasons say how many ticks of somebody are known, and what their numbers add up to."""
_KINDS: tuple[KeyKind, ...] = ("write", "read")
_COMMANDS: Mapping[str, tuple[str, ...]] = {
    "api": ("-m", "tinycdp", "serve", "--port"),
    "worker": ("-m", "tinycdp", "worker"),
    "upkeep": ("-m", "tests.chaos.upkeep"),
    "refresh": ("-m", "tinycdp", "refresh", "--json"),
}

Name = Literal["api", "worker"]
Target = Literal["api", "worker", "store"]


@dataclass(frozen=True, slots=True)
class Aim:
    """Where a process is to be killed: at a fail-point, the `hits`-th time that any process gets there."""

    place: str
    hits: int
    counter: Path

    def environment(self) -> dict[str, str]:
        """What makes a process that is started with it die there."""
        return {"TINYCDP_FAILPOINT": f"{self.place}:{self.hits}", "TINYCDP_FAILPOINT_FILE": str(self.counter)}

    @property
    def was_hit(self) -> bool:
        """Whether a process has been killed there."""
        return self.counter.exists() and self.counter.read_bytes().count(b"\n") >= self.hits


@dataclass(slots=True, eq=False)
class Town:
    """A home with its processes.

    Attributes:
        keys: one that works of each kind.
        deaths: how often each process was killed, by name.
    """

    folder: Path
    settings: Settings
    registry: Registry
    project: Project
    client: redis.Redis
    keys: dict[KeyKind, str]
    port: int
    deaths: Counter[str] = field(default_factory=Counter)
    _running: "dict[str, subprocess.Popen[bytes]]" = field(default_factory=dict)
    _aims: dict[str, Aim | None] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def home(self) -> Home:
        """Where its data lies."""
        return self.settings.home

    @property
    def address(self) -> str:
        """Of the API."""
        return f"http://127.0.0.1:{self.port}"

    def start(self, name: str, aim: Aim | None = None) -> "subprocess.Popen[bytes]":
        """Start a process, in a group of its own."""
        arguments = (*_COMMANDS[name], str(self.port)) if name == "api" else _COMMANDS[name]
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=ROOT,
                env=self._environment(aim),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        with self._lock:
            self._running[name], self._aims[name] = process, aim
        return process

    def start_once(self, name: str, aim: Aim | None = None) -> None:
        """Start a process with an aim, or without one unless it runs and has none left."""
        held = self._aims.get(name)
        if aim is None and name in self._running and (held is None or held.was_hit):
            return
        self.stop(name)
        self.start(name, aim)

    def run(self, *arguments: str) -> Any:
        """The document that a command of `tinycdp` prints with `--json`; the command has to succeed."""
        done = subprocess.run(
            [sys.executable, "-m", "tinycdp", *arguments],
            cwd=ROOT,
            env=self._environment(None),
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    def said(self, name: str) -> str:
        """What the log of a process says, the last of it."""
        return (self.folder / f"{name}.log").read_text(errors="replace")[-4_000:]

    def _environment(self, aim: Aim | None) -> dict[str, str]:
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("TINYCDP_", "DAGSTER_"))}
        ours = {"TINYCDP_HOME": str(self.home.path), "PYTHONPATH": str(ROOT)}
        return {**clean, **ours, **(aim.environment() if aim else {})}

    def tend(self) -> None:
        """Start again what has died."""
        with self._lock:
            if not embedded.is_running(self.home.valkey):
                embedded.start(self.home.valkey)
            for name in ("api", "worker"):
                process = self._running.get(name)
                if process is not None and process.poll() is not None:
                    self.deaths[f"{name}, exit {process.returncode}"] += 1
                    _end_group(process)
                    self.start(name, self._aims[name])

    @contextmanager
    def tended(self) -> Iterator[None]:
        """A moment after a process dies it is started again, meanwhile."""
        done = threading.Event()

        def tend() -> None:
            while not done.wait(0.1):
                self.tend()

        thread = threading.Thread(target=tend, name="tender")
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def kill(self, target: Target) -> None:
        """`kill -9`: all of the API, the worker, or Valkey."""
        with self._lock:
            self.deaths[f"{target}, killed"] += 1
            if target == "store":
                with suppress(FileNotFoundError, ValueError, ProcessLookupError):
                    os.kill(int((self.home.valkey / "valkey.pid").read_text()), signal.SIGKILL)
            elif target in self._running:
                _end_group(self._running[target])

    def stop(self, *names: str) -> None:
        """Kill processes for good; they are not started again."""
        with self._lock:
            for name in names:
                process = self._running.pop(name, None)
                if process is not None:
                    _end_group(process)

    def forget_ids(self, event_ids: Iterable[str]) -> None:
        """What a week does: the online store no longer knows these ids."""
        keys = [Keys(self.project.key).event(event_id) for event_id in event_ids]
        if keys:
            self.client.delete(*keys)

    def until_up(self) -> None:
        """Wait until the API answers with a store behind it."""
        for _ in _until(60):
            with suppress(httpx.TransportError):
                if httpx.get(f"{self.address}/health", timeout=2).status_code == httpx.codes.OK:
                    return
        raise AssertionError(f"the API does not come up: {self.said('api')}")

    def until_landed(self) -> int:
        """Wait until all that was appended has landed and nobody waits in the late lane; the newest cut."""
        for _ in _until(90):
            with suppress(redis.RedisError):
                # In this order: what leaves the lane for the log has its number then.
                waiting = late_waiting(self.client, self.project.key)
                newest = newest_seq(self.client, self.project.key, 0)
                announced = int(str(self.client.get(Keys(self.project.key).cut) or 0))
                if newest == self.registry.landed_seq(self.project.key) == announced and not waiting:
                    return newest
        raise AssertionError(f"what was appended does not land: {self.said('worker')}")

    def close(self) -> None:
        """End everything that runs."""
        self.stop(*list(self._running))
        self.client.close()
        self.registry.close()
        embedded.stop(self.home.valkey)


@contextmanager
def open_town(folder: Path) -> Iterator[Town]:
    """An empty one, with keys and the catalog, before any process but Valkey runs."""
    settings = Settings(Home(folder / "home"))
    workspace = Workspace(settings)
    settings.home.path.mkdir(parents=True)
    registry = Registry(settings.registry_url)
    project = workspace.ensure_project(registry)
    keys = {kind: registry.create_key(project.key, kind).plain for kind in _KINDS}
    workspace.apply(registry, CATALOG)
    client = connect(embedded.start(settings.home.valkey))
    town = Town(folder, settings, registry, project, client, keys, free_port())
    try:
        yield town
    finally:
        town.close()


def _end_group(process: "subprocess.Popen[bytes]") -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _until(seconds: float) -> Iterator[None]:
    """Turns of a waiting loop."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield
        time.sleep(0.05)
