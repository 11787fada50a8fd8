"""Properties as JSON text, made from their typed columns without a row-wise step."""

import json
from collections.abc import Sequence

import polars as pl

from dsl.columns import Column
from dsl.numbers import write_number
from warehouse.exceptions import LandingError

_ESCAPES = {character: json.dumps(character)[1:-1] for character in ['"', "\\", *map(chr, range(0x20))]}


def properties_text(events: pl.DataFrame, columns: Sequence[Column]) -> pl.Series:
    r"""A JSON object a row; a property whose column is null is absent.

    Args:
        events: Grain: one row an event.
        columns: typed columns of numbers, strings and booleans, not nested, in the order that their properties take.

    Raises:
        LandingError: a column is nested, or a list.

    >>> from dsl.columns import typed_columns
    >>> frame = pl.DataFrame({"n_amount": [1_500_000, None], "s_brand": ['7" "\\new"', None]})
    >>> for text in properties_text(frame, typed_columns(frame.columns)):
    ...     print(text)
    {"amount":1.5,"brand":"7\" \"\\new\""}
    {}
    """
    for column in columns:
        if len(column.steps) > 1 or column.type not in ("number", "string", "boolean"):
            message = f"`properties` cannot be made from the column `{column.name}`: give `properties` as JSON text"
            raise LandingError(message)
    members = [_member(column.steps[0], _value_text(events[column.name])) for column in columns]
    if not members:
        return pl.Series("properties", ["{}"] * events.height, pl.String)
    joined = pl.concat_str(members, separator=",", ignore_nulls=True)
    return events.select((pl.lit("{") + joined + pl.lit("}")).alias("properties"))["properties"]


def _member(name: str, value: pl.Series) -> pl.Expr:
    return pl.lit(json.dumps(name, ensure_ascii=False) + ":") + pl.lit(value)


def _value_text(values: pl.Series) -> pl.Series:
    if values.name.startswith("n_"):
        return _number_text(values)
    if values.name.startswith("b_"):
        return values.cast(pl.String)
    escaped = values.str.replace_many(list(_ESCAPES), list(_ESCAPES.values()))
    return pl.select(pl.lit('"') + pl.lit(escaped) + pl.lit('"')).to_series()


def _number_text(micros: pl.Series) -> pl.Series:
    # Amounts repeat: each distinct one is written once, by the one function that knows how a number is written.
    distinct = micros.unique().drop_nulls()
    texts = pl.Series([write_number(number) for number in distinct], dtype=pl.String)
    return micros.replace_strict(distinct, texts, default=None, return_dtype=pl.String)
