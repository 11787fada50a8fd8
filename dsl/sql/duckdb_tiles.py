"""Tiles in DuckDB: folding a stretch of the log into them, merging, and carrying on what is too old for any window.

A row of `tiles` is the state of a base aggregate at one grain (`base_id`) over one hop of one source, or over all hops
before the first that is kept by itself (`CARRIED`). Sources have numbers, which `tile_sources` gives them: what is
grouped and joined a dozen times is no text. Each family has its own columns, the others are NULL:

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
from dsl.bases import CARRIED, LOCAL_DAY, Base
from dsl.check import CheckedCatalog
from dsl.columns import SENT, column_name
from dsl.folds import FamilyName
from dsl.sql.duckdb import DuckDB
from dsl.sql.duckdb_aggregates import Collected
from dsl.sql.lower import Lowered, Lowering, column
from dsl.sql.steps import Steps, by_level, levels
from dsl.types import Type

TILES: Final = """
CREATE TABLE IF NOT EXISTS tiles (
    base_id INTEGER NOT NULL,
    source_no INTEGER NOT NULL,
    hop_start BIGINT NOT NULL,
    count BIGINT,
    total HUGEINT,
    low BIGINT,
    high BIGINT,
    first {dated},
    last {dated},
    counts MAP(VARCHAR, UBIGINT),
    numbers MAP(BIGINT, UBIGINT)
);
CREATE TABLE IF NOT EXISTS tile_sources (source_no INTEGER NOT NULL, source_id VARCHAR NOT NULL)
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
_MERGED: Final = {
    "count": "t.count + f.count",
    "total": "t.total + f.total",
    "low": "LEAST(t.low, f.low)",
    "high": "GREATEST(t.high, f.high)",
    "first": "LEAST(t.first, f.first)",
    "last": "GREATEST(t.last, f.last)",
    "counts": _MERGED_MAP.format(name="counts"),
    "numbers": _MERGED_MAP.format(name="numbers"),
}
_TOGETHER: Final = {
    "count": "CAST(SUM(count) AS BIGINT)",
    "total": "SUM(total)",
    "low": "MIN(low)",
    "high": "MAX(high)",
    "first": "MIN(first)",
    "last": "MAX(last)",
}
"""How many tiles at once are one; maps are merged key by key."""
_STATES: Final[Mapping[FamilyName, Sequence[str]]] = {
    "moments": ("count", "low", "high"),
    "numbers": ("count", "total", "low", "high"),
    "instants": ("low", "high"),
    "ends": ("first", "last"),
    "days": ("count",),
    "values": ("counts",),
    "histogram": ("numbers",),
}
MERGED_TOGETHER: Final[Sequence[Sequence[FamilyName]]] = (
    ("moments", "numbers", "instants", "days"),
    ("ends",),
    ("values",),
    ("histogram",),
)
"""Families by what is merged: a list or a map that is set, be it to NULL as before, has the whole row written again."""
_NUMBER_SOURCES: Final = """
INSERT INTO tile_sources
SELECT known + row_number() OVER (ORDER BY source_id), source_id
FROM (SELECT DISTINCT source_id FROM {events} WHERE seq > {lo:d} AND seq <= {hi:d}) ANTI JOIN tile_sources
    USING (source_id), (SELECT coalesce(max(source_no), -1) AS known FROM tile_sources)
"""


@dataclass(frozen=True, slots=True)
class TileBase:
    """A base aggregate at one of its grains, and the number that rows of `tiles` know it by.

    Attributes:
        first_hop: tiles of earlier hops are carried on in one, or are gone; None when all of them are there.
    """

    base_id: int
    base: Base
    grain_ms: int
    first_hop: int | None = None

    @property
    def carried(self) -> bool:
        """Whether earlier hops are carried on."""
        return self.base.grains[self.grain_ms].carried


def tiles_sql() -> str:
    """The statements that make the tables `tiles` and `tile_sources`."""
    fields = ", ".join(f"{name} {sql_type}" for name, sql_type in _DATED_TYPES.items())
    return TILES.format(dated=f"STRUCT(ts_ms BIGINT, event_id VARCHAR, {fields})")


# -- folding -----------------------------------------------------------------------------------------------------------


def number_sources_sql(events: str, lo: int, hi: int) -> str:
    """The statement that gives numbers to sources that have none, of the events with `lo < seq <= hi`.

    Args:
        events: a view of the log.
    """
    return _NUMBER_SOURCES.format(events=events, lo=lo, hi=hi)


