"""When values can next change with no new event, as SQL over the tables that they are computed from.

`dsl.next_change` is exact for one profile; what stands here is for all of them at once, is often earlier, never later.
A window counts as left when the profile's next tile leaves any window (`aggregates.due_ms`). An instant that is NULL
never comes: `LEAST` passes over it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from sqlglot import exp

from dsl import typed
from dsl.numbers import LARGEST, MICROS, SMALLEST
from dsl.sql.lower import Lowering

DUE = "due_ms"
"""Column of `aggregates`: the first instant at which time alone may change one of the row's aggregates."""
LAST_MS = 253_402_300_799_999
"""9999-12-31T23:59:59.999Z: what would change later never does."""
_MINUTE_MS = 60_000
_MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}


@dataclass(frozen=True, slots=True)
class Course:
    """How a value goes on: up to the earliest of some instants it moves only where `origin + n * unit_ms` are.

    Attributes:
        until: instants in epoch milliseconds; NULL is never.
        origin: NULL for profiles whose value rests; empty when that of everybody does.
        rate: by how much it moves: a number in micro-units, a timestamp in milliseconds.
        restless: nothing better is known than its next step, or it is of all profiles: no use waiting for it.
        falls: time can only make it smaller.
    """

    until: tuple[str, ...] = ()
    origin: str = ""
    unit_ms: int = 1
    rate: int = 0
    restless: bool = False
    falls: bool = False

    @property
    def instant(self) -> str:
        """The earliest instant of `until`; only where there is one."""
        return self.until[0] if len(self.until) == 1 else f"LEAST({', '.join(self.until)})"


