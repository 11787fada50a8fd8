"""What was published, and what one look into the store gives."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec

from dsl.clock import Clock


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What one publication is of.

    Attributes:
        cut: events with `seq <= cut` are in the bases.
        as_of_ms: the instant of its refresh, epoch milliseconds on the project's clock; ranks are of it.
        catalog_version: the definitions that it was made for.
        clock_offset_ms: wall time minus the project's time.
        timezone: IANA name of the project's zone.
        tiles: which tiles every source has (`dsl.bases.Bases.tiles_ids`).
    """

    cut: int
    as_of_ms: int
    catalog_version: int
    clock_offset_ms: int
    timezone: str
    tiles: frozenset[int] = frozenset()

    @property
    def age_ms(self) -> int:
        """Milliseconds from `as_of_ms` to the project's now; 0 while that lies ahead."""
        return max(0, Clock(self.clock_offset_ms).now_ms() - self.as_of_ms)

    def with_tiles(self, tiles: frozenset[int]) -> "Snapshot":
        """The same with these tiles."""
        return replace(self, tiles=tiles)


class SourceReading(msgspec.Struct, frozen=True):
    """What the store has of one source at one moment.

    Attributes:
        base: its tiles up to their own cut, packed; None when it was never published.
        chunk: tiles of events after that, packed; None when they are all in `fresh`.
        fresh: `(seq, record)` of the events after both, and perhaps of some before: those count once.
    """

    source_id: str
    base: bytes | None = None
    chunk: bytes | None = None
    fresh: Sequence[tuple[int, bytes]] = ()


class Reading(msgspec.Struct, frozen=True):
    """One consistent look: all that is known of a profile, and what it is to be judged by.

    Attributes:
        profile_id: of an unknown one the id that it would get.
        sources: of the profile; none when it is unknown.
        seq: the newest record of the log.
        snapshot: the newest finished publication; None when there never was one.
        catalog_version: the version that decisions use; None when none was published.
        coming_version: one that is being prepared; None when there is none.
        is_loading: a bulk load is not published yet.
        ranks: of the profile in micro-units, by the text of each `percent_rank`.
        known_events: of the event ids that were asked about those that the log has, or that wait in the late lane.
    """

    profile_id: str
    sources: Sequence[SourceReading]
    seq: int
    snapshot: Snapshot | None
    catalog_version: int | None
    is_loading: bool = False
    ranks: Mapping[str, int] = {}
    known_events: frozenset[str] = frozenset()
    coming_version: int | None = None
