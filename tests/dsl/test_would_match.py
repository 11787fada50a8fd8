"""What would make a condition match: doing what a sentence says makes its clause hold."""

import json
import re
from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dsl.catalog import Catalog
from dsl.check import check_catalog, check_expression
from dsl.clock import DAY_MS
from dsl.evaluate import Evaluation, evaluate
from dsl.guide.would_match import WouldMatch
from dsl.numbers import MICROS
from dsl.state import State
from dsl.types import Type
from tests.dsl.doing import FILTERS, FORMS, T_MS, Known, done, form_of

HOUR_MS = 3_600_000


def purchases(*amounts: int, name: str = "purchase") -> Known:
    """So many purchases, the last one an hour ago, one a day."""
    known = Known(attributes={"plan": "free", "tags": ("a", "b")})
    for number, amount in enumerate(reversed(amounts)):
        ts_ms = T_MS - HOUR_MS - (len(amounts) - 1 - number) * DAY_MS
        known = known.with_event(name, ts_ms, {"amount": amount * MICROS, "label": f"l{number}", "ok": False})
    return known


# -- hand-worked sentences ---------------------------------------------------------------------------------------------

TWO = purchases(30, 12)
LEAVING = ": by itself as events leave the window, next change at 2017-08-12T18:00:00.000Z"
"""The older purchase, of 17:40 on July 13, leaves a window of 30 days in hops of an hour."""
SENTENCES: dict[str, list[str]] = {
    "events.purchase.count_30d >= 3": ["1 more `purchase` event within 30 days"],
    "events.purchase.count_7d > 4": ["3 more `purchase` events within 7 days"],
    "2 < orders": ["1 more `purchase` event within 30 days"],
    "!(orders < 3)": ["1 more `purchase` event within 30 days"],
    "4.5 <= orders": ["3 more `purchase` events within 30 days"],
    "coalesce(orders, 0) in [1, 4, 9]": ["2 more `purchase` events within 30 days"],
    "events.*.count != 2": ["1 more event of any name"],
    'events["Feature Used"].count_24h >= 1': ["1 more `Feature Used` event within 24 hours"],
    "events.purchase[amount > 20].count >= 2": ["1 more `purchase` event where `amount > 20`"],
    "orders < 2": [f"1 fewer `purchase` event within 30 days{LEAVING}"],
    "!(orders >= 1)": [f"2 fewer `purchase` events within 30 days{LEAVING}"],
    "events.purchase.count < 2": ["`events.purchase.count < 2` to hold"],
    "orders == 1": ["1 fewer `purchase` event within 30 days"],
    "orders >= events.visit.count + 5": ["`trait(\"orders\") >= events.visit.count + 5` to hold"],
    "spend >= 500": ["458 more of `amount` in `purchase` events"],
    "spend > 42": ["over 0 more of `amount` in `purchase` events"],
    "events.purchase.sum_30d(cart.total) >= 0.5": ["0.5 more of `cart.total` in `purchase` events within 30 days"],
    "events.purchase[ok].sum_1w(amount) == 5": ["5 more of `amount` in `purchase` events where `ok` within 1 week"],
    "spend <= 40": ["2 less of `amount` in `purchase` events"],
    "events.purchase[amount > 100].sum(amount) >= 5": ["`events.purchase[amount > 100].sum(amount) >= 5` to hold"],
    "days >= 3": ["3 more local dates with a `visit` event within 14 local dates"],
    "days >= 15": ['`trait("days") >= 15` to hold'],
    "events.purchase.unique_days_1d < 1": [
        "1 fewer local date with a `purchase` event within 1 local date: by itself as days leave the window, "
        "next change at 2017-07-15T04:00:00.000Z"
    ],
    "events.visit.streak_days >= 3": ["a `visit` event on each of 3 local dates in a row up to today"],
    "labels >= 4": ["2 more different values of `label` in `purchase` events"],
    "labels >= 300": ['`trait("labels") >= 300` to hold'],
    '"x" in label_list': ['a `purchase` event where `label` is "x" within 30 days'],
    "best > 100": ["a `purchase` event where `amount` is more than 100 within 30 days"],
    "best < 10": ['`trait("best") < 10` to hold'],
    "refunded >= 5": ["a `refund` event where `amount` is at least 5"],
    "events.purchase.avg(amount) > 30": ["`events.purchase.avg(amount) > 30` to hold"],
    # The first amount may be no number, and then no other is the first.
    "events.refund.first(amount) == 5": [
        "`events.refund.first(amount) == 5` to hold: `events.refund.first(amount)` is missing"
    ],
    'last_label == "x"': ['a newer `purchase` event where `label` is "x"'],
    'last_label != "l1"': ['a newer `purchase` event where `label` is a string other than "l1"'],
    "events.refund.days_since_last < 7": ["a new `refund` event"],
    "events.*.minutes_since_last <= 5": ["a new event of any name"],
    "last_seen_minutes_ago < 30": ["any event"],
    'events.refund.last_at > date("2017-07-01")': [
        "a `refund` event where its instant is later than 2017-07-01T04:00:00.000Z"
    ],
    # Before that much time has passed the purchase has left the window.
    "events.purchase.days_since_last_1d >= 2": ["`events.purchase.days_since_last_1d >= 2` to hold"],
    "away >= orders": ['`trait("away") >= trait("orders")` to hold'],
    "away >= 30": ["at 2017-08-13T17:40:00.123Z by itself"],
    '!(events.purchase.last_at_30d > date("2017-07-01"))': [
        '`events.purchase.last_at_30d > date("2017-07-01T04:00:00.000Z")` not to hold'
    ],
    "events.refund.days_since_last >= 30": [
        "`events.refund.days_since_last >= 30` to hold: `events.refund.days_since_last` is missing"
    ],
    'now() >= date("2018-01-01")': ["at 2018-01-01T05:00:00.000Z by itself"],
    'profile.plan == "pro"': ['`profile.plan` set to "pro" (is "free")'],
    'profile.plan in ["a", "b"]': ['`profile.plan` set to one of "a", "b" (is "free")'],
    'plan_or_free != "free"': ['`profile.plan` set to a string other than "free" (is "free")'],
    'profile.plan starts_with "p"': ['`profile.plan` set to a string that starts with "p" (is "free")'],
    "profile.age >= 18": ["`profile.age` set to at least 18 (is missing)"],
    "profile.age > 9223372036854.775807": ["`profile.age > 9223372036854.775807` to hold: `profile.age` is missing"],
    "profile.age + 1 > 3": ["`profile.age + 1 > 3` to hold: `profile.age` is missing"],
    "profile.member": ["`profile.member` set to true (is missing)"],
    "profile.member == false": ["`profile.member` set to false (is missing)"],
    "is_set(profile.age)": ["`profile.age` set to a number (is missing)"],
    "!is_set(profile.plan)": ['`profile.plan` unset (is "free")'],
    "!is_set(coalesce(profile.plan, last_label))": [
        '`is_set(coalesce(profile.plan, trait("last_label")))` not to hold'
    ],
    'profile.renews_on >= date("2017-08-01")': [
        "`profile.renews_on` set to 2017-08-01T04:00:00.000Z or later (is missing)"
    ],
    '"c" in profile.tags': ['`profile.tags` set to a list that holds "c" (is ["a", "b"])'],
    "context.amount >= 100": ["`context.amount` of at least 100 in the request (is missing)"],
    'context.channel in ["web", "app"]': ['`context.channel` of one of "web", "app" in the request (is missing)'],
    "is_set(context.device)": ["`context.device` in the request (is missing)"],
    # All that fails of &&, the shortest way through ||, a clause once however often it is reached.
    "vip && loyal": [
        "1 more `purchase` event within 30 days",
        '`profile.plan` set to "pro" (is "free")',
        "over 58 more of `amount` in `purchase` events within 30 days",
    ],
    "profile.member && profile.age > 3 || orders > 2": ["1 more `purchase` event within 30 days"],
    "!(loyal == false)": ["1 more `purchase` event within 30 days", '`profile.plan` set to "pro" (is "free")'],
    "!(spend < orders * 100 && orders >= 1)": [f"2 fewer `purchase` events within 30 days{LEAVING}"],
    "if(orders > 1, profile.member, vip)": ['`if(trait("orders") > 1, profile.member, segment("vip"))` to hold'],
    # What nothing changes is no way.
    "1 > 2": [],
    "orders >= 3 && bucket(\"spring\") > 2": [],
    "bucket(\"spring\") > 2 || orders >= 3": ["1 more `purchase` event within 30 days"],
}  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), SENTENCES.items(), ids=list(SENTENCES))
def test_sentences(text: str, expected: list[str]) -> None:
    """What would make a condition hold, worked out by hand."""
    assert expected == list(TWO.tree(text).would_match or ())


