"""A shop whose events are appended and landed, for tests of the worker."""

from dataclasses import dataclass

import polars as pl
import redis

from serving.online import Item, append
from serving.worker.landing import land_log
from tests.warehouse.small_shop import SmallShop

NOW_MS = 1_500_000_000_000


@dataclass(frozen=True, slots=True)
class Plant:
    """A shop whose events are appended and landed."""

    client: redis.Redis
    shop: SmallShop

    @property
    def key(self) -> str:
        """The project."""
        return self.shop.project.key

    def append(self, *items: Item) -> list[int | None]:
        """Append; the `seq` of each."""
        return [answer.seq for answer in append(self.client, self.key, items, NOW_MS)]

    def land(self) -> int:
        """Land the log; the cut."""
        return land_log(self.client, self.shop.home, self.shop.registry, self.shop.project).cut

    def landed(self, *columns: str) -> list[tuple[object, ...]]:
        """Columns of every event in the lake, by `seq`."""
        files = self.shop.registry.files(self.key)
        paths = [file.absolute(self.shop.home.lake) for file in files]
        frames = [pl.read_parquet(path, glob=False).select("seq", *columns) for path in paths]
        return pl.concat(frames).sort("seq").rows() if frames else []
