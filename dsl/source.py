"""Where text came from: spans in an expression, and the place of that expression in its file."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of an expression: code points `start` (inclusive) to `end` (exclusive).

    >>> Span(2, 5).join(Span(7, 9))
    Span(start=2, end=9)
    """

    start: int
    end: int

    def join(self, other: "Span") -> "Span":
        """The smallest span that covers both."""
        return Span(min(self.start, other.start), max(self.end, other.end))


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a file; line and column count from 1, columns are code points."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Source:
    """The text of one expression and where it stands.

    Attributes:
        text: the expression itself; spans are offsets into it.
        name: file name or a word such as `<expression>`, shown in diagnostics.
        file_lines: the lines of the whole file, shown in diagnostics; empty when the expression is the whole text.
        origins: for each line of `text`, the position in the file of its first character; empty when the
            expression is the whole text.
    """

    text: str
    name: str = "<expression>"
    file_lines: tuple[str, ...] = ()
    origins: tuple[Position, ...] = ()

    def position(self, offset: int) -> Position:
        r"""The place in the file of the code point at `offset` (may be `len(text)`, the end).

        >>> Source("a &&\n b").position(6)
        Position(line=2, column=2)
        """
        before = self.text[:offset]
        row = before.count("\n")
        column = offset - (before.rfind("\n") + 1)
        if not self.origins:
            return Position(row + 1, column + 1)
        origin = self.origins[min(row, len(self.origins) - 1)]
        return Position(origin.line, origin.column + column)

    def line_text(self, line: int) -> str:
        """The text of a line of the file (counted from 1) as it stands there."""
        lines = self.file_lines or tuple(self.text.split("\n"))
        return lines[line - 1] if 0 < line <= len(lines) else ""
