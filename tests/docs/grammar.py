"""A grammar as it stands on a page: read, drawn from, and recognised with.

The notation: `rule = …` on a line of its own, lines that start with blanks continue it; `"text"` stands for itself,
`a b` is one after the other, `a | b` a choice, `[ a ]` may be left out, `{ a }` may be repeated, `a - b` is an `a` that
is no `b`. Names in capitals are tokens, given as regular expressions between slashes.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from random import Random
from typing import Final

PASSED_OVER: Final = ("SPACE", "COMMENT")
"""Tokens that may stand between any two others."""
_NOTATION: Final = re.compile(r'\s*("(?:[^"]+)"|\w+|[=|()\[\]{}-])')
_CLOSERS: Final = {"(": ")", "[": "]", "{": "}"}


@dataclass(frozen=True, eq=False)
class Literal:
    """A token that is written out."""

    text: str


@dataclass(frozen=True, eq=False)
class Reference:
    """A rule, or a kind of token."""

    name: str


@dataclass(frozen=True, eq=False)
class Sequence:
    """All items, one after the other."""

    items: "tuple[Form, ...]"


@dataclass(frozen=True, eq=False)
class Choice:
    """One of the items."""

    items: "tuple[Form, ...]"


@dataclass(frozen=True, eq=False)
class Repeated:
    """The item, any number of times; `most` is 1 for what may be left out."""

    item: "Form"
    most: int | None


@dataclass(frozen=True, eq=False)
class Without:
    """What is the item and is not the other."""

    item: "Form"
    other: "Form"


Form = Literal | Reference | Sequence | Choice | Repeated | Without


@dataclass(frozen=True)
class Token:
    """A piece of a text; `kind` is the name of its regular expression, empty for a symbol."""

    kind: str
    text: str


@dataclass(frozen=True)
class Derived:
    """What a rule was drawn as: the tokens' texts and the rules below it, in their order."""

    rule: str
    parts: "tuple[Derived | str, ...]"

    def texts(self) -> Iterator[str]:
        """The tokens' texts, from the left."""
        for part in self.parts:
            yield from [part] if isinstance(part, str) else part.texts()


# -- reading -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Grammar:
    """The rules of a page by name, the first of which is the start, and its kinds of tokens."""

    rules: dict[str, Form]
    kinds: dict[str, re.Pattern[str]]

    @classmethod
    def read(cls, text: str) -> "Grammar":
        """The grammar that a page writes."""
        rules, kinds = dict[str, Form](), dict[str, re.Pattern[str]]()
        for rule in re.split(r"\n(?=\S)", text.strip("\n")):
            name, body = (part.strip() for part in rule.split("=", 1))
            if body.startswith("/"):
                kinds[name] = re.compile(body[1:-1])
            else:
                rules[name] = _Notation(body).whole()
        return cls(rules, kinds)

    @property
    def start(self) -> str:
        """The rule of a whole text."""
        return next(iter(self.rules))

    @cached_property
    def literals(self) -> frozenset[str]:
        """Every text that a rule writes out."""
        return frozenset(
            form.text for rule in self.rules.values() for form in _below(rule) if isinstance(form, Literal)
        )

    def undefined(self) -> set[str]:
        """Names that are used and nowhere given."""
        named = {form.name for rule in self.rules.values() for form in _below(rule) if isinstance(form, Reference)}
        return named - set(self.rules) - set(self.kinds)

    def tokens(self, text: str) -> list[Token] | None:
        """The tokens of a text, the longest that fits each time; None when something is no token."""
        symbols = sorted((one for one in self.literals if not one[0].isalpha()), key=len, reverse=True)
        kinds = {**self.kinds, "": re.compile("|".join(map(re.escape, symbols)))}
        found, at = list[Token](), 0
        while at < len(text):
            matches = [(match.end(), kind) for kind, pattern in kinds.items() if (match := pattern.match(text, at))]
            end, kind = max(matches, default=(at, ""))
            if end == at:
                return None
            if kind not in PASSED_OVER:
                found.append(Token(kind, text[at:end]))
            at = end
        return found

    def accepts(self, text: str) -> bool:
        """Whether a text is a sentence."""
        tokens = self.tokens(text)
        return tokens is not None and len(tokens) in _Recogniser(self, tokens).ends(Reference(self.start), 0)


@dataclass
class _Notation:
    """Reads the right side of a rule."""

    body: str
    words: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.words = _NOTATION.findall(self.body)
        assert "".join(self.words) == re.sub(r"\s+(?=(?:[^\"]*\"[^\"]*\")*[^\"]*$)", "", self.body), self.body

    def whole(self) -> Form:
        """All of it."""
        form = self.choice()
        assert not self.words, f"left over: {self.words}"
        return form

    def choice(self) -> Form:
        items = [self.sequence()]
        while self.words and self.words[0] == "|":
            self.words.pop(0)
            items.append(self.sequence())
        return items[0] if len(items) == 1 else Choice(tuple(items))

    def sequence(self) -> Form:
        items = list[Form]()
        while self.words and self.words[0] not in ("|", ")", "]", "}"):
            items.append(self.item())
        return items[0] if len(items) == 1 else Sequence(tuple(items))

    def item(self) -> Form:
        form = self.one(self.words.pop(0))
        if self.words and self.words[0] == "-":
            self.words.pop(0)
            form = Without(form, self.one(self.words.pop(0)))
        return form

    def one(self, word: str) -> Form:
        if word.startswith('"'):
            return Literal(word[1:-1])
        if word not in _CLOSERS:
            return Reference(word)
        inner = self.choice()
        assert self.words.pop(0) == _CLOSERS[word], self.body
        return inner if word == "(" else Repeated(inner, 1 if word == "[" else None)


