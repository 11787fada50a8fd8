"""The assets: each is one library call and its metadata.

`events` opens a refresh; every step after it works on the same `(t, cut)`: a run of some assets continues the newest.
"""

from collections.abc import Iterator
from dataclasses import asdict
from functools import partial

from dagster import (
    AssetExecutionContext,
    AssetKey,
    AssetsDefinition,
    AssetSpec,
    MaterializeResult,
    asset,
    multi_asset,
)

from dsl.bases import together
from dsl.catalog import Export
from dsl.check import CheckedValue
from exports.files import write_audience
from exports.plan import plan_audience
from pipelines.metadata import (
    file_metadata,
    folding_metadata,
    identity_metadata,
    published_metadata,
    refresh_metadata,
    table_metadata,
    value_metadata,
)
from pipelines.naming import asset_key, definition_description, owners, value_path
from pipelines.publication import publish
from pipelines.workspace import Workspace
from warehouse.aggregates import build_aggregates
from warehouse.analytics import publish_analytics
from warehouse.comments import comment_tables
from warehouse.compaction import compact, finished_cut
from warehouse.identities import update_identities
from warehouse.profiles import update_profiles
from warehouse.refresh import finish_refresh
from warehouse.sources import update_sources
from warehouse.tiles import update_tiles
from warehouse.values import align_values, build_values, described

POOL = "warehouse"
"""Steps that open `warehouse.duckdb`: one at a time."""
COMPACTION = "compaction"
"""The asset that no refresh materialises."""


def all_assets(workspace: Workspace) -> list[AssetsDefinition]:
    """Every asset of the project, from events to publication."""
    exports = [_export(workspace, export) for export in workspace.checked.catalog.exports]
    values = [_values(workspace)] if workspace.checked.values else []
    return [
        _events(workspace),
        _identities(workspace),
        _tiles(workspace),
        _profiles(workspace),
        _aggregates(workspace),
        *values,
        *exports,
        _online_snapshot(workspace),
        _analytics_db(workspace),
        _compaction(workspace),
    ]


def value_keys(workspace: Workspace) -> list[AssetKey]:
    """Keys of all traits and segments, each after those it refers to."""
    return [_key(workspace, *value_path(value)) for value in workspace.checked.values.values()]


def _key(workspace: Workspace, *path: str) -> AssetKey:
    return asset_key(workspace.settings.project, *path)


def _events(workspace: Workspace) -> AssetsDefinition:
    @asset(key=_key(workspace, "events"), group_name="base", kinds={"duckdb", "parquet"}, pool=POOL)
    def events() -> MaterializeResult[None]:
        """Everything that was appended, landed: the view `events` over the lake, up to the cut of a new refresh."""
        workspace.land()
        with workspace.warehouse() as connection:
            refresh = workspace.begin(connection)
            return MaterializeResult(metadata={**table_metadata(connection, "events"), **refresh_metadata(refresh)})

    return events


def _compaction(workspace: Workspace) -> AssetsDefinition:
    @asset(
        key=_key(workspace, COMPACTION),
        deps=[_key(workspace, "events")],
        group_name="base",
        kinds={"parquet"},
        pool=POOL,
    )
    def compaction() -> MaterializeResult[None]:
        """The small files of each day as one, sorted; what nobody can read any more is removed."""
        with workspace.warehouse() as connection:
            cut = finished_cut(connection)
        with workspace.registry() as registry:
            project = registry.project(workspace.settings.project)
            found = compact(workspace.settings.home, registry, project, cut, project.clock.now_ms())
        return MaterializeResult(metadata={**asdict(found), "cut": cut})

    return compaction


def _identities(workspace: Workspace) -> AssetsDefinition:
    @asset(
        key=_key(workspace, "identities"),
        deps=[_key(workspace, "events")],
        group_name="base",
        kinds={"duckdb"},
        pool=POOL,
    )
    def identities() -> MaterializeResult[None]:
        """What each source has sent last, which profile it belongs to, and since when in the log."""
        with workspace.warehouse() as connection:
            refresh = workspace.current(connection)
            files, lake = partial(workspace.files, refresh.cut), workspace.settings.home.lake
            with workspace.registry() as registry:
                records = registry.identity_records(workspace.settings.project)
            update_sources(connection, refresh, files, lake)
            found = update_identities(connection, refresh, files, lake, records)
            return MaterializeResult(metadata={**table_metadata(connection, "identities"), **identity_metadata(found)})

    return identities


def _tiles(workspace: Workspace) -> AssetsDefinition:
    @asset(
        key=_key(workspace, "tiles"), deps=[_key(workspace, "events")], group_name="base", kinds={"duckdb"}, pool=POOL
    )
    def tiles() -> MaterializeResult[None]:
        """What every source has done, hop by hop, for each base aggregate: new events are folded into it."""
        with workspace.warehouse() as connection:
            refresh = workspace.current(connection)
            files, kept = partial(workspace.files, refresh.cut), together(workspace.checked, workspace.before())
            found = update_tiles(connection, kept, refresh, files, workspace.settings.home.lake)
            return MaterializeResult(metadata={**table_metadata(connection, "tiles"), **folding_metadata(found)})

    return tiles


