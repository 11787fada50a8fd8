"""One contestant in a process of its own: what it needs is timed, and its peak memory is its own.

Reads a `Contestant` as JSON from stdin, prints a `Run` as JSON.
"""

import json
import re
import resource
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from warehouse.database import connect

_STATUS = Path("/proc/self/status")


@dataclass(frozen=True, slots=True)
class Contestant:
    """Statements that are timed together.

    Attributes:
        statements: SQL, run in this order; each makes a table, so that the engine may leave no column out.
        warehouse: the DuckDB file that they read.
    """

    name: str
    statements: tuple[str, ...]
    warehouse: str


@dataclass(frozen=True, slots=True)
class Run:
    """One timed run of a contestant.

    Attributes:
        peak_bytes: largest resident memory of its process, Python and DuckDB together.
    """

    contestant: str
    seconds: float
    peak_bytes: int


def run_alone(contestant: Contestant) -> Run:
    """Starts a process that runs the contestant, once to warm up and once timed."""
    command = [sys.executable, "-m", "benchmarks.alone"]
    order = json.dumps(asdict(contestant))
    told = subprocess.run(command, input=order, check=True, stdout=subprocess.PIPE, text=True).stdout
    return Run(**json.loads(told))


def _run_here(contestant: Contestant) -> Run:
    with connect(Path(contestant.warehouse), read_only=True) as connection:
        for _ in range(2):
            begin = time.perf_counter()
            for statement in contestant.statements:
                connection.execute(statement)
            seconds = time.perf_counter() - begin
    return Run(contestant.name, seconds, _peak_bytes())


def _peak_bytes() -> int:
    # Linux hands `ru_maxrss` of the parent down to a new process; the high-water mark of its own memory starts anew.
    if _STATUS.exists():
        marked = re.search(r"^VmHWM:\s+(\d+) kB$", _STATUS.read_text(encoding="ascii"), flags=re.MULTILINE)
        if marked:
            return int(marked[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    print(json.dumps(asdict(_run_here(Contestant(**json.load(sys.stdin))))))
