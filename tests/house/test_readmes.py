"""Every room opens with a README that cannot rot: its table of files and its import rule are checked."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.house.checkout import ROOT, files, text_of

MAX_LINES = 72
"""One screen."""


def rooms() -> list[Path]:
    """Top-level folders, and every package below them; tests are one room."""
    top_level = {Path(path.parts[0]) for path in files() if len(path.parts) > 1 and not path.parts[0].startswith(".")}
    packages = {path.parent for path in files() if path.name == "__init__.py" and path.parts[0] != "tests"}
    return sorted(top_level | packages)


every_room = pytest.mark.parametrize("room", rooms(), ids=str)


def contents(room: Path) -> set[str]:
    """What lies in a room: files by name, folders with a slash; empty files (`__init__.py`) do not count."""
    inside = [path.relative_to(room) for path in files() if room in path.parents]
    shown = {path.name for path in inside if len(path.parts) == 1 and (ROOT / room / path).stat().st_size > 0}
    return shown - {"README.md"} | {f"{path.parts[0]}/" for path in inside if len(path.parts) > 1}


def table(room: Path) -> set[str]:
    """The files and folders in the first column of the README's tables."""
    return set(re.findall(r"^\| `([^`]+(?:\.\w+|/))` ", text_of(room / "README.md"), flags=re.MULTILINE))


@every_room
def test_room_has_a_readme_of_one_screen(room: Path) -> None:
    """A room opens with a title, one sentence and at most one screen."""
    lines = text_of(room / "README.md").splitlines()
    assert f"# {room.as_posix()}" == lines[0]
    assert re.search(r"\.$", lines[2])
    assert len(lines) <= MAX_LINES


@every_room
def test_table_lists_what_is_there(room: Path) -> None:
    """The README's table names every file and folder of its room, and nothing else."""
    assert contents(room) == table(room)


def configuration() -> dict[str, Any]:
    """The import-linter part of pyproject.toml."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        linter: dict[str, Any] = tomllib.load(file)["tool"]["importlinter"]
    return linter


def below(layers: list[str], room: str) -> list[str]:
    """The rooms in the layers under that of `room`, lowest first."""
    split = [[name.strip() for name in layer.split("|")] for layer in layers]
    depth = next(number for number, names in enumerate(split) if room in names)
    return [name for names in reversed(split[depth + 1 :]) for name in names]


def import_rule(room: str) -> str:
    """The "May import" line of a room, from the contracts.

    >>> import_rule("warehouse")
    'May import: `dsl`.'
    """
    contracts = configuration()["contracts"]
    layers = {contract["id"]: contract["layers"] for contract in contracts if contract["type"] == "layers"}
    package, _, inner = room.partition(".")
    allowed = below(layers["layers"], package)
    if inner:
        allowed += [f"{package}.{name}" for name in below(layers["serving-layers"], inner)]
    forbidden = [
        module
        for contract in contracts
        if contract["type"] == "forbidden" and room in contract["source_modules"]
        for module in contract["forbidden_modules"]
    ]
    words = [worded(name, forbidden) for name in allowed if name not in forbidden]
    return f"May import: {', '.join(words) if words else 'nothing of ours'}."


def worded(name: str, forbidden: list[str]) -> str:
    """A room in backticks, with the parts of it that are forbidden."""
    parts = [f"`{module}`" for module in forbidden if module.startswith(f"{name}.")]
    return f"`{name}`" + (f" (not {', '.join(parts)})" if parts else "")


def linted_rooms() -> list[str]:
    """Root packages of the contracts and the packages of serving."""
    inside = sorted(
        {f"serving.{path.parts[1]}" for path in files() if path.parts[0] == "serving" and len(path.parts) > 2}
    )
    return [*configuration()["root_packages"], *inside]


@pytest.mark.parametrize("room", linted_rooms())
def test_import_rule_is_the_contract(room: str) -> None:
    """The line "May import" of a README says what import-linter enforces."""
    lines = text_of(Path(*room.split(".")) / "README.md").splitlines()
    assert import_rule(room) in lines


def test_every_room_with_code_is_under_contract() -> None:
    """Every package of the wheel that holds code is a root package of the import contracts."""
    packages = {path.parts[0] for path in files() if path.name == "__init__.py" and path.parts[0] != "tests"}
    assert packages - {"dagster_home"} == set(configuration()["root_packages"])


def test_the_house_is_listed() -> None:
    """The first README leads to the README of every top-level folder."""
    linked = set(re.findall(r"\]\((\w+)/README\.md\)", text_of(Path("README.md"))))
    assert {room.name for room in rooms() if len(room.parts) == 1} == linked
