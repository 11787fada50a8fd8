"""Commands as a person runs them: a process of its own, with a home of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Shell:
    """Runs `tinycdp` against one home."""

    home: Path
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """One command, from start to end."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("TINYCDP_", "DAGSTER_"))}
        return subprocess.run(
            [sys.executable, "-m", "tinycdp", *arguments],
            cwd=ROOT,
            env={**environment, "TINYCDP_HOME": str(self.home), **self.environment},
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )

    def json(self, *arguments: str) -> Any:
        """The document that a command prints with `--json`; the command has to succeed."""
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """Commands on an empty home."""
    found = Shell(tmp_path / "home")
    yield found
    found.run("down")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Shell, dict[str, Any]]]:
    """A home that holds a small demo, and the document that the demo printed."""
    found = Shell(tmp_path_factory.mktemp("demo") / "home")
    yield found, found.json("demo", "--sample", "0.03", "--seed", "5")
    found.run("down")
