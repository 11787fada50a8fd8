"""What Dagster loads: the assets of the current catalog version, the jobs over them, their schedules, a sensor."""

from dagster import (
    AssetSelection,
    DefaultScheduleStatus,
    Definitions,
    RunRequest,
    ScheduleDefinition,
    SensorDefinition,
    SkipReason,
    define_asset_job,
    in_process_executor,
    sensor,
)

from pipelines.assets import COMPACTION, all_assets
from pipelines.checks import audit_checks, refresh_checks
from pipelines.naming import asset_key
from pipelines.workspace import Workspace, load_workspace
from warehouse.settings import Settings

JOB = "refresh"
AUDIT = "audit"
COMPACT = "compact"
MANY_FILES = 512
"""Small files from which on they are merged at once, and not at the next hour."""


def build_definitions(workspace: Workspace) -> Definitions:
    """Assets, checks, jobs, schedules and the sensor of a project."""
    audits = audit_checks(workspace)
    audited = AssetSelection.checks(*audits)
    compacted = AssetSelection.assets(asset_key(workspace.settings.project, COMPACTION))
    refresh = define_asset_job(
        JOB,
        AssetSelection.all() - audited - compacted,
        description="Everything, from what has landed to what is published.",
    )
    audit = define_asset_job(
        AUDIT, audited, description="Tables and online store against the events themselves: an alarm is a failed check."
    )
    compact = define_asset_job(COMPACT, compacted, description="The small files of each day of the lake become one.")
    hourly = ScheduleDefinition(
        name="refresh_hourly", job=refresh, cron_schedule="0 * * * *", default_status=DefaultScheduleStatus.STOPPED
    )
    nightly = ScheduleDefinition(
        name="audit_nightly", job=audit, cron_schedule="30 3 * * *", default_status=DefaultScheduleStatus.STOPPED
    )
    tidy = ScheduleDefinition(
        name="compact_hourly", job=compact, cron_schedule="20 * * * *", default_status=DefaultScheduleStatus.STOPPED
    )
    return Definitions(
        assets=all_assets(workspace),
        asset_checks=[*refresh_checks(workspace), *audits],
        jobs=[refresh, audit, compact],
        schedules=[hourly, nightly, tidy],
        sensors=[_many_files(workspace)],
        # A process a step would cost two seconds each; the steps share one file and run one after the other anyway.
        executor=in_process_executor,
    )


def _many_files(workspace: Workspace) -> SensorDefinition:
    # Files of events that no refresh has seen yet stay as they are: asking more often would only launch idle runs.
    @sensor(name="compact_when_many", job_name=COMPACT, minimum_interval_seconds=600)
    def compact_when_many() -> RunRequest | SkipReason:
        """Merges small files as soon as there are very many."""
        small = workspace.small_files()
        if small < MANY_FILES:
            return SkipReason(f"{small} small files: fewer than {MANY_FILES}")
        return RunRequest()

    return compact_when_many


defs = build_definitions(load_workspace(Settings.read()))
