"""Node and Chromium, where they are; packages are those of package-lock.json (`make test-sdks` installs them)."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.ingest.conftest import Shop, shop

__all__ = ["shop"]

HERE = Path(__file__).parent
OLDEST_NODE = 20
Run = Callable[[str], str]
"""Runs a module in Node; gives what it prints."""


def chromium() -> str:
    """Its program; empty when it is not here."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), "")


@cache
def missing(module: str) -> str:
    """What the tests of a module need and have not; empty when all is there."""
    program = shutil.which("node")
    version = subprocess.check_output([program, "--version"], text=True).strip() if program else "none"
    if program is None or int(version.lstrip("v").partition(".")[0]) < OLDEST_NODE:
        return f"Node {OLDEST_NODE} or newer is not here (found: {version})"
    if not (HERE / "node_modules").is_dir():
        return "tests/sdks/node_modules is not here: `make test-sdks` installs it, with npm"
    return "Chromium is not here" if module.endswith("browser") and not chromium() else ""


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips what has not what it needs, all of it with one line; where nothing may be missing it fails."""
    if what := missing(item.path.stem):
        (pytest.fail if os.environ.get("TINYCDP_REQUIRE_ALL") else pytest.skip)(what)


def address(shop: Shop) -> str:
    """Where the API of a shop listens."""
    return str(shop.api.http.base_url).rstrip("/")


def filled(program: str, shop: Shop) -> str:
    """A program of the documents with the address and the keys of a shop."""
    keys = {f"YOUR_{kind.upper()}_KEY": key for kind, key in shop.keys.items()}
    for place, what in ({"http://localhost:8000": address(shop)} | keys).items():
        program = program.replace(place, what)
    return program


@pytest.fixture(scope="session")
def node() -> Run:
    """Node, with the packages of the lock; a module is read from standard input."""
    program = str(shutil.which("node"))

    def run(module: str) -> str:
        command = [program, "--input-type=module"]
        done = subprocess.run(command, cwd=HERE, input=module, capture_output=True, text=True, timeout=90, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@dataclass(frozen=True, slots=True)
class Visit:
    """What a page did.

    Attributes:
        requests: to other origins than its own, without preflights: `method`, `url`, `headers`, `body`.
        errors: that nobody caught.
        told: what the page left in `window.told`.
    """

    requests: list[dict[str, Any]]
    errors: list[str]
    told: Any


@pytest.fixture(scope="session")
def visit(node: Run) -> Callable[..., Visit]:
    """Opens a page with a script in Chromium; the browser stays until `until` comes back."""

    def open_page(script: str, leave: str = "", until: Callable[[], object] = bool) -> Visit:
        asked = json.dumps({"chromium": chromium(), "leave": leave, "script": f"{script}\n;window.done = true"})
        command = [str(shutil.which("node")), "browser.mjs"]
        with subprocess.Popen(command, cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as browser:
            assert browser.stdin is not None
            assert browser.stdout is not None
            browser.stdin.write(asked + "\n")
            browser.stdin.flush()
            told = browser.stdout.readline()
            until()
        assert 0 == browser.returncode
        return Visit(**json.loads(told))

    return open_page