@dataclass(frozen=True, slots=True)
class Outlook:
    """The courses of the expressions of one statement.

    Attributes:
        known: courses of the definitions and steps that others refer to, by key.
    """

    lowering: Lowering
    known: dict[str, Course] = field(default_factory=dict)

    def keep(self, key: str, node: typed.Node, table: str, names: Mapping[str, str]) -> dict[str, exp.Expr]:
        """Columns that hold the course of a definition, for those that refer to it.

        Args:
            table: where these columns will stand.
            names: names of the columns for its `until` and its `origin`.
        """
        course = self.course(node)
        columns: dict[str, exp.Expr] = {}
        kept = replace(course, until=(), origin="")
        if course.until:
            columns[names["until"]] = exp.Var(this=f"CAST({course.instant} AS BIGINT)")
            kept = replace(kept, until=(_column(table, names["until"]),))
        if course.origin:
            columns[names["origin"]] = exp.Var(this=course.origin)
            kept = replace(kept, origin=_column(table, names["origin"]))
        self.known[key] = kept
        return columns

    def at_rest(self, key: str) -> Course:
        """The course of a definition that was kept, as one that does not move: until its next step it rests."""
        return self._stepwise(self.known[key])

    def course(self, node: typed.Node) -> Course:
        """How the value of `node` goes on; a kind of node that is not named here rests as long as all below it."""
        match node:
            case typed.Now():
                return Course(origin=str(self.lowering.t_ms), rate=1)
            case typed.Reference(key=key):
                return self.known[key]
            case typed.AggregateValue(aggregate=aggregate):
                leaves = aggregate.window is not None or aggregate.function == "streak_days"
                return Course((f"aggregates.{DUE}",), falls=aggregate.function == "count") if leaves else Course()
            case typed.Age():
                return self._age(node)
            case typed.Arithmetic(operator="+" | "-"):
                return self._sum(node)
            case typed.Call():
                return self._call(node)
            case typed.Logic():
                return self._logic(node)
            case typed.Compare():
                return self._compare(node)
            case typed.Within():
                return _rest(self._flip("==", node.value, item) for item in node.items)
        return _rest(self._stepwise(self.course(child)) for child in typed.children(node))

    # -- values that move ----------------------------------------------------------------------------------------

    def _age(self, node: typed.Age) -> Course:
        instant, value = self.course(node.instant), self._text(self.lowering.value(node.instant).sql)
        if instant.origin == str(self.lowering.t_ms):
            return _rest([replace(instant, origin="")])  # the age of now, which goes along with it
        if instant.origin:
            value = f"CASE WHEN {instant.origin} IS NULL THEN {value} END"
        return Course(instant.until, value, node.unit_ms, MICROS, instant.restless)

    def _sum(self, node: typed.Arithmetic) -> Course:
        left, right = self._one_moves(self.course(node.left), self.course(node.right))
        if node.operator == "-":
            right = replace(right, rate=-right.rate)
        moving = left if left.origin else right
        both = _rest([replace(left, origin=""), replace(right, origin="")])
        if not moving.origin:
            return both
        # Timestamps are milliseconds, their difference is a number of milliseconds.
        rate = moving.rate * (MICROS if node.left.type == "timestamp" else 1)
        value = self._text(self.lowering.value(node).sql)
        wide = f"CAST({value} AS HUGEINT)"
        room = f"({LARGEST} - {wide})" if rate > 0 else f"({wide} - ({SMALLEST}))"
        too_large = self._step(moving, f"({room} // {abs(rate)} + 1)")
        parts = [f"{self._text(self.lowering.value(part).sql)} IS NOT NULL" for part in (node.left, node.right)]
        # Out of range it is missing, and may come back with any step.
        back = f"CASE WHEN ({value}) IS NULL AND {' AND '.join(parts)} THEN {self._step(moving, '1')} END"
        origin = f"CASE WHEN ({value}) IS NOT NULL THEN {moving.origin} END"
        return replace(moving, until=(*both.until, too_large, back), origin=origin, rate=rate, restless=both.restless)

    def _call(self, node: typed.Call) -> Course:
        match node.function:
            case "if":
                return self._if(*node.arguments)
            case "coalesce":
                return self._coalesce(node.arguments)
            case "is_set":
                # What moves is there all the while: an age as long as its instant is.
                inner = self.course(node.arguments[0])
                return Course(inner.until, restless=inner.restless) if node.arguments[0].nullable else Course()
            case "percent_rank":
                return Course(restless=True)
        return _rest(self._stepwise(self.course(argument)) for argument in node.arguments)

    def _if(self, condition: typed.Node, then: typed.Node, otherwise: typed.Node) -> Course:
        test = self._text(self.lowering.condition(condition))
        chosen = [self.course(then), self.course(otherwise)]
        if not _alike(chosen):
            chosen = [self._stepwise(course) for course in chosen]
        first, second = chosen
        found = _rest([self.course(condition), *(replace(course, until=(), origin="") for course in chosen)])
        if first.until or second.until:
            found = replace(found, until=(*found.until, _case(test, *(_or_never(course) for course in chosen))))
        origin = _case(test, first.origin or "NULL", second.origin or "NULL")
        return _moving(found, chosen, origin)

    def _coalesce(self, parts: Iterable[typed.Node]) -> Course:
        """As what it chose, as long as it chooses it; what stands behind that only makes the bound earlier."""
        courses = {part: self.course(part) for part in parts}
        if not _alike(courses.values()):
            courses = {part: self._stepwise(course) for part, course in courses.items()}
        found = _rest(replace(course, origin="") for course in courses.values())
        tests = {part: f"({self._text(self.lowering.value(part).sql)}) IS NOT NULL" for part in courses}
        origins = "".join(f" WHEN {tests[part]} THEN {course.origin or 'NULL'}" for part, course in courses.items())
        return _moving(found, courses.values(), f"CASE{origins} END")

    # -- conditions ----------------------------------------------------------------------------------------------

    def _logic(self, node: typed.Logic) -> Course:
        """One false operand keeps `&&` false, one true operand keeps `||` true: the first that does counts alone."""
        left, right = (self._stepwise(self.course(part)) for part in (node.left, node.right))
        is_left, is_right = (f"({self._text(self.lowering.condition(part))})" for part in (node.left, node.right))
        if node.operator == "||":
            is_left, is_right = f"(NOT {is_left})", f"(NOT {is_right})"
        until: list[str] = []
        if left.until:
            # What time does not change comes first.
            counts = f"(NOT {is_left} OR {is_right})" if right.until else is_right
            until.append(f"CASE WHEN {counts} THEN {left.instant} END")
        if right.until:
            until.append(f"CASE WHEN {is_left} THEN {right.instant} END")
        return Course(tuple(until), restless=left.restless or right.restless)

    def _compare(self, node: typed.Compare) -> Course:
        left, right = self.course(node.left), self.course(node.right)
        for falling, other, lasting in ((left, right, "<"), (right, left, ">")):
            if falling.falls and not other.origin and node.operator in ("<", "<=", ">", ">="):
                holds = self._text(self.lowering.condition(node))
                open_ = f"NOT ({holds})" if node.operator.startswith(lasting) else holds
                until = (*other.until, f"CASE WHEN {open_} THEN {falling.instant} END")
                return Course(until, restless=falling.restless or other.restless)
        return self._flip(node.operator, node.left, node.right)

    def _flip(self, operator: str, left: typed.Node, right: typed.Node) -> Course:
        """An instant before which a comparison stays true, or false."""
        first, second = self._one_moves(self.course(left), self.course(right))
        found = _rest([replace(first, origin=""), replace(second, origin="")])
        moving = first if first.origin else second
        if not moving.origin:
            return found
        own, other = (left, right) if first.origin else (right, left)
        gap = f"({self._wide(other)} - {self._wide(own)})"
        if not first.origin:
            operator = _MIRRORED[operator]
        if moving.rate < 0:
            operator, gap = _MIRRORED[operator], f"(-{gap})"
        return replace(found, until=(*found.until, self._step(moving, _steps(operator, gap, abs(moving.rate)))))

    def _one_moves(self, left: Course, right: Course) -> tuple[Course, Course]:
        """Of two that move the slower one counts as resting until its next step."""
        if not left.origin or not right.origin:
            return left, right
        if left.unit_ms >= right.unit_ms:
            return self._next_step(left), right
        return left, self._next_step(right)

    # -- steps ---------------------------------------------------------------------------------------------------

    def _stepwise(self, course: Course) -> Course:
        """As resting, until its next step; what moves in every millisecond until the next minute."""
        if not course.origin:
            return course
        if course.unit_ms > 1:
            return self._next_step(course)
        minute = self._step(course, str(_MINUTE_MS))
        return Course((*course.until, minute), restless=True)

    def _next_step(self, course: Course) -> Course:
        return Course((*course.until, self._step(course, "1")), restless=True)

    def _step(self, course: Course, number: str) -> str:
        """Instant of the step of that number after now; the next one is 1."""
        since, unit = f"({self.lowering.t_ms} - ({course.origin}))", course.unit_ms
        step = f"{self.lowering.t_ms} - ({since} % {unit} + {unit}) % {unit} + CAST({number} AS HUGEINT) * {unit}"
        return f"TRY_CAST({step} AS BIGINT)"

    def _wide(self, node: typed.Node) -> str:
        number = self.lowering.micros(node) if node.type == "number" else self.lowering.value(node).sql
        return self._text(self.lowering.engine.wide(number))

    def _text(self, node: exp.Expr) -> str:
        return node.sql(dialect=self.lowering.engine.name)


