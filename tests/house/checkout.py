"""The checkout as the tests of the house see it: what is, or would be, committed."""

import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]


@cache
def files() -> tuple[Path, ...]:
    """Every file that is tracked or not ignored, relative to the root, in order."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return tuple(path for path in sorted(map(Path, filter(None, listed.split("\0")))) if (ROOT / path).is_file())


def python_files() -> tuple[Path, ...]:
    """Every Python file, tests included."""
    return tuple(path for path in files() if path.suffix == ".py")


def text_of(path: Path) -> str:
    """The content of a file of the checkout; empty when it is not text."""
    try:
        return (ROOT / path).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""
