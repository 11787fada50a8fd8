"""Instants and days: the clock of a project, instants as text, and local days of a time zone."""

import re
import time
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

DAY_MS = 86_400_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
_FIRST_MS, _LAST_MS = -62_135_596_800_000, 253_402_300_799_999
"""0001-01-01T00:00:00.000Z and 9999-12-31T23:59:59.999Z, the instants that have a text."""
_DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")
_INSTANT = re.compile(
    _DATE.pattern + r"(?:[Tt ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:[.,]([0-9]+))?)? ?"
    r"([Zz]|([+-])([0-9]{2}):?([0-9]{2})?)?)?"
)


@dataclass(frozen=True, slots=True)
class Clock:
    """Wall time minus a fixed offset in milliseconds; 0 is wall time itself."""

    offset_ms: int = 0

    def now_ms(self) -> int:
        """The project's now, epoch milliseconds, UTC."""
        return time.time_ns() // 1_000_000 - self.offset_ms


@dataclass(frozen=True, slots=True)
class Zone:
    """A time zone by its IANA name, such as `America/New_York`.

    Raises:
        ValueError: there is no zone of that name.
    """

    name: str
    _info: ZoneInfo = field(init=False, repr=False, compare=False)
    _offset_of_day: dict[int, int | None] = field(init=False, repr=False, compare=False, default_factory=dict)
    _start_of_day: dict[int, int] = field(init=False, repr=False, compare=False, default_factory=dict)
    _run_of_day: dict[int, tuple[int, int]] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        try:
            info = ZoneInfo(self.name)
        except (ValueError, OSError, ZoneInfoNotFoundError):
            raise ValueError(f"time zone `{self.name}` is not known: use a name such as `America/New_York`") from None
        object.__setattr__(self, "_info", info)

    def day(self, ts_ms: int) -> int:
        """Local date at an instant, as days since 1970-01-01.

        >>> Zone("America/New_York").day(1_514_779_281_000), Zone("UTC").day(1_514_779_281_000)
        (17531, 17532)
        """
        utc_day = ts_ms // DAY_MS
        if utc_day not in self._offset_of_day:
            changes = self.offsets(utc_day * DAY_MS, (utc_day + 1) * DAY_MS - 1)
            self._offset_of_day[utc_day] = changes[0][1] if len(changes) == 1 else None
        offset_ms = self._offset_of_day[utc_day]
        return (ts_ms + (self._offset_ms(ts_ms) if offset_ms is None else offset_ms)) // DAY_MS

    def start_ms(self, day: int) -> int:
        """First instant whose local date is `day` or later: where a clock change skips midnight, the change itself.

        >>> format_instant(Zone("America/New_York").start_ms(17532))
        '2018-01-01T05:00:00.000Z'
        """
        found = self._start_of_day.get(day)
        if found is None:
            found = self._start_of_day[day] = self._computed_start_ms(day)
        return found

    def _computed_start_ms(self, day: int) -> int:
        midnight_ms = day * DAY_MS
        # No zone is, or was, two days from UTC.
        changes = self.offsets(midnight_ms - 2 * DAY_MS, midnight_ms + 2 * DAY_MS)
        ends_ms = [from_ms for from_ms, _ in changes[1:]] + [midnight_ms + 2 * DAY_MS]
        starts = (
            max(from_ms, midnight_ms - offset_ms)
            for (from_ms, offset_ms), end_ms in zip(changes, ends_ms, strict=True)
            if midnight_ms - offset_ms < end_ms
        )
        return next(starts)

    def next_day_ms(self, ts_ms: int) -> int:
        """First instant after `ts_ms` with another local date; an earlier one, where clocks go back over midnight."""
        today = self.day(ts_ms)
        from_ms, end_ms = self._run_of_day.get(today, (0, 0))
        if not from_ms <= ts_ms < end_ms:
            end_ms = self._computed_next_day_ms(ts_ms, today)
            self._run_of_day[today] = ts_ms, end_ms
        return end_ms

    def _computed_next_day_ms(self, ts_ms: int, today: int) -> int:
        end_ms = ts_ms + 3 * DAY_MS
        changes = self.offsets(ts_ms, end_ms)
        ends_ms = [from_ms for from_ms, _ in changes[1:]] + [end_ms]
        for (from_ms, offset_ms), until_ms in zip(changes, ends_ms, strict=True):
            if (from_ms + offset_ms) // DAY_MS != today:
                return from_ms
            midnight_ms = (today + 1) * DAY_MS - offset_ms
            if midnight_ms < until_ms:
                return midnight_ms
        return end_ms

    def offsets(self, lo_ms: int, hi_ms: int) -> list[tuple[int, int]]:
        """Local time minus UTC from `lo_ms` to `hi_ms`, both inclusive.

        Returns:
            `(from_ms, offset_ms)` in order: the first at `lo_ms`, then one at the first millisecond of each change.

        >>> Zone("America/New_York").offsets(1_509_840_000_000, 1_509_926_400_000)
        [(1509840000000, -14400000), (1509861600000, -18000000)]
        """
        changes = [(lo_ms, self._offset_ms(lo_ms))]
        while lo_ms < hi_ms:
            # No zone ever changed twice within two days, so equal ends mean no change between them.
            next_ms = min(lo_ms + DAY_MS, hi_ms)
            if self._offset_ms(next_ms) != changes[-1][1]:
                from_ms = self._change_ms(lo_ms, next_ms)
                changes.append((from_ms, self._offset_ms(from_ms)))
            lo_ms = next_ms
        return changes

    def _change_ms(self, before_ms: int, after_ms: int) -> int:
        """First millisecond of the change that lies in `(before_ms, after_ms]`."""
        offset_ms = self._offset_ms(before_ms)
        while after_ms - before_ms > 1:
            middle_ms = (before_ms + after_ms) // 2
            if self._offset_ms(middle_ms) == offset_ms:
                before_ms = middle_ms
            else:
                after_ms = middle_ms
        return after_ms

    def _offset_ms(self, ts_ms: int) -> int:
        # A day of room at both ends of the calendar, where local time must still be a date.
        seconds = min(max(ts_ms, _FIRST_MS + DAY_MS), _LAST_MS - DAY_MS) // 1000
        offset = (_EPOCH + timedelta(seconds=seconds)).astimezone(self._info).utcoffset()
        return offset // timedelta(milliseconds=1) if offset else 0


