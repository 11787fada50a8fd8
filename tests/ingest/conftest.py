"""A project whose events come in through a real API, into a real Valkey, with a registry of its own."""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
import redis

from dsl.apikeys import KeyKind
from dsl.numbers import read_json
from serving.online import LogEntry, connect, publish_keys, read_log
from serving.online.project import publish_calendar
from tests.serving.api import Api, running_api
from warehouse.records import DeadLetter
from warehouse.registry import Registry
from warehouse.settings import Home

KINDS: tuple[KeyKind, ...] = ("write", "read", "admin")


@dataclass(frozen=True, slots=True)
class Shop:
    """A project with an API in front of it."""

    project: str
    api: Api
    keys: dict[KeyKind, str]
    client: redis.Redis
    registry: Registry
    home: Home

    def headers(self, kind: KeyKind = "write") -> dict[str, str]:
        """A key as Segment's libraries send it."""
        return {"authorization": "Basic " + base64.b64encode(f"{self.keys[kind]}:".encode()).decode()}

    def post(self, path: str, body: Any, **more: Any) -> Any:
        """Send JSON with the write key."""
        return self.api.http.post(path, json=body, headers={**self.headers(), **more.pop("headers", {})}, **more)

    def log(self, after: int = 0) -> list[LogEntry]:
        """What was appended since."""
        return list(read_log(self.client, self.project, after))

    def events(self, after: int = 0) -> list[dict[str, Any]]:
        """The records that were appended since, with their properties read."""
        return [record_of(entry) for entry in self.log(after)]

    def newest(self) -> int:
        """The newest `seq`."""
        entries = self.log()
        return entries[-1].seq if entries else 0

    def letters(self, reason: str | None = None) -> tuple[DeadLetter, ...]:
        """Open dead letters."""
        return self.registry.dead_letters(self.project, reason=reason, limit=1_000)


def record_of(entry: LogEntry) -> dict[str, Any]:
    """A record of the log; its properties as expressions see them."""
    record = read_json(entry.record)
    assert isinstance(record, dict)
    return {**record, "properties": read_json(record["properties"]), "context": read_json(record["context"])}


@pytest.fixture(scope="module")
def shop(valkey_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """One for the tests of a module."""
    folder = tmp_path_factory.mktemp("shop")
    project, home, client = f"shop-{uuid4().hex[:12]}", Home(folder / "home"), connect(valkey_url)
    with Registry(f"sqlite:///{home.registry}") as registry:
        registry.create_project(project)
        made = {kind: registry.create_key(project, kind) for kind in KINDS}
        publish_calendar(client, project, "UTC", 0)
        publish_keys(client, project, {key.key.digest: kind for kind, key in made.items()})
        # How busy the machine is does not decide what is answered.
        settings = {"HOME": str(home.path), "REDIS_URL": valkey_url, "PROJECT": project, "DECIDE_DEADLINE_MS": "5000"}
        with running_api(folder / "log", **settings) as api:
            yield Shop(project, api, {kind: key.plain for kind, key in made.items()}, client, registry, home)
    client.close()
