"""Typed expressions to SQL trees: integers only, two-valued logic spelled out, no engine's own clock or zone.

Numbers are micro-units, but values that are always whole (counts, days, ages) stay plain integers as long as they
meet only whole numbers, so that the SQL reads as the expression does: `purchase_count_30d >= 1`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sqlglot import exp

from dsl import typed
from dsl.check import CheckedCatalog
from dsl.columns import column_name, column_names
from dsl.numbers import MICROS
from dsl.sql.duckdb import DuckDB
from dsl.types import Type

_COMPARISONS: dict[str, Callable[..., exp.Expr]] = {
    "==": exp.EQ,
    "<": exp.LT,
    "<=": exp.LTE,
    ">": exp.GT,
    ">=": exp.GTE,
}


_TABLES = {"property": "events", "context": "events", "attribute": "profiles"}
_DOCUMENTS = {"property": "properties", "context": "context", "attribute": "attributes"}


@dataclass(frozen=True, slots=True)
class Lowered:
    """A value in SQL; `whole` numbers are plain integers, others micro-units."""

    sql: exp.Expr
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Lowering:
    """Lowers the expressions of one catalog at one instant.

    Attributes:
        reference: where the value of a definition stands, by its key.
    """

    checked: CheckedCatalog
    t_ms: int
    reference: Callable[[str], Lowered]
    engine: DuckDB

    def value(self, node: typed.Node) -> Lowered:
        """The value of `node`, NULL where it is missing."""
        match node:
            case typed.Constant():
                return _constant(node)
            case typed.Field():
                return Lowered(column(column_name(node.root, node.steps, node.type), _TABLES[node.root]))
            case typed.Reference(key=key):
                return self.reference(key)
            case typed.AggregateValue(aggregate=aggregate):
                use = self.checked.aggregates[aggregate.key]
                return Lowered(column(use.column, "aggregates"), use.whole)
            case typed.Age():
                elapsed = exp.Sub(this=integer(self.t_ms), expression=self.value(node.instant).sql)
                # An event that counts lies before t, so truncation is the floor; what events tell of may lie ahead.
                quotient = self.engine.whole_quotient if _is_past(node.instant) else self.engine.floor_quotient
                return Lowered(quotient(elapsed, node.unit_ms), whole=True)
            case typed.Now():
                return Lowered(integer(self.t_ms))
            case typed.Arithmetic():
                return Lowered(self._arithmetic(node))
            case typed.Negate(operand=operand):
                return Lowered(self.engine.narrow(exp.Neg(this=self.engine.wide(self.micros(operand)))))
            case typed.Call():
                return Lowered(self._call(node))
        return Lowered(self.condition(node))

    def condition(self, node: typed.Node) -> exp.Expr:
        """`node` as a condition that is true or false, never NULL."""
        match node:
            case typed.Logic(operator=operator, left=left, right=right):
                join = exp.And if operator == "&&" else exp.Or
                return join(this=self._operand(left, join), expression=self._operand(right, join))
            case typed.Not(operand=operand):
                return exp.Not(this=_parenthesised(self.condition(operand)))
            case typed.Compare():
                return self._compare(node)
            case typed.Within():
                return self._within(node)
            case typed.WordOperator():
                return self._word_operator(node)
            case typed.Constant(value=value):
                return exp.true() if value is True else exp.false()
        return _never_null(self.value(node).sql, node.nullable)

    def micros(self, node: typed.Node) -> exp.Expr:
        """The number `node` in micro-units."""
        return _in_micros(node, self.value(node))

    def _operand(self, node: typed.Node, join: type[exp.Connector]) -> exp.Expr:
        lowered = self.condition(node)
        mixed = isinstance(lowered, exp.Connector) and not isinstance(lowered, join)
        return exp.paren(lowered) if mixed else lowered

    def _compare(self, node: typed.Compare) -> exp.Expr:
        left, right = self._comparable((node.left, node.right))
        nullable = node.left.nullable or node.right.nullable
        if node.operator == "!=":
            return exp.Not(this=_parenthesised(_never_null(exp.EQ(this=left, expression=right), nullable)))
        return _never_null(_COMPARISONS[node.operator](this=left, expression=right), nullable)

    def _comparable(self, nodes: Sequence[typed.Node]) -> list[exp.Expr]:
        """Operands of a comparison in one unit: numbers are plain integers when all of them are whole."""
        lowered = [self.value(node) for node in nodes]
        if nodes[0].type != "number" or all(operand.whole for operand in lowered):
            operands = [operand.sql for operand in lowered]
        else:
            operands = [_in_micros(node, operand) for node, operand in zip(nodes, lowered, strict=True)]
        # What binds as loosely as a comparison needs parentheses inside of one.
        return [exp.paren(o) if isinstance(o, exp.Predicate | exp.Connector | exp.Not) else o for o in operands]

    def _within(self, node: typed.Within) -> exp.Expr:
        if not node.items:
            return exp.false()
        value, *items = self._comparable((node.value, *node.items))
        membership = exp.In(this=value, expressions=items)
        return _never_null(membership, any(n.nullable for n in (node.value, *node.items)))

    def _word_operator(self, node: typed.WordOperator) -> exp.Expr:
        in_list = node.right.type if node.left.type == "list" else ""
        right = self.micros(node.right) if in_list == "number" else self.value(node.right).sql
        if node.left.type == "unknown":
            # What was sent decides: a text that holds it, or a list of which it is an item.
            text, listed = (replace(node, left=_as_type(node.left, name)) for name in ("string", "list"))
            return exp.paren(exp.Or(this=self._word_operator(text), expression=self._word_operator(listed)))
        lowered = self.engine.word_operator(node.operator, self.value(node.left).sql, right, in_list)
        return _never_null(lowered, node.left.nullable or node.right.nullable)

    def _arithmetic(self, node: typed.Arithmetic) -> exp.Expr:
        engine = self.engine
        if node.left.type == "timestamp":
            difference = exp.Sub(this=self.value(node.left).sql, expression=self.value(node.right).sql)
            return engine.narrow(exp.Mul(this=engine.wide(exp.paren(difference)), expression=integer(MICROS)))
        left, right = engine.wide(self.micros(node.left)), engine.wide(self.micros(node.right))
        match node.operator:
            case "+":
                return engine.narrow(exp.Add(this=left, expression=right))
            case "-":
                return engine.narrow(exp.Sub(this=left, expression=right))
            case "*":
                return engine.narrow(engine.scale_down(exp.Mul(this=left, expression=right)))
            case "/":
                dividend = exp.Mul(this=left, expression=integer(MICROS))
                return engine.narrow(engine.divide_half_away(dividend, right))
        return engine.narrow(engine.remainder(left, right))

    def _call(self, node: typed.Call) -> exp.Expr:
        arguments = node.arguments
        lower: Callable[[typed.Node], exp.Expr] = self.micros if node.type == "number" else lambda n: self.value(n).sql
        match node.function:
            case "coalesce":
                first, *others = (lower(argument) for argument in arguments)
                return exp.Coalesce(this=first, expressions=others)
            case "if":
                case = exp.Case().when(self.condition(arguments[0]), lower(arguments[1]))
                return case.else_(lower(arguments[2]))
            case "is_set":
                return self._is_set(arguments[0])
            case "text" | "number":
                return self._converted(node.function, arguments[0])
            case "round":
                decimals = arguments[1].value if isinstance(arguments[1], typed.Constant) else 0
                unit = 10 ** (6 - int(decimals or 0) // MICROS) if isinstance(decimals, int) else 1
                return self.engine.rounded(self.micros(arguments[0]), unit)
            case "percent_rank":
                return self.engine.percent_rank(self.micros(arguments[0]))
            case "length":
                return exp.Mul(this=exp.Length(this=self.value(arguments[0]).sql), expression=integer(MICROS))
            case "min" | "max":
                values = [lower(argument) for argument in arguments]
                return self.engine.extreme(node.function, values)
        return self.engine.function(node.function, lower(arguments[0]))

    def _converted(self, function: str, node: typed.Node) -> exp.Expr:
        """`text(x)` and `number(x)`; of a field of any type the one column that is filled decides."""
        convert = self.engine.text_of if function == "text" else self.engine.number_of
        if isinstance(node, typed.Field) and node.type == "unknown":
            numbers, strings, booleans = (replace(node, type=name) for name in ("number", "string", "boolean"))
            parts = [convert(self.value(part).sql, part.type) for part in (numbers, strings, booleans)]
            return exp.Coalesce(this=parts[0], expressions=parts[1:])
        return convert(self.micros(node) if node.type == "number" else self.value(node).sql, node.type)

    def _is_set(self, node: typed.Node) -> exp.Expr:
        if isinstance(node, typed.Field) and node.type == "unknown":
            table = _TABLES[node.root]
            columns = [column(name, table) for name in column_names(node.root, node.steps, "unknown")]
            return self.engine.is_set(columns, column(_DOCUMENTS[node.root], table), node.steps)
        return exp.Not(this=exp.Is(this=_parenthesised(self.value(node).sql), expression=exp.null()))


def _is_past(instant: typed.Node) -> bool:
    """Whether an instant is that of an event that counts, or of now: never later than the question."""
    return isinstance(instant, typed.Now) or (
        isinstance(instant, typed.AggregateValue) and instant.aggregate.argument is None
    )


def _as_type(node: typed.Node, value_type: Type) -> typed.Node:
    return replace(node, type=value_type) if isinstance(node, typed.Field) else node


def column(name: str, table: str | None = None) -> exp.Column:
    """A column; names that need it are quoted when printed."""
    return exp.column(exp.to_identifier(name), table=table)


def integer(value: int) -> exp.Expr:
    """An integer literal."""
    literal = exp.Literal.number(abs(value))
    return exp.Neg(this=literal) if value < 0 else literal


def _in_micros(node: typed.Node, lowered: Lowered) -> exp.Expr:
    if not lowered.whole:
        return lowered.sql
    if isinstance(node, typed.Constant) and isinstance(node.value, int):
        return integer(node.value)
    return exp.Mul(this=_parenthesised(lowered.sql), expression=integer(MICROS))


def _constant(node: typed.Constant) -> Lowered:
    match node.value:
        case None:
            return Lowered(exp.null())
        case bool(value):
            return Lowered(exp.true() if value else exp.false())
        case int(value) if node.type == "number" and value % MICROS == 0:
            return Lowered(integer(value // MICROS), whole=True)
        case int(value):
            return Lowered(integer(value))
    return Lowered(exp.Literal.string(str(node.value)))


def _never_null(condition: exp.Expr, nullable: bool) -> exp.Expr:
    return exp.Coalesce(this=condition, expressions=[exp.false()]) if nullable else condition


def _parenthesised(node: exp.Expr) -> exp.Expr:
    simple = exp.Column | exp.Literal | exp.Func | exp.Paren | exp.Boolean
    # `AND` and `OR` are functions to sqlglot as well.
    return node if isinstance(node, simple) and not isinstance(node, exp.Binary) else exp.paren(node)
