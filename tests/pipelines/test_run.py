"""Refreshes through Dagster, in process, on a real lake, a real Valkey and a persistent instance."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from dagster import AssetKey, DagsterInstance, DagsterRunStatus

from dsl.catalog import Catalog, Trait
from dsl.check import check_catalog
from pipelines.definitions import AUDIT, build_definitions
from pipelines.instance import prepare_instance
from pipelines.run import QUIET, RefreshEvent, RefreshReport, refresh
from pipelines.workspace import load_workspace
from serving.online import connect as connect_online
from serving.online import embedded
from serving.online.fold import Fold
from serving.online.reading import current_catalog, look_up, snapshot
from tests.pipelines.conftest import filled_shop
from tests.warehouse.small_shop import CATALOG, SmallShop, event, open_shop
from warehouse.database import connect
from warehouse.exceptions import RefreshError
from warehouse.settings import Home

ALL_ASSETS = 7 + len(CATALOG.traits) + len(CATALOG.segments) + len(CATALOG.exports)
CHECKS = 2


@dataclass(frozen=True, slots=True)
class Refreshed:
    """A shop after a first refresh, and all that was told during it."""

    shop: SmallShop
    report: RefreshReport
    events: tuple[RefreshEvent, ...]


@pytest.fixture(scope="module")
def refreshed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Refreshed]:
    """One refreshed shop for the tests that only look, or that refresh parts of it."""
    shop, events = filled_shop(tmp_path_factory), list[RefreshEvent]()
    report = refresh(shop.settings, on_event=events.append)
    yield Refreshed(shop, report, tuple(events))
    embedded.stop(shop.home.valkey)


def instance_of(shop: SmallShop) -> DagsterInstance:
    """The Dagster instance of the shop's home, as the UI opens it."""
    return DagsterInstance.from_config(str(shop.home.dagster))


def metadata(shop: SmallShop, key: str) -> dict[str, Any]:
    """Metadata of the newest materialisation of an asset."""
    with instance_of(shop) as instance:
        entry = instance.get_latest_materialization_event(AssetKey.from_user_string(key))
    assert entry is not None
    assert entry.asset_materialization is not None
    return {name: value.value for name, value in entry.asset_materialization.metadata.items()}


def published(shop: SmallShop, statement: str) -> list[tuple[Any, ...]]:
    """What a statement gives on the published tables."""
    with connect(shop.home.analytics, read_only=True) as connection:
        return connection.execute(statement).fetchall()


def test_everything_is_materialised(refreshed: Refreshed) -> None:
    """One refresh makes every asset, in the order of the lineage, and every check holds."""
    report = refreshed.report
    assert ALL_ASSETS == len(set(report.assets)) == len(report.assets)
    assert ("events", "analytics_db") == (report.assets[0], report.assets[-1])
    assert () == report.failed_checks


def test_progress_counts_to_the_end(refreshed: Refreshed) -> None:
    """Each asset and each check is one step of the total, told as it happens."""
    ended = [told for told in refreshed.events if told.state == "done"]
    assert list(range(1, ALL_ASSETS + CHECKS + 1)) == [told.done for told in ended]
    assert {ALL_ASSETS + CHECKS} == {told.total for told in refreshed.events}
    assert {"traits/orders", "profiles: profiles_expected"} <= {told.name for told in ended}
    assert RefreshEvent("running", "events", 0, ALL_ASSETS + CHECKS) == refreshed.events[0]


def test_runs_are_in_the_instance(refreshed: Refreshed) -> None:
    """Whoever opens the UI on the home sees the run and its state."""
    with instance_of(refreshed.shop) as instance:
        run = instance.get_run_by_id(refreshed.report.run_id)
    assert run is not None
    assert ("refresh", DagsterRunStatus.SUCCESS) == (run.job_name, run.status)


def test_instance_has_the_settings_that_came_with_the_program(refreshed: Refreshed) -> None:
    """Nothing is reported to anybody, and steps on the warehouse go one by one."""
    with instance_of(refreshed.shop) as instance:
        assert not instance.telemetry_enabled
        assert 1 == instance.get_concurrency_config().pool_config.default_pool_limit


def test_trait_shows_what_it_is(refreshed: Refreshed) -> None:
    """A trait's materialisation has its row counts, expression, SQL and first rows."""
    shown = metadata(refreshed.shop, "traits/spend")
    assert (5, 5, 1.0) == (shown["dagster/row_count"], shown["with_value"], shown["with_value_share"])
    assert "events.purchase.sum(amount)" in shown["expression"]
    assert shown["sql"].startswith("```sql\nWITH")
    assert 2 + 5 == len(shown["preview"].splitlines())


def test_segment_shows_its_size_and_change(refreshed: Refreshed) -> None:
    """A segment's materialisation has its size, share, change and a plot of its sizes."""
    shown = metadata(refreshed.shop, "segments/buyers")
    assert (3, 0.6, 3) == (shown["dagster/row_count"], shown["share"], shown["change"])
    assert shown["sizes"].startswith("![3](data:image/svg+xml;base64,")
    assert "orders >= 1" in shown["expression"]