UTC_ZONE = Zone("UTC")


def format_instant(ms: int) -> str:
    """UTC text of epoch milliseconds, always with three decimals.

    Raises:
        ValueError: outside the years 1 to 9999.

    >>> format_instant(1_514_779_281_000)
    '2018-01-01T04:01:21.000Z'
    """
    if not _FIRST_MS <= ms <= _LAST_MS:
        raise ValueError(f"instant {ms} is outside the years 1 to 9999")
    second, milliseconds = divmod(ms, 1_000)
    return f"{_second(second)}.{milliseconds:03d}Z"


@lru_cache(maxsize=1_024)  # what is told of lies close together
def _second(second: int) -> str:
    return (_EPOCH + timedelta(seconds=second)).replace(tzinfo=None).isoformat()


def parse_instant(text: str, zone: Zone = UTC_ZONE) -> int:
    """Epoch milliseconds of an ISO 8601 text, floored; without an offset it is UTC.

    Args:
        zone: a date alone is the start of that date here.

    Raises:
        ValueError: no such instant, or outside the years 1 to 9999.

    >>> parse_instant("2018-01-01T04:01:21Z"), parse_instant("2017-12-31 23:01:21.0009-05:00")
    (1514779281000, 1514779281000)
    """
    match = _INSTANT.fullmatch(text)
    if match is None:
        raise ValueError(f"`{text[:40]}` is no instant: write it like `2018-01-01T04:01:21Z`")
    day = parse_day(text[:10])
    ms = zone.start_ms(day) if match[4] is None else day * DAY_MS + _time_ms(match)
    if not _FIRST_MS <= ms <= _LAST_MS:
        raise ValueError(f"`{text[:40]}` is outside the years 1 to 9999")
    return ms


def parse_day(text: str) -> int:
    """Days since 1970-01-01 of a calendar date.

    Raises:
        ValueError: no such date.

    >>> parse_day("2018-01-01")
    17532
    """
    match = _DATE.fullmatch(text)
    try:
        if match:
            return date(int(match[1]), int(match[2]), int(match[3])).toordinal() - _EPOCH_ORDINAL
    except ValueError:
        pass
    raise ValueError(f"`{text[:40]}` is no date: write it like `2018-01-31`")


def format_day(day: int) -> str:
    """The calendar date of days since 1970-01-01.

    >>> format_day(17532)
    '2018-01-01'
    """
    return date.fromordinal(day + _EPOCH_ORDINAL).isoformat()


def _time_ms(match: re.Match[str]) -> int:
    """Milliseconds after UTC midnight of the matched date; negative east of Greenwich."""
    hours, minutes, seconds = int(match[4]), int(match[5]), int(match[6] or 0)
    offset_hours, offset_minutes = int(match[10] or 0), int(match[11] or 0)
    if hours > 23 or minutes > 59 or seconds > 59 or offset_hours > 23 or offset_minutes > 59:
        raise ValueError(f"`{match[0][:40]}` has no such time of day")
    offset_ms = (offset_hours * 60 + offset_minutes) * (-60_000 if match[9] == "-" else 60_000)
    fraction_ms = int((match[7] or "")[:3].ljust(3, "0"))
    return ((hours * 60 + minutes) * 60 + seconds) * 1000 + fraction_ms - offset_ms
