"""Tiles in DuckDB: folding a stretch of the log into them, merging, and reading the aggregates of profiles from them.

A row of `tiles` is the state of a base aggregate at one grain (`base_id`) over one hop of one source. Each family has
its own columns, the others are NULL:

| family | columns |
|---|---|
| moments | `count`, `low`, `high`: events, first and last instant |
| numbers | `count`, `total`, `low`, `high` |
| instants | `low`, `high` |
| ends | `first`, `last`: instant, event id, and the value in the column of its type |
| days | `count`; the hop is the local date |
| values | `counts`: tagged value -> events |
| histogram | `numbers`: number -> events |
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlglot import exp

from dsl import typed
from dsl.bases import LOCAL_DAY, Base, Bases
from dsl.check import AggregateUse, CheckedCatalog
from dsl.clock import DAY_MS
from dsl.columns import SENT, column_name
from dsl.sql.duckdb import DuckDB
from dsl.sql.duckdb_aggregates import Collected, finished
from dsl.sql.lower import Lowered, Lowering, column
from dsl.sql.steps import Steps, by_level, levels
from dsl.types import Type

TILES: Final = """
CREATE TABLE IF NOT EXISTS tiles (
    base_id INTEGER NOT NULL,
    source_id VARCHAR NOT NULL,
    hop_start BIGINT NOT NULL,
    count BIGINT,
    total HUGEINT,
    low BIGINT,
    high BIGINT,
    first {dated},
    last {dated},
    counts MAP(VARCHAR, UBIGINT),
    numbers MAP(BIGINT, UBIGINT)
)
"""
_DATED_TYPES: Final[Mapping[Type, str]] = {
    "number": "BIGINT",
    "string": "VARCHAR",
    "boolean": "BOOLEAN",
    "list": "VARCHAR[]",
    "timestamp": "BIGINT",
}
_KINDS = "events.kind IN ('track', 'page', 'screen'"
_SCOPES = {"named": f"{_KINDS}, 'system')", "tracked": f"{_KINDS})", "outside": "events.kind <> 'system'"}
_MERGED_MAP = (
    "CASE WHEN t.{name} IS NULL OR f.{name} IS NULL THEN COALESCE(t.{name}, f.{name}) ELSE MAP_FROM_ENTRIES("
    "LIST_TRANSFORM(LIST_DISTINCT(LIST_CONCAT(MAP_KEYS(t.{name}), MAP_KEYS(f.{name}))), LAMBDA key: STRUCT_PACK("
    "k := key, "
    "v := COALESCE(MAP_EXTRACT_VALUE(t.{name}, key), 0) + COALESCE(MAP_EXTRACT_VALUE(f.{name}, key), 0)))) END"
)


_COUNTED: Final = "MAP(LIST(key) FILTER (WHERE {name} > 0), LIST({name}) FILTER (WHERE {name} > 0))"
_REPEATED: Final = (
    "FLATTEN(LIST(LIST_TRANSFORM(RANGE(CAST({name} AS BIGINT)), LAMBDA i: key)) FILTER (WHERE {name} > 0))"
)
_COLLECTED: Final = {
    "count": "CAST(SUM(count) {rows} AS BIGINT)",
    "first_at": "MIN(low) {rows}",
    "last_at": "MAX(high) {rows}",
    "sum": "SUM(total) {rows}",
    "avg": "{{'total': SUM(total) {rows}, 'count': CAST(SUM(count) {rows} AS BIGINT)}}",
    "min": "MIN(low) {rows}",
    "max": "MAX(high) {rows}",
    "first": "MIN(first) {rows}",
    "last": "MAX(last) {rows}",
    "unique_days": "COUNT(DISTINCT hop_start) {rows}",
    "streak_days": "LIST(DISTINCT hop_start) {rows}",
    "count_distinct": "LIST(key) FILTER (WHERE {name} > 0)",
    "most_frequent": _COUNTED,
    "unique_list": _COUNTED,
    "percentile": _REPEATED,
    "median": _REPEATED,
}
"""What a pass over tiles collects, in the shape that `duckdb_aggregates.finished` takes; of values and of numbers from
their counts in a window, `{name}`."""


@dataclass(frozen=True, slots=True)
class TileBase:
    """A base aggregate at one of its grains, and the number that rows of `tiles` know it by."""

    base_id: int
    base: Base
    grain_ms: int


def tiles_sql() -> str:
    """The statement that makes the table `tiles`."""
    fields = ", ".join(f"{name} {sql_type}" for name, sql_type in _DATED_TYPES.items())
    return TILES.format(dated=f"STRUCT(ts_ms BIGINT, event_id VARCHAR, {fields})")


# -- folding -----------------------------------------------------------------------------------------------------------


def stretch_sql(bases: Sequence[Base], checked: CheckedCatalog, events: str, lo: int, hi: int) -> str:
    """The statement that gives the events with `lo < seq <= hi`, with all that the bases look at.

    Grain: one row an event of a name that a base asks for. A filter is the column `passes_<number>`.

    Args:
        events: a view of the log.
    """
    steps = Steps(lambda number: f"filter__step_{number}")
    conditions = {name: steps.take_apart(condition) for name, condition in _filters(bases).values()}
    lowering = Lowering(checked, 0, lambda key: Lowered(column(key, "events")), DuckDB())
    values = {step.key: step for step in steps.steps}
    query = f"SELECT * FROM {events} WHERE seq > {lo:d} AND seq <= {hi:d}{_names(bases)}"
    for _, keys in by_level(levels(values, values)):
        parts = "".join(f", {_sql(lowering.value(values[key].node).sql)} AS {key}" for key in keys)
        query = f"SELECT *{parts} FROM ({query}) AS events"
    passes = [f"{_sql(lowering.condition(condition))} AS {name}" for name, condition in conditions.items()]
    needed = dict.fromkeys(name for base in bases for name in _columns(base.aggregate).values())
    plain = ["event_id", "kind", "name", "source_id", "ts_ms", "local_day", *needed, *passes]
    return f"SELECT {', '.join(plain)} FROM ({query}) AS events"


def fold_sql(tile_bases: Iterable[TileBase], bases: Sequence[Base], stretch: str) -> str:
    """The statement that folds the events of a table made by `stretch_sql` into tiles.

    Grain: one row per base, source and hop. Columns: those of `tiles` that a base fills.
    """
    filters = _filters(bases)
    return "\nUNION ALL BY NAME\n".join(_fold(tile_base, filters, stretch) for tile_base in tile_bases)


def _fold(tile_base: TileBase, filters: "Mapping[str, tuple[str, typed.Node]]", stretch: str) -> str:
    base, aggregate = tile_base.base, tile_base.base.aggregate
    grain = tile_base.grain_ms
    hop = "CAST(events.local_day AS BIGINT)" if grain == LOCAL_DAY else _floored("events.ts_ms", grain)
    conditions = [_SCOPES[aggregate.scope]]
    if aggregate.scope == "named":
        conditions.append(f"events.name = {_sql(exp.Literal.string(aggregate.event))}")
    if base.key in filters:
        conditions.append(f"events.{filters[base.key][0]}")
    columns = {kind: f"events.{name}" for kind, name in _columns(aggregate).items()}
    collected = Collected(aggregate, columns, "", None)
    if columns:
        conditions.append(collected.present())
    state = ", ".join(f"{text} AS {name}" for name, text in _state(base, collected).items())
    return (
        f"SELECT {tile_base.base_id:d} AS base_id, events.source_id, {hop} AS hop_start, {state}\n"
        f"FROM {stretch} AS events WHERE {' AND '.join(conditions)} GROUP BY ALL"
    )


def _state(base: Base, collected: Collected) -> dict[str, str]:
    """The columns of a family's state, from the events of a group."""
    value = collected.value
    match base.family:
        case "moments":
            return {"count": "COUNT(*)", "low": "MIN(events.ts_ms)", "high": "MAX(events.ts_ms)"}
        case "numbers":
            return {"count": "COUNT(*)", "total": f"SUM({value})", "low": f"MIN({value})", "high": f"MAX({value})"}
        case "instants":
            return {"low": f"MIN({value})", "high": f"MAX({value})"}
        case "ends":
            blank = {kind: f"CAST(NULL AS {sql_type})" for kind, sql_type in _DATED_TYPES.items()}
            fields = ", ".join(f"'{kind}': {text}" for kind, text in {**blank, **collected.columns}.items())
            dated = f"{{'ts_ms': events.ts_ms, 'event_id': events.event_id, {fields}}}"
            return {"first": f"MIN({dated})", "last": f"MAX({dated})"}
        case "days":
            return {"count": "COUNT(*)"}
        case "values":
            return {"counts": f"HISTOGRAM({collected.tag()})"}
    return {"numbers": f"HISTOGRAM({value})"}


