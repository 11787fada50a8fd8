"""A small shop that tests can do by head: five people, a few purchases, definitions of every kind."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from dsl.catalog import Catalog, Export, Flag, Rule, Segment, Trait
from dsl.check import CheckedCatalog, check_catalog
from dsl.clock import parse_instant
from warehouse.landing import Landing, land
from warehouse.records import Project
from warehouse.registry import Registry
from warehouse.settings import Home, Settings

NOW_MS = parse_instant("2026-03-31T12:00:00Z")
DAY_MS = 86_400_000

CATALOG = Catalog(
    traits=(
        Trait("orders", "events.purchase.count", "Purchases ever", owner="team:growth"),
        Trait("spend", "events.purchase.sum(amount)", "Money spent ever", owner="ann@example.com"),
        Trait("spend_30d", "events.purchase.sum_30d(amount)"),
        Trait("average_order", "if(orders > 0, spend / orders, 0)"),
        Trait("plan", "profile.plan", "Plan of the profile", type="string"),
        Trait("active_days_14d", "events.purchase.unique_days_14d"),
        Trait("first_order", "events.purchase.first_at"),
    ),
    segments=(
        Segment("buyers", "orders >= 1", "Everybody who bought", owner="growth"),
        Segment("vip", 'segment("buyers") && spend >= 100 && plan == "premium"', "Premium customers who spend"),
        Segment("lapsed", "orders >= 1 && events.purchase.count_30d == 0"),
        Segment("nobody", "orders > 1000000"),
    ),
    flags=(Flag("free_shipping", (Rule('segment("vip")', "on"),)),),
    exports=(Export("buyers", "buyers", "csv"), Export("vip_people", "vip", "parquet")),
)
"""Definitions of the small shop; `vip` is ann alone, `lapsed` is cem alone."""


def event(  # every field of an event, most by default
    event_id: str,
    user: str,
    days_ago: float,
    kind: str = "track",
    name: str = "purchase",
    *,
    amount: int | None = None,
    brand: str | None = None,
    attributes: str | None = None,
) -> dict[str, object]:
    """One event as a row of `land`; `amount` in whole units, `days_ago` before `NOW_MS`."""
    return {
        "event_id": event_id,
        "kind": kind,
        "name": name if kind == "track" else kind,
        "source_id": f"user:{user}",
        "ts_ms": NOW_MS - round(days_ago * DAY_MS),
        "n_amount": None if amount is None else amount * 1_000_000,
        "s_brand": brand,
        "properties": attributes,
    }


EVENTS = (
    event("e1", "ann", 90, amount=60, brand="acme"),
    event("e2", "ann", 3, amount=55, brand='=cmd("x")'),
    event("e3", "ann", 2.5, amount=5),
    event("e4", "bob", 10, amount=20, brand="acme"),
    event("e5", "cem", 200, amount=500),
    event("e6", "dee", 5, name="visit"),
    event("e7", "ann", 80, "identify", attributes='{"plan": "free", "age": 31.5, "note": "=1+1", "vip": true}'),
    event("e8", "ann", 70, "identify", attributes='{"plan": "premium", "note": null}'),
    event("e9", "bob", 60, "identify", attributes='{"plan": "premium", "age": 12345678901.123456, "tags": ["a", 1]}'),
    event("e10", "eva", 1, "identify", attributes='{"plan": "free", "vip": "yes"}'),
    event("e11", "ghost", 1, "system", name="system"),
)


@dataclass(frozen=True, slots=True)
class SmallShop:
    """A project in a home of its own, with a registry and a lake."""

    settings: Settings
    registry: Registry
    project: Project

    @property
    def home(self) -> Home:
        """Where its data lies."""
        return self.settings.home

    def land(self, *events: dict[str, object], received_at_ms: int = NOW_MS) -> Landing:
        """Events into the lake, numbered from the manifest's last."""
        schema = {"n_amount": pl.Int64(), "s_brand": pl.String(), "properties": pl.String()}
        return land(
            pl.DataFrame(events, schema_overrides=schema, infer_schema_length=None),
            project=self.project,
            home=self.home,
            registry=self.registry,
            reserve=lambda _count: self.registry.max_seq(self.project.key) + 1,
            received_at_ms=received_at_ms,
        )

    def define(self, catalog: Catalog = CATALOG) -> CheckedCatalog:
        """Makes `catalog` the current version."""
        checked = check_catalog(catalog)
        self.registry.save_catalog(self.project.key, catalog.to_document(), catalog.digest())
        return checked


def open_shop(folder: Path, timezone: str = "America/New_York", project: str = "default") -> SmallShop:
    """An empty shop in `folder`, whose clock stands at real time minus its offset."""
    settings = Settings(Home(folder), project=project)
    folder.mkdir(parents=True, exist_ok=True)
    registry = Registry(settings.registry_url)
    return SmallShop(settings, registry, registry.create_project(project, timezone))
