"""What commands print: one JSON document on stdout for machines, tables for people; prose and progress on stderr."""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from dsl.diagnostics import Diagnostic
from dsl.render import draw

PIPE_WIDTH = 140
"""Columns of a table that is not shown on a terminal."""


@dataclass(frozen=True, slots=True)
class Output:
    """Where a command writes.

    Attributes:
        as_json: `result` prints one document on stdout and nothing else goes there.
    """

    as_json: bool = False
    prose: Console = field(default_factory=lambda: Console(stderr=True, highlight=False, emoji=False))
    tables: Console = field(default_factory=lambda: _stdout())  # noqa: PLW0108  # it is defined below

    def say(self, text: str) -> None:
        """A line for people, on stderr."""
        self.prose.print(text, markup=False, soft_wrap=True)

    def warn(self, warnings: Iterable[Diagnostic]) -> None:
        """What may be a mistake, drawn, on stderr."""
        for warning in warnings:
            self.say(draw(warning) + "\n")

    def result(self, document: object) -> None:
        """The answer for machines; printed only with `--json`."""
        if self.as_json:
            sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=2) + "\n")

    def table(self, title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """A table for people, on stdout; nothing with `--json`. Columns whose name ends in `>` are right-aligned."""
        if self.as_json:
            return
        table = Table(
            title=title, title_justify="left", title_style="bold", header_style="bold", box=SIMPLE_HEAD, pad_edge=False
        )
        for name in columns:
            table.add_column(name.rstrip(">"), justify="right" if name.endswith(">") else "left", overflow="fold")
        for row in rows:
            table.add_row(*(shown(cell) for cell in row))
        self.tables.print(table)

    def lines(self, text: str) -> None:
        """Plain text for people, on stdout; nothing with `--json`."""
        if not self.as_json:
            self.tables.print(text, markup=False, soft_wrap=True)

    @contextmanager
    def progress(self) -> Iterator[Progress]:
        """Progress bars on stderr."""
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description:<34}"),
            BarColumn(bar_width=32),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=self.prose) as progress:
            yield progress


def _stdout() -> Console:
    """As wide as the terminal; in a pipe or a file there is nothing to fit into, so cells are not folded early."""
    return Console(highlight=False, emoji=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)


def shown(value: object) -> str:
    """A table cell: whole numbers with thousands separators, booleans as yes and no, nothing for None.

    >>> shown(1469307), shown(True), shown(None), shown("vip")
    ('1,469,307', 'yes', '', 'vip')
    """
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
    return str(value)
