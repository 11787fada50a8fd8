"""One meaning, whichever way events come: any route, order, repetition and partition gives the same tables."""

import asyncio
import base64
import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dsl.catalog import Catalog, Pipeline, PipelineEvent, Segment, Trait
from dsl.clock import DAY_MS, format_instant
from dsl.evaluate import evaluate
from serving.http.app import create_app
from serving.online import publish_catalog, publish_keys
from serving.online.project import publish_calendar
from serving.worker.loop import Worker
from tests.both_sides.plant import Plant
from tests.warehouse.small_shop import NOW_MS, SmallShop
from tinycdp.load import LoadChoices, run_load
from tinycdp.output import Output
from warehouse.registry import Registry
from warehouse.settings import Home, Settings

CATALOG = Catalog(
    traits=(
        Trait("orders", "events.purchase.count"),
        Trait("spend_30d", "events.purchase.sum_30d(amount)"),
        Trait("latest", "events.purchase.last(category)", type="string"),
        Trait("favourite", "events.purchase.most_frequent(category)", type="string"),
        Trait("median", "events.purchase.median(amount)"),
        Trait("days", "events.*.unique_days_14d"),
        Trait("views_24h", "events.page.count_24h"),
        Trait("plan", "profile.plan", type="string"),
        Trait("age", "profile.age", type="number"),
    ),
    segments=(
        Segment("buyers", "orders >= 3"),
        Segment("paying", 'plan == "gold" && spend_30d > 10.5'),
        Segment("gone", "last_seen_days_ago >= 7"),
    ),
    pipelines=(Pipeline("any", (PipelineEvent("purchase"),)),),
)
MAPPING = """\
name: history
format: ndjson
event_id: id
kind: {column: kind}
event: name
ts: {column: ts, unit: ms}
identifiers: {user: user, anon: anon}
properties: {all_of: properties}
attributes: {all_of: properties}
"""
ROUTES = ("segment", "batch", "tinycdp", "mini", "cdp", "pipeline", "bulk")
TABLES = ("profiles", "traits", "segment_members", "source_attributes")


@dataclass(frozen=True, slots=True)
class Told:
    """One event, as somebody would tell it."""

    id: str
    kind: str
    person: int
    known: bool
    ts_ms: int
    properties: dict[str, Any]

    @property
    def who(self) -> tuple[str | None, str | None]:
        """User id and anonymous id: one of them."""
        return (f"u{self.person}", None) if self.known else (None, f"a{self.person}")


def segment(event: Told, key: str) -> dict[str, Any]:
    """As Segment's libraries write it."""
    user, anonymous = event.who
    held = {"traits" if event.kind == "identify" else "properties": event.properties}
    name = {"event": "purchase"} if event.kind == "track" else {}
    stamp = {"timestamp": format_instant(event.ts_ms), "messageId": event.id, "writeKey": key}
    return {"type": event.kind, "userId": user, "anonymousId": anonymous, **stamp, **name, **held}


def request_of(route: str, events: Sequence[Told], project: str, key: str) -> list[tuple[str, Any]]:
    """Paths and bodies of what a route is sent."""
    if route == "batch":
        return [("/v1/batch", {"batch": [segment(event, key) for event in events]})]
    found: list[tuple[str, Any]] = []
    for event in events:
        (user, anonymous), stamp = event.who, format_instant(event.ts_ms)
        snake = {"user_id": user, "anonymous_id": anonymous, "event_id": event.id}
        held = "traits" if event.kind == "identify" else "properties"
        if route == "segment" or event.kind == "page":
            found.append((f"/v1/{event.kind}", segment(event, key)))
        elif route == "mini":
            name = {"event_type": "purchase", "occurred_at": stamp} if event.kind == "track" else {}
            if event.kind == "identify":  # it has no instant there
                found.append(("/v1/i", segment(event, key)))
            else:
                found.append((f"/{event.kind}", {**snake, **name, held: event.properties}))
        elif route == "cdp":
            payload = {"type": event.kind.upper(), "userId": user, "anonymousId": anonymous, held: event.properties}
            payload |= {"name": "purchase"} if event.kind == "track" else {}
            found.append(("/cdp/ingest", {"eventId": event.id, "ts": stamp, "payload": payload}))
        elif route == "pipeline" and event.kind == "track":
            body = {"event": "purchase", **snake, "timestamp": stamp, "properties": event.properties}
            found.append((f"/ingest/{project}/any/batch", [body]))
        else:
            ours: dict[str, Any] = {"messageId": event.id, "userId": user, "anonymousId": anonymous, "ts": stamp}
            told: dict[str, Any] = {"event": "purchase", "props": event.properties} if event.kind == "track" else {}
            found.append((f"/v1/{event.kind}", [{**ours, "traits": event.properties, **told}]))
    return found