@pytest.mark.parametrize("text", [text for text, said in SENTENCES.items() if said and "hold" not in "".join(said)])
def test_doing_all_of_it(text: str) -> None:
    """Everything that is said done, the condition holds."""
    known = TWO
    for sentence in SENTENCES[text]:
        known = done(sentence.partition(": by itself as")[0], text, known)
    assert known.holds(text)


def test_every_form_is_done() -> None:
    """The sentences worked out by hand are of every form that can be done."""
    said = [sentence.partition(": by itself as")[0] for sentences in SENTENCES.values() for sentence in sentences]
    assert {*FORMS} == {form_of(sentence) for sentence in said if not sentence.endswith((" hold", " missing"))}


def test_of_what_holds_nothing_is_needed() -> None:
    """A condition that holds has no sentence; what could hold as well has, what could fail as well has not."""
    told = TWO.tree("profile.age > 3 && (orders >= 2 || profile.member)").children[1]
    assert (True, None) == (told.holds, told.would_match)
    assert [None, ("`profile.member` set to true (is missing)",)] == [child.would_match for child in told.children]
    (both,) = TWO.tree('!(orders >= 3 && profile.plan == "free")').children
    assert [None, None] == [child.would_match for child in both.children]


# -- doing what a sentence says ----------------------------------------------------------------------------------------

