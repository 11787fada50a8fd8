"""The persistent Dagster instance of a home: its folder, its settings, and one refresh at a time."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

from dagster import DagsterInstance, DagsterRunStatus, RunsFilter

from warehouse.settings import Home

IN_PROCESS_TAG = "tinycdp/in_process"
"""Marks runs that live inside a process which holds the lock: without the lock they are dead."""
_UNFINISHED = [DagsterRunStatus.STARTED, DagsterRunStatus.STARTING, DagsterRunStatus.NOT_STARTED]


def prepare_instance(home: Home) -> Path:
    """Makes `DAGSTER_HOME` with the settings that came with the program; settings that are there already stay."""
    home.dagster.mkdir(parents=True, exist_ok=True)
    target = home.dagster / "dagster.yaml"
    if not target.exists():
        hidden = target.with_name(".dagster.yaml")
        hidden.write_text(files("dagster_home").joinpath("dagster.yaml").read_text())
        hidden.replace(target)
    return home.dagster


@contextmanager
def only_refresh(home: Home) -> Iterator[DagsterInstance]:
    """The instance, while no other process of this home refreshes; others wait.

    The lock ends with the process, however it ends. What a killed one left behind is cleared: its run is marked as
    failed, and the place that it held in the pool is free again.
    """
    folder = prepare_instance(home)
    with (folder / "refresh.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with DagsterInstance.from_config(str(folder)) as instance:
            _clear_dead_runs(instance)
            yield instance


def free_pool(instance: DagsterInstance, run_id: str) -> None:
    """Nothing waits any more for steps of a run that has ended."""
    instance.event_log_storage.free_concurrency_slots_for_run(run_id)


def _clear_dead_runs(instance: DagsterInstance) -> None:
    for run in instance.get_runs(RunsFilter(statuses=_UNFINISHED, tags={IN_PROCESS_TAG: "true"})):
        instance.report_run_failed(run, "the process of this run ended before the run did")
        free_pool(instance, run.run_id)
