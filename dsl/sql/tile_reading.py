"""Reading aggregates of profiles from the tiles that `dsl.sql.duckdb_tiles` makes: a pass over those of each base."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlglot import exp

from dsl.bases import LOCAL_DAY, Base, Bases
from dsl.check import AggregateUse, CheckedCatalog
from dsl.clock import DAY_MS
from dsl.sql.duckdb import DuckDB
from dsl.sql.duckdb_aggregates import finished
from dsl.sql.duckdb_tiles import TileBase

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
_PROFILES: Final = "tiled_profiles"
_SOURCES: Final = "tiled_sources"


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
) -> tuple[dict[str, str], str]:
    """Statements that give every base aggregate of the catalog from tiles: the same columns as `aggregates_sql`.

    Grain: one row per row of `profiles`. Then `due_ms`: the first instant after `t` at which a tile leaves a window of
    the profile, or a local day ends; NULL when time alone changes none of its aggregates.

    Args:
        profiles: a table of profiles to give: all, or those that something happened to.

    Returns:
        Queries by the names of the temporary tables that they have to be, one after another, and the one over them.
    """
    valid = f"valid_from_seq <= {moment.cut} AND (valid_to_seq IS NULL OR valid_to_seq > {moment.cut})"
    # Numbers are grouped and joined by in a fraction of the time that ids take.
    tables = {
        _PROFILES: f"SELECT CAST(row_number() OVER () AS INTEGER) AS profile_no, profile_id FROM {profiles}",
        _SOURCES: f"SELECT source_no, profile_no FROM tile_sources JOIN identities USING (source_id) "
        f"JOIN {_PROFILES} USING (profile_id) WHERE {valid}",
    }
    columns: dict[str, str] = {}
    joins, dues = "", []
    for number, base in enumerate(bases.by_key.values(), 1):
        ids = {tile_base.grain_ms: tile_base.base_id for tile_base in tile_bases if tile_base.base.key == base.key}
        uses = [use for key, use in checked.aggregates.items() if bases.reads[key].base.key == base.key]
        table = f"tiled_{number}"
        tables[table] = _Reading(base, ids, uses, moment).query()
        columns |= {use.column: _or_nothing(use, table) for use in uses}
        joins += f"\nLEFT JOIN {table} USING (profile_no)"
        dues.append(f"{table}.due_ms")
    ordered = [f"{columns[use.column]} AS {_quoted(use.column)}" for use in checked.aggregates.values()]
    due = f"CAST(LEAST({', '.join([*dues, 'NULL'])}) AS BIGINT) AS due_ms"
    selected = ",\n    ".join(["profile_id", *ordered, due])
    return tables, f"SELECT {selected}\nFROM {_PROFILES}{joins}"


def _or_nothing(use: AggregateUse, table: str) -> str:
    """The value of a profile, or that of no events at all; a sum out of range is missing, and stays so."""
    name = f"{table}.{_quoted(use.column)}"
    match use.of_nothing:
        case None:
            return name
        case tuple():
            return f"COALESCE({name}, [])"
    return f"CASE WHEN {table}.profile_no IS NULL THEN 0 ELSE {name} END"


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

    def query(self) -> str:
        """Every value that is asked of the base, by profile that has a tile which counts, or is the last before."""
        values = ", ".join(f"{self._finished(use)} AS {_quoted(use.column)}" for use in self.uses)
        return f"SELECT profile_no, {values}, due_ms FROM (\n{self._pass()}\n) AS pass"

    def _pass(self) -> str:
        read = ", ".join(str(id_) for grain, id_ in self.ids.items() if grain in self.base.read_grains)
        rows = (
            f"SELECT profile_no, tiles.* FROM tiles JOIN {_SOURCES} USING (source_no) "
            f"WHERE tiles.base_id IN ({read}){self._reached()}"
        )
        selected = [f"{self._collected(use)} AS {_quoted(use.column)}" for use in self.uses]
        if self.base.family in ("values", "histogram"):
            return self._by_value(rows, selected)
        if any(use.aggregate.function == "longest_gap_minutes" for use in self.uses):
            # Sources of one profile may have events in one hop.
            rows = (
                "SELECT profile_no, base_id, hop_start, SUM(count) AS count, MIN(low) AS low, MAX(high) AS high "
                f"FROM ({rows}) GROUP BY ALL"
            )
        columns = ", ".join(["profile_no", *selected, f"{self._due()} AS due_ms"])
        return f"SELECT {columns} FROM ({rows}) AS tiles GROUP BY profile_no"

    def _reached(self) -> str:
        """Condition: the tile is no older than any window; nothing where more than windows is asked for."""
        if self.base.whole_life or not self.base.windows:
            return ""
        if self.base.family == "days":
            return f" AND hop_start >= {self.moment.today - max(self._days())}"
        return f" AND hop_start >= {min(window.start_ms(self.moment.t_ms) for window in self.base.windows)}"

    def _by_value(self, rows: str, selected: Sequence[str]) -> str:
        """Counts of each value in each window, then the values of a profile."""
        name = "counts" if self.base.family == "values" else "numbers"
        counted = ", ".join(
            f"SUM(entry.value) FILTER (WHERE {self._counts(use)}) AS {_quoted(use.column)}" for use in self.uses
        )
        entries = f"SELECT profile_no, base_id, hop_start, UNNEST(MAP_ENTRIES({name})) AS entry FROM ({rows})"
        values = (
            f"SELECT profile_no, entry.key AS key, {counted}, "
            f"{self._due()} AS due_ms FROM ({entries}) AS tiles GROUP BY profile_no, entry.key"
        )
        columns = ", ".join(["profile_no", *selected, "MIN(due_ms) AS due_ms"])
        return f"SELECT {columns} FROM ({values}) AS counted GROUP BY profile_no"

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
        days = self._days()
        if not days:
            return "CAST(NULL AS BIGINT)"
        return f"CASE WHEN MAX(hop_start) >= {self.moment.today - max(days)} THEN {self.moment.midnight_ms} END"

    def _days(self) -> list[int]:
        """How many days back dates matter."""
        days = [use.aggregate.window.days or 0 for use in self.uses if use.aggregate.window is not None]
        return days + [2 for use in self.uses if use.aggregate.function == "streak_days"]


def _quoted(name: str) -> str:
    return exp.to_identifier(name, quoted=True).sql(dialect=DuckDB.name)
