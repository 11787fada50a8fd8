"""Diagnostics as values: a closed set of codes, one shape for the terminal, JSON and the console."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from dsl.failure import Failure
from dsl.source import Source, Span

Code = Literal[
    "unexpected-character",
    "unterminated-string",
    "bad-escape",
    "bad-number",
    "unexpected-token",
    "chained-comparison",
    "too-long",
    "too-deep",
    "too-many-aggregates",
    "unknown-name",
    "unknown-function",
    "unknown-aggregate",
    "bad-window",
    "bad-pattern",
    "wrong-type",
    "unknown-type",
    "wrong-arguments",
    "not-allowed-here",
    "bad-definition",
    "duplicate-name",
    "cycle",
    "not-seen",
    "seen-otherwise",
    "next-minute",
    "bug",
]
Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One thing to say about an expression or a definition.

    Attributes:
        message: lower case, no full stop; names in backticks.
        label: the short note under the caret; may be empty.
        help: lines that say what to do, the nearest name first.
        expected, found: what the position wanted and got, as words of the language.
    """

    code: Code
    message: str
    span: Span
    source: Source
    label: str = ""
    expected: str = ""
    found: str = ""
    help: tuple[str, ...] = field(default=())
    severity: Severity = "error"


class DefinitionError(Failure):
    """Definitions that cannot be used; carries every diagnostic found, in the order of the text."""

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics = tuple(diagnostics)
        super().__init__("; ".join(f"{d.code}: {d.message}" for d in self.diagnostics))
