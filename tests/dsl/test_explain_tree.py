"""The tree of an answer: every part of an expression is there, with its own value, and as JSON it is exact."""

import re
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings

from dsl import typed
from dsl.catalog import Catalog, Segment, Trait
from dsl.check import CheckedCatalog, check_catalog, check_expression
from dsl.clock import format_instant, parse_instant
from dsl.evaluate import Evaluation, evaluate
from dsl.event import Event
from dsl.guide.explain_tree import MOST_PARTS, Explained, Reach, draw, explain_tree, explain_trees
from dsl.numbers import MICROS, read_json
from dsl.recount import count_again
from dsl.state import State, Value
from dsl.types import Type
from tests.differential.questions import Question, questions
from tests.dsl.doing import CHECKED, T_MS, Known
from tests.dsl.test_would_match import TWO


def written(value: Value, value_type: Type) -> object:
    """A value as JSON has it, read again: numbers in micro-units."""
    if isinstance(value, tuple):
        return [*value]
    return format_instant(value) if value_type == "timestamp" and isinstance(value, int) else value


def pairs(
    node: typed.Node, told: Explained, checked: CheckedCatalog, opened: set[str]
) -> Iterator[tuple[typed.Node, Explained]]:
    """Each part of an expression with what is told of it, definitions opened where they come first."""
    yield node, told
    below = typed.children(node)
    if isinstance(node, typed.Reference):
        below = () if node.key in opened else (checked.values[node.key].node,)
        opened.add(node.key)
    elif isinstance(node, typed.Logic):
        below = node.operands
    elif isinstance(node, typed.Within):
        below = (node.value, *(item for item in node.items if not isinstance(item, typed.Constant)))
    for part, child in zip(below, told.children, strict=True):
        yield from pairs(part, child, checked, opened)


def parts(told: Explained) -> Iterator[Explained]:
    """A part and all below it."""
    yield told
    for child in told.children:
        yield from parts(child)


def told_of(question: Question) -> Iterator[tuple[typed.Node, Explained, CheckedCatalog, list[Event], State]]:
    """Each part of each drawn definition with what is told of it, its catalog, all events known, and the state."""
    world, checked = question.world, check_catalog(question.catalog)
    for profile in sorted({*world.owners.values()})[:1]:
        events = world.known(profile)
        state = count_again(profile, events, checked, world.t_ms, world.cut, world.zone)
        for key in (key for key in question.drawn if key in checked.values):
            node = checked.values[key].node
            for part, told in pairs(node, explain_tree(node, state, checked), checked, set()):
                yield part, told, checked, events, state


