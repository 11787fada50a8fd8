"""The wheel holds everything that a machine without the checkout needs."""

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.checkout import ROOT, files

PACKAGED = {"dsl", "warehouse", "exports", "serving", "pipelines", "tinycdp", "dagster_home", "examples"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the checkout without any network."""
    target = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(target)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return next(target.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of commands of an empty environment into which lock and wheel were installed, outside the checkout."""
    environment = tmp_path_factory.mktemp("elsewhere") / "environment"
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    pip = [str(environment / "bin/python"), "-m", "pip", "install", "-qq", "--no-compile", "--no-deps"]
    locked = [*pip, "--require-hashes", "--requirement", str(ROOT / "requirements.lock")]
    for command in (locked, [*pip, str(wheel)]):
        subprocess.run(command, cwd=environment, check=True)
    return environment / "bin"


@pytest.fixture
def elsewhere(tmp_path: Path, installed: Path) -> Iterator[dict[str, str]]:
    """Environment of a home outside the checkout; its online store is stopped afterwards."""
    foreign = ("TINYCDP_", "DAGSTER_", "PYTHONPATH")
    variables = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    variables["TINYCDP_HOME"] = str(tmp_path / "home")
    yield variables
    subprocess.run([str(installed / "tinycdp"), "down"], cwd=tmp_path, env=variables, check=False, capture_output=True)


def test_wheel_contains_every_file(wheel: Path) -> None:
    """The wheel holds each packaged file of the checkout, definitions and settings too, and nothing else of ours."""
    expected = {path.as_posix() for path in files() if path.parts[0] in PACKAGED} | {"tinycdp/workspace.yaml"}
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert expected == inside


def test_wheel_contains_what_hatchling_could_lose(wheel: Path) -> None:
    """`warehouse`, `exports` and the YAML files are in the wheel: hatchling leaves out what .gitignore names."""
    wanted = {
        "warehouse/registry.py",
        "exports/__init__.py",
        "examples/shop/traits.yaml",
        "dagster_home/dagster.yaml",
        "tinycdp/workspace.yaml",
    }
    assert set() == wanted - set(zipfile.ZipFile(wheel).namelist())


@pytest.mark.slow
def test_installed_wheel_says_what_it_can_do(installed: Path, tmp_path: Path, elsewhere: dict[str, str]) -> None:
    """`tinycdp --help` works from an installed wheel, and lists its commands."""
    command = [str(installed / "tinycdp"), "--help"]
    done = subprocess.run(command, cwd=tmp_path, env=elsewhere, check=True, capture_output=True, text=True)
    assert "demo" in done.stdout


@pytest.mark.slow
def test_installed_wheel_refreshes(installed: Path, tmp_path: Path, elsewhere: dict[str, str]) -> None:
    """A small demo runs from an installed wheel: lands, computes, publishes, decides, exports."""
    command = [str(installed / "tinycdp"), "demo", "--sample", "0.01", "--seed", "3", "--json"]
    done = subprocess.run(
        command, cwd=tmp_path, env=elsewhere, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout)
    assert (True, True) == (told["households"] > 0, bool(told["decisions"]))
    assert (tmp_path / "home/analytics.duckdb").exists()
