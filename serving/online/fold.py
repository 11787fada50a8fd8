"""`(+)` online: base, chunk and fresh events of each source, as one state that expressions are evaluated against."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from dsl.bases import Bases, bases_of
from dsl.check import CheckedCatalog
from dsl.clock import Clock
from dsl.event_record import FreshEvent, read_fresh
from dsl.fresh import FreshEvents
from dsl.state import State
from dsl.tile_codec import unpack
from dsl.tiles import Folded, Tiles, Write, attributes_of
from serving.online.snapshot import Reading, SourceReading


class Unpacked(msgspec.Struct, frozen=True):
    """What a reading holds, read for one catalog.

    Attributes:
        tiles: of the sources of the profile.
        fresh: events after the cuts of their sources, each once.
        attributes: of the profile.
        told: the fresh events as aggregates see them; it grows with what is asked.
        last_ms: instant of the newest event; None before the first.
    """

    tiles: Sequence[Tiles]
    fresh: Sequence[FreshEvent]
    attributes: Mapping[str, object]
    told: FreshEvents
    last_ms: int | None

    def with_events(self, events: Sequence[FreshEvent], checked: CheckedCatalog) -> "Unpacked":
        """The same with further events; traits that they set count as those of any `identify`."""
        fresh = [*self.fresh, *events]
        return _unpacked(self.tiles, fresh, checked)


@dataclass(frozen=True, slots=True)
class Fold:
    """Reads states for one catalog."""

    checked: CheckedCatalog
    bases: Bases = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "bases", bases_of(self.checked.aggregates.values()))

    def unpack(self, reading: Reading) -> Unpacked:
        """All that was read of a profile; states of any later instant can be made of it."""
        tiles: list[Tiles] = []
        fresh: list[FreshEvent] = []
        for source in reading.sources:
            its_own = self._tiles(source)
            cut = max((each.cut for each in its_own), default=0)
            tiles += its_own
            fresh += [read_fresh(record) for seq, record in source.fresh if seq > cut]
        return _unpacked(tiles, fresh, self.checked)

    def state(self, reading: Reading, now_ms: int | None = None, unpacked: Unpacked | None = None) -> State:
        """The state of the profile at the moment of the reading.

        Its instant is now, or a millisecond after the newest event of the profile if that is later: everything known
        counts.

        Args:
            now_ms: the project's; by default that of its clock.
            unpacked: what `unpack` made of the reading.
        """
        held = self.unpack(reading) if unpacked is None else unpacked
        after_ms = 0 if held.last_ms is None else held.last_ms + 1
        t_ms = max(_now_ms(reading) if now_ms is None else now_ms, after_ms)
        aggregates = Folded(
            self.checked, self.bases, held.tiles, held.fresh, t_ms, self.checked.zone, reading.ranks, held.told
        )
        identifiers = tuple(source.source_id for source in reading.sources)
        return State(reading.profile_id, t_ms, reading.seq, held.attributes, aggregates, identifiers)

    def _tiles(self, source: SourceReading) -> list[Tiles]:
        return [unpack(packed, self.bases) for packed in (source.base, source.chunk) if packed is not None]


def _unpacked(tiles: Sequence[Tiles], fresh: Sequence[FreshEvent], checked: CheckedCatalog) -> Unpacked:
    attributes = attributes_of([*tiles, Tiles(attributes=_written(fresh))] if fresh else tiles)
    instants = [each.last_ms for each in tiles if each.last_ms is not None]
    instants += [event.ts_ms for event in fresh]
    return Unpacked(tiles, fresh, attributes, FreshEvents(fresh, checked), max(instants, default=None))


def _now_ms(reading: Reading) -> int:
    return Clock(0 if reading.snapshot is None else reading.snapshot.clock_offset_ms).now_ms()


def _written(fresh: Sequence[FreshEvent]) -> dict[str, Write]:
    written: dict[str, Write] = {}
    identifies = [event for event in fresh if event.kind == "identify"]
    for event in sorted(identifies, key=lambda event: (event.ts_ms, event.event_id)):
        written.update((name, (event.ts_ms, event.event_id, value)) for name, value in event.properties.items())
    return written
