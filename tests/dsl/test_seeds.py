"""Every example of the documents that this project comes from runs as it is written there; `seeds.yaml` holds them."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from dsl.aggregates import AGES, AGGREGATES
from dsl.catalog import Catalog, EventSchema, Feature, Segment, Trait
from dsl.check import check_expression
from dsl.clock import Zone
from dsl.documents.audience_rules import read_rules
from dsl.evaluate import evaluate
from dsl.explain import show_value
from dsl.features import read_feature
from dsl.functions import FUNCTIONS
from dsl.sql.statements import ranks_sql
from dsl.state import Value
from tests.differential.engines import Engines
from tests.differential.tables import in_table
from tests.differential.worlds import Entry, World, document, instant

# Read as text throughout: `true` and `1.50` are what a page shows, not values of YAML.
SEEDS: dict[str, Any] = yaml.load(
    (Path(__file__).parent / "seeds.yaml").read_text(encoding="utf-8"), Loader=yaml.BaseLoader
)
ASKED = "asked"
FEATURES = SEEDS["features"]


def listed(section: str) -> Iterator[tuple[str, ...]]:
    """The examples of a section, in order, each with the document it comes from."""
    for source, examples in SEEDS[section].items():
        yield from ((source, *example) for example in examples)


EXAMPLES = {f"example_{number}": example for number, example in enumerate(listed("examples"), 1)}
AUDIENCES = {f"audience_{number}": example for number, example in enumerate(listed("rules"), 1)}
FLAGS = list(listed("flags"))


def features() -> list[tuple[str, Feature]]:
    """Every aggregation that the document names, read from a document of its form."""
    found = []
    for source, given in FEATURES.items():
        for aggregation in given["aggregations"]:
            field = {} if aggregation == "COUNT" else {"field": given["field"]}
            written = {"name": f"{given['name']}_{aggregation.lower()}", "aggregation": aggregation, **field}
            shared = {name: given[name] for name in ("source_event", "time_windows")}
            found.append((source, read_feature({**written, **shared})))
    return found


def world() -> World:
    """The log of the seeds."""
    entries = [
        Entry(f"e{seq}", seq, "identify" if name == "identify" else "track", name, who, instant(at), *properties)
        for seq, (who, at, name, *properties) in enumerate(SEEDS["events"], 1)
    ]
    return World(entries, instant(SEEDS["now"]), len(entries), Zone("UTC"), request=SEEDS["request"])


@pytest.fixture(scope="module")
def engines() -> Iterator[Engines]:
    """All examples as definitions of one catalog, over one world."""
    traits = [*SEEDS["traits"].items(), *((key, expression) for key, (_, expression, _) in EXAMPLES.items())]
    segments = [*SEEDS["segments"].items()]
    segments += [(key, read_rules(json.loads(rules)).expression) for key, (_, rules, *_) in AUDIENCES.items()]
    catalog = Catalog(
        events=tuple(EventSchema(name, properties) for name, properties in SEEDS["schemas"].items()),
        attributes=SEEDS["attributes"],
        traits=tuple(Trait(key, text) for key, text in traits),
        segments=tuple(Segment(key, text) for key, text in segments),
        features=tuple(feature for _, feature in features()),
    )
    found = Engines(world(), catalog)
    yield found
    found.connection.close()


@pytest.fixture(scope="module")
def answers(engines: Engines) -> dict[str, dict[str, Value]]:
    """What each engine answers for the profile asked about: by engine, by definition."""
    ranks_of = {
        row[0]: row[1:] for row in engines.connection.execute(ranks_sql(engines.checked, *engines.moment)).fetchall()
    }
    ranks = dict(zip(engines.checked.ranks, ranks_of[ASKED], strict=True))
    state = engines.states()[ASKED]
    evaluated = engines.of_state(replace(state, aggregates={**state.aggregates, **ranks}))
    return {"oracle": engines.expected()[ASKED], "SQL": engines.tables()[ASKED], "evaluator": evaluated}


def agreed(key: str, answers: dict[str, dict[str, Value]], engines: Engines) -> str:
    """The value on which the engines agree, as people see it."""
    value = answers["oracle"][key]
    assert (value, in_table(value)) == (answers["evaluator"][key], answers["SQL"][key])
    return show_value(value, engines.checked.values[key].type)


@pytest.mark.parametrize("key", EXAMPLES, ids=[expression for _, expression, _ in EXAMPLES.values()])
def test_example(key: str, answers: dict[str, dict[str, Value]], engines: Engines) -> None:
    """An expression parses, checks, compiles to SQL and evaluates as it is written; all engines agree on its value."""
    _, _, value = EXAMPLES[key]
    assert value == agreed(key, answers, engines)


@pytest.mark.parametrize(("_source", "rule", "value"), FLAGS)
def test_rule_of_a_flag(_source: str, rule: str, value: str, engines: Engines) -> None:
    """A condition over the request is right in a flag, and has its value there."""
    found = check_expression(rule, engines.checked, "flag")
    context = document(engines.world.request)
    state = engines.states()[ASKED]
    assert (value == "true") is evaluate(found.node, state, engines.checked, context)
    assert {ASKED: value == "true"}.items() <= engines.expected_alone(rule, "boolean").items()


@pytest.mark.parametrize("key", AUDIENCES)
def test_rules(key: str, answers: dict[str, dict[str, Value]], engines: Engines) -> None:
    """JSON rules become the expression that stands beside them, with its value."""
    _, _, expression, value = AUDIENCES[key]
    assert (expression, value) == (engines.checked.values[key].text, agreed(key, answers, engines))


@pytest.mark.parametrize(("_source", "feature"), features(), ids=[feature.key for _, feature in features()])
def test_feature(_source: str, feature: Feature, answers: dict[str, dict[str, Value]], engines: Engines) -> None:
    """A feature has a value for each of its windows, and over the longest the one that stands beside it."""
    shown = {window: agreed(f"{feature.key}_{window}", answers, engines) for window in feature.windows}
    (values,) = (given["values"] for given in FEATURES.values())
    assert values[feature.aggregation] == shown["30d"]


def test_everything_has_an_example() -> None:
    """Every aggregate, age and function of the language occurs."""
    words = {word for _, expression, _ in EXAMPLES.values() for word in re.findall(r"[a-z_]+[a-z]", expression)}
    unseen = {*AGGREGATES, *AGES, *FUNCTIONS} - words
    assert set() == unseen
    assert {"last_seen_days_ago", "first_seen_days_ago"} <= words