def test_addresses_are_not_shown(shop: SmallShop) -> None:
    """A preview hides what could be an e-mail address."""
    shop.define(replace(CATALOG, traits=(*CATALOG.traits, Trait("contact", "profile.contact", type="string"))))
    shop.land(event("contact", "ann", 1, "identify", attributes='{"contact": "ann@example.com"}'))
    refresh(shop.settings)
    assert "…@…" in metadata(shop, "traits/contact")["preview"]
    with instance_of(shop) as instance:
        run = instance.get_runs()[0]
        assert not any("ann@example.com" in str(entry) for entry in instance.all_logs(run.run_id))


def test_online_store_has_the_states(refreshed: Refreshed) -> None:
    """After a refresh decisions find profiles by identifier, at the refresh's instant, with its catalog."""
    shop, report = refreshed.shop, refreshed.report
    client = connect_online(embedded.embedded_url(shop.home.valkey))
    reading, taken, document = (
        look_up(client, "default", "user:ann"),
        snapshot(client, "default"),
        current_catalog(client, "default"),
    )
    assert taken is not None
    assert document is not None
    state = Fold(check_catalog(Catalog.from_document(document))).state(reading)
    assert 3_000_000 == state.aggregates["events.purchase.count"]
    assert (report.refresh.cut, report.refresh.t_ms, 1) == (taken.cut, taken.as_of_ms, reading.catalog_version)
    client.close()


def test_exports_are_written(refreshed: Refreshed) -> None:
    """Each export is a file with its manifest, and its asset says where."""
    names = sorted(path.name for path in refreshed.shop.home.exports.iterdir())
    assert ["buyers.csv", "buyers.csv.manifest.json", "vip_people.parquet", "vip_people.parquet.manifest.json"] == names
    shown = metadata(refreshed.shop, "exports/buyers")
    assert (3, str(refreshed.shop.home.exports / "buyers.csv")) == (shown["dagster/row_count"], shown["path"])


def test_nothing_is_printed(shop: SmallShop) -> None:
    """Dagster's own log lines stay out of the terminal: a progress bar can be drawn."""
    program = (
        "from warehouse.settings import Settings; from pipelines.run import refresh; "
        "print(len(refresh(Settings.read(), ['events']).assets))"
    )
    ran = run_program(shop, program)
    assert (0, "1\n", "") == (ran.returncode, ran.stdout, ran.stderr)


def run_program(shop: SmallShop, program: str) -> "subprocess.CompletedProcess[str]":
    """A program in a process of its own, on the shop's home."""
    root = Path(__file__).parents[2]
    environment = {**os.environ, "TINYCDP_HOME": str(shop.home.path), "PYTHONPATH": str(root)}
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False, timeout=120
    )


def test_part_continues_the_refresh(refreshed: Refreshed) -> None:
    """A run of some assets makes those only, at the same instant and cut."""
    shop = refreshed.shop
    sizes = published(shop, "SELECT count(*) FROM segment_sizes")
    report = refresh(shop.settings, ["traits/orders", "segments/vip"])
    assert {"traits/orders", "segments/vip"} == set(report.assets)
    assert report.refresh == refreshed.report.refresh
    assert sizes == published(shop, "SELECT count(*) FROM segment_sizes")


def test_unknown_asset_is_answered_with_the_nearest(refreshed: Refreshed) -> None:
    """A selection that does not exist is refused before anything runs."""
    with pytest.raises(RefreshError, match="there is no asset `traits/order`: the nearest is `traits/orders`"):
        refresh(refreshed.shop.settings, ["traits/order"])


def test_second_refresh_changes_nothing_but_the_instant(shop: SmallShop) -> None:
    """Without new events a refresh gives the same members, entered once, and one more row in the ledger."""
    first = refresh(shop.settings)
    members = published(shop, "SELECT * FROM segment_members ORDER BY ALL")
    profiles = published(shop, "SELECT * FROM profiles ORDER BY ALL")
    second = refresh(shop.settings)
    assert (1, 2, first.refresh.cut) == (first.refresh.refresh_id, second.refresh.refresh_id, second.refresh.cut)
    assert members == published(shop, "SELECT * FROM segment_members ORDER BY ALL")
    assert profiles == published(shop, "SELECT * FROM profiles ORDER BY ALL")
    assert [(0, 0)] == published(shop, "SELECT DISTINCT entered, exited FROM segment_sizes WHERE refresh_id = 2")
    assert "![3, 3](" in metadata(shop, "segments/buyers")["sizes"]


