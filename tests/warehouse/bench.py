"""A small shop and its open warehouse, refreshed without Dagster."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from dsl.bases import together
from dsl.check import CheckedCatalog
from tests.warehouse.small_shop import NOW_MS, SmallShop
from warehouse.aggregates import build_aggregates
from warehouse.database import Connection
from warehouse.identities import update_identities
from warehouse.profiles import update_profiles
from warehouse.refresh import Refresh, begin_refresh, finish_refresh
from warehouse.sources import update_sources
from warehouse.tiles import update_tiles
from warehouse.values import build_values


@dataclass(frozen=True, slots=True)
class Bench:
    """A small shop and its open warehouse."""

    shop: SmallShop
    connection: Connection

    def begin(self, checked: CheckedCatalog, now_ms: int = NOW_MS, before: CheckedCatalog | None = None) -> Refresh:
        """A refresh with everything before traits and segments; tiles of the catalog before are kept."""
        shop, kept = self.shop, together(checked, before)
        refresh = begin_refresh(self.connection, shop.registry, shop.project, shop.home.lake, kept, 1, now_ms)
        self.build_base(checked, refresh, before)
        return refresh

    def build_base(self, checked: CheckedCatalog, refresh: Refresh, before: CheckedCatalog | None = None) -> None:
        """Sources, identities, tiles, profiles and aggregates."""
        files = partial(self.shop.registry.files, self.shop.project.key, refresh.cut)
        lake = self.shop.home.lake
        update_sources(self.connection, refresh, files, lake)
        records = self.shop.registry.identity_records(self.shop.project.key)
        update_identities(self.connection, refresh, files, lake, records)
        update_tiles(self.connection, together(checked, before), refresh, files, lake)
        update_profiles(self.connection, checked, refresh)
        build_aggregates(self.connection, checked, refresh)

    def run(self, checked: CheckedCatalog, now_ms: int = NOW_MS, keys: Sequence[str] | None = None) -> Refresh:
        """A whole refresh; `keys` are the traits and segments that are computed, all by default."""
        refresh = self.begin(checked, now_ms)
        build_values(self.connection, checked, checked.order if keys is None else keys, refresh)
        finish_refresh(self.connection, refresh, now_ms)
        return refresh

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """What a statement gives."""
        return self.connection.execute(statement).fetchall()

    def by_user(self, table: str, column: str) -> dict[str, Any]:
        """A column of a table of profiles, by user id."""
        join = "" if table == "profiles" else f"JOIN {table} USING (profile_id)"
        return dict(self.rows(f"SELECT user_id, {column} FROM profiles {join} ORDER BY user_id"))

    def members(self, segment: str) -> list[str]:
        """User ids of a segment's members."""
        found = self.rows(
            "SELECT user_id FROM segment_members JOIN profiles USING (profile_id) "
            f"WHERE segment = '{segment}' ORDER BY user_id"
        )
        return [user for (user,) in found]
