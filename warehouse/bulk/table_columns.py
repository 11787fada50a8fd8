"""Typed columns of the columns of a table: numbers, texts, instants, lists and nested fields, in whole columns."""

from collections.abc import Iterator, Sequence

import polars as pl

from dsl.clock import Zone
from dsl.columns import column_name
from dsl.types import Type
from warehouse.bulk.instants import instants_of
from warehouse.bulk.mapping import Given, Stamp
from warehouse.bulk.micros import micros_of, micros_of_texts
from warehouse.property_text import number_texts

_LOOKS_LIKE_A_NUMBER = r"^[+-]?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?$"
_INSTANT = "%Y-%m-%dT%H:%M:%S%.3fZ"


def typed(steps: Sequence[str], values: pl.Series, given: Given | None, zone: Zone) -> Iterator[pl.Series]:
    """The typed columns of a column, by name; those without any value are left out.

    Args:
        steps: path of the property.
        given: how texts are read; None leaves them texts.
        zone: the project's: a date is its start there.
    """
    for value_type, series in _typed(values, given, zone):
        if series.null_count() < series.len():
            yield series.alias(column_name("property", steps, value_type))
    if isinstance(values.dtype, pl.Struct):
        for name in values.struct.fields:
            yield from typed([*steps, name], values.struct.field(name), None, zone)


def holds(dtype: object) -> str:
    """Why a column of this type can be no property; empty when it can.

    >>> holds(pl.List(pl.Struct({"a": pl.Int64()}))), holds(pl.Int8())
    ('lists of objects', '')
    """
    match dtype:
        case pl.Struct():
            return next((why for each in dtype.fields if (why := holds(each.dtype))), "")
        case pl.List() | pl.Array():
            if isinstance(dtype.inner, pl.Struct | pl.List | pl.Array):
                return "lists of objects"
            return holds(dtype.inner)
        case pl.Binary() | pl.Object():
            return "bytes"
    return ""


def not_a_number(values: pl.Series) -> pl.Series | None:
    """Where a column, or a field of it, holds NaN or infinity; None when no row does."""
    if isinstance(values.dtype, pl.Struct):
        masks = [mask for name in values.struct.fields if (mask := not_a_number(values.struct.field(name))) is not None]
        return pl.DataFrame(masks).select(pl.any_horizontal(pl.all()).alias("bad"))["bad"] if masks else None
    if not values.dtype.is_float():
        return None
    bad = (~values.is_finite()).fill_null(value=False)
    return bad if bad.any() else None


def _typed(values: pl.Series, given: Given | None, zone: Zone) -> Iterator[tuple[Type, pl.Series]]:
    match values.dtype:
        case pl.Struct() | pl.Null():
            return
        case pl.Boolean():
            yield "boolean", values
        case pl.Date() | pl.Datetime():
            yield from _moments(values, zone)
        case pl.List() | pl.Array():
            yield "list", _tagged(values)
        case pl.String() | pl.Categorical() | pl.Enum():
            yield from _texts(values.cast(pl.String), given)
        case dtype if dtype.is_numeric():
            yield "number", micros_of(values)
        case _:
            yield "string", values.cast(pl.String)


def _texts(texts: pl.Series, given: Given | None) -> Iterator[tuple[Type, pl.Series]]:
    """Texts that are not what their column is declared to hold stay texts: nothing is dropped."""
    if given == "number":
        trimmed = texts.str.strip_chars()
        yield "number", micros_of_texts(trimmed)
        is_number = trimmed.str.contains(_LOOKS_LIKE_A_NUMBER).fill_null(value=False)
        yield "string", texts.set(is_number | (trimmed == "").fill_null(value=False), None)
    elif given == "boolean":
        lower = texts.str.strip_chars().str.to_lowercase()
        known = lower.is_in(["true", "false"]).fill_null(value=False)
        yield "boolean", (lower == "true").set(~known, None)
        yield "string", texts.set(known | (lower == "").fill_null(value=False), None)
    else:
        yield "string", texts


def _moments(values: pl.Series, zone: Zone) -> Iterator[tuple[Type, pl.Series]]:
    if isinstance(values.dtype, pl.Date):
        yield "string", values.cast(pl.String)
    else:
        bare = values.dt.convert_time_zone("UTC").dt.replace_time_zone(None) if _is_zoned(values) else values
        yield "string", bare.dt.strftime(_INSTANT)
    yield "timestamp", instants_of(values, Stamp(""), zone)


def _is_zoned(values: pl.Series) -> bool:
    return isinstance(values.dtype, pl.Datetime) and values.dtype.time_zone is not None


def _tagged(lists: pl.Series) -> pl.Series:
    """Scalars of lists as their column holds them; nulls are left out."""
    if isinstance(lists.dtype, pl.Array):
        lists = lists.arr.to_list()
    rows = lists.to_frame("item").with_row_index("row")
    items = rows.explode("item").drop_nulls("item")
    tags = items.select("row", _tags(items["item"]).alias("item")).drop_nulls("item")
    joined = tags.group_by("row", maintain_order=True).agg("item")
    found = rows.select("row", pl.col("item").is_not_null().alias("is")).join(
        joined, on="row", how="left", maintain_order="left"
    )
    empty = pl.lit([], dtype=pl.List(pl.String))
    return found.select(pl.when("is").then(pl.col("item").fill_null(empty)).alias("list"))["list"]


def _tags(items: pl.Series) -> pl.Series:
    if items.dtype == pl.Boolean:
        return "b:" + items.cast(pl.String)
    if items.dtype.is_numeric():
        return "n:" + number_texts(micros_of(items))
    return "s:" + items.cast(pl.String)
