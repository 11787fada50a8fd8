"""Commands that run things: the API, everything at once, a refresh, and what is there."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dsl.clock import format_instant
from dsl.failure import Failure
from tinycdp.output import Output
from tinycdp.supervisor import LONGEST_DELAY_S, Supervisor, api_command, dagster_commands, worker_command
from tinycdp.workspace import Workspace
from warehouse.settings import Settings


def run_serve(settings: Settings, host: str, port: int) -> None:
    """Runs the API until it is stopped; what it needs of the online store is published first."""
    from serving.http.server import serve

    prepare(settings)
    serve(host, port)


def prepare(settings: Settings) -> None:
    """Makes the project if there is none, and tells the online store its keys."""
    workspace = Workspace(settings)
    with workspace.registry() as registry, workspace.store() as client:
        workspace.ensure_project(registry)
        workspace.publish_keys(registry, client)


def run_up(settings: Settings, output: Output, host: str, port: int, dagster_port: int) -> None:
    """Supervises API, worker and Dagster until ctrl-C, then stops them; the embedded store too if this started it."""
    from serving.online import embedded

    check_ports(host, port, dagster_port)
    ours = settings.redis_url is None and not embedded.is_running(settings.home.valkey)
    try:
        prepare(settings)
        supervise(settings, output, host, port, dagster_port)
    finally:
        if ours:
            embedded.stop(settings.home.valkey)


def check_ports(host: str, *ports: int) -> None:
    """Refuses early when one of the ports is taken."""
    from serving.http.server import check_free

    for port in ports:
        check_free(host, port)


def supervise(
    settings: Settings,
    output: Output,
    host: str,
    port: int,
    dagster_port: int,
    then: Callable[[str], None] | None = None,
) -> None:
    """Keeps API, worker and Dagster running until ctrl-C; `then` is called with the API's address once it answers."""
    from pipelines.instance import prepare_instance

    prepare_instance(settings.home)
    address = f"http://{host}:{port}"
    commands = [api_command(settings, host, port), *dagster_commands(settings, host, dagster_port)]
    supervisor = Supervisor([*commands, worker_command(settings)], output.say, keep_store(settings, output.say))
    supervisor.start()
    try:
        supervisor.wait_for(f"{address}/health")
        if then is not None:
            then(address)
        supervisor.wait_for(f"http://{host}:{dagster_port}/server_info", number=1)
        output.say(f"API      {address}   (OpenAPI at {address}/docs)")
        output.say(f"Dagster  http://{host}:{dagster_port}")
        output.say(f"tables   duckdb -readonly {settings.home.analytics}")
        output.say(f"logs     {settings.home.logs}")
        output.say("ctrl-C stops everything")
        supervisor.watch()
    finally:
        supervisor.stop()
    output.say("stopped")


def keep_store(settings: Settings, say: Callable[[str], None]) -> Callable[[], None]:
    """What starts the embedded Valkey again when it has died; each time that it is called it looks once.

    Nobody else would: API and worker wait for it, and it is the child of none of them.
    """
    from serving.online import embedded
    from serving.online.exceptions import OnlineStoreError

    not_before_s = 0.0

    def look() -> None:
        nonlocal not_before_s
        if (
            settings.redis_url is not None
            or time.monotonic() < not_before_s
            or embedded.is_running(settings.home.valkey)
        ):
            return
        say(f"the embedded Valkey has ended; starting it again (log: {settings.home.valkey / 'valkey.log'})")
        try:
            embedded.start(settings.home.valkey)
        except OnlineStoreError as error:
            not_before_s = time.monotonic() + LONGEST_DELAY_S
            say(str(error))

    return look


@contextmanager
def running(settings: Settings, host: str, port: int) -> Iterator[str]:
    """The API in a process of its own, by its address; it is stopped at the end.

    Raises:
        ProcessFailure: it did not come up.
    """
    supervisor = Supervisor([api_command(settings, host, port)], say=lambda text: None)
    supervisor.start()
    try:
        supervisor.wait_for(f"http://{host}:{port}/health")
        yield f"http://{host}:{port}"
    finally:
        supervisor.stop()


def run_down(settings: Settings, output: Output) -> None:
    """Stops the embedded store."""
    from serving.online import embedded

    stopped = embedded.stop(settings.home.valkey)
    output.result({"stopped": stopped})
    output.lines("the embedded Valkey has stopped" if stopped else "nothing was running")


def run_refresh(settings: Settings, output: Output, assets: list[str]) -> None:
    """One Dagster run, with a bar that counts assets and checks."""
    workspace = Workspace(settings)
    with workspace.registry() as registry:
        workspace.ensure_project(registry)
    report = refresh_with_progress(settings, output, assets)
    output.result(report)
    output.lines(
        f"refreshed {report['assets']} assets in {report['seconds']} s, as of {report['asOf']}, seq {report['asOfSeq']}"
    )


def refresh_with_progress(settings: Settings, output: Output, assets: list[str] | None = None) -> dict[str, Any]:
    """Refreshes everything, or the assets given, and shows each step as it is done."""
    from pipelines.run import RefreshEvent, refresh

    with output.progress() as progress:
        bar = progress.add_task("refreshing", total=None)

        def show(event: RefreshEvent) -> None:
            progress.update(bar, description=f"refreshing {event.name}"[:34], completed=event.done, total=event.total)

        report = refresh(settings, assets or None, show)
        progress.update(bar, description="refreshing")
    for check in report.failed_checks:
        output.say(f"check failed: {check}")
    return {
        "runId": report.run_id,
        "assets": len(report.assets),
        "failedChecks": list(report.failed_checks),
        "asOf": format_instant(report.refresh.t_ms),
        "asOfSeq": report.refresh.cut,
        "catalogVersion": report.refresh.catalog_version,
        "seconds": round(report.seconds, 2),
    }


def run_health(settings: Settings, output: Output) -> None:
    """Looks at every part of a home without starting anything."""
    parts = list(_parts(settings))
    output.result(
        {"ok": all(ok for _, ok, _ in parts), "parts": {name: {"ok": ok, "detail": d} for name, ok, d in parts}}
    )
    output.table("health", ("part", "ok", "detail"), parts)
    if not all(ok for _, ok, _ in parts):
        raise Failure("something is missing: see above")


def _parts(settings: Settings) -> "list[tuple[str, bool, str]]":
    from serving.online.connection import connect
    from serving.online.embedded import embedded_url, is_running
    from serving.online.exceptions import OnlineStoreError
    from serving.online.reading import snapshot

    home = settings.home
    parts = [
        ("home", home.path.is_dir(), str(home.path)),
        _file("registry", home.registry),
        _file("tables", home.analytics),
    ]
    if settings.redis_url is None and not is_running(home.valkey):
        return [*parts, ("store", False, "the embedded Valkey does not run: `tinycdp serve` or `tinycdp up` starts it")]
    try:
        client = connect(settings.redis_url or embedded_url(home.valkey))
        published = snapshot(client, settings.project)
    except OnlineStoreError as error:
        return [*parts, ("store", False, str(error))]
    parts.append(("store", True, settings.redis_url or "embedded Valkey"))
    if published is None:
        return [*parts, ("snapshot", False, "nothing is published yet: run `tinycdp refresh`")]
    detail = f"cut {published.cut}, catalog version {published.catalog_version}, {published.age_ms // 1000} s old"
    return [*parts, ("snapshot", True, detail)]


def _file(name: str, path: Path) -> tuple[str, bool, str]:
    return name, path.exists(), str(path) if path.exists() else f"{path} is not there yet"
