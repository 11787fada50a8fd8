"""What Dagster loads: assets from the current catalog, their lineage, and nothing but base assets without one."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from dagster import AssetKey, AssetSpec, Definitions, RunRequest, SkipReason, build_sensor_context

from dsl.catalog import Catalog
from pipelines.definitions import build_definitions
from pipelines.naming import asset_key
from pipelines.workspace import load_workspace
from tests.warehouse.small_shop import CATALOG, SmallShop, open_shop
from warehouse.settings import Home, Settings

BASE = {"events", "identities", "tiles", "profiles", "aggregates", "online_snapshot", "analytics_db", "compaction"}


def loaded(settings: Settings) -> Definitions:
    """The definitions of a home as it is now."""
    return build_definitions(load_workspace(settings))


def keys(definitions: Definitions) -> set[str]:
    """Asset keys as the UI writes them."""
    return {key.to_user_string() for key in definitions.resolve_all_asset_keys()}


def spec(definitions: Definitions, key: str) -> AssetSpec:
    """What is known of one asset before it runs."""
    wanted = AssetKey.from_user_string(key)
    return next(found for found in definitions.resolve_all_asset_specs() if found.key == wanted)


def test_each_trait_segment_and_export_is_an_asset(shop: SmallShop) -> None:
    """The catalog's definitions are assets beside those that are always there."""
    values = {f"traits/{t.key}" for t in CATALOG.traits} | {f"segments/{s.key}" for s in CATALOG.segments}
    exports = {f"exports/{export.name}" for export in CATALOG.exports}
    assert BASE | values | exports == keys(loaded(shop.settings))


def test_one_step_computes_all_traits_and_segments(shop: SmallShop) -> None:
    """Traits and segments belong to one operation, of which any part can be selected."""
    definitions = loaded(shop.settings)
    values = [key for key in keys(definitions) if key.startswith(("traits/", "segments/"))]
    (only,) = {definitions.resolve_assets_def(AssetKey.from_user_string(key)) for key in values}
    assert ("values", True) == (only.op.name, only.can_subset)


def test_lineage_follows_references(shop: SmallShop) -> None:
    """A segment depends on the traits and segments that its expression names."""
    deps = {dep.asset_key.to_user_string() for dep in spec(loaded(shop.settings), "segments/vip").deps}
    assert {"aggregates", "profiles", "segments/buyers", "traits/spend", "traits/plan"} == deps


def test_assets_carry_what_people_wrote(shop: SmallShop) -> None:
    """Description, expression, owner, group and kind of a definition are on its asset."""
    definitions = loaded(shop.settings)
    spend = spec(definitions, "traits/spend")
    assert ("traits", ["ann@example.com"], {"duckdb"}) == (spend.group_name, list(spend.owners), spend.kinds)
    assert spend.description is not None
    assert "Money spent ever" in spend.description
    assert "events.purchase.sum(amount)" in spend.description
    assert ["team:growth"] == list(spec(definitions, "segments/buyers").owners)


def test_schedule_is_stopped_until_somebody_starts_it(shop: SmallShop) -> None:
    """The hourly refresh, the nightly audit and the hourly compaction are there, switched off."""
    names = ("refresh_hourly", "audit_nightly", "compact_hourly")
    found = [loaded(shop.settings).resolve_schedule_def(name) for name in names]
    expected = [(job, "STOPPED") for job in ("refresh", "audit", "compact")]
    assert expected == [(schedule.job_name, schedule.default_status.value) for schedule in found]


def test_compaction_is_a_job_of_its_own(shop: SmallShop) -> None:
    """No refresh compacts; the job `compact` does nothing else, and says how many files there were and are."""
    definitions = loaded(shop.settings)
    compaction = AssetKey("compaction")
    assert compaction not in definitions.resolve_job_def("refresh").asset_layer.executable_asset_keys
    assert {compaction} == set(definitions.resolve_job_def("compact").asset_layer.executable_asset_keys)
    done = definitions.resolve_job_def("compact").execute_in_process()
    (made,) = done.asset_materializations_for_node("compaction")
    assert {"files_before": 10, "files_after": 10, "merged": 0} == {
        name: made.metadata[name].value for name in ("files_before", "files_after", "merged")
    }


def test_many_small_files_ask_for_a_compaction(shop: SmallShop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sensor asks for a run when there are very many, and only then."""
    (sensor,) = loaded(shop.settings).sensors or ()
    with build_sensor_context() as context:
        assert isinstance(sensor(context), SkipReason)
        monkeypatch.setattr("pipelines.definitions.MANY_FILES", 0)
        assert isinstance(sensor(context), RunRequest)


@pytest.mark.parametrize("state", ["no home", "no project", "no catalog"])
def test_base_assets_load_without_definitions(tmp_path: Path, state: str) -> None:
    """Where nothing has been set up yet the definitions load with the assets that are always there."""
    settings = Settings(Home(tmp_path / "home"))
    if state != "no home":
        settings = open_shop(tmp_path / "home").settings
    if state == "no project":
        settings = replace(settings, project="another")
    found = {key.removeprefix("another/") for key in keys(loaded(settings))}
    assert BASE == found
    assert (state == "no home") is not settings.home.path.exists()


def test_other_projects_are_a_key_prefix(shop: SmallShop) -> None:
    """Assets of a project other than `default` begin with its key."""
    shop.registry.create_project("outlet")
    shop.registry.save_catalog("outlet", CATALOG.to_document(), CATALOG.digest())
    found = keys(loaded(replace(shop.settings, project="outlet")))
    assert all(key.startswith("outlet/") for key in found)
    assert "outlet/traits/orders" in found
    assert AssetKey(["outlet", "events"]) == asset_key("outlet", "events")


def test_definitions_follow_the_current_catalog(shop: SmallShop) -> None:
    """Loaded again after a change, the assets are those of the new catalog version."""
    shop.define(Catalog(traits=CATALOG.traits[:1]))
    assert BASE | {"traits/orders"} == keys(loaded(shop.settings))


def test_module_of_the_workspace_loads_from_the_environment(shop: SmallShop) -> None:
    """The module that `workspace.yaml` names holds definitions of the home that `TINYCDP_HOME` names."""
    root = Path(__file__).parents[2]
    (location,) = yaml.safe_load((root / "workspace.yaml").read_text())["load_from"]
    program = f"from {location['python_module']} import defs; print(len(defs.resolve_all_asset_keys()))"
    environment = {**os.environ, "TINYCDP_HOME": str(shop.home.path), "PYTHONPATH": str(root)}
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True, timeout=120
    )
    expected = len(BASE) + len(CATALOG.traits) + len(CATALOG.segments) + len(CATALOG.exports)
    assert str(expected) == ran.stdout.strip()
