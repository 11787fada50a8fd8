"""Text to tree: shapes, precedence, limits and the errors of bad texts."""

import json
import random
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsl.diagnostics import DefinitionError, Diagnostic
from dsl.parser import MAX_LENGTH, parse
from dsl.printer import print_node, print_tree
from dsl.source import Source, Span
from dsl.syntax import Aggregate, Binary, Call, ListOf, Name, Node, Number, Path, Tree, Unary
from dsl.walk import depth

# Every expression of the documents that the language comes from, as it is written there.
SEEDS = [
    "events.app_open.unique_days_14d >= 5",
    "events.purchase.count_30d >= 1 && last_seen_minutes_ago < 1440",
    "events.purchase.count_30d >= 3",
    "events.purchase.count_7d",
    "first_seen_days_ago",
    "profile.country",
    'profile.plan in ["premium", "enterprise"]',
    "last_seen_minutes_ago < 1440",
    "first_seen_days_ago > 7",
    "events.purchase.count_30d >= 1 && events.app_open.count_7d >= 3",
    "frequent_buyer == true",
    "power_user == true && recent_buyer == true",
    'segment("vip_users")',
    'trait("total_spent") >= 500',
    'segment("recent_buyers") && segment("high_value")',
    'events["Feature Used"].count_24h >= 5',
    'profile.plan == "pro"',
    "events.*.longest_gap_minutes_30m >= 10",
    "events.purchase.sum(amount) >= 100",
    "events.*.days_since_last < 30",
]


def root(text: str) -> Node:
    """The tree of a good text."""
    return parse(Source(text)).root


def errors(text: str) -> tuple[Diagnostic, ...]:
    """What is wrong with a bad text."""
    with pytest.raises(DefinitionError) as caught:
        parse(Source(text))
    return caught.value.diagnostics


@pytest.mark.parametrize("text", SEEDS)
def test_examples_of_the_documents(text: str) -> None:
    """The documents' own expressions are canonical already: they print as they were written."""
    assert text == print_node(root(text))


def grouped(node: Node) -> str:
    """`node` with every operation in parentheses."""
    match node:
        case Binary(operator=operator, left=left, right=right):
            return f"({grouped(left)} {operator} {grouped(right)})"
        case Unary(operator=operator, operand=operand):
            return f"({operator}{grouped(operand)})"
    return print_node(node)


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("a || b && c", "(a || (b && c))"),
        ("a && b || c && d", "((a && b) || (c && d))"),
        ("a or b and not c", "(a || (b && (!c)))"),
        ("!a in b", "(!(a in b))"),
        ("not a == b && c", "((!(a == b)) && c)"),
        ("!a && b", "((!a) && b)"),
        ("!!a", "(!(!a))"),
        ("a + b * c - d", "((a + (b * c)) - d)"),
        ("a - b - c", "((a - b) - c)"),
        ("a / b * c % d", "(((a / b) * c) % d)"),
        ("-a * b", "((-a) * b)"),
        ("-a.b", "(-a.b)"),
        ("--a", "(-(-a))"),
        ("a - -b", "(a - (-b))"),
        ("a - -1", "(a - -1)"),
        ("a + b < c * d", "((a + b) < (c * d))"),
        ("a + 1 in b", "((a + 1) in b)"),
        ("a contains b + c", "(a contains (b + c))"),
        ("a starts_with b || a ends_with c", "((a starts_with b) || (a ends_with c))"),
        ('a matches "x" && b', '((a matches "x") && b)'),
        ("(a == b) == c", "((a == b) == c)"),
        ("a == (b == c)", "(a == (b == c))"),
        ("a * (b + c)", "(a * (b + c))"),
        ("a && b && c", "((a && b) && c)"),
        ("a && b && c && d", "((a && b) && (c && d))"),
    ],
)
def test_precedence(text: str, shape: str) -> None:
    """Operators bind as the reference says; comparisons bind tighter than `!`."""
    assert shape == grouped(root(text))


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("a and(b)or c", "a && b || c"),
        ("((a))", "a"),
        ("(a && b) && (c && d)", "a && b && c && d"),
        ("a || (b || c)", "a || b || c"),
        ("a - (b - c)", "a - (b - c)"),
        ("(a + b) + c", "a + b + c"),
        ("a + (b + c)", "a + (b + c)"),
        ("!(a && b)", "!(a && b)"),
        ("!a in b", "!(a in b)"),
        ("!(a)", "!a"),
        ("-(a + b)", "-(a + b)"),
        ("-(5)", "-5"),
        ("-(-5)", "--5"),
        ("a == (!b)", "a == (!b)"),
        ('x in(["US","CA"])', 'x in ["US", "CA"]'),
        ("x in [1,-2,]", "x in [1, -2]"),
        ("[]", "[]"),
        ("1.50", "1.5"),
        ("007", "7"),
        ("-0", "-0"),
        (r'"\u0041\/\n"', r'"A/\n"'),
        ('events["purchase"].count', "events.purchase.count"),
        ('events["*"].count', 'events["*"].count'),
        ("events . purchase [ amount>20 ] . sum_30d ( amount )", "events.purchase[amount > 20].sum_30d(amount)"),
        ("events.purchase.count_30d()", "events.purchase.count_30d"),
        ("events.not.in_30d", "events.not.in_30d"),
        ('properties["total"]', "properties.total"),
        ('properties["odd name"].x["1"]', 'properties["odd name"].x["1"]'),
        ("now( )", "now()"),
        ("a\n// why\n  == b // c", "// why\n// c\na == b"),
        ("a //", "//\na"),
    ],
)
def test_canonical_text(text: str, printed: str) -> None:
    """Canonical text is on one line, with canonical operators and no needless parentheses."""
    assert printed == print_tree(parse(Source(text)))
    assert printed == print_tree(parse(Source(printed)))


