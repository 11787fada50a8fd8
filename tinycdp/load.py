"""`tinycdp load`: files of events into the lake, then refresh and publication."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dsl.clock import format_instant
from dsl.failure import Failure, WrongUse
from tinycdp.output import Output
from tinycdp.workspace import Workspace
from warehouse.settings import Settings

if TYPE_CHECKING:
    import polars as pl
    import redis

    from warehouse.bulk.inputs import Input
    from warehouse.bulk.load import Loading, Look, Progress
    from warehouse.bulk.mapping import LoadMapping
    from warehouse.records import Project
    from warehouse.registry import Registry

_SHOWN = ("event_id", "kind", "name", "source_id", "ts_ms", "properties")


@dataclass(frozen=True, slots=True)
class LoadChoices:
    """How a load is called.

    Attributes:
        timezone: calendar of the project, if this makes it.
        most_dead_letters: more stop the load; None is what it is by default.
    """

    files: Sequence[str]
    mapping: str
    dry_run: bool = False
    refresh: bool = True
    timezone: str = "UTC"
    most_dead_letters: int | None = None


def run_load(settings: Settings, output: Output, choices: LoadChoices) -> None:
    """Lands the files and refreshes; with `dry_run` it says what it would understand."""
    from warehouse.bulk.inputs import Input
    from warehouse.bulk.mapping_file import load_mapping

    missing = [name for name in [choices.mapping, *choices.files] if not Path(name).is_file()]
    if missing:
        raise WrongUse(f"there is no file {missing[0]}")
    mapping = load_mapping(Path(choices.mapping))
    inputs = [Input.of(Path(name), mapping) for name in choices.files]
    for each in inputs:
        each.check(mapping)
    if choices.dry_run:
        _look(settings, output, mapping, inputs, choices.timezone)
    else:
        _load(settings, output, mapping, inputs, choices)


def _load(
    settings: Settings, output: Output, mapping: "LoadMapping", inputs: "Sequence[Input]", choices: LoadChoices
) -> None:
    from tinycdp.running import refresh_with_progress

    workspace = Workspace(settings)
    begin = time.perf_counter()
    with workspace.registry() as registry, workspace.store() as client:
        project = workspace.ensure_project(registry, choices.timezone)
        loading = _loading(settings, mapping, inputs, registry, client, project, choices.most_dead_letters)
        before = loading.begun()
        done = _with_progress(loading, output)
    seconds = time.perf_counter() - begin
    report: dict[str, Any] = {
        "mapping": mapping.name,
        "loaded": done.loaded,
        "duplicates": done.duplicates,
        "deadLetters": dict(done.letters),
        "files": [{"path": str(each.path), "format": each.format} for each in inputs],
        "resumed": before is not None,
        "seconds": round(seconds, 2),
        "refresh": None,
    }
    if choices.refresh:
        report["refresh"] = refresh_with_progress(settings, output)
    output.result(report)
    output.lines(_sentence(done, seconds, resumed=before is not None))
    if not choices.refresh:
        output.say("nothing of it counts until `tinycdp refresh` has run")


def _loading(
    settings: Settings,
    mapping: "LoadMapping",
    inputs: "Sequence[Input]",
    registry: "Registry",
    client: "redis.Redis",
    project: "Project",
    most_dead_letters: int | None,
) -> "Loading":
    from serving.online.append import AppendRules
    from serving.online.bulk_ids import addressed, claim_ids, identity_settings, keep_ids
    from serving.online.store import reserve_seq
    from serving.worker.landing import land_log_alone
    from warehouse.bulk.landing import Online
    from warehouse.bulk.load import MOST_DEAD_LETTERS, Loading
    from warehouse.bulk.people import Rules

    rules = AppendRules(settings.dedup_ttl_ms)
    online = Online(
        reserve=lambda count: reserve_seq(client, project.key, count, registry.max_seq(project.key)),
        land_log=lambda: land_log_alone(client, settings.home, registry, project),
        claim=lambda events, landed_seq: claim_ids(client, project.key, events, landed_seq),
        keep=lambda event_ids: keep_ids(client, project.key, event_ids, rules),
        remembered_ms=settings.dedup_ttl_ms,
    )

    def judged() -> Rules:
        return Rules(identity_settings(client, project.key), lambda names: addressed(client, project.key, names))

    most = MOST_DEAD_LETTERS if most_dead_letters is None else most_dead_letters
    return Loading(inputs, mapping, settings.home, registry, project, online, judged, most)


def _with_progress(loading: "Loading", output: Output) -> "Progress":
    sizes = [each.path.stat().st_size for each in loading.inputs]
    with output.progress() as progress:
        bar = progress.add_task("loading", total=max(1, sum(sizes)))

        def show(done: "Progress", share: float) -> None:
            read = sum(sizes[: done.file]) + int(sizes[done.file] * share)
            progress.update(bar, completed=read, description=f"loading · {done.loaded:,} events"[:34])

        done = _shown(loading, show).run()
        progress.update(bar, completed=max(1, sum(sizes)))
    return done


def _shown(loading: "Loading", show: Any) -> "Loading":
    from dataclasses import replace

    return replace(loading, on_progress=show)


def _events(count: int) -> str:
    return "event" if count == 1 else "events"


def _sentence(done: "Progress", seconds: float, *, resumed: bool) -> str:
    letters = ", ".join(f"{count:,} `{reason}`" for reason, count in sorted(done.letters.items()))
    parts = [
        f"loaded {done.loaded:,} {_events(done.loaded)} in {seconds:.1f} s"
        + (" (went on where it had stopped)" if resumed else ""),
        f"{done.duplicates:,} {'duplicate' if done.duplicates == 1 else 'duplicates'}" if done.duplicates else "",
        f"{done.dead_letters:,} dead letters: {letters}" if letters else "",
    ]
    return "; ".join(part for part in parts if part)


def _look(settings: Settings, output: Output, mapping: "LoadMapping", inputs: "Sequence[Input]", timezone: str) -> None:
    from warehouse.bulk.load import look
    from warehouse.bulk.understanding import Facts

    project_zone, now_ms = _calendar(settings, timezone)
    with _reading(output, len(inputs)):
        found = look(inputs, mapping, Facts(project_zone, now_ms))
    _show_look(output, mapping, found)
    if found.events == 0:
        raise Failure("no row is an event as the mapping reads it: see above")


@contextmanager
def _reading(output: Output, files: int) -> Iterator[None]:
    with output.progress() as progress:
        bar = progress.add_task("reading", total=files)
        yield
        progress.update(bar, completed=files)


def _calendar(settings: Settings, timezone: str) -> Any:
    """Zone and now of the project; of one that would be made, when there is none."""
    from dsl.clock import Clock, Zone
    from warehouse.exceptions import UnknownProject

    if settings.home.registry.exists():
        with Workspace(settings).registry() as registry:
            try:
                project = registry.project(settings.project)
            except UnknownProject:
                pass
            else:
                return project.zone, project.clock.now_ms()
    return Zone(timezone), Clock().now_ms()


def _show_look(output: Output, mapping: "LoadMapping", found: "Look") -> None:
    rows = _sample(found.sample)
    output.result(
        {
            "mapping": mapping.name,
            "dryRun": True,
            "events": found.events,
            "problems": dict(found.problems),
            "examples": dict(found.examples),
            "sample": rows,
        }
    )
    columns = ("event id", "kind", "name", "who", "happened at", "properties")
    output.table("the first rows as understood", columns, ([*row.values()] for row in rows))
    output.lines(f"{found.events:,} {_events(found.events)}; nothing has landed")
    counts = ((reason, found.problems[reason], found.examples.get(reason, "")) for reason in sorted(found.problems))
    if found.problems:
        output.table("rows that are no events", ("reason", "rows>", "the first"), counts)


def _sample(frame: "pl.DataFrame") -> list[dict[str, Any]]:
    from warehouse.day_files import made_properties

    if frame.is_empty():
        return []
    frame = frame.with_columns(made_properties(frame).alias("properties"))
    who = frame["identifiers"].fill_null(frame["source_id"])
    rows = frame.select(_SHOWN).with_columns(who.alias("source_id")).rows(named=True)
    return [
        {
            "eventId": row["event_id"],
            "kind": row["kind"],
            "name": row["name"],
            "identifiers": row["source_id"],
            "ts": format_instant(row["ts_ms"]),
            "properties": row["properties"],
        }
        for row in rows
    ]
