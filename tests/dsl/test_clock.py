"""Instants, local days and changes of the clock."""

import time
from datetime import UTC, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsl.clock import DAY_MS, Clock, Zone, format_day, format_instant, parse_day, parse_instant

NEW_YORK = Zone("America/New_York")
HOUR_MS = 3_600_000


def test_clock() -> None:
    """A project's clock is wall time minus its offset and runs on."""
    wall_ms = time.time_ns() // 1_000_000
    assert 0 <= Clock().now_ms() - wall_ms < 5_000
    assert 0 <= Clock(DAY_MS).now_ms() - (wall_ms - DAY_MS) < 5_000


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1969-12-31T23:59:59.999Z", -1),
        ("2018-01-01T04:01:21Z", 1_514_779_281_000),
        ("2018-01-01t04:01:21z", 1_514_779_281_000),
        ("2018-01-01 04:01:21", 1_514_779_281_000),
        ("2018-01-01T04:01:21.9999999Z", 1_514_779_281_999),
        ("1969-12-31T23:59:59.9999Z", -1),
        ("2018-01-01T04:01", 1_514_779_260_000),
        ("2017-12-31T23:01:21-05:00", 1_514_779_281_000),
        ("2018-01-01T09:31:21.5+0530", 1_514_779_281_500),
        ("2018-01-01T05:01:21+01", 1_514_779_281_000),
        ("2018-01-01", 1_514_764_800_000),
        ("0001-01-01T00:00:00Z", -62_135_596_800_000),
        ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
    ],
)
def test_parse_instant(text: str, ms: int) -> None:
    """ISO 8601 in its usual forms, floored to milliseconds; without an offset it is UTC."""
    assert ms == parse_instant(text)


@pytest.mark.parametrize(
    "text",
    [
        "", "today", "2018-13-01", "2018-02-30", "2018-01-01T24:00:00Z", "2018-01-01T00:60:00Z", "2018-W01-1",
        "20180101", "2018-01-01T00:00:00+25:00", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-01:00",
        "2018-01-01T00:00:00Z\n", "\uff12018-01-01", "2018-01-01T", "2018-01-01Z", "1514779281000",
    ],
)  # fmt: skip
def test_no_instant(text: str) -> None:
    """What is no instant of the years 1 to 9999 is refused in one sentence."""
    with pytest.raises(ValueError, match=r"is no|has no|is outside"):
        parse_instant(text)


@given(st.integers(-62_135_596_800_000, 253_402_300_799_999))
def test_instants_come_back(ms: int) -> None:
    """Text of an instant reads back as that instant."""
    assert ms == parse_instant(format_instant(ms))


def test_unprintable_instant() -> None:
    """An instant outside the calendar has no text."""
    with pytest.raises(ValueError, match="outside the years"):
        format_instant(2**62)


def test_date_starts_in_the_zone() -> None:
    """A date alone is the start of that date in the zone that is given."""
    assert "2018-01-01T05:00:00.000Z" == format_instant(parse_instant("2018-01-01", NEW_YORK))
    assert 17_532 == parse_day("2018-01-01")
    assert "2018-01-01" == format_day(17_532)


@pytest.mark.parametrize(
    ("text", "day"),
    [
        # Standard time, UTC-5: the day ends at 05:00 UTC.
        ("2018-01-01T04:59:59.999Z", "2017-12-31"),
        ("2018-01-01T05:00:00.000Z", "2018-01-01"),
        # Clocks went forward on 2017-03-12 at 07:00 UTC: that day has 23 hours.
        ("2017-03-12T04:59:59.999Z", "2017-03-11"),
        ("2017-03-12T05:00:00.000Z", "2017-03-12"),
        ("2017-03-13T03:59:59.999Z", "2017-03-12"),
        ("2017-03-13T04:00:00.000Z", "2017-03-13"),
        # Clocks went back on 2017-11-05 at 06:00 UTC: that day has 25 hours.
        ("2017-11-05T03:59:59.999Z", "2017-11-04"),
        ("2017-11-05T04:00:00.000Z", "2017-11-05"),
        ("2017-11-06T04:59:59.999Z", "2017-11-05"),
        ("2017-11-06T05:00:00.000Z", "2017-11-06"),
    ],
)
def test_local_days_of_new_york(text: str, day: str) -> None:
    """The local date changes at local midnight, also around a change of the clock, to the millisecond."""
    assert day == format_day(NEW_YORK.day(parse_instant(text)))


