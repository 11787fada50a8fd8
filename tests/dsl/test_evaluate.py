"""Values worked out by hand, which the evaluator and the SQL both give."""

import pytest

from dsl.catalog import Catalog, Flag, Rule, Segment, Trait
from dsl.check import check_catalog, check_expression
from dsl.evaluate import evaluate
from dsl.state import State, Value
from tests.differential.engines import Engines
from tests.dsl.one_profile import T_MS, answer, answers, event, world

LARGEST = 2**63 - 1
ATTRIBUTES = {
    "seven": 7_000_000,
    "minus_seven": -7_000_000,
    "three": 3_000_000,
    "half": 500_000,
    "micro": 1,
    "zero": 0,
    "largest": LARGEST,
    "smallest": -(2**63),
    "text": "Ab É ß",
    "empty": "",
    "yes": True,
    "no": False,
    "wrong": "7",
    "null": None,
    "things": [1_000_000],
    "thing": {},
}
"""The attributes of the vectors; `profile.gone` is missing."""

# Expressions over `ATTRIBUTES` with their values: numbers in micro-units, None is missing.
ARITHMETIC: list[tuple[str, Value]] = [
    ("profile.seven + profile.half", 7_500_000),
    ("profile.half - profile.seven", -6_500_000),
    ("profile.seven * profile.half", 3_500_000),
    ("profile.seven / profile.half", 14_000_000),
    ("profile.seven % profile.three", 1_000_000),
    ("profile.minus_seven % profile.three", -1_000_000),
    ("profile.seven % -profile.three", 1_000_000),
    ("-profile.half", -500_000),
    # rounding at the sixth place, halves away from zero
    ("profile.micro * profile.half", 1),
    ("profile.micro * -profile.half", -1),
    ("profile.micro * 0.499999", 0),
    ("profile.micro / 2", 1),
    ("-profile.micro / 2", -1),
    ("profile.micro / 3", 0),
    ("2 / profile.three", 666_667),
    ("-2 / profile.three", -666_667),
    ("profile.seven / profile.three * profile.three", 6_999_999),
    # out of range is missing, at each step
    ("profile.largest + profile.micro", None),
    ("profile.largest + profile.micro - profile.micro", None),
    ("profile.smallest - profile.micro", None),
    ("profile.largest * 1", LARGEST),
    ("profile.largest * profile.largest", None),
    ("profile.smallest * profile.smallest", None),
    ("profile.smallest / -1", None),
    ("profile.smallest / 1", -(2**63)),
    ("profile.largest / profile.half", None),
    ("profile.smallest % -1", -775_808),
    ("-profile.smallest", None),
    ("-profile.largest", -LARGEST),
    ("profile.largest / profile.largest", 1_000_000),
    # nothing is divided by zero
    ("profile.seven / profile.zero", None),
    ("profile.seven % profile.zero", None),
    # missing operands, also of another type
    ("profile.gone + 1", None),
    ("1 - profile.gone", None),
    ("profile.gone * 0", None),
    ("0 / profile.gone", None),
    ("profile.gone % 1", None),
    ("-profile.gone", None),
    ("profile.wrong + 1", None),
    ("profile.yes + 1", None),
    ("profile.null + 1", None),
    ("profile.things + 1", None),
]
COMPARISONS: list[tuple[str, Value]] = [
    ("profile.gone == 1", False),
    ("profile.gone != 1", True),
    ("profile.gone < 1", False),
    ("profile.gone <= 1", False),
    ("profile.gone > 1", False),
    ("profile.gone >= 1", False),
    ("profile.gone + 1 == profile.gone + 1", False),
    ("profile.gone in [1, 2]", False),
    ("!(profile.gone in [1, 2])", True),
    ("1 in [profile.gone + 0]", False),
    ("profile.seven in [profile.gone, 7]", True),
    ("profile.seven + 1 in []", False),
    ('profile.wrong == "7"', True),
    ("profile.wrong == 7", False),
    ("profile.wrong != 7", True),
    ('profile.empty == ""', True),
    ('profile.gone == ""', False),
    ('profile.text < "B"', True),
    ('"É" > "z"', True),
    ('"😀" > "\ufffd"', True),
    ("profile.smallest + 0 < profile.largest", True),
    ("profile.half == 0.5", True),
    ("(profile.seven > 1) == (profile.half > 1)", False),
    ("(profile.seven > 1) != (profile.gone > 1)", True),
    ("(profile.seven > 1 && profile.half > 1) == false", True),
    ("(profile.seven > 1) in [profile.half > 1, true]", True),
    ("now() == now()", True),
]
LOGIC: list[tuple[str, Value]] = [
    ("profile.gone && true", False),
    ("profile.gone || true", True),
    ("!profile.gone", True),
    ("!(profile.yes && profile.no)", True),
    ("!(profile.no && profile.yes)", True),
    ("!(profile.yes || profile.no)", False),
    ("!profile.yes || profile.yes", True),
    ("profile.yes || profile.yes && profile.no", True),
    ("(profile.yes || profile.yes) && profile.no", False),
    ("profile.wrong == true || profile.no", False),
]
FUNCTIONS: list[tuple[str, Value]] = [
    ("coalesce(profile.gone, profile.seven, 0)", 7_000_000),
    ("coalesce(profile.wrong, 1)", 1_000_000),
    ("coalesce(profile.gone + 1, profile.gone + 2)", None),
    ("coalesce(profile.gone, profile.no, true)", False),
    ('coalesce(profile.empty, "x")', ""),
    ("if(profile.gone, 1, 2)", 2_000_000),
    ("if(profile.yes, profile.gone, 2)", None),
    ("if(profile.no, profile.gone, 2)", 2_000_000),
    ("is_set(profile.gone)", False),
    ("is_set(profile.null)", False),
    ("is_set(profile.empty)", True),
    ("is_set(profile.no)", True),
    ("is_set(profile.zero)", True),
    ("is_set(profile.things)", True),
    ("is_set(profile.thing)", True),
    ("is_set(profile.seven / profile.zero)", False),
    ("is_set(!profile.gone)", True),
    ("is_set(profile.gone && profile.gone || profile.gone)", True),
    ("abs(profile.minus_seven)", 7_000_000),
    ("abs(profile.smallest)", None),
    ("abs(coalesce(profile.smallest, 0)) > 1", False),
    ("!(abs(coalesce(profile.smallest, 0)) > 1)", True),
    ("abs(profile.gone)", None),
    ("min(profile.seven, profile.half, profile.three)", 500_000),
    ("max(profile.seven, profile.half)", 7_000_000),
    ("min(profile.seven, profile.gone)", None),
    ("max(profile.gone, profile.seven)", None),
    ("lower(profile.text)", "ab É ß"),
    ("upper(profile.text)", "AB É ß"),
    ("lower(profile.gone)", None),
    ("upper(profile.seven)", None),
    ("length(profile.text)", 6_000_000),
    ("length(profile.empty)", 0),
    ("length(profile.gone)", None),
    ('length("e\u0301😀")', 3_000_000),
    ('length("a\u0000b")', 3_000_000),
    ("now()", T_MS),
    ("now() - now()", 0),
    ("days_since(now())", 0),
]
VECTORS = dict(ARITHMETIC + COMPARISONS + LOGIC + FUNCTIONS)


