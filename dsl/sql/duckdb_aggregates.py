"""DuckDB's spelling of the aggregates: what one pass collects for a source, and the value that it becomes.

A pass collects one column per aggregate (a number, a list, a histogram); `merged` makes one of those of all sources of
a profile, and `finished` turns that into the value of the profile, which may have had no such events at all.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from dsl import typed
from dsl.folds import EXACT, MANTISSA_BITS
from dsl.hyperloglog import ALPHA_ABOVE, ALPHA_BELOW, REGISTERS, REST_BITS, TOP_RANK
from dsl.numbers import MICROS
from dsl.types import Type

_MINUTE_MS = 60_000
_LONGEST_BITS = 400
"""Days of a window up to which its dates are collected as bits, one a day."""
_PLAIN = {
    "count": "COUNT(*)",
    "first_at": "MIN(events.ts_ms)",
    "last_at": "MAX(events.ts_ms)",
    "streak_days": "LIST(DISTINCT events.local_day)",
}
_LETTERS = {"string": "s", "number": "n", "boolean": "b"}
"""Types of values that can be counted as one and the same."""
_UNIT_BITS, _LOGARITHM_BITS = 62, 40
"""Places after the point of a mantissa from 1 to 2, and of a logarithm."""
_REGISTERS_LN_2 = int(REGISTERS * Decimal(2).ln() * (1 << _LOGARITHM_BITS))


@dataclass(frozen=True, slots=True)
class Collected:
    """What an aggregate collects.

    Attributes:
        columns: SQL of the property by its type: one column, or one for each type when any will do.
        where: condition on the rows; empty is all of them. Of an aggregate that looks at what came before its window
            it leaves the window out.
        start_ms: first millisecond of the window; None is whole life.
        dates: first and last local date of a window of dates; `where` holds it as well.
    """

    aggregate: typed.BaseAggregate
    columns: Mapping[Type, str]
    where: str
    start_ms: int | None
    dates: tuple[int, int] | None = None

    @property
    def value(self) -> str:
        """SQL of the property, where it has one type."""
        return next(iter(self.columns.values()), "")

    def collected(self) -> str:
        """SQL of the column that the pass makes; sums stay 128 bits wide."""
        name = self.aggregate.function
        if name in _PLAIN:
            return f"{_PLAIN[name]}{self._rows()}"
        match name:
            case "unique_days":
                return f"{self._local_days()}{self._rows()}"
            case "longest_gap_minutes":
                return self._instants()
            case "first" | "last":
                return f"{'MIN' if name == 'first' else 'MAX'}({self._dated()}){self._rows(self.present())}"
            case "count_distinct":
                return f"LIST(DISTINCT {self._distinguished()}){self._rows()}"
            case "most_frequent" | "unique_list":
                return f"HISTOGRAM({self._distinguished()}){self._rows()}"
            case "percentile" | "median":
                return f"LIST({self.value}){self._rows(f'{self.value} IS NOT NULL')}"
            case "avg":
                return f"{{'total': SUM({self.value}){self._rows()}, 'count': COUNT({self.value}){self._rows()}}}"
        return f"{name.upper()}({self.value}){self._rows()}"

    def _rows(self, also: str = "") -> str:
        conditions = " AND ".join(condition for condition in (self.where, also) if condition)
        return f" FILTER (WHERE {conditions})" if conditions else ""

    def present(self) -> str:
        """Condition: the event has the property."""
        # Lists are there for an aggregate that may give one, and for no other.
        lists = self.aggregate.function in ("first", "last")
        present = [f"{name} IS NOT NULL" for kind, name in self.columns.items() if kind != "list" or lists]
        return present[0] if len(present) == 1 else f"({' OR '.join(present)})"

    def tag(self) -> str:
        """SQL of the property's value with the letter of its type."""
        tags = {kind: tagged(name, kind) for kind, name in self.columns.items() if kind in _LETTERS}
        if len(tags) == 1:
            return next(iter(tags.values()))
        return f"CASE {' '.join(f'WHEN {self.columns[kind]} IS NOT NULL THEN {tag}' for kind, tag in tags.items())} END"

    def _distinguished(self) -> str:
        """What tells values apart: of one type they do so themselves, and are tagged when few are left of them."""
        return self.value if _is_of_one_type(self.aggregate) else self.tag()

    def _local_days(self) -> str:
        if self.dates is None or not _one_bit_a_day(self.aggregate):
            return _PLAIN["streak_days"]
        first, last = self.dates
        return f"BITSTRING_AGG(events.local_day, {first}, {last})"

    def _dated(self) -> str:
        """Ordered by moment, then by id; the value comes after both and decides nothing."""
        values = ", ".join(f"'{kind}': {name}" for kind, name in self.columns.items())
        return f"{{'ts_ms': events.ts_ms, 'event_id': events.event_id, {values}}}"

    def end_instant(self) -> str:
        """The instant of the event that holds the value of a `first` or `last`."""
        edge = "MIN" if self.aggregate.function == "first" else "MAX"
        return f"{edge}(events.ts_ms){self._rows(self.present())}"

    def _instants(self) -> str:
        inside = f"events.ts_ms >= {self.start_ms}"
        before = f"events.ts_ms < {self.start_ms}"
        return f"{{'before': MAX(events.ts_ms){self._rows(before)}, 'inside': LIST(events.ts_ms){self._rows(inside)}}}"


