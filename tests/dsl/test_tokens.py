"""Tokens and what cannot be one."""

import pytest

from dsl.source import Source
from dsl.tokens import tokenize


def kinds(text: str) -> list[tuple[str, str]]:
    """Kind and text of each token but the end."""
    return [(token.kind, token.text) for token in tokenize(Source(text)).tokens[:-1]]


def test_all_symbols() -> None:
    """Every operator and bracket is one token, the longest that fits."""
    symbols = ["&&", "||", "==", "!=", "<=", ">=", "<", ">", "!", "+", "-", "*", "/", "%", "(", ")", "[", "]", ",", "."]
    assert [("symbol", symbol) for symbol in symbols] == kinds(" ".join(symbols))
    assert [("symbol", "!"), ("symbol", "!="), ("symbol", "<="), ("symbol", "-")] == kinds("!!=<=-")


def test_words_and_literals() -> None:
    """Words, numbers and strings know their values."""
    tokens = tokenize(Source('count_30d 1.5 "a b" not')).tokens
    assert ["word", "number", "string", "word", "end"] == [token.kind for token in tokens]
    assert 1_500_000 == tokens[1].micros
    assert "a b" == tokens[2].value


def test_spans_cover_the_text() -> None:
    """Spans are code points of the text, in order; what lies between is white space or comment."""
    text = 'a\u00e9 /* x */ "\U0001f600" >= 12.5 // \U0001f600\n\t&& b'
    read = tokenize(Source(text))
    assert ["a", '"\U0001f600"', ">=", "12.5", "&&", "b"] == [
        text[token.span.start : token.span.end] for token in read.tokens[:-1] if token.kind != "error"
    ]
    assert [len(text)] == [read.tokens[-1].span.start]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        (r'"\"\\\/\b\f\n\r\t"', '"\\/\b\f\n\r\t'),
        (r'"\u0041\u00e9"', "Aé"),
        (r'"\ud83d\ude00"', "\U0001f600"),
        (r'"\ud83d"', "\ufffd"),
        (r'"\ude00\ud83d"', "\ufffd\ufffd"),
        ('"\ud83d"', "\ufffd"),
        ('"// no comment"', "// no comment"),
        ('""', ""),
    ],
)
def test_strings(written: str, value: str) -> None:
    """Strings have the escapes of JSON; lone surrogates become U+FFFD."""
    read = tokenize(Source(written))
    assert () == read.diagnostics
    assert [value] == [token.value for token in read.tokens[:-1]]


def test_comments() -> None:
    """Comments are kept, trimmed, with the place where they begin."""
    read = tokenize(Source("// one\na //two \n//\n"))
    assert ["one", "two", ""] == [comment.text for comment in read.comments]
    assert [0, 9, 16] == [comment.span.start for comment in read.comments]


@pytest.mark.parametrize(
    ("text", "code", "advice"),
    [
        ("a = b", "unexpected-character", "write `==`"),
        ("a === b", "unexpected-character", "write `==`"),
        ("a <> b", "unexpected-character", "write `!=`"),
        ("a & b", "unexpected-character", "write `&&`"),
        ("a | b", "unexpected-character", "write `||`"),
        ("a ≥ b", "unexpected-character", "write `>=`"),
        ("'a'", "unexpected-character", 'write `"a"`'),
        ("“a”", "unexpected-character", 'write `"a"`'),
        ("# a", "unexpected-character", "a comment is `// text`"),
        ("/* a", "unexpected-character", "a comment is `// text`"),
        ("a ? b", "unexpected-character", "a choice is `if(condition, this, that)`"),
        ('"a', "unterminated-string", 'end it with `"`'),
        ('"a\n', "unterminated-string", 'end it with `"`'),
        (r'"\d"', "bad-escape", r"for a backslash write `\\d`"),
        (r'"\u12"', "bad-escape", r"`\u` takes four hexadecimal digits"),
        ("1.1234567", "bad-number", "the nearest number is `1.123457`"),
        ("1.5000000", "bad-number", "the nearest number is `1.5`"),
        ("9223372036854.775808", "bad-number", "the largest number is `9223372036854.775807`"),
        ("9" * 10_000, "bad-number", "the largest number is `9223372036854.775807`"),
        ("1e3", "bad-number", "write `1000`"),
        ("30d", "bad-number", "a window is part of an aggregate: `events.*.count_30d`"),
        ("2fa", "bad-number", "a name starts with a letter"),
    ],
)
def test_unreadable(text: str, code: str, advice: str) -> None:
    """What is no token is reported with what was probably meant."""
    first = tokenize(Source(text)).diagnostics[0]
    assert (code, advice) == (first.code, first.help[0])


def test_many_mistakes_at_once() -> None:
    """Reading goes on after a mistake."""
    codes = [diagnostic.code for diagnostic in tokenize(Source("a = 'x' & 1.1234567 # \"\\q\"")).diagnostics]
    expected = ["unexpected-character"] * 3 + ["bad-number", "unexpected-character", "bad-escape"]
    assert sorted(expected) == sorted(codes)
