"""One contestant in a process of its own: what it needs is timed, and its peak memory is its own.

Reads a `Contestant` as JSON from stdin, prints a `Run` as JSON.
"""

import json
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from warehouse.database import connect

_STATUS = Path("/proc/self/status")


@dataclass(frozen=True, slots=True)
class Contestant:
    """What is timed together.

    Attributes:
        statements: SQL, run in this order; each makes a table, so that the engine may leave no column out. Of the
            engine `polars` the one query that it has, it is empty.
        warehouse: the DuckDB file that DuckDB reads.
        files: Parquet files that Polars reads: those of the lake, then `identities`, then `profiles`.
        kept: where the table `result` is to be kept as Parquet after the last run, untimed; empty keeps nothing.
        assemble: a statement that makes that table from what the statements made, untimed.
    """

    name: str
    statements: tuple[str, ...]
    warehouse: str
    engine: Literal["duckdb", "chdb", "polars"] = "duckdb"
    files: tuple[str, ...] = ()
    kept: str = ""
    assemble: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """One timed run of a contestant.

    Attributes:
        cpu_seconds: of all cores together; what else the machine does changes it less than `seconds`.
        peak_bytes: largest resident memory of its process, Python and engine together.
    """

    contestant: str
    seconds: float
    cpu_seconds: float
    peak_bytes: int


def run_alone(contestant: Contestant) -> Run:
    """Starts a process that runs the contestant, once to warm up and once timed."""
    command = [sys.executable, "-m", "benchmarks.alone"]
    order = json.dumps(asdict(contestant))
    told = subprocess.run(command, input=order, check=True, stdout=subprocess.PIPE, text=True).stdout
    return Run(**json.loads(told))


def _run_here(contestant: Contestant) -> Run:
    return {"duckdb": _in_duckdb, "chdb": _in_chdb, "polars": _in_polars}[contestant.engine](contestant)


def _in_duckdb(contestant: Contestant) -> Run:
    with connect(Path(contestant.warehouse), read_only=True) as connection:
        run = _timed(contestant, lambda: [connection.execute(statement) for statement in contestant.statements])
        if contestant.kept:
            if contestant.assemble:
                connection.execute(contestant.assemble)
            connection.execute(f"COPY result TO '{contestant.kept}' (FORMAT parquet)")
    return run


def _in_chdb(contestant: Contestant) -> Run:
    # Here, not above: it is a large library that the other contestants must not carry.
    from chdb.session import Session  # noqa: PLC0415

    session = Session()
    run = _timed(contestant, lambda: [session.query(statement) for statement in contestant.statements])
    if contestant.kept:
        session.query(f"SELECT * FROM result INTO OUTFILE '{contestant.kept}' TRUNCATE FORMAT Parquet")
    return run


def _in_polars(contestant: Contestant) -> Run:
    from benchmarks.fifty_polars import fifty_values  # noqa: PLC0415 -- the same

    *events, identities, profiles = map(Path, contestant.files)
    results: list[Any] = []
    run = _timed(contestant, lambda: results.append(fifty_values(events, identities, profiles)))
    if contestant.kept:
        results[-1].write_parquet(contestant.kept)
    return run


def _timed(contestant: Contestant, work: Callable[[], object]) -> Run:
    work()
    begin, begin_cpu = time.perf_counter(), time.process_time()
    work()
    seconds, cpu_seconds = time.perf_counter() - begin, time.process_time() - begin_cpu
    return Run(contestant.name, seconds, cpu_seconds, peak_bytes())


def peak_bytes() -> int:
    """Largest resident memory of this process until now."""
    # Linux hands `ru_maxrss` of the parent down to a new process; the high-water mark of its own memory starts anew.
    if _STATUS.exists():
        marked = re.search(r"^VmHWM:\s+(\d+) kB$", _STATUS.read_text(encoding="ascii"), flags=re.MULTILINE)
        if marked:
            return int(marked[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    print(json.dumps(asdict(_run_here(Contestant(**json.load(sys.stdin))))))
