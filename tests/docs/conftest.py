"""A small world for the documents: the demo on a share of its households, and a shell to type commands in."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT, Shell

DEMO = "tinycdp demo --sample 0.05 --seed 1"
"""The command that fills the home of the documents; the tutorial begins with it."""


@pytest.fixture(scope="session")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """Runs a command line in a folder, against a home that a small demo has filled."""
    home = tmp_path_factory.mktemp("documents") / "home"
    scripts = str(Path(sys.executable).parent)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("TINYCDP_", "DAGSTER_"))}
    environment |= {"TINYCDP_HOME": str(home), "PATH": os.pathsep.join([scripts, os.environ["PATH"]])}

    def run(command: str, folder: Path) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )

    filled = run(DEMO, ROOT)
    assert filled.returncode == 0, filled.stderr[-2000:]
    yield run
    run("tinycdp down", ROOT)
