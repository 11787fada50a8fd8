"""After a fork a child has none of its parent's threads, and its parent's connections: both start anew in it."""

import os
from typing import Protocol
from weakref import WeakSet


class StartsAnew(Protocol):
    """What a child process has to begin again."""

    def after_fork(self) -> None:
        """Called in a child process before anything else runs in it."""
        ...


_told: "WeakSet[StartsAnew]" = WeakSet()


def tell_after_fork(each: StartsAnew) -> None:
    """Tell it after every fork, as long as it lives."""
    _told.add(each)


def _after_fork() -> None:
    for each in tuple(_told):
        each.after_fork()


if hasattr(os, "register_at_fork"):  # where there is no fork there is nothing to tell
    os.register_at_fork(after_in_child=_after_fork)
