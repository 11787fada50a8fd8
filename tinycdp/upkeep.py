"""Commands that keep a project going: the worker, rebuilding what was lost, proof that both sides agree."""

import signal
import threading
from dataclasses import asdict

from dsl.clock import format_instant
from dsl.failure import Failure
from tinycdp.output import Output
from tinycdp.running import refresh_with_progress
from tinycdp.workspace import NothingThere, Workspace
from warehouse.settings import Settings


def run_worker(settings: Settings) -> None:
    """Lands what is appended until the process is asked to end."""
    from serving.http.logs import configure_logs
    from serving.worker.loop import Worker

    configure_logs(settings.log_level)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    workspace = Workspace(settings)
    with workspace.registry() as registry, workspace.store() as client:
        Worker.of(settings, client, registry, workspace.ensure_project(registry)).run(stop, settings.tick_ms / 1000)


def run_parity(settings: Settings, output: Output, profiles: int, seed: int) -> None:
    """Compares profiles of the online store with their events in the lake.

    Raises:
        Failure: they do not agree; what differs has been shown.
    """
    from dsl.catalog import Catalog
    from dsl.check import check_catalog
    from pipelines.parity import compare
    from serving.online.reading import current_catalog

    workspace = Workspace(settings)
    with workspace.registry() as registry, workspace.store() as client:
        document = current_catalog(client, settings.project)
        if document is None or not settings.home.analytics.exists():
            raise NothingThere("nothing is published yet: run `tinycdp refresh`")
        project, checked = registry.project(settings.project), check_catalog(Catalog.from_document(document))
        found = compare(settings, registry, client, project, checked, profiles, seed)
    shown = [{**asdict(each), "t_ms": format_instant(each.t_ms)} for each in found.shown]
    counts = {name: getattr(found, name) for name in ("compared", "values", "mismatches", "missing", "extra")}
    output.result({**counts, "shown": shown})
    output.lines(
        f"{found.values:,} values of {found.compared:,} profiles compared: {found.mismatches} differ; "
        f"{found.missing} profiles are missing online, {found.extra} are there without events"
    )
    for each in found.shown:
        output.lines(f"  {each.key} of {each.profile_id}: online {each.online}, counted {each.counted}")
    if not found.agrees:
        raise Failure(
            "the online store and the warehouse do not agree: this is a bug; `tinycdp rebuild --online` repairs"
        )


def run_rebuild(settings: Settings, output: Output, *, online: bool) -> None:
    """Computes the tables again from the lake, or only the online store from the tables; both end with a refresh."""
    from pipelines.rebuild import forget_online, forget_tables
    from serving.online.append import AppendRules

    workspace = Workspace(settings)
    with workspace.registry() as registry, workspace.store() as client:
        project = workspace.ensure_project(registry)
        if online:
            rules = AppendRules(settings.dedup_ttl_ms, settings.max_log)
            moved = forget_online(client, settings.home, registry, project, rules)
            if moved:
                output.say(f"{moved:,} events that had got a number again were appended anew")
        else:
            forget_tables(settings.home)
    report = refresh_with_progress(settings, output)
    output.result(report)
    what = "the online store" if online else "all tables and the online store"
    output.lines(f"rebuilt {what} in {report['seconds']} s, as of {report['asOf']}, seq {report['asOfSeq']}")
