"""What the tests of tables stand on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.warehouse.bench import Bench
from tests.warehouse.small_shop import EVENTS, open_shop
from warehouse.database import connect


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A warehouse over all events of the small shop, nothing computed yet."""
    shop = open_shop(tmp_path / "home")
    shop.land(*EVENTS)
    with connect(shop.home.warehouse) as connection:
        yield Bench(shop, connection)
