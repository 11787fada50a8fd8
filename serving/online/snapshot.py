"""What was published, and what one look into the store gives."""

from dataclasses import dataclass

from dsl.clock import Clock
from dsl.state import State


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What one publication is of.

    Attributes:
        cut: events with `seq <= cut` are counted.
        as_of_ms: the instant that all its values are of, epoch milliseconds on the project's clock.
        catalog_version: the version whose aggregates its states hold.
        clock_offset_ms: wall time minus the project's time.
        timezone: IANA name of the project's zone.
    """

    cut: int
    as_of_ms: int
    catalog_version: int
    clock_offset_ms: int
    timezone: str

    @property
    def age_ms(self) -> int:
        """Milliseconds from `as_of_ms` to the project's now; 0 while that lies ahead."""
        return max(0, Clock(self.clock_offset_ms).now_ms() - self.as_of_ms)


@dataclass(frozen=True, slots=True)
class Reading:
    """One consistent look: the state of a profile and what it is to be judged by.

    Attributes:
        snapshot: the newest finished publication; None when there never was one.
        catalog_version: the version that decisions use; None when none was published.
    """

    state: State
    snapshot: Snapshot | None
    catalog_version: int | None

    @property
    def age_ms(self) -> int | None:
        """Milliseconds from the instant of the state to the project's now; None without a snapshot."""
        if self.snapshot is None:
            return None
        return max(0, Clock(self.snapshot.clock_offset_ms).now_ms() - self.state.as_of_ms)
