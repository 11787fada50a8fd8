"""Asset checks: cheap ones in SQL, and one suite of Great Expectations."""

from dataclasses import asdict

from dagster import AssetCheckResult, AssetChecksDefinition, asset_check

from dsl.clock import DAY_MS
from pipelines.assets import POOL
from pipelines.metadata import parity_metadata
from pipelines.naming import asset_key
from pipelines.parity import compare
from pipelines.workspace import Workspace
from warehouse.audit import audit_aggregates
from warehouse.columns import count
from warehouse.database import connect
from warehouse.refresh import use_project

_REPEATED_EVENTS = "SELECT count(*) - count(DISTINCT event_id) FROM events"
_INCOMPLETE_PROFILES = """
SELECT count(*) FROM profiles LEFT JOIN traits USING (profile_id) LEFT JOIN aggregates USING (profile_id)
WHERE traits.profile_id IS NULL OR aggregates.profile_id IS NULL
"""


def refresh_checks(workspace: Workspace) -> list[AssetChecksDefinition]:
    """What is checked at every refresh: its cost does not grow with the history."""
    return [_profiles_expected(workspace), _profiles_complete(workspace)]


def audit_checks(workspace: Workspace) -> list[AssetChecksDefinition]:
    """What is checked every night: it goes through all events."""
    return [_event_ids_unique(workspace), _aggregates_as_counted(workspace), _online_as_counted(workspace)]


def _event_ids_unique(workspace: Workspace) -> AssetChecksDefinition:
    @asset_check(asset=asset_key(workspace.settings.project, "events"), pool=POOL)
    def event_ids_unique() -> AssetCheckResult:
        """No event id is in the lake twice."""
        with workspace.warehouse() as connection:
            repeated = count(connection, _REPEATED_EVENTS)
        return AssetCheckResult(passed=repeated == 0, metadata={"repeated": repeated})

    return event_ids_unique


def _profiles_expected(workspace: Workspace) -> AssetChecksDefinition:
    @asset_check(asset=asset_key(workspace.settings.project, "profiles"), pool=POOL)
    def profiles_expected() -> AssetCheckResult:
        """Ids are unique, nobody is seen last before first, everybody has an event (Great Expectations)."""
        # Its import takes seconds: nothing but this check pays for it.
        from pipelines.expectations import validate_profiles

        with workspace.warehouse() as connection:
            validation = validate_profiles(connection)
        return AssetCheckResult(passed=validation.passed, metadata={"failed": list(validation.failed)})

    return profiles_expected


def _aggregates_as_counted(workspace: Workspace) -> AssetChecksDefinition:
    @asset_check(asset=asset_key(workspace.settings.project, "aggregates"), pool=POOL)
    def aggregates_as_counted() -> AssetCheckResult:
        """Every hundredth profile, counted again from its events, has the same aggregates; other ones each time."""
        with workspace.warehouse() as connection:
            audit = audit_aggregates(connection, workspace.checked, workspace.current(connection))
        metadata = {"profiles": audit.profiles, "values": audit.values, "mismatches": audit.mismatches}
        differences = [asdict(difference) for difference in audit.differences]
        return AssetCheckResult(passed=audit.mismatches == 0, metadata={**metadata, "differences": differences})

    return aggregates_as_counted


def _online_as_counted(workspace: Workspace) -> AssetChecksDefinition:
    @asset_check(asset=asset_key(workspace.settings.project, "online_snapshot"))
    def online_as_counted() -> AssetCheckResult:
        """A hundredth of all profiles, asked of the online store, has the values that are counted from its events."""
        with connect(workspace.settings.home.analytics, read_only=True) as connection:
            use_project(connection, workspace.settings.project)
            profiles = count(connection, "SELECT count(*) FROM profiles")
        with workspace.registry() as registry, workspace.online() as client:
            project, today = registry.project(workspace.settings.project), workspace.now_ms() // DAY_MS
            # Half are drawn from each side; every day other ones.
            asked = 2 * max(1, profiles // 100)
            found = compare(workspace.settings, registry, client, project, workspace.checked, asked, seed=today)
        return AssetCheckResult(passed=found.agrees, metadata=parity_metadata(found))

    return online_as_counted


def _profiles_complete(workspace: Workspace) -> AssetChecksDefinition:
    @asset_check(asset=asset_key(workspace.settings.project, "analytics_db"))
    def profiles_complete() -> AssetCheckResult:
        """In the published file every profile has its row in `traits` and `aggregates`."""
        with connect(workspace.settings.home.analytics, read_only=True) as connection:
            use_project(connection, workspace.settings.project)
            incomplete = count(connection, _INCOMPLETE_PROFILES)
        return AssetCheckResult(passed=incomplete == 0, metadata={"incomplete": incomplete})

    return profiles_complete