def stretch_sql(bases: Sequence[Base], checked: CheckedCatalog, events: str, lo: int, hi: int) -> str:
    """The statement that gives the events with `lo < seq <= hi`, with all that the bases look at.

    Grain: one row an event of a name that a base asks for. A filter is the column `passes_<number>`.

    Args:
        events: a view of the log, whose sources have numbers.
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
    # Ids are most of an event.
    ids = ["event_id"] if any(base.family == "ends" for base in bases) else []
    plain = [*ids, "kind", "name", "source_no", "ts_ms", "local_day", *needed, *passes]
    return f"SELECT {', '.join(plain)} FROM ({query}) AS events JOIN tile_sources USING (source_id)"


def fold_sql(tile_bases: Iterable[TileBase], bases: Sequence[Base], stretch: str) -> str:
    """The statement that folds the events of a table made by `stretch_sql` into tiles.

    Grain: one row per base, source and hop. Columns: those of `tiles` that a base fills.
    """
    filters = _filters(bases)
    return "\nUNION ALL BY NAME\n".join(_fold(tile_base, filters, stretch) for tile_base in tile_bases)


def _fold(tile_base: TileBase, filters: "Mapping[str, tuple[str, typed.Node]]", stretch: str) -> str:
    base, aggregate = tile_base.base, tile_base.base.aggregate
    conditions = [_SCOPES[aggregate.scope]]
    if aggregate.scope == "named":
        conditions.append(f"events.name = {_sql(exp.Literal.string(aggregate.event))}")
    if base.key in filters:
        conditions.append(f"events.{filters[base.key][0]}")
    columns = {kind: f"events.{name}" for kind, name in _columns(aggregate).items()}
    collected = Collected(aggregate, columns, "", None)
    if columns:
        conditions.append(collected.present())
    hop, apart = _hop(tile_base)
    if not tile_base.carried:
        conditions += apart
    state = ", ".join(f"{text} AS {name}" for name, text in _state(base, collected).items())
    return (
        f"SELECT {tile_base.base_id:d} AS base_id, events.source_no, {hop} AS hop_start, {state}\n"
        f"FROM {stretch} AS events WHERE {' AND '.join(conditions)} GROUP BY ALL"
    )


def _hop(tile_base: TileBase) -> tuple[str, list[str]]:
    """The hop of an event, and the condition that it is kept by itself."""
    grain, first = tile_base.grain_ms, tile_base.first_hop
    place = "local_day" if grain == LOCAL_DAY else "ts_ms"
    hop = "CAST(events.local_day AS BIGINT)" if grain == LOCAL_DAY else _floored("events.ts_ms", grain)
    if first is None:
        return hop, []
    if tile_base.carried:
        hop = f"CASE WHEN events.{place} < {first:d} THEN {CARRIED:d} ELSE {hop} END"
    return hop, [f"events.{place} >= {first:d}"]


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


def carry_sql(tile_base: TileBase) -> str:
    """The statement that gives the tiles before the first hop as one a source: what it carries on.

    Grain: one row per source. Columns: those of `tiles` that the base fills.
    """
    source = f"SELECT {tile_base.base_id:d} AS base_id, source_no, {CARRIED:d} AS hop_start"
    rows = f"FROM tiles WHERE {before_sql(tile_base)}"
    names = _STATES[tile_base.base.family]
    if tile_base.base.family not in ("values", "histogram"):
        return f"{source}, {', '.join(f'{_TOGETHER[name]} AS {name}' for name in names)} {rows} GROUP BY source_no"
    (name,) = names
    entries = f"SELECT source_no, UNNEST(MAP_ENTRIES({name})) AS entry {rows}"
    counted = (
        f"SELECT source_no, entry.key AS key, CAST(SUM(entry.value) AS UBIGINT) AS n FROM ({entries}) GROUP BY ALL"
    )
    return f"{source}, MAP(LIST(key), LIST(n)) AS {name} FROM ({counted}) GROUP BY source_no"


def before_sql(tile_base: TileBase) -> str:
    """Condition: the tile lies before the first hop, by itself."""
    # Nothing is done to the column, so that whole row groups are passed over by their bounds.
    return f"base_id = {tile_base.base_id:d} AND hop_start < {tile_base.first_hop:d} AND hop_start > {CARRIED:d}"


def merge_sql(folded: str, families: Iterable[FamilyName]) -> str:
    """The statement that merges rows of some families, as `fold_sql` gives them, into `tiles`."""
    columns = dict.fromkeys(name for family in families for name in _STATES[family])
    merged = ", ".join(f"{name} = {_MERGED[name]}" for name in columns)
    return (
        f"MERGE INTO tiles AS t USING {folded} AS f "
        "ON (t.base_id = f.base_id AND t.source_no = f.source_no AND t.hop_start = f.hop_start)\n"
        f"WHEN MATCHED THEN UPDATE SET {merged}\n"
        "WHEN NOT MATCHED THEN INSERT BY NAME"
    )


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
