"""Every aggregate as a mergeable state: identity, update, merge, finalise.

States are plain immutable values. Merging is commutative and associative, never changes its inputs, and gives the same
state however the events were split: `merge(fold(a), fold(b)) == fold(a + b)`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from hashlib import md5
from typing import Any

from typing_extensions import TypeIs

from dsl.hyperloglog import Registers, estimate, of_hashes, union
from dsl.numbers import MICROS, bounded, divide_half_away, read_number, write_number
from dsl.state import Scalar, Value
from dsl.windows import Window

EXACT = 256
"""Distinct values up to which `count_distinct` and percentiles are exact, and that the lists of values keep."""
MANTISSA_BITS = 5
_DAY_MS = 86_400_000
_MINUTE_MS = 60_000


@dataclass(frozen=True, slots=True)
class Occurrence:
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


@dataclass(frozen=True, slots=True)
class Fold:
    """One aggregate.

    Attributes:
        identity: the state of no events.
        of: the state of one event; None for an event that does not count (its property is absent).
        merge: the state of both.
        finalise: the value of a state; gets the window and quantile that the aggregate was asked with.
    """

    identity: Any
    of: "Callable[[Occurrence], Any]"
    merge: "Callable[[Any, Any], Any]"
    finalise: "Callable[[Any, Ask], Value]"

    def state(self, occurrences: Iterable[Occurrence]) -> Any:
        """The state of some events, in any order."""
        states = (self.of(occurrence) for occurrence in occurrences)
        return reduce(self.merge, (state for state in states if state is not None), self.identity)


@dataclass(frozen=True, slots=True)
class Ask:
    """How a value is asked of a state."""

    moment: Moment
    window: Window | None = None
    quantile_micros: int = MICROS // 2


def tag(value: Scalar) -> str:
    """Type and canonical text of a value: what is counted as one and the same.

    >>> tag(1_500_000), tag("1.5"), tag(True)
    ('n:1.5', 's:1.5', 'b:true')
    """
    if isinstance(value, bool):
        return "b:true" if value else "b:false"
    return f"n:{write_number(value)}" if isinstance(value, int) else f"s:{value}"


def is_scalar(value: Value) -> TypeIs[Scalar]:
    """Whether a value can be tagged: it is there, and no list."""
    return value is not None and not isinstance(value, tuple)


def untag(text: str) -> Scalar:
    """The value that `tag` wrote.

    Raises:
        ValueError: it wrote no such text.
    """
    kind, _, rest = text.partition(":")
    if kind == "n" and (number := read_number(rest)) is not None:
        return number
    if kind == "b":
        return rest == "true"
    if kind == "s":
        return rest
    raise ValueError(f"`{text}` is no tagged value")


def hash_prefix(tagged: str) -> int:
    """The first 64 bits of the MD5 of a tagged value: the one hash that every engine has."""
    return int.from_bytes(md5(tagged.encode(), usedforsecurity=False).digest()[:8])


def bucket_floor(micros: int) -> int:
    """The end nearer to zero of the log-linear bucket of a number: its highest bit and the 5 after it are kept.

    >>> bucket_floor(63), bucket_floor(1_000_000), bucket_floor(-1_000_000)
    (63, 999424, -999424)
    """
    shift = max(0, abs(micros).bit_length() - (MANTISSA_BITS + 1))
    size = abs(micros) >> shift << shift
    return -size if micros < 0 else size


# -- counts, sums, edges -----------------------------------------------------------------------------------------------


def _number(occurrence: Occurrence) -> int | None:
    value = occurrence.value
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _sum_and_count(occurrence: Occurrence) -> tuple[int, int] | None:
    number = _number(occurrence)
    return None if number is None else (number, 1)


def _average(state: tuple[int, int], _ask: Ask) -> Value:
    total, count = state
    return bounded(divide_half_away(total, count)) if count else None


def _edge(choose: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Merging where nothing is None: the smaller or larger of two."""
    return lambda left, right: right if left is None else left if right is None else choose(left, right)


def _by_moment(occurrence: Occurrence) -> tuple[int, str, Value] | None:
    return None if occurrence.value is None else (occurrence.ts_ms, occurrence.event_id, occurrence.value)


def _earlier(left: tuple[int, str, Value], right: tuple[int, str, Value]) -> tuple[int, str, Value]:
    return left if left[:2] <= right[:2] else right


def _later(left: tuple[int, str, Value], right: tuple[int, str, Value]) -> tuple[int, str, Value]:
    return left if left[:2] >= right[:2] else right


# -- days and gaps -----------------------------------------------------------------------------------------------------


def _dates(state: frozenset[int], ask: Ask) -> frozenset[int]:
    """The dates of the state that lie in the window, today included."""
    days = ask.window.days if ask.window is not None else None
    first = ask.moment.today - (days - 1) if days is not None else None
    return state if first is None else frozenset(day for day in state if first <= day <= ask.moment.today)


def _unique_days(state: frozenset[int], ask: Ask) -> Value:
    return len(_dates(state, ask)) * MICROS


def _streak_days(state: frozenset[int], ask: Ask) -> Value:
    dates = _dates(state, ask)
    day = ask.moment.today if ask.moment.today in dates else ask.moment.today - 1
    length = 0
    while day - length in dates:
        length += 1
    return length * MICROS