def _steps(operator: str, gap: str, rate: int) -> str:
    """The number of the step with which what moves up by `rate` changes a comparison that it is the left side of.

    Args:
        gap: how far it is below the right side.
    """
    reaching = f"({gap} + {rate - 1}) // {rate}"
    match operator:
        case ">=" | "<":
            return f"CASE WHEN {gap} > 0 THEN {reaching} END"
        case ">" | "<=":
            return f"CASE WHEN {gap} >= 0 THEN {gap} // {rate} + 1 END"
    return f"CASE WHEN {gap} > 0 THEN {reaching} WHEN {gap} = 0 THEN 1 END"


def _rest(courses: Iterable[Course]) -> Course:
    """The course of what rests as long as all of these do."""
    known = list(courses)
    until = dict.fromkeys(instant for course in known for instant in course.until)
    return Course(tuple(until), restless=any(course.restless for course in known))


def _alike(courses: Iterable[Course]) -> bool:
    """Whether those that move do so at the same pace."""
    return len({(course.unit_ms, course.rate) for course in courses if course.origin}) < 2


def _moving(found: Course, chosen: Iterable[Course], origin: str) -> Course:
    """`found`, moving from `origin` at the pace of those that move."""
    for course in chosen:
        if course.origin:
            return replace(found, origin=origin, unit_ms=course.unit_ms, rate=course.rate)
    return found


def _case(test: str, then: str, otherwise: str) -> str:
    return f"CASE WHEN {test} THEN {then} ELSE {otherwise} END"


def _or_never(course: Course) -> str:
    return course.instant if course.until else "NULL"


def _column(table: str, name: str) -> str:
    return exp.column(exp.to_identifier(name), table=table).sql(dialect="duckdb")
