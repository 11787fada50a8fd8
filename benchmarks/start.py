"""A process that serves decisions: how long until it answers, and the memory of its worker.

No store runs: it has to start, and to say so, while the store is away.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

import httpx
from rich.console import Console

from benchmarks.machine import load_line, this_machine
from benchmarks.report import figures_table, keep
from tinycdp.supervisor import free_port
from warehouse.settings import Settings

ROUNDS: Final = 7
PLANES: Final = ("decide", "decide,ingest,admin")
_STEP_S: Final = 0.005


@dataclass(frozen=True, slots=True)
class Run:
    """One start.

    Attributes:
        seconds: from the command to the first answer, whatever it says.
        worker_mib: resident memory of the process that answers; what it shares with its parent is in it.
    """

    planes: str
    seconds: float
    worker_mib: float


def start(planes: str, home: Path) -> Run:
    """Starts a server, asks until it answers, and stops it."""
    port = free_port()
    code = f"from serving.http.server import serve; serve('127.0.0.1', {port})"
    outside = {name: value for name, value in os.environ.items() if not name.startswith("TINYCDP_")}
    variables = {**outside, "TINYCDP_HOME": str(home), "TINYCDP_PLANES": planes}
    begin_s = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", code], env=variables, stderr=subprocess.DEVNULL)
    try:
        while not _answers(port):
            time.sleep(_STEP_S)
        return Run(planes, time.perf_counter() - begin_s, _worker_mib(process.pid))
    finally:
        process.terminate()
        process.wait(20)


def _answers(port: int) -> bool:
    try:
        httpx.get(f"http://127.0.0.1:{port}/v1/decide")
    except httpx.TransportError:
        return False
    return True


def _worker_mib(parent: int) -> float:
    """Of the largest child."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text("ascii").split()
    sizes = [Path(f"/proc/{child}/statm").read_text("ascii").split()[1] for child in children]
    return max(map(int, sizes)) * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description="How long a process that serves decisions takes to start.")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    console, bench = Console(width=120), Settings.read().home.path / "bench"
    console.print(f"python -m benchmarks.start\n{this_machine()}\n{load_line()}", highlight=False)
    with tempfile.TemporaryDirectory() as folder:
        start(PLANES[0], Path(folder))  # compiles what was not, and brings it into memory
        runs = [start(planes, Path(folder)) for _ in range(options.rounds) for planes in PLANES]
    rows = []
    for planes in PLANES:
        own = [run for run in runs if run.planes == planes]
        times = [run.seconds for run in own]
        spread = (f"{median(times):.2f}", f"{min(times):.2f}", f"{max(times):.2f}")
        rows.append([planes, *spread, f"{median(run.worker_mib for run in own):.0f}"])
    console.print(figures_table(("planes", "seconds", "min", "max", "worker MiB"), rows))
    console.print(f"raw timings: {keep(bench, 'start', {}, runs)}", soft_wrap=True, highlight=False)


if __name__ == "__main__":
    main()