def merged(aggregate: typed.BaseAggregate, column: str) -> str:
    """SQL of what was collected of all sources of a group as one, in the shape that `finished` takes."""
    all_lists = f"FLATTEN(LIST({column}))"
    match aggregate.function:
        case "count":
            return f"CAST(SUM({column}) AS BIGINT)"
        case "sum":
            return f"SUM({column})"
        case "avg":
            total, count = (f"SUM(STRUCT_EXTRACT({column}, '{name}'))" for name in ("total", "count"))
            return f"{{'total': {total}, 'count': CAST({count} AS BIGINT)}}"
        case "unique_days" if _one_bit_a_day(aggregate):
            return f"CAST(BIT_COUNT(BIT_OR({column})) AS BIGINT)"
        case "unique_days":
            return f"LEN(LIST_DISTINCT({all_lists}))"
        case "streak_days":
            return f"LIST_DISTINCT({all_lists})"
        case "count_distinct":
            # A list of distinct values has room for a missing one, this function leaves it out.
            return _tagged_items(aggregate, f"LIST_DISTINCT({all_lists})")
        case "longest_gap_minutes":
            before, inside = (f"STRUCT_EXTRACT({column}, '{name}')" for name in ("before", "inside"))
            return f"LIST_CONCAT([MAX({before})], COALESCE(LIST_SORT(FLATTEN(LIST({inside}))), []))"
        case "most_frequent" | "unique_list":
            # Counts of one value from several sources: as often as they say, and counted again.
            repeated = f"LIST_TRANSFORM(MAP_ENTRIES({column}), LAMBDA e: REPEAT([e.key], CAST(e.value AS BIGINT)))"
            again = f"LIST_AGGREGATE(FLATTEN(FLATTEN(LIST({repeated}))), 'histogram')"
            counts = f"CASE WHEN COUNT({column}) > 1 THEN {again} ELSE ANY_VALUE({column}) END"
            return f"MAP({_tagged_items(aggregate, f'MAP_KEYS({counts})')}, MAP_VALUES({counts}))"
        case "percentile" | "median":
            return all_lists
        case "first" | "first_at" | "min":
            return f"MIN({column})"
    return f"MAX({column})"


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


def tagged(value: str, value_type: Type) -> str:
    """SQL of a scalar with the letter of its type."""
    match value_type:
        case "string":
            return f"'s:' || {value}"
        case "number":
            return f"'n:' || {decimal_text(value)}"
    return f"CASE WHEN {value} THEN 'b:true' ELSE 'b:false' END"


def _tagged_items(aggregate: typed.BaseAggregate, values: str) -> str:
    argument = aggregate.argument
    if argument is None or not _is_of_one_type(aggregate):
        return values
    return f"LIST_TRANSFORM({values}, LAMBDA item: {tagged('item', argument.type)})"


def _is_of_one_type(aggregate: typed.BaseAggregate) -> bool:
    return aggregate.argument is not None and aggregate.argument.type in _LETTERS


