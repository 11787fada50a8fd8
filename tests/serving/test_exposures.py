"""Exposures: which variant chance showed, once for each profile, variant and version of a flag."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from uuid import uuid4

import httpx
import msgspec
import pytest
import redis

from dsl.catalog import Flag, Rule, Variant
from dsl.event import EXPOSURE
from serving.online import Keys, connect, read_log
from serving.online.store import publish_catalog
from tests.serving.api import Api, running_api
from tests.serving.world import CATALOG, World, publish

HALVES = Flag(
    "halves",
    (Rule(None, None),),
    (
        Variant("left", True, weight_micros=1_000_000),
        Variant("right", True, weight_micros=1_000_000),
        Variant("off", False),
    ),
)
SPLIT = replace(CATALOG, flags=(*CATALOG.flags, HALVES))


@pytest.fixture(scope="module")
def world(valkey_url: str) -> World:
    """The world with a flag that splits."""
    client = connect(valkey_url)
    found = publish(client, f"exposed-{uuid4().hex[:12]}", catalog=SPLIT)
    client.close()
    return found


@pytest.fixture(scope="module")
def two(world: World, valkey_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Api]]:
    """Two processes over it."""
    folder = tmp_path_factory.mktemp("two")
    with ExitStack() as stack:
        variables = {"REDIS_URL": valkey_url, "PROJECT": world.project, "DECIDE_DEADLINE_MS": "5000"}
        yield [stack.enter_context(running_api(folder / name, **variables)) for name in ("one", "other")]


def ask(api: Api, world: World, **query: str) -> httpx.Response:
    """A decision."""
    answer = api.http.get("/v1/decide", params=query, headers={"x-api-key": world.keys["read"]})
    assert answer.status_code == 200, answer.text
    return answer


def exposures(online: redis.Redis, world: World) -> list[tuple[str, dict[str, object]]]:
    """Who was shown what, as the log has it."""
    found = []
    for entry in read_log(online, world.project, 0):
        record = msgspec.json.decode(entry.record or "{}")
        if record.get("name") == EXPOSURE:
            assert record["kind"] == "system"
            assert -1 == online.pttl(Keys(world.project).event(entry.event_id))
            found.append((entry.identity.source_id, msgspec.json.decode(record["properties"])))  # type: ignore[union-attr]
    return found


def test_once(two: list[Api], world: World, online: redis.Redis) -> None:
    """However often, by whichever process and by whichever name somebody is asked about, one event is logged."""
    for _ in range(2):
        for api in two:
            asked = [ask(api, world, flag="halves", **who) for who in ({"userId": "ann"}, {"email": "ann@example.com"})]
    first = asked[0].json()
    shown = {"flag": "halves", "variant": first["variant"], "rule": 1}
    logged = [(who, {name: told[name] for name in shown}) for who, told in exposures(online, world)]
    assert ("SPLIT", [("user:ann", shown)]) == (first["reason"], logged)
    assert {"explanation"} == set(ask(two[0], world, userId="bob", flag="halves", explain="1").json()) - set(first)
    ask(two[0], world, userId="bob", flag="halves", exposures="0")
    ask(two[0], world, userId="bob", flag="banner")
    assert 1 == len(exposures(online, world))


def test_another_version_is_shown_anew(two: list[Api], world: World, online: redis.Redis) -> None:
    """When what a flag gives changes, who is asked about is exposed again; a new description changes nothing."""
    before = ask(two[0], world, userId="ann", flag="halves").json()
    count = len(exposures(online, world))
    assert HALVES.version() == replace(HALVES, description="of two colours").version()
    left, *others = HALVES.variants
    changed = replace(SPLIT, flags=(*CATALOG.flags, replace(HALVES, variants=(replace(left, payload=1), *others))))
    publish_catalog(online, world.project, 2, changed.to_document())
    while len(exposures(online, world)) == count:
        after = ask(two[0], world, userId="ann", flag="halves").json()
    assert before["variant"] == after["variant"]
    versions = [told["version"] for who, told in exposures(online, world) if who == "user:ann"]
    assert (2, 2) == (len(versions), len(set(versions)))
