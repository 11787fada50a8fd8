"""Commands on definitions: check, apply, and the SQL of an expression."""

from pathlib import Path

from dsl.check import CheckedCatalog, check_catalog
from dsl.clock import Clock, Zone, format_instant, parse_instant
from dsl.diagnostics import Diagnostic
from dsl.documents.definitions import Loaded, load_directory
from dsl.failure import WrongUse
from dsl.nearest import nearest
from dsl.observed import Observed
from dsl.render import to_json
from tinycdp.output import Output
from tinycdp.workspace import Workspace
from warehouse.settings import Settings

_KINDS = ("traits", "features", "segments", "flags", "exports")


def load_checked(folder: Path, observed: Observed | None = None) -> tuple[Loaded, CheckedCatalog]:
    """The definitions in a folder, checked whole.

    Args:
        observed: what events have held so far, to warn of names that are not in it.

    Raises:
        DefinitionError: everything that is wrong with them.
    """
    loaded = load_directory(folder)
    return loaded, check_catalog(loaded.catalog, loaded.sources, observed)


def run_check(settings: Settings, output: Output, paths: list[str]) -> None:
    """Checks the folder that holds the paths; names of one file may be used in another, so all are read."""
    folders = sorted({_folder(path) for path in paths})
    observed = Workspace(settings).observed()
    totals = dict.fromkeys((*_KINDS, "aggregates"), 0)
    warnings: list[Diagnostic] = []
    for folder in folders:
        loaded, checked = load_checked(folder, observed)
        for name in _KINDS:
            totals[name] += len(getattr(loaded.catalog, name))
        totals["aggregates"] += len(checked.aggregates)
        warnings += checked.warnings
    output.warn(warnings)
    output.result({"ok": True, "diagnostics": [to_json(warning) for warning in warnings], **totals})
    counts = ", ".join(f"{count} {name[:-1] if count == 1 else name}" for name, count in totals.items())
    warned = f"; {len(warnings)} warning{'s' if len(warnings) > 1 else ''}" if warnings else ""
    output.lines(f"ok: {counts}{warned}")


def run_apply(settings: Settings, output: Output, folder: str, timezone: str) -> None:
    """Writes a new catalog version unless the current one is the same."""
    workspace = Workspace(settings)
    loaded, checked = load_checked(_folder(folder), workspace.observed())
    output.warn(checked.warnings)
    with workspace.registry() as registry:
        workspace.ensure_project(registry, timezone)
        version = workspace.apply(registry, loaded.catalog)
        deployed = version.created and _deployed(workspace, output, *workspace.checked(registry))
    found = {"version": version.number, "created": version.created, "aggregates": len(checked.aggregates)}
    output.result({**found, "deployed": deployed})
    if deployed:
        output.lines(
            f"catalog version {version.number} is current, and decisions use it: `tinycdp refresh` computes its tables"
        )
    elif version.created:
        output.lines(f"catalog version {version.number} is current; `tinycdp refresh` computes and publishes it")
    else:
        output.lines(f"nothing changed: version {version.number} holds the same definitions")


def _deployed(workspace: Workspace, output: Output, version: int, checked: CheckedCatalog) -> bool:
    """Whether decisions use a new version from here on; a store that is away hears of it at the next refresh."""
    from serving.online.exceptions import OnlineStoreError

    try:
        return workspace.deploy(version, checked)
    except OnlineStoreError as error:
        output.say(str(error))
        return False


def run_sql(settings: Settings, output: Output, expression: str, as_of: str | None) -> None:
    """Prints the statement of an expression, or of a definition of the current catalog."""
    from dsl.sql import expression_sql

    clock, zone, cut, checked = _current(settings)
    try:
        t_ms = parse_instant(as_of, zone) if as_of else clock.now_ms()
    except ValueError as error:
        raise WrongUse(f"--as-of: {error}") from error
    text = checked.values[expression].text if expression in checked.values else expression
    statement = expression_sql(text, checked, t_ms, cut, zone.day(t_ms))
    output.result({"sql": statement, "dialect": "duckdb", "asOf": format_instant(t_ms), "asOfSeq": cut})
    output.lines(statement)


def _current(settings: Settings) -> tuple[Clock, Zone, int, CheckedCatalog]:
    """Clock, calendar, newest `seq` and catalog of the project; wall time, UTC and nothing for a home not made yet."""
    if not settings.home.registry.exists():
        from dsl.catalog import Catalog

        return Clock(0), Zone("UTC"), 0, check_catalog(Catalog())
    workspace = Workspace(settings)
    with workspace.registry() as registry:
        project = workspace.ensure_project(registry)
        return project.clock, project.zone, registry.landed_seq(project.key), workspace.checked(registry)[1]


def _folder(path: str) -> Path:
    """The folder of definitions that a path names, or that the named file lies in.

    Raises:
        WrongUse: nothing is there.
    """
    given = Path(path)
    if not given.exists():
        near = nearest(given.name, (other.name for other in given.parent.glob("*"))) if given.parent.is_dir() else None
        raise WrongUse(f"`{path}` is not there" + (f"; the nearest is `{given.with_name(near)}`" if near else ""))
    return given if given.is_dir() or given.suffix not in (".yaml", ".yml") else given.parent
