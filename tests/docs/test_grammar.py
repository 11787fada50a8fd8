"""The grammar on the page of the language is the parser's: what one takes the other takes, and in the same shape."""

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsl.diagnostics import DefinitionError
from dsl.parser import parse
from dsl.printer import print_node
from dsl.source import Source
from dsl.syntax import Node
from dsl.tokens import RESERVED
from tests.docs.blocks import of_language
from tests.docs.grammar import Derived, Drawing, Grammar

(PAGE_GRAMMAR,) = of_language("docs/reference/language.md", "ebnf")
GRAMMAR = Grammar.read(PAGE_GRAMMAR.text)
SAMPLES = {
    "WORD": ["a", "b2", "_c", "plan", "count_30d", "properties", "not", "in", "true", "events", "AND"],
    "NUMBER": ["0", "1", "30", "1.5", "007", "0.000001"],
    "STRING": ['""', '"x"', r'"é\n\u00e9"', '"// no comment"', r'"\\"'],
}
GAPS = [" ", " ", "  ", "\n", "\t", " // why\n", " //\r\n"]
PIECES = [
    *sorted(GRAMMAR.literals), *SAMPLES["WORD"], *SAMPLES["NUMBER"], *SAMPLES["STRING"],
    "===", "<>", "=", "&", "'x'", "#", ".5", "1.", "1e5", "30d", "0.1234567", ";", "?", "é", "\n", "/*", '"', r'"\q"',
]  # fmt: skip
GROUPED = {"expression", "conjunction", "negation", "comparison", "sum", "product", "factor"}
SENTENCES = [
    "f(a,)", "[a,]", "f()", "[]", "events.x.sum(a,)", "events.x.count()", "!!a", "!not!a", "--a", "a---b",
    "a.in", "a.b.not", "events.in.in", "events.events.events", 'a[""]', 'a["in"].b["c d"]', 'events["x"]["y"].z',
    "events . x . count", "AND", "If(a)", "a&&b||c", "a<-1", "(a)==(b)", "a in([1,2])", "!a in b", "a in b && c in d",
    "(a < b) < c", "a == (!b)", "-(!a)", '"//"', "a//", "a/b//c\n/d",
]  # fmt: skip
"""What looks odd and is right."""
NO_SENTENCES = [
    "", "// nothing", "a b", "a &&", "&& a", "a || || b", "()", "(a", "a)", "[a", "[,]", "f(,)", "f(a,,b)", "f(a b)",
    "a < b < c", "a == b != c", "a in b in c", "a not in b", "a AND b", "NOT a", "a = b", "a === b", "a <> b", "a & b",
    "a == !b", "-!a", "a + not b", "1 = 1", "30d", "1.", ".5", "1e3", "1_000", "0.1234567", "'x'", '"x', r'"\q"',
    '"\n"', "events", "events.x", "events.*", "events.*.*", "events[a].count", "events.x[].count",
    "events.x[a][b].count", "events.x.count.y", "events.x.count[a]", "events.x.5", 'events."x".count', "events(x)",
    "a.", "a.1", 'a."b"', "a[b]", "a.b(c)", "f(a).b", '"a".b', "(a).b", "true.x", "in", "in(a)", "and", "a # b", "a; b",
    "a ? b : c", "{a}", "a /* b */", "é", "a\u00a0b",
]  # fmt: skip
"""What people write and the language does not have."""


def parsed(text: str) -> Node | None:
    """The parser's tree; None when it refuses the text."""
    try:
        return parse(Source(text)).root
    except DefinitionError:
        return None


def drawn(random: Random) -> Derived:
    """A sentence of moderate length."""
    while True:
        sentence = Drawing(GRAMMAR, SAMPLES, random).sentence(random.choice([9, 10, 12, 14, 18]))
        if len(list(sentence.texts())) <= 60:
            return sentence