def _profiles(workspace: Workspace) -> AssetsDefinition:
    @asset(
        key=_key(workspace, "profiles"),
        deps=[_key(workspace, "events"), _key(workspace, "identities")],
        group_name="base",
        kinds={"duckdb"},
        pool=POOL,
    )
    def profiles() -> MaterializeResult[None]:
        """Everybody with an event from outside: identifiers, first and last sight, attributes."""
        with workspace.warehouse() as connection:
            written = update_profiles(connection, workspace.checked, workspace.current(connection))
            shown = ("profile_id", "first_seen_at", "last_seen_at", "events")
            return MaterializeResult(metadata={**table_metadata(connection, "profiles", shown), "written": written})

    return profiles


def _aggregates(workspace: Workspace) -> AssetsDefinition:
    @asset(
        key=_key(workspace, "aggregates"),
        deps=[_key(workspace, "tiles"), _key(workspace, "identities"), _key(workspace, "profiles")],
        group_name="base",
        kinds={"duckdb"},
        pool=POOL,
    )
    def aggregates() -> MaterializeResult[None]:
        """Every count, sum and instant that the definitions read, from tiles, of whom something has happened to."""
        with workspace.warehouse() as connection:
            refresh = workspace.current(connection)
            statement = build_aggregates(connection, workspace.checked, refresh)
            align_values(connection, workspace.checked, refresh)
            return MaterializeResult(metadata=table_metadata(connection, "aggregates", ("*",), statement))

    return aggregates


def _values(workspace: Workspace) -> AssetsDefinition:
    specs = [_value_spec(workspace, value) for value in workspace.checked.values.values()]

    @multi_asset(name="values", specs=specs, can_subset=True, pool=POOL)
    def values(context: AssetExecutionContext) -> Iterator[MaterializeResult[None]]:
        """All selected traits and segments in one pass, for whom something has happened to."""
        chosen = [spec.key for spec in specs if spec.key in context.selected_asset_keys]
        with workspace.warehouse() as connection:
            refresh = workspace.current(connection)
            computed = build_values(connection, workspace.checked, [key.path[-1] for key in chosen], refresh)
            for key in chosen:
                metadata = value_metadata(connection, workspace.checked, key.path[-1])
                yield MaterializeResult(asset_key=key, metadata={**metadata, "profiles_computed": computed})

    return values


def _value_spec(workspace: Workspace, value: CheckedValue) -> AssetSpec:
    catalog = workspace.checked.catalog
    owner = {d.key: d.owner for d in catalog.traits} | {d.key: d.owner for d in catalog.segments}
    group, _ = value_path(value)
    referred = [_key(workspace, *value_path(workspace.checked.values[name])) for name in value.references]
    return AssetSpec(
        _key(workspace, *value_path(value)),
        deps=[_key(workspace, "aggregates"), _key(workspace, "profiles"), *referred],
        description=definition_description(described(workspace.checked)[value.key], value.text),
        group_name=group,
        owners=owners(owner[value.key]),
        tags={"tinycdp/kind": value.kind, "tinycdp/type": value.type},
        kinds={"duckdb"},
    )


def _export(workspace: Workspace, export: Export) -> AssetsDefinition:
    traits = [_key(workspace, "traits", trait.key) for trait in workspace.checked.catalog.traits]

    @asset(
        key=_key(workspace, "exports", export.name),
        deps=[_key(workspace, "segments", export.segment), _key(workspace, "profiles"), *traits],
        description=export.description or f"Members of the segment `{export.segment}` as a file.",
        group_name="exports",
        kinds={export.format},
        pool=POOL,
    )
    def audience_file() -> MaterializeResult[None]:
        with workspace.warehouse() as connection:
            plan = plan_audience(connection, export, workspace.current(connection))
            return MaterializeResult(
                metadata=file_metadata(write_audience(connection, plan, workspace.settings.home.exports))
            )

    return audience_file


def _online_snapshot(workspace: Workspace) -> AssetsDefinition:
    @asset(
        key=_key(workspace, "online_snapshot"),
        deps=[_key(workspace, "aggregates"), _key(workspace, "profiles"), *value_keys(workspace)],
        group_name="publication",
        kinds={"redis"},
        pool=POOL,
    )
    def online_snapshot() -> MaterializeResult[None]:
        """Tiles and attributes of what has changed, the definitions and the API keys, for decisions."""
        project = workspace.settings.project
        with workspace.warehouse() as connection, workspace.online() as client:
            refresh = workspace.current(connection)
            workspace.publish_project(client)
            snapshot, before = workspace.snapshot(refresh), workspace.before()
            log, checked = partial(workspace.log, client), workspace.checked
            found = publish(connection, client, project, snapshot, checked, refresh, before=before, log=log)
            return MaterializeResult(metadata={**published_metadata(found), **refresh_metadata(refresh)})

    return online_snapshot


def _analytics_db(workspace: Workspace) -> AssetsDefinition:
    exports = [_key(workspace, "exports", export.name) for export in workspace.checked.catalog.exports]

    @asset(
        key=_key(workspace, "analytics_db"),
        deps=[_key(workspace, "online_snapshot"), *value_keys(workspace), *exports],
        group_name="publication",
        kinds={"duckdb"},
        pool=POOL,
    )
    def analytics_db() -> MaterializeResult[None]:
        """All tables, commented, as a read-only DuckDB file that is replaced by rename."""
        target = workspace.settings.home.analytics
        with workspace.warehouse() as connection:
            refresh = workspace.current(connection)
            comment_tables(connection, workspace.checked)
            finish_refresh(connection, refresh, workspace.now_ms())
            size = publish_analytics(connection, target)
            return MaterializeResult(metadata={"path": str(target), "bytes": size, **refresh_metadata(refresh)})

    return analytics_db
