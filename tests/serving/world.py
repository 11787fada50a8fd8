"""A world that decisions can be checked in by head: three people, two segments, five flags."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import redis

from dsl.apikeys import KeyKind, digest, new_key
from dsl.catalog import Catalog, EventSchema, Flag, Rule, Segment, Trait, Variant
from dsl.check import check_catalog
from dsl.event import Event
from dsl.identifiers import profile_id, source_id
from dsl.identity_records import Profile
from dsl.tile_codec import pack
from dsl.tiles import tiles_of
from serving.online import Fold, Publication, Snapshot, publish_keys, publish_profiles, reserve_seq
from serving.online.project import publish_calendar

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


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with a user id, the e-mail `<user>@example.com`, and events."""

    user: str
    events: tuple[Event, ...] = ()

    @property
    def profile(self) -> Profile:
        """Who it is."""
        source, email = source_id("user", self.user), source_id("email", f"{self.user}@example.com")
        return Profile(profile_id(source), source, 1, {source: 1, email: 1})


def person(user: str, as_of_ms: int, purchases: int, plan: str | None = None) -> Person:
    """Somebody with as many purchases, one an hour, the last of them an hour ago, and a plan."""
    bought = [a_purchase(user, as_of_ms - number * 3_600_000, number) for number in range(1, purchases + 1)]
    if plan is not None:
        its_own = (f"{user}-plan", 100, "identify", "identify", f"user:{user}", as_of_ms - 1_000, 0, {"plan": plan})
        bought.append(Event(*its_own))  # type: ignore[arg-type]  # the kind is one
    return Person(user, tuple(bought))


def a_purchase(user: str, ts_ms: int, seq: int) -> Event:
    """One purchase."""
    its_id = f"{user}-{seq}"
    return Event(its_id, seq, "track", "purchase", source_id("user", user), ts_ms, ts_ms // 86_400_000)


def publish_people(
    client: redis.Redis, project: str, snapshot: Snapshot, people: Sequence[Person], catalog: Catalog = CATALOG
) -> None:
    """One whole publication."""
    fold = Fold(check_catalog(catalog))
    publication = Publication(client, project, snapshot)
    publication.begin()
    publish_profiles(client, project, snapshot.cut, [each.profile for each in people])
    publication.bases([{f"user:{each.user}": packed(each, fold, snapshot.cut) for each in people}])
    publication.end(catalog.to_document())


def packed(somebody: Person, fold: Fold, cut: int) -> bytes:
    """The base of somebody's events."""
    return pack(replace(tiles_of(somebody.events, fold.bases, fold.checked), cut=cut), fold.bases)


def publish(client: redis.Redis, project: str, version: int = 1, catalog: Catalog = CATALOG) -> World:
    """Publish ann (4 purchases, gold), bob (1, silver) and eve (none, no plan) as of five seconds ago."""
    as_of_ms = now_ms() - 5_000
    world = World(project, Snapshot(CUT, as_of_ms, version, OFFSET_MS, "UTC"))
    reserve_seq(client, project, CUT, 0)
    people = [person("ann", as_of_ms, 4, "gold"), person("bob", as_of_ms, 1, "silver"), person("eve", as_of_ms, 0)]
    publish_people(client, project, world.snapshot, people, catalog)
    publish_calendar(client, project, "UTC", OFFSET_MS)
    publish_keys(client, project, {digest(key): kind for kind, key in world.keys.items()})
    return world
