"""Both sides of every edge: of windows, hops, local days, and days on which clocks change."""

import pytest

from dsl.clock import Zone
from dsl.windows import Window, hop_ms, read_window
from tests.differential.worlds import instant
from tests.dsl.one_profile import T_MS, answers, event, world

SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
# Each window with its hop, both sides of each change of hop among them.
HOPS = {
    "1s": SECOND,
    "60s": SECOND,
    "99s": SECOND,
    "100s": SECOND,
    "5999s": SECOND,
    "6000s": MINUTE,
    "30m": SECOND,
    "1h": SECOND,
    "99m": SECOND,
    "100m": MINUTE,
    "499m": MINUTE,
    "500m": 5 * MINUTE,
    "24h": 5 * MINUTE,
    "36h": 5 * MINUTE,
    "99h": 5 * MINUTE,
    "100h": HOUR,
    "4d": 5 * MINUTE,
    "5d": HOUR,
    "7d": HOUR,
    "2w": HOUR,
    "90d": HOUR,
    "99d": HOUR,
    "14w": HOUR,
    "100d": DAY,
    "15w": DAY,
}


@pytest.mark.parametrize(("written", "hop"), HOPS.items())
def test_hop(written: str, hop: int) -> None:
    """The hop is the largest of 1s, 1m, 5m, 1h, 1d that goes a hundred times into the window, else 1s."""
    window = read_window(written)
    assert window is not None
    assert hop == window.hop_ms == hop_ms(window.width_ms)


@pytest.mark.parametrize("written", HOPS)
def test_start(written: str) -> None:
    """The window starts on a hop, and is at most one hop longer than asked, never shorter."""
    window = read_window(written)
    assert window is not None
    for t_ms in (T_MS, T_MS // DAY * DAY, T_MS // DAY * DAY - 1, 0, -1):
        start = window.start_ms(t_ms)
        assert 0 == start % window.hop_ms
        assert 0 <= t_ms - start - window.width_ms < window.hop_ms


def test_engines_count_both_sides() -> None:
    """Of each window the engines count the first millisecond and the last before `t`, and neither neighbour."""
    starts = {written: read_window(written).start_ms(T_MS) for written in HOPS}  # type: ignore[union-attr]  # all are windows
    events = [event(start + offset, written) for written, start in starts.items() for offset in (-1, 0, 1)]
    events += [event(T_MS + offset, written) for written in starts for offset in (-1, 0, 1)]
    counts = {f"count_{written}": f'events["{written}"].count_{written}' for written in HOPS}
    firsts = {f"first_{written}": f'events["{written}"].first_at_{written}' for written in HOPS}
    found = answers(world(*events), **counts, **firsts)
    assert dict.fromkeys(counts, 3_000_000) == {key: found[key] for key in counts}
    assert {f"first_{written}": start for written, start in starts.items()} == {key: found[key] for key in firsts}


@pytest.mark.parametrize("written", ["", "0d", "01d", "d", "1y", "1M", "-1d", "1.5h", "1 d", "9999999999s", "\u0661d"])
def test_no_window(written: str) -> None:
    """What is no whole number of a known unit is no window."""
    assert read_window(written) is None


def test_days() -> None:
    """Windows of days and weeks have a length in calendar days, others have none."""
    windows = (Window(14, "d"), Window(2, "w"), Window(36, "h"))
    assert [14, 14, None] == [window.days for window in windows]


NEW_YORK = "America/New_York"
# Zone, instant of the question, and the first instant of the first local day of a window of days.
CALENDAR = [
    ("UTC", "2017-07-01T12:00:00", 7, "2017-06-25T00:00:00"),
    ("UTC", "2017-07-01T00:00:00", 1, "2017-07-01T00:00:00"),
    ("UTC", "2017-07-01T23:59:59", 1, "2017-07-01T00:00:00"),
    (NEW_YORK, "2017-07-01T03:59:59", 1, "2017-06-30T04:00:00"),
    (NEW_YORK, "2017-07-01T04:00:00", 1, "2017-07-01T04:00:00"),
    # The day on which clocks go forward has 23 hours, the one on which they go back 25.
    (NEW_YORK, "2017-03-13T03:59:59", 1, "2017-03-12T05:00:00"),
    (NEW_YORK, "2017-03-13T04:00:00", 2, "2017-03-12T05:00:00"),
    (NEW_YORK, "2017-03-14T12:00:00", 3, "2017-03-12T05:00:00"),
    (NEW_YORK, "2017-11-06T04:59:59", 1, "2017-11-05T04:00:00"),
    (NEW_YORK, "2017-11-06T05:00:00", 2, "2017-11-05T04:00:00"),
    # The farthest ahead of UTC.
    ("Pacific/Kiritimati", "2017-06-30T10:00:00", 1, "2017-06-30T10:00:00"),
    ("Pacific/Kiritimati", "2017-07-01T09:59:59", 2, "2017-06-29T10:00:00"),
]


@pytest.mark.parametrize(("zone", "asked", "days", "start"), CALENDAR)
def test_calendar_window(zone: str, asked: str, days: int, start: str) -> None:
    """`unique_days` counts from the first instant of its first local date on."""
    t_ms, start_ms = instant(asked) + 1, instant(start)
    before, inside, last = (event(ts_ms) for ts_ms in (start_ms - 1, start_ms, t_ms - 1))
    expression = f"events.purchase.unique_days_{days}d"
    assert {"days": 0} == answers(world(before, t_ms=t_ms, zone=zone), days=expression)
    assert {"days": 1_000_000} == answers(world(before, inside, t_ms=t_ms, zone=zone), days=expression)
    both = 1_000_000 if days == 1 else 2_000_000
    assert {"days": both} == answers(world(before, inside, last, t_ms=t_ms, zone=zone), days=expression)


def test_weeks_are_days() -> None:
    """`unique_days_2w` is `unique_days_14d`, and never more than 14."""
    events = [event(T_MS - 1 - day * DAY) for day in range(20)]
    found = answers(
        world(*events),
        weeks="events.purchase.unique_days_2w",
        days="events.purchase.unique_days_14d",
        ever="events.purchase.unique_days",
    )
    assert {"weeks": 14_000_000, "days": 14_000_000, "ever": 20_000_000} == found


def test_date_that_is_not_yet() -> None:
    """A clock set back over midnight leaves events whose date is tomorrow's: no window of days holds them."""
    zone = "America/St_Johns"  # on 2006-10-29 clocks went back from 00:01 to 23:01
    t_ms = instant("2006-10-29T02:41:00")
    tomorrow, today = instant("2006-10-29T02:30:30"), t_ms - 1
    assert Zone(zone).day(tomorrow) == Zone(zone).day(today) + 1
    found = answers(
        world(event(tomorrow), event(today), t_ms=t_ms, zone=zone),
        window="events.purchase.unique_days_1d",
        ever="events.purchase.unique_days",
        hours="events.purchase.count_1h",
    )
    assert {"window": 1_000_000, "ever": 2_000_000, "hours": 2_000_000} == found
