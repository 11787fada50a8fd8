"""Queries of the passes over the events: by source, what is collected for each aggregate.

Each query reads `events` under that name; what it collects is merged and finished elsewhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sqlglot import exp

from dsl import typed
from dsl.aggregates import AGGREGATES
from dsl.check import AggregateUse, CheckedCatalog
from dsl.columns import SENT, column_name
from dsl.sql.duckdb import DuckDB
from dsl.sql.lower import Lowered, Lowering, column, integer
from dsl.sql.passes import Moment, Pass, instant_column, slug, unused
from dsl.sql.steps import Steps, by_level, levels
from dsl.types import Type

_TRACKED = "events.kind IN ('track', 'page', 'screen')"
_NAMED = "events.kind IN ('track', 'page', 'screen', 'system')"


def pass_queries(planned: Pass, checked: CheckedCatalog, moment: Moment) -> dict[str, exp.Select]:
    """The queries of a pass by name: the steps of its filters, then, under the name of the pass, what it collects.

    Grain of the last: one row a source with such events. Columns: `source_id`, then one for each aggregate.
    """
    steps = Steps(lambda number: f"filter__step_{number}")
    uses = [_with_steps(use, steps) for use in planned.uses]
    ends = [_with_steps(use, steps) for use in planned.ends]
    lowering = Lowering(checked, moment.t_ms, lambda key: Lowered(column(key, "events")), DuckDB())
    queries = _filter_steps(planned.name, steps, lowering)
    events = f"{next(reversed(queries))} AS events" if queries else "events"
    scanner = _Scanner(planned, lowering, moment, events)
    collected = [_Column(use.column, use, scanner.value(use.aggregate)) for use in uses]
    collected += [_Column(instant_column(use), use, scanner.instant(use.aggregate)) for use in ends]
    if len(planned.events) < 2:
        return {**queries, planned.name: scanner.query({found.name: found.sql for found in collected})}
    return {**queries, **_by_name(scanner, collected)}


@dataclass(frozen=True, slots=True)
class _Column:
    """A column of a pass: what is collected for an aggregate."""

    name: str
    use: AggregateUse
    sql: exp.Expr


def _by_name(scanner: "_Scanner", columns: Sequence[_Column]) -> dict[str, exp.Select]:
    """A pass over several names: what is collected alike for several of them is one column, by source and name."""
    name, by_name = scanner.planned.name, f"{scanner.planned.name}_by_name"
    alike: dict[str, str] = {}
    taken = {"source_id", "name"}
    pivoted = exp.select(column("source_id", by_name)).from_(by_name, copy=False)
    for found in columns:
        text = found.sql.sql(dialect=DuckDB.name)
        if text not in alike:
            alike[text] = unused(found.name.removeprefix(f"{slug(found.use.aggregate.event)}_"), taken)
        event = exp.Literal.string(found.use.aggregate.event)
        value = scanner.lowering.engine.only_where(
            column(alike[text], by_name), exp.EQ(this=column("name", by_name), expression=event)
        )
        pivoted.select(exp.alias_(value, found.name, quoted=False, copy=False), copy=False)
    shared = scanner.query({found: exp.Var(this=text) for text, found in alike.items()}, ("source_id", "name"))
    return {by_name: shared, name: pivoted.group_by(column("source_id", by_name), copy=False)}


@dataclass(frozen=True, slots=True)
class _Scanner:
    """Writes the query of one pass.

    Attributes:
        events: what is read: `events`, or a table of that alias.
    """

    planned: Pass
    lowering: Lowering
    moment: Moment
    events: str

    def query(self, collected: Mapping[str, exp.Expr], keys: Sequence[str] = ("source_id",)) -> exp.Select:
        """What is collected, by source."""
        groups = [column(key, "events") for key in keys]
        columns = [exp.alias_(value, name, quoted=False, copy=False) for name, value in collected.items()]
        known = [exp.Var(this=text) for text in self._known()]
        query = exp.select(*groups, *columns, copy=False).from_(self.events, copy=False).where(*known, copy=False)
        return query.group_by(*(column(key, "events") for key in keys), copy=False)

    def value(self, aggregate: typed.BaseAggregate) -> exp.Expr:
        """What is collected for an aggregate."""
        start_ms = aggregate.window.start_ms(self.moment.t_ms) if aggregate.window is not None else None
        columns, selected = _property_columns(aggregate.argument), self._selected(aggregate)
        dates = _dates(aggregate, self.moment)
        return self.lowering.engine.collected(aggregate, columns, selected, start_ms, dates)

    def instant(self, aggregate: typed.BaseAggregate) -> exp.Expr:
        """The instant of the event that holds the value of an aggregate."""
        columns, selected = _property_columns(aggregate.argument), self._selected(aggregate)
        return self.lowering.engine.end_instant(aggregate, columns, selected)

    def _known(self) -> list[str]:
        """The events that any of the aggregates may count."""
        names = [exp.Literal.string(name).sql(dialect=DuckDB.name) for name in self.planned.events]
        conditions = [_NAMED if names else _TRACKED, f"events.seq <= {self.moment.cut}"]
        if len(names) == 1:
            conditions.insert(0, f"events.name = {names[0]}")
        elif names:
            # What lies between two names is skipped while reading, a list is not.
            conditions[:0] = [f"events.name BETWEEN {names[0]} AND {names[-1]}", f"events.name IN ({', '.join(names)})"]
        conditions.append(f"events.ts_ms < {self.moment.t_ms}")
        if self.planned.oldest_ms is not None:
            conditions.append(f"events.ts_ms >= {self.planned.oldest_ms}")
        if self.planned.instants:
            conditions.append(f"events.ts_ms IN ({self._instants()})")
        return conditions

    def _instants(self) -> str:
        unnested = []
        for name, instants in self.planned.instants.items():
            columns = ", ".join(column(instant, name).sql(dialect=DuckDB.name) for instant in instants)
            unnested.append(f"SELECT UNNEST([{columns}]) FROM {name}")
        return " UNION ALL ".join(unnested)

    def _selected(self, aggregate: typed.BaseAggregate) -> exp.Expr | None:
        """The rows of the pass that an aggregate counts; None is all of them."""
        conditions: list[exp.Expr] = []
        function = AGGREGATES[aggregate.function]
        dates = _dates(aggregate, self.moment)
        if dates is not None:
            # A clock set back over midnight can leave events behind whose date is tomorrow's.
            first, last = map(integer, dates)
            conditions.append(exp.Between(this=column("local_day", "events"), low=first, high=last))
        elif aggregate.window is not None and function.longest_ms is None:
            start_ms = aggregate.window.start_ms(self.moment.t_ms)
            if start_ms != self.planned.oldest_ms:
                conditions.append(exp.GTE(this=column("ts_ms", "events"), expression=integer(start_ms)))
        if aggregate.filter is not None:
            condition = _where(self.lowering.condition(aggregate.filter))
            conditions.append(exp.paren(condition, copy=False) if isinstance(condition, exp.Or) else condition)
        selected: exp.Expr | None = None
        for condition in conditions:
            selected = condition if selected is None else exp.And(this=selected, expression=condition)
        return selected


def _dates(aggregate: typed.BaseAggregate, moment: Moment) -> tuple[int, int] | None:
    """First and last local date of a window of dates."""
    if aggregate.window is None or AGGREGATES[aggregate.function].window != "calendar":
        return None
    days = aggregate.window.days
    return None if days is None else (moment.today - (days - 1), moment.today)


def _where(condition: exp.Expr) -> exp.Expr:
    """The condition as `WHERE` may have it, where NULL is as good as false."""
    if isinstance(condition, exp.Coalesce) and condition.expressions == [exp.false()]:
        return _where(condition.this)
    if isinstance(condition, exp.And | exp.Or | exp.Paren):
        for name, part in (("this", condition.this), ("expression", condition.args.get("expression"))):
            if part is not None:
                condition.set(name, _where(part))
    return condition


def _property_columns(argument: typed.Field | None) -> dict[Type, exp.Expr]:
    """The typed columns of a property by their type: the one of its own, or all when any type will do."""
    if argument is None:
        return {}
    types = SENT if argument.type == "unknown" else (argument.type,)
    return {name: column(column_name(argument.root, argument.steps, name), "events") for name in types}


def _with_steps(use: AggregateUse, steps: Steps) -> AggregateUse:
    if use.aggregate.filter is None:
        return use
    return replace(use, aggregate=replace(use.aggregate, filter=steps.take_apart(use.aggregate.filter)))


def _filter_steps(name: str, steps: Steps, lowering: Lowering) -> dict[str, exp.Select]:
    """The events with the columns of the steps, a level of them at a time."""
    values = {step.key: step for step in steps.steps}
    ctes: dict[str, exp.Select] = {}
    for number, keys in by_level(levels(values, values)):
        query = exp.select("*").from_(f"{next(reversed(ctes))} AS events" if ctes else "events", copy=False)
        for key in keys:
            query.select(exp.alias_(lowering.value(values[key].node).sql, key, copy=False), copy=False)
        ctes[f"{name}_step_{number}"] = query
    return ctes
