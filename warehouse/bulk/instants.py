"""Columns of instants, epoch milliseconds, from texts, timestamps, dates and numbers, without a row-wise step."""

from itertools import pairwise
from typing import Final

import polars as pl

from dsl.clock import DAY_MS, UTC_ZONE, Zone, parse_instant
from warehouse.bulk.mapping import Stamp, Unit
from warehouse.bulk.micros import micros_of, micros_of_texts

_ISO: Final = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]+)?)?"
    r"(?: ?[Zz]| ?[+-][0-9]{2}:?[0-9]{2})?$"
)
_ZONED: Final = r"(?:[Zz]|[+-][0-9]{2}:?(?:[0-9]{2})?)$"
_DATE: Final = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
_IN_A_MS: Final[dict[Unit, int]] = {"s": 1_000, "ms": 1_000_000, "us": 1_000_000_000}
"""Micro-units of a number that are a millisecond."""
FIRST_MS: Final = parse_instant("0001-01-02")
"""Earliest instant: a local date, in any zone, must be a date."""
_LAST_MS: Final = parse_instant("9999-12-31T23:59:59.999Z")


def instants_of(values: pl.Series, stamp: Stamp, zone: Zone) -> pl.Series:
    """Epoch milliseconds, floored; null for what is no instant, or lies outside the years 1 to 9999.

    Args:
        zone: the project's: a date alone is the start of that date there, unless the stamp names a zone.
    """
    found = _found(values, stamp, zone)
    return found.set(~found.is_between(FIRST_MS, _LAST_MS).fill_null(value=True), None)


def _found(values: pl.Series, stamp: Stamp, zone: Zone) -> pl.Series:
    local = stamp.zone or UTC_ZONE
    match values.dtype:
        case pl.Datetime() as moment:
            ms = values.dt.timestamp("us") // 1_000 if moment.time_unit != "ms" else values.dt.timestamp("ms")
            return ms if moment.time_zone is not None else from_local(ms, local)
        case pl.Date():
            return _starts(values.cast(pl.Int64), stamp.zone or zone)
        case pl.String():
            if stamp.unit is not None:
                return _of_micros(micros_of_texts(values), stamp.unit)
            return _of_format(values, stamp, zone) if stamp.format else _of_texts(values, stamp.zone, zone)
    unit = stamp.unit or "ms"
    if values.dtype.is_integer():
        whole = values.cast(pl.Int64, strict=False)
        return {"s": whole * 1_000, "ms": whole, "us": whole // 1_000}[unit].set(
            (whole.abs() >= 10**17).fill_null(value=False), None
        )
    if unit == "us":
        return _of_micros(micros_of(values / 1_000), "ms")
    return _of_micros(micros_of(values), unit)


def iso_instants(texts: pl.Series, zone: Zone) -> pl.Series:
    """Instants of texts as `dsl.clock.parse_instant` reads them; null for others.

    >>> iso_instants(pl.Series(["2017-12-31 23:01:21.0009-05:00", "2018-01-01", "soon"]), UTC_ZONE).to_list()
    [1514779281000, 1514764800000, None]
    """
    found = _of_texts(texts, None, zone)
    return found.set(~found.is_between(FIRST_MS - DAY_MS, _LAST_MS).fill_null(value=True), None)


def from_local(local_ms: pl.Series, zone: Zone) -> pl.Series:
    """Instants of local times; of an hour that comes twice the first, one that is skipped as if clocks had not changed.

    >>> from_local(pl.Series([1_509_843_600_000]), Zone("America/New_York")).to_list()
    [1509858000000]
    """
    if zone == UTC_ZONE or local_ms.null_count() == local_ms.len():
        return local_ms
    ends = local_ms.to_frame("ms").select(pl.col("ms").min().alias("lo"), pl.col("ms").max().alias("hi"))
    changes = zone.offsets(
        max(int(ends["lo"][0]), FIRST_MS) - 2 * DAY_MS, min(int(ends["hi"][0]), _LAST_MS) + 2 * DAY_MS
    )
    # The offset before a change holds until local time has passed both sides of it.
    since = [at + max(before, after) for (_, before), (at, after) in pairwise(changes)]
    offsets = pl.Series([offset for _, offset in changes], dtype=pl.Int64)
    filled = local_ms.fill_null(0)
    its_change = pl.Series(since, dtype=pl.Int64).search_sorted(filled, side="right")
    return local_ms - offsets.gather(its_change)


def _of_micros(micros: pl.Series, unit: Unit) -> pl.Series:
    return micros // _IN_A_MS[unit]


