"""Real parts for every room: a home, a Valkey, a project of its own for each test."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import redis

from serving.online import connect, embedded
from warehouse.settings import Home


@pytest.fixture(scope="session")
def valkey_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a real Valkey that all tests of a session share; tests keep apart by `project`."""
    folder = tmp_path_factory.mktemp("shared") / "valkey"
    yield embedded.start(folder)
    embedded.stop(folder)


@pytest.fixture
def online(valkey_url: str) -> Iterator[redis.Redis]:
    """A client of the shared Valkey."""
    client = connect(valkey_url)
    yield client
    client.close()


@pytest.fixture
def project() -> str:
    """Key of a project that nobody else has."""
    return f"test-{uuid4().hex[:12]}"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """An empty home; an embedded Valkey that a test starts in it is stopped."""
    found = Home(tmp_path / "home")
    yield found
    embedded.stop(found.valkey)
