"""The tables that compiled SQL reads, in DuckDB, filled from a world; and values as those tables show them."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import polars as pl

from dsl.check import CheckedCatalog
from dsl.columns import Column, Root, flatten, typed_columns
from dsl.event import Event
from dsl.numbers import MICROS
from dsl.state import Value
from dsl.tags import tag
from dsl.types import Type
from tests.differential.worlds import World, json_text
from warehouse.database import Connection, connect
from warehouse.property_columns import DTYPES

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC).replace(tzinfo=None)
_IDENTITIES = {"source_id": pl.String, "profile_id": pl.String, "valid_from_seq": pl.Int64, "valid_to_seq": pl.Int64}


def load(world: World, checked: CheckedCatalog, universe: Sequence[str]) -> Connection:
    """A DuckDB in memory with `events`, `identities` and `profiles`, and of typed columns those that are asked for."""
    connection = connect(threads=1)
    attributes = [world.attributes(profile) for profile in universe]
    seen = [[event.ts_ms for event in world.known(profile) if event.kind != "system"] for profile in universe]
    people = {
        "profile_id": pl.Series(universe, dtype=pl.String),
        "first_seen_ms": pl.Series([min(instants) for instants in seen], dtype=pl.Int64),
        "last_seen_ms": pl.Series([max(instants) for instants in seen], dtype=pl.Int64),
        "attributes": pl.Series([json_text(found) for found in attributes], dtype=pl.String),
        **_cells(attributes, checked, typed_columns(checked.attribute_columns), "attribute"),
    }
    everyone = world.identities or [(source, source, 0, None) for source in world.owners]
    connection.register("events", pl.DataFrame(_events(world.events, checked)).to_arrow())
    connection.register("profiles", pl.DataFrame(people).to_arrow())
    identities = pl.DataFrame(list(everyone), schema=_IDENTITIES, orient="row")
    connection.register("identities", identities.to_arrow())
    return connection


def _events(events: Sequence[Event], checked: CheckedCatalog) -> dict[str, pl.Series]:
    columns = typed_columns(checked.property_columns)
    properties, contexts = [event.properties for event in events], [event.context for event in events]
    return {
        "event_id": pl.Series([event.event_id for event in events], dtype=pl.String),
        "seq": pl.Series([event.seq for event in events], dtype=pl.Int64),
        "kind": pl.Series([event.kind for event in events], dtype=pl.String),
        "name": pl.Series([event.name for event in events], dtype=pl.String),
        "source_id": pl.Series([event.source_id for event in events], dtype=pl.String),
        "ts_ms": pl.Series([event.ts_ms for event in events], dtype=pl.Int64),
        "local_day": pl.Series([event.local_day for event in events], dtype=pl.Int32),
        "properties": pl.Series([json_text(found) for found in properties], dtype=pl.String),
        "context": pl.Series([json_text(found) for found in contexts], dtype=pl.String),
        **_cells(properties, checked, [column for column in columns if not column.context], "property"),
        **_cells(contexts, checked, [column for column in columns if column.context], "context"),
    }


def _cells(
    documents: Sequence[Mapping[str, object]], checked: CheckedCatalog, columns: Sequence[Column], root: Root
) -> dict[str, pl.Series]:
    flat = [flatten(document, checked.zone, root) for document in documents]
    return {
        column.name: pl.Series([cells.get(column.name) for cells in flat], dtype=DTYPES[column.type])
        for column in columns
    }


def of_table(value: object, value_type: Type) -> Value:
    """A value of a table as engines hold it: numbers in micro-units, instants in milliseconds, lists of texts."""
    match value:
        case list():
            return tuple(value)
        case bool() | str() | None:
            return value
        case int() if value_type == "number":
            return value * MICROS
        case Decimal():
            micros = value.scaleb(6)
            assert micros == int(micros)
            return int(micros)
        case datetime():
            return (value - _EPOCH) // timedelta(milliseconds=1)
    raise AssertionError(f"no value of a table: {value!r}")


def in_table(value: Value) -> Value:
    """A value as a table can show it: of the items of a list only their text."""
    return tuple(tag(item)[2:] for item in value) if isinstance(value, tuple) else value
