"""Processes that end in the middle of something, without a process."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from dsl.failpoints import PLACES


class Killed(BaseException):
    """A process that ends here."""


@dataclass(slots=True)
class Death:
    """What was to die at a place; `came` says whether it got there."""

    place: str
    came: bool = field(default=False, init=False)

    def meet(self) -> None:
        """It is there."""
        self.came = True
        raise Killed


@contextmanager
def killed_at(place: str | None) -> Iterator[Death]:
    """What gets to this place of `dsl.failpoints` in the block ends, and the block with it; None lets it live."""
    assert place is None or place in PLACES
    death = Death(place or "")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dsl.failpoints._point", death)
        try:
            yield death
        except Killed:
            assert death.came


def places(*prefixes: str) -> tuple[str, ...]:
    """The places of some kinds of work, in order."""
    return tuple(sorted(place for place in PLACES if place.partition(".")[0] in prefixes))
