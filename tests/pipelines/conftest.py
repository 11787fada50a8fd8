"""A small shop in a home of its own, refreshed through Dagster."""

from collections.abc import Iterator

import pytest

from serving.online import embedded
from tests.warehouse.small_shop import EVENTS, SmallShop, open_shop


@pytest.fixture
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallShop]:
    """Events and definitions, nothing refreshed yet; its embedded Valkey is stopped at the end."""
    found = filled_shop(tmp_path_factory)
    yield found
    embedded.stop(found.home.valkey)


def filled_shop(folders: pytest.TempPathFactory) -> SmallShop:
    """A shop whose events have landed and whose definitions are current."""
    found = open_shop(folders.mktemp("shop") / "home")
    found.land(*EVENTS)
    found.define()
    return found