def test_failure_is_one_sentence_and_leaves_what_was_published(shop: SmallShop) -> None:
    """An asset that fails stops the run with its cause; analysts go on with the tables of the last good refresh."""
    refresh(shop.settings)
    shop.land(event("more", "bob", 1, amount=900))
    nowhere = replace(shop.settings, redis_url="redis://127.0.0.1:1/0")
    told: list[RefreshEvent] = []
    with pytest.raises(RefreshError, match=r"^`events` failed: the online store at .* does not answer"):
        refresh(nowhere, on_event=told.append)
    assert RefreshEvent("failed", "events", told[-1].done, told[-1].total) == told[-1]
    assert [(20,)] == published(shop, "SELECT spend FROM traits JOIN profiles USING (profile_id) WHERE user_id = 'bob'")
    refresh(shop.settings)
    assert [(920,)] == published(
        shop, "SELECT spend FROM traits JOIN profiles USING (profile_id) WHERE user_id = 'bob'"
    )


def test_check_that_does_not_hold_is_reported(shop: SmallShop) -> None:
    """Broken tables fail a check by name; the run itself goes through."""
    refresh(shop.settings)
    with connect(shop.home.warehouse) as connection:
        connection.execute("DELETE FROM traits WHERE orders = 3")
    told: list[RefreshEvent] = []
    report = refresh(shop.settings, ["analytics_db"], on_event=told.append)
    assert ("analytics_db: profiles_complete",) == report.failed_checks
    assert RefreshEvent("failed", "analytics_db: profiles_complete", 2, 2) == told[-1]


def test_audit_compares_tables_and_store_with_the_events(shop: SmallShop) -> None:
    """The nightly job passes after a refresh; a base that is not what its events say fails its check by name."""
    refresh(shop.settings)
    job = build_definitions(load_workspace(shop.settings)).resolve_job_def(AUDIT)

    def failed() -> list[str]:
        with instance_of(shop) as instance:
            result = job.execute_in_process(instance=instance, run_config=QUIET)
        checks = result.get_asset_check_evaluations()
        assert 3 == len(checks)
        return [check.check_name for check in checks if not check.passed]

    assert [] == failed()
    client = connect_online(embedded.embedded_url(shop.home.valkey))
    for user in ("bob", "cem", "dee", "eva"):
        client.copy("{default}:base:user:ann", f"{{default}}:base:user:{user}", replace=True)
    client.close()
    assert ["online_as_counted"] == failed()


def test_killed_refresh_holds_nobody_up(shop: SmallShop) -> None:
    """After a refresh was killed in the middle of a step, the next one runs, and the dead run is marked as failed."""
    program = (
        "import os, signal; from warehouse.settings import Settings; from pipelines.run import refresh\n"
        "def kill(event):\n"
        "    if event.name == 'values': os.kill(os.getpid(), signal.SIGKILL)\n"
        "refresh(Settings.read(), on_event=kill)"
    )
    assert -signal.SIGKILL == run_program(shop, program).returncode
    started = time.monotonic()
    report = refresh(shop.settings)
    assert time.monotonic() - started < 60
    assert ALL_ASSETS == len(report.assets)
    with instance_of(shop) as instance:
        states = [run.status for run in instance.get_runs()]
    assert [DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE] == states


def test_interrupted_refresh_ends_at_once(shop: SmallShop) -> None:
    """Ctrl-C ends a refresh as it ends any program; its run is over and holds no place in the pool."""

    def interrupt(told: RefreshEvent) -> None:
        if told.name == "values":
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        refresh(shop.settings, on_event=interrupt)
    with instance_of(shop) as instance:
        assert [DagsterRunStatus.FAILURE] == [run.status for run in instance.get_runs()]
        assert 0 == instance.event_log_storage.get_concurrency_info("warehouse").active_slot_count
    assert not shop.home.analytics.exists()


def test_changed_definitions_need_a_whole_refresh(shop: SmallShop) -> None:
    """A part cannot continue a refresh of other definitions: it says so instead of mixing versions."""
    refresh(shop.settings, ["events", "identities", "tiles", "profiles", "aggregates"])
    shop.define(replace(CATALOG, traits=(*CATALOG.traits, Trait("visits", "events.visit.count"))))
    with pytest.raises(RefreshError, match="version 1 of the definitions, and 2 is loaded: refresh everything"):
        refresh(shop.settings, ["traits/visits"])


def test_nothing_landed_and_nothing_defined(home: Home) -> None:
    """A project that has just been made can be refreshed: empty tables are published."""
    shop = open_shop(home.path)
    report = refresh(shop.settings)
    assert (7, ()) == (len(report.assets), report.failed_checks)
    assert [(0, 0)] == published(shop, "SELECT (SELECT count(*) FROM events), (SELECT count(*) FROM traits)")


def test_project_that_is_not_there(home: Home) -> None:
    """Without a project a refresh fails in one sentence."""
    shop = open_shop(home.path)
    with pytest.raises(RefreshError, match="`other/events` failed: there is no project `other`"):
        refresh(replace(shop.settings, project="other"))


def test_settings_of_a_home_stay(tmp_path: Path) -> None:
    """Somebody's own `dagster.yaml` is not written over."""
    home = open_shop(tmp_path / "home").home
    own = prepare_instance(home) / "dagster.yaml"
    own.write_text("telemetry:\n  enabled: false\n")
    prepare_instance(home)
    assert "telemetry:\n  enabled: false\n" == own.read_text()
