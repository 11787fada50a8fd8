"""The typed columns of a batch: read from the JSON of its events, or given by a loader that has columns already."""

from collections.abc import Mapping
from typing import Final, Literal

import polars as pl

from dsl.clock import Zone
from dsl.columns import Cell, column_name, instant_of, typed_columns
from dsl.types import Type
from warehouse.exceptions import LandingError
from warehouse.property_cells import Cells, read_cells

DTYPES: Final[Mapping[Type, pl.DataType]] = {
    "number": pl.Int64(),
    "string": pl.String(),
    "boolean": pl.Boolean(),
    "timestamp": pl.Int64(),
    "list": pl.List(pl.String()),
}
"""Types of typed columns in memory and in the lake."""
_DATED = "^[0-9]{4}-[0-9]{2}-[0-9]{2}"


def with_typed_columns(batch: pl.DataFrame, zone: Zone) -> pl.DataFrame:
    """The batch with every typed column that its events have.

    They are read from `properties` and `context`. An event without `properties` keeps the columns that were given, and
    strings among them that are instants get a `t_` beside them.

    Args:
        batch: `event_id`, `kind`, `properties` (may be null), `context`, typed columns of properties. Grain: one row an
            event.
        zone: the project's: a date alone is the start of that date there.

    Raises:
        LandingError: `properties` or `context` is no JSON object.
    """
    batch = with_instants(batch, zone)
    # The attributes of an identify are folded by profile: they are no properties.
    batch = _read(batch, "properties", batch["properties"].is_not_null() & (batch["kind"] != "identify"), zone)
    return _read(batch, "context", batch["context"] != "{}", zone)


def with_instants(batch: pl.DataFrame, zone: Zone) -> pl.DataFrame:
    """The batch with a `t_` beside every `s_` column of a property that holds instants; one that is there stays."""
    texts = [column for column in typed_columns(batch.columns) if column.type == "string" and not column.context]
    named = {column.name: column_name("property", column.steps, "timestamp") for column in texts}
    instants = [_instants(batch[text], name, zone) for text, name in named.items() if name not in batch.columns]
    return batch.with_columns([series for series in instants if series is not None])


def _instants(texts: pl.Series, name: str, zone: Zone) -> pl.Series | None:
    """The instants among texts; None when there is none."""
    dated = texts.unique().drop_nulls()
    dated = dated.filter(dated.str.contains(_DATED))
    found = {text: instant for text in dated if (instant := instant_of(text, zone)) is not None}
    if not found:
        return None
    instants = pl.Series(list(found.values()), dtype=pl.Int64)
    return texts.replace_strict(pl.Series(list(found)), instants, default=None, return_dtype=pl.Int64).alias(name)


def _read(batch: pl.DataFrame, document: Literal["properties", "context"], rows: pl.Series, zone: Zone) -> pl.DataFrame:
    """The batch with the columns that a JSON column holds, in these rows in place of what stood there."""
    if not rows.any():
        return batch

    def refuse(number: int, wrong: str) -> LandingError:
        first = (rows & (batch[document] == texts[number])).arg_true()[0]
        return LandingError(f"`{document}` of event {batch['event_id'][first]!r} {wrong}; nothing has landed")

    # What was said before is not read again: contexts repeat.
    numbers: dict[str, int] = {}
    numbered = [numbers.setdefault(text, len(numbers)) for text in batch[document].filter(rows).to_list()]
    texts = list(numbers)
    cells = read_cells(texts, "context" if document == "context" else "property", zone, refuse)
    given = [column.name for column in typed_columns(batch.columns)] if document == "properties" else []
    at = pl.repeat(None, batch.height, dtype=pl.UInt32, eager=True).scatter(rows.arg_true(), numbered)
    read = [
        _series(column.name, DTYPES[column.type], cells.get(column.name), len(texts)).gather(at)
        for column in typed_columns({*cells, *given})
    ]
    return batch.with_columns(
        series.zip_with(rows, batch[series.name]) if series.name in given else series for series in read
    )


def _series(name: str, dtype: pl.DataType, cells: Cells | None, height: int) -> pl.Series:
    if cells is None:
        return pl.repeat(None, height, dtype=dtype, eager=True).alias(name)
    if len(cells.rows) == height:
        return pl.Series(name, cells.values, dtype)
    values: list[Cell | None] = [None] * height
    for row, value in zip(cells.rows, cells.values, strict=True):
        values[row] = value
    return pl.Series(name, values, dtype)
