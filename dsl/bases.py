"""Base aggregates: what is folded for every source, shared by all windows and definitions that ask for it."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final

from dsl import typed
from dsl.aggregates import AGGREGATES
from dsl.check import AggregateUse, CheckedCatalog, walk
from dsl.clock import DAY_MS
from dsl.folds import FOLDS, FamilyName, Fold
from dsl.printer import print_aggregate
from dsl.typed_text import text_of
from dsl.windows import Window

LOCAL_DAY: Final = 0
"""The grain of local dates: their tiles are days of the project's zone, not hops of a clock."""
DAYS_KEPT_BEYOND: Final = 90
"""Days for which 1d tiles are kept beyond the longest window that uses them."""
CARRIED: Final = -1_000_000 * DAY_MS
"""The hop of the one tile that carries on what is too old for any window: before every instant that can be written."""
_STEP_MS: Final = 3_600_000
"""How often tiles go that are too old, at most."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What becomes of the tiles of a grain.

    Attributes:
        apart_ms: how long each is kept by itself; None is for ever.
        spare_ms: of that, what no window needs.
        carried: tiles that are older become one, which is kept for ever; else they go.
        whole_days: the whole day in which a window begins is needed: a tile of that day says nothing of its morning.
    """

    apart_ms: int | None
    spare_ms: int
    carried: bool = False
    whole_days: bool = False

    def first_apart(self, grain_ms: int, t_ms: int, today: int) -> int | None:
        """The first hop that has to be kept by itself at an instant, with the local day it is; None is all of them."""
        if self.apart_ms is None:
            return None
        if grain_ms == LOCAL_DAY:
            return today - self.apart_ms // DAY_MS
        return _floor(t_ms - self.apart_ms, max(grain_ms, _STEP_MS))

    def first_needed(self, grain_ms: int, t_ms: int, today: int) -> int | None:
        """The first hop without which a window would be another at an instant; None is all of them."""
        if self.apart_ms is None:
            return None
        reach_ms = self.apart_ms - self.spare_ms
        if grain_ms == LOCAL_DAY:
            return today - reach_ms // DAY_MS
        return _floor(t_ms - reach_ms, DAY_MS if self.whole_days else grain_ms)


@dataclass(frozen=True)
class Base:
    """Events, filter and argument, and the family of states that is kept of them in tiles.

    Attributes:
        key: canonical text, with the types that its properties are read as: two bases with one key are one.
        aggregate: one of the aggregates that share it; its function and window say nothing here.
        windows: every window that is asked for.
        whole_life: an aggregate looks at the whole life, or at what came before its window.
        looks_before: an aggregate looks at what came right before its window.
    """

    key: str
    aggregate: typed.BaseAggregate
    family: FamilyName
    windows: tuple[Window, ...] = ()
    whole_life: bool = False
    looks_before: bool = False

    @cached_property
    def id(self) -> int:
        """64 bits of the key's digest: what tells it apart where its tiles are packed."""
        return _digest(self.key)

    def tiles_id(self, grain_ms: int) -> int:
        """64 bits that tell apart which tiles are kept: of which events, at which grain, how long, what of them."""
        kept = self.grains[grain_ms]
        return _digest(f"{self.key} {grain_ms} {kept.apart_ms} {kept.carried} {self.looks_before}")

    @cached_property
    def grains(self) -> Mapping[int, Kept]:
        """How tiles of each grain are kept, by grain in milliseconds, the finest first.

        A grain's tiles are kept for its longest window and a day more, those of a day for 90 days more than the longest
        of all; what is older than that is carried on where a whole life is asked for. Local dates have one grain,
        `LOCAL_DAY`, and each of them is a fact of its own: of a whole life all are kept.
        """
        beyond_ms = DAYS_KEPT_BEYOND * DAY_MS
        longest = max((window.width_ms for window in self.windows), default=0)
        if self.family == "days":
            return {LOCAL_DAY: Kept(None if self.whole_life else longest + beyond_ms, beyond_ms)}
        longest_of: dict[int, int] = {}
        for window in self.windows:
            longest_of[window.hop_ms] = max(longest_of.get(window.hop_ms, 0), window.width_ms)
        kept = {
            grain: Kept(width + DAY_MS, DAY_MS, whole_days=self.looks_before)
            for grain, width in sorted(longest_of.items())
        }
        return {**kept, DAY_MS: Kept(longest + beyond_ms, beyond_ms, self.whole_life)}

    @cached_property
    def read_grains(self) -> frozenset[int]:
        """The grains that an aggregate reads."""
        if self.family == "days":
            return frozenset((LOCAL_DAY,))
        return frozenset((*(window.hop_ms for window in self.windows), *((DAY_MS,) if self.whole_life else ())))


