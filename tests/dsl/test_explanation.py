"""An explanation shows every part with its value, and the clauses it names are those that turn the answer.

Each file in `golden/explain/` is an expression, a line `---`, and its explanation for the profile below.
"""

import re
from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsl import typed
from dsl.catalog import Catalog, Segment, Trait, ValueType
from dsl.check import CheckedCatalog, check_catalog, check_expression
from dsl.clock import parse_instant
from dsl.evaluate import evaluate
from dsl.guide.explanation import Explanation, draw, explain, missing_for_true, to_json
from dsl.numbers import read_json
from dsl.state import State, Value
from dsl.typed_text import text_of

GOLDEN = sorted((Path(__file__).parent / "golden" / "explain").glob("*.txt"))
ATTRIBUTES: Mapping[str, ValueType] = {
    "plan": "string",
    "country": "string",
    "age": "number",
    "member": "boolean",
    "letters": "string",
}
CHECKED = check_catalog(
    Catalog(
        attributes=ATTRIBUTES,
        traits=(
            Trait("orders", "events.purchase.count_30d"),
            Trait("basket", "events.purchase.sum_30d(amount) / orders"),
            Trait("staff", 'profile.plan == "staff"'),
        ),
        segments=(
            Segment("loyal", 'orders >= 3 && profile.country in ["NO", "SE"]'),
            Segment("vip", "loyal && events.purchase.sum_30d(amount) > 100"),
        ),
        timezone="America/New_York",
    )
)
STATE = State(
    "p1",
    parse_instant("2017-07-14T02:40:00.123Z"),
    17,
    {"plan": "free", "country": "NO", "letters": "a\u001b[2J"},
    {
        "events.purchase.count_30d": 2_000_000,
        "events.purchase.sum_30d(amount)": 41_500_000,
        "events.purchase.last_at": parse_instant("2017-07-10T12:00:00Z"),
        "events.visit.unique_days_14d": 5_000_000,
        "events.visit.unique_list_24h(page)": ("home", "shop"),
    },
)


def explained(text: str, state: State = STATE, checked: CheckedCatalog = CHECKED) -> Explanation:
    """The explanation of an expression."""
    return explain(check_expression(text, checked).node, state, checked)


def parts(explanation: Explanation) -> Iterator[Explanation]:
    """The explanation and all below it."""
    yield explanation
    for child in explanation.children:
        yield from parts(child)


def nodes(node: typed.Node) -> Iterator[typed.Node]:
    """The parts of an expression, definitions opened; of a chain of `&&` the whole and its operands."""
    yield node
    below = typed.children(node)
    if isinstance(node, typed.Reference):
        below = (CHECKED.values[node.key].node,)
    for child in below:
        inner = nodes(child)
        if isinstance(node, typed.Logic) and isinstance(child, typed.Logic) and child.operator == node.operator:
            next(inner)
        yield from inner


# -- the tree ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden(path: Path) -> None:
    """The explanation of an expression is drawn as it stands in the file."""
    text, expected = path.read_text(encoding="utf-8").split("\n---\n")
    assert expected.rstrip("\n") == draw(explained(text))


def test_there_are_golden_files() -> None:
    """The folder of drawings is found."""
    assert len(GOLDEN) >= 8


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_every_part_appears(path: Path) -> None:
    """Every node of the expression and of what it refers to is in the tree, with the value that `evaluate` gives."""
    node = check_expression(path.read_text(encoding="utf-8").split("\n---\n")[0], CHECKED).node
    expected = [(text_of(part), evaluate(part, STATE, CHECKED)) for part in nodes(node)]
    assert expected == [(part.text, part.value) for part in parts(explain(node, STATE, CHECKED))]


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_every_text_is_an_expression(path: Path) -> None:
    """The text of a part is an expression of the language, and gives the part's value."""
    told = parts(explained(path.read_text(encoding="utf-8").split("\n---\n")[0]))
    # The instants of `last_seen_minutes_ago` and its like have no word of their own.
    for part in (part for part in told if not part.text.endswith("_seen_at")):
        assert part.value == evaluate(check_expression(part.text, CHECKED).node, STATE, CHECKED)


# -- what would turn it ------------------------------------------------------------------------------------------------

