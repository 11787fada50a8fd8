"""Section 2: which instants and which local dates a window covers."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

SECOND = 1_000
MINUTE = 60_000
HOUR = 3_600_000
DAY = 86_400_000
UNITS = {"s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY, "w": 7 * DAY}
HOPS = (SECOND, MINUTE, 5 * MINUTE, HOUR, DAY)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def hop(window_ms: int) -> int:
    """Duration windows: the largest of 1s, 1m, 5m, 1h, 1d with 100 * h <= W, else 1s."""
    fitting = [h for h in HOPS if 100 * h <= window_ms]
    return max(fitting) if fitting else SECOND


def window_start(t_ms: int, window_ms: int) -> int:
    """Duration windows: the start of `[floor(t - W, h), t)`, epoch arithmetic in UTC."""
    h = hop(window_ms)
    return (t_ms - window_ms) // h * h


def local_time(ms: int, zone: ZoneInfo) -> datetime:
    """The wall clock of a zone at an instant."""
    return (EPOCH + timedelta(milliseconds=ms)).astimezone(zone)


def local_date(ms: int, zone: ZoneInfo) -> date:
    """Calendar-day windows: the local date of an instant in the project's zone."""
    return local_time(ms, zone).date()


def window_dates(t_ms: int, days: int, zone: ZoneInfo) -> set[date]:
    """Calendar-day windows: `today-(N-1) .. today`."""
    today = local_date(t_ms, zone)
    return {today - timedelta(days=back) for back in range(days)}


def local_offset(wall_clock: datetime, zone: ZoneInfo) -> timedelta:
    """How far the wall clock of a zone is ahead of UTC."""
    return zone.utcoffset(wall_clock) or timedelta(0)


def start_of_date(day: date, zone: ZoneInfo) -> int:
    """Values, timestamps: the start of a date in the project's zone, in ms.

    It is midnight, the earlier of two midnights, or, where the clocks skip midnight, the first instant after the skip.
    """
    midnight = datetime(day.year, day.month, day.day)  # noqa: DTZ001 - a wall clock, its zone is given on the next line
    if day.year in {1, 9999}:  # Python has no years around these; no clock changes in them at midnight
        return (midnight.replace(tzinfo=UTC) - EPOCH - local_offset(midnight, zone)) // timedelta(milliseconds=1)
    start = midnight.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if start.astimezone(zone).replace(tzinfo=None) != midnight:
        second = timedelta(seconds=1)
        while (start - second).astimezone(zone).replace(tzinfo=None) >= midnight:
            start -= second
    return (start - EPOCH) // timedelta(milliseconds=1)
