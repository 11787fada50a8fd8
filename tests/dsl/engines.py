"""The engines asked: the question's definitions checked, compiled, run on DuckDB, and evaluated from states."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import duckdb
import polars as pl

from dsl.catalog import Catalog, EventSchema, Segment, Trait, ValueType
from dsl.check import CheckedCatalog, check_catalog
from dsl.clock import Zone
from dsl.columns import flatten
from dsl.columns import typed_columns as columns_named
from dsl.evaluate import evaluate
from dsl.sql import aggregates_sql, expression_sql, values_sql
from dsl.state import State, Value
from tests.dsl.drawing import EVENTS, NAMES, Question
from tests.dsl.oracle import World, json_text, text
from warehouse.property_columns import DTYPES

EPOCH = datetime(1970, 1, 1, tzinfo=UTC).replace(tzinfo=None)


def catalog_of(question: Question) -> Catalog:
    """The definitions in the language."""
    types: dict[str, ValueType] = {}
    if question.declared:
        types = {name: kind for kind, names in NAMES.items() for name in names}  # type: ignore[misc]  # all are types
    traits = tuple(
        Trait(key, text(tree), type=question.types.get(key))  # type: ignore[arg-type]  # drawn from the types
        for key, (kind, tree) in question.world.definitions.items()
        if kind == "trait"
    )
    segments = tuple(
        Segment(key, text(tree)) for key, (kind, tree) in question.world.definitions.items() if kind == "segment"
    )
    events = tuple(EventSchema(name, types) for name in EVENTS) if question.declared else ()
    return Catalog(events=events, attributes=types, traits=traits, segments=segments)


@dataclass(frozen=True)
class Engines:
    """One question put to every engine; each answer is value by key, by profile."""

    world: World
    checked: CheckedCatalog
    connection: duckdb.DuckDBPyConnection

    @classmethod
    def of(cls, question: Question) -> "Engines":
        """The engines with their tables: `aggregates` is the result of the compiled statement."""
        return cls.over(question.world, catalog_of(question))

    @classmethod
    def over(cls, world: World, catalog: Catalog) -> "Engines":
        """The engines over a catalog that was written by hand."""
        checked = check_catalog(catalog)
        engines = cls(world, checked, load(world, checked))
        engines.connection.execute(f"CREATE TABLE aggregates AS {aggregates_sql(checked, *engines.moment)}")
        return engines

    @property
    def moment(self) -> tuple[int, int, int]:
        """t, cut, today."""
        return self.world.t_ms, self.world.cut, self.world.today

    def tables(self) -> dict[str, dict[str, object]]:
        """The compiled SQL's answers."""
        keys = list(self.checked.order)
        rows = self.connection.execute(values_sql(self.checked, keys, *self.moment)).fetchall()
        return {row[0]: dict(zip(keys, map(state_form, row[1:]), strict=True)) for row in rows}

    def states(self) -> dict[str, State]:
        """The state of each profile, from `aggregates`."""
        uses = list(self.checked.aggregates.values())
        found = self.connection.execute("SELECT * FROM aggregates")
        columns = [column[0] for column in found.description or ()]
        states = {}
        for row in found.fetchall():
            by_column = dict(zip(columns, row, strict=True))
            aggregates = {use.text: use.state_value(by_column[use.column]) for use in uses}
            profile = by_column["profile_id"]
            states[profile] = State(
                profile, self.world.t_ms, self.world.cut, self.world.attributes[profile], aggregates
            )
        return states

    def evaluated(self) -> dict[str, dict[str, Value]]:
        """The evaluator's answers."""
        return {
            profile: {key: self.definition(key, state) for key in self.checked.order}
            for profile, state in self.states().items()
        }

    def definition(self, key: str, state: State) -> Value:
        """The evaluator's answer for one definition; a segment is a Boolean position."""
        value = self.checked.values[key]
        answer = evaluate(value.node, state, self.checked)
        return answer is True if value.kind == "segment" else answer

    def alone(self, expression: str) -> dict[str, object]:
        """One expression straight from the events, by profile."""
        rows = self.connection.execute(expression_sql(expression, self.checked, *self.moment)).fetchall()
        return {profile: state_form(value) for profile, value in rows}


def state_form(value: object) -> object:
    """A value of a table as a state holds it: numbers in micro-units, instants in milliseconds."""
    match value:
        case bool() | str() | None:
            return value
        case int():
            return value * 1_000_000
        case Decimal():
            micros = value.scaleb(6)
            assert micros == int(micros)
            return int(micros)
        case datetime():
            return (value - EPOCH) // timedelta(milliseconds=1)
    raise AssertionError(f"no value of a table: {value!r}")


# -- tables ------------------------------------------------------------------------------------------------------------


def load(world: World, checked: CheckedCatalog) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB with `events`, `identities` and `profiles`, and of typed columns those that are asked for."""
    connection = duckdb.connect()
    properties = [event["properties"] for event in world.events]
    events = {
        "seq": pl.Series([event["seq"] for event in world.events], dtype=pl.Int64),
        "kind": pl.Series([event["kind"] for event in world.events], dtype=pl.String),
        "name": pl.Series([event["name"] for event in world.events], dtype=pl.String),
        "source_id": pl.Series([event["source"] for event in world.events], dtype=pl.String),
        "ts_ms": pl.Series([event["ts_ms"] for event in world.events], dtype=pl.Int64),
        "local_day": pl.Series([event["local_day"] for event in world.events], dtype=pl.Int32),
        "properties": pl.Series([json_text(found) for found in properties], dtype=pl.String),
        **typed_columns(properties, checked.property_columns),
    }
    profiles = world.universe()
    attributes = [world.attributes[profile] for profile in profiles]
    seen = [world.seen(profile) for profile in profiles]
    people = {
        "profile_id": pl.Series(profiles, dtype=pl.String),
        "first_seen_ms": pl.Series([instants[0] for instants in seen], dtype=pl.Int64),
        "last_seen_ms": pl.Series([instants[-1] for instants in seen], dtype=pl.Int64),
        "attributes": pl.Series([json_text(dict(found)) for found in attributes], dtype=pl.String),
        **typed_columns(attributes, checked.attribute_columns),
    }
    schema = {"source_id": pl.String, "profile_id": pl.String, "valid_from_seq": pl.Int64, "valid_to_seq": pl.Int64}
    connection.register("events", pl.DataFrame(events).to_arrow())
    connection.register("profiles", pl.DataFrame(people).to_arrow())
    connection.register("identities", pl.DataFrame(list(world.identities), schema=schema, orient="row").to_arrow())
    return connection


def typed_columns(documents: Sequence[Mapping[str, object]], columns: Sequence[str]) -> dict[str, pl.Series]:
    """The typed columns that statements read, of JSON objects."""
    flat = [flatten(document, Zone("UTC")) for document in documents]
    return {
        column.name: pl.Series([cells.get(column.name) for cells in flat], dtype=DTYPES[column.type])
        for column in columns_named(columns)
    }