SENTENCES = [
    ("orders >= 3", ["needs trait(\"orders\") >= 3: 1 more"]),
    ("events.purchase.count_30d >= 3", ["needs events.purchase.count_30d >= 3: 1 more"]),
    ("events.purchase.count_30d > 3", ["needs events.purchase.count_30d > 3: 2 more"]),
    ("events.purchase.count_30d >= 2.5", ["needs events.purchase.count_30d >= 2.5: 1 more"]),
    ("events.purchase.count_30d < 2", ["needs events.purchase.count_30d < 2: 1 less"]),
    ("events.purchase.count_30d <= 0.5", ["needs events.purchase.count_30d <= 0.5: 2 less"]),
    ("5 <= events.purchase.count_30d", ["needs 5 <= events.purchase.count_30d: 3 more"]),
    ("2 < events.purchase.count_30d", ["needs 2 < events.purchase.count_30d: 1 more"]),
    ("events.purchase.count_30d == 7", ["needs events.purchase.count_30d == 7: 5 more"]),
    ("events.purchase.count_30d != 2", ["needs events.purchase.count_30d != 2"]),
    ("!(events.purchase.count_30d >= 1)", ["needs events.purchase.count_30d < 1: 2 less"]),
    ("events.purchase.sum_30d(amount) >= 50", ["needs events.purchase.sum_30d(amount) >= 50: 8.5 more"]),
    ("events.purchase.sum_30d(amount) > 50", ["needs events.purchase.sum_30d(amount) > 50: over 8.5 more"]),
    ("events.purchase.sum_30d(amount) > 41.5", ["needs events.purchase.sum_30d(amount) > 41.5: some more"]),
    ("events.purchase.days_since_last >= 30", ["needs events.purchase.days_since_last >= 30: 27 more"]),
    ('profile.plan in ["pro"]', ['needs profile.plan in ["pro"]']),
    ('!(profile.plan in ["free"])', ['needs !(profile.plan in ["free"])']),
    ('profile.plan starts_with "p"', ['needs profile.plan starts_with "p"']),
    ("profile.age >= 18", ["needs profile.age >= 18: profile.age is missing"]),
    ("profile.member", ["needs profile.member: profile.member is missing"]),
    ("is_set(profile.age)", ["needs is_set(profile.age): profile.age is missing"]),
    ("!is_set(profile.plan)", ["needs profile.plan to be missing"]),
    ('!(profile.age != 3)', ["needs profile.age == 3: profile.age is missing"]),
    ("loyal == false", []),
    ("profile.member == true", ["needs profile.member == true: profile.member is missing"]),
    ("profile.member == false", ["needs profile.member == false: profile.member is missing"]),
    ("!(loyal == false)", ['segment loyal: needs trait("orders") >= 3: 1 more']),
    ("loyal == true", ['segment loyal: needs trait("orders") >= 3: 1 more']),
    ("loyal != false", ['segment loyal: needs trait("orders") >= 3: 1 more']),
    ("staff", ['trait staff: needs profile.plan == "staff"']),
    # All that fails of &&, the shortest way through ||, a clause once however often it is reached.
    ("profile.member && orders >= 2 && profile.age > 3",
     ["needs profile.member: profile.member is missing", "needs profile.age > 3: profile.age is missing"]),
    ("(profile.member && profile.age > 3) || orders > 2", ['needs trait("orders") > 2: 1 more']),
    ("vip && loyal", [
        'segment loyal: needs trait("orders") >= 3: 1 more',
        "segment vip: needs events.purchase.sum_30d(amount) > 100: over 58.5 more",
    ]),
    ("!(orders >= 1 && profile.country == \"NO\" || staff)", ['needs trait("orders") < 1: 2 less']),
    ("!(orders >= 1 || profile.country == \"NO\")",
     ['needs trait("orders") < 1: 2 less', 'needs profile.country != "NO"']),
    ("if(orders > 1, profile.member, staff)", ["needs profile.member: profile.member is missing"]),
    ("coalesce(profile.member, loyal)", ['segment loyal: needs trait("orders") >= 3: 1 more']),
    ("orders >= 2 || profile.member", []),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), SENTENCES, ids=[text for text, _ in SENTENCES])
def test_missing_for_true(text: str, expected: list[str]) -> None:
    """The clauses that would make a condition true, as sentences."""
    assert expected == list(missing_for_true(explained(text)))


@st.composite
def conditions(draw: st.DrawFn) -> tuple[str, dict[str, object]]:
    """A condition in which each of some Boolean attributes stands once, and their values."""
    texts = [f"profile.b{number}" for number in range(draw(st.integers(1, 6)))]
    values: dict[str, object] = {text.removeprefix("profile."): draw(st.booleans()) for text in texts}
    while len(texts) > 1:
        left, right = texts.pop(0), texts.pop(0)
        text = f"({left} {draw(st.sampled_from(['&&', '||']))} {right})"
        texts.append(draw(st.sampled_from([text, text, f"!{text}", f"({text} == true)"])))
    return draw(st.sampled_from([texts[0], f"!{texts[0]}"])), values


