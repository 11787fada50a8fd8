"""What a batch of events holds: names of events, and paths and types of their properties and attributes."""

from collections.abc import Iterator, Mapping, Sequence

import polars as pl

from dsl.clock import Zone
from dsl.columns import Column, flatten, typed_columns
from dsl.numbers import read_json
from dsl.observed import Seen, Sighting

_COUNTED = ("track", "page", "screen", "system")
_Row = Mapping[str, int]


def sightings(batch: pl.DataFrame, zone: Zone) -> dict[Sighting, Seen]:
    """Everything that was seen in a batch, how often and when.

    Args:
        batch: `kind`, `name`, `ts_ms`, `properties` and the typed columns of properties; of an identify these are
            attributes. Grain: one row an event; each event counts.
        zone: the project's.
    """
    columns = [column for column in typed_columns(batch.columns) if not column.context]
    found: dict[Sighting, Seen] = {}
    for sighting, seen in (*_properties(batch, columns), *_attributes(batch, columns, zone)):
        found[sighting] = found[sighting] | seen if sighting in found else seen
    return found


def _properties(batch: pl.DataFrame, columns: Sequence[Column]) -> Iterator[tuple[Sighting, Seen]]:
    """Of each event's name: the event itself, and its properties by type."""
    masked = _masked(batch.filter(pl.col("kind").is_in(_COUNTED)), columns)
    for row in masked.group_by("name").agg(*_aggregates(columns)).iter_rows(named=True):
        yield Sighting(row["name"], "", ""), Seen(row["count"], row["first"], row["last"])
        yield from _of_columns(row["name"], columns, row)


def _attributes(batch: pl.DataFrame, columns: Sequence[Column], zone: Zone) -> Iterator[tuple[Sighting, Seen]]:
    """Attributes by type: those that came as JSON, and those of a loader that has columns."""
    identifies = batch.filter(pl.col("kind") == "identify")
    texts = identifies.drop_nulls("properties").group_by("properties").agg(*_aggregates(()))
    for row in texts.iter_rows(named=True):
        written = read_json(row["properties"])
        for column in typed_columns(flatten(written, zone) if isinstance(written, dict) else ()):
            yield Sighting("", ".".join(column.steps), column.type), Seen(row["count"], row["first"], row["last"])
    bare = identifies.filter(pl.col("properties").is_null())
    if not bare.is_empty():
        row = _masked(bare, columns).select(*_aggregates(columns)).row(0, named=True)
        yield from _of_columns("", columns, row)


def _masked(events: pl.DataFrame, columns: Sequence[Column]) -> pl.DataFrame:
    """`name`, `ts_ms`, and for each column `ts_ms` where it holds something: `0`, `1` and so on."""
    masks = (
        pl.when(pl.col(column.name).is_not_null()).then("ts_ms").alias(str(place))
        for place, column in enumerate(columns)
    )
    return events.select("name", "ts_ms", *masks)


def _aggregates(columns: Sequence[Column]) -> Iterator[pl.Expr]:
    yield from (pl.len().alias("count"), pl.col("ts_ms").min().alias("first"), pl.col("ts_ms").max().alias("last"))
    for place in map(str, range(len(columns))):
        its = pl.col(place)
        yield from (its.count().alias(f"{place}n"), its.min().alias(f"{place}f"), its.max().alias(f"{place}l"))


def _of_columns(event: str, columns: Sequence[Column], row: _Row) -> Iterator[tuple[Sighting, Seen]]:
    for place, column in enumerate(columns):
        if row[f"{place}n"]:
            seen = Seen(row[f"{place}n"], row[f"{place}f"], row[f"{place}l"])
            yield Sighting(event, ".".join(column.steps), column.type), seen
