"""What must not be in the repository: hosts of package registries, paths of one machine, large files."""

import re
import tomllib
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.house.checkout import ROOT, files, text_of

MAX_BYTES = 1_000_000

# Written in pieces, so that this file does not match itself.
REGISTRY_HOSTS = [
    "py" + "pi.org",
    "python" + "hosted.org",
    "registry." + "npmjs",
    "registry." + "yarnpkg",
    "art" + "ifactory",
]
INDEX_OPTIONS = ["index" + "-url", "find" + "-links", "trusted" + "-host"]
MACHINE_PATHS = [
    r"(?<![\w.*])/" + part + "/" for part in ("wo" + "rk", "ro" + "ot", "ho" + r"me/\w+", "Us" + "ers", "o" + "pt")
]
RESOLVED = [r'"resol' + r'ved":\s*"']
FORBIDDEN = re.compile("|".join([*map(re.escape, REGISTRY_HOSTS + INDEX_OPTIONS), *MACHINE_PATHS, *RESOLVED]))


def test_no_file_names_a_host_or_a_machine() -> None:
    """No file names a package registry, a path of the machine it was written on, or where a package came from."""
    found = [
        f"{path}:{number}: {line.strip()}"
        for path in files()
        for number, line in enumerate(text_of(path).splitlines(), start=1)
        if FORBIDDEN.search(line)
    ]
    assert [] == found


def test_files_are_small() -> None:
    """Data is fetched or made, not committed: no file is larger than a megabyte."""
    assert [] == [str(path) for path in files() if (ROOT / path).stat().st_size > MAX_BYTES]


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_every_pin_has_hashes(name: str) -> None:
    """A lock names exact versions, each with the hashes that pip checks, and nothing else."""
    requirements = text_of(Path(name)).replace("\\\n", " ").splitlines()
    pins = [line for line in requirements if line and not line.lstrip().startswith("#")]
    assert [] == [pin[:60] for pin in pins if not re.match(r"[\w.-]+(\[[\w,]+\])?==\S+ .*--hash=sha256:", pin)]


def test_development_lock_contains_the_runtime_lock() -> None:
    """One environment serves demo and tests: what the run time pins, the development lock pins alike."""
    runtime, development = (set(pins(name)) for name in ("requirements.lock", "requirements-dev.lock"))
    assert set() == runtime - development


def test_locks_satisfy_the_ranges() -> None:
    """Every requirement of pyproject.toml is pinned to a version that its range allows: `make lock` was run."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        document = tomllib.load(file)
    extras = document["project"]["optional-dependencies"].values()
    groups = document["dependency-groups"].values()
    wanted = [*document["project"]["dependencies"], *chain.from_iterable([*extras, *groups])]
    pinned = {pin.split("==")[0]: pin.split("==")[1].split()[0] for pin in pins("requirements-dev.lock")}
    requirements = [Requirement(text) for text in wanted if isinstance(text, str)]
    assert [] == [str(r) for r in requirements if not r.specifier.contains(pinned.get(r.name, "0"))]


def pins(name: str) -> list[str]:
    """The lines `name==version` of a lock, with their markers."""
    return re.findall(r"^[\w.-]+==[^\\\n]+?(?= \\?$)", text_of(Path(name)), flags=re.MULTILINE)
