"""A worker must not outlive the server that started it: it would keep the port, and answer, for nobody."""

import os
import signal
import threading
import time

_LOOK_EVERY_S = 0.5


def end_with_parent() -> None:
    """Stop this process gracefully once its parent is gone (killed, so that it could not stop its workers itself)."""
    parent = os.getppid()
    threading.Thread(target=_watch, args=(parent,), name="end-with-parent", daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_EVERY_S)
    os.kill(os.getpid(), signal.SIGTERM)
