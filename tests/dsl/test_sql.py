"""The SQL: golden statements of a small catalog, and names that cannot break out.

`golden/shop_aggregates.sql` and `golden/shop_values.sql` are the statements whole.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import pytest

from dsl.catalog import Catalog, Segment, Trait
from dsl.check import check_catalog
from dsl.sql import aggregates_sql, catalog_sql, expression_sql, values_sql
from tests.differential.engines import Engines
from tests.differential.tables import load
from tests.differential.worlds import instant
from tests.dsl.one_profile import T_MS, answers, event, world

GOLDEN = Path(__file__).parent / "golden"
MOMENT = (instant("2018-01-01T04:01:21"), 1_478_000, 17_531)
SHOP = Catalog(
    traits=(
        Trait("total_spent", "events.purchase.sum(amount)"),
        Trait("spend_30d", "events.purchase.sum_30d(amount)"),
        Trait("spend_90d", "events.purchase.sum_90d(amount)"),
        Trait("average_basket", "events.purchase.avg_90d(amount)"),
        Trait("shopping_days_14d", "events.purchase.unique_days_14d"),
        Trait("books_90d", 'events.purchase[category == "books" && amount > 20].count_90d'),
        Trait("spend_trend", "spend_30d / (spend_90d / 3)"),
        Trait("plan", 'coalesce(profile.plan, "free")'),
        Trait("last_order", "events.purchase.last_at"),
    ),
    segments=(
        Segment("active", "events.*.days_since_last < 30 && last_seen_hours_ago < 720"),
        Segment("vip", 'segment("active") && total_spent >= 500 && plan in ["pro", "team"]'),
        Segment("slipping", "!(spend_trend > 0.5 || vip) && spend_90d != 0"),
    ),
)


def test_golden_aggregates() -> None:
    """The statement for the aggregates of the small shop."""
    expected = (GOLDEN / "shop_aggregates.sql").read_text(encoding="utf-8")
    assert expected == aggregates_sql(check_catalog(SHOP), *MOMENT) + "\n"


def test_golden_values() -> None:
    """The statement for the traits and segments of the small shop, from the table `aggregates`."""
    expected = (GOLDEN / "shop_values.sql").read_text(encoding="utf-8")
    checked = check_catalog(SHOP)
    assert expected == values_sql(checked, checked.order, *MOMENT) + "\n"


def test_same_text_again() -> None:
    """A catalog that is read back from its document compiles to the same text."""
    again = Catalog.from_document(json.loads(json.dumps(SHOP.to_document())))
    assert aggregates_sql(check_catalog(SHOP), *MOMENT) == aggregates_sql(check_catalog(again), *MOMENT)


def test_one_statement_for_a_catalog() -> None:
    """The statement of a whole catalog gives what the statements for aggregates and for values give together."""
    events = [event(T_MS - number * 86_400_000, amount=number * 1_000_000, category="books") for number in range(1, 99)]
    engines = Engines(world(*events, attributes={"plan": "pro"}), SHOP)
    whole = engines.connection.execute(catalog_sql(engines.checked, *engines.moment))
    assert ["profile_id", *engines.checked.order] == [column[0] for column in whole.description or ()]
    rows = whole.fetchall()
    values = values_sql(engines.checked, engines.checked.order, *engines.moment)
    assert engines.connection.execute(values).fetchall() == rows


def test_pruned_to_the_oldest_window() -> None:
    """A pass reads from the oldest window on, and everything as soon as one aggregate has none."""
    month, year, life = "events.purchase.count_30d", "events.purchase.count_365d", "events.purchase.count"
    none = check_catalog(Catalog())
    assert "WHERE\n    events.ts_ms" not in expression_sql(life, none, *MOMENT)
    both = expression_sql(f"{month} + {year}", none, *MOMENT)
    assert f"    AND events.ts_ms >= {(MOMENT[0] - 365 * 86_400_000) // 86_400_000 * 86_400_000}\n" in both
    assert "\n    AND events.ts_ms >=" not in expression_sql(f"{month} + {life}", none, *MOMENT)


def test_only_what_is_asked_is_computed() -> None:
    """A statement for some keys holds their ancestors and nothing else."""
    checked = check_catalog(SHOP)
    statement = values_sql(checked, ["vip"], *MOMENT)
    assert [True, False] == ["AS active" in statement, "AS slipping" in statement]
    assert ["profile_id", "vip"] == columns_of(Engines(world(), SHOP), statement)


def columns_of(engines: Engines, statement: str) -> list[str]:
    """The names of the columns of a statement."""
    return [column[0] for column in engines.connection.execute(statement).description or ()]


def test_types_for_analysts() -> None:
    """Whole numbers are BIGINT, others decimals with six places, instants timestamps."""
    engines = Engines(world(), SHOP)
    keys = ["total_spent", "shopping_days_14d", "plan", "last_order", "vip"]
    described = engines.connection.execute(f"DESCRIBE {values_sql(engines.checked, keys, *MOMENT)}").fetchall()
    assert ["DECIMAL(19,6)", "BIGINT", "VARCHAR", "TIMESTAMP", "BOOLEAN"] == [row[1] for row in described[1:]]


# -- names -------------------------------------------------------------------------------------------------------------


@cache
def keywords() -> list[str]:
    """Every word that DuckDB knows as a keyword."""
    found = duckdb.connect().execute("SELECT DISTINCT keyword_name FROM duckdb_keywords() ORDER BY 1").fetchall()
    return [word for (word,) in found]


def test_keywords_as_keys() -> None:
    """A trait may be called like any keyword, table, column or step of the SQL."""
    ours = {"events", "profiles", "aggregates", "identities", "values_1", "purchase_events", "purchase_count"}
    ours |= {"n_amount", "source_id", "base__step_1", "value__step_1"}
    words = sorted({*keywords(), *ours} - {"true", "false", "and", "or", "not", "in"})
    traits = [Trait("base", "events.purchase.count * 2 / 3 * 3")]
    traits += [Trait(word, f'trait("{traits[-1].key if n % 20 else "base"}") * 1') for n, word in enumerate(words)]
    engines = Engines(world(event(T_MS - 1)), Catalog(traits=tuple(traits)))
    assert dict.fromkeys(["base", *words], 2_000_001) == engines.tables()["p"] == engines.evaluated()["p"]
    assert {"p": 4_000_002} == engines.alone('trait("value") + trait("select")')


STRANGE = [
    "",
    " ",
    "7 days",
    "it's",
    'say "hi"',
    "*/ DROP TABLE events; --",
    "/* /* ",
    "購入",
    "😀",
    "a\\b",
    "a\nb",
    "a\u0000b",
    "'; DROP TABLE events; --",
    "{{ x }} {% y %}",
    "$1 ? :name @v",
    "E'\\x'",
    "values_1",
    "aggregates",
    "any",
    "identities",
]


def test_any_name_of_an_event() -> None:
    """Events of any name are counted, keywords and hostile texts too, many in one statement."""
    names = sorted({*STRANGE, *keywords(), "events", "profiles", "Order", "ORDER"})
    for first in range(0, len(names), 100):
        some = names[first : first + 100]
        keys = {f"trait_{number}": f"events[{json.dumps(name)}].count" for number, name in enumerate(some)}
        events = [event(T_MS - 1, name) for name in some]
        assert dict.fromkeys(keys, 1_000_000) == answers(world(*events), **keys)


def test_any_name_of_a_property() -> None:
    """Properties and attributes of any name are read, and looked for by `is_set`."""
    names = [name for name in STRANGE if name and "\u0000" not in name]  # no column is called so
    keys = {}
    for number, name in enumerate(names):
        written = json.dumps(name)
        keys[f"sum_{number}"] = f"events.purchase[is_set(properties[{written}])].sum(properties[{written}])"
        keys[f"attribute_{number}"] = f"if(is_set(profile[{written}]), profile[{written}] + 0, 0)"
    values: dict[str, Any] = dict.fromkeys(names, 1_500_000)
    assert dict.fromkeys(keys, 1_500_000) == answers(world(event(T_MS - 1, **values), attributes=values), **keys)


def test_any_string() -> None:
    """A string comes back as it was written, and a comment that holds it ends where it should."""
    keys = {f"trait_{number}": json.dumps(text) for number, text in enumerate(STRANGE)}
    keys |= {f"equal_{number}": f"profile.x == {json.dumps(text)}" for number, text in enumerate(STRANGE)}
    found = answers(world(attributes={"x": "it's"}), **keys)
    assert STRANGE == [found[f"trait_{number}"] for number in range(len(STRANGE))]
    assert [text == "it's" for text in STRANGE] == [found[f"equal_{number}"] for number in range(len(STRANGE))]


@pytest.mark.parametrize("text", ["*/", "**/", "*/ */", "/*", "/* /*", "*//*"])
def test_comments_do_not_break_out(text: str) -> None:
    """The comment beside a column holds the expression and cannot be closed by it."""
    checked = check_catalog(Catalog(traits=(Trait("a", f'"{text}"'), Trait("b", f'events["{text}"].count'))))
    for statement in (values_sql(checked, ["a", "b"], *MOMENT), aggregates_sql(checked, *MOMENT)):
        assert statement.count("/*") >= 1
        executed = load(world(), checked, ["p"])
        names = [use.column for use in checked.aggregates.values()]
        executed.execute(f"CREATE TABLE aggregates AS SELECT 'p' AS profile_id, 0 AS {names[0]}")
        assert 1 == len(executed.execute(statement).fetchall())


def test_filters_in_steps() -> None:
    """A filter that computes a lot is taken apart into columns, and stays exact."""
    deep = "amount" + " * amount" * 30
    known = world(
        event(T_MS - 1, amount=1_000_000), event(T_MS - 2, amount=2_000_000), event(T_MS - 3, amount=-(10**18))
    )
    found = answers(
        known,
        small=f"events.purchase[{deep} > 1].count",
        one=f"events.purchase[{deep} == 1].sum(amount)",
        both=f"events.purchase[{deep} < 10000000000 || min(max(amount, 1) * 3, 9) % 2 == 0].count",
    )
    assert {"small": 1_000_000, "one": 1_000_000, "both": 2_000_000} == found
