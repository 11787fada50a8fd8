"""The engines side by side: the oracle, SQL over events and over tiles, the evaluator over three ways to a state."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property

from dsl.bases import bases_of
from dsl.catalog import Catalog
from dsl.check import CheckedCatalog, check_catalog
from dsl.evaluate import Evaluation
from dsl.event_record import EventRecord, write_record
from dsl.numbers import LARGEST, SMALLEST
from dsl.recount import count_again
from dsl.sql import aggregates_sql, expression_sql, ranks_sql, values_sql
from dsl.sql.duckdb_tiles import (
    MERGED_TOGETHER,
    TileBase,
    before_sql,
    carry_sql,
    fold_sql,
    merge_sql,
    number_sources_sql,
    stretch_sql,
    tiles_sql,
)
from dsl.sql.tile_reading import TileMoment, tiled_aggregates_sql
from dsl.state import State, Value
from dsl.tile_codec import pack
from dsl.tiles import Tiles, add, tiles_of
from dsl.types import Type
from serving.online.fold import Fold
from serving.online.snapshot import Reading, SourceReading
from tests.differential.tables import load, of_table
from tests.differential.worlds import World, document
from tests.oracle import values as oracle_values
from tests.oracle.evaluate import Evaluator
from warehouse.database import Connection

Values = dict[str, dict[str, Value]]
"""Numbers in micro-units, instants in milliseconds: by definition, by profile."""


class Engines:
    """One question put to every engine: the definitions of a catalog over a world."""

    def __init__(self, world: World, catalog: Catalog) -> None:
        self.world = world
        self.catalog = catalog
        self.checked: CheckedCatalog = check_catalog(catalog)

    @cached_property
    def oracle(self) -> Evaluator:
        """The oracle, with every definition as it was written and every type as it was declared."""
        catalog = self.checked.catalog  # its features have become traits
        definitions: dict[str, tuple[str, str, str | None]] = {}
        definitions |= {trait.key: ("trait", trait.expression, trait.type) for trait in catalog.traits}
        definitions |= {segment.key: ("segment", segment.expression, None) for segment in catalog.segments}
        declared = {f"profile.{path}": str(kind) for path, kind in catalog.attributes.items()}
        for event in catalog.events:
            declared |= {f"events.{event.name}.{path}": str(kind) for path, kind in event.properties.items()}
        return self.world.oracle(definitions, declared)

    @cached_property
    def profiles(self) -> list[str]:
        """The universe, by the oracle."""
        return self.oracle.universe()

    def expected(self, texts: Mapping[str, str] | None = None) -> Values:
        """The oracle's answers, to the definitions as they were written or to other texts of theirs."""
        oracle = self.oracle
        if texts is not None:
            written = oracle.definitions.items()
            definitions = {key: (kind, texts[key], declared) for key, (kind, _, declared) in written}
            oracle = self.world.oracle(definitions, oracle.declared)
        return {
            profile: {
                key: from_oracle(oracle.value(f'{value.kind}("{key}")', profile), value.type)
                for key, value in self.checked.values.items()
            }
            for profile in self.profiles
        }

    def expected_alone(self, text: str, value_type: Type) -> dict[str, Value]:
        """The oracle's answers to one expression, by profile."""
        return {profile: from_oracle(self.oracle.value(text, profile), value_type) for profile in self.profiles}

    # -- SQL ---------------------------------------------------------------------------------------------------------

    @cached_property
    def connection(self) -> Connection:
        """The tables; `aggregates` and `ranks` are the results of the compiled statements."""
        connection = load(self.world, self.checked, self.profiles)
        connection.execute(f"CREATE TABLE aggregates AS {aggregates_sql(self.checked, *self.moment)}")
        connection.execute(f"CREATE TABLE ranks AS {ranks_sql(self.checked, *self.moment)}")
        return connection

    @property
    def moment(self) -> tuple[int, int, int]:
        """`t_ms`, cut, and the local day of `t_ms`."""
        return self.world.t_ms, self.world.cut, self.world.zone.day(self.world.t_ms)

    def tables(self) -> Values:
        """The answers of the compiled SQL, of lists the texts of their items."""
        values = self.checked.values
        statement = values_sql(self.checked, list(values), *self.moment)
        rows = self.connection.execute(statement).fetchall()
        return {
            profile: {key: of_table(found, values[key].type) for key, found in zip(values, row, strict=True)}
            for profile, *row in rows
        }

    def alone(self, text: str, value_type: Type = "number") -> dict[str, Value]:
        """The answers of the SQL of one expression, straight from the events, by profile."""
        rows = self.connection.execute(expression_sql(text, self.checked, *self.moment)).fetchall()
        return {profile: of_table(value, value_type) for profile, value in rows}

    # -- the evaluator -----------------------------------------------------------------------------------------------

    def states(self) -> dict[str, State]:
        """The state of each profile, from the tables `aggregates` and `ranks`."""
        uses = list(self.checked.aggregates.values())
        columns = "".join(f', "{use.column}"' for use in uses)
        ranks = self._ranks
        states = {}
        for profile, *values in self.connection.execute(f"SELECT profile_id{columns} FROM aggregates").fetchall():
            aggregates = {use.key: use.state_value(value) for use, value in zip(uses, values, strict=True)}
            attributes = self.world.attributes(profile)
            known = {**aggregates, **ranks[profile]}
            states[profile] = State(profile, self.world.t_ms, self.world.cut, attributes, known)
        return states

    def recounted_state(self, profile: str) -> State:
        """The state of a profile, counted again from its raw events; its ranks need all profiles, so the tables."""
        world = self.world
        state = count_again(profile, world.of_profile(profile), self.checked, world.t_ms, world.cut, world.zone)
        if not self.checked.ranks:
            return state
        return replace(state, aggregates={**state.aggregates, **self._ranks.get(profile, {})})

    @cached_property
    def _ranks(self) -> dict[str, dict[str, Value]]:
        names = list(self.checked.ranks)
        columns = "".join(f', "{rank.column}"' for rank in self.checked.ranks.values())
        rows = self.connection.execute(f"SELECT profile_id{columns} FROM ranks").fetchall()
        return {profile: dict(zip(names, values, strict=True)) for profile, *values in rows}

    def evaluated(self) -> Values:
        """The evaluator's answers over the aggregates that are stored."""
        return {profile: self.of_state(state) for profile, state in self.states().items()}

    def recounted(self) -> Values:
        """The evaluator's answers over raw events."""
        return {profile: self.of_state(self.recounted_state(profile)) for profile in self.profiles}

    def of_state(self, state: State) -> dict[str, Value]:
        """Every definition, evaluated."""
        evaluation = Evaluation(self.checked, state, document(self.world.request))
        return {key: evaluation.definition(key) for key in self.checked.values}

    # -- tiles -------------------------------------------------------------------------------------------------------

    @cached_property
    def cuts(self) -> tuple[int, int, int]:
        """Where the known log is cut: what base, chunk and fresh events hold, about a quarter each."""
        seqs = sorted(event.seq for event in self.world.events if event.seq <= self.world.cut)
        first, second, third = (seqs[len(seqs) * part // 4] if seqs else 0 for part in (1, 2, 3))
        return first, second, third

    def tiled(self) -> Values:
        """The answers of SQL over tiles that were folded in two steps, one merged into the other.

        Between the steps everything that no window reaches is let go or carried on, so that late events of the second
        one find it gone.
        """
        t_ms, cut, today = self.moment
        bases, connection, zone = bases_of(self.checked.aggregates.values()), self.connection, self.world.zone
        grains = ((base, grain, kept) for base in bases.by_key.values() for grain, kept in base.grains.items())
        tile_bases = [
            TileBase(number, base, grain, kept.first_needed(grain, t_ms, today))
            for number, (base, grain, kept) in enumerate(grains, 1)
        ]
        connection.execute(f"{tiles_sql()}; CREATE VIEW past AS SELECT * FROM events WHERE ts_ms < {t_ms:d}")
        self._fold_past([replace(each, first_hop=None) for each in tile_bases], 0, self.cuts[1])
        for tile_base in tile_bases:
            if tile_base.first_hop is not None:
                if tile_base.carried:
                    self._merge(carry_sql(tile_base), [tile_base])
                connection.execute(f"DELETE FROM tiles WHERE {before_sql(tile_base)}")
        self._fold_past(tile_bases, self.cuts[1], cut)
        moment = TileMoment(t_ms, cut, today, zone.start_ms(today + 1))
        tables, statement = tiled_aggregates_sql(self.checked, bases, tile_bases, moment)
        for name, text in tables.items():
            connection.execute(f"CREATE TABLE {name} AS {text}")
        connection.execute(f"ALTER TABLE aggregates RENAME TO counted; CREATE TABLE aggregates AS {statement}")
        try:
            return self.tables()
        finally:
            connection.execute("DROP TABLE aggregates; ALTER TABLE counted RENAME TO aggregates")

    def _fold_past(self, tile_bases: Sequence[TileBase], lo: int, hi: int) -> None:
        bases = list({each.base.key: each.base for each in tile_bases}.values())
        self.connection.execute(number_sources_sql("past", lo, hi))
        stretch = stretch_sql(bases, self.checked, "past", lo, hi)
        self.connection.execute(f"CREATE OR REPLACE TABLE stretch AS {stretch}")
        if tile_bases:
            self._merge(fold_sql(tile_bases, bases, "stretch"), tile_bases)

    def _merge(self, rows: str, tile_bases: Sequence[TileBase]) -> None:
        empty = "(SELECT * FROM tiles LIMIT 0) UNION ALL BY NAME "
        self.connection.execute(f"CREATE OR REPLACE TABLE folded AS {empty}{rows}")
        for families in MERGED_TOGETHER:
            ids = ", ".join(str(each.base_id) for each in tile_bases if each.base.family in families) or "NULL"
            self.connection.execute(merge_sql(f"(FROM folded WHERE base_id IN ({ids}))", families))

    def online(self) -> Values:
        """The evaluator's answers over base, chunk and fresh events of each source, as a decision reads them."""
        fold = Fold(self.checked)
        return {profile: self.of_state(self._online_state(fold, profile)) for profile in self.profiles}

    def _online_state(self, fold: Fold, profile: str) -> State:
        sources = sorted(source for source, owner in self.world.owners.items() if owner == profile)
        ranks = {name: rank for name, rank in self._ranks.get(profile, {}).items() if isinstance(rank, int)}
        readings = [self._reading(fold, source) for source in sources]
        return fold.state(Reading(profile, readings, self.world.cut, None, 1, ranks=ranks), self.world.t_ms)

    def _reading(self, fold: Fold, source: str) -> SourceReading:
        known = [e for e in self.world.events if e.source_id == source and e.seq <= self.world.cut]
        # What lies ahead is in no answer; a decision's instant is after all that it knows.
        past = [event for event in known if event.ts_ms < self.world.t_ms]
        first, second, third = self.cuts

        def tiles(lo: int, hi: int) -> Tiles:
            return tiles_of([event for event in past if lo < event.seq <= hi], fold.bases, fold.checked)

        base = replace(add(tiles(0, first), tiles(first, second), fold.bases), cut=second)
        chunk = replace(tiles(second, third), cut=third)
        # The first of these is in the chunk too, as right before a publication trims it.
        fresh = [(event.seq, self._record(event.seq).encode()) for event in past if event.seq >= third]
        return SourceReading(source, pack(base, fold.bases), pack(chunk, fold.bases), fresh)

    def _record(self, seq: int) -> str:
        entry, day = next(e for e in self.world.entries if e.seq == seq), self.world.zone.day
        instants = entry.ts_ms, entry.ts_ms, day(entry.ts_ms)
        texts = entry.properties, entry.context
        return write_record(EventRecord(entry.event_id, entry.kind, entry.name, *instants, *texts))


def from_oracle(value: oracle_values.Value, value_type: Type) -> Value:
    """A value of the oracle as the engines hold it; of another type than the static one it is missing."""
    match value:
        case oracle_values.Number():
            return value.micro if value_type == "number" and SMALLEST <= value.micro <= LARGEST else None
        case oracle_values.Timestamp():
            return value.ms if value_type == "timestamp" else None
        case bool():
            return value if value_type == "boolean" else None
        case str():
            return value if value_type == "string" else None
        case tuple():
            return tuple(map(_item, value)) if value_type == "list" else None
    return None


def _item(value: oracle_values.Value) -> int | str | bool:
    if isinstance(value, oracle_values.Number):
        return value.micro
    assert isinstance(value, str | bool)
    return value
