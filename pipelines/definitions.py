"""What Dagster loads: the assets of the current catalog version, the jobs `refresh` and `audit`, their schedules."""

from dagster import (
    AssetSelection,
    DefaultScheduleStatus,
    Definitions,
    ScheduleDefinition,
    define_asset_job,
    in_process_executor,
)

from pipelines.assets import all_assets
from pipelines.checks import audit_checks, refresh_checks
from pipelines.workspace import Workspace, load_workspace
from warehouse.settings import Settings

JOB = "refresh"
AUDIT = "audit"


def build_definitions(workspace: Workspace) -> Definitions:
    """Assets, checks, jobs and schedules of a project."""
    audits = audit_checks(workspace)
    audited = AssetSelection.checks(*audits)
    refresh = define_asset_job(
        JOB, AssetSelection.all() - audited, description="Everything, from what has landed to what is published."
    )
    audit = define_asset_job(
        AUDIT, audited, description="Tables and online store against the events themselves: an alarm is a failed check."
    )
    hourly = ScheduleDefinition(
        name="refresh_hourly", job=refresh, cron_schedule="0 * * * *", default_status=DefaultScheduleStatus.STOPPED
    )
    nightly = ScheduleDefinition(
        name="audit_nightly", job=audit, cron_schedule="30 3 * * *", default_status=DefaultScheduleStatus.STOPPED
    )
    return Definitions(
        assets=all_assets(workspace),
        asset_checks=[*refresh_checks(workspace), *audits],
        jobs=[refresh, audit],
        schedules=[hourly, nightly],
        # A process a step would cost two seconds each; the steps share one file and run one after the other anyway.
        executor=in_process_executor,
    )


defs = build_definitions(load_workspace(Settings.read()))
