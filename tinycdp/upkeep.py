"""Commands that keep a project going: the worker, repair of the online store, proof that both sides agree."""

import signal
import threading

from tinycdp.workspace import Workspace
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
        Worker(client, settings.home, registry, workspace.ensure_project(registry)).run(stop)
