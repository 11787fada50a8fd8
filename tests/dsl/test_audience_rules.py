"""mini-cdp's audience rules: the expression of every key, and what is refused."""

import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsl.diagnostics import DefinitionError
from dsl.documents.audience_rules import EXPECTED, RULE_KEYS, Takes, read_rules
from dsl.guide.reference import audience_rules_page
from dsl.parser import parse
from dsl.printer import print_tree
from dsl.render import draw_all
from dsl.source import Source

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "audience-rules.md"

TABLE = [
    ('{"min_total_spend": 100, "days_since_last_event": 30}',
     "events.purchase.sum(amount) >= 100 && events.*.days_since_last < 30"),
    ('{"min_total_spend": 59.990}', "events.purchase.sum(amount) >= 59.99"),
    ('{"min_total_spend": 0.1234567e1}', "events.purchase.sum(amount) >= 1.234567"),
    ('{"min_total_spend": 9223372036854.775807}', "events.purchase.sum(amount) >= 9223372036854.775807"),
    ('{"min_total_spend": -5}', "events.purchase.sum(amount) >= -5"),
    ('{"max_total_spend": 1e3}', "events.purchase.sum(amount) <= 1000"),
    ('{"min_total_orders": 3}', "events.purchase.count >= 3"),
    ('{"max_total_orders": 0}', "events.purchase.count <= 0"),
    ('{"min_average_order": 24.5}', "events.purchase.avg(amount) >= 24.5"),
    ('{"max_average_order": 80}', "events.purchase.avg(amount) <= 80"),
    ('{"min_events": 5.0}', "events.*.count >= 5"),
    ('{"max_events": 500}', "events.*.count <= 500"),
    ('{"days_since_last_event": 30}', "events.*.days_since_last < 30"),
    ('{"min_days_since_last_event": 90}', "events.*.days_since_last >= 90"),
    ('{"days_since_first_event": 7}', "events.*.days_since_first < 7"),
    ('{"min_days_since_first_event": 365}', "events.*.days_since_first >= 365"),
    ('{"days_since_last_purchase": 14}', "events.purchase.days_since_last < 14"),
    ('{"min_days_since_last_purchase": 60}', "events.purchase.days_since_last >= 60"),
    ('{"days_since_first_purchase": 30}', "events.purchase.days_since_first < 30"),
    ('{"min_days_since_first_purchase": 180}', "events.purchase.days_since_first >= 180"),
    ('{"has_event": "signup"}', "events.signup.count >= 1"),
    ('{"has_event": ["signup", "Add to Cart"]}', 'events.signup.count >= 1 && events["Add to Cart"].count >= 1'),
    ('{"has_any_event": ["a", "b"]}', "events.a.count >= 1 || events.b.count >= 1"),
    ('{"has_any_event": ["a", "b"], "min_events": 1}',
     "(events.a.count >= 1 || events.b.count >= 1) && events.*.count >= 1"),
    ('{"has_not_event": ["refund", "a\\"b"]}', r'events.refund.count == 0 && events["a\"b"].count == 0'),
    ('{"traits": {"plan": "pro"}}', 'profile.plan == "pro"'),
    ('{"traits": {"country": ["US", "CA"], "age": 30}}', 'profile.country in ["US", "CA"] && profile.age == 30'),
    ('{"traits": {"size": [1, 2.50], "member": true}}', "profile.size in [1, 2.5] && profile.member == true"),
    ('{"traits": {"opted out": false, "in": ""}}', 'profile["opted out"] == false && profile.in == ""'),
    ('{"email_known": true}', "is_set(profile.email)"),
    ('{"email_known": false, "has_event": "a"}', "!is_set(profile.email) && events.a.count >= 1"),
]  # fmt: skip
"""Rules as JSON, and their expression."""


def read_json(text: str) -> Mapping[str, object]:
    """Rules with their numbers as they are written."""
    rules: dict[str, object] = json.loads(text, parse_float=Decimal)
    return rules


@pytest.mark.parametrize(("rules", "expected"), TABLE)
def test_expression(rules: str, expected: str) -> None:
    """Rules are one expression, which is canonical; each clause is the expression of its rule."""
    translation = read_rules(read_json(rules))
    assert expected == translation.expression
    assert expected == print_tree(parse(Source(expected)))
    assert list(read_json(rules).items()) == [(key, value) for key, value, _ in translation.clauses]
    for key, value, text in translation.clauses:
        assert text == read_rules({key: value}).expression
        assert text in expected


def test_every_key_is_in_the_table() -> None:
    """The table of this test has every key of the code's table."""
    assert set(RULE_KEYS) == {key for rules, _ in TABLE for key in read_json(rules)}


@pytest.mark.parametrize("name", RULE_KEYS)
def test_example_of_a_key(name: str) -> None:
    """The example of every key is translated, and prints to itself."""
    text = read_rules({name: RULE_KEYS[name].example}).expression
    assert text == print_tree(parse(Source(text)))


