"""Fail-points: places where a test can have a real process killed, as a power cut would.

A testing facility, and nothing else. `TINYCDP_FAILPOINT=landing.after_manifest` kills the process (SIGKILL: nothing is
cleaned up) when it gets there; `landing.after_manifest:3` the third time. `TINYCDP_FAILPOINT_FILE` names a file that
gets a line each time: it counts over several processes, so that one that is started again goes past, and a test can see
that the place was reached. Without these variables a place costs a look at a name.
"""

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, get_args

from dsl.failure import Failure

Place = Literal[
    "lake.before_file",
    "lake.before_rename",
    "lake.after_file",
    "landing.before_manifest",
    "landing.after_manifest",
    "landing.after_announce",
    "load.after_reserve",
    "load.before_manifest",
    "load.after_manifest",
    "load.before_keep",
    "late.before_append",
    "late.after_append",
    "late.after_dead_letters",
    "chunk.before_write",
    "chunk.after_write",
    "publication.after_begin",
    "publication.after_identities",
    "publication.after_bases",
    "publication.after_ranks",
    "publication.after_end",
    "compaction.after_file",
    "compaction.after_swap",
    "compaction.before_forget",
    "ingest.before_append",
    "ingest.after_append",
    "ingest.after_dead_letters",
]
"""Where a process can be killed. Named `<what is going on>.<before or after><what>`."""
PLACES: Final = frozenset[str](get_args(Place))


@dataclass(slots=True)
class FailPoint:
    """The place at which this process is killed.

    Attributes:
        hits: which time, 1 the first.
        counter: a file with a line for each time, of this and of earlier processes; None counts this process alone.
    """

    place: str
    hits: int = 1
    counter: Path | None = None
    _seen: int = field(default=0, init=False)

    @classmethod
    def read(cls, environ: Mapping[str, str] = os.environ) -> "FailPoint | None":
        """The one that the environment asks for.

        Raises:
            Failure: it names no place.
        """
        text = environ.get("TINYCDP_FAILPOINT", "")
        if not text:
            return None
        place, _, hits = text.partition(":")
        if place not in PLACES or not (hits or "1").isdecimal():
            raise Failure(f"TINYCDP_FAILPOINT is `{text}`: it takes `<place>` or `<place>:<which time>`, {_listed()}")
        counter = environ.get("TINYCDP_FAILPOINT_FILE")
        return cls(place, int(hits or "1"), Path(counter) if counter else None)

    def meet(self) -> None:
        """Count this time; end the process if it is the one."""
        self._seen += 1
        count = self._seen
        if self.counter is not None:
            with self.counter.open("ab") as counter:
                counter.write(f"{self.place}\n".encode())
                counter.flush()
                count = counter.tell() // (len(self.place) + 1)
        if count == self.hits:
            os.kill(os.getpid(), signal.SIGKILL)


def _listed() -> str:
    return f"of the places {', '.join(sorted(PLACES))}"


_point: Final = FailPoint.read()


def reached(place: Place) -> None:
    """Say that this place is reached: the process ends here when a test asked for that."""
    if _point is not None and _point.place == place:
        _point.meet()
