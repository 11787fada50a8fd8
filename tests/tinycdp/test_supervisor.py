"""The supervisor: what dies comes back, what is stopped stays down."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from serving.online import connect, embedded
from tinycdp.running import keep_store
from tinycdp.supervisor import Command, ProcessFailure, Supervisor
from warehouse.settings import Home, Settings

SLEEPER = "import os, sys, time; open(sys.argv[1], 'a').write(f'{os.getpid()}\\n'); time.sleep(600)"


def sleeper(name: str, folder: Path) -> Command:
    """A command that notes its process id and sleeps."""
    return Command(name, (sys.executable, "-c", SLEEPER, str(folder / f"{name}.pids")), folder / f"{name}.log")


def pids(name: str, folder: Path) -> list[int]:
    """Process ids that the command of that name has had, in order."""
    path = folder / f"{name}.pids"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def until(condition: Callable[[], bool], within_s: float = 20.0) -> None:
    """Returns once the condition holds."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    """Whether the process is there."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_process_that_dies_is_started_again_and_the_others_are_left_alone(tmp_path: Path) -> None:
    """A killed process comes back, its neighbour keeps its process id, and the reason is said."""
    said: list[str] = []
    supervisor = Supervisor([sleeper("one", tmp_path), sleeper("two", tmp_path)], said.append)
    supervisor.start()
    watcher = threading.Thread(target=lambda: until(lambda: len(pids("one", tmp_path)) == 2))
    until(lambda: bool(pids("one", tmp_path)) and bool(pids("two", tmp_path)))
    os.kill(pids("one", tmp_path)[0], signal.SIGKILL)
    watcher.start()
    while watcher.is_alive():
        supervisor.tend()
        time.sleep(0.02)
    supervisor.stop()
    assert [len(pids(name, tmp_path)) for name in ("one", "two")] == [2, 1]
    assert "one ended with code -9" in said[0]
    assert [is_alive(pid) for pid in (*pids("one", tmp_path), *pids("two", tmp_path))] == [False, False, False]


def test_the_embedded_store_is_started_again(home: Home) -> None:
    """A Valkey that was killed comes back with what it held; with a store of one's own nothing is started."""
    said: list[str] = []
    connect(embedded.start(home.valkey)).set("kept", "1")
    supervisor = Supervisor([], said.append, keep_store(Settings(home), said.append))
    supervisor.tend()
    assert [] == said
    os.kill(int((home.valkey / "valkey.pid").read_text()), signal.SIGKILL)
    until(lambda: not embedded.is_running(home.valkey))
    supervisor.tend()
    assert "1" == connect(embedded.embedded_url(home.valkey)).get("kept")
    assert ["the embedded Valkey has ended"] == [text[:29] for text in said]
    embedded.stop(home.valkey)
    keep_store(Settings(home, "redis://127.0.0.1:9/0"), said.append)()
    assert not embedded.is_running(home.valkey)


def test_a_signal_stops_every_process(tmp_path: Path) -> None:
    """SIGTERM to the supervisor ends all that it runs before `watch` returns."""
    supervisor = Supervisor([sleeper("one", tmp_path), sleeper("two", tmp_path)], lambda text: None)
    supervisor.start()
    until(lambda: bool(pids("one", tmp_path)) and bool(pids("two", tmp_path)))
    threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGTERM)).start()
    supervisor.watch()
    assert [is_alive(pids(name, tmp_path)[0]) for name in ("one", "two")] == [False, False]


def test_a_process_that_ends_at_once_is_reported_with_its_log(tmp_path: Path) -> None:
    """Waiting for a process that cannot start fails at once and says where to read."""
    command = Command("api", (sys.executable, "-c", "print('no such thing')"), tmp_path / "api.log")
    supervisor = Supervisor([command], lambda text: None)
    supervisor.start()
    with pytest.raises(ProcessFailure, match=r"api ended at once: read .*api\.log"):
        supervisor.wait_for("http://127.0.0.1:9/health", within_s=20)
    assert (tmp_path / "api.log").read_text() == "no such thing\n"
