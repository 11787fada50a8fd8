"""Runs the tests of faults against a copy that has them: `python -m tests.mutants.run [--only NAME] [--page]`."""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import cache_from_source
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tests.mutants.faults import PAGE, ROOT, Fault, page, read_faults

COPIED = (
    *("dsl", "warehouse", "exports", "serving", "pipelines", "tinycdp", "examples", "tests"),
    "pyproject.toml",
)
LONGEST_S = 60
"""A test that has not ended by then is stuck, which is a failure too."""
_LEAVE_S = 20
_FAILED = 1
"""Exit code of pytest when a test failed; the others say that it was not found or that pytest itself broke."""


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when every fault applies and is killed; what is not is said."""
    asked = _read(arguments)
    console = Console()
    if asked.page:
        (ROOT / PAGE).write_text(page(), encoding="utf-8")
        return 0
    faults = [fault for fault in read_faults() if asked.only in (None, fault.name)]
    lost = [fault.name for fault in faults if not fault.applies()]
    if lost or not faults:
        console.print(f"the place of a fault has to be in its file exactly once: {', '.join(lost) or asked.only}")
        return 1
    with TemporaryDirectory(prefix="tinycdp-mutants-") as folder:
        copy = Path(folder)
        _copy(copy)
        tests = tuple(dict.fromkeys(fault.killed_by for fault in faults))
        console.print(f"{len(tests)} tests without a fault")
        code, said = _run(copy, tests, LONGEST_S * 10)
        if code != 0:
            console.print(said, markup=False)
            console.print("the tests have to pass without a fault")
            return 1
        table, survivors = _hunt(console, copy, faults)
    console.print(table)
    console.print(f"{len(faults) - survivors} of {len(faults)} faults killed")
    return 1 if survivors else 0


def _read(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make mutants", description="One fault at a time; a test has to fail.")
    parser.add_argument("--only", help="name of one fault")
    parser.add_argument("--page", action="store_true", help=f"write {PAGE} and run nothing")
    return parser.parse_args(arguments)


def _copy(target: Path) -> None:
    """The sources and the tests: the checkout itself is never touched."""
    ignored = shutil.ignore_patterns("__pycache__", "node_modules", ".hypothesis")
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=ignored)
        else:
            shutil.copy2(source, target / name)


def _hunt(console: Console, copy: Path, faults: Sequence[Fault]) -> tuple[Table, int]:
    """Every fault by itself; the number of those that survive."""
    table, survivors = Table("fault", "killed by", "seconds", title="Faults"), 0
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("faults", total=len(faults))
        for fault in faults:
            progress.update(task, description=fault.name)
            began = time.monotonic()
            with _seeded(copy, fault):
                code, said = _run(copy, (fault.killed_by,), LONGEST_S)
            killed = code == _FAILED
            survivors += not killed
            if not killed:
                progress.console.print(said, markup=False)
            by = escape(fault.killed_by) if killed else f"[red]survives: pytest ended with {code}[/red]"
            table.add_row(fault.name, by, f"{time.monotonic() - began:.1f}")
            progress.advance(task)
    return table, survivors


@contextmanager
def _seeded(copy: Path, fault: Fault) -> Iterator[None]:
    path = copy / fault.file
    whole, broken = path.read_text(encoding="utf-8"), fault.text(copy)
    try:
        _write(path, broken)
        yield
    finally:
        _write(path, whole)


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    # Bytecode is told apart by second and size alone: two writes of one second may look the same.
    Path(cache_from_source(path)).unlink(missing_ok=True)


def _run(copy: Path, tests: Sequence[str], longest_s: float) -> tuple[int, str]:
    """Exit code of pytest, and what it said."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    # Random tests draw the same examples each time.
    environment = {**os.environ, "PYTHONPATH": str(copy), "CI": "true"}
    with subprocess.Popen(
        command,
        cwd=copy,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            said, _ = process.communicate(timeout=longest_s)
        except subprocess.TimeoutExpired:
            # Asked to end, pytest stops what its fixtures have started.
            process.send_signal(signal.SIGINT)
            try:
                process.communicate(timeout=_LEAVE_S)
            except subprocess.TimeoutExpired:
                process.kill()
            return _FAILED, "stuck"
    return process.returncode, said


if __name__ == "__main__":
    sys.exit(main())
