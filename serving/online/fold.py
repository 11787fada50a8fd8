"""`(+)` online: base, chunk and fresh events of each source, as one state that expressions are evaluated against."""

from dataclasses import dataclass, field

from dsl.bases import Bases, bases_of
from dsl.check import CheckedCatalog
from dsl.clock import Clock
from dsl.event_record import FreshEvent, read_fresh
from dsl.state import State
from dsl.tile_codec import unpack
from dsl.tiles import Folded, Tiles, Write, attributes_of
from serving.online.snapshot import Reading, SourceReading


@dataclass(frozen=True, slots=True)
class Fold:
    """Reads states for one catalog."""

    checked: CheckedCatalog
    bases: Bases = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "bases", bases_of(self.checked.aggregates.values()))

    def state(self, reading: Reading, now_ms: int | None = None) -> State:
        """The state of the profile at the moment of the reading.

        Its instant is now, or a millisecond after the newest event of the profile if that is later: everything known
        counts.

        Args:
            now_ms: the project's; by default that of its clock.
        """
        sources: list[Tiles] = []
        fresh: list[FreshEvent] = []
        for source in reading.sources:
            tiles = self._tiles(source)
            cut = max((each.cut for each in tiles), default=0)
            sources += tiles
            fresh += [read_fresh(record) for seq, record in source.fresh if seq > cut]
        t_ms = max(_now_ms(reading) if now_ms is None else now_ms, _after(sources, fresh))
        aggregates = Folded(self.checked, self.bases, sources, fresh, t_ms, self.checked.zone, reading.ranks)
        attributes = attributes_of([*sources, Tiles(attributes=_written(fresh))])
        return State(reading.profile_id, t_ms, reading.seq, attributes, aggregates)

    def _tiles(self, source: SourceReading) -> list[Tiles]:
        return [unpack(packed, self.bases) for packed in (source.base, source.chunk) if packed is not None]


def _now_ms(reading: Reading) -> int:
    return Clock(0 if reading.snapshot is None else reading.snapshot.clock_offset_ms).now_ms()


def _after(sources: list[Tiles], fresh: list[FreshEvent]) -> int:
    """The first instant after all events; the earliest of all when there are none."""
    instants = [tiles.last_ms for tiles in sources if tiles.last_ms is not None] + [event.ts_ms for event in fresh]
    return max(instants, default=-1) + 1


def _written(fresh: list[FreshEvent]) -> dict[str, Write]:
    written: dict[str, Write] = {}
    identifies = [event for event in fresh if event.kind == "identify"]
    for event in sorted(identifies, key=lambda event: (event.ts_ms, event.event_id)):
        written.update((name, (event.ts_ms, event.event_id, value)) for name, value in event.properties.items())
    return written