def test_paths() -> None:
    """A path has a step and a span for each of its parts."""
    node = root('cart["odd name"].total')
    assert isinstance(node, Path)
    assert ("cart", "odd name", "total") == node.steps
    assert (Span(0, 4), Span(5, 15), Span(17, 22)) == node.step_spans
    assert isinstance(root("total"), Name)


def test_aggregate_parts() -> None:
    """An aggregate knows event, filter, function, window and arguments, each with its span."""
    text = 'events.purchase[category == "books"].sum_30d(cart.total)'
    node = root(text)
    assert isinstance(node, Aggregate)
    assert ("purchase", "sum", "30d") == (node.event, node.function, node.window)
    assert node.filter is not None
    assert node.window_span is not None
    spans = (node.event_span, node.function_span, node.window_span, node.filter.span, node.span)
    expected = ["purchase", "sum", "30d", 'category == "books"', text]
    assert expected == [text[span.start : span.end] for span in spans]
    assert ["cart.total"] == [print_node(argument) for argument in node.arguments or ()]


@pytest.mark.parametrize(
    ("text", "function", "window"),
    [
        ("events.x.count", "count", None),
        ("events.x.count_30d", "count", "30d"),
        ("events.x.unique_days_2w", "unique_days", "2w"),
        ("events.x.count_30", "count", "30"),
        ("events.x.count_3y", "count", "3y"),
        ("events.x.count_30_d", "count_30_d", None),
        ("events.x._30d", "_30d", None),
        ("events.x.days_since_last", "days_since_last", None),
    ],
)
def test_windows(text: str, function: str, window: str | None) -> None:
    """What stands behind the last underscore and starts with a digit is the window, good or bad."""
    node = root(text)
    assert isinstance(node, Aggregate)
    assert (function, window, None) == (node.function, node.window, node.arguments)


def test_brackets_after_events() -> None:
    """Right behind `events` brackets hold a name, behind the event they hold a filter."""
    named, filtered, any_event = root('events["x"].count'), root('events.x["a" == b].count'), root("events.*[a].count")
    assert isinstance(named, Aggregate)
    assert ("x", None) == (named.event, named.filter)
    assert isinstance(filtered, Aggregate)
    assert ("x", '"a" == b') == (filtered.event, print_node(filtered.filter) if filtered.filter else "")
    assert isinstance(any_event, Aggregate)
    assert any_event.event is None


def test_negative_numbers() -> None:
    """A minus before a literal makes it a negative literal."""
    node = root("x in [-1.5, - 2]")
    assert isinstance(node, Binary)
    assert isinstance(node.right, ListOf)
    assert [-1_500_000, -2_000_000] == [item.micros for item in node.right.items if isinstance(item, Number)]


def test_spans_hold_their_parentheses() -> None:
    """The span of a node in parentheses includes them."""
    text = "(a + b) * c"
    node = root(text)
    assert isinstance(node, Binary)
    assert Span(0, len(text)) == node.span
    assert "(a + b)" == text[node.left.span.start : node.left.span.end]


# -- limits ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "(" * 100 + "a" + ")" * 100,
        "f(" * 99 + "a" + ")" * 99,
        "!" * 99 + "a",
        "-" * 99 + "a",
        "a + " * 99 + "a",
        "events.x[" * 99 + "a" + "].count" * 99,
        "a && " * 3_999 + "a",
        "(a || b) && " * 1_600 + "a",
        "[" * 99 + "a" + "]" * 99,
        "!f(" * 49 + "a in b" + ")" * 49,
    ],
)
def test_deep_enough(text: str) -> None:
    """A hundred levels are fine, and `&&` and `||` chains of thousands; their canonical text parses too."""
    printed = print_node(root(text))
    assert depth(root(text)) <= 100
    assert printed == print_node(root(printed))