def test_lengths_of_days() -> None:
    """Days begin where they begin: 23, 24 and 25 hours apart."""
    starts = [NEW_YORK.start_ms(parse_day(day)) for day in ("2017-03-11", "2017-03-12", "2017-03-13")]
    assert [24, 23] == [(after - before) // HOUR_MS for before, after in pairwise(starts)]
    autumn = [NEW_YORK.start_ms(parse_day(day)) for day in ("2017-11-05", "2017-11-06")]
    assert 25 == (autumn[1] - autumn[0]) // HOUR_MS


def test_offsets_of_a_year() -> None:
    """The changes of a year are found exactly, the first entry is the start of the range."""
    lo_ms, hi_ms = parse_instant("2017-01-01"), parse_instant("2018-01-01")
    expected = [
        (lo_ms, -5 * HOUR_MS),
        (parse_instant("2017-03-12T07:00:00Z"), -4 * HOUR_MS),
        (parse_instant("2017-11-05T06:00:00Z"), -5 * HOUR_MS),
    ]
    assert expected == NEW_YORK.offsets(lo_ms, hi_ms)
    assert [(lo_ms, -5 * HOUR_MS)] == NEW_YORK.offsets(lo_ms, lo_ms)


def test_offsets_end_inclusive() -> None:
    """A change at the last millisecond of the range belongs to it."""
    change_ms = parse_instant("2017-03-12T07:00:00Z")
    assert 2 == len(NEW_YORK.offsets(change_ms - 1, change_ms))
    assert 1 == len(NEW_YORK.offsets(change_ms - 1, change_ms - 1))
    assert 1 == len(NEW_YORK.offsets(change_ms, change_ms))


def test_no_midnight() -> None:
    """Where a change skips midnight, or a whole date, the day starts with the change."""
    havana, apia = Zone("America/Havana"), Zone("Pacific/Apia")
    assert "2018-03-11T05:00:00.000Z" == format_instant(havana.start_ms(parse_day("2018-03-11")))
    assert "2011-12-30T10:00:00.000Z" == format_instant(apia.start_ms(parse_day("2011-12-30")))
    assert apia.start_ms(parse_day("2011-12-30")) == apia.start_ms(parse_day("2011-12-31"))


@given(st.sampled_from(sorted(available_timezones())), st.integers(-2_200_000_000_000, 2_200_000_000_000))
def test_days_of_any_zone(name: str, ts_ms: int) -> None:
    """The fast local day is the date that the zone's own arithmetic gives."""
    moment = datetime.fromtimestamp(ts_ms // 1000, UTC).astimezone(ZoneInfo(name))
    assert moment.date().isoformat() == format_day(Zone(name).day(ts_ms))


@given(st.sampled_from(sorted(available_timezones())), st.integers(-25_000, 25_000))
def test_start_is_the_first_millisecond(name: str, day: int) -> None:
    """At its start a day has begun, one millisecond before it has not."""
    zone = Zone(name)
    start_ms = zone.start_ms(day)
    assert zone.day(start_ms) >= day
    assert zone.day(start_ms - 1) < day


def test_beyond_the_calendar() -> None:
    """Instants far outside the calendar still have a day."""
    assert 2**63 // DAY_MS == NEW_YORK.day(2**63) + 1 or 2**63 // DAY_MS == NEW_YORK.day(2**63)
    assert NEW_YORK.day(-(2**63)) < 0


@pytest.mark.parametrize("name", ["", "Nowhere/City", "../etc/passwd", "/etc/passwd", "America"])
def test_no_zone(name: str) -> None:
    """A name that is no zone is refused in one sentence."""
    with pytest.raises(ValueError, match="is not known"):
        Zone(name)


def test_zones_are_values() -> None:
    """Zones of one name are equal and hash alike, whatever they have looked up."""
    assert Zone("America/New_York") == NEW_YORK
    assert hash(Zone("America/New_York")) == hash(NEW_YORK)
    assert "Zone(name='UTC')" == repr(Zone("UTC"))