def test_page_is_written_from_the_table() -> None:
    """`docs/reference/audience-rules.md` is what `audience_rules_page` gives."""
    assert audience_rules_page() == PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("rules", "marked", "message", "advice"),
    [
        ({}, "{}", "the rules are empty", "min_total_spend"),
        ({"min_total_spent": 1}, '"min_total_spent"', "no rule `min_total_spent`", "is `min_total_spend`"),
        ({"plan": "pro"}, '"plan"', "no rule `plan`", "an attribute stands under `traits`"),
        ({"min_total_spend": "100"}, '"100"', "should be a number, found `\"100\"`", "without quotes"),
        ({"min_total_spend": None}, "null", "should be a number, found `null`", ""),
        ({"min_total_spend": True}, "true", "should be a number, found `true`", ""),
        ({"min_total_spend": 0.5}, "0.5", "should be a number", "read as a double"),
        ({"min_total_spend": Decimal("0.1234567")}, "0.1234567", "should be a number", "six decimals"),
        ({"min_total_spend": Decimal("1." + 40 * "0" + "1")}, "1." + 40 * "0" + "1", "should be a number", "six"),
        ({"min_total_spend": Decimal("1E-999999999")}, "1E-999999999", "should be a number", "six decimals"),
        ({"min_total_spend": Decimal("1E+999999999")}, "1E+999999999", "should be a number", "at most 9223372036854.7"),
        ({"min_total_spend": 10**13}, str(10**13), "should be a number", "at most"),
        ({"max_total_spend": Decimal("-9223372036854.775808")}, "-9223372036854.775808", "should be a number", "most"),
        ({"min_total_spend": Decimal("NaN")}, "NaN", "should be a number", ""),
        ({"min_events": Decimal("2.5")}, "2.5", "should be a whole number, 0 or more, found `2.5`", ""),
        ({"min_events": -1}, "-1", "should be a whole number, 0 or more", ""),
        ({"days_since_last_event": 0}, "0", "a whole number of days, 1 or more, found `0`", ""),
        ({"email_known": "true"}, '"true"', "should be `true` or `false`", ""),
        ({"email_known": 1}, "1", "should be `true` or `false`", ""),
        ({"has_event": []}, "[]", "the name of an event or a list of names", ""),
        ({"has_event": ""}, '""', "the name of an event or a list of names", ""),
        ({"has_event": ["a", 5]}, '["a", 5]', "the name of an event or a list of names", ""),
        ({"has_event": {"a": 1}}, '{"a": 1}', "the name of an event or a list of names", ""),
        ({"traits": {}}, "{}", "an object of attributes", ""),
        ({"traits": ["plan"]}, '["plan"]', "an object of attributes", ""),
        ({"traits": {"plan": None}}, '{"plan": null}', "the attribute `plan` of `traits` should be", ""),
        ({"traits": {"plan": []}}, '{"plan": []}', "found `[]`", ""),
        ({"traits": {"plan": ["a", 1]}}, '{"plan": ["a", 1]}', "a list of texts or of numbers", ""),
        ({"traits": {"size": [0.5]}}, '{"size": [0.5]}', "found `[0.5]`", "read as a double"),
        ({"traits": {"plan": {"a": 1}}}, '{"plan": {"a": 1}}', "the attribute `plan`", ""),
    ],
)  # fmt: skip
def test_mistakes(rules: dict[str, object], marked: str, message: str, advice: str) -> None:
    """Each mistake is one error that points into the rules and says what was expected."""
    with pytest.raises(DefinitionError) as caught:
        read_rules(rules)
    (found,) = caught.value.diagnostics
    assert ("bad-definition", marked) == (found.code, found.source.text[found.span.start : found.span.end])
    assert message in found.message
    assert advice in " ".join(found.help)


def test_mistakes_drawn() -> None:
    """All mistakes are told at once, each drawn where it stands."""
    with pytest.raises(DefinitionError) as caught:
        read_rules({"min_event": 5, "email_known": "yes"})
    expected = """\
error[bad-definition]: there is no rule `min_event`
  --> <rules>:1:2
   |
 1 | {"min_event": 5, "email_known": "yes"}
   |  ^^^^^^^^^^^
   = help: the nearest rule is `min_events`
   = see: docs/reference/errors.md#bad-definition

error[bad-definition]: `email_known` should be `true` or `false`, found `"yes"`
  --> <rules>:1:33
   |
 1 | {"min_event": 5, "email_known": "yes"}
   |                                 ^^^^^
   = see: docs/reference/errors.md#bad-definition"""
    assert expected == draw_all(caught.value.diagnostics)


def test_too_many_events() -> None:
    """Rules whose expression would be too long are refused as any expression is."""
    with pytest.raises(DefinitionError) as caught:
        read_rules({"has_event": [f"event_{number}" for number in range(2000)]})
    assert ["too-long"] == [diagnostic.code for diagnostic in caught.value.diagnostics]


NUMBERS = st.integers(-(10**12), 10**12) | st.decimals(-(10**6), 10**6, places=6)
NAMES = st.text(min_size=1, max_size=12)
VALUES: dict[Takes, st.SearchStrategy[object]] = {
    "number": NUMBERS,
    "count": st.integers(0, 10**6),
    "days": st.integers(1, 10**4),
    "truth": st.booleans(),
    "events": NAMES | st.lists(NAMES, min_size=1, max_size=4),
    "attributes": st.dictionaries(
        NAMES, NAMES | st.booleans() | NUMBERS | st.lists(NAMES, min_size=1, max_size=3), min_size=1, max_size=3
    ),
}


@given(rules=st.fixed_dictionaries({}, optional={name: VALUES[key.takes] for name, key in RULE_KEYS.items()}))
@settings(max_examples=100, deadline=None)
def test_any_rules(rules: dict[str, object]) -> None:
    """Whatever fits the table is translated into a canonical expression; nothing else is expected of a value."""
    assert set(EXPECTED) == set(VALUES)
    if rules:
        text = read_rules(rules).expression
        assert text == print_tree(parse(Source(text)))
