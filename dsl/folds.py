"""Every aggregate as a mergeable state: identity, update, merge, finalise.

Aggregates that build on the same facts share a family, and so a state: how many events and when (`count`, `last_at`,
...), the numbers of a property (`sum`, `avg`, `min`, `max`), and so on. States are plain immutable values. Merging is
commutative and associative, never changes its inputs, and gives the same state however the events were split:
`merge(state(a), state(b)) == state(a + b)`.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import itemgetter
from typing import Any, Final, Literal, NamedTuple

import msgspec

from dsl.hyperloglog import Registers, estimate, of_hashes, union
from dsl.numbers import MICROS, bounded, divide_half_away
from dsl.state import Value
from dsl.tags import canonical_order, hash_prefix, is_scalar, tag, untag
from dsl.windows import Window

EXACT: Final = 256
"""Distinct values up to which `count_distinct` and percentiles are exact, and that the lists of values keep."""
MANTISSA_BITS: Final = 5
_MINUTE_MS = 60_000

FamilyName = Literal["moments", "numbers", "instants", "ends", "days", "values", "histogram"]


class Occurrence(NamedTuple):
    """What an aggregate sees of one event: `value` is that of its property, None where that is absent."""

    ts_ms: int
    event_id: str
    local_day: int
    value: Value = None


@dataclass(frozen=True, slots=True)
class Moment:
    """When a state is turned into a value: `today` is the local day number at `t_ms`."""

    t_ms: int
    today: int


class Ask(msgspec.Struct, frozen=True):
    """How a value is asked of a state."""

    moment: Moment
    window: Window | None = None
    quantile_micros: int = MICROS // 2


@dataclass(frozen=True, slots=True)
class Family:
    """The facts that some aggregates share.

    Attributes:
        identity: the state of no events.
        of: the state of one event; None for an event that does not count (its property is absent).
        together: the state of some events at once; what merging the state of each of them gives.
        merge: the state of both.
        encode: the state as integers, texts, Booleans, bytes and lists of them; `decode` gives it back.
    """

    identity: Any
    of: Callable[[Occurrence], Any]
    together: Callable[[Sequence[Occurrence]], Any]
    merge: Callable[[Any, Any], Any]
    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]

    def state(self, occurrences: Iterable[Occurrence]) -> Any:
        """The state of some events, in any order."""
        return self.merged(self.of(occurrence) for occurrence in occurrences)

    def merged(self, states: Iterable[Any]) -> Any:
        """The state of all that some states hold; None holds nothing."""
        held = [state for state in states if state is not None]
        return held[0] if len(held) == 1 else reduce(self.merge, held, self.identity)


@dataclass(frozen=True, slots=True)
class Fold:
    """One aggregate: whose state it reads, and the value of a state as it is asked for.

    `longest_gap_minutes` is no value of one state, but of the hops of a window: `longest_gap_minutes` gives it.
    """

    family: FamilyName
    finalise: Callable[[Any, Ask], Value]


def bucket_floor(micros: int) -> int:
    """The end nearer to zero of the log-linear bucket of a number: its highest bit and the 5 after it are kept.

    >>> bucket_floor(63), bucket_floor(1_000_000), bucket_floor(-1_000_000)
    (63, 999424, -999424)
    """
    shift = max(0, abs(micros).bit_length() - (MANTISSA_BITS + 1))
    size = abs(micros) >> shift << shift
    return -size if micros < 0 else size


# -- moments: how many events, the first, the last ---------------------------------------------------------------------

Moments = tuple[int, int, int] | None
"""Number of events, first and last instant in epoch milliseconds; None before the first event."""


def _moments(occurrences: Sequence[Occurrence]) -> Moments:
    instants = [occurrence.ts_ms for occurrence in occurrences]
    return (len(instants), min(instants), max(instants)) if instants else None


def _moments_union(left: Moments, right: Moments) -> Moments:
    if left is None or right is None:
        return left or right
    return left[0] + right[0], min(left[1], right[1]), max(left[2], right[2])


def longest_gap_minutes(hops: Iterable[tuple[int, int]], before_ms: int | None) -> Value:
    """From the last instant of a hop to the first of the next one that has events, in or into a window.

    Args:
        hops: first and last instant of each hop in the window, in order.
        before_ms: the last instant before the window; None when there was none.
    """
    longest: int | None = None
    for first, last in hops:
        if before_ms is not None:
            longest = max(longest or 0, first - before_ms)
        before_ms = last
    return None if longest is None else longest // _MINUTE_MS * MICROS


# -- numbers and instants of a property --------------------------------------------------------------------------------

Numbers = tuple[int, int, int, int] | None
"""How many numbers, their sum (128 bits), the smallest and the largest, in micro-units; None before the first."""
Instants = tuple[int, int] | None
"""The earliest and the latest."""


def _number(occurrence: Occurrence) -> int | None:
    value = occurrence.value
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _numbers(occurrence: Occurrence) -> Numbers:
    number = _number(occurrence)
    return None if number is None else (1, number, number, number)


def _all_numbers(occurrences: Sequence[Occurrence]) -> Numbers:
    numbers = _known_numbers(occurrences)
    return (len(numbers), sum(numbers), min(numbers), max(numbers)) if numbers else None


def _known_numbers(occurrences: Sequence[Occurrence]) -> list[int]:
    return [number for occurrence in occurrences if (number := _number(occurrence)) is not None]


def _numbers_union(left: Numbers, right: Numbers) -> Numbers:
    if left is None or right is None:
        return left or right
    return left[0] + right[0], left[1] + right[1], min(left[2], right[2]), max(left[3], right[3])


def _average(state: Numbers, _ask: Ask) -> Value:
    return None if state is None else bounded(divide_half_away(state[1], state[0]))


def _instants(occurrence: Occurrence) -> Instants:
    instant = _number(occurrence)
    return None if instant is None else (instant, instant)


def _all_instants(occurrences: Sequence[Occurrence]) -> Instants:
    instants = _known_numbers(occurrences)
    return (min(instants), max(instants)) if instants else None


def _instants_union(left: Instants, right: Instants) -> Instants:
    if left is None or right is None:
        return left or right
    return min(left[0], right[0]), max(left[1], right[1])


def _least(state: Numbers | Instants, _ask: Ask) -> Value:
    return None if state is None else state[-2]


def _greatest(state: Numbers | Instants, _ask: Ask) -> Value:
    return None if state is None else state[-1]


# -- ends: the first and the last value --------------------------------------------------------------------------------

Dated = tuple[int, str, Value]
"""Instant, event id, value; ordered by the first two."""
Ends = tuple[Dated, Dated] | None


def _ends(occurrence: Occurrence) -> Ends:
    if occurrence.value is None:
        return None
    dated = (occurrence.ts_ms, occurrence.event_id, occurrence.value)
    return dated, dated


def _all_ends(occurrences: Sequence[Occurrence]) -> Ends:
    dated: list[Dated] = [(o.ts_ms, o.event_id, o.value) for o in occurrences if o.value is not None]
    return (min(dated, key=itemgetter(0, 1)), max(dated, key=itemgetter(0, 1))) if dated else None


def _ends_union(left: Ends, right: Ends) -> Ends:
    if left is None or right is None:
        return left or right
    first = left[0] if left[0][:2] <= right[0][:2] else right[0]
    last = left[1] if left[1][:2] >= right[1][:2] else right[1]
    return first, last


def _decoded_ends(encoded: Any) -> Ends:
    if encoded is None:
        return None
    first, last = ((ts_ms, id_, tuple(v) if isinstance(v, list) else v) for ts_ms, id_, v in encoded)
    return first, last


# -- days --------------------------------------------------------------------------------------------------------------

Days = frozenset[int]


def _dates(state: Days, ask: Ask) -> Days:
    """The dates of the state that lie in the window, today included."""
    days = ask.window.days if ask.window is not None else None
    first = ask.moment.today - (days - 1) if days is not None else None
    return state if first is None else frozenset(day for day in state if first <= day <= ask.moment.today)


def _unique_days(state: Days, ask: Ask) -> Value:
    return len(_dates(state, ask)) * MICROS


def _streak_days(state: Days, ask: Ask) -> Value:
    dates = _dates(state, ask)
    day = ask.moment.today if ask.moment.today in dates else ask.moment.today - 1
    length = 0
    while day - length in dates:
        length += 1
    return length * MICROS


# -- values: which, and how often --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Values:
    """Tagged values with their counts; beyond 256 those with the smallest hashes, and the registers of all."""

    counts: Mapping[str, int]
    registers: Registers | None = None


def _values(occurrence: Occurrence) -> Values | None:
    return Values({tag(occurrence.value): 1}) if is_scalar(occurrence.value) else None


def _all_values(occurrences: Sequence[Occurrence]) -> Values:
    return values_of(Counter(tag(o.value) for o in occurrences if is_scalar(o.value)))


def values_of(counts: Mapping[str, int]) -> Values:
    """The state of all tagged values with their exact counts, however many there are."""
    if len(counts) <= EXACT:
        return Values(counts)
    return Values(_smallest(counts), of_hashes(map(hash_prefix, counts)))


def _values_union(left: Values, right: Values) -> Values:
    both = {key: left.counts.get(key, 0) + right.counts.get(key, 0) for key in {**left.counts, **right.counts}}
    if len(both) <= EXACT and left.registers is None and right.registers is None:
        return Values(both)
    return Values(_smallest(both), union(_registers(left), _registers(right)))


def _smallest(counts: Mapping[str, int]) -> dict[str, int]:
    kept = sorted(counts, key=lambda key: (hash_prefix(key), canonical_order(key)))[:EXACT]
    return {key: counts[key] for key in kept}


def _registers(state: Values) -> Registers:
    return state.registers or of_hashes(map(hash_prefix, state.counts))


def _count_distinct(state: Values, _ask: Ask) -> Value:
    return (len(state.counts) if state.registers is None else estimate(state.registers)) * MICROS


def _most_frequent(state: Values, _ask: Ask) -> Value:
    if not state.counts:
        return None
    most = max(state.counts.values())
    return untag(min((key for key, count in state.counts.items() if count == most), key=canonical_order))


def _unique_list(state: Values, _ask: Ask) -> Value:
    return tuple(untag(key) for key in sorted(state.counts, key=canonical_order))


# -- percentiles -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Histogram:
    """Numbers in micro-units with their counts; `bucketed` once there were more than 256 different ones."""

    counts: Mapping[int, int]
    bucketed: bool = False


def _histogram(occurrence: Occurrence) -> Histogram | None:
    number = _number(occurrence)
    return None if number is None else Histogram({number: 1})


def _all_numbers_counted(occurrences: Sequence[Occurrence]) -> Histogram:
    return histogram_of(Counter(_known_numbers(occurrences)))


def histogram_of(counts: Mapping[int, int]) -> Histogram:
    """The state of all numbers with their exact counts, however many there are."""
    return Histogram(counts) if len(counts) <= EXACT else _histogram_union(Histogram(counts), Histogram({}))


def _histogram_union(left: Histogram, right: Histogram) -> Histogram:
    bucketed = left.bucketed or right.bucketed or len({*left.counts, *right.counts}) > EXACT
    both: dict[int, int] = {}
    for side in (left, right):
        for number, count in side.counts.items():
            key = bucket_floor(number) if bucketed else number
            both[key] = both.get(key, 0) + count
    return Histogram(both, bucketed)


def _percentile(state: Histogram, ask: Ask) -> Value:
    total = sum(state.counts.values())
    rank = max(1, -(-ask.quantile_micros * total // MICROS))
    seen = 0
    for number in sorted(state.counts):
        seen += state.counts[number]
        if seen >= rank:
            return number
    return None


# -- the tables --------------------------------------------------------------------------------------------------------


def _as_tuple(encoded: Any) -> Any:
    return None if encoded is None else tuple(encoded)


def _wide(number: int) -> int | str:
    """A 128-bit integer as what every format holds: its text where 64 bits do not."""
    return number if bounded(number) is not None else str(number)


FAMILIES: Final[dict[FamilyName, Family]] = {
    "moments": Family(None, lambda o: (1, o.ts_ms, o.ts_ms), _moments, _moments_union, lambda state: state, _as_tuple),
    "numbers": Family(
        None,
        _numbers,
        _all_numbers,
        _numbers_union,
        lambda state: state and (state[0], _wide(state[1]), *state[2:]),
        lambda encoded: encoded and (encoded[0], int(encoded[1]), *encoded[2:]),
    ),
    "instants": Family(None, _instants, _all_instants, _instants_union, lambda state: state, _as_tuple),
    "ends": Family(None, _ends, _all_ends, _ends_union, lambda state: state, _decoded_ends),
    "days": Family(
        frozenset(),
        lambda o: frozenset((o.local_day,)),
        lambda occurrences: frozenset(o.local_day for o in occurrences),
        frozenset.union,
        sorted,
        frozenset,
    ),
    "values": Family(
        Values({}),
        _values,
        _all_values,
        _values_union,
        lambda state: (dict(sorted(state.counts.items())), state.registers),
        lambda encoded: Values(*encoded),
    ),
    "histogram": Family(
        Histogram({}),
        _histogram,
        _all_numbers_counted,
        _histogram_union,
        lambda state: (sorted(state.counts.items()), state.bucketed),
        lambda encoded: Histogram(dict(map(tuple, encoded[0])), encoded[1]),
    ),
}
"""Every family by its name."""

FOLDS: Final[dict[str, Fold]] = {
    "count": Fold("moments", lambda state, _: state[0] * MICROS if state else 0),
    "first_at": Fold("moments", lambda state, _: state and state[1]),
    "last_at": Fold("moments", lambda state, _: state and state[2]),
    "longest_gap_minutes": Fold("moments", lambda _state, _ask: None),
    "sum": Fold("numbers", lambda state, _: bounded(state[1]) if state else 0),
    "avg": Fold("numbers", _average),
    "min": Fold("numbers", _least),
    "max": Fold("numbers", _greatest),
    "first": Fold("ends", lambda state, _: state and state[0][2]),
    "last": Fold("ends", lambda state, _: state and state[1][2]),
    "unique_days": Fold("days", _unique_days),
    "streak_days": Fold("days", _streak_days),
    "count_distinct": Fold("values", _count_distinct),
    "most_frequent": Fold("values", _most_frequent),
    "unique_list": Fold("values", _unique_list),
    "percentile": Fold("histogram", _percentile),
    "median": Fold("histogram", _percentile),
}
"""Every aggregate by its name."""

APPROXIMATE: Final = ("count_distinct", "most_frequent", "unique_list", "percentile", "median")
"""Aggregates that are exact up to 256 different values only."""
