"""A refresh in this process: the job of the current definitions, recorded in the home's Dagster instance."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Final, Literal
from uuid import uuid4

from dagster import AssetKey, DagsterEvent, DagsterEventType, DagsterInstance, EventLogEntry, JobDefinition

from dsl.nearest import nearest
from pipelines.definitions import JOB, build_definitions
from pipelines.instance import IN_PROCESS_TAG, free_pool, only_refresh
from pipelines.workspace import load_workspace
from warehouse.exceptions import RefreshError
from warehouse.refresh import Refresh
from warehouse.settings import Settings

QUIET: Final = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
"""Configuration of a run whose log lines stay out of the terminal."""
_OURS = re.compile(r"(?:dsl|warehouse|exports|serving|pipelines)\.[\w.]+: ")


@dataclass(frozen=True, slots=True)
class RefreshEvent:
    """One step forward of a refresh.

    Attributes:
        state: `running` names the step that begins; `done` and `failed` an asset or a check.
        name: `traits/orders`, `events: event_ids_unique`.
        done: assets and checks that have ended so far, of `total`.
    """

    state: Literal["running", "done", "failed"]
    name: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class RefreshReport:
    """A refresh that went through.

    Attributes:
        run_id: the run in Dagster.
        refresh: what the tables are of.
        assets: keys of what was materialised, in order.
        failed_checks: checks that do not hold, `asset: check`.
    """

    run_id: str
    refresh: Refresh
    assets: tuple[str, ...]
    failed_checks: tuple[str, ...]
    seconds: float


def refresh(
    settings: Settings,
    selection: Sequence[str] | None = None,
    on_event: Callable[[RefreshEvent], None] | None = None,
) -> RefreshReport:
    """Materialises everything, or the assets selected, with their checks.

    A part continues the newest refresh: it is of the same `(t, cut)`. One process of a home refreshes at a time.

    Args:
        selection: asset keys such as `traits/orders`; None is all of them.
        on_event: told of each step forward, from within the run.

    Raises:
        RefreshError: an asset failed, or there is none of that key; what had been published stays.
        DefinitionError: the current catalog does not pass the checks of this program.
    """
    workspace = load_workspace(settings)
    job = build_definitions(workspace).resolve_job_def(JOB)
    keys = None if selection is None else _selected(job, selection)
    watch = _Watch(_steps(job, keys), on_event or _ignore)
    started = monotonic()
    with only_refresh(settings.home) as instance:
        run_id = _run(job, instance, keys, watch)
    if watch.interrupted:
        # Dagster takes ctrl-C for a failure of the step that it met.
        raise KeyboardInterrupt
    if watch.failure:
        raise RefreshError(watch.failure)
    with workspace.warehouse() as connection:
        newest = workspace.current(connection)
    return RefreshReport(run_id, newest, tuple(watch.assets), tuple(watch.failed_checks), monotonic() - started)


def _run(job: JobDefinition, instance: DagsterInstance, keys: Sequence[AssetKey] | None, watch: "_Watch") -> str:
    run_id = str(uuid4())
    instance.add_event_listener(run_id, watch.see)
    try:
        job.execute_in_process(
            instance=instance,
            run_id=run_id,
            run_config=QUIET,
            asset_selection=keys,
            tags={IN_PROCESS_TAG: "true"},
            raise_on_error=False,
        )
    finally:
        run = instance.get_run_by_id(run_id)
        if run is not None and not run.is_finished:
            instance.report_run_canceled(run)
        free_pool(instance, run_id)
    return run_id


def _selected(job: JobDefinition, selection: Sequence[str]) -> list[AssetKey]:
    known = {key.to_user_string(): key for key in job.asset_layer.executable_asset_keys}
    for name in selection:
        if name not in known:
            best = nearest(name, known)
            raise RefreshError(f"there is no asset `{name}`" + (f": the nearest is `{best}`" if best else ""))
    return [known[name] for name in selection]


def _steps(job: JobDefinition, keys: Sequence[AssetKey] | None) -> int:
    """Assets and checks that a run of these keys ends with."""
    layer = job.asset_layer
    chosen = set(layer.executable_asset_keys if keys is None else keys)
    return len(chosen) + sum(check.asset_key in chosen for check in layer.asset_graph.asset_check_keys)


def _ignore(_event: RefreshEvent) -> None:
    return


@dataclass(slots=True)
class _Watch:
    """Turns Dagster's events into ours as they happen."""

    total: int
    tell: Callable[[RefreshEvent], None]
    assets: list[str] = field(default_factory=list)
    failed_checks: list[str] = field(default_factory=list)
    done: int = 0
    failure: str = ""
    interrupted: bool = False

    def see(self, entry: EventLogEntry) -> None:
        event = entry.dagster_event
        if event is None:
            return
        match event.event_type:
            case DagsterEventType.STEP_START:
                self._say("running", (event.step_key or "").replace("__", "/"))
            case DagsterEventType.ASSET_MATERIALIZATION:
                key = event.asset_key
                name = key.to_user_string() if key else ""
                self.assets.append(name)
                self._end("done", name)
            case DagsterEventType.ASSET_CHECK_EVALUATION:
                self._check(event)
            case DagsterEventType.STEP_FAILURE if not self.failure:
                step = (event.step_key or "").replace("__", "/")
                cause = _cause(event)
                self.failure = f"`{step}` failed: {cause}"
                self.interrupted = "DagsterExecutionInterruptedError" in cause
                self._end("failed", step)
            case DagsterEventType.RUN_FAILURE if not self.failure:
                self.failure = f"the run failed: {event.message or 'Dagster gives no reason'}"

    def _check(self, event: DagsterEvent) -> None:
        evaluation = event.asset_check_evaluation_data
        name = f"{evaluation.asset_key.to_user_string()}: {evaluation.check_name}"
        if not evaluation.passed:
            self.failed_checks.append(name)
        self._end("done" if evaluation.passed else "failed", name)

    def _end(self, state: Literal["done", "failed"], name: str) -> None:
        self.done += 1
        self._say(state, name)

    def _say(self, state: Literal["running", "done", "failed"], name: str) -> None:
        self.tell(RefreshEvent(state, name, min(self.done, self.total), self.total))


def _cause(event: DagsterEvent) -> str:
    """The step's own error as one line; the class is left out of errors that are sentences."""
    error = event.step_failure_data.error
    if error is None:
        return "Dagster gives no reason"
    inner = error.cause if error.cause is not None and error.cls_name == "DagsterExecutionStepExecutionError" else error
    lines = inner.message.strip().splitlines()
    return _OURS.sub("", lines[0], count=1).rstrip(".") if lines else str(inner.cls_name)