@pytest.fixture(scope="module")
def values() -> dict[str, Value]:
    """The value of every vector, computed as one catalog, by expression."""
    keys = {f"trait_{number}": expression for number, expression in enumerate(VECTORS)}
    found = answers(world(attributes=ATTRIBUTES), **keys)
    return {expression: found[key] for key, expression in keys.items()}


@pytest.mark.parametrize("expression", VECTORS)
def test_vector(expression: str, values: dict[str, Value]) -> None:
    """The expression has the value that was worked out by hand, in the evaluator and in SQL."""
    assert repr(VECTORS[expression]) == repr(values[expression])


EVENTS = (
    event(T_MS - 3 * 86_400_000, amount=1_000_001, ok=True),
    event(T_MS - 2 * 86_400_000, amount=2_000_000),
    event(T_MS - 60_000, amount="5", ok=False),
    event(T_MS - 59_999, "visit", amount=LARGEST),
    event(T_MS - 1, "visit", amount=LARGEST),
    event(T_MS - 1, "page", "page"),
    event(T_MS, amount=9_000_000),
)
OF_EVENTS: dict[str, Value] = {
    "events.purchase.count": 3_000_000,
    "events.purchase.sum(amount)": 3_000_001,
    "events.purchase.avg(amount)": 1_500_001,
    "events.purchase.min(amount)": 1_000_001,
    "events.purchase.max(amount)": 2_000_000,
    "events.purchase.unique_days": 3_000_000,
    "events.purchase.first_at": T_MS - 3 * 86_400_000,
    "events.purchase.last_at": T_MS - 60_000,
    "events.purchase.days_since_first": 3_000_000,
    "events.purchase.days_since_last": 0,
    "events.purchase.minutes_since_last": 1_000_000,
    "events.visit.minutes_since_last": 0,
    "events.visit.sum(amount)": None,
    "events.visit.avg(amount)": LARGEST,
    "events.visit.sum(amount) > 0": False,
    "coalesce(events.visit.sum(amount), 0)": 0,
    "events.*.count": 6_000_000,
    "events.page.count": 1_000_000,
    "events.purchase[ok].count": 1_000_000,
    "events.purchase[!ok].count": 2_000_000,
    "events.purchase[amount != 2].count": 2_000_000,
    "events.purchase[is_set(amount)].count": 3_000_000,
    "events.purchase[is_set(ok) && amount * amount > 1].sum(amount)": 1_000_001,
    'events.purchase[amount == "5"].last_at': T_MS - 60_000,
    "events.never.count": 0,
    "events.never.sum(amount)": 0,
    "events.never.unique_days": 0,
    "events.never.avg(amount)": None,
    "events.never.min(amount)": None,
    "events.never.first_at": None,
    "events.never.days_since_last": None,
    "events.never.days_since_last < 30": False,
    "!(events.never.days_since_last < 30)": True,
    "last_seen_minutes_ago": 0,
    "first_seen_hours_ago": 72_000_000,
    "first_seen_days_ago": 3_000_000,
}


