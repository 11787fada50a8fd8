"""What Dagster loads: the assets of the current catalog version, the job `refresh` and its schedule."""

from dagster import (
    AssetSelection,
    DefaultScheduleStatus,
    Definitions,
    ScheduleDefinition,
    define_asset_job,
    in_process_executor,
)

from pipelines.assets import all_assets
from pipelines.checks import all_checks
from pipelines.workspace import Workspace, load_workspace
from warehouse.settings import Settings

JOB = "refresh"


def build_definitions(workspace: Workspace) -> Definitions:
    """Assets, checks, job and schedule of a project."""
    refresh = define_asset_job(
        JOB, AssetSelection.all(), description="Everything, from what has landed to what is published."
    )
    hourly = ScheduleDefinition(
        name="refresh_hourly", job=refresh, cron_schedule="0 * * * *", default_status=DefaultScheduleStatus.STOPPED
    )
    return Definitions(
        assets=all_assets(workspace),
        asset_checks=all_checks(workspace),
        jobs=[refresh],
        schedules=[hourly],
        # A process a step would cost two seconds each; the steps share one file and run one after the other anyway.
        executor=in_process_executor,
    )


defs = build_definitions(load_workspace(Settings.read()))
