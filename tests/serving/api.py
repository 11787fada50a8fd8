"""The real API: granian in a process of its own on a free port."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.serving.world import ROOT

_SERVE = "import sys; from serving.http.server import serve; serve('127.0.0.1', int(sys.argv[1]))"


@dataclass(frozen=True, slots=True)
class Api:
    """A running API: a client of its address, its process, the file of its log."""

    http: httpx.Client
    process: "subprocess.Popen[bytes]"
    log: Path

    def until_up(self) -> None:
        """Wait until something is answered there."""
        for _ in range(300):
            try:
                self.http.get("/openapi.json")
            except httpx.TransportError:
                assert self.process.poll() is None, self.log.read_text()
                time.sleep(0.05)
            else:
                return
        raise AssertionError(self.log.read_text())

    def lines(self, request_id: str) -> list[str]:
        """Lines of the log about a request, once it is done with: its own line is written after the answer."""
        for _ in range(200):
            found = [line for line in self.log.read_text().splitlines() if f'"request_id":"{request_id}"' in line]
            if any('"event":"request"' in line for line in found):
                return found
            time.sleep(0.02)
        raise AssertionError(self.log.read_text())


def free_port() -> int:
    """A port of the loopback that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def launch(port: int, log: Path, **settings: str) -> "subprocess.Popen[bytes]":
    """Start the API with `TINYCDP_*` settings; its output goes to `log`."""
    given = {f"TINYCDP_{name}": value for name, value in settings.items()}
    with log.open("ab") as sink:
        return subprocess.Popen(
            [sys.executable, "-c", _SERVE, str(port)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), **given},
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
        )


@contextmanager
def running_api(log: Path, **settings: str) -> Iterator[Api]:
    """An API that is up, stopped at the end."""
    port = free_port()
    process = launch(port, log, **settings)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
            api = Api(client, process, log)
            api.until_up()
            yield api
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def wait_until_it_keeps(api: Api) -> None:
    """Until the store tells the API of changes: what it has read before that is read again."""
    for _ in range(300):
        if "cdp_decide_keeps 1.0" in api.http.get("/metrics").text:
            return
        time.sleep(0.05)
    raise AssertionError(api.log.read_text())
