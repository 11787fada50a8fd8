"""The typed columns of a batch: read from the JSON of its events, or given by a loader that has columns already."""

from collections.abc import Mapping
from typing import Final

import polars as pl

from dsl.clock import Zone
from dsl.columns import Cell, column_name, flatten, instant_of, typed_columns
from dsl.numbers import read_json
from dsl.types import Type
from warehouse.exceptions import LandingError

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
    texts = [column for column in typed_columns(batch.columns) if column.type == "string"]
    instants = [_instants(batch[c.name], column_name("property", c.steps, "timestamp"), zone) for c in texts]
    batch = batch.with_columns([series for series in instants if series is not None])
    # The attributes of an identify are folded by profile: they are no properties.
    batch = _read(batch, "properties", batch["properties"].is_not_null() & (batch["kind"] != "identify"), zone)
    return _read(batch, "context", batch["context"] != "{}", zone)


def _instants(texts: pl.Series, name: str, zone: Zone) -> pl.Series | None:
    """The instants among texts; None when there is none."""
    dated = texts.unique().drop_nulls()
    dated = dated.filter(dated.str.contains(_DATED))
    found = {text: instant for text in dated if (instant := instant_of(text, zone)) is not None}
    if not found:
        return None
    instants = pl.Series(list(found.values()), dtype=pl.Int64)
    return texts.replace_strict(pl.Series(list(found)), instants, default=None, return_dtype=pl.Int64).alias(name)


def _read(batch: pl.DataFrame, document: str, rows: pl.Series, zone: Zone) -> pl.DataFrame:
    """The batch with the columns that a JSON column holds, in these rows in place of what stood there."""
    if not rows.any():
        return batch
    known: dict[str, dict[str, Cell]] = {}
    cells: dict[str, dict[int, Cell]] = {}
    for row in rows.arg_true():
        text = batch[document][row]
        if text not in known:
            known[text] = _flat(text, document, batch["event_id"][row], zone)
        for name, value in known[text].items():
            cells.setdefault(name, {})[row] = value
    given = [column.name for column in typed_columns(batch.columns)] if document == "properties" else []
    read = [
        pl.Series(
            column.name, [cells.get(column.name, {}).get(row) for row in range(batch.height)], DTYPES[column.type]
        )
        for column in typed_columns({*cells, *given})
    ]
    return batch.with_columns(
        series.zip_with(rows, batch[series.name]) if series.name in given else series for series in read
    )


def _flat(text: str, document: str, event_id: str, zone: Zone) -> dict[str, Cell]:
    try:
        found = read_json(text)
    except ValueError as error:
        raise LandingError(f"`{document}` of event {event_id!r} is no JSON: {error}; nothing has landed") from error
    if not isinstance(found, dict):
        raise LandingError(f"`{document}` of event {event_id!r} is no JSON object; nothing has landed")
    return flatten(found, zone, "context" if document == "context" else "property")