@dataclass(frozen=True, slots=True)
class TileRead:
    """How an aggregate is read from tiles.

    Attributes:
        grain_ms: of the tiles.
        cut_off: the window that says which of them count; None for all, of calendar days too: which of the dates count,
            finalising decides.
        fold: what makes the value of them.
        narrowed: the value may be of another type than the one that is asked for: then it is missing.
    """

    aggregate: typed.BaseAggregate
    base: Base
    grain_ms: int = field(init=False)
    cut_off: Window | None = field(init=False)
    fold: Fold = field(init=False)
    narrowed: bool = field(init=False)

    def __post_init__(self) -> None:
        aggregate, window = self.aggregate, self.aggregate.window
        of_days = self.base.family == "days"
        open_type = aggregate.argument is not None and aggregate.argument.type == "unknown"
        grain_ms = LOCAL_DAY if of_days else DAY_MS if window is None else window.hop_ms
        object.__setattr__(self, "grain_ms", grain_ms)
        object.__setattr__(self, "cut_off", None if of_days else window)
        object.__setattr__(self, "fold", FOLDS[aggregate.function])
        object.__setattr__(self, "narrowed", open_type and aggregate.key != aggregate.text)


@dataclass(frozen=True)
class Bases:
    """All base aggregates of a catalog.

    Attributes:
        by_key: every base, in the order in which the catalog first uses it.
        reads: how each aggregate is read, by its key.
    """

    by_key: Mapping[str, Base]
    reads: Mapping[str, TileRead] = field(default_factory=dict)

    @cached_property
    def by_id(self) -> Mapping[int, Base]:
        """Every base by its id."""
        return {base.id: base for base in self.by_key.values()}

    @property
    def tiles_ids(self) -> frozenset[int]:
        """What tells apart all tiles that are kept."""
        return frozenset(base.tiles_id(grain) for base in self.by_key.values() for grain in base.grains)


def bases_of(uses: Iterable[AggregateUse]) -> Bases:
    """The bases that aggregates read, each with all its windows."""
    shared: dict[str, list[AggregateUse]] = {}
    for use in uses:
        shared.setdefault(_key(use.aggregate), []).append(use)
    by_key = {key: _base(key, [use.aggregate for use in members]) for key, members in shared.items()}
    reads = {use.key: TileRead(use.aggregate, by_key[key]) for key, members in shared.items() for use in members}
    return Bases(by_key, reads)


def together(checked: CheckedCatalog, other: CheckedCatalog | None) -> CheckedCatalog:
    """A catalog with the aggregates of both: what is kept while decisions go over from one version to the next."""
    if other is None:
        return checked
    columns = dict.fromkeys((*checked.property_columns, *other.property_columns))
    aggregates = {**other.aggregates, **checked.aggregates}
    return replace(checked, aggregates=aggregates, property_columns=tuple(columns))


def _floor(instant_ms: int, step_ms: int) -> int:
    return instant_ms // step_ms * step_ms


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def _base(key: str, aggregates: list[typed.BaseAggregate]) -> Base:
    first = aggregates[0]
    windows = dict.fromkeys(aggregate.window for aggregate in aggregates if aggregate.window is not None)
    # The gap before the first event of a window reaches back to whatever came before it.
    before = any(AGGREGATES[aggregate.function].longest_ms is not None for aggregate in aggregates)
    whole = before or any(aggregate.window is None for aggregate in aggregates)
    return Base(key, first, _family(first), tuple(windows), whole, before)


def _family(aggregate: typed.BaseAggregate) -> FamilyName:
    of_instants = aggregate.argument is not None and aggregate.argument.type == "timestamp"
    family = FOLDS[aggregate.function].family
    return "instants" if family == "numbers" and of_instants else family


def _key(aggregate: typed.BaseAggregate) -> str:
    family = _family(aggregate)
    argument = "" if aggregate.argument is None else f"({_with_type(aggregate.argument)})"
    if aggregate.scope == "outside":
        return f"outside.{family}"
    condition = None if aggregate.filter is None else f"{text_of(aggregate.filter)}{_types(aggregate.filter)}"
    event = aggregate.event if aggregate.scope == "named" else None
    return f"{print_aggregate(event, condition, family, None)}{argument}"


def _types(condition: typed.Node) -> str:
    """The types that a condition reads its properties as: a declaration may change, and its meaning with it."""
    fields = dict.fromkeys(_with_type(node) for node in walk(condition) if isinstance(node, typed.Field))
    return f" // {', '.join(fields)}" if fields else ""


def _with_type(node: typed.Field) -> str:
    return f"{text_of(node)}: {node.type}"
