"""The checker: what is wrong is found at its place, all of it at once, with the way out."""

import pytest

from dsl.catalog import Catalog, EventSchema, Export, Flag, Rule, Segment, Trait
from dsl.check import check_catalog
from dsl.diagnostics import DefinitionError, Diagnostic

PURCHASE = EventSchema("purchase", {"amount": "number", "department": "string"})
DECLARED = Catalog(events=(PURCHASE,), attributes={"country": "string", "age": "number"})


def found_in(catalog: Catalog) -> tuple[Diagnostic, ...]:
    """Everything that is wrong with a catalog."""
    with pytest.raises(DefinitionError) as raised:
        check_catalog(catalog)
    return raised.value.diagnostics


def with_trait(expression: str, catalog: Catalog = DECLARED) -> Catalog:
    """A catalog with one more trait."""
    return Catalog(events=catalog.events, attributes=catalog.attributes, traits=(Trait("asked", expression),))


@pytest.mark.parametrize(
    ("expression", "code", "place", "help_has"),
    [
        ('profile.counrty == "NO"', "unknown-name", "counrty", "`profile.country` (string)"),
        ("events.purchas.count >= 1", "unknown-name", "purchas", "`events.purchase`"),
        ("events.purchase.sum(amont) > 1", "unknown-name", "amont", "`amount` (number)"),
        ("events.purchase.cuont > 1", "unknown-aggregate", "cuont", "`count`"),
        ("coalesc(1, 2) > 1", "unknown-function", "coalesc", "`coalesce`"),
        ("asekd > 1", "unknown-name", "asekd", "`asked`"),
        ("country == 1", "unknown-name", "country", "`profile.country`"),
        ("events.purchase.count_30y > 1", "bad-window", "30y", "`7d`"),
        ("events.purchase.unique_days_12h > 1", "bad-window", "12h", "`14d`"),
        ("events.*.longest_gap_minutes > 1", "bad-window", "longest_gap_minutes", "_30m"),
        ("events.*.longest_gap_minutes_2d > 1", "bad-window", "2d", ""),
        ('profile.age >= "18"', "wrong-type", '"18"', "without quotes"),
        ("profile.country && true", "wrong-type", "profile.country", "compare the value"),
        ("true < false", "wrong-type", "<", "no order"),
        ("events.purchase.sum(department) > 1", "wrong-type", "department", ""),
        ("events.purchase.count(amount) > 1", "wrong-arguments", "events.purchase.count(amount)", ""),
        ("events.purchase.sum > 1", "wrong-arguments", "events.purchase.sum", ""),
        ("events.purchase.percentile(amount, 95) > 1", "wrong-arguments", "95", "0.95"),
        ("round(1, 7) > 1", "wrong-arguments", "7", ""),
        ('date("yesterday") < now()', "wrong-arguments", '"yesterday"', "2017-07-04"),
        ('profile.country matches "(?=N)"', "bad-pattern", '"(?=N)"', "RE2"),
        ("context.amount > 1", "not-allowed-here", "context.amount", ""),
        ("events.purchase[profile.age > 1].count > 1", "not-allowed-here", "profile.age", ""),
        ("events.purchase[events.purchase.count > 1].count > 1", "not-allowed-here", "events.purchase.count", ""),
        ('profile.country in "NO"', "wrong-type", '"NO"', "in brackets"),
    ],
)
def test_a_mistake_is_found_at_its_place(expression: str, code: str, place: str, help_has: str) -> None:
    """The code, the piece of the text that is meant, and a help line that leads on."""
    (diagnostic,) = found_in(with_trait(expression))
    marked = expression[diagnostic.span.start : diagnostic.span.end]
    assert (code, place) == (diagnostic.code, marked)
    assert help_has in " ".join(diagnostic.help)


def test_every_mistake_of_a_catalog_is_reported_at_once() -> None:
    """Mistakes in traits, segments, flags and exports come together, each with its own text."""
    catalog = Catalog(
        attributes={"plan": "string"},
        traits=(Trait("one", "profile.plna"), Trait("two", "profile.paln && profile.pal")),
        segments=(Segment("three", "1 + 1"), Segment("one", "true")),
        flags=(Flag("four", (Rule('segment("threee")', "on"),), default="off"),),
        exports=(Export("five", "thre", "csv"),),
    )
    codes = [diagnostic.code for diagnostic in found_in(catalog)]
    assert sorted(["unknown-name"] * 5 + ["wrong-type", "duplicate-name"]) == sorted(codes)


def test_a_trait_taken_for_a_segment_is_said() -> None:
    """`segment("x")` on a trait says that it is one, and how to write it."""
    (diagnostic,) = found_in(Catalog(traits=(Trait("a", "1"),), segments=(Segment("s", 'segment("a")'),)))
    assert ("unknown-name", ('`a` is a trait: write `trait("a")`',)) == (diagnostic.code, diagnostic.help)


def test_a_cycle_is_named() -> None:
    """Definitions that depend on one another are refused with the way round."""
    traits = (Trait("a", "b + 1"), Trait("b", "c + 1"), Trait("c", "a + 1"))
    cycles = [diagnostic for diagnostic in found_in(Catalog(traits=traits)) if diagnostic.code == "cycle"]
    assert ["`a` depends on itself: `a` -> `b` -> `c` -> `a`"] == [diagnostic.message for diagnostic in cycles]


def test_definitions_come_after_what_they_refer_to() -> None:
    """The order is topological, whatever the order of the text."""
    checked = check_catalog(Catalog(traits=(Trait("b", "a > 1"), Trait("a", "1 + 1")), segments=(Segment("s", "b"),)))
    assert ("a", "b", "s") == checked.order


def test_one_mistake_is_not_reported_again_where_it_is_used() -> None:
    """A definition that failed is still a name: its users are not blamed."""
    traits = (Trait("a", "profile.x + nothing"), Trait("b", "a + 1"), Trait("c", "b > a"))
    assert ["nothing is named" in d.message or "no trait" in d.message for d in found_in(Catalog(traits=traits))] == [
        True
    ]


def test_aggregates_are_shared_by_all_that_ask_for_them() -> None:
    """The same aggregate in several definitions is one column; another window is another."""
    traits = (Trait("a", "events.x.count_7d"), Trait("b", "events.x.count_7d * 2"), Trait("c", "events.x.count_8d"))
    checked = check_catalog(Catalog(traits=traits))
    assert ["x_count_7d", "x_count_8d"] == [use.column for use in checked.aggregates.values()]


def test_a_catalog_that_declares_nothing_takes_any_name() -> None:
    """Names are held against declarations only: the same file passes on every machine."""
    check_catalog(with_trait('events.anything.sum(whatever) > 1 && profile.unheard_of == "x"', Catalog()))
