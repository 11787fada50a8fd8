"""One API for the tests of a module, over a published world."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import redis

from serving.online import connect
from tests.serving.api import Api, running_api
from tests.serving.worker_plant import Plant
from tests.serving.world import World, publish
from tests.warehouse.small_shop import open_shop


@pytest.fixture(scope="module")
def world(valkey_url: str) -> World:
    """A published project."""
    client = connect(valkey_url)
    try:
        return publish(client, f"world-{uuid4().hex[:12]}")
    finally:
        client.close()


@pytest.fixture(scope="module")
def api(world: World, valkey_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """The API of that project."""
    log = tmp_path_factory.mktemp("api") / "log"
    # On a busy machine the store may take its time.
    with running_api(log, REDIS_URL=valkey_url, PROJECT=world.project, DECIDE_DEADLINE_MS="5000") as running:
        yield running


@pytest.fixture(scope="module")
def ask(world: World) -> dict[str, str]:
    """Headers with a read key."""
    return {"authorization": f"Bearer {world.keys['read']}"}


@pytest.fixture
def plant(online: redis.Redis, project: str, tmp_path: Path) -> Plant:
    """An empty shop whose log can be landed."""
    return Plant(online, open_shop(tmp_path / "home", "America/New_York", project))
