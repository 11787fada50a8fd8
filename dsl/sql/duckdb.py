"""DuckDB's spelling of the primitives whose meaning engines disagree on."""

from collections.abc import Mapping, Sequence

from sqlglot import exp

from dsl import typed
from dsl.numbers import MICROS
from dsl.sql.duckdb_aggregates import Collected, decimal_text, finished, merged, number_of_text
from dsl.types import Type

_UPPER_CASE = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class DuckDB:
    """Emits one SQL tree for each primitive; every number is a BIGINT or, in between, a HUGEINT."""

    name = "duckdb"

    def wide(self, number: exp.Expr) -> exp.Expr:
        """A number as a 128-bit integer, so that what follows cannot overflow."""
        return exp.cast(number, "HUGEINT")

    def narrow(self, number: exp.Expr) -> exp.Expr:
        """A 128-bit integer as a 64-bit one; NULL when it does not fit."""
        return exp.TryCast(this=number, to=exp.DataType.build("BIGINT"))

    def whole_quotient(self, number: exp.Expr, divisor: int) -> exp.Expr:
        """Quotient of integers, truncated."""
        return exp.IntDiv(this=exp.paren(number), expression=exp.Literal.number(divisor))

    def floor_quotient(self, number: exp.Expr, divisor: int) -> exp.Expr:
        """Quotient of integers, rounded towards minus infinity."""
        text = self._text(number)
        return self._verbatim(f"(({text}) - (({text}) % {divisor} + {divisor}) % {divisor}) // {divisor}")

    def divide_half_away(self, dividend: exp.Expr, divisor: exp.Expr) -> exp.Expr:
        """Quotient of wide integers rounded half away from zero; NULL when the divisor is zero."""
        doubled = f"2 * ABS({self._text(dividend)}) + ABS({self._text(divisor)})"
        quotient = f"({doubled}) // NULLIF(2 * ABS({self._text(divisor)}), 0)"
        return self._verbatim(f"({quotient}) * SIGN({self._text(dividend)}) * SIGN({self._text(divisor)})")

    def scale_down(self, product: exp.Expr) -> exp.Expr:
        """A product of two micro-unit numbers back in micro-units, rounded half away from zero.

        Two 64-bit numbers give at most 126 bits: there is no room to double them as `divide_half_away` does.
        """
        text = self._text(product)
        return self._verbatim(f"(ABS({text}) + 500000) // 1000000 * SIGN({text})")

    def remainder(self, dividend: exp.Expr, divisor: exp.Expr) -> exp.Expr:
        """Remainder with the sign of the dividend; NULL when the divisor is zero."""
        return self._verbatim(f"{self._text(dividend)} % NULLIF({self._text(divisor)}, 0)")

    def extreme(self, which: str, values: list[exp.Expr]) -> exp.Expr:
        """Smallest or largest of values; NULL when any is NULL (the engine's own functions pass over NULL)."""
        name = "LEAST" if which == "min" else "GREATEST"
        missing = " OR ".join(f"{self._text(value)} IS NULL" for value in values)
        return self._verbatim(f"CASE WHEN NOT ({missing}) THEN {name}({', '.join(map(self._text, values))}) END")

    def function(self, name: str, argument: exp.Expr) -> exp.Expr:
        """A function of one argument."""
        text = self._text(argument)
        match name:
            case "abs":
                return self.narrow(self._verbatim(f"ABS(CAST({text} AS HUGEINT))"))
            case "lower":
                return self._verbatim(f"TRANSLATE({text}, '{_UPPER_CASE}', '{_UPPER_CASE.lower()}')")
            case "upper":
                return self._verbatim(f"TRANSLATE({text}, '{_UPPER_CASE.lower()}', '{_UPPER_CASE}')")
            case "bucket":
                share = f"CAST('0x' || SUBSTR(MD5({text} || '.' || profiles.profile_id), 1, 15) AS UBIGINT)"
                return self._verbatim(f"CAST((CAST({share} AS HUGEINT) * {MICROS}) >> 60 AS BIGINT)")
        raise NotImplementedError(f"no SQL for the function {name}")

    def collected(
        self,
        aggregate: typed.BaseAggregate,
        values: Mapping[Type, exp.Expr],
        selected: exp.Expr | None,
        start_ms: int | None,
        dates: tuple[int, int] | None,
    ) -> exp.Expr:
        """What a pass over the events collects for an aggregate, from the selected rows of a group.

        Args:
            values: typed columns of its property by their type: one, or all when any type will do.
            start_ms: first millisecond of its window.
            dates: first and last local date of its window, where that is one of dates.
        """
        return self._verbatim(self._collecting(aggregate, values, selected, start_ms, dates).collected())

    def end_instant(
        self, aggregate: typed.BaseAggregate, values: Mapping[Type, exp.Expr], selected: exp.Expr | None
    ) -> exp.Expr:
        """The instant of the event that holds the value of a `first` or `last`."""
        return self._verbatim(self._collecting(aggregate, values, selected, None, None).end_instant())

    def _collecting(
        self,
        aggregate: typed.BaseAggregate,
        values: Mapping[Type, exp.Expr],
        selected: exp.Expr | None,
        start_ms: int | None,
        dates: tuple[int, int] | None,
    ) -> Collected:
        where = self._text(selected) if selected is not None else ""
        columns = {value_type: self._text(value) for value_type, value in values.items()}
        return Collected(aggregate, columns, where, start_ms, dates)

    def only_where(self, column: exp.Expr, condition: exp.Expr) -> exp.Expr:
        """The value of a column in the one row of a group in which a condition holds; NULL without one."""
        return self._verbatim(f"ANY_VALUE({self._text(column)}) FILTER (WHERE {self._text(condition)})")

    def merged(self, aggregate: typed.BaseAggregate, column: exp.Expr) -> exp.Expr:
        """What was collected of several groups, as one: what `finished` takes."""
        return self._verbatim(merged(aggregate, self._text(column)))

    def finished(self, aggregate: typed.BaseAggregate, column: exp.Expr, today: int) -> exp.Expr:
        """The value of an aggregate for a profile that may have had no such events at all."""
        return self._verbatim(finished(aggregate, self._text(column), today))

    def text_of(self, value: exp.Expr, value_type: str) -> exp.Expr:
        """Canonical text of a value."""
        text = self._text(value)
        match value_type:
            case "number":
                return self._verbatim(decimal_text(text))
            case "boolean":
                return self._verbatim(f"CASE WHEN {text} THEN 'true' WHEN NOT ({text}) THEN 'false' END")
            case "timestamp":
                return self._verbatim(f"STRFTIME(MAKE_TIMESTAMP_MS({text}), '%Y-%m-%dT%H:%M:%S.%gZ')")
        return value

    def number_of(self, value: exp.Expr, value_type: str) -> exp.Expr:
        """Micro-units of a value: decimal text is read, a timestamp is its milliseconds, a boolean is missing."""
        text = self._text(value)
        match value_type:
            case "string":
                return self._verbatim(number_of_text(text))
            case "timestamp":
                return self.narrow(self._verbatim(f"CAST({text} AS HUGEINT) * {MICROS}"))
            case "boolean":
                return self._verbatim("CAST(NULL AS BIGINT)")
        return value

    def rounded(self, number: exp.Expr, unit: int) -> exp.Expr:
        """A number in micro-units to the nearest multiple of `unit`, halves away from zero."""
        text = self._text(self.wide(number))
        return self.narrow(self._verbatim(f"(ABS({text}) + {unit // 2}) // {unit} * {unit} * SIGN({text})"))

    def percent_rank(self, number: exp.Expr) -> exp.Expr:
        """The share of smaller values among all rows that have one, in micro-units, rounded half away from zero."""
        text = self._text(number)
        others = f"(COUNT({text}) OVER () - 1)"
        smaller = f"(RANK() OVER (ORDER BY {text} NULLS LAST) - 1)"
        share = f"(2 * {MICROS} * {smaller} + {others}) // (2 * NULLIF({others}, 0))"
        return self._verbatim(f"CASE WHEN {text} IS NOT NULL THEN COALESCE({share}, 0) END")

    def word_operator(self, operator: str, left: exp.Expr, right: exp.Expr, in_list: str) -> exp.Expr:
        """`contains`, `starts_with`, `ends_with`, `matches` on text; `contains` on a list of tagged values.

        Args:
            in_list: the type of the value that is looked for in a list; empty for text.
        """
        if in_list:
            letter = {"number": "n:", "string": "s:", "boolean": "b:"}[in_list]
            tagged = f"'{letter}' || {self._text(self.text_of(right, in_list))}"
            return self._verbatim(f"LIST_CONTAINS({self._text(left)}, {tagged})")
        name = {"contains": "CONTAINS", "starts_with": "STARTS_WITH", "ends_with": "ENDS_WITH"}.get(operator)
        return self._verbatim(f"{name or 'REGEXP_MATCHES'}({self._text(left)}, {self._text(right)})")

    def is_set(self, columns: Sequence[exp.Expr], document: exp.Expr, steps: Sequence[str]) -> exp.Expr:
        """Whether one of the typed columns has a value, or the JSON document an object at that path."""
        # Only objects have no typed column; a number that is out of range has none either, and is missing.
        pointer = exp.Literal.string("".join("/" + step.replace("~", "~0").replace("/", "~1") for step in steps))
        scalars = " OR ".join(f"{self._text(column)} IS NOT NULL" for column in columns)
        nested = f"COALESCE(JSON_TYPE({self._text(document)}, {self._text(pointer)}) = 'OBJECT', FALSE)"
        return self._verbatim(f"({scalars} OR {nested})")

    def presented(self, value: exp.Expr, value_type: str, whole: bool) -> exp.Expr:
        """A value as analysts meet it: decimals and timestamps instead of micro-units and milliseconds."""
        text = self._text(value)
        if value_type == "timestamp":
            return self._verbatim(f"MAKE_TIMESTAMP_MS({text})")
        if value_type == "list":
            return self._verbatim(f"LIST_TRANSFORM({text}, LAMBDA tagged: SUBSTR(tagged, 3))")
        if value_type == "number" and not whole:
            # Multiplying decimals is exact; dividing them would go through a double.
            exact = f"CAST({text} AS DECIMAL(19, 0)) * CAST(0.000001 AS DECIMAL(7, 6))"
            return self._verbatim(f"CAST({exact} AS DECIMAL(19, 6))")
        return value

    def _text(self, node: exp.Expr) -> str:
        return node.sql(dialect=self.name)

    def _verbatim(self, text: str) -> exp.Expr:
        # Printed as it stands: reading it into a tree would take longer than all the rest of compiling.
        return exp.Var(this=text)