@settings(max_examples=20, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(questions(0))
def test_every_part_has_its_value(question: Question) -> None:
    """Of any expression: each part has the value that evaluating it gives, each condition holds as it does alone.

    What is said to turn by itself at an instant is turned then, when nothing else has happened.
    """
    for part, told, checked, events, state in told_of(question):
        value = Evaluation(checked, state).value(part)
        if not (isinstance(part, typed.Field) and part.type == "unknown"):
            shown = read_json(bytes(told.value).decode())
            assert (written(value, part.type), value is None) == (shown, told.missing)
        assert (None if part.type != "boolean" else value is True) == told.holds
        clause = told.kind not in ("segment", "trait", "and", "or", "not")
        said = " ".join(told.would_match or ())
        itself = re.fullmatch(r"at (\S+) by itself", said) if clause else None
        if itself is not None:
            at_ms = parse_instant(itself[1])
            later = count_again(state.profile_id, events, checked, at_ms, state.as_of_seq, checked.zone)
            assert (value is not True) == (evaluate(part, later, checked) is True), (told.text, itself)


def test_the_whole_tree() -> None:
    """Text, kind, value and window of each part; what has its default is left out."""
    tree = TWO.tree('vip || away < 1 && plan_or_free in ["pro", profile.plan]')
    document = msgspec.json.decode(msgspec.json.encode(tree))
    vip, both = document["children"]
    loyal, spend = vip["children"][0]["children"]
    aggregate = {
        "text": "events.purchase.count_30d",
        "kind": "aggregate",
        "type": "number",
        "value": 2,
        "window": {
            "text": "30d",
            "from": "2017-06-14T18:00:00.000Z",
            "until": "2017-07-14T18:40:00.123Z",
            "hop": "1h",
        },
    }
    orders = {"text": 'trait("orders")', "kind": "trait", "type": "number", "value": 2, "key": "orders"}
    assert {**orders, "children": [aggregate]} == loyal["children"][0]["children"][0]["children"][0]
    assert ("or", True, False) == (document["kind"], document["holds"], "wouldMatch" in document)
    assert ("segment", "vip", False, False) == (vip["kind"], vip["key"], vip["holds"], vip["decided"])
    assert ["over 58 more of `amount` in `purchase` events within 30 days"] == spend["wouldMatch"]
    away, plan = both["children"]
    assert ["trait", "constant"] == [part["kind"] for part in away["children"]]
    # What is written out stands in the text only.
    assert ['trait("plan_or_free")', "profile.plan"] == [part["text"] for part in plan["children"]]


def test_windows() -> None:
    """A duration says its hop, local dates which they are, a whole life nothing."""
    windows = {
        text: TWO.tree(f"{text} >= 0").children[0].window
        for text in ("events.visit.count_90s", "events.visit.unique_days_2w", "events.visit.count")
    }
    instant = "2017-07-14T18:40:00.123Z"
    assert windows == {
        "events.visit.count_90s": Reach("90s", "2017-07-14T18:38:30.000Z", instant, "1s"),
        "events.visit.unique_days_2w": Reach(
            "2w", "2017-07-01T04:00:00.000Z", instant, first_on="2017-07-01", last_on="2017-07-14"
        ),
        "events.visit.count": None,
    }


def test_values_are_exact() -> None:
    """The largest numbers, instants, lists, objects and what is missing have their own JSON."""
    attributes = {"age": 2**63 - 1, "renews_on": "2017-01-01", "tags": ("a", 1_500_000, True)}
    known = Known(attributes=attributes, context={"device": {"os": "é", "sizes": [1_500_000, None]}})
    texts = (
        "profile.age > 1",
        "is_set(profile.renews_on)",
        '"a" in profile.tags',
        "is_set(context.device)",
        "profile.member",
    )
    trees = [known.tree(text) for text in texts]
    assert [
        "9223372036854.775807",
        '"2017-01-01T05:00:00.000Z"',
        '["a",1.5,true]',
        '{"os":"é","sizes":[1.5,null]}',
    ] == [bytes(tree.children[0].value).decode() for tree in trees[:4]]
    assert ("null", True, False) == (bytes(trees[4].value).decode(), trees[4].missing, trees[4].holds)
    assert not trees[3].children[0].missing


def test_estimates_are_marked() -> None:
    """More than 256 different values are estimated, and said to be."""
    counted = [
        Known().tree("labels > 0"),
        explain_tree(
            CHECKED.values["labels"].node,
            State("p", T_MS, 0, {}, {"events.purchase.count_distinct(label)": 257 * MICROS}),
            CHECKED,
        ),
    ]
    assert [False, True] == [any(part.approx for part in parts(tree)) for tree in counted]


def test_several_rules_open_a_definition_once() -> None:
    """The trees of a flag's rules open each definition in the first of them; a later one says what it needs."""
    nodes = [check_expression(text, CHECKED, "flag").node for text in ("loyal", "!loyal && vip", "loyal == false")]
    first, second, third = explain_trees(nodes, TWO.state(CHECKED), CHECKED)
    assert first.children
    assert ([], True, first.would_match) == (
        [*second.children[1].children[0].children[0].children],
        second.children[1].children[0].children[0].see_above,
        second.children[1].children[0].children[0].would_match,
    )
    assert (True, None) == (third.children[0].see_above, third.children[0].would_match)


def test_deepest_and_widest() -> None:
    """The deepest expression is within Python's stack; what is too large ends, says so, and knows its sentences."""
    ones = " + ".join(["1"] * 97)
    traits = [Trait("high", f"events.purchase.count > 3 && {ones} > 5"), Trait("deep", f"if(high, 1, {ones} + 2) > 1")]
    traits += [Trait("wide0", "events.purchase.count > 3")]
    traits += [Trait(f"wide{n}", f"wide{n - 1} && !!wide{n - 1}") for n in range(1, 40)]
    chain = " || ".join(f"profile.x == {number} && profile.y == {number}" for number in range(400))
    segments = (Segment("long", chain), Segment("any", "long || wide39"))
    checked = check_catalog(Catalog(traits=tuple(traits), segments=segments))
    state = TWO.state(checked)
    deep, wide, widest = (explain_tree(checked.values[key].node, state, checked) for key in ("deep", "wide39", "any"))
    assert (True, False) == (len([*parts(deep)]) < 500, any(part.truncated for part in parts(deep)))
    assert (True, ("2 more `purchase` events",)) == (len([*parts(wide)]) < 200, wide.would_match)
    assert (MOST_PARTS, True, wide.would_match) == (len([*parts(widest)]), widest.truncated, widest.would_match)
    assert len(msgspec.json.encode([deep, wide, widest])) < 1_000_000


DRAWN = {
    'loyal == true && profile.age > 3 || events.visit.unique_days_2d >= 1': """\
✗ segment("loyal") == true && profile.age > 3 || events.visit.unique_days_2d >= 1
  ✗ segment("loyal") == true && profile.age > 3
    ✗ segment("loyal") == true
      ✗ segment("loyal")
        ✗ trait("orders") >= 3 && profile.plan == "pro"
          ✗ trait("orders") >= 3
              → 1 more `purchase` event within 30 days
            trait("orders") = 2
              events.purchase.count_30d = 2  30d: 2017-06-14T18:00:00.000Z to 2017-07-14T18:40:00.123Z, hop 1 hour
          ✗ profile.plan == "pro"
              → `profile.plan` set to "pro" (is "free")
            profile.plan = "free"
    ✗ profile.age > 3
        → `profile.age` set to more than 3 (is missing)
      profile.age = missing
  ✗ events.visit.unique_days_2d >= 1
      → 1 more local date with a `visit` event within 2 local dates
    events.visit.unique_days_2d = 0  2d: 2017-07-13T04:00:00.000Z to 2017-07-14T18:40:00.123Z, 2017-07-13 to 2017-07-14
to be true: 1 more local date with a `visit` event within 2 local dates""",
    "away < 1 || vip && vip": """\
✓ trait("away") < 1 || segment("vip") && segment("vip")
  ✓ trait("away") < 1
    trait("away") = 0
      events.purchase.days_since_last = 0
        events.purchase.last_at = 2017-07-14T17:40:00.123Z
  (✗ segment("vip") && segment("vip"))
    ✗ segment("vip")
      ✗ segment("loyal") && events.purchase.sum_30d(amount) > 100
        ✗ segment("loyal")
          ✗ trait("orders") >= 3 && profile.plan == "pro"
            ✗ trait("orders") >= 3
                → 1 more `purchase` event within 30 days
              trait("orders") = 2
                events.purchase.count_30d = 2  30d: 2017-06-14T18:00:00.000Z to 2017-07-14T18:40:00.123Z, hop 1 hour
            ✗ profile.plan == "pro"
                → `profile.plan` set to "pro" (is "free")
              profile.plan = "free"
        ✗ events.purchase.sum_30d(amount) > 100
            → over 58 more of `amount` in `purchase` events within 30 days
          events.purchase.sum_30d(amount) = 42  30d: 2017-06-14T18:00:00.000Z to 2017-07-14T18:40:00.123Z, hop 1 hour
    ✗ segment("vip")  as above
        → 1 more `purchase` event within 30 days
        → `profile.plan` set to "pro" (is "free")
        → over 58 more of `amount` in `purchase` events within 30 days""",
}  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), DRAWN.items(), ids=list(DRAWN))
def test_drawn(text: str, expected: str) -> None:
    """The tree on a terminal."""
    assert expected == draw(TWO.tree(text))


def test_nothing_moves_the_terminal() -> None:
    """Control characters of values are not sent to the terminal."""
    assert "\u001b" not in draw(Known(attributes={"plan": "a\u001b[2J\u009b"}).tree('profile.plan == "a"'))
