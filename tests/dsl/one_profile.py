"""A world of one profile, in which every value can be worked out by hand."""

from collections.abc import Mapping
from dataclasses import replace

from dsl.catalog import Catalog, Trait
from dsl.clock import Zone
from dsl.event import Kind
from dsl.state import Value
from tests.differential.engines import Engines
from tests.differential.tables import in_table
from tests.differential.worlds import Entry, World, instant, json_text

T_MS = instant("2017-07-01T12:00:00") + 500
"""The instant of all questions that name no other."""


def event(ts_ms: int, name: str = "purchase", kind: Kind = "track", **properties: object) -> Entry:
    """An event of the profile; numbers among its properties are micro-units."""
    return Entry(f"{name} {ts_ms}", 1, kind, name, "p", ts_ms, json_text(properties))


def world(*events: Entry, attributes: Mapping[str, object] | None = None, t_ms: int = T_MS, zone: str = "UTC") -> World:
    """What is known of the profile `p`; without events it has one that no expression counts."""
    known = [*(events or (event(t_ms - 1, "unseen"),))]
    if attributes:
        known.append(event(t_ms - 1, "identify", "identify", **attributes))
    entries = [replace(entry, seq=seq) for seq, entry in enumerate(known, 1)]
    return World(entries, t_ms, len(entries), Zone(zone))


def answers(known: World, **expressions: str) -> dict[str, Value]:
    """The value of each expression for `p`, on which the oracle, SQL over tables and the evaluator agree."""
    catalog = Catalog(
        traits=tuple(Trait(key, expression) for key, expression in expressions.items()), timezone=known.zone.name
    )
    engines = Engines(known, catalog)
    expected, evaluated, tables = engines.expected()["p"], engines.evaluated()["p"], engines.tables()["p"]
    assert expected == evaluated
    assert {key: in_table(value) for key, value in expected.items()} == tables
    return evaluated


def answer(expression: str, known: World) -> Value:
    """The value of one expression for `p`, on which all engines agree."""
    value = answers(known, value=expression)["value"]
    engines = Engines(known, Catalog(traits=(Trait("other", expression),), timezone=known.zone.name))
    assert {"p": value} == engines.alone(expression, engines.checked.values["other"].type)
    return value