COUNTED = (
    *("count_30d", "count_24h", "count", "sum_30d(amount)", "sum(amount)", "unique_days_14d", "unique_days"),
    *("max_7d(size)", "min(size)", "avg(size)", "last(size)", "count_distinct(size)", "days_since_last"),
)
SUBJECTS: tuple[tuple[str, Type], ...] = (
    *((f"events.purchase{{filter}}.{name}", "number") for name in COUNTED),
    ("events.*{filter}.count_7d", "number"),
    ("events.purchase{filter}.minutes_since_last_7d", "number"),
    ("events.refund{filter}.first(amount)", "number"),
    ("events.refund{filter}.median(size)", "number"),
    ("events.visit{filter}.streak_days", "number"),
    ("last_seen_hours_ago", "number"),
    ("first_seen_days_ago", "number"),
    ("profile.age", "number"),
    ("coalesce(profile.age, 5)", "number"),
    ("context.amount", "number"),
    ("orders", "number"),
    ("spend", "number"),
    ("away", "number"),
    ("profile.plan", "string"),
    ("plan_or_free", "string"),
    ("last_label", "string"),
    ("context.channel", "string"),
    ("events.refund{filter}.most_frequent(label)", "string"),
    ("profile.renews_on", "timestamp"),
    ("events.purchase{filter}.last_at", "timestamp"),
    ("now()", "timestamp"),
    ("profile.member", "boolean"),
    ("events.purchase{filter}.last(ok)", "boolean"),
    ("coalesce(profile.member, false)", "boolean"),
)
NUMBERS = ("0", "1", "2", "3", "5", "12.5", "-4", "60", "0.000001", "9223372036854.775807")
STRINGS = ("free", "pro", "a", "", "l1", 'é"q')
INSTANTS = ("2017-07-01", "2017-07-14T17:40:00.123Z", "2017-07-14T18:40:00.122Z", "2017-09-01")