def merge_sql(folded: str) -> str:
    """The statement that merges a table made by `fold_sql` into `tiles`."""
    return (
        f"MERGE INTO tiles AS t USING {folded} AS f "
        "ON (t.base_id = f.base_id AND t.source_id = f.source_id AND t.hop_start = f.hop_start)\n"
        "WHEN MATCHED THEN UPDATE SET count = t.count + f.count, total = t.total + f.total, "
        "low = LEAST(t.low, f.low), high = GREATEST(t.high, f.high), "
        "first = LEAST(t.first, f.first), last = GREATEST(t.last, f.last), "
        f"counts = {_MERGED_MAP.format(name='counts')}, numbers = {_MERGED_MAP.format(name='numbers')}\n"
        "WHEN NOT MATCHED THEN INSERT BY NAME"
    )


# -- reading -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TileMoment:
    """When tiles are read.

    Attributes:
        t_ms: the instant of the question, later than every event that was folded.
        cut: identities as of this `seq`.
        today: number of the local day of `t_ms`.
        midnight_ms: first instant after `t` that has another local date.
    """

    t_ms: int
    cut: int
    today: int
    midnight_ms: int


def tiled_aggregates_sql(
    checked: CheckedCatalog,
    bases: Bases,
    tile_bases: Sequence[TileBase],
    moment: TileMoment,
    profiles: str = "profiles",
) -> tuple[list[str], str]:
    """Statements that give every base aggregate of the catalog from tiles: the same columns as `aggregates_sql`.

    Grain: one row per row of `profiles`. Then `due_ms`: the first instant after `t` at which a tile leaves a window of
    the profile, or a local day ends; NULL when time alone changes none of its aggregates.

    Args:
        profiles: a table of profiles to give: all, or those that something happened to.

    Returns:
        Statements that make temporary tables `tiled_<number>`, one for each base, and the query that joins them.
    """
    passes: list[str] = []
    columns: dict[str, str] = {}
    for number, base in enumerate(bases.by_key.values(), 1):
        ids = {tile_base.grain_ms: tile_base.base_id for tile_base in tile_bases if tile_base.base.key == base.key}
        uses = [use for key, use in checked.aggregates.items() if bases.of_use[key].key == base.key]
        table = f"tiled_{number}"
        passes.append(f"CREATE OR REPLACE TEMP TABLE {table} AS\n{_Reading(base, ids, uses, moment).query(profiles)}")
        columns |= {use.column: _or_nothing(use, table) for use in uses}
    ordered = [f"{columns[use.column]} AS {_quoted(use.column)}" for use in checked.aggregates.values()]
    dues = [f"tiled_{number}.due_ms" for number in range(1, len(passes) + 1)]
    due = f"CAST(LEAST({', '.join([*dues, 'NULL'])}) AS BIGINT) AS due_ms"
    joins = "".join(f"\nLEFT JOIN tiled_{number} USING (profile_id)" for number in range(1, len(passes) + 1))
    selected = ",\n    ".join(["profiles.profile_id", *ordered, due])
    return passes, f"SELECT {selected}\nFROM {profiles} AS profiles{joins}"


