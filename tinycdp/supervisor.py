"""Keeps processes running: one that dies is started again, ctrl-C or SIGTERM stops all in order."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from urllib.request import urlopen

from dsl.failure import Failure
from warehouse.settings import Settings

FIRST_DELAY_S, LONGEST_DELAY_S, HEALTHY_S = 0.5, 30.0, 60.0
STOP_WITHIN_S = 15.0


class ProcessFailure(Failure):
    """A process did not come up, or a port that it needs is taken."""


@dataclass(frozen=True, slots=True)
class Command:
    """A process to keep running; its output goes to `log`."""

    name: str
    arguments: tuple[str, ...]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    def start(self) -> "subprocess.Popen[bytes]":
        """Starts it in a session of its own, so that a ctrl-C in the terminal reaches only the supervisor."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            return subprocess.Popen(
                self.arguments,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.environment},
                start_new_session=True,
            )


@dataclass(slots=True)
class _Child:
    command: Command
    process: "subprocess.Popen[bytes]"
    started_s: float
    delay_s: float = FIRST_DELAY_S
    again_s: float | None = None


@dataclass(slots=True)
class Supervisor:
    """Runs commands until `stop` is called or a signal comes.

    A command that ends is started again after a delay that doubles from 0.5 s up to 30 s, and begins anew once the
    command has run for a minute.

    Attributes:
        besides: called at every look: it keeps alive what is no child of this process.
    """

    commands: Sequence[Command]
    say: Callable[[str], None]
    besides: Callable[[], None] = lambda: None
    _children: list[_Child] = field(default_factory=list)
    _stopping: bool = False

    def start(self) -> None:
        """Starts every command."""
        self._children = [_Child(command, command.start(), time.monotonic()) for command in self.commands]

    def wait_for(self, url: str, within_s: float = 60.0, number: int = 0) -> None:
        """Returns once the command of that number (the first is 0) answers at `url` with success.

        Raises:
            ProcessFailure: it ended, or did not answer in time; the message says where its log lies.
        """
        child = self._children[number]
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), urlopen(url, timeout=2):  # noqa: S310  # our own process
                return
            if child.process.poll() is not None:
                raise ProcessFailure(f"the process {child.command.name} ended at once: read {child.command.log}")
            time.sleep(0.05)
        raise ProcessFailure(f"{child.command.name} did not answer at {url}: read {child.command.log}")

    def watch(self) -> None:
        """Blocks until stopped, then ends every process."""
        with self._signals():
            try:
                while not self._stopping:
                    self.tend()
                    time.sleep(0.1)
            finally:
                self.stop()

    def tend(self) -> None:
        """Looks at every process once, and starts again those whose delay is over."""
        self.besides()
        for child in self._children:
            self._tend(child)

    def stop(self) -> None:
        """Ends every process: SIGINT, as ctrl-C would, and SIGKILL for what has not ended in time."""
        running = [child.process for child in self._children if child.process.poll() is None]
        for process in running:
            _signal_group(process, signal.SIGINT)
        deadline = time.monotonic() + STOP_WITHIN_S
        for process in running:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                _signal_group(process, signal.SIGKILL)
                process.wait()

    def _tend(self, child: _Child) -> None:
        now = time.monotonic()
        if child.process.poll() is None:
            if now - child.started_s > HEALTHY_S:
                child.delay_s = FIRST_DELAY_S
            return
        if child.again_s is None:
            child.again_s = now + child.delay_s
            code = child.process.returncode
            self.say(f"{child.command.name} ended with code {code}; starting it again in {child.delay_s:g} s "
                     f"(log: {child.command.log})")  # fmt: skip
        elif now >= child.again_s:
            child.process, child.started_s, child.again_s = child.command.start(), now, None
            child.delay_s = min(child.delay_s * 2, LONGEST_DELAY_S)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        def stop(_number: int, _frame: FrameType | None) -> None:
            self._stopping = True

        before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def api_command(settings: Settings, host: str, port: int) -> Command:
    """The HTTP API as a process."""
    arguments = (sys.executable, "-m", "tinycdp", "serve", "--host", host, "--port", str(port))
    return Command("api", arguments, settings.home.logs / "api.log", _environment(settings))


def worker_command(settings: Settings) -> Command:
    """What lands the log as a process."""
    return Command(
        "worker", (sys.executable, "-m", "tinycdp", "worker"), settings.home.logs / "worker.log", _environment(settings)
    )


def dagster_commands(settings: Settings, host: str, port: int) -> tuple[Command, Command]:
    """Dagster's web server and its daemon (schedules and sensors) as processes."""
    environment = {**_environment(settings), "DAGSTER_HOME": str(settings.home.dagster)}
    module = ("-m", "pipelines.definitions")
    web = (sys.executable, "-m", "dagster_webserver", *module, "--host", host, "--port", str(port))
    daemon = (sys.executable, "-m", "dagster._daemon", "run", *module)
    return (
        Command("dagster-webserver", web, settings.home.logs / "dagster-webserver.log", environment),
        Command("dagster-daemon", daemon, settings.home.logs / "dagster-daemon.log", environment),
    )


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port that nothing listens on right now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def _environment(settings: Settings) -> dict[str, str]:
    values = {
        "TINYCDP_HOME": str(settings.home.path),
        "TINYCDP_PROJECT": settings.project,
        "TINYCDP_LOG_LEVEL": settings.log_level,
        "TINYCDP_REDIS_URL": settings.redis_url or "",
    }
    return {**values, "PYTHONUNBUFFERED": "1"}


def _signal_group(process: "subprocess.Popen[bytes]", number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)
