"""What a process has decided, counted: a number of each kind, read by `/metrics`."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Counts:
    """Since the process began.

    Attributes:
        decided: decisions by reason, each time they were computed.
        kept: answers that were given again as they were.
        troubled: questions that were answered without the store, by what kept it from answering.
        exposed: exposures that were logged.
        unexposed: exposures that the store did not take.
    """

    decided: Counter[str] = field(default_factory=Counter)
    kept: int = 0
    troubled: Counter[str] = field(default_factory=Counter)
    exposed: int = 0
    unexposed: int = 0