def _or_nothing(use: AggregateUse, table: str) -> str:
    """The value of a profile, or that of no events at all; a sum out of range is missing, and stays so."""
    name = f"{table}.{_quoted(use.column)}"
    match use.of_nothing:
        case None:
            return name
        case tuple():
            return f"COALESCE({name}, [])"
    return f"CASE WHEN {table}.profile_id IS NULL THEN 0 ELSE {name} END"


@dataclass(frozen=True, slots=True)
class _Reading:
    """One pass over the tiles of a base.

    Attributes:
        ids: number of the base at each of its grains.
    """

    base: Base
    ids: Mapping[int, int]
    uses: Sequence[AggregateUse]
    moment: TileMoment

    def query(self, profiles: str) -> str:
        """Every value that is asked of the base, by profile that has a tile."""
        values = ", ".join(f"{self._finished(use)} AS {_quoted(use.column)}" for use in self.uses)
        return f"SELECT profile_id, {values}, due_ms FROM (\n{self._pass(profiles)}\n) AS pass"

    def _pass(self, profiles: str) -> str:
        rows = (
            f"SELECT identities.profile_id, tiles.* FROM tiles JOIN identities USING (source_id) "
            f"SEMI JOIN {profiles} AS asked USING (profile_id) "
            f"WHERE tiles.base_id IN ({', '.join(map(str, self.ids.values()))}) "
            f"AND identities.valid_from_seq <= {self.moment.cut} "
            f"AND (identities.valid_to_seq IS NULL OR identities.valid_to_seq > {self.moment.cut})"
        )
        selected = [f"{self._collected(use)} AS {_quoted(use.column)}" for use in self.uses]
        if self.base.family in ("values", "histogram"):
            return self._by_value(rows, selected)
        if any(use.aggregate.function == "longest_gap_minutes" for use in self.uses):
            # Sources of one profile may have events in one hop.
            rows = (
                "SELECT profile_id, base_id, hop_start, SUM(count) AS count, MIN(low) AS low, MAX(high) AS high "
                f"FROM ({rows}) GROUP BY ALL"
            )
        columns = ", ".join(["profile_id", *selected, f"{self._due()} AS due_ms"])
        return f"SELECT {columns} FROM ({rows}) AS tiles GROUP BY profile_id"

    def _by_value(self, rows: str, selected: Sequence[str]) -> str:
        """Counts of each value in each window, then the values of a profile."""
        name = "counts" if self.base.family == "values" else "numbers"
        counted = ", ".join(
            f"SUM(entry.value) FILTER (WHERE {self._counts(use)}) AS {_quoted(use.column)}" for use in self.uses
        )
        entries = f"SELECT profile_id, base_id, hop_start, UNNEST(MAP_ENTRIES({name})) AS entry FROM ({rows})"
        values = (
            f"SELECT profile_id, entry.key AS key, {counted}, "
            f"{self._due()} AS due_ms FROM ({entries}) AS tiles GROUP BY profile_id, entry.key"
        )
        columns = ", ".join(["profile_id", *selected, "MIN(due_ms) AS due_ms"])
        return f"SELECT {columns} FROM ({values}) AS counted GROUP BY profile_id"

    def _counts(self, use: AggregateUse) -> str:
        """Condition: the tile lies in the window of an aggregate."""
        window = use.aggregate.window
        if self.base.family == "days":
            within = f"tiles.base_id = {self.ids[LOCAL_DAY]}"
            if window is None or window.days is None:
                return within
            return f"{within} AND hop_start BETWEEN {self.moment.today - (window.days - 1)} AND {self.moment.today}"
        if window is None:
            return f"tiles.base_id = {self.ids[DAY_MS]}"
        return f"tiles.base_id = {self.ids[window.hop_ms]} AND hop_start >= {window.start_ms(self.moment.t_ms)}"

    def _collected(self, use: AggregateUse) -> str:
        """What the pass collects for an aggregate, in the shape that `finished` takes."""
        rows = f"FILTER (WHERE {self._counts(use)})"
        if use.aggregate.function == "longest_gap_minutes":
            return self._hops(use, rows)
        return _COLLECTED[use.aggregate.function].format(rows=rows, name=_quoted(use.column))

    def _hops(self, use: AggregateUse, rows: str) -> str:
        """The hops in the window, in order, and the last instant before it."""
        window = use.aggregate.window
        start_ms = window.start_ms(self.moment.t_ms) if window is not None else self.moment.t_ms
        before = f"MAX(high) FILTER (WHERE high < {start_ms})"
        hops = f"LIST({{'low': low, 'high': high}} ORDER BY hop_start) {rows}"
        return f"{{'before': {before}, 'hops': {hops}}}"

    def _finished(self, use: AggregateUse) -> str:
        """The value of an aggregate."""
        name = f"pass.{_quoted(use.column)}"
        if use.aggregate.function == "unique_days":
            return name
        if use.aggregate.function != "longest_gap_minutes":
            return finished(use.aggregate, name, self.moment.today)
        hops, before = f"{name}.hops", f"{name}.before"
        previous = f"CASE WHEN i = 1 THEN {before} ELSE LIST_EXTRACT({hops}, i - 1).high END"
        gaps = f"LIST_TRANSFORM(RANGE(1, LEN({hops}) + 1), LAMBDA i: LIST_EXTRACT({hops}, i).low - ({previous}))"
        return f"LIST_MAX({gaps}) // 60000"

    def _due(self) -> str:
        """The first instant after `t` at which a tile leaves a window, or a local day ends."""
        if self.base.family == "days":
            return self._day_due()
        leaving = []
        for window in self.base.windows:
            beyond = window.hop_ms + window.width_ms
            held = f"tiles.base_id = {self.ids[window.hop_ms]} AND hop_start + {beyond} > {self.moment.t_ms}"
            leaving.append(f"MIN(hop_start + {beyond}) FILTER (WHERE {held})")
        return f"LEAST({', '.join([*leaving, 'NULL'])})"

    def _day_due(self) -> str:
        """The end of the local day, where a date is near enough to matter on the next day, or on the one before.

        Where clocks go back over midnight, the date before today comes again.
        """
        days = [use.aggregate.window.days or 0 for use in self.uses if use.aggregate.window is not None]
        days += [2 for use in self.uses if use.aggregate.function == "streak_days"]
        if not days:
            return "CAST(NULL AS BIGINT)"
        return f"CASE WHEN MAX(hop_start) >= {self.moment.today - max(days)} THEN {self.moment.midnight_ms} END"


