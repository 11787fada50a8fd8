"""What the online store holds of pipelines: secrets of webhooks, violations, and the schemas of the current version."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest
import redis
import redis.asyncio

from dsl.catalog import Catalog, Pipeline, PipelineEvent, PipelineField
from serving.ingest.schemas import Schemas, SchemasUnusableError
from serving.online import OnlineReader, connect_async, delete_project, pipelines, publish_catalog
from serving.online.keys import Keys
from serving.online.pipelines import (
    OTHERS,
    Violations,
    count_violations,
    publish_webhook_secrets,
    read_violations,
    read_webhook_secrets,
)

_Answer = TypeVar("_Answer")


def ask(url: str, work: Callable[[redis.asyncio.Redis], Awaitable[_Answer]]) -> _Answer:
    """What a process that waits for nobody gets."""

    async def run() -> _Answer:
        client = connect_async(url)
        try:
            return await work(client)
        finally:
            await client.aclose()

    return asyncio.run(run())


def test_secrets_end_with_their_overlap(online: redis.Redis, valkey_url: str, project: str) -> None:
    """The secret before works until its instant, exclusive; another pipeline has none; publishing replaces all."""
    publish_webhook_secrets(online, project, {"web": [("new", None), ("old", 1_000)], "gone": [("x", None)]})
    publish_webhook_secrets(online, project, {"web": [("new", None), ("old", 1_000)]})
    found = [
        ask(valkey_url, lambda client, now=now, name=name: read_webhook_secrets(client, project, name, now))  # type: ignore[misc]  # bound now
        for name, now in (("web", 999), ("web", 1_000), ("gone", 1))
    ]
    assert [("new", "old"), ("new",), ()] == found
    assert ("new",) == ask(valkey_url, lambda client: read_webhook_secrets(client, project, "web"))
    publish_webhook_secrets(online, project, {})
    assert () == ask(valkey_url, lambda client: read_webhook_secrets(client, project, "web"))


def test_violations_add_up(online: redis.Redis, valkey_url: str, project: str) -> None:
    """Counts of batches add up, with the instant of the last; long names are cut off."""
    wrong, whole = ("add", "price", "wrong_type"), ("x" * 500, "", "unknown_event")

    async def two_batches(client: redis.asyncio.Redis) -> None:
        await count_violations(client, project, {})
        await count_violations(client, project, {wrong: 2, whole: 1}, now_ms=5)
        await count_violations(client, project, {wrong: 3}, now_ms=9)

    ask(valkey_url, two_batches)
    expected = {wrong: Violations(5, 9), ("x" * 200, "", "unknown_event"): Violations(1, 5)}
    assert expected == read_violations(online, project)


def test_violations_without_end_are_counted_together(
    online: redis.Redis, valkey_url: str, project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the limit known ones count on, and new ones are counted as others: none is lost, and the hash ends."""
    monkeypatch.setattr(pipelines, "MOST_VIOLATIONS", 3)

    async def batches(client: redis.asyncio.Redis) -> None:
        for _ in range(2):
            await count_violations(client, project, {(f"e{n}", "", "unknown_event"): 1 for n in range(10)}, now_ms=1)

    ask(valkey_url, batches)
    found = read_violations(online, project)
    assert {
        ("e0", "", "unknown_event"): 2,
        ("e1", "", "unknown_event"): 2,
        ("e2", "", "unknown_event"): 2,
        OTHERS: 14,
    } == {name: its.times for name, its in found.items()}


def test_all_of_it_goes_with_the_project(online: redis.Redis, valkey_url: str, project: str) -> None:
    """What is deleted leaves nothing behind."""
    publish_webhook_secrets(online, project, {"web": [("new", None)]})
    ask(valkey_url, lambda client: count_violations(client, project, {("a", "", "unknown_event"): 1}))
    assert 3 == delete_project(online, project)


def test_schemas_are_those_of_the_version(online: redis.Redis, valkey_url: str, project: str) -> None:
    """A version is read and compiled once; another one is read when it is asked for; what is not there is told."""
    for version, status in ((1, "inactive"), (2, "active")):
        event = PipelineEvent("add", (PipelineField("price", "number", required=True),))
        catalog = Catalog(pipelines=(Pipeline("web", (event,), status=status),))  # type: ignore[arg-type]  # both are
        publish_catalog(online, project, version, catalog.to_document())
    online.set(Keys(project).catalog(4), "{}")

    async def look(client: redis.asyncio.Redis) -> list[object]:
        schemas, found = Schemas(OnlineReader(client, project)), list[object]()
        for version in (0, 1, 1, 2):
            found.append([v.kind for v in (await schemas.get(version))["web"].violations("add", {})] if version else [])
        online.delete(Keys(project).catalog(2))
        found.append("web" in await schemas.get(2))
        for version in (3, 4):
            with pytest.raises(SchemasUnusableError):
                await schemas.get(version)
        return found

    expected = [[], ["pipeline_inactive"], ["pipeline_inactive"], ["missing_field"], True]
    assert expected == ask(valkey_url, look)
