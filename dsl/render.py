"""Diagnostics drawn: for a terminal with the line and a caret, and as JSON."""

import unicodedata
from collections.abc import Iterable
from typing import Final

from dsl.diagnostics import Diagnostic

_WIDTH: Final = 120
"""Columns of a drawn line; a longer one is cut around the span."""
_BEFORE: Final = 40
"""Columns kept in front of the span when a line is cut."""


def draw(diagnostic: Diagnostic) -> str:
    """The diagnostic with its line and a caret under the span, without a newline at the end.

    >>> from dsl.source import Source, Span
    >>> source = Source("a ~ b", "traits.yaml")
    >>> print(draw(Diagnostic("unexpected-character", "`~` has no meaning here", Span(2, 3), source)))
    error[unexpected-character]: `~` has no meaning here
      --> traits.yaml:1:3
       |
     1 | a ~ b
       |   ^
       = see: docs/reference/errors.md#unexpected-character
    """
    place = diagnostic.source.position(diagnostic.span.start)
    gutter = " " * (len(str(place.line)) + 1)
    return "\n".join(
        [
            f"{diagnostic.severity}[{diagnostic.code}]: {diagnostic.message}",
            *_pointed(diagnostic, gutter),
            *(f"{gutter} = help: {line}" for line in diagnostic.help),
            f"{gutter} = see: docs/reference/errors.md#{diagnostic.code}",
        ]
    )


def draw_all(diagnostics: Iterable[Diagnostic]) -> str:
    """All diagnostics drawn, an empty line between them."""
    return "\n\n".join(draw(diagnostic) for diagnostic in diagnostics)


def to_json(diagnostic: Diagnostic) -> dict[str, object]:
    """The diagnostic as JSON values; `span` counts code points of the expression, `line` and `column` from 1."""
    place = diagnostic.source.position(diagnostic.span.start)
    return {
        "code": diagnostic.code,
        "severity": diagnostic.severity,
        "message": diagnostic.message,
        "label": diagnostic.label,
        "span": {"start": diagnostic.span.start, "end": diagnostic.span.end},
        "file": diagnostic.source.name,
        "line": place.line,
        "column": place.column,
        "expected": diagnostic.expected,
        "found": diagnostic.found,
        "help": list(diagnostic.help),
    }


def _pointed(diagnostic: Diagnostic, gutter: str) -> list[str]:
    """Where it is: file, line and caret; what has no text, such as a directory, has its name only."""
    source, place = diagnostic.source, diagnostic.source.position(diagnostic.span.start)
    if not source.text:
        return [f"{gutter}--> {source.name}"]
    text, indent, carets = _excerpt(diagnostic)
    return [
        f"{gutter}--> {source.name}:{place.line}:{place.column}",
        f"{gutter} |",
        f" {place.line} | {text}".rstrip(),
        f"{gutter} | {indent}{carets} {diagnostic.label}".rstrip(),
    ]


def _excerpt(diagnostic: Diagnostic) -> tuple[str, str, str]:
    """The line of the span, the blanks under its start, and the carets; a span ends with its first line."""
    source, span = diagnostic.source, diagnostic.span
    place = source.position(span.start)
    line = source.line_text(place.line)
    written = source.text[span.start : span.end].split("\n")[0]
    before, marked, after = _cut(line, place.column - 1, len(written))
    return before + marked + after, " " * _columns(before), "^" * max(1, _columns(marked))


def _cut(line: str, start: int, length: int) -> tuple[str, str, str]:
    """What stands before, in and after the span, as drawn, in no more than about `_WIDTH` columns."""
    before, marked = _drawable(line[:start]), _drawable(line[start : start + length])
    after = _drawable(line[start + length :])
    if _columns(before + marked + after) <= _WIDTH:
        return before, marked, after
    if len(before) > _BEFORE:
        before = "…" + before[-_BEFORE:]
    room = _WIDTH - _columns(before)
    shown, rest = marked[:room], marked[room:]
    room -= _columns(shown)
    return before, shown, "…" if rest else after[: max(room, 0)] + ("…" if len(after) > room else "")


def _drawable(text: str) -> str:
    """`text` with tabs as four blanks and everything that would move or colour the terminal as U+FFFD."""
    return "".join(letter if letter.isprintable() else "    " if letter == "\t" else "\ufffd" for letter in text)


def _columns(text: str) -> int:
    """Columns that a terminal gives to `text`."""
    return sum(_column(letter) for letter in text)


def _column(letter: str) -> int:
    if unicodedata.combining(letter):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in ("W", "F") else 1