def _below(form: Form) -> Iterator[Form]:
    """The form and every form in it."""
    yield form
    inner: tuple[Form, ...] = ()
    match form:
        case Sequence(items=items) | Choice(items=items):
            inner = items
        case Repeated(item=item):
            inner = (item,)
        case Without(item=item, other=other):
            inner = (item, other)
    for one in inner:
        yield from _below(one)


# -- recognising -------------------------------------------------------------------------------------------------------


@dataclass
class _Recogniser:
    """Where a form may end that begins at a token: all places, so that no choice has to be taken back."""

    grammar: Grammar
    tokens: list[Token]
    known: dict[tuple[Form, int], frozenset[int]] = field(default_factory=dict)

    def ends(self, form: Form, at: int) -> frozenset[int]:
        if (form, at) not in self.known:
            self.known[form, at] = self._ends(form, at)
        return self.known[form, at]

    def _ends(self, form: Form, at: int) -> frozenset[int]:
        match form:
            case Literal(text=text):
                return self._token(at, lambda token: token.kind in ("", "WORD") and token.text == text)
            case Reference(name=name) if name in self.grammar.kinds:
                return self._token(at, lambda token: token.kind == name)
            case Reference(name=name):
                return self.ends(self.grammar.rules[name], at)
            case Sequence(items=items):
                places = frozenset({at})
                for item in items:
                    places = frozenset(end for place in places for end in self.ends(item, place))
                return places
            case Choice(items=items):
                return frozenset(end for item in items for end in self.ends(item, at))
            case Without(item=item, other=other):
                return self.ends(item, at) - self.ends(other, at)
            case Repeated():
                return self._repeated(form, at)

    def _repeated(self, form: Repeated, at: int) -> frozenset[int]:
        reached, newest, times = {at}, {at}, 0
        while newest and times != form.most:
            newest = {end for place in newest for end in self.ends(form.item, place)} - reached
            reached |= newest
            times += 1
        return frozenset(reached)

    def _token(self, at: int, fits: "Callable[[Token], bool]") -> frozenset[int]:
        return frozenset({at + 1} if at < len(self.tokens) and fits(self.tokens[at]) else ())


# -- drawing -----------------------------------------------------------------------------------------------------------


@dataclass
class Drawing:
    """Draws sentences; `samples` are the texts that each kind of token is drawn from."""

    grammar: Grammar
    samples: dict[str, list[str]]
    random: Random
    _heights: dict[str, int] = field(default_factory=dict)

    def sentence(self, levels: int) -> Derived:
        """A sentence in which rules lie at most about `levels` deep in one another."""
        return self._rule(self.grammar.start, levels)

    def _rule(self, name: str, levels: int) -> Derived:
        return Derived(name, tuple(self._form(self.grammar.rules[name], levels - 1)))

    def _form(self, form: Form, levels: int) -> "Iterator[Derived | str]":
        match form:
            case Literal(text=text):
                yield text
            case Reference(name=name) if name in self.grammar.kinds:
                yield self.random.choice(self.samples[name])
            case Reference(name=name):
                yield self._rule(name, levels)
            case Sequence(items=items):
                for item in items:
                    yield from self._form(item, levels)
            case Choice(items=items):
                low = [item for item in items if self._height(item) <= levels]
                yield from self._form(self.random.choice(low or [min(items, key=self._height)]), levels)
            case Without(item=item, other=other):
                yield from self._form_without(item, other, levels)
            case Repeated(item=item, most=most):
                room = self._height(item) <= levels
                for _ in range(self.random.choice([0, 0, 1] if most else [0, 0, 0, 1, 1, 2]) if room else 0):
                    yield from self._form(item, levels)

    def _form_without(self, item: Form, other: Form, levels: int) -> "Iterator[Derived | str]":
        while True:
            drawn = list(self._form(item, levels))
            tokens = [token for part in drawn for token in self.grammar.tokens(_text(part)) or ()]
            if len(tokens) not in _Recogniser(self.grammar, tokens).ends(other, 0):
                yield from drawn
                return

    def _height(self, form: Form) -> int:
        """How many rules have to lie in one another before only tokens are left."""
        if not self._heights:
            self._heights = dict.fromkeys(self.grammar.rules, 1_000)
            for _ in self.grammar.rules:
                self._heights |= {name: 1 + self._height(rule) for name, rule in self.grammar.rules.items()}
        match form:
            case Reference(name=name):
                return self._heights.get(name, 0)
            case Sequence(items=items):
                return max(map(self._height, items))
            case Choice(items=items):
                return min(map(self._height, items))
            case Without(item=item):
                return self._height(item)
        return 0


def _text(part: Derived | str) -> str:
    return part if isinstance(part, str) else " ".join(part.texts())