@pytest.mark.parametrize(
    "text",
    [
        "(" * 101 + "a" + ")" * 101,
        "(" * 19_000,
        "[" * 19_000,
        "f(" * 9_000,
        "events.x[" * 2_000,
        "!" * 19_000,
        "not " * 4_000,
        "-" * 19_000,
        "-" * 100 + "a",
        "!" * 100 + "a",
        "a + " * 100 + "a",
        "a + " * 4_999 + "a",
        "a||b&&c==d+e*-(" * 1_300,
        "(((a||b&&c==d+e*" * 1_200,
    ],
)
def test_too_deep(text: str) -> None:
    """Beyond a hundred levels there is one clear error, soon, and never a RecursionError."""
    start = time.process_time()
    assert "too-deep" in [diagnostic.code for diagnostic in errors(text)]
    assert time.process_time() - start < 2


def test_deep_on_a_used_stack() -> None:
    """The deepest text is parsed below two hundred frames of somebody else."""

    def below(frames: int) -> Node:
        return below(frames - 1) if frames else root("-f(a||b&&c==d+e*" * 14 + "a" + ")" * 14)

    assert sys.getrecursionlimit() >= 1_000
    assert 90 < depth(below(200)) <= 100


def test_too_long() -> None:
    """A text of more than 20,000 code points is refused whole."""
    assert "a" == print_node(root("a" + " " * (MAX_LENGTH - 1)))
    assert ["too-long"] == [diagnostic.code for diagnostic in errors("a" + " " * MAX_LENGTH)]


# -- errors ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a && && b ||", [("unexpected-token", 5), ("unexpected-token", 12)]),
        ("a b", [("unexpected-token", 2)]),
        ("a < b < c < d", [("chained-comparison", 6)]),
        ("a in b in c", [("chained-comparison", 7)]),
        ("a == b contains c", [("chained-comparison", 7)]),
        ("(a < b < c) == (d < e < f)", [("chained-comparison", 7), ("chained-comparison", 22)]),
        ("(a && (b", [("unexpected-token", 6)]),
        ("(a]", [("unexpected-token", 2)]),
        ("[1, (2]", [("unexpected-token", 6)]),
        ("a)", [("unexpected-token", 1)]),
        ("f(1 2, 3", [("unexpected-token", 4)]),
        ("a = 1 & b ~ 2", [("unexpected-character", 2), ("unexpected-character", 6), ("unexpected-character", 10)]),
        ("a AND b", [("unexpected-token", 2)]),
        ("a == !b", [("unexpected-token", 5)]),
        ("-!a", [("unexpected-token", 1)]),
        ("a not in b", [("unexpected-token", 2)]),
        (".5", [("bad-number", 0)]),
        ("events", [("unexpected-token", 6)]),
        ("events.purchase", [("unexpected-token", 15)]),
        ("events.cart.added.count", [("unexpected-token", 17)]),
        ("events.x[].count", [("unexpected-token", 9)]),
        ("events.x[a][b].count", [("unexpected-token", 11)]),
        ("profile.1x == 2", [("bad-number", 8)]),
        ("foo.bar(1)", [("unexpected-token", 7)]),
        ("", [("unexpected-token", 0)]),
        (" // only a comment", [("unexpected-token", 18)]),
        ("a) == b", [("unexpected-token", 1)]),
        ("a ~ == 2 && c )", [("unexpected-character", 2), ("unexpected-token", 14)]),
        ("x >= 30d && y = 1", [("bad-number", 5), ("unexpected-character", 14)]),
    ],
)
def test_all_errors_at_once(text: str, expected: list[tuple[str, int]]) -> None:
    """Every mistake is reported once, where it is, in the order of the text."""
    assert expected == [(diagnostic.code, diagnostic.span.start) for diagnostic in errors(text)]


FRAGMENTS = [
    "a", "events", "events.x", ".count_30d", "[", "]", "(", ")", ",", ".", "*", "-", "!", "not", "in", "and", "||",
    "&&", "==", "<", "=", "&", '"s"', '"', "'", "1", "1.5", "1e9", "30d", "true", "profile", "if(", "//", "\n", " ",
    "\\", "é", "\ud800", "#",
]  # fmt: skip


@given(st.lists(st.sampled_from(FRAGMENTS), max_size=40).map("".join) | st.text(max_size=60))
@settings(max_examples=1_500, deadline=2_000)
def test_any_text(text: str) -> None:
    """Any text either parses, and then prints as a fixed point, or raises DefinitionError."""
    tree = outcome(text)
    if isinstance(tree, DefinitionError):
        starts = [diagnostic.span.start for diagnostic in tree.diagnostics]
        assert starts
        assert sorted(starts) == starts
        assert all(0 <= d.span.start <= d.span.end <= len(text) for d in tree.diagnostics)
    else:
        printed = print_tree(tree)
        assert printed == print_tree(parse(Source(printed)))


