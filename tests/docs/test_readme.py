"""What the README tells people to type works."""

import re

import pytest

from tests.docs.conftest import ROOT, Shell
from tests.house.checkout import files, text_of

PAGES = ["README.md", "CONTRIBUTING.md"]


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of a language on a page."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)


def typed_commands() -> list[str]:
    """The commands of every `console` block: what stands behind `$ `."""
    return [
        line[2:]
        for page in PAGES
        for block in blocks(page, "console")
        for line in block.splitlines()
        if line[:2] == "$ "
    ]


def make_commands() -> list[str]:
    """The `make` commands of every `sh` block."""
    lines = [line for page in PAGES for block in blocks(page, "sh") for line in block.splitlines()]
    return [line for line in lines if line.split(" ")[0] == "make"]


@pytest.mark.slow
@pytest.mark.parametrize("command", typed_commands())
def test_command_of_the_readme_runs(command: str, shell: Shell) -> None:
    """A command of the tour ends well and prints something, in the home that the demo leaves."""
    done = shell(command)
    assert (0, True) == (done.returncode, bool(done.stdout.strip())), done.stderr[-2000:]


@pytest.mark.parametrize("command", make_commands())
def test_make_target_of_the_documents_exists(command: str) -> None:
    """A `make` command of the documents names a target that exists."""
    words = command.partition("#")[0].split()
    targets = re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert (words[1] if len(words) > 1 else "help") in targets


def test_every_target_is_listed() -> None:
    """`make help` lists every target that can be asked for: each has its comment."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY: (.*)$", makefile, flags=re.MULTILINE)
    assert phony is not None
    assert phony[1].split() == re.findall(r"^([a-z]+):.*## ", makefile, flags=re.MULTILINE)


def test_links_lead_somewhere() -> None:
    """Every relative link of every page leads to a file of the checkout."""
    broken = [
        f"{page}: {target}"
        for page in files()
        if page.suffix == ".md"
        # Code between backticks may look like a link: `count[filter](property)`.
        for target in re.findall(r"\]\((?!https?://|#)([^)#\s]+)", re.sub(r"`[^`\n]*`", "", text_of(page)))
        if not (ROOT / page.parent / target).exists()
    ]
    assert [] == broken
