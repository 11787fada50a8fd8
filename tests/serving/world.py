"""A world that decisions can be checked in by head: three people, two segments, five flags."""

import time
from dataclasses import dataclass, field
from pathlib import Path

import redis

from dsl.apikeys import KeyKind, digest, new_key
from dsl.catalog import Catalog, EventSchema, Flag, Rule, Segment, Trait, Variant
from dsl.identifiers import profile_id, source_id
from dsl.state import State, Value
from serving.online import Snapshot, publish_catalog, publish_keys, publish_states

ROOT = Path(__file__).parents[2]
KINDS: tuple[KeyKind, ...] = ("write", "read", "admin")
OFFSET_MS = 250_000_000_000
"""The clock of these projects runs about eight years behind wall time."""
CUT = 1_000

CATALOG = Catalog(
    events=(EventSchema("purchase", {"amount": "number"}),),
    attributes={"plan": "string"},
    traits=(Trait("purchases_30d", "events.purchase.count_30d"), Trait("plan", "profile.plan", type="string")),
    segments=(Segment("vip", "purchases_30d >= 3"), Segment("paying", 'plan in ["gold", "silver"]')),
    flags=(
        Flag("free_shipping", (Rule('segment("vip")', "on"), Rule('segment("paying") && purchases_30d > 0', "on"))),
        Flag("big_basket", (Rule("context.amount >= 100.5", "on"),)),
        Flag(
            "banner",
            (Rule('segment("vip")', "vip"),),
            (Variant("vip", True, {"text": "welcome back", "share": 0.25}), Variant("plain", True, ["x", None])),
            "plain",
        ),
        Flag("closed", (Rule("true", "on"),), enabled=False),
        Flag("empty", ()),
    ),
)
COUNT = "events.purchase.count_30d"


@dataclass(frozen=True, slots=True)
class World:
    """A published project and its keys by kind."""

    project: str
    snapshot: Snapshot
    keys: dict[KeyKind, str] = field(default_factory=lambda: {kind: new_key(kind) for kind in KINDS})


def now_ms() -> int:
    """The now of a project of this world."""
    return time.time_ns() // 1_000_000 - OFFSET_MS


def person(user: str, as_of_ms: int, purchases: int | None, plan: str | None = None) -> tuple[State, tuple[str, ...]]:
    """A state with the identifiers `user:<user>` and the e-mail `<user>@example.com`."""
    identifiers = (source_id("user", user), source_id("email", f"{user}@example.com"))
    aggregates: dict[str, Value] = {} if purchases is None else {COUNT: purchases * 1_000_000}
    attributes = {} if plan is None else {"plan": plan}
    return State(profile_id(identifiers[0]), as_of_ms, CUT, attributes, aggregates), identifiers


def publish(client: redis.Redis, project: str, version: int = 1, catalog: Catalog = CATALOG) -> World:
    """Publish ann (4 purchases, gold), bob (1, silver) and eve (none, no plan) as of five seconds ago."""
    as_of_ms = now_ms() - 5_000
    world = World(project, Snapshot(CUT, as_of_ms, version, OFFSET_MS, "UTC"))
    people = [person("ann", as_of_ms, 4, "gold"), person("bob", as_of_ms, 1, "silver"), person("eve", as_of_ms, None)]
    publish_states(client, project, world.snapshot, people)
    publish_catalog(client, project, version, catalog.to_document())
    publish_keys(client, project, {digest(key): kind for kind, key in world.keys.items()})
    return world
