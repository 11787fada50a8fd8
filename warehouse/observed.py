"""What a batch of events holds: names of events, and paths and types of their properties and attributes."""

from collections.abc import Iterator

import polars as pl

from dsl.clock import Zone
from dsl.columns import flatten, typed_columns
from dsl.numbers import read_json
from dsl.observed import Sighting

_COUNTED = ("track", "page", "screen", "system")


def sightings(batch: pl.DataFrame, zone: Zone) -> set[Sighting]:
    """Everything that was seen in a batch.

    Args:
        batch: `kind`, `name`, `properties` and the typed columns of properties; of an identify these are attributes.
            Grain: one row an event.
        zone: the project's.
    """
    events = batch.filter(pl.col("kind").is_in(_COUNTED))
    found = {Sighting(name, "", "") for name in events["name"].unique()}
    for column in typed_columns(events.columns):
        if not column.context:
            named = events["name"].filter(events[column.name].is_not_null()).unique()
            found |= {Sighting(name, ".".join(column.steps), column.type) for name in named}
    identifies = batch.filter((pl.col("kind") == "identify") & pl.col("properties").is_not_null())
    for text in identifies["properties"].unique():
        found.update(_attributes(text, zone))
    # A loader that has columns gives attributes as such.
    columns = typed_columns(batch.columns)
    bare = batch.filter((pl.col("kind") == "identify") & pl.col("properties").is_null())
    written = (column for column in columns if not column.context and bare[column.name].null_count() < bare.height)
    return found | {Sighting("", ".".join(column.steps), column.type) for column in written}


def _attributes(text: str, zone: Zone) -> Iterator[Sighting]:
    written = read_json(text)
    for column in typed_columns(flatten(written, zone) if isinstance(written, dict) else ()):
        yield Sighting("", ".".join(column.steps), column.type)
