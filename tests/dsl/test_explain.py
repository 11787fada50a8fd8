"""Reasons: the clauses that decided, as sentences a person reads."""

import time

import pytest

from dsl.catalog import Catalog, Segment, Trait
from dsl.check import CheckedCatalog, check_catalog, check_expression
from dsl.explain import reasons, show_value
from dsl.state import State
from tests.differential.worlds import instant

T_MS = instant("2017-07-01T12:00:00")
CATALOG = Catalog(
    traits=(
        Trait("spend", "events.purchase.sum(amount)"),
        Trait("orders", "events.purchase.count"),
        Trait("plan", "profile.plan", type="string"),
        Trait("adult", "profile.age >= 18"),
        Trait("last_order", "events.purchase.last_at"),
    ),
    segments=(
        Segment("big", "spend >= 500"),
        Segment("vip", 'segment("big") && orders >= 3'),
        Segment("either", "big || orders >= 1"),
    ),
)
STATE = State(
    "p",
    T_MS,
    9,
    {"age": 20_000_000, "plan": "pro", "city": 'S"o'},
    {
        "events.purchase.sum(amount)": 612_500_000,
        "events.purchase.count": 4_000_000,
        "events.purchase.last_at": T_MS - 3 * 86_400_000,
    },
)
NOBODY = State("q", T_MS, 9)


@pytest.fixture(scope="module")
def checked() -> CheckedCatalog:
    """The catalog that the reasons are about."""
    return check_catalog(CATALOG)


def why(checked: CheckedCatalog, expression: str, state: State = STATE, **context: object) -> list[str]:
    """The reasons of an expression."""
    return list(reasons(check_expression(expression, checked, "flag").node, state, checked, context))


TRUE = {
    "spend >= 500": ["spend = 612.5 >= 500"],
    "spend >= 500 && orders > 1": ["spend = 612.5 >= 500", "orders = 4 > 1"],
    "spend < 500 || orders > 1": ["orders = 4 > 1"],
    "spend >= 500 || orders > 1": ["spend = 612.5 >= 500"],
    "!(spend < 500)": ["spend = 612.5, not < 500"],
    "!(spend < 500 || orders < 1)": ["spend = 612.5, not < 500", "orders = 4, not < 1"],
    'plan in ["free", "pro"]': ['plan = "pro" in ["free", "pro"]'],
    'plan != "free"': ['plan = "pro" != "free"'],
    "profile.gone != 1": ["profile.gone = missing != 1"],
    'segment("vip")': ["segment vip: segment big: spend = 612.5 >= 500", "segment vip: orders = 4 >= 3"],
    "vip == true": ["segment vip: segment big: spend = 612.5 >= 500", "segment vip: orders = 4 >= 3"],
    "vip != false": ["segment vip: segment big: spend = 612.5 >= 500", "segment vip: orders = 4 >= 3"],
    "adult": ["trait adult: profile.age = 20 >= 18"],
    "events.purchase.days_since_last < 30": ["events.purchase.days_since_last = 3 < 30"],
    "last_order < now()": ["last_order = 2017-06-28T12:00:00.000Z < now() = 2017-07-01T12:00:00.000Z"],
    "context.amount >= 100": ["context.amount = 120 >= 100"],
    "spend / orders > 100": ["spend / orders = 153.125 > 100"],
    "spend / (orders / 2) > 100": ["spend / (orders / 2) = 306.25 > 100"],
    "(spend + 1) * -orders < 0": ["(spend + 1) * -orders = -2454 < 0"],
    "-(spend + 1) < 0": ["-(spend + 1) = -613.5 < 0"],
    "coalesce(profile.gone, orders) == 4": ["coalesce(profile.gone, orders) = 4 == 4"],
    "is_set(profile.plan)": ["is_set(profile.plan) = true"],
    'profile.city == "S\\"o"': ['profile.city = "S\\"o" == "S\\"o"'],
    "true": ["true"],
}
FALSE = {
    "spend < 500": ["spend = 612.5, not < 500"],
    "spend < 500 && orders > 1": ["spend = 612.5, not < 500"],
    "spend > 500 && orders < 1": ["orders = 4, not < 1"],
    "spend < 500 || orders < 1": ["spend = 612.5, not < 500", "orders = 4, not < 1"],
    "!vip": ["segment vip: segment big: spend = 612.5 >= 500", "segment vip: orders = 4 >= 3"],
    "vip == false": ["segment vip: segment big: spend = 612.5 >= 500", "segment vip: orders = 4 >= 3"],
    'plan in ["free"]': ['plan = "pro", not in ["free"]'],
    "profile.gone == 1": ["profile.gone = missing, not == 1"],
    "profile.gone && true": ["profile.gone = missing"],
    "context.other > 1": ["context.other = missing, not > 1"],
}


@pytest.mark.parametrize("expression", TRUE)
def test_why_it_holds(checked: CheckedCatalog, expression: str) -> None:
    """Of a true condition the reasons are the clauses that make it true."""
    assert TRUE[expression] == why(checked, expression, amount=120_000_000)


@pytest.mark.parametrize("expression", FALSE)
def test_why_it_does_not_hold(checked: CheckedCatalog, expression: str) -> None:
    """Of a false condition the reasons are the clauses that make it false."""
    assert FALSE[expression] == why(checked, expression)


def test_inside_segments_that_do_not_hold(checked: CheckedCatalog) -> None:
    """The clause that fails is found inside the segments; of nothing, an aggregate shows its value."""
    assert ["segment vip: segment big: spend = 0, not >= 500"] == why(checked, 'segment("vip")', NOBODY)


def test_a_definition_is_shown_once(checked: CheckedCatalog) -> None:
    """What decides in several ways is said once."""
    expression = 'segment("big") && segment("vip") && segment("either")'
    expected = ["segment big: spend = 612.5 >= 500", "segment vip: orders = 4 >= 3"]
    assert expected == why(checked, expression)


def test_many_ways_to_one_definition() -> None:
    """Segments that are reached in a million ways are explained at once."""
    segments = [Segment("s0", "events.purchase.count >= 1")]
    segments += [Segment(f"s{n}", f"s{n - 1} && (s{n - 1} || s{n - 1})") for n in range(1, 40)]
    checked = check_catalog(Catalog(segments=tuple(segments)))
    started = time.perf_counter()
    found = reasons(checked.values["s39"].node, STATE, checked)
    assert time.perf_counter() - started < 1
    assert 1 == len(found)
    assert found[0].endswith("segment s0: events.purchase.count = 4 >= 1")


def test_values_as_people_read_them() -> None:
    """Numbers are decimals, strings have quotes, instants are UTC text, what is not there is missing."""
    shown = [show_value(1_500_000, "number"), show_value(T_MS, "timestamp"), show_value(True, "boolean")]
    assert ["1.5", "2017-07-01T12:00:00.000Z", "true"] == shown
    assert ['"pro"', "missing"] == [show_value("pro", "string"), show_value(None, "number")]
