"""Section 3, "Aggregates": every aggregate of the table, over a plain list of events."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal, localcontext
from typing import Any
from zoneinfo import ZoneInfo

from tests.oracle.tree import Aggregate
from tests.oracle.values import (
    MICRO,
    Number,
    Timestamp,
    Value,
    divide,
    fit,
    md5_prefix,
    tagged,
    whole,
)
from tests.oracle.windows import DAY, MINUTE, hop, local_date, window_dates, window_start

EXACT = 256
REGISTERS = 4096
MANTISSA_BITS = 5


@dataclass(frozen=True)
class Event:
    """Section 1: what of an event an expression can ask about."""

    event_id: str
    seq: int
    ts: int
    kind: str
    name: str
    source_id: str
    properties: Mapping[str, object]
    context: Mapping[str, object]

    @staticmethod
    def of(raw: Mapping[str, Any]) -> "Event":
        """An event from its dictionary; page and screen events are named `page` and `screen`."""
        kind = str(raw["kind"])
        return Event(
            event_id=str(raw["event_id"]),
            seq=int(raw["seq"]),
            ts=int(raw["ts"]),
            kind=kind,
            name=kind if kind in {"page", "screen"} else str(raw.get("name") or ""),
            source_id=str(raw["source_id"]),
            properties=raw.get("properties") or {},
            context=raw.get("context") or {},
        )


def by_moment(events: list[Event]) -> list[Event]:
    """`first`, `last` and section 4: in the order of `(ts, event_id)`."""
    return sorted(events, key=lambda event: (event.ts, event.event_id))


def aggregate(ask: Aggregate, events: list[Event], read: Callable[[Event], Value], t_ms: int, zone: ZoneInfo) -> Value:
    """One aggregate over all events of the profile that have the name and pass the filter; `read` gives the property.

    The events are already those with `ts < t` and `seq <= S`; the window is cut here.
    """
    if ask.name in {"unique_days", "streak_days"}:
        return of_dates(ask, events, t_ms, zone)
    if ask.name == "longest_gap_minutes":
        return longest_gap_minutes(events, t_ms, ask.window_ms or 0)
    if ask.window_ms is not None:
        start = window_start(t_ms, ask.window_ms)
        events = [event for event in events if event.ts >= start]
    events = by_moment(events)
    if ask.path is None:
        return of_moments(ask.name, [event.ts for event in events], t_ms)
    values: list[Value] = [value for value in (read(event) for event in events) if value is not None]
    return of_values(ask, values)


def of_moments(name: str, moments: list[int], t_ms: int) -> Value:
    """`count` and the aggregates over the instants alone."""
    if name == "count":
        return whole(len(moments))
    if not moments:
        return None
    if name == "first_at":
        return Timestamp(min(moments))
    if name == "last_at":
        return Timestamp(max(moments))
    if name == "days_since_first":
        return whole((t_ms - min(moments)) // DAY)
    if name == "days_since_last":
        return whole((t_ms - max(moments)) // DAY)
    if name == "minutes_since_last":
        return whole((t_ms - max(moments)) // MINUTE)
    raise NotImplementedError(name)


def of_dates(ask: Aggregate, events: list[Event], t_ms: int, zone: ZoneInfo) -> Value:
    """Section 2, calendar-day windows: `unique_days` and `streak_days`."""
    dates = {local_date(event.ts, zone) for event in events}
    if ask.window_ms is not None:
        dates &= window_dates(t_ms, ask.window_ms // DAY, zone)
    if ask.name == "unique_days":
        return whole(len(dates))
    return whole(streak(dates, local_date(t_ms, zone)))


def streak(dates: set[date], today: date) -> int:
    """Section 2: consecutive dates with an event, ending today, or yesterday if none today."""
    day = today if today in dates else today - timedelta(days=1)
    length = 0
    while day in dates:
        length += 1
        day -= timedelta(days=1)
    return length


def longest_gap_minutes(events: list[Event], t_ms: int, window_ms: int) -> Value:
    """The longest time from an event to the next one in the window; gaps inside one hop are not seen.

    Of each hop of the window the first and the last instant are known, and the last instant before the window: a gap
    runs from the last instant of what came before to the first of the next hop that has an event. Whole minutes, floor.
    """
    start, h = window_start(t_ms, window_ms), hop(window_ms)
    before = [event.ts for event in events if event.ts < start]
    previous = max(before) if before else None
    gaps: list[int] = []
    inside = [event.ts for event in events if event.ts >= start]
    for hop_index in sorted({ts // h for ts in inside}):
        moments = [ts for ts in inside if ts // h == hop_index]
        if previous is not None:
            gaps.append(min(moments) - previous)
        previous = max(moments)
    return whole(max(gaps) // MINUTE) if gaps else None


def of_values(ask: Aggregate, values: list[Value]) -> Value:
    """The aggregates of a property: its values that are present and not null, in the order of `(ts, event_id)`.

    A value of another type than the aggregate needs is absent for it.
    """
    numbers = [value.micro for value in values if isinstance(value, Number)]
    scalars = [value for value in values if tagged(value) is not None]
    by_name: dict[str, Callable[[], Value]] = {
        "sum": lambda: fit(sum(numbers)),
        "avg": lambda: fit(divide(sum(numbers), len(numbers))) if numbers else None,
        "min": lambda: extreme(min, values),
        "max": lambda: extreme(max, values),
        "first": lambda: values[0] if values else None,
        "last": lambda: values[-1] if values else None,
        "count_distinct": lambda: count_distinct(scalars),
        "most_frequent": lambda: most_frequent(scalars),
        "unique_list": lambda: tuple(unique(scalars)),
        "percentile": lambda: percentile(numbers, ask.q),
        "median": lambda: percentile(numbers, MICRO // 2),
    }
    return by_name[ask.name]()


def extreme(choose: Callable[[list[int]], int], values: list[Value]) -> Value:
    """`min` and `max` of the numbers; a field declared `timestamp` has no numbers and gives a timestamp."""
    numbers = [value.micro for value in values if isinstance(value, Number)]
    moments = [value.ms for value in values if isinstance(value, Timestamp)]
    if numbers:
        return Number(choose(numbers))
    return Timestamp(choose(moments)) if moments else None


# --- distinct values -------------------------------------------------------------------------------------------------


def canonical_order(value: Value) -> tuple[str, str]:
    """Ties and order by canonical text; of a number and a string with one text the number (`n:`) comes first."""
    return tagged(value) or ("", "")


def unique(scalars: list[Value]) -> list[Value]:
    """The distinct values by canonical text; beyond 256 the 256 with the smallest md5 prefix."""
    distinct = list({tagged(value): value for value in scalars}.values())
    if len(distinct) > EXACT:
        distinct = sorted(distinct, key=lambda value: (md5_prefix(value), canonical_order(value)))[:EXACT]
    return sorted(distinct, key=canonical_order)


def most_frequent(scalars: list[Value]) -> Value:
    """The value with the highest exact count among those that are kept; a tie goes to the smaller canonical text."""
    best: Value = None
    best_count = 0
    for value in unique(scalars):
        count = len([other for other in scalars if tagged(other) == tagged(value)])
        if count > best_count:
            best, best_count = value, count
    return best


def count_distinct(scalars: list[Value]) -> Value:
    """Exact to 256, then HyperLogLog over the md5 prefixes."""
    distinct = {tagged(value) for value in scalars}
    if len(distinct) <= EXACT:
        return whole(len(distinct))
    return whole(hyperloglog({md5_prefix(value) for value in scalars}))


def hyperloglog(hashes: set[int]) -> int:
    """HyperLogLog with p = 12 (m = 4096 registers) over 64-bit hashes. The page names no estimator; this one is chosen.

    The first 12 bits of a hash choose the register; its rank is the number of leading zeros of the other 52 bits plus
    one (53 when all are zero); a register keeps the highest rank. The estimate is the classic raw one,
    `E = alpha * m^2 / sum(2^-register)` with `alpha = 0.7213 / (1 + 1.079 / m)`; when `E <= 2.5 * m` and some register
    is zero it is linear counting, `m * ln(m / zeros)`. No bias correction, none for large ranges (64 bits do not need
    it). The result is rounded half away from zero to a whole number. Integers and decimals only: no doubles.
    """
    registers = [0] * REGISTERS
    for value in hashes:
        rest = value & (2**52 - 1)
        rank = 52 - rest.bit_length() + 1
        registers[value >> 52] = max(registers[value >> 52], rank)
    halves = sum(2 ** (53 - register) for register in registers)  # sum(2^-register) * 2^53
    above, below = 7213 * REGISTERS * REGISTERS**2 * 2**53, 10 * 4_097_079 * halves  # alpha = 7213 * 4096 / 40970790
    zeros = registers.count(0)
    if above * 2 <= 5 * REGISTERS * below and zeros:
        with localcontext() as context:
            context.prec = 50
            estimate = REGISTERS * (Decimal(REGISTERS) / Decimal(zeros)).ln()
            return int(estimate.quantize(Decimal(1), rounding=ROUND_HALF_UP))
    return divide(above, below)


# --- percentiles -----------------------------------------------------------------------------------------------------


def percentile(numbers: list[int], q_micro: int) -> Value:
    """The value of rank `max(1, ceil(q * n))`; beyond 256 distinct values the lower end of its log-linear bucket."""
    if not numbers:
        return None
    rank = max(1, -(-q_micro * len(numbers) // MICRO))
    found = sorted(numbers)[rank - 1]
    return Number(found if len(set(numbers)) <= EXACT else bucket_floor(found))


def bucket_floor(micro: int) -> int:
    """The lower end of a log-linear bucket, on integer micro-units; the page names no function, this one is chosen.

    The size keeps its highest bit and the 5 bits after it, the lower bits become 0 (a size below 64 stays as it is);
    then the sign comes back. So "lower" is nearer to zero for negative numbers too. The function never decreases, so
    the bucket of rank r is the bucket of the value of rank r.
    """
    shift = max(0, abs(micro).bit_length() - (MANTISSA_BITS + 1))
    size = abs(micro) >> shift << shift
    return -size if micro < 0 else size
