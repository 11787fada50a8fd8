"""What may stand next: names of the catalog and of what has landed, and everything that the tables list."""

import pytest

from dsl.aggregates import AGES, AGGREGATES, SEEN_AGES
from dsl.catalog import Catalog, EventSchema, Segment, Trait
from dsl.check import check_catalog, check_expression
from dsl.diagnostics import DefinitionError
from dsl.functions import FUNCTIONS
from dsl.guide.completion import complete
from dsl.observed import Observed, Sighting

CHECKED = check_catalog(
    Catalog(
        events=(
            EventSchema("purchase", {"amount": "number", "cart.total": "number"}),
            EventSchema("Feature Used", {"x": "string"}),
        ),
        attributes={"plan": "string"},
        traits=(Trait("orders", "events.purchase.count"),),
        segments=(Segment("vip", "orders > 1"),),
    )
)
SEEN = Observed.of([Sighting("visit", "", ""), Sighting("visit", "path", "string"), Sighting("", "country", "string")])


def texts(text: str, cursor: int | None = None) -> list[str]:
    """What may stand at the end of a text, or at a cursor in it."""
    return [found.text for found in complete(text, len(text) if cursor is None else cursor, CHECKED, SEEN)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("events.", ["*", "purchase", "visit"]),
        ("1 + events.pu", ["purchase"]),
        ("events[", ['"purchase"]', '"Feature Used"]', '"visit"]']),
        ('events["Fea', ['"Feature Used"]']),
        ("events.purchase.longest", ["longest_gap_minutes_30m"]),
        ("events.purchase[amount > 1].su", ["sum("]),
        ("events.purchase[am", ["amount"]),
        ("events.purchase.sum_30d(ca", ["cart.total"]),
        ('events["Feature Used"].last(', ["x"]),
        ("events.*[pa", ["path"]),
        ("events.visit.unique_days_1", ["unique_days_14d"]),
        ("profile.", ["country", "plan"]),
        ("segment(", ['"vip"']),
        ('!trait("o', ['"orders"']),
        ("or", ["orders"]),
        ("events.purchase[now", []),
        ("coalesce(vi", ["vip"]),
        ("events.purchase.count >= 1 && seg", ['segment("']),
    ],
)
def test_what_stands_next(text: str, expected: list[str]) -> None:
    """In each place those names come first that can stand there, and begin like what is written."""
    assert expected == texts(text)[: len(expected)]
    if len(text.rsplit("(", maxsplit=1)[-1]) > 1 or not expected:
        assert expected == texts(text)


def test_the_word_at_the_cursor_is_replaced() -> None:
    """The cursor may be anywhere: what stands behind it does not count."""
    (found,) = complete("events.pur.count >= 1", 10, CHECKED)
    assert ("purchase", 7, "event") == (found.text, found.start, found.kind)


def test_everything_in_the_tables_is_offered() -> None:
    """Every function, aggregate and age of the tables can be completed."""
    words = set(texts(""))
    assert {f"{name}(" for name in FUNCTIONS} | set(SEEN_AGES) <= words
    aggregates = {text.rstrip("(").removesuffix("_30m") for text in texts("events.purchase.")}
    assert {*AGGREGATES, *AGES} == aggregates


def test_what_is_offered_checks() -> None:
    """An aggregate with a window that was completed is one that the checker knows."""
    for name in AGGREGATES:
        written = f"events.purchase.{name}_"
        for found in complete(written, len(written), CHECKED):
            argument = "amount, 0.5)" if name == "percentile" else "amount)" if found.text.endswith("(") else ""
            assert set() == codes(f"is_set(events.purchase.{found.text}{argument})") - {"wrong-type", "unknown-type"}


def codes(text: str) -> set[str]:
    """What is wrong with an expression."""
    try:
        check_expression(text, CHECKED)
    except DefinitionError as error:
        return {diagnostic.code for diagnostic in error.diagnostics}
    return set()
