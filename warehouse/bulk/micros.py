"""Columns of numbers in micro-units, from texts, floats, decimals and integers, without a row-wise step."""

from typing import Final

import polars as pl

from dsl.numbers import LARGEST, MICROS, SMALLEST, read_number

_PLAIN: Final = r"^[+-]?[0-9]{1,12}(?:\.[0-9]+)?$"
_EXACT: Final = 2.0**49
"""Below it a count of micro-units has at most 15 digits: a double that it divides to is written with these digits."""


def micros_of(values: pl.Series) -> pl.Series:
    """Numbers in micro-units; null for what is no number or out of range, also NaN and infinity.

    A double is read from its shortest decimal text.

    >>> micros_of(pl.Series([0.1, 1e-7, 123456.789, 1e300])).to_list()
    [100000, 0, 123456789000, None]
    >>> micros_of(pl.Series([3, 9_223_372_036_855])).to_list()
    [3000000, None]
    """
    if values.dtype.is_integer():
        whole = values.to_frame("value").select(pl.col("value").cast(pl.Int128))["value"]
        fits = whole.is_between(SMALLEST // MICROS + 1, LARGEST // MICROS)
        return whole.set(~fits.fill_null(value=True), None).cast(pl.Int64) * MICROS
    if values.dtype == pl.Float64:
        return _of_floats(values)
    return micros_of_texts(values.cast(pl.String))


def micros_of_texts(texts: pl.Series) -> pl.Series:
    """Numbers that texts hold, as `dsl.numbers.read_number` reads them.

    >>> micros_of_texts(pl.Series(["1.5", "-0.0000005", "1e3", "x", None, "9223372036854.775808"])).to_list()
    [1500000, -1, 1000000000, None, None, None]
    """
    plain = texts.str.contains(_PLAIN)
    found = _of_plain(texts.set(~plain.fill_null(value=True), None))
    odd = (~plain).fill_null(value=False)
    if not odd.any():
        return found
    return found.scatter(odd.arg_true(), _one_by_one(texts.filter(odd)))


def _of_plain(texts: pl.Series) -> pl.Series:
    parts = texts.to_frame("text").select(pl.col("text").str.splitn(".", 2)).unnest("text")
    whole, fraction = pl.col("field_0"), pl.col("field_1")
    digits = fraction.fill_null("").str.slice(0, 7).str.pad_end(7, "0").cast(pl.Int64)
    magnitude = whole.str.strip_chars_start("+-").cast(pl.Int64) * MICROS + (digits + 5) // 10
    signed = pl.when(whole.str.starts_with("-")).then(-magnitude).otherwise(magnitude)
    return parts.select(signed).to_series()


def _of_floats(values: pl.Series) -> pl.Series:
    # A column, because a constant divisor is a multiplication, which rounds twice.
    million = pl.repeat(float(MICROS), values.len(), eager=True).alias("million")
    frame = pl.DataFrame([values.alias("value"), million]).with_columns(scaled=(pl.col("value") * MICROS).round())
    micros = pl.col("scaled").cast(pl.Int64, strict=False)
    exact = (pl.col("scaled").abs() < _EXACT) & (pl.col("scaled") / pl.col("million") == pl.col("value"))
    found = frame.select(pl.when(exact).then(micros).alias("micros"))["micros"]
    others = found.is_null() & values.is_not_null()
    if not others.any():
        return found
    return found.scatter(others.arg_true(), micros_of_texts(values.filter(others).cast(pl.String)))


def _one_by_one(texts: pl.Series) -> pl.Series:
    distinct = texts.unique().drop_nulls()
    numbers = pl.Series([read_number(text) for text in distinct], dtype=pl.Int64)
    return texts.replace_strict(distinct, numbers, default=None, return_dtype=pl.Int64)