@st.composite
def clauses(draw: st.DrawFn) -> str:
    """A comparison of something that can change with a constant, or its opposite."""
    subject, of = draw(st.sampled_from(SUBJECTS))
    chosen = draw(st.sampled_from(("", "", *FILTERS)))
    subject = subject.replace("{filter}", f"[{chosen}]" if chosen else "")
    constants = {
        "number": NUMBERS,
        "string": tuple(json.dumps(text, ensure_ascii=False) for text in STRINGS),
        "timestamp": tuple(f'date("{text}")' for text in INSTANTS),
        "boolean": ("true", "false"),
    }[of]
    bound = draw(st.sampled_from(constants))
    form = draw(st.sampled_from(("order", "order", "equal", "in", "word", "is_set")))
    if form == "is_set" and re.search(r"last\(|first\(|label|free|coalesce", subject):
        form = "equal"  # nothing would say of which type it is, or it is never missing
    if form == "order" and of == "boolean":
        form = "in"
    if form == "order":
        text = f"{subject} {draw(st.sampled_from(('<', '<=', '>', '>=')))} {bound}"
    elif form == "equal":
        text = f"{bound} {draw(st.sampled_from(('==', '!=')))} {subject}"
    elif form == "in":
        text = f"{subject} in [{bound}, {draw(st.sampled_from(constants))}]"
    elif form == "is_set":
        text = f"is_set({subject})"
    elif of == "string":
        text = f"{subject} {draw(st.sampled_from(('contains', 'starts_with', 'ends_with')))} {bound}"
    else:
        text = draw(st.sampled_from(('"c" in label_list', '"l0" in label_list', '"c" in profile.tags')))
    return draw(st.sampled_from((text, text, f"!({text})")))


@st.composite
def profiles(draw: st.DrawFn) -> Known:
    """A profile with a few events, at instants before the last millisecond, and perhaps attributes."""
    known = Known()
    for _ in range(draw(st.integers(0, 5))):
        properties: dict[str, object] = {
            "amount": draw(st.sampled_from((0, 30 * MICROS, 12_500_000, -4 * MICROS))),
            "size": draw(st.sampled_from((MICROS, 2 * MICROS, 3 * MICROS))),
            "label": draw(st.sampled_from(("b c", "ab", "l1", "l0"))),
            "ok": draw(st.booleans()),
        }
        ago_ms = draw(st.sampled_from((2, HOUR_MS, DAY_MS, 3 * DAY_MS, 20 * DAY_MS, 40 * DAY_MS)))
        known = known.with_event(draw(st.sampled_from(("purchase", "purchase", "visit"))), T_MS - ago_ms, properties)
    attributes = draw(st.sampled_from(({}, {"plan": "free", "age": 5 * MICROS, "renews_on": "2017-07-01"})))
    return replace(known, attributes=attributes, context=draw(st.sampled_from(({}, {"amount": MICROS}))))


@settings(max_examples=200, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(clauses(), profiles())
def test_doing_what_a_sentence_says(text: str, known: Known) -> None:
    """A clause holds once the events have come, the attribute is set or the time has passed that its sentence names."""
    for sentence in known.tree(text).would_match or ():
        if re.search("` (not )?to hold", sentence):
            continue
        plain, _, itself = sentence.partition(": by itself as")
        assert done(plain, text, known).holds(text), sentence
        if itself:
            assert replace(known, t_ms=T_MS + 400 * DAY_MS).holds(text), sentence


# -- the smallest set --------------------------------------------------------------------------------------------------


@st.composite
def conditions(draw: st.DrawFn) -> tuple[str, dict[str, object]]:
    """A condition in which each of some Boolean attributes stands once, and their values."""
    texts = [f"profile.b{number}" for number in range(draw(st.integers(1, 6)))]
    values: dict[str, object] = {text.removeprefix("profile."): draw(st.booleans()) for text in texts}
    while len(texts) > 1:
        left, right = texts.pop(0), texts.pop(0)
        text = f"({left} {draw(st.sampled_from(['&&', '||']))} {right})"
        texts.append(draw(st.sampled_from([text, text, f"!{text}", f"({text} != false)"])))
    return draw(st.sampled_from([texts[0], f"!{texts[0]}"])), values


@settings(max_examples=100, deadline=None, database=None, derandomize=True)
@given(conditions())
def test_the_set_is_the_smallest(question: tuple[str, dict[str, object]]) -> None:
    """With all that is said done and nothing else the condition holds; with fewer changes it cannot."""
    text, values = question
    checked = check_catalog(Catalog(attributes=dict.fromkeys(values, "boolean")))
    node = check_expression(text, checked).node

    def answer(changed: tuple[str, ...]) -> bool:
        now = {name: not value if name in changed else value for name, value in values.items()}
        return evaluate(node, State("p", T_MS, 0, now), checked) is True

    said = WouldMatch(Evaluation(checked, State("p", T_MS, 0, values))).needed(node)
    named = tuple(sentence.split("`")[1].removeprefix("profile.") for sentence in said or ())
    assert answer(named)
    assert not any(answer(fewer) for count in range(len(named)) for fewer in combinations(values, count))
