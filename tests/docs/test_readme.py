"""What the README tells people exists; `test_pages.py` runs its commands."""

import re

import pytest

from tests.docs.blocks import ROOT, of_language
from tests.house.checkout import files, text_of

PAGES = ["README.md", "CONTRIBUTING.md"]


def make_commands() -> list[str]:
    """The `make` commands of every `sh` block."""
    lines = [line for page in PAGES for block in of_language(page, "sh") for line in block.text.splitlines()]
    return [line for line in lines if line.split(" ")[0] == "make"]


@pytest.mark.parametrize("command", make_commands())
def test_make_target_of_the_documents_exists(command: str) -> None:
    """A `make` command of the documents names a target that exists."""
    words = command.partition("#")[0].split()
    targets = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert (words[1] if len(words) > 1 else "help") in targets


def test_every_target_is_listed() -> None:
    """`make help` lists every target that can be asked for: each has its comment."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY: (.*)$", makefile, flags=re.MULTILINE)
    assert phony is not None
    assert phony[1].split() == re.findall(r"^([a-z-]+):.*## ", makefile, flags=re.MULTILINE)


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


def anchors(text: str) -> set[str]:
    """What the headings of a page are called in links: lower case, blanks as hyphens, without other signs."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def test_links_lead_to_headings() -> None:
    """Every link to a place on a page leads to a heading of that page."""
    broken = [
        f"{page}: {target}#{anchor}"
        for page in files()
        if page.suffix == ".md"
        for target, anchor in re.findall(r"\]\((?!https?://)([^)#\s]*)#([^)\s]+)\)", text_of(page))
        if anchor not in anchors(text_of(page.parent / target if target else page))
    ]
    assert [] == broken
