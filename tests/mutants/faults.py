"""The seeded faults: what each changes, and the test that must notice it."""

import ast
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = Path("docs/reference/proof.md")
_FAULTS = Path(__file__).with_name("faults.toml")

_INTRODUCTION = """# Proof

`make mutants` proves the tests: it puts one fault at a time into a copy of the source, runs one test, and expects it to
fail. A fault that survives, or whose place in the source is no longer there, fails the command.

Written from `tests/mutants/faults.toml` by `python -m tests.mutants.run --page`. The tests know nothing of the faults.

| fault | in | what would happen | test that fails |
|---|---|---|---|
"""


@dataclass(frozen=True, slots=True)
class Fault:
    """A patch of one place of the source.

    Attributes:
        file: from the root of the checkout.
        old: text that occurs in the file exactly once.
        new: what stands there instead.
        why: what would happen to people, in a sentence.
        killed_by: node id of the test that fails.
    """

    name: str
    file: str
    old: str
    new: str
    why: str
    killed_by: str

    def applies(self, root: Path = ROOT) -> bool:
        """Whether its place is in the file exactly once."""
        path = root / self.file
        return path.is_file() and path.read_text(encoding="utf-8").count(self.old) == 1

    def text(self, root: Path = ROOT) -> str:
        """The file with the fault."""
        return (root / self.file).read_text(encoding="utf-8").replace(self.old, self.new)

    @property
    def test_exists(self) -> bool:
        """Whether the module of its test defines a function of that name."""
        module, _, name = self.killed_by.partition("::")
        path = ROOT / module
        tree = ast.parse(path.read_text(encoding="utf-8") if path.is_file() else "")
        return name.partition("[")[0] in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def read_faults() -> tuple[Fault, ...]:
    """All of them, as they are listed."""
    document = tomllib.loads(_FAULTS.read_text(encoding="utf-8"))
    return tuple(Fault(**each) for each in document["fault"])


def page() -> str:
    """The page of `docs/` that lists them."""
    return _INTRODUCTION + "".join(
        f"| {fault.name} | `{fault.file}` | {fault.why} | `{fault.killed_by}` |\n" for fault in read_faults()
    )