@dataclass(slots=True)
class Way:
    """A project into which the events come in one way."""

    plant: Plant
    key: str

    @classmethod
    def open(cls, client: redis.Redis, url: str, folder: Path) -> "Way":
        """An empty one, whose clock runs on from `NOW_MS`."""
        project, key = f"way-{uuid4().hex[:12]}", ""
        given = Settings(Home(folder / project), redis_url=url, project=project)
        registry = Registry(given.registry_url)
        offset_ms = time.time_ns() // 1_000_000 - NOW_MS
        made = registry.create_project(project, "America/New_York", offset_ms)
        new = registry.create_key(project, "write")
        key = new.plain
        publish_calendar(client, project, made.timezone, offset_ms)
        publish_keys(client, project, {new.key.digest: "write"})
        publish_catalog(client, project, 1, CATALOG.to_document())
        # Asked an hour later: whatever came in lies in the past of the question.
        plant = Plant(client, SmallShop(given, registry, made), NOW_MS + 3_600_000)
        plant.define(CATALOG)
        return cls(plant, key)

    def send(self, parts: Sequence[tuple[str, Sequence[Told]]]) -> None:
        """Send each part by its route."""
        for route, events in parts:
            if route == "bulk":
                self._load(events)
            else:
                asyncio.run(self._post(request_of(route, events, self.plant.project, self.key)))

    async def _post(self, requests: Sequence[tuple[str, Any]]) -> None:
        app = create_app(self.plant.shop.settings)
        basic = {"authorization": "Basic " + base64.b64encode(f"{self.key}:".encode()).decode()}
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api", headers=basic) as http:
            for path, body in requests:
                answer = await http.post(path, json=body)
                assert answer.is_success, answer.text
                assert not answer.json().get("rejected"), answer.text
        await app.state.plane.close()
        await app.state.ingest.close()

    def _load(self, events: Sequence[Told]) -> None:
        folder = self.plant.shop.home.path
        lines = (
            {"id": e.id, "kind": e.kind, "name": "purchase" if e.kind == "track" else e.kind, "ts": e.ts_ms,
             "user": e.who[0], "anon": e.who[1], "properties": e.properties}
            for e in events
        )  # fmt: skip
        (folder / "m.yaml").write_text(MAPPING)
        file = folder / f"{uuid4().hex}.ndjson"
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
        run_load(self.plant.shop.settings, Output(), LoadChoices([str(file)], str(folder / "m.yaml"), refresh=False))

    def land(self) -> None:
        """As the worker does, until nothing waits."""
        shop = self.plant.shop
        for _ in range(3):
            Worker(self.plant.client, shop.home, shop.registry, shop.project).tick()

    def tables(self) -> dict[str, list[tuple[Any, ...]]]:
        """What analysts see after a refresh; positions in the log are not of the meaning."""
        self.land()
        with self.plant.bench() as bench:
            self.plant.publish(bench, self.plant.compute(bench))
            found = {}
            for table in TABLES:
                columns = [row[0] for row in bench.connection.execute(f"DESCRIBE {table}").fetchall()]
                named = ", ".join(f'"{name}"' for name in columns if not name.endswith(("seq", "refresh_id")))
                found[table] = bench.connection.execute(f"SELECT {named} FROM {table} ORDER BY ALL").fetchall()
        return found

    def online(self, people: Sequence[int]) -> list[dict[str, Any]]:
        """What decisions see of each person."""
        fold = self.plant.fold
        states = [self.plant.ask(f"user:u{person}") for person in people]
        return [
            {key: evaluate(fold.checked.values[key].node, state, fold.checked) for key in fold.checked.order}
            for state in states
        ]


@st.composite
def worlds(draw: st.DrawFn) -> list[Told]:
    """Events of a few people, at instants from moments to weeks ago, some at edges, with ties."""
    pick = random.Random(draw(st.integers(0, 2**32)))  # a world by its seed
    instants = [NOW_MS - pick.choice((1, 1_000, 3_600_000, DAY_MS, 8 * DAY_MS, 30 * DAY_MS)) for _ in range(6)]
    instants += [NOW_MS - pick.randrange(1, 40 * DAY_MS) for _ in range(6)]
    found = []
    for number in range(draw(st.integers(8, 24))):
        kind = pick.choice(("track", "track", "identify", "page"))
        if kind == "identify":
            values = {"plan": pick.choice(("gold", "free", None)), "age": pick.choice((31, 31.5, None))}
            held = {name: values[name] for name in pick.sample(sorted(values), pick.randint(1, 2))}
        else:
            held = {"amount": pick.choice((0.1, 10.5, 3, 2.000001)), "category": pick.choice(("books", "Ä", ""))}
        found.append(Told(f"e{number}", kind, pick.randrange(3), pick.random() < 0.7, pick.choice(instants), held))
    return found


@settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(world=worlds(), data=st.data())
def test_any_way_in_gives_the_same(
    world: list[Told], data: st.DataObject, online: redis.Redis, valkey_url: str, tmp_path: Path
) -> None:
    """Who is who is said first; then any permutation, duplication and partition, by any mixture of routes."""
    people = sorted({event.person for event in world})
    links = [{"type": "identify", "userId": f"u{p}", "anonymousId": f"a{p}", "messageId": f"link-{p}",
              "timestamp": format_instant(NOW_MS - 50 * DAY_MS), "traits": {}} for p in people]  # fmt: skip
    plain, mixed = Way.open(online, valkey_url, tmp_path), Way.open(online, valkey_url, tmp_path)
    for way in (plain, mixed):
        asyncio.run(way._post([("/v1/identify", link) for link in links]))
        way.land()
    plain.send([("batch", sorted(world, key=lambda event: event.ts_ms))])
    order = data.draw(st.permutations(world + data.draw(st.lists(st.sampled_from(world), max_size=8))))
    while order:
        size = data.draw(st.integers(1, 6))
        mixed.send([(data.draw(st.sampled_from(ROUTES)), order[:size])])
        order = order[size:]
        if data.draw(st.booleans()):
            mixed.land()
        if data.draw(st.integers(0, 5)) == 0:
            mixed.tables()
    assert plain.tables() == mixed.tables()
    assert plain.online(people) == mixed.online(people)
