"""The parser's place in the tokens: what stands next, which brackets are open, what was wrong so far."""

from dataclasses import dataclass
from typing import Final

from dsl.diagnostics import Code, Diagnostic
from dsl.source import Source, Span
from dsl.tokens import RESERVED, Token

MAX_DEPTH: Final = 100
"""Deepest nesting: of brackets, and of the tree. Chains of `&&` and of `||` of any length are shallow."""

OPENERS: Final = {")": "(", "]": "["}


class TooDeepError(Exception):
    """Brackets nest deeper than the parser follows; it has been reported."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What should stand somewhere, as words of the language, and lines of help."""

    expected: str
    help: tuple[str, ...] = ()


class Cursor:
    """One pass over the tokens of a text.

    An error is reported once: what only follows from it, at the same token or beside an unreadable one, is not.
    """

    def __init__(self, source: Source, tokens: tuple[Token, ...]) -> None:
        self.diagnostics: list[Diagnostic] = []
        self._source = source
        self._tokens = tokens
        self._index = 0
        self._open: list[Token] = []
        self._last_reported = -1

    @property
    def next(self) -> Token:
        """The token that stands next; the last one is of kind `end`."""
        return self._tokens[self._index]

    @property
    def after_next(self) -> Token:
        """The token behind `next`; the end behind the end."""
        return self._tokens[min(self._index + 1, len(self._tokens) - 1)]

    @property
    def previous(self) -> Token:
        """The token taken last; the first one before any was."""
        return self._tokens[max(self._index - 1, 0)]

    def at_end(self) -> bool:
        """Whether all tokens are taken."""
        return self.next.kind == "end"

    def at(self, *symbols: str) -> bool:
        """Whether one of these symbols stands next."""
        return self.next.kind == "symbol" and self.next.text in symbols

    def at_operand(self) -> bool:
        """Whether an operand starts here."""
        token = self.next
        if token.kind == "word":
            return token.text not in RESERVED or token.text in ("true", "false", "not")
        return token.kind in ("number", "string") or self.at("(", "[", "!", "-")

    def take(self) -> Token:
        """Passes over the next token; the end stays."""
        token = self.next
        self._index += not self.at_end()
        return token

    def written(self, span: Span) -> str:
        """The text of a span."""
        return self._source.text[span.start : span.end]

    def report(
        self, code: Code, message: str, wanted: Wanted, span: Span | None = None, label: str = "", found: str = ""
    ) -> None:
        """Adds an error at `span`, or at the next token."""
        beside_error = "error" in (self.previous.kind, self.next.kind)
        if self._index != self._last_reported and not beside_error:
            place = span or self.next.span
            self.diagnostics.append(
                Diagnostic(code, message, place, self._source, label, wanted.expected, found, wanted.help)
            )
        self._last_reported = self._index

    def unexpected(self, wanted: Wanted) -> None:
        """Reports the next token as not what was wanted."""
        found = "the end" if self.at_end() else f"`{self.next.text[:40]}`"
        message = f"expected {wanted.expected}, found {found}"
        self.report("unexpected-token", message, wanted, found=found.strip("`"))

    def report_depth(self, span: Span | None = None) -> None:
        """Adds the error of an expression that nests too deeply."""
        self._last_reported = -1
        message = f"the expression nests deeper than {MAX_DEPTH} levels"
        self.report("too-deep", message, Wanted("", ("split it into several traits",)), span)

    def opening(self) -> Token:
        """Takes an opening bracket.

        Raises:
            TooDeepError: too many are open already.
        """
        if len(self._open) >= MAX_DEPTH:
            self.report_depth()
            raise TooDeepError
        self._open.append(self.take())
        return self._open[-1]

    def at_closing(self, closer: str, wanted: Wanted | None = None) -> bool:
        """Whether `closer` stands next; reports what stands there instead."""
        if self.at(closer):
            return True
        if self.at_end():
            opener = self._open[-1]
            advice = Wanted(f"`{closer}`", (f"close it with `{closer}`",))
            self.report("unexpected-token", f"`{opener.text}` is never closed", advice, opener.span, found="the end")
        else:
            self.unexpected(wanted or Wanted(f"`{closer}`"))
        return False

    def closes_outer(self) -> bool:
        """Whether the next token closes a bracket around the innermost open one."""
        opener = OPENERS.get(self.next.text) if self.next.kind == "symbol" else None
        return any(token.text == opener for token in self._open[:-1])

    def closed(self, closer: str) -> Span:
        """Takes `closer` if it stands there; the innermost bracket is no longer open."""
        self._open.pop()
        return self.take().span if self.at(closer) else self.previous.span