Instants = tuple[int, ...]


def _longest_gap_minutes(state: Instants, ask: Ask) -> Value:
    """From the last instant of a hop to the first of the next one that has events, in or into the window."""
    window = ask.window
    if window is None:
        return None
    start_ms, hop_ms = window.start_ms(ask.moment.t_ms), window.hop_ms
    previous = max((ts_ms for ts_ms in state if ts_ms < start_ms), default=None)
    hops: dict[int, tuple[int, int]] = {}
    for ts_ms in state:
        if ts_ms >= start_ms:
            first, last = hops.get(ts_ms // hop_ms, (ts_ms, ts_ms))
            hops[ts_ms // hop_ms] = (min(first, ts_ms), max(last, ts_ms))
    longest: int | None = None
    for hop in sorted(hops):
        first, last = hops[hop]
        if previous is not None:
            longest = max(longest or 0, first - previous)
        previous = last
    return None if longest is None else longest // _MINUTE_MS * MICROS


# -- distinct values --------------------------------------------------------------------------------------------------

Distinct = frozenset[int] | Registers


def _hash_of(occurrence: Occurrence) -> Distinct | None:
    value = occurrence.value
    return None if value is None or isinstance(value, tuple) else frozenset((hash_prefix(tag(value)),))


def _distinct_union(left: Distinct, right: Distinct) -> Distinct:
    if isinstance(left, frozenset) and isinstance(right, frozenset):
        both = left | right
        return both if len(both) <= EXACT else of_hashes(both)
    return union(*(of_hashes(side) if isinstance(side, frozenset) else side for side in (left, right)))


def _count_distinct(state: Distinct, _ask: Ask) -> Value:
    return (len(state) if isinstance(state, frozenset) else estimate(state)) * MICROS


Counts = Mapping[str, int]


def _one_count(occurrence: Occurrence) -> Counts | None:
    value = occurrence.value
    return None if value is None or isinstance(value, tuple) else {tag(value): 1}


def _counts_union(left: Counts, right: Counts) -> Counts:
    both = {key: left.get(key, 0) + right.get(key, 0) for key in {**left, **right}}
    if len(both) <= EXACT:
        return both
    return {key: both[key] for key in sorted(both, key=lambda key: (hash_prefix(key), _canonical(key)))[:EXACT]}


def _canonical(tagged: str) -> tuple[str, str]:
    """Order of values: by canonical text, then by the letter of their type."""
    kind, _, text = tagged.partition(":")
    return text, kind


def _most_frequent(state: Counts, _ask: Ask) -> Value:
    if not state:
        return None
    most = max(state.values())
    return untag(min((key for key, count in state.items() if count == most), key=_canonical))


def _unique_list(state: Counts, _ask: Ask) -> Value:
    return tuple(untag(key) for key in sorted(state, key=_canonical))


# -- percentiles -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Histogram:
    """Numbers in micro-units with their counts; `bucketed` once there were more than 256 different ones."""

    counts: Mapping[int, int]
    bucketed: bool = False


def _one_number(occurrence: Occurrence) -> Histogram | None:
    number = _number(occurrence)
    return None if number is None else Histogram({number: 1})


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


APPROXIMATE = ("count_distinct", "most_frequent", "unique_list", "percentile", "median")
"""Aggregates that are exact up to 256 different values only."""

FOLDS: dict[str, Fold] = {
    "count": Fold(0, lambda _: 1, int.__add__, lambda state, _: state * MICROS),
    "sum": Fold(0, _number, int.__add__, lambda state, _: bounded(state)),
    "avg": Fold((0, 0), _sum_and_count, lambda a, b: (a[0] + b[0], a[1] + b[1]), _average),
    "min": Fold(None, _number, _edge(min), lambda state, _: state),
    "max": Fold(None, _number, _edge(max), lambda state, _: state),
    "first": Fold(None, _by_moment, _edge(_earlier), lambda state, _: state and state[2]),
    "last": Fold(None, _by_moment, _edge(_later), lambda state, _: state and state[2]),
    "first_at": Fold(None, lambda o: o.ts_ms, _edge(min), lambda state, _: state),
    "last_at": Fold(None, lambda o: o.ts_ms, _edge(max), lambda state, _: state),
    "unique_days": Fold(frozenset(), lambda o: frozenset((o.local_day,)), frozenset.union, _unique_days),
    "streak_days": Fold(frozenset(), lambda o: frozenset((o.local_day,)), frozenset.union, _streak_days),
    "longest_gap_minutes": Fold((), lambda o: (o.ts_ms,), tuple.__add__, _longest_gap_minutes),
    "count_distinct": Fold(frozenset(), _hash_of, _distinct_union, _count_distinct),
    "most_frequent": Fold({}, _one_count, _counts_union, _most_frequent),
    "unique_list": Fold({}, _one_count, _counts_union, _unique_list),
    "percentile": Fold(Histogram({}), _one_number, _histogram_union, _percentile),
    "median": Fold(Histogram({}), _one_number, _histogram_union, _percentile),
}
"""Every aggregate by its name."""
