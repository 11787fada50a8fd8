"""Diagnostics as they are drawn.

Each file in `golden/` is an expression, a line `---`, and the drawing of its errors.
"""

from pathlib import Path

import pytest

from dsl.diagnostics import DefinitionError, Diagnostic
from dsl.parser import parse
from dsl.render import draw, draw_all, to_json
from dsl.source import Position, Source, Span

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.txt"))
LINES = (
    "segments:",
    "  - key: nordic",
    "    expression: |",
    "      // of the north",
    '      profile.counrty in ["NO"]',
)
NORDIC = Source(
    '// of the north\nprofile.counrty in ["NO"]',
    "definitions/segments.yaml",
    LINES,
    (Position(4, 7), Position(5, 7)),
)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden(path: Path) -> None:
    """The errors of an expression are drawn as they stand in the file."""
    text, expected = path.read_text(encoding="utf-8").split("\n---\n")
    with pytest.raises(DefinitionError) as caught:
        parse(Source(text, "traits.yaml"))
    assert expected.rstrip("\n") == draw_all(caught.value.diagnostics)


def test_there_are_golden_files() -> None:
    """The folder of drawings is found."""
    assert len(GOLDEN) >= 12


def test_in_its_file() -> None:
    """An expression in a file is drawn with the file's own line, number and column."""
    span = Span(24, 31)
    found = Diagnostic("unknown-name", "`profile` has no attribute `counrty`", span, NORDIC, "not seen so far")
    expected = """
error[unknown-name]: `profile` has no attribute `counrty`
  --> definitions/segments.yaml:5:15
   |
 5 |       profile.counrty in ["NO"]
   |               ^^^^^^^ not seen so far
   = see: docs/reference/errors.md#unknown-name"""
    assert expected.lstrip("\n") == draw(found)


def test_wide_numbers() -> None:
    """The gutter is as wide as the line number."""
    source = Source("\n" * 122 + "a ~")
    drawn = draw(Diagnostic("unexpected-character", "`~`", Span(124, 125), source)).split("\n")
    assert ["    --> <expression>:123:3", "     |", " 123 | a ~", "     |   ^"] == drawn[1:5]


@pytest.mark.parametrize(
    ("text", "span", "line", "carets"),
    [
        ('"\u65e5\u672c" ~ b', Span(5, 6), '"\u65e5\u672c" ~ b', "       ^"),
        ('"\u65e5\u672c" ~ b', Span(0, 4), '"\u65e5\u672c" ~ b', "^^^^^^"),
        ('"e\u0301" ~', Span(5, 6), '"e\u0301" ~', "    ^"),
        ("\ta ~", Span(3, 4), "    a ~", "      ^"),
        ("\x1b[31m ~", Span(6, 7), "\ufffd[31m ~", "      ^"),
        ("a &&", Span(4, 4), "a &&", "    ^"),
        ("(a\n&& b", Span(0, 7), "(a", "^^"),
    ],
)
def test_carets(text: str, span: Span, line: str, carets: str) -> None:
    """Carets stand under the span, whatever width its characters have; nothing reaches the terminal as a command."""
    drawn = draw(Diagnostic("unexpected-token", "x", span, Source(text))).split("\n")
    assert [f" 1 | {line}", f"   | {carets}"] == drawn[3:5]


@pytest.mark.parametrize("start", [0, 30, 5_000, 9_990])
def test_long_lines(start: int) -> None:
    """Of a long line only the surroundings of the span are drawn, the caret under the same character."""
    text = "a" * start + "~" + "b" * (10_000 - start)
    drawn = draw(Diagnostic("unexpected-character", "x", Span(start, start + 1), Source(text))).split("\n")
    assert all(len(line) < 130 for line in drawn)
    assert drawn[3].index("~") == drawn[4].index("^")


def test_a_long_span() -> None:
    """A span longer than the line drawn is marked as far as it is shown."""
    drawn = draw(Diagnostic("bad-number", "x", Span(0, 5_000), Source("9" * 5_000))).split("\n")
    assert len(drawn[4]) <= len(drawn[3]) < 130


def test_json() -> None:
    """The same diagnostic as JSON: span in the expression, line and column in the file."""
    found = Diagnostic("unknown-name", "no", Span(24, 31), NORDIC, "", "a name", "counrty", ("try",), "warning")
    expected = {
        "code": "unknown-name",
        "severity": "warning",
        "message": "no",
        "label": "",
        "span": {"start": 24, "end": 31},
        "file": "definitions/segments.yaml",
        "line": 5,
        "column": 15,
        "expected": "a name",
        "found": "counrty",
        "help": ["try"],
    }
    assert expected == to_json(found)