def _one_bit_a_day(aggregate: typed.BaseAggregate) -> bool:
    """Whether dates are collected as bits: a row's worth of bits must be less than a list of what is likely there."""
    window = aggregate.window
    return window is not None and window.days is not None and window.days <= _LONGEST_BITS


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
    """Exact to 256, then HyperLogLog over the same hashes, for those few profiles alone."""
    hashes = f"LIST_TRANSFORM({tags}, LAMBDA tag: CAST('0x' || SUBSTR(MD5(tag), 1, 16) AS UBIGINT))"
    rest = f"(hash & {(1 << REST_BITS) - 1})"
    rank = f"CASE WHEN {rest} = 0 THEN {TOP_RANK} ELSE {TOP_RANK} - LENGTH(BIN({rest})) END"
    # The register before the rank: in order, the last one of each register has its highest rank.
    ranks = f"LIST_SORT(LIST_TRANSFORM({hashes}, LAMBDA hash: CAST(hash >> {REST_BITS} AS BIGINT) * 64 + {rank}))"
    is_highest = "i = LEN(ranks) OR ranked // 64 <> LIST_EXTRACT(ranks, i + 1) // 64"
    highest = _let("ranks", ranks, f"LIST_FILTER(ranks, LAMBDA ranked, i: {is_highest})")
    inverses = (
        f"LIST_TRANSFORM(highest, LAMBDA ranked: CAST(1 AS HUGEINT) << CAST({TOP_RANK} - ranked % 64 AS INTEGER))"
    )
    zeros = f"({REGISTERS} - LEN(highest))"
    registers = f"{{'zeros': {zeros}, 'inverse_sum': LIST_SUM({inverses}) + (CAST({zeros} AS HUGEINT) << {TOP_RANK})}}"
    estimate = _let("registers", _let("highest", highest, registers), _estimate())
    return f"CASE WHEN LEN({tags}) <= {EXACT} THEN LEN({tags}) ELSE CAST({estimate} AS BIGINT) END"


def _estimate() -> str:
    """The estimate from `registers`: how many are `zeros`, and their `inverse_sum`."""
    above = f"CAST({ALPHA_ABOVE * REGISTERS * REGISTERS << TOP_RANK} AS HUGEINT)"
    below = f"(CAST({ALPHA_BELOW} AS HUGEINT) * registers.inverse_sum)"
    is_low = f"registers.zeros > 0 AND 2 * {above} <= {5 * REGISTERS} * {below}"
    raw = f"(2 * {above} + {below}) // (2 * {below})"
    return f"CASE WHEN {is_low} THEN {linear_count('registers.zeros')} ELSE {raw} END"


def linear_count(zeros: str) -> str:
    """SQL of `4096 * ln(4096 / zeros)` for 1 to 4,096 empty registers, rounded half away from zero.

    The logarithm to base 2 comes a bit at a time: squaring doubles it. All numbers are integers.
    """
    whole = f"(LENGTH(BIN({REGISTERS} // {zeros})) - 1)"
    mantissa = f"(CAST({REGISTERS} AS HUGEINT) << ({_UNIT_BITS} - {whole})) // {zeros}"
    square = f"(s.mantissa * s.mantissa >> {_UNIT_BITS})"
    below_two = f"{{'mantissa': {square}, 'logarithm': 2 * s.logarithm}}"
    two_or_more = f"{{'mantissa': {square} >> 1, 'logarithm': 2 * s.logarithm + 1}}"
    step = f"CASE WHEN {square} >> {_UNIT_BITS + 1} = 0 THEN {below_two} ELSE {two_or_more} END"
    first = f"{{'mantissa': {mantissa}, 'logarithm': CAST({whole} AS HUGEINT)}}"
    last = f"LIST_REDUCE(RANGE({_LOGARITHM_BITS}), LAMBDA s, i: {step}, {first})"
    half = f"(CAST(1 AS HUGEINT) << {2 * _LOGARITHM_BITS - 1})"
    return f"((STRUCT_EXTRACT({last}, 'logarithm') * {_REGISTERS_LN_2} + {half}) >> {2 * _LOGARITHM_BITS})"


def _let(name: str, value: str, expression: str) -> str:
    """SQL of an expression in which `name` stands for a value that is computed once."""
    return f"LIST_EXTRACT(LIST_TRANSFORM([{value}], LAMBDA {name}: {expression}), 1)"


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
    letter = _LETTERS.get(value_type)
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
