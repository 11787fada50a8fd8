"""A world of one profile, in which every value can be worked out by hand."""

from collections.abc import Mapping

from dsl.catalog import Catalog, Trait
from dsl.state import Value
from tests.dsl.drawing import instant, local_day
from tests.dsl.engines import Engines
from tests.dsl.oracle import Event, World

T_MS = instant("2017-07-01T12:00:00") + 500
"""The instant of all questions that name no other."""


def event(ts_ms: int, name: str = "purchase", kind: str = "track", zone: str = "UTC", **properties: object) -> Event:
    """An event of the profile; numbers among its properties are micro-units."""
    return {
        "event_id": f"{name} {ts_ms}",
        "seq": 1,
        "kind": kind,
        "name": name,
        "source": "user:1",
        "ts_ms": ts_ms,
        "local_day": local_day(zone, ts_ms),
        "properties": properties,
    }


def world(*events: Event, attributes: Mapping[str, object] | None = None, t_ms: int = T_MS, zone: str = "UTC") -> World:
    """What is known of the profile `p`; without events it has one that no expression counts."""
    known = events or (event(t_ms - 1, "unseen"),)
    identities = [("user:1", "p", 1, None)]
    return World(known, identities, {"p": attributes or {}}, {}, t_ms, 1, local_day(zone, t_ms))


def answers(known: World, **expressions: str) -> dict[str, Value]:
    """The value of each expression for `p`, on which SQL over tables and the evaluator agree."""
    catalog = Catalog(traits=tuple(Trait(key, expression) for key, expression in expressions.items()))
    engines = Engines.over(known, catalog)
    evaluated, tables = engines.evaluated()["p"], engines.tables()["p"]
    assert tables == evaluated
    return evaluated


def answer(expression: str, known: World) -> Value:
    """The value of one expression for `p`, on which all engines agree."""
    value = answers(known, value=expression)["value"]
    assert {"p": value} == Engines.over(known, Catalog(traits=(Trait("other", expression),))).alone(expression)
    return value
