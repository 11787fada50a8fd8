"""DuckDB's spelling of the aggregates: what one pass collects for a group, and the value that it becomes.

A pass collects one column per aggregate (a number, a list, a histogram); `finished` turns it into the value of a
profile, which may have had no such events at all.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dsl import typed
from dsl.folds import EXACT, MANTISSA_BITS
from dsl.hyperloglog import ALPHA_ABOVE, ALPHA_BELOW, REGISTERS, REST_BITS, TOP_RANK, linear_counts
from dsl.numbers import MICROS
from dsl.types import Type

_MINUTE_MS = 60_000


@dataclass(frozen=True, slots=True)
class Collected:
    """What an aggregate collects.

    Attributes:
        columns: SQL of the property by its type: one column, or one for each type when any will do.
        where: condition on the rows; empty is all of them. Of an aggregate that looks at what came before its window
            it leaves the window out.
        start_ms: first millisecond of the window; None is whole life.
    """

    aggregate: typed.BaseAggregate
    columns: Mapping[Type, str]
    where: str
    start_ms: int | None

    @property
    def value(self) -> str:
        """SQL of the property, where it has one type."""
        return next(iter(self.columns.values()), "")

    def collected(self) -> str:
        """SQL of the column that the pass makes; sums stay 128 bits wide."""
        name = self.aggregate.function
        match name:
            case "count":
                return f"COUNT(*){self._rows()}"
            case "unique_days":
                return f"COUNT(DISTINCT events.local_day){self._rows()}"
            case "streak_days":
                return f"LIST(DISTINCT events.local_day){self._rows()}"
            case "first_at":
                return f"MIN(events.ts_ms){self._rows()}"
            case "last_at":
                return f"MAX(events.ts_ms){self._rows()}"
            case "longest_gap_minutes":
                return self._instants()
            case "first" | "last":
                return f"{'MIN' if name == 'first' else 'MAX'}({self._dated()}){self._rows(self._present())}"
            case "count_distinct":
                return f"LIST(DISTINCT {self._tag()}){self._rows(self._present())}"
            case "most_frequent" | "unique_list":
                return f"HISTOGRAM({self._tag()}){self._rows(self._present())}"
            case "percentile" | "median":
                return f"LIST({self.value}){self._rows(f'{self.value} IS NOT NULL')}"
            case "avg":
                return f"{{'total': SUM({self.value}){self._rows()}, 'count': COUNT({self.value}){self._rows()}}}"
        return f"{name.upper()}({self.value}){self._rows()}"

    def _rows(self, also: str = "") -> str:
        conditions = " AND ".join(condition for condition in (self.where, also) if condition)
        return f" FILTER (WHERE {conditions})" if conditions else ""

    def _present(self) -> str:
        # Lists are there for an aggregate that may give one, and for no other.
        lists = self.aggregate.function in ("first", "last")
        present = [f"{name} IS NOT NULL" for kind, name in self.columns.items() if kind != "list" or lists]
        return present[0] if len(present) == 1 else f"({' OR '.join(present)})"

    def _tag(self) -> str:
        tagged: dict[Type, Callable[[str], str]] = {
            "string": lambda text: f"'s:' || {text}",
            "number": lambda number: f"'n:' || {decimal_text(number)}",
            "boolean": lambda truth: f"CASE WHEN {truth} THEN 'b:true' ELSE 'b:false' END",
        }
        tags = {self.columns[kind]: write(self.columns[kind]) for kind, write in tagged.items() if kind in self.columns}
        if len(tags) == 1:
            return next(iter(tags.values()))
        return f"CASE {' '.join(f'WHEN {name} IS NOT NULL THEN {tag}' for name, tag in tags.items())} END"

    def _dated(self) -> str:
        """Ordered by moment, then by id; the value comes after both and decides nothing."""
        values = ", ".join(f"'{kind}': {name}" for kind, name in self.columns.items())
        return f"{{'ts_ms': events.ts_ms, 'event_id': events.event_id, {values}}}"

    def _instants(self) -> str:
        inside = f"events.ts_ms >= {self.start_ms}"
        before = f"events.ts_ms < {self.start_ms}"
        return (
            f"LIST_CONCAT([MAX(events.ts_ms){self._rows(before)}], "
            f"COALESCE(LIST_SORT(LIST(events.ts_ms){self._rows(inside)}), []))"
        )


def finished(aggregate: typed.BaseAggregate, column: str, today: int) -> str:
    """SQL of the value, from the column that a pass collected; NULL is missing.

    Args:
        today: number of the local day.
    """
    match aggregate.function:
        case "count" | "unique_days":
            return f"COALESCE({column}, 0)"
        case "sum":
            return f"TRY_CAST(COALESCE({column}, 0) AS BIGINT)"
        case "avg":
            return _average(column)
        case "streak_days":
            return _streak(f"COALESCE({column}, [])", today)
        case "longest_gap_minutes":
            return _longest_gap(aggregate, column)
        case "first" | "last":
            return _of_type(aggregate, column)
        case "count_distinct":
            return _distinct(f"COALESCE({column}, [])")
        case "most_frequent":
            return _untagged(_most_frequent(column), aggregate.type)
        case "unique_list":
            return f"LIST_TRANSFORM({_kept(column)}, LAMBDA kept: kept.key)"
        case "percentile" | "median":
            return _percentile(column, aggregate.quantile_micros)
    return column


def decimal_text(column: str) -> str:
    """SQL of the canonical decimal text of micro-units."""
    size = f"ABS(CAST({column} AS HUGEINT))"
    fraction = f"'.' || RTRIM(LPAD(CAST({size} % {MICROS} AS TEXT), 6, '0'), '0')"
    return (
        f"(CASE WHEN {column} < 0 THEN '-' ELSE '' END || CAST({size} // {MICROS} AS TEXT) || "
        f"CASE WHEN {column} % {MICROS} = 0 THEN '' ELSE {fraction} END)"
    )


def number_of_text(text: str) -> str:
    """SQL of the micro-units of strict decimal text; NULL when it is none, or out of range."""
    pattern = "^-?[0-9]+(\\.[0-9]+)?([eE][+-]?[0-9]+)?$"
    exact = f"TRY_CAST({text} AS DECIMAL(38, 6))"
    return (
        f"CASE WHEN REGEXP_MATCHES({text}, '{pattern}') "
        f"THEN TRY_CAST(TRY_CAST({exact} AS DECIMAL(25, 6)) * CAST({MICROS} AS DECIMAL(7, 0)) AS BIGINT) END"
    )


def _of_type(aggregate: typed.BaseAggregate, column: str) -> str:
    if aggregate.type == "unknown":
        return f"CASE WHEN {column} IS NOT NULL THEN TRUE END"
    return f"STRUCT_EXTRACT({column}, '{aggregate.type}')"


def _longest_gap(aggregate: typed.BaseAggregate, column: str) -> str:
    """Between neighbours of different hops; the list begins with the last instant before the window, or NULL."""
    hop_ms = aggregate.window.hop_ms if aggregate.window is not None else 1
    here, there = f"LIST_EXTRACT({column}, i)", f"LIST_EXTRACT({column}, i + 1)"
    gap = f"CASE WHEN {here} // {hop_ms} <> {there} // {hop_ms} THEN {there} - {here} END"
    gaps = f"LIST_TRANSFORM(RANGE(1, LEN({column})), LAMBDA i: {gap})"
    return f"LIST_MAX({gaps}) // {_MINUTE_MS}"


def _average(column: str) -> str:
    total, count = f"STRUCT_EXTRACT({column}, 'total')", f"STRUCT_EXTRACT({column}, 'count')"
    quotient = f"(2 * ABS({total}) + {count}) // NULLIF(2 * {count}, 0)"
    return f"TRY_CAST({quotient} * SIGN({total}) AS BIGINT)"


def _streak(days: str, today: int) -> str:
    """Dates in descending order run on by one for as long as the streak does, and never again after it."""
    newest = f"CASE WHEN LIST_CONTAINS({days}, {today}) THEN {today} ELSE {today - 1} END"
    descending = f"LIST_SORT(LIST_FILTER({days}, LAMBDA day: day <= {newest}), 'DESC')"
    return f"LEN(LIST_FILTER({descending}, LAMBDA day, i: day = {newest} - (i - 1)))"


def _distinct(tags: str) -> str:
    """Exact to 256, then HyperLogLog; the inner query is empty for lists that are counted exactly."""
    many = f"CASE WHEN LEN({tags}) > {EXACT} THEN {tags} ELSE [] END"
    rest = f"hash & {(1 << REST_BITS) - 1}"
    rank = f"CASE WHEN {rest} = 0 THEN {TOP_RANK} ELSE {TOP_RANK} - LENGTH(BIN({rest})) END"
    hashes = f"SELECT CAST('0x' || SUBSTR(MD5(tag), 1, 16) AS UBIGINT) AS hash FROM (SELECT UNNEST({many}) AS tag)"
    ranks = f"SELECT MAX({rank}) AS highest FROM ({hashes}) GROUP BY hash >> {REST_BITS}"
    sums = (
        f"SELECT {REGISTERS} - COUNT(*) AS zeros, COALESCE(SUM(CAST(1 AS HUGEINT) << ({TOP_RANK} - highest)), 0) "
        f"+ ({REGISTERS} - COUNT(*)) * (CAST(1 AS HUGEINT) << {TOP_RANK}) AS inverse_sum FROM ({ranks})"
    )
    above, below = (
        f"CAST({ALPHA_ABOVE * REGISTERS * REGISTERS << TOP_RANK} AS HUGEINT)",
        f"(CAST({ALPHA_BELOW} AS HUGEINT) * inverse_sum)",
    )
    counts = f"[{', '.join(map(str, linear_counts()))}]"
    estimate = (
        f"CASE WHEN zeros > 0 AND 2 * {above} <= {5 * REGISTERS} * {below} THEN LIST_EXTRACT({counts}, zeros) "
        f"ELSE (2 * {above} + {below}) // (2 * {below}) END"
    )
    return f"CASE WHEN LEN({tags}) <= {EXACT} THEN LEN({tags}) ELSE (SELECT {estimate} FROM ({sums})) END"


def _kept(histogram: str) -> str:
    """Entries of a histogram in the order of their canonical text: beyond 256 those with the smallest hashes."""
    entries = f"COALESCE(MAP_ENTRIES({histogram}), [])"
    hashed = (
        f"LIST_TRANSFORM({entries}, LAMBDA e: {{'hash': SUBSTR(MD5(e.key), 1, 16), 'text': SUBSTR(e.key, 3), "
        "'kind': SUBSTR(e.key, 1, 1), 'key': e.key, 'count': e.value})"
    )
    kept = f"LIST_SLICE(LIST_SORT({hashed}), 1, {EXACT})"
    return (
        f"LIST_SORT(LIST_TRANSFORM({kept}, "
        "LAMBDA e: {'text': e.text, 'kind': e.kind, 'key': e.key, 'count': e.count}))"
    )


def _most_frequent(histogram: str) -> str:
    ranked = (
        f"LIST_SORT(LIST_TRANSFORM({_kept(histogram)}, "
        "LAMBDA e: {'less': -CAST(e.count AS BIGINT), 'text': e.text, 'kind': e.kind, 'key': e.key}))"
    )
    return f"STRUCT_EXTRACT(LIST_EXTRACT({ranked}, 1), 'key')"


def _untagged(tag: str, value_type: str) -> str:
    letter = {"number": "n", "string": "s", "boolean": "b"}.get(value_type)
    if letter is None:
        return f"CASE WHEN {tag} IS NOT NULL THEN TRUE END"
    text = f"CASE WHEN STARTS_WITH({tag}, '{letter}:') THEN SUBSTR({tag}, 3) END"
    if letter == "n":
        return number_of_text(text)
    return text if letter == "s" else f"({text}) = 'true'"


def _percentile(numbers: str, quantile_micros: int) -> str:
    rank = f"GREATEST(1, (LEN({numbers}) * {quantile_micros} + {MICROS - 1}) // {MICROS})"
    value = f"CAST(LIST_EXTRACT(LIST_SORT({numbers}), {rank}) AS HUGEINT)"
    shift = f"GREATEST(0, LENGTH(LTRIM(BIN(ABS({value})), '0')) - {MANTISSA_BITS + 1})"
    bucket = f"((ABS({value}) >> {shift}) << {shift}) * CASE WHEN {value} < 0 THEN -1 ELSE 1 END"
    return f"CAST(CASE WHEN LEN(LIST_DISTINCT({numbers})) <= {EXACT} THEN {value} ELSE {bucket} END AS BIGINT)"