def outcome(text: str) -> Tree | DefinitionError:
    """What parsing gives, good or bad; anything else is raised."""
    try:
        return parse(Source(text))
    except DefinitionError as error:
        return error


def test_long_nonsense_is_quick() -> None:
    """Twenty thousand characters of nonsense are answered soon."""
    randomness = random.Random(7)
    lots = [
        [fragment] for fragment in (*"\"'1", "a ", "= ", "/*", ". ", "] ", "a < ", "a not in ", "[a ", "a[", "1.", "~")
    ]
    for fragments in (FRAGMENTS, *lots):
        text = "".join(randomness.choice(fragments) for _ in range(MAX_LENGTH))[: MAX_LENGTH - 1] + "~"
        start = time.process_time()
        assert isinstance(outcome(text), DefinitionError)
        assert time.process_time() - start < 2


# -- the fixed point -------------------------------------------------------------------------------------------

SPAN = Span(0, 0)
WORDS = st.sampled_from(["a", "b2", "_c", "plan", "Total", "if", "now"])
STEPS = WORDS | st.sampled_from(["in", "not", "true", "odd name", "", "é", '"', "1", "a.b", "*"])
LEAVES: st.SearchStrategy[Node] = st.one_of(
    st.builds(Number, st.integers(-(2**63) + 1, 2**63 - 1), st.just(SPAN)),
    st.text().map(json.dumps).map(root),
    st.sampled_from(["true", "false"]).map(root),
    WORDS.map(lambda name: Name(name, SPAN)),
    st.lists(STEPS, min_size=1, max_size=3).map(lambda steps: Path(("cart", *steps), (SPAN,) * (len(steps) + 1), SPAN)),
)
OPERATORS = st.sampled_from(
    ["*", "/", "%", "+", "-", "==", "!=", "<", "<=", ">", ">=", "in", "contains", "starts_with", "ends_with", "matches"]
    + ["&&", "||"] * 4
)


def larger(nodes: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    """Trees one level above `nodes`."""
    several = st.lists(nodes, max_size=3).map(tuple)
    return st.one_of(
        st.builds(Binary, OPERATORS, st.just(SPAN), nodes, nodes, st.just(SPAN)),
        st.builds(Unary, st.sampled_from("!-"), nodes, st.just(SPAN)),
        st.builds(ListOf, several, st.just(SPAN)),
        st.builds(Call, WORDS, st.just(SPAN), several, st.just(SPAN)),
        st.builds(
            Aggregate,
            st.none() | STEPS,
            st.just(SPAN),
            st.none() | nodes,
            st.sampled_from(["count", "unique_days", "in", "x_y"]),
            st.just(SPAN),
            st.none() | st.sampled_from(["30d", "2w", "7"]),
            st.none(),
            st.none() | several,
            st.just(SPAN),
        ),
    )


def bare(node: Node) -> str:
    """The tree's meaning as text: every group explicit, chains of `&&` and of `||` flat."""
    match node:
        case Binary(operator="&&" | "||" as operator):
            return f"({f' {operator} '.join(_operands(node, operator))})"
        case Binary(operator=operator, left=left, right=right):
            return f"({bare(left)} {operator} {bare(right)})"
        case Number(micros=micros) if micros < 0:
            return f"(-{bare(Number(-micros, SPAN))})"
        case Unary(operator="-", operand=Number(micros=micros)) if micros > 0:
            return bare(Number(-micros, SPAN))
        case Unary(operator=operator, operand=operand):
            return f"({operator}{bare(operand)})"
        case ListOf(items=items):
            return f"[{', '.join(map(bare, items))}]"
        case Call(function=function, arguments=arguments):
            return f"{function}({', '.join(map(bare, arguments))})"
        case Aggregate(event=event, filter=condition, function=function, window=window, arguments=arguments):
            inner = bare(condition) if condition else ""
            return f"events.{event!r}[{inner}].{function}_{window}({', '.join(map(bare, arguments or ()))})"
    return print_node(node)


def _operands(node: Node, operator: str) -> list[str]:
    if isinstance(node, Binary) and node.operator == operator:
        return _operands(node.left, operator) + _operands(node.right, operator)
    return [bare(node)]


@given(st.recursive(LEAVES, larger, max_leaves=25))
@settings(max_examples=600, deadline=2_000)
def test_print_and_parse(node: Node) -> None:
    """The printed text of any tree parses to the same meaning and prints the same."""
    printed = print_node(node)
    again = root(printed)
    assert bare(node) == bare(again)
    assert printed == print_node(again)
