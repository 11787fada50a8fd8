"""Tokens: an expression's text cut into words, symbols and literals, each with its span."""

import re
from dataclasses import dataclass
from typing import Final, Literal

from dsl.diagnostics import Code, Diagnostic
from dsl.numbers import LARGEST, MICROS, read_number, replace_surrogates, write_number
from dsl.source import Source, Span
from dsl.syntax import Comment

TokenKind = Literal["number", "string", "word", "symbol", "error", "end"]

WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
"""A name that needs no quotes."""

RESERVED: Final[frozenset[str]] = frozenset(
    {"and", "or", "not", "in", "contains", "starts_with", "ends_with", "matches", "true", "false"}
)
"""Words that name nothing of their own; after a dot they are names like any other."""

_SYMBOL = re.compile(r"&&|\|\||==|!=|<=|>=|[<>!+\-*/%()\[\],.]")
_MISSPELT = re.compile(r"===|!==|<>|=<|=>|≤|≥|≠|=|&|\|")
_MEANT: Final = {
    "===": "==", "!==": "!=", "<>": "!=", "=<": "<=", "=>": ">=", "≤": "<=", "≥": ">=", "≠": "!=",
    "=": "==", "&": "&&", "|": "||",
}  # fmt: skip
_SPACE = re.compile(r"[ \t\r\n]+")
_COMMENT = re.compile(r"//([^\r\n]*)")
_BLOCK_COMMENT = re.compile(r"/\*(?:.*?\*/|.*)", re.DOTALL)
_NUMBER = re.compile(r"([0-9]+)(?:\.([0-9]+))?([A-Za-z_][A-Za-z0-9_]*(?:(?<=[eE])[+-]?[0-9]+)?)?")
_STRING = re.compile(r'"((?:[^"\\\r\n]|\\[^\r\n])*)("?)')
_OTHER_QUOTES = re.compile(
    r"'[^'\r\n]*'?|`[^`\r\n]*`?|[“”„][^“”„\r\n]*[“”]?|[\u2018\u2019][^\u2018\u2019\r\n]*[\u2018\u2019]?"
)
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|(u[0-9A-Fa-f]{0,3}|.))", re.DOTALL)
_ESCAPED: Final = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_PAIR = re.compile(r"[\ud800-\udbff][\udc00-\udfff]")
_WINDOW = re.compile(r"[1-9][0-9]*[smhdw]")
_LETTERS = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Token:
    """One token.

    Attributes:
        kind: `error` stands where something was unreadable and has been reported already.
        text: a word or symbol as it is spelled canonically (`==` for a mistaken `=`), a literal as written.
        micros: value of a number, in micro-units.
        value: value of a string, unescaped.
    """

    kind: TokenKind
    text: str
    span: Span
    micros: int = 0
    value: str = ""


@dataclass(frozen=True, slots=True)
class Tokens:
    """All tokens of a text in order, an `end` token last; its comments; what was unreadable."""

    tokens: tuple[Token, ...]
    comments: tuple[Comment, ...]
    diagnostics: tuple[Diagnostic, ...]


def tokenize(source: Source) -> Tokens:
    """The tokens of `source`; never fails, errors are in the result.

    >>> [token.text for token in tokenize(Source("a >= 1.5 // why")).tokens]
    ['a', '>=', '1.5', '']
    """
    reader = _Reader(source)
    while reader.offset < len(source.text):
        reader.step()
    reader.add("end", "", len(source.text))
    return Tokens(tuple(reader.tokens), tuple(reader.comments), tuple(reader.diagnostics))