# -- pieces ------------------------------------------------------------------------------------------------------------


def _filters(bases: Sequence[Base]) -> dict[str, tuple[str, typed.Node]]:
    """The column and the condition of each base that has a filter, by its key; equal conditions share a column."""
    found: dict[str, tuple[str, typed.Node]] = {}
    known: dict[typed.Node, str] = {}
    for base in bases:
        condition = base.aggregate.filter
        if condition is not None:
            name = known.setdefault(condition, f"passes_{len(known) + 1}")
            found[base.key] = (name, condition)
    return found


def _names(bases: Sequence[Base]) -> str:
    """Condition on the names of events, where every base asks for one."""
    if any(base.aggregate.scope != "named" for base in bases):
        return ""
    names = dict.fromkeys(base.aggregate.event for base in bases)
    return f" AND name IN ({', '.join(_sql(exp.Literal.string(name)) for name in names)})" if names else " AND FALSE"


def _columns(aggregate: typed.BaseAggregate) -> dict[Type, str]:
    """The typed columns of the argument, by their type."""
    argument = aggregate.argument
    if argument is None:
        return {}
    types = SENT if argument.type == "unknown" else (argument.type,)
    return {kind: _quoted(column_name(argument.root, argument.steps, kind)) for kind in types}


def _floored(instant: str, grain_ms: int) -> str:
    """The hop of an instant; before 1970 as well."""
    return f"{instant} - (({instant} % {grain_ms}) + {grain_ms}) % {grain_ms}"


def _quoted(name: str) -> str:
    return _sql(exp.to_identifier(name, quoted=True))


def _sql(node: exp.Expr) -> str:
    return node.sql(dialect=DuckDB.name)