def _of_format(texts: pl.Series, stamp: Stamp, zone: Zone) -> pl.Series:
    written = stamp.format
    if "%z" in written or "%:z" in written:
        return texts.str.to_datetime(written, time_unit="us", time_zone="UTC", strict=False).dt.timestamp("us") // 1_000
    has_time = any(letter in written for letter in ("%H", "%I", "%k", "%l", "%T", "%R", "%X", "%c", "%s"))
    if not has_time:
        return _starts(texts.str.to_date(written, strict=False).cast(pl.Int64), stamp.zone or zone)
    moments = texts.str.to_datetime(written, time_unit="us", strict=False)
    return from_local(moments.dt.timestamp("us") // 1_000, stamp.zone or UTC_ZONE)


def _of_texts(texts: pl.Series, local: Zone | None, zone: Zone) -> pl.Series:
    texts = texts.str.strip_chars()
    plain = texts.str.contains(_ISO).fill_null(value=False)
    has_zone = texts.str.contains(_ZONED).fill_null(value=False)
    found = _of_iso(texts.set(~plain, None))
    if local is not None:
        found = found.zip_with(has_zone, from_local(found.set(has_zone, None), local))
    dates = texts.str.contains(_DATE).fill_null(value=False)
    if dates.any():
        days = texts.set(~dates, None).str.to_date("%Y-%m-%d", strict=False).cast(pl.Int64)
        found = found.zip_with(~dates, _starts(days, local or zone))
    odd = ~plain & ~dates & texts.is_not_null()
    return found.zip_with(~odd, _one_by_one(texts.set(~odd, None))) if odd.any() else found


def _of_iso(texts: pl.Series) -> pl.Series:
    """Texts that fit `_ISO`; those without a zone as if it were UTC."""
    text = pl.col("text")
    rest = text.str.slice(16)
    has_seconds = rest.str.starts_with(":")
    zoned = text.str.extract(r"([+-][0-9]{2}:?[0-9]{2})$")
    offset = zoned.str.slice(1, 2).cast(pl.Int64) * 60 + zoned.str.slice(-2, 2).cast(pl.Int64)
    offset = pl.when(zoned.str.starts_with("-")).then(-offset).otherwise(offset)
    fraction = text.str.extract(r"[.,]([0-9]+)").str.slice(0, 3).str.pad_end(3, "0").cast(pl.Int64)
    parts = texts.to_frame("text").select(
        day=text.str.slice(0, 10).str.to_date("%Y-%m-%d", strict=False).cast(pl.Int64),
        hours=text.str.slice(11, 2).cast(pl.Int64),
        minutes=text.str.slice(14, 2).cast(pl.Int64),
        seconds=pl.when(has_seconds).then(rest.str.slice(1, 2)).cast(pl.Int64).fill_null(0),
        fraction=fraction.fill_null(0),
        offset=offset.fill_null(0),
        zoned=zoned,
    )
    clock = (pl.col("hours") * 60 + pl.col("minutes") - pl.col("offset")) * 60 + pl.col("seconds")
    # What is no time of day is no instant, as `parse_instant` has it.
    zone_minutes = pl.col("zoned").str.slice(-2, 2).cast(pl.Int64).fill_null(0)
    zone_hours = pl.col("zoned").str.slice(1, 2).cast(pl.Int64).fill_null(0)
    real = (pl.col("hours") <= 23) & (pl.col("minutes") <= 59) & (pl.col("seconds") <= 59)
    real &= (zone_minutes <= 59) & (zone_hours <= 23)
    ms = pl.col("day") * DAY_MS + clock * 1_000 + pl.col("fraction")
    return parts.select(pl.when(real).then(ms).alias("ms"))["ms"]


def _starts(days: pl.Series, zone: Zone) -> pl.Series:
    """First instants of dates, given as days since 1970-01-01."""
    if zone == UTC_ZONE:
        return days * DAY_MS
    distinct = days.unique().drop_nulls()
    lowest, highest = FIRST_MS // DAY_MS, _LAST_MS // DAY_MS
    starts = [zone.start_ms(day) if lowest <= day <= highest else None for day in distinct]
    return days.replace_strict(distinct, pl.Series(starts, dtype=pl.Int64), default=None, return_dtype=pl.Int64)


def _one_by_one(texts: pl.Series) -> pl.Series:
    distinct = texts.unique().drop_nulls()
    found = pl.Series([_instant(text) for text in distinct], dtype=pl.Int64)
    return texts.replace_strict(distinct, found, default=None, return_dtype=pl.Int64)


def _instant(text: str) -> int | None:
    try:
        return parse_instant(text)
    except ValueError:
        return None