def test_aggregates() -> None:
    """Aggregates over a few events have the values that were worked out by hand; of nothing, those of the table."""
    keys = {f"trait_{number}": expression for number, expression in enumerate(OF_EVENTS)}
    found = answers(world(*EVENTS), **keys)
    assert OF_EVENTS == {expression: found[key] for key, expression in keys.items()}


def test_segments_are_true_or_false() -> None:
    """A segment whose condition is missing is false, also for what builds on it; a Boolean trait is missing."""
    catalog = Catalog(
        traits=(
            Trait("member", "profile.gone", type="boolean"),
            Trait("of_trait", "coalesce(member, true)"),
            Trait("of_segment", "coalesce(members, true)"),
            Trait("is_set_segment", "is_set(members)"),
        ),
        segments=(Segment("members", "profile.gone"),),
    )
    expected = {"member": None, "of_trait": True, "of_segment": False, "is_set_segment": True, "members": False}
    engines = Engines(world(), catalog)
    assert {"p": expected} == engines.tables() == engines.evaluated()


def test_nothing_known() -> None:
    """An unknown profile is evaluated as empty: every aggregate is of nothing."""
    checked = check_catalog(Catalog(traits=(Trait("spend", "events.purchase.sum(amount)"),)))
    empty = State("p", T_MS, 0)
    assert 0 == evaluate(checked.values["spend"].node, empty, checked)
    assert None is evaluate(check_expression("last_seen_days_ago", checked).node, empty, checked)


def test_context() -> None:
    """A flag's rule reads what the request brought along; another type is missing."""
    rule = Rule('context.amount >= 100 && context.cart.currency == "NOK"', "on")
    checked = check_catalog(Catalog(flags=(Flag("offer", (rule,)),)))
    when = checked.flags["offer"].rules[0].when
    state = State("p", T_MS, 0)
    good = {"amount": 100_000_000, "cart": {"currency": "NOK"}}
    assert evaluate(when, state, checked, good) is True
    wrong: tuple[dict[str, object], ...] = ({"amount": "100"}, {"amount": True}, {"cart": "NOK"}, {"cart": None})
    assert evaluate(when, state, checked, {}) is False
    for change in wrong:
        assert evaluate(when, state, checked, {**good, **change}) is False


def test_expression_alone() -> None:
    """An expression asked by itself refers to definitions, even to one that is called like its column."""
    catalog = Catalog(traits=(Trait("value", "profile.seven", type="number"), Trait("value_", "value * 2")))
    engines = Engines(world(attributes=ATTRIBUTES), catalog)
    assert {"p": 21_000_000} == engines.alone("value + value_")
    assert 7_500_000 == answer("profile.seven + 0.5", world(attributes=ATTRIBUTES))
