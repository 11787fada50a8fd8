"""What the pages tell people to type works, and says what the pages show.

All pages are in this one module, so that they share one home. The tutorial comes last: it changes what is defined.
"""

from itertools import pairwise
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT, Shell, blocks, matches, of_language, run
from tests.docs.conftest import DEMO

READMES = ("README.md", "CONTRIBUTING.md")
PAGES = ("docs/reference/language.md", "docs/reference/explain.md", "docs/tutorial/five-audiences.md")


def typed_commands() -> list[str]:
    """The commands of every `console` block: what stands behind `$ `."""
    typed = [block for page in READMES for block in of_language(page, "console")]
    return [line[2:] for block in typed for line in block.text.splitlines() if line[:2] == "$ "]


@pytest.mark.slow
@pytest.mark.parametrize("command", typed_commands())
def test_command_of_the_readme_runs(command: str, shell: Shell) -> None:
    """A command of the tour ends well and prints something, in the home that the demo leaves."""
    done = shell(command, ROOT)
    assert (0, True) == (done.returncode, bool(done.stdout.strip())), done.stderr[-2000:]


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_page_runs(page: str, shell: Shell, tmp_path: Path) -> None:
    """The files and commands of a page, in their order, end as it says and print what it shows."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    for ran in run(page, shell, tmp_path):
        place = f"{page}:{ran.block.line}: {ran.block.text}"
        assert ran.fails == bool(ran.done.returncode), f"{place}\n{ran.done.stderr}"
        if ran.shown is not None and not matches(ran.shown.text, ran.output):
            pytest.fail(f"{place}\n--- shown\n{ran.shown.text}\n--- printed\n{ran.output}")


@pytest.mark.parametrize("page", PAGES)
def test_outputs_belong_to_commands(page: str) -> None:
    """Every output on a page stands behind its command, and every file of definitions has a name."""
    found = blocks(page)
    before = {after.line: block.language for block, after in pairwise(found)}
    assert [] == [block.line for block in of_language(page, "text") if before.get(block.line) != "sh"]
    assert [] == [block.line for block in of_language(page, "yaml") if not block.info.endswith(".yaml")]


def test_tutorial_begins_with_the_demo() -> None:
    """The home that the tutorial has filled is the one that the tests fill."""
    assert [DEMO] == [block.text for block in of_language(PAGES[-1], "sh") if block.info == "setup"]