@settings(max_examples=200, deadline=None, database=None, derandomize=True)
@given(conditions())
def test_clauses_turn_the_answer(question: tuple[str, dict[str, object]]) -> None:
    """With the clauses changed and nothing else the condition holds; with fewer changes it cannot."""
    text, values = question
    checked = check_catalog(Catalog(attributes=dict.fromkeys(values, "boolean")))

    def answer(changed: tuple[str, ...]) -> Value:
        now = {name: not value if name in changed else value for name, value in values.items()}
        return evaluate(check_expression(text, checked).node, State("p", 0, 0, now), checked)

    clauses = missing_for_true(explained(text, State("p", 0, 0, values), checked))
    named = tuple(re.fullmatch(r"needs !?profile\.(b\d)", clause)[1] for clause in clauses)  # type: ignore[index]
    assert True is answer(named)
    assert not any(answer(fewer) for count in range(len(named)) for fewer in combinations(values, count))


DECIDED = [
    ('orders >= 3 && profile.country == "NO" && profile.member', [True, False, True]),
    ('orders >= 3 || profile.country == "NO"', [False, True]),
    ('orders >= 2 && profile.country == "NO"', [True, True]),
    ("if(loyal, 1, 2)", [True, False, True]),
    ("coalesce(profile.age, orders, 3)", [False, True, False]),
    ("coalesce(profile.age, profile.age)", [True, True]),
    ("orders in [1, 2, 3]", [True, False, True, False]),
    ("orders in [7, 8]", [True, True, True]),
    ("orders + 1", [True, True]),
    ("orders + profile.age", [False, True]),
]


@pytest.mark.parametrize(("text", "expected"), DECIDED, ids=[text for text, _ in DECIDED])
def test_what_decided(text: str, expected: list[bool]) -> None:
    """Of a false `&&` the false operands decided, of `if` the branch it took, of a missing sum what is missing."""
    assert expected == [part.decided for part in explained(text).children]


# -- JSON and the terminal ---------------------------------------------------------------------------------------------


def test_json() -> None:
    """Numbers are exact decimals, instants ISO 8601, missing is null, a definition is opened once."""
    document = read_json(to_json(explained("basket >= 20.75 && loyal && loyal && is_set(profile.age)")))
    assert isinstance(document, dict)
    ratio, first, second, age = document["children"]
    assert ['segment loyal: needs trait("orders") >= 3: 1 more'] == document["missingForTrue"][:1]
    assert {"kind": "segment", "key": "loyal"} == first["definition"]
    assert (1, []) == (len(first["children"]), second["children"])
    assert (None, True) == (first.get("repeated"), second["repeated"])
    assert 20_750_000 == ratio["children"][0]["value"]
    assert (None, "missing") == (age["children"][0]["value"], age["children"][0]["shown"])
    window = {
        "text": "30d",
        "hop": "1 hour",
        "from": "2017-06-14T02:00:00.000Z",
        "to": "2017-07-14T02:40:00.123Z",
    }
    division = ratio["children"][0]["children"][0]
    assert window == division["children"][0]["window"]


def test_json_of_other_types() -> None:
    """Instants, lists and strings have a JSON form too."""
    instant = read_json(to_json(explained("events.purchase.last_at")))
    pages = read_json(to_json(explained('"shop" in events.visit.unique_list_24h(page)')))
    assert isinstance(instant, dict)
    assert isinstance(pages, dict)
    assert "2017-07-10T12:00:00.000Z" == instant["value"]
    assert (["home", "shop"], '["home", "shop"]') == tuple(pages["children"][0][key] for key in ("value", "shown"))


def test_calendar_window() -> None:
    """Of calendar days the reach is in local days of the project's zone."""
    reach = explained("events.visit.unique_days_14d").window
    assert reach is not None
    # In New York it is still July 13.
    assert ("1 local day", "2017-06-30T04:00:00.000Z") == (reach.hop, reach.from_at)


def test_nothing_moves_the_terminal() -> None:
    """Control characters of values are not sent to the terminal."""
    assert "\u001b" not in draw(explained('profile.letters == "a"'))


def test_deepest_and_widest() -> None:
    """The largest depth is within Python's stack; a definition reached in very many ways is told once."""
    ones = " + ".join(["1"] * 97)
    traits = [Trait("high", f"events.purchase.count > 3 && {ones} > 5"), Trait("deep", f"if(high, 1, {ones} + 2) > 1")]
    traits += [Trait("wide0", "events.purchase.count > 3")]
    traits += [Trait(f"wide{n}", f"wide{n - 1} && !wide{n - 1}") for n in range(1, 40)]
    checked = check_catalog(Catalog(traits=tuple(traits)))
    assert "1 + 1" in draw(explained("deep", STATE, checked))
    wide = explained("wide39", STATE, checked)
    assert len(draw(wide).splitlines()) < 500
    assert len(to_json(wide)) < 200_000
    assert missing_for_true(wide)