class _Reader:
    """Reads one token a step, from the left."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.offset = 0
        self.tokens: list[Token] = []
        self.comments: list[Comment] = []
        self.diagnostics: list[Diagnostic] = []

    def step(self) -> None:
        text = self.source.text
        if match := _SPACE.match(text, self.offset):
            self.offset = match.end()
        elif match := _COMMENT.match(text, self.offset):
            self.comments.append(Comment(replace_surrogates(match[1]).strip(), Span(*match.span())))
            self.offset = match.end()
        elif match := _BLOCK_COMMENT.match(text, self.offset):
            self.report("unexpected-character", "`/*` starts no comment", *match.span(), ("a comment is `// text`",))
            self.offset = match.end()
        elif match := WORD.match(text, self.offset):
            self.add("word", match[0], match.end())
        elif match := _NUMBER.match(text, self.offset):
            self.number(match)
        elif match := _STRING.match(text, self.offset):
            self.string(match)
        elif match := _OTHER_QUOTES.match(text, self.offset):
            self.other_quotes(match)
        else:
            self.symbol()

    def symbol(self) -> None:
        text = self.source.text
        misspelt = _MISSPELT.match(text, self.offset)
        right = _SYMBOL.match(text, self.offset)
        if right and (misspelt is None or len(right[0]) >= len(misspelt[0])):
            self.add("symbol", right[0], right.end())
        elif misspelt:
            meant = _MEANT[misspelt[0]]
            self.report(
                "unexpected-character",
                f"`{misspelt[0]}` is no operator",
                *misspelt.span(),
                (f"write `{meant}`",),
                expected=meant,
                found=misspelt[0],
            )
            self.add("symbol", meant, misspelt.end())
        else:
            self.unreadable()

    def unreadable(self) -> None:
        letters = _LETTERS.match(self.source.text, self.offset)
        end = letters.end() if letters else self.offset + 1
        found = self.source.text[self.offset : end]
        shown = found if found.isprintable() and not found.isspace() else f"U+{ord(found[0]):04X}"
        advice = {
            "#": "a comment is `// text`",
            ";": "one expression stands alone, without `;`",
            "?": "a choice is `if(condition, this, that)`",
        }.get(found)
        help_lines = (advice,) if advice else ()
        if letters:
            help_lines = ('write a name with other letters than A-Z in brackets: `profile["…"]`, `events["…"]`',)
        self.report("unexpected-character", f"`{shown}` has no meaning here", self.offset, end, help_lines, found=shown)
        self.add("error", found, end)

    def number(self, match: re.Match[str]) -> None:
        whole, fraction, tail = match.groups(default="")
        micros = read_number(match[0].removesuffix(tail) if tail else match[0])
        start, end = match.span()
        if tail:
            written = read_number(match[0])
            window = _WINDOW.fullmatch(match[0])
            meant = f"write `{write_number(written)}`" if written else "a name starts with a letter"
            meant = f"a window is part of an aggregate: `events.*.count_{match[0]}`" if window else meant
            self.report("bad-number", f"`{match[0][:40]}` is no number", start, end, (meant,), found=match[0])
        elif len(fraction) > 6:
            rounded = f"the nearest number is `{write_number(micros)}`" if micros is not None else ""
            message = f"`{match[0][:40]}` has more than six decimals"
            self.report("bad-number", message, start, end, (rounded,) if rounded else (), found=match[0])
        elif micros is None:
            largest = f"the largest number is `{LARGEST // MICROS}.{LARGEST % MICROS}`"
            self.report("bad-number", f"`{whole[:40]}` is out of range", start, end, (largest,), found=match[0])
        self.add("error" if tail else "number", match[0], end, micros=micros or 0)

    def string(self, match: re.Match[str]) -> None:
        start, end = match.span()
        if not match[2]:
            self.report(
                "unterminated-string",
                "the string does not end on its line",
                start,
                end,
                ('end it with `"`',),
                label='no closing `"`',
            )
        self.add("string", match[0], end, value=self.unescape(match[1], start + 1))

    def unescape(self, body: str, offset: int) -> str:
        """The string's value; `offset` is where `body` starts in the text."""

        def one(match: re.Match[str]) -> str:
            if match[1]:
                return chr(int(match[1], 16))
            if match[2] not in _ESCAPED:
                wrong = match[2].startswith("u")
                right = r"`\u` takes four hexadecimal digits" if wrong else rf"for a backslash write `\\{match[2]}`"
                start, end = match.start() + offset, match.end() + offset
                self.report("bad-escape", f"`{match[0]}` is no escape", start, end, (right,), found=match[0])
            return _ESCAPED.get(match[2], match[2])

        value = _ESCAPE.sub(one, body) if "\\" in body else body
        return replace_surrogates(_PAIR.sub(_joined, value))

    def other_quotes(self, match: re.Match[str]) -> None:
        start, end = match.span()
        body = match[0][1:-1]
        meant = (f'write `"{body}"`',) if body.isprintable() and len(body) <= 60 and '"' not in body else ()
        self.report(
            "unexpected-character",
            "a string stands in double quotes",
            start,
            end,
            meant,
            expected='"',
            found=match[0][0],
        )
        self.add("string", match[0], end, value=replace_surrogates(body))

    def add(self, kind: TokenKind, text: str, end: int, micros: int = 0, value: str = "") -> None:
        self.tokens.append(Token(kind, text, Span(self.offset, end), micros, value))
        self.offset = end

    def report(
        self,
        code: Code,
        message: str,
        start: int,
        end: int,
        help_lines: tuple[str, ...] = (),
        expected: str = "",
        found: str = "",
        label: str = "",
    ) -> None:
        span = Span(start, end)
        self.diagnostics.append(
            Diagnostic(code, message, span, self.source, label, expected, found[:80], tuple(help_lines))
        )


def _joined(pair: re.Match[str]) -> str:
    return chr(0x10000 + ((ord(pair[0][0]) - 0xD800) << 10) + (ord(pair[0][1]) - 0xDC00))
