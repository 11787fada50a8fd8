"""Fail-points: a process that was asked to ends exactly where and when it was asked to."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dsl.failpoints import PLACES, FailPoint
from dsl.failure import Failure

ROOT = Path(__file__).parents[2]
_PASS_THREE_TIMES = "from dsl.failpoints import reached\nfor n in range(3): reached('late.after_append'); print(n)"


def run(**environment: str) -> tuple[int, str]:
    """How a process ends that reaches a place three times, and how often it went past."""
    given = {"PYTHONPATH": str(ROOT), **environment}
    command = [sys.executable, "-u", "-c", _PASS_THREE_TIMES]
    ended = subprocess.run(command, env=given, capture_output=True, text=True, check=False)
    return ended.returncode, ended.stdout.replace("\n", "")


def test_nothing_is_asked_for() -> None:
    """Without the variable, and with another place, nothing happens."""
    assert (0, "012") == run()
    assert (0, "012") == run(TINYCDP_FAILPOINT="late.before_append")


def test_the_process_is_killed_there() -> None:
    """At the first time, or the one that is asked for."""
    assert (-signal.SIGKILL, "") == run(TINYCDP_FAILPOINT="late.after_append")
    assert (-signal.SIGKILL, "01") == run(TINYCDP_FAILPOINT="late.after_append:3")


def test_a_file_counts_over_processes(tmp_path: Path) -> None:
    """A process that is started again goes past, and the file tells how often the place was reached."""
    counter = tmp_path / "hits"
    given = {"TINYCDP_FAILPOINT": "late.after_append:2", "TINYCDP_FAILPOINT_FILE": str(counter)}
    assert [(-signal.SIGKILL, "0"), (0, "012")] == [run(**given), run(**given)]
    assert ["late.after_append"] * 5 == counter.read_text().splitlines()


@pytest.mark.parametrize("text", ["nowhere", "late.after_append:x", ":1"])
def test_an_unknown_place_is_refused(text: str) -> None:
    """A typing error would otherwise pass for a test."""
    with pytest.raises(Failure, match="TINYCDP_FAILPOINT is"):
        FailPoint.read({"TINYCDP_FAILPOINT": text})


def test_every_place_is_somewhere() -> None:
    """The source reaches each place, and names no other."""
    rooms = ("serving", "warehouse", "pipelines")
    source = "".join(path.read_text(encoding="utf-8") for room in rooms for path in (ROOT / room).rglob("*.py"))
    found = re.findall(r'reached\("([a-z_.]+)"\)', source)
    assert PLACES == set(found)
