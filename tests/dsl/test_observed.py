"""Warnings: what events never had, what they had otherwise, and what time changes at instants nobody knows."""

from dataclasses import replace

import pytest

from dsl.catalog import Catalog, EventSchema, Flag, Rule, Segment, Trait
from dsl.check import check_catalog
from dsl.observed import Observed, Sighting

SEEN = Observed.of(
    [
        Sighting("purchase", "", ""),
        Sighting("purchase", "amount", "number"),
        Sighting("purchase", "cart.total", "number"),
        Sighting("purchase", "due", "string"),
        Sighting("purchase", "due", "timestamp"),
        Sighting("visit", "", ""),
        Sighting("visit", "path", "string"),
        Sighting("", "country", "string"),
        Sighting("", "kids", "number"),
        Sighting("", "kids", "string"),
    ]
)

PROPERTY = "the nearest property is `{}` (number)"


def warned(expression: str, catalog: Catalog | None = None, observed: Observed | None = SEEN) -> list[tuple[str, ...]]:
    """Code, the text that is pointed at, and the first help line of each warning of a condition."""
    checked = check_catalog(replace(catalog or Catalog(), segments=(Segment("s", expression),)), None, observed)
    return [
        (warning.code, expression[warning.span.start : warning.span.end], *warning.help[:1])
        for warning in checked.warnings
    ]


@pytest.mark.parametrize(
    ("expression", "warnings"),
    [
        ("events.purchase.count >= 1", []),
        ("events.purchse.count >= 1", [("not-seen", "purchse", "the nearest event is `events.purchase`")]),
        ("events.purchase[amonut > 1].count > 1", [("not-seen", "amonut", PROPERTY.format("amount"))]),
        ("events.purchase.sum(cart.totl) > 1", [("not-seen", "cart.totl", PROPERTY.format("cart.total"))]),
        ("is_set(profile.country) && events.purchase[is_set(cart)].count > 1", []),
        ("events.*[amount > 1].count > 1", []),
        ("events.visit[amount > 1].count > 1", [("not-seen", "amount")]),
        ("profile.contry == 1", [("not-seen", "contry", "the nearest attribute is `profile.country` (string)")]),
        ("profile.country == 1", [("seen-otherwise", "profile.country")]),
        ("profile.kids == 1", []),
        ("date(profile.country) < now()", [("seen-otherwise", "profile.country")]),
        ("events.purchase[date(due) < date(\"2018-01-01\")].count > 1", []),
        ("events.visit.sum(path) > 1", [("seen-otherwise", "path")]),
    ],
)  # fmt: skip
def test_names_and_types_that_were_not_seen(expression: str, warnings: list[tuple[str, ...]]) -> None:
    """A name that no event has had, or had as another type, is a warning that names the nearest, and no error."""
    assert warnings == warned(expression)


def test_nothing_observed_warns_of_nothing() -> None:
    """The same file passes where nothing has landed yet; what is declared is not warned of by its name alone."""
    assert [] == warned("events.purchse[amonut > 1].count > 1 && profile.contry == 1", observed=None)
    assert [] == warned("events.purchse.count > 1 && profile.contry == 1", observed=Observed())


def test_declared_names_may_never_have_been_seen() -> None:
    """A declared event that never happened is warned of: it may be misspelt where it is sent."""
    catalog = Catalog(events=(EventSchema("refund", {"amount": "number"}),))
    assert [("not-seen", "refund")] == [warning[:2] for warning in warned("events.refund.sum(amount) > 1", catalog)]


@pytest.mark.parametrize(
    ("expression", "count"),
    [
        ("last_seen_days_ago > 3 && events.purchase.count_30d > 1", 0),
        ('now() - date("2018-01-01") > 5', 0),
        ('(now() - date("2018-01-01")) * 2 > 5', 1),
        ('text(now()) matches "T12:"', 1),
        ("percent_rank(events.purchase.count) > 0.5", 0),
    ],
)
def test_instants_that_cannot_be_foreseen(expression: str, count: int) -> None:
    """A condition that has to be asked again each minute is warned of."""
    assert ["next-minute"] * count == [warning[0] for warning in warned(expression)]


def test_minutes_of_what_others_build_on() -> None:
    """A trait that is `now()` itself is none of it; what makes something of the trait that cannot be solved is."""
    catalog = Catalog(
        traits=(Trait("clock", "now()"), Trait("half", '(clock - date("2018-01-01")) / 2')),
        segments=(Segment("late", "half > 5"), Segment("fine", 'clock > date("2018-01-01")')),
        flags=(Flag("f", (Rule('(clock - date("2018-01-01")) % 2 == 1', "on"),)),),
    )
    warnings = check_catalog(catalog).warnings
    assert ["trait `half`", "a rule of flag `f`"] == [
        w.message.removeprefix("time changes ").partition(" at ")[0] for w in warnings
    ]
    assert {"warning"} == {w.severity for w in warnings}
