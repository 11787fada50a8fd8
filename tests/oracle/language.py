"""Section 3: the grammar of expressions. Text becomes a tree of small dataclasses.

Precedence, tightest first: postfix; unary `-`; `* / %`; `+ -`; comparison and word operators (non-associative);
`!`/`not`; `&&`/`and`; `||`/`or`.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

from tests.oracle.patterns import PatternError, compile_pattern
from tests.oracle.tree import Aggregate, Binary, Call, Items, Literal, Named, Node, Path, Seen, Unary
from tests.oracle.values import clean, read_number
from tests.oracle.windows import DAY, HOUR, MINUTE, UNITS

TOKEN = re.compile(
    r"(?P<space>[ \t\r\n]+|//[^\n]*)"
    r"|(?P<number>[0-9]+(?:\.[0-9]+)?(?![A-Za-z0-9_.]))"
    r'|(?P<string>"(?:[^"\\\n]|\\.)*")'
    r"|(?P<word>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<sign>&&|\|\||==|!=|<=|>=|[-+*/%<>!()\[\],.])"
)
SYNONYMS = {"and": "&&", "or": "||", "not": "!"}
WORD_OPERATORS = {"in", "contains", "starts_with", "ends_with", "matches"}
COMPARISONS = {"==", "!=", "<", "<=", ">", ">="} | WORD_OPERATORS
RESERVED = WORD_OPERATORS | set(SYNONYMS)
PLAIN_AGGREGATES = {
    "count", "first_at", "last_at", "days_since_first", "days_since_last", "minutes_since_last",
    "unique_days", "streak_days", "longest_gap_minutes",
}  # fmt: skip
PROPERTY_AGGREGATES = {
    "sum", "avg", "min", "max", "first", "last", "count_distinct", "most_frequent", "unique_list",
    "median", "percentile",
}  # fmt: skip
AGGREGATE = re.compile(f"({'|'.join(sorted(PLAIN_AGGREGATES | PROPERTY_AGGREGATES))})(?:_([0-9]+)([smhdw]))?")
SEEN = re.compile(r"(first|last)_seen_(minutes|hours|days)_ago")
AGES = {"minutes": MINUTE, "hours": HOUR, "days": DAY}
FUNCTIONS: dict[str, tuple[int, int]] = {  # least and most arguments
    "coalesce": (1, 100), "if": (3, 3), "is_set": (1, 1), "number": (1, 1), "text": (1, 1), "lower": (1, 1),
    "upper": (1, 1), "length": (1, 1), "round": (1, 2), "abs": (1, 1), "min": (1, 100), "max": (1, 100),
    "days_since": (1, 1), "now": (0, 0), "date": (1, 1), "bucket": (1, 1), "percent_rank": (1, 1),
}  # fmt: skip
NOT_IN_FILTER = {"now", "days_since", "bucket", "percent_rank", "trait", "segment"}


class LanguageError(ValueError):
    """The text is not an expression of section 3."""


@dataclass(frozen=True)
class Token:
    """A piece of the text; kind `end` after the last."""

    kind: str
    text: str


def tokens_of(text: str) -> list[Token]:
    """The tokens, with blanks and `//` comments left out and `and or not` as the signs that they mean."""
    tokens: list[Token] = []
    position = 0
    while position < len(text):
        found = TOKEN.match(text, position)
        if not found:
            raise LanguageError(f"unexpected {text[position : position + 10]!r}")
        position = found.end()
        if found.lastgroup != "space":
            tokens.append(Token(str(found.lastgroup), found[0]))
    return [*tokens, Token("end", "")]


def parse(text: str) -> Node:
    """The tree of an expression."""
    parser = _Parser(tokens_of(text))
    tree = parser.disjunction()
    if parser.ahead().kind != "end":
        raise LanguageError(f"unexpected {parser.ahead().text!r}")
    return tree


def literal_string(token: Token) -> str:
    """A string in double quotes, with the escapes of JSON."""
    if token.kind != "string":
        raise LanguageError(f"expected a string, found {token.text!r}")
    try:
        return clean(str(json.loads(token.text, strict=False)))
    except json.JSONDecodeError as problem:
        raise LanguageError(f"string {token.text}") from problem


class _Parser:
    """Recursive descent, one method per level of the precedence list."""

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.position = 0
        self.in_filter = False

    def ahead(self) -> Token:
        return self.tokens[self.position]

    def operator(self) -> str:
        """The sign or operator word ahead, or nothing."""
        token = self.ahead()
        if token.kind == "word":
            return SYNONYMS.get(token.text, token.text if token.text in WORD_OPERATORS else "")
        return token.text if token.kind == "sign" else ""

    def take(self) -> Token:
        token = self.ahead()
        if token.kind == "end":
            raise LanguageError("the expression ends too early")
        self.position += 1
        return token

    def accept(self, sign: str) -> bool:
        if self.ahead() == Token("sign", sign):
            self.position += 1
            return True
        return False

    def expect(self, sign: str) -> None:
        if not self.accept(sign):
            raise LanguageError(f"expected {sign!r}, found {self.ahead().text!r}")

    def word(self) -> str:
        token = self.take()
        if token.kind != "word":
            raise LanguageError(f"expected a name, found {token.text!r}")
        return token.text

    # --- operators, loosest first ---

    def chain(self, operators: set[str], operand: Callable[[], Node]) -> Node:
        """A left-associative chain."""
        left = operand()
        while self.operator() in operators:
            operator = self.operator()
            self.take()
            left = Binary(operator, left, operand())
        return left

    def disjunction(self) -> Node:
        return self.chain({"||"}, self.conjunction)

    def conjunction(self) -> Node:
        return self.chain({"&&"}, self.negation)

    def negation(self) -> Node:
        if self.operator() == "!":
            self.take()
            return Unary("!", self.negation())
        return self.comparison()

    def comparison(self) -> Node:
        left = self.sum()
        operator = self.operator()
        if operator not in COMPARISONS:
            return left
        self.take()
        right = self.sum()
        if self.operator() in COMPARISONS:
            raise LanguageError("comparisons do not chain")
        if operator == "matches":
            self.check_pattern(right)
        return Binary(operator, left, right)

    def check_pattern(self, right: Node) -> None:
        if not isinstance(right, Literal) or not isinstance(right.value, str):
            raise LanguageError("`matches` takes a literal pattern")
        try:
            compile_pattern(right.value)
        except PatternError as problem:
            raise LanguageError(str(problem)) from problem

    def sum(self) -> Node:
        return self.chain({"+", "-"}, self.product)

    def product(self) -> Node:
        return self.chain({"*", "/", "%"}, self.minus)

    def minus(self) -> Node:
        if self.accept("-"):
            return Unary("-", self.minus())
        return self.primary()

    # --- operands ---

    def primary(self) -> Node:
        if self.accept("("):
            inner = self.disjunction()
            self.expect(")")
            return inner
        if self.accept("["):
            return Items(self.arguments("]"))
        token = self.take()
        if token.kind == "number":
            if len(token.text.partition(".")[2]) > 6:
                raise LanguageError("a literal has at most six decimals")
            return Literal(read_number(token.text))
        if token.kind == "string":
            return Literal(literal_string(token))
        if token.kind != "word" or token.text in RESERVED:
            raise LanguageError(f"unexpected {token.text!r}")
        if token.text in {"true", "false"}:
            return Literal(token.text == "true")
        if self.in_filter:
            return self.filter_name(token.text)
        return self.name(token.text)

    def arguments(self, closing: str) -> tuple[Node, ...]:
        """Expressions between commas, up to the closing sign."""
        found: list[Node] = []
        if self.accept(closing):
            return ()
        while True:
            found.append(self.disjunction())
            if self.accept(closing):
                return tuple(found)
            self.expect(",")

    def name(self, word: str) -> Node:
        """What starts with a word, outside a filter."""
        if word == "events":
            return self.aggregate()
        if word in {"profile", "context"}:
            return Path(word, self.steps(required=True))
        seen = SEEN.fullmatch(word)
        if seen:
            return Seen(seen[1], AGES[seen[2]])
        if not self.accept("("):
            return Named("any", word)
        if word in {"trait", "segment"}:
            key = literal_string(self.take())
            self.expect(")")
            return Named(word, key)
        return self.call(word)

    def filter_name(self, word: str) -> Node:
        """What starts with a word in a filter: a function of the event alone, its context, or a property."""
        if word in {"profile", "events"}:
            raise LanguageError(f"{word} in a filter")
        if self.accept("("):
            if word in NOT_IN_FILTER:
                raise LanguageError(f"{word}() in a filter")
            return self.call(word)
        return self.property(word)

    def call(self, word: str) -> Node:
        if word not in FUNCTIONS:
            raise LanguageError(f"no function {word}")
        arguments = self.arguments(")")
        least, most = FUNCTIONS[word]
        if not least <= len(arguments) <= most:
            raise LanguageError(f"{word}() takes {least} to {most} arguments")
        return Call(word, arguments)

    def steps(self, required: bool) -> tuple[str, ...]:
        """The rest of a path: `.name` or `["odd name"]`, again and again."""
        steps: list[str] = []
        while True:
            if self.accept("."):
                steps.append(self.word())
            elif self.accept("["):
                steps.append(literal_string(self.take()))
                self.expect("]")
            else:
                break
        if required and not steps:
            raise LanguageError("a path ends too early")
        return tuple(steps)

    def property(self, word: str) -> Path:
        """A bare path is a property; `properties["odd name"]` for others; `context.` is the event's own context."""
        if word == "properties" and self.ahead() in (Token("sign", "["), Token("sign", ".")):
            return Path("properties", self.steps(required=True))
        if word == "context":
            return Path("event_context", self.steps(required=True))
        return Path("properties", (word, *self.steps(required=False)))

    # --- aggregates ---

    def aggregate(self) -> Aggregate:
        """`events.<name>[filter].<aggregate>_<window>(property, q)`, after the word `events`."""
        event: str | None = None
        if self.accept("["):
            event = literal_string(self.take())
            self.expect("]")
        else:
            self.expect(".")
            event = None if self.accept("*") else self.word()
        condition = self.condition() if self.accept("[") else None
        self.expect(".")
        name, window_ms = split_aggregate(self.word())
        if name in PLAIN_AGGREGATES:
            return Aggregate(event, condition, name, window_ms, None, 0)
        self.expect("(")
        path = self.property(self.word())
        q = 500_000
        if name == "percentile":
            self.expect(",")
            q = self.quantile()
        self.expect(")")
        return Aggregate(event, condition, name, window_ms, path, q)

    def condition(self) -> Node:
        if self.in_filter:
            raise LanguageError("an aggregate in a filter")
        self.in_filter = True
        condition = self.disjunction()
        self.in_filter = False
        self.expect("]")
        return condition

    def quantile(self) -> int:
        token = self.take()
        number = read_number(token.text) if token.kind == "number" else None
        if number is None or number.micro > 1_000_000:
            raise LanguageError("q is a literal from 0 to 1")
        return number.micro


def split_aggregate(word: str) -> tuple[str, int | None]:
    """Section 2: the aggregate and its window in ms, within the limits of both."""
    found = AGGREGATE.fullmatch(word)
    if not found:
        raise LanguageError(f"no aggregate {word}")
    name, count, unit = found.groups()
    window_ms = int(count) * UNITS[unit] if count else None
    if window_ms == 0:
        raise LanguageError("an empty window")
    if name in {"unique_days", "streak_days"} and unit not in {None, "d", "w"}:
        raise LanguageError(f"{name} takes windows of days and weeks")
    if name == "longest_gap_minutes" and (window_ms is None or window_ms > DAY):
        raise LanguageError("longest_gap_minutes takes a window of at most 24h")
    return name, window_ms
