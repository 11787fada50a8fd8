"""The engines side by side: the oracle, SQL on DuckDB, the evaluator over a state counted again from raw events."""

from decimal import Decimal
from typing import Any

from dsl.catalog import Catalog
from dsl.check import CheckedCatalog, check_catalog
from dsl.evaluate import Evaluation
from dsl.event import Event
from dsl.folds import tag
from dsl.numbers import LARGEST, SMALLEST
from dsl.recount import attributes_of, count_again
from dsl.sql import aggregates_sql, values_sql
from dsl.state import State, Value
from dsl.types import Type
from tests.differential.worlds import ZONE, World
from tests.oracle.evaluate import Evaluator
from tests.oracle.values import Number, Timestamp, load_json
from warehouse.database import Connection, connect

TYPED = (("n_", "BIGINT"), ("s_", "VARCHAR"), ("b_", "BOOLEAN"))
NAMES = ("n", "s", "b", "x")


def typed_row(values: Any) -> list[object]:
    """The typed columns of a JSON object, for each name in `NAMES`: number, string, boolean."""
    row: list[object] = []
    for name in NAMES:
        value = values.get(name)
        row.append(value if isinstance(value, int) and not isinstance(value, bool) else None)
        row.append(value if isinstance(value, str) else None)
        row.append(value if isinstance(value, bool) else None)
    return row


def tables(world: World) -> Connection:
    """The tables that compiled SQL reads, with the events of a world."""
    connection = connect(threads=1)
    columns = ", ".join(f"{prefix}{name} {kind}" for name in NAMES for prefix, kind in TYPED)
    marks = ", ".join("?" * 3 * len(NAMES))
    connection.execute(
        "CREATE TABLE events (event_id VARCHAR, seq BIGINT, kind VARCHAR, name VARCHAR, source_id VARCHAR, "
        f"ts_ms BIGINT, local_day INTEGER, properties VARCHAR, {columns})"
    )
    connection.execute(
        "CREATE TABLE identities (source_id VARCHAR, profile_id VARCHAR, valid_from_seq BIGINT, valid_to_seq BIGINT)"
    )
    connection.execute(
        "CREATE TABLE profiles (profile_id VARCHAR, first_seen_ms BIGINT, last_seen_ms BIGINT, attributes VARCHAR, "
        f"{columns})"
    )
    rows = [
        [e.event_id, e.seq, e.kind, e.name, e.source_id, e.ts_ms, e.local_day, raw["json"], *typed_row(e.properties)]
        for e, raw in zip(world.events, world.raw, strict=True)
    ]
    if rows:
        connection.executemany(f"INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, {marks})", rows)
    for profile, events in by_profile(world).items():
        connection.execute("INSERT INTO identities VALUES (?, ?, 0, NULL)", [profile, profile])
        seen = [e.ts_ms for e in events if known(e, world) and e.kind != "system"]
        if seen:
            attributes = attributes_of([e for e in events if known(e, world)])
            row = [profile, min(seen), max(seen), "{}", *typed_row(attributes)]
            connection.execute(f"INSERT INTO profiles VALUES (?, ?, ?, ?, {marks})", row)
    return connection


def known(event: Event, world: World) -> bool:
    """Whether the event counts at the world's `(t, cut)`."""
    return event.seq <= world.cut and event.ts_ms < world.t_ms


def by_profile(world: World) -> dict[str, list[Event]]:
    """Events of each profile: every source is one here."""
    found: dict[str, list[Event]] = {}
    for event in world.events:
        found.setdefault(event.source_id, []).append(event)
    return found


class Engines:
    """All engines over one world and one catalog."""

    def __init__(self, world: World, catalog: Catalog) -> None:
        self.world = world
        self.checked: CheckedCatalog = check_catalog(catalog)
        declared = {trait.key: trait.type for trait in catalog.traits}
        definitions = {key: (v.kind, v.text, declared.get(key)) for key, v in self.checked.values.items()}
        raw = [{**event, "properties": load_json(event["json"])} for event in world.raw]
        self.oracle = Evaluator(raw, definitions, world.t_ms, world.cut, ZONE.name)
        self.profiles = self.oracle.universe()

    def by_sql(self) -> dict[str, dict[str, object]]:
        """Values of every definition as the tables hold them: profile -> key -> value."""
        world, keys = self.world, list(self.checked.values)
        today = ZONE.day(world.t_ms)
        with tables(world) as connection:
            for column in (*self.checked.attribute_columns, *self.checked.property_columns):
                assert column[2:] in NAMES
            statement = aggregates_sql(self.checked, world.t_ms, world.cut, today)
            connection.execute(f"CREATE TABLE aggregates AS {statement}")
            rows = connection.execute(values_sql(self.checked, keys, world.t_ms, world.cut, today)).fetchall()
            self.stored = self._stored(connection)
        return {row[0]: dict(zip(keys, row[1:], strict=True)) for row in rows}

    def _stored(self, connection: Connection) -> dict[str, State]:
        """States as they are read from the table of aggregates for publication."""
        uses = list(self.checked.aggregates.values())
        columns = "".join(f', "{use.column}"' for use in uses)
        events = by_profile(self.world)
        states = {}
        for profile, *values in connection.execute(f"SELECT profile_id{columns} FROM aggregates").fetchall():
            attributes = attributes_of([e for e in events[profile] if known(e, self.world)])
            aggregates = {use.key: use.state_value(value) for use, value in zip(uses, values, strict=True)}
            states[profile] = State(profile, self.world.t_ms, self.world.cut, attributes, aggregates)
        return states

    def recounted(self, profile: str) -> State:
        """The state of a profile from its raw events."""
        events = by_profile(self.world).get(profile, [])
        return count_again(profile, events, self.checked, self.world.t_ms, self.world.cut, ZONE)

    def evaluated(self, state: State) -> dict[str, Value]:
        """Values of every definition by the evaluator."""
        evaluation = Evaluation(self.checked, state)
        return {key: evaluation.definition(key) for key in self.checked.values}


def from_oracle(value: object, value_type: Type) -> Value:
    """A value of the oracle as the engines hold it; of another type than the static one it is missing."""
    match value:
        case Number():
            return value.micro if value_type == "number" and SMALLEST <= value.micro <= LARGEST else None
        case Timestamp():
            return value.ms if value_type == "timestamp" else None
        case bool():
            return value if value_type == "boolean" else None
        case str():
            return value if value_type == "string" else None
        case tuple():
            return tuple(v.micro if isinstance(v, Number) else v for v in value)
    return None


def as_presented(value: Value, value_type: Type) -> object:
    """A value as analysts' tables show it, exact."""
    match value:
        case tuple():
            return [tag(item)[2:] for item in value]
        case bool() | str() | None:
            return value
        case int() if value_type == "number":
            return Decimal(value).scaleb(-6)
    return value