def spaced(sentence: Derived, random: Random) -> str:
    """A sentence as text, with any gaps between its tokens, and none where none is needed."""
    tokens = list(sentence.texts())
    text = tokens[0]
    for left, right in pairwise(tokens):
        apart = GRAMMAR.tokens(left + right)
        needed = apart is None or [token.text for token in apart] != [left, right]
        text += random.choice(GAPS if needed else ["", "", *GAPS]) + right
    return text


def grouped(part: Derived | str) -> str:
    """The sentence with parentheses around everything that the grammar takes together, from the left."""
    if isinstance(part, str):
        return part
    texts = [grouped(inner) for inner in part.parts]
    if part.rule not in GROUPED or len(texts) == 1:
        return " ".join(texts)
    if len(texts) == 2:
        return f"({texts[0]} ({texts[1]}))"
    text = texts[0]
    for sign, right in zip(texts[1::2], texts[2::2], strict=True):
        text = f"({text} {sign} {right})"
    return text


def mutated(text: str, random: Random) -> str:
    """A text with a word or a letter taken out, put in, replaced, or two of them changed."""
    parts = text.split(" ") if random.random() < 0.6 else list(text)
    joint = " " if parts and " ".join(parts) == text else ""
    one, other = random.randrange(len(parts)), random.randrange(len(parts))
    match random.randrange(4):
        case 0:
            del parts[one]
        case 1:
            parts.insert(one, random.choice(PIECES))
        case 2:
            parts[one] = random.choice(PIECES)
        case _:
            parts[one], parts[other] = parts[other], parts[one]
    return joint.join(parts)


def test_names_of_the_grammar_are_given() -> None:
    """Every rule that is used is there, and what is reserved is what the parser reserves."""
    assert set() == GRAMMAR.undefined()
    assert RESERVED | {"events"} == {literal for literal in GRAMMAR.literals if literal[0].isalpha()}


@pytest.mark.parametrize("seed", range(6))
def test_sentences_parse(seed: int) -> None:
    """The parser takes every sentence of the grammar, however it is spaced, and groups it as the grammar does."""
    random = Random(seed)
    for _ in range(100):
        sentence = drawn(random)
        text = spaced(sentence, random)
        assert GRAMMAR.accepts(text), text
        root, meant = parsed(text), parsed(grouped(sentence))
        assert root is not None, text
        assert meant is not None, text
        assert print_node(meant) == print_node(root), text


@pytest.mark.parametrize("seed", range(6))
def test_near_sentences(seed: int) -> None:
    """Of texts that are nearly sentences the parser takes those that the grammar takes, and no other."""
    random = Random(seed)
    accepted = Counter[bool]()
    for _ in range(220):
        text = mutated(" ".join(drawn(random).texts()), random)
        takes = GRAMMAR.accepts(text)
        assert takes == (parsed(text) is not None), repr(text)
        accepted[takes] += 1
    assert min(accepted[True], accepted[False]) >= 25


@pytest.mark.parametrize("text", SENTENCES)
def test_odd_sentence(text: str) -> None:
    """Both the grammar and the parser take it."""
    assert (True, True) == (GRAMMAR.accepts(text), parsed(text) is not None)


@pytest.mark.parametrize("text", NO_SENTENCES)
def test_no_sentence(text: str) -> None:
    """Neither the grammar nor the parser takes it."""
    assert (False, None) == (GRAMMAR.accepts(text), parsed(text))


def literals() -> Iterator[st.SearchStrategy[str]]:
    """Texts of the tokens that are operands."""
    for kind in ("NUMBER", "STRING"):
        yield st.from_regex(GRAMMAR.kinds[kind], fullmatch=True).filter(lambda text: len(text) < 40)


@given(st.one_of(*literals()))
@settings(max_examples=200, deadline=None)
def test_literals_parse(text: str) -> None:
    """Every number (of up to 12 digits before the point) and every string of the grammar is one for the parser."""
    whole = text.partition(".")[0].lstrip("0")
    assert parsed(text) is not None or (whole.isdigit() and len(whole) > 12)
