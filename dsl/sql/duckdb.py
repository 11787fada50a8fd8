"""DuckDB's spelling of the primitives whose meaning engines disagree on."""

from sqlglot import exp

from dsl.aggregates import AGGREGATES

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

    def divide_half_away(self, dividend: exp.Expr, divisor: exp.Expr) -> exp.Expr:
        """Quotient of wide integers rounded half away from zero; NULL when the divisor is zero."""
        doubled = f"2 * ABS({self._text(dividend)}) + ABS({self._text(divisor)})"
        quotient = f"({doubled}) // NULLIF(2 * ABS({self._text(divisor)}), 0)"
        return self._parse(f"({quotient}) * SIGN({self._text(dividend)}) * SIGN({self._text(divisor)})")

    def scale_down(self, product: exp.Expr) -> exp.Expr:
        """A product of two micro-unit numbers back in micro-units, rounded half away from zero.

        Two 64-bit numbers give at most 126 bits: there is no room to double them as `divide_half_away` does.
        """
        text = self._text(product)
        return self._parse(f"(ABS({text}) + 500000) // 1000000 * SIGN({text})")

    def remainder(self, dividend: exp.Expr, divisor: exp.Expr) -> exp.Expr:
        """Remainder with the sign of the dividend; NULL when the divisor is zero."""
        return self._parse(f"{self._text(dividend)} % NULLIF({self._text(divisor)}, 0)")

    def extreme(self, which: str, values: list[exp.Expr]) -> exp.Expr:
        """Smallest or largest of values; NULL when any is NULL (the engine's own functions pass over NULL)."""
        name = "LEAST" if which == "min" else "GREATEST"
        missing = " OR ".join(f"{self._text(value)} IS NULL" for value in values)
        return self._parse(f"CASE WHEN NOT ({missing}) THEN {name}({', '.join(map(self._text, values))}) END")

    def function(self, name: str, argument: exp.Expr) -> exp.Expr:
        """A function of one argument."""
        text = self._text(argument)
        match name:
            case "abs":
                return self.narrow(self._parse(f"ABS(CAST({text} AS HUGEINT))"))
            case "lower":
                return self._parse(f"TRANSLATE({text}, '{_UPPER_CASE}', '{_UPPER_CASE.lower()}')")
            case "upper":
                return self._parse(f"TRANSLATE({text}, '{_UPPER_CASE.lower()}', '{_UPPER_CASE}')")
        raise NotImplementedError(f"no SQL for the function {name}")

    def aggregate(self, name: str, argument: exp.Expr | None, selected: exp.Expr | None) -> exp.Expr:
        """The aggregate over the selected rows of a group; sums stay 128 bits wide."""
        value = self._text(argument) if argument is not None else ""
        where = f" FILTER (WHERE {self._text(selected)})" if selected is not None else ""
        match name:
            case "count":
                return self._parse(f"COUNT(*){where}")
            case "unique_days":
                return self._parse(f"COUNT(DISTINCT events.local_day){where}")
            case "first_at":
                return self._parse(f"MIN(events.ts_ms){where}")
            case "last_at":
                return self._parse(f"MAX(events.ts_ms){where}")
            case "sum" | "min" | "max":
                return self._parse(f"{name.upper()}({value}){where}")
            case "avg":
                total, count = (self._parse(f"{f}({value}){where}") for f in ("SUM", "COUNT"))
                return self.divide_half_away(total, count)
        raise NotImplementedError(f"no SQL for the aggregate {name}")

    def finished(self, name: str, value: exp.Expr) -> exp.Expr:
        """An aggregate's column for a profile that may have had no such events at all."""
        of_nothing = AGGREGATES[name].of_nothing
        if of_nothing is not None:
            value = exp.Coalesce(this=value, expressions=[exp.Literal.number(of_nothing)])
        return self.narrow(value) if name in ("sum", "avg") else value

    def is_set(self, columns: list[exp.Expr], document: exp.Expr, name: str) -> exp.Expr:
        """Whether one of the typed columns has a value, or the JSON document a list or an object of that name."""
        # Only these have no typed column; a number that is out of range has none either, and is missing.
        pointer = exp.Literal.string("/" + name.replace("~", "~0").replace("/", "~1"))
        scalars = " OR ".join(f"{self._text(column)} IS NOT NULL" for column in columns)
        nested = f"JSON_TYPE({self._text(document)}, {self._text(pointer)}) IN ('ARRAY', 'OBJECT')"
        return self._parse(f"({scalars} OR COALESCE({nested}, FALSE))")

    def presented(self, value: exp.Expr, value_type: str, whole: bool) -> exp.Expr:
        """A value as analysts meet it: decimals and timestamps instead of micro-units and milliseconds."""
        text = self._text(value)
        if value_type == "timestamp":
            return self._parse(f"MAKE_TIMESTAMP_MS({text})")
        if value_type == "number" and not whole:
            # Multiplying decimals is exact; dividing them would go through a double.
            exact = f"CAST({text} AS DECIMAL(19, 0)) * CAST(0.000001 AS DECIMAL(7, 6))"
            return self._parse(f"CAST({exact} AS DECIMAL(19, 6))")
        return value

    def _text(self, node: exp.Expr) -> str:
        return node.sql(dialect=self.name)

    def _parse(self, text: str) -> exp.Expr:
        return exp.maybe_parse(text, dialect=self.name)
