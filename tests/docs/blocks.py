"""The fenced blocks of a page: found, written, run, and compared with what the page shows."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from typing import Final

ROOT: Final = Path(__file__).parents[2]
Shell = Callable[[str, Path], "CompletedProcess[str]"]
"""Runs a command line in a folder."""

_FENCE: Final = re.compile(r"^```([^\s`]+)([^\n`]*)\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block.

    Attributes:
        language: the first word behind the fence: `sh`, `yaml`, `text`, …
        info: the words after it: a file's name, `error`, a code.
        line: where it begins, from 1.
    """

    language: str
    info: str
    text: str
    line: int


def blocks(page: str) -> list[Block]:
    """The blocks of a page, in their order."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return [
        Block(match[1], match[2].strip(), match[3].rstrip("\n"), text.count("\n", 0, match.start()) + 1)
        for match in _FENCE.finditer(text)
    ]


def of_language(page: str, language: str) -> list[Block]:
    """The blocks of one language."""
    return [block for block in blocks(page) if block.language == language]


def lines(block: Block) -> list[str]:
    """What stands in a block one below the other.

    A line that starts with a blank belongs to the one above, and so does what follows a line of comment.
    """
    return re.split(r"\n(?!\s)", re.sub(r"^(//.*)\n", r"\1\n ", block.text, flags=re.MULTILINE))


def write(block: Block, folder: Path) -> None:
    """Writes the file that a `yaml` block shows; `info` is its name."""
    path = folder / block.info
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(block.text + "\n", encoding="utf-8")


def matches(expected: str, actual: str) -> bool:
    r"""Whether an output is what a page shows: `...` on a line of its own is any lines, within a line any text.

    >>> matches("3 of 5 at ...\n...\nend", "3 of 5 at noon   \na\nb\nend\n")
    True
    >>> matches("3 of 5", "3 of 5\nmore")
    False
    """
    pattern = ""
    for line in expected.strip("\n").split("\n"):
        inner = r"[^\n]*".join(re.escape(part) for part in line.rstrip().split("..."))
        pattern += r"(?:[^\n]*\n)*?" if line.strip() == "..." else inner + r"\n"
    return re.fullmatch(pattern, _trimmed(actual)) is not None


@dataclass(frozen=True, slots=True)
class Run:
    """What a command of a page did: its block, what the page shows of it, and the process."""

    block: Block
    shown: Block | None
    done: "CompletedProcess[str]"

    @property
    def output(self) -> str:
        """What the page shows: the output, of a command that fails what it complains of."""
        return _trimmed(self.done.stderr if self.fails else self.done.stdout)

    @property
    def fails(self) -> bool:
        """Whether the page says that the command fails."""
        return self.block.info == "error"


def run(page: str, shell: Shell, folder: Path) -> Iterator[Run]:
    """Writes the files and runs the commands of a page in their order, in `folder`.

    A block marked `setup` is not run: whoever calls has done that already.
    """
    found = blocks(page)
    for block, following in zip(found, [*found[1:], None], strict=True):
        if block.language == "yaml":
            write(block, folder)
        elif block.language == "sh" and block.info != "setup":
            shown = following if following is not None and following.language == "text" else None
            yield Run(block, shown, shell(block.text, folder))


def _trimmed(text: str) -> str:
    """An output without blanks at the ends of lines and without empty lines at its ends."""
    kept = "\n".join(line.rstrip() for line in text.splitlines()).strip("\n")
    return f"{kept}\n"
