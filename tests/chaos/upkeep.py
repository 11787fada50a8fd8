"""A refresh and a compaction in a process of their own, without Dagster: the same calls in a third of the time."""

import time

from dsl.catalog import Catalog
from dsl.check import check_catalog
from serving.online import Fold, connect, embedded
from tests.both_sides.plant import Plant
from tests.warehouse.small_shop import SmallShop
from warehouse.compaction import compact, finished_cut, published_ms, sweep
from warehouse.database import connect as open_warehouse
from warehouse.refresh import use_project
from warehouse.registry import Registry
from warehouse.settings import Settings


def main() -> None:
    """Land, compute, publish, compact, remove what was replaced."""
    settings = Settings.read()
    with Registry(settings.registry_url) as registry:
        project, found = registry.project(settings.project), registry.current_catalog(settings.project)
        assert found is not None
        version, checked = found[0], check_catalog(Catalog.from_document(found[1]))
        client, shop = connect(embedded.embedded_url(settings.home.valkey)), SmallShop(settings, registry, project)
        now_ms = time.time_ns() // 1_000_000
        Plant(client, shop, now_ms, checked, Fold(checked), version).refresh()
        with open_warehouse(settings.home.warehouse) as connection:
            use_project(connection, project.key)
            cut = finished_cut(connection)
        compact(settings.home, registry, project, cut, now_ms, fewest=2)
        sweep(settings.home, registry, project, published_ms(settings.home, project.key) - 1)


if __name__ == "__main__":
    main()
