"""Whole statements: every aggregate of a catalog in one pass per event, every trait and segment in one more."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from sqlglot import exp

from dsl import typed
from dsl.aggregates import AGGREGATES
from dsl.check import (
    AggregateUse,
    CheckedCatalog,
    CheckedValue,
    aggregate_uses,
    check_expression,
)
from dsl.columns import SENT, column_name
from dsl.numbers import MICROS
from dsl.sql.duckdb import DuckDB
from dsl.sql.lower import Lowered, Lowering, column, integer
from dsl.sql.steps import Steps, by_level, levels, referred
from dsl.types import Type

_TRACKED = "events.kind IN ('track', 'page', 'screen')"
_NAMED = "events.kind IN ('track', 'page', 'screen', 'system')"
_FARTHEST_OFFSET_MS = 14 * 3_600_000
"""No zone is further ahead of UTC: a local day begins at most this long before the UTC day of its number."""


@dataclass(frozen=True, slots=True)
class Moment:
    """When and on what knowledge a statement answers.

    Attributes:
        t_ms: the instant of the question; events with `ts_ms < t_ms` count.
        cut: events with `seq <= cut` count.
        today: number of the local day of `t_ms` in the project's zone, days since 1970-01-01.
    """

    t_ms: int
    cut: int
    today: int


def aggregates_sql(checked: CheckedCatalog, t_ms: int, cut: int, today: int) -> str:
    """The statement that gives every base aggregate of the catalog.

    Grain: one row per row of `profiles`. Reads `events`, `identities`, `profiles`. Each event name is read once,
    from the oldest instant that any of its windows needs.
    """
    return _pretty(_aggregates_query(list(checked.aggregates.values()), checked, Moment(t_ms, cut, today)))


def values_sql(checked: CheckedCatalog, keys: Sequence[str], t_ms: int, cut: int, today: int) -> str:
    """The statement that gives the traits and segments `keys` from the table `aggregates`.

    Grain: one row per row of `profiles`; columns `profile_id`, then `keys` in that order, in analysts' types.
    """
    return _pretty(_values_query(checked, {key: key for key in keys}, Moment(t_ms, cut, today)))


def expression_sql(text: str, checked: CheckedCatalog, t_ms: int, cut: int, today: int) -> str:
    """One expression straight from the events, as one statement with the column `value`.

    Raises:
        DefinitionError: what is wrong with the expression.
    """
    value = check_expression(text, checked)
    # A trait may be called `value` as well.
    key = _unused(value.key, set(checked.values))
    values = {**checked.values, key: value}
    alone = replace(checked, values=values)
    needed = [values[name].node for name in _with_ancestors(alone, [key])]
    uses = list(aggregate_uses(needed, checked.aggregates).values())
    alone = replace(alone, aggregates={use.key: use for use in uses})
    moment = Moment(t_ms, cut, today)
    query = _values_query(alone, {key: value.key}, moment)
    # The aggregates come first: what follows reads them by that name.
    inner = _aggregates_query(uses, alone, moment)
    passes, outer = inner.ctes, query.ctes
    inner.set("with_", None)
    query.set("with_", None)
    for cte in [*passes, _cte("aggregates", inner), *outer]:
        query = query.with_(cte.alias, as_=cte.this, copy=False)
    return _pretty(query)


def ranks_sql(checked: CheckedCatalog, t_ms: int, cut: int, today: int) -> str:
    """The statement that gives every `percent_rank` of the catalog from the table `aggregates`, in micro-units.

    Grain: one row per row of `profiles`; columns `profile_id`, then those of `CheckedCatalog.ranks`.
    """
    ranks = {
        rank.column: CheckedValue(rank.column, "trait", rank.node, "number", rank.text, tuple(referred(rank.node)))
        for rank in checked.ranks.values()
    }
    catalog = replace(checked, values={**checked.values, **ranks})
    shown = {column: column for column in ranks}
    return _pretty(_values_query(catalog, shown, Moment(t_ms, cut, today), presented=False))


def is_whole(node: typed.Node, checked: CheckedCatalog) -> bool:
    """Whether a number's column holds plain integers instead of micro-units."""
    match node:
        case typed.AggregateValue(aggregate=aggregate):
            return AGGREGATES[aggregate.function].whole
        case typed.Reference(key=key):
            return is_whole(checked.values[key].node, checked)
        case typed.Constant(value=int(value), type="number"):
            return value % MICROS == 0
    return isinstance(node, typed.Age)


# -- aggregates ------------------------------------------------------------------------------------------------------


def _aggregates_query(uses: list[AggregateUse], checked: CheckedCatalog, moment: Moment) -> exp.Select:
    engine = DuckDB()
    groups: dict[tuple[str, str], list[AggregateUse]] = {}
    for use in uses:
        groups.setdefault((use.aggregate.scope, use.aggregate.event), []).append(use)
    query = exp.select(column("profile_id", "profiles")).from_("profiles")
    names: set[str] = set()
    for (scope, event), members in groups.items():
        if scope == "outside":
            continue
        name = _unused(f"{_slug(event)}_events" if scope == "named" else "any_events", names)
        for cte in _event_pass(name, members, checked, moment, engine):
            query = query.with_(cte.alias, as_=cte.this, copy=False)
        query = query.join(exp.to_table(name), using="profile_id", join_type="left", copy=False)
        for use in members:
            value = engine.finished(use.aggregate, column(use.column, name), moment.today)
            query = query.select(_commented(value, use.column, use.text), copy=False)
    for use in groups.get(("outside", ""), []):
        seen = {"first_at": "first_seen_ms", "last_at": "last_seen_ms"}[use.aggregate.function]
        query = query.select(_commented(column(seen, "profiles"), use.column, use.text), copy=False)
    return query


def _event_pass(
    name: str, uses: list[AggregateUse], checked: CheckedCatalog, moment: Moment, engine: DuckDB
) -> list[exp.CTE]:
    """One pass over the events of one name: every aggregate of it, by profile; before it the steps of its filters."""
    steps = Steps(lambda number: f"filter__step_{number}")
    uses = [replace(use, aggregate=_with_steps(use.aggregate, steps)) for use in uses]
    lowering = Lowering(checked, moment.t_ms, lambda key: Lowered(column(key, "events")), engine)
    passes = _filter_steps(name, steps, lowering)
    query = exp.select(column("profile_id", "identities"))
    query = query.from_(f"{passes[-1].alias} AS events" if passes else "events")
    query = query.join("identities", using="source_id")
    query = query.where(*_known_events(uses, moment), dialect=engine.name)
    for use in uses:
        aggregate = use.aggregate
        start_ms = aggregate.window.start_ms(moment.t_ms) if aggregate.window is not None else None
        values = _property_columns(aggregate.argument)
        collected = engine.collected(aggregate, values, _selected(aggregate, lowering, moment), start_ms)
        query = query.select(exp.alias_(collected, use.column, quoted=False), copy=False)
    return [*passes, _cte(name, query.group_by(column("profile_id", "identities")))]


def _property_columns(argument: typed.Field | None) -> dict[Type, exp.Expr]:
    """The typed columns of a property by their type: the one of its own, or all when any type will do."""
    if argument is None:
        return {}
    types = SENT if argument.type == "unknown" else (argument.type,)
    return {name: column(column_name(argument.root, argument.steps, name), "events") for name in types}


def _with_steps(aggregate: typed.BaseAggregate, steps: Steps) -> typed.BaseAggregate:
    return aggregate if aggregate.filter is None else replace(aggregate, filter=steps.take_apart(aggregate.filter))


def _filter_steps(name: str, steps: Steps, lowering: Lowering) -> list[exp.CTE]:
    """The events with the columns of the steps, a level of them at a time."""
    values = {step.key: step for step in steps.steps}
    passes: list[exp.CTE] = []
    for number, keys in by_level(levels(values, values)):
        query = exp.select("*").from_(f"{passes[-1].alias} AS events" if passes else "events")
        for key in keys:
            query = query.select(exp.alias_(lowering.value(values[key].node).sql, key), copy=False)
        passes.append(_cte(f"{name}_step_{number}", query))
    return passes


def _known_events(uses: list[AggregateUse], moment: Moment) -> list[str | exp.Expr]:
    """The events, and the identities of their sources, that any of the aggregates may count."""
    scope, event = uses[0].aggregate.scope, uses[0].aggregate.event
    conditions: list[str | exp.Expr] = []
    if scope == "named":
        conditions.append(exp.EQ(this=column("name", "events"), expression=exp.Literal.string(event)))
    conditions += [
        _NAMED if scope == "named" else _TRACKED,
        f"events.seq <= {moment.cut}",
        f"events.ts_ms < {moment.t_ms}",
        f"identities.valid_from_seq <= {moment.cut}",
        f"(identities.valid_to_seq IS NULL OR identities.valid_to_seq > {moment.cut})",
    ]
    oldest = [_oldest_ms(use.aggregate, moment) for use in uses]
    bounds = [bound for bound in oldest if bound is not None]
    if bounds and len(bounds) == len(oldest):
        conditions.append(f"events.ts_ms >= {min(bounds)}")
    return conditions


def _selected(aggregate: typed.BaseAggregate, lowering: Lowering, moment: Moment) -> exp.Expr | None:
    """The rows of its event that an aggregate counts; None is all of them."""
    conditions: list[exp.Expr] = []
    function = AGGREGATES[aggregate.function]
    if aggregate.window is not None and function.longest_ms is None:
        days = aggregate.window.days
        if function.window == "calendar" and days is not None:
            # A clock set back over midnight can leave events behind whose date is tomorrow's.
            first, last = integer(moment.today - (days - 1)), integer(moment.today)
            conditions.append(exp.Between(this=column("local_day", "events"), low=first, high=last))
        else:
            start = integer(aggregate.window.start_ms(moment.t_ms))
            conditions.append(exp.GTE(this=column("ts_ms", "events"), expression=start))
    if aggregate.filter is not None:
        conditions.append(lowering.condition(aggregate.filter))
    return exp.and_(*conditions) if conditions else None


def _oldest_ms(aggregate: typed.BaseAggregate, moment: Moment) -> int | None:
    """No event before this instant counts; None is whole life."""
    function = AGGREGATES[aggregate.function]
    if aggregate.window is None or function.longest_ms is not None:
        return None
    days = aggregate.window.days
    if function.window == "calendar" and days is not None:
        return (moment.today - (days - 1)) * 86_400_000 - _FARTHEST_OFFSET_MS
    return aggregate.window.start_ms(moment.t_ms)


# -- traits and segments ---------------------------------------------------------------------------------------------


def _values_query(
    checked: CheckedCatalog, shown: Mapping[str, str], moment: Moment, presented: bool = True
) -> exp.Select:
    """Levels: each definition is computed once, in the first level after all that it refers to.

    Args:
        shown: the columns that come out, by the key of their definition.
        presented: in analysts' types, not in those of the engine.
    """
    engine = DuckDB()
    staged, order = _staged(checked, list(shown))
    level = levels(staged, order)
    stages = replace(checked, values=staged)

    def reference(key: str) -> Lowered:
        return Lowered(column(key, f"values_{level[key]}"), is_whole(staged[key].node, stages))

    lowering = Lowering(stages, moment.t_ms, reference, engine)
    query = exp.select(column("profile_id", "profiles")).from_("profiles")
    for number, members in by_level(level):
        inner = exp.select(column("profile_id", "profiles")).from_("profiles")
        for key in members:
            value = staged[key]
            lowered = lowering.condition(value.node) if value.kind == "segment" else lowering.value(value.node).sql
            inner = inner.select(_commented(lowered, key, value.text), copy=False)
        query = query.with_(f"values_{number}", as_=_joined(inner), copy=False)
    for key, name in shown.items():
        value = staged[key]
        result = reference(key).sql
        if presented:
            result = engine.presented(result, value.type, is_whole(value.node, stages))
        query = query.select(exp.alias_(result, name), copy=False)
    return _joined(query)


def _joined(query: exp.Select) -> exp.Select:
    """`query` from `profiles`, joined with every other table that its columns come from."""
    tables = (found.table for selected in query.expressions for found in selected.find_all(exp.Column))
    for table in sorted(set(tables) - {"profiles"}, key=_level_number):
        query = query.join(exp.to_table(table), using="profile_id", copy=False)
    return query


def _level_number(table: str) -> int:
    """`aggregates` first, then the levels in their order."""
    return int(table.removeprefix("values_")) if table.startswith("values_") else 0


def _staged(checked: CheckedCatalog, keys: Sequence[str]) -> tuple[dict[str, CheckedValue], list[str]]:
    """Definitions by key, taken apart into steps; and, in their order, those that `keys` need."""
    staged = dict(checked.values)
    order: list[str] = []
    for key in _with_ancestors(checked, keys):
        steps = Steps(_step_names(key, checked.values))
        node = steps.take_apart(checked.values[key].node)
        staged |= {step.key: step for step in steps.steps}
        staged[key] = replace(staged[key], node=node, references=tuple(referred(node)))
        order += [*(step.key for step in steps.steps), key]
    return staged, order


def _step_names(key: str, taken: Collection[str]) -> Callable[[int], str]:
    """Names of the steps of a definition that no definition has."""
    stem = f"{key}__step"
    while any(name.startswith(f"{stem}_") for name in taken):
        stem += "_"
    return lambda number: f"{stem}_{number}"


def _with_ancestors(checked: CheckedCatalog, keys: Sequence[str]) -> list[str]:
    """`keys` and all that they refer to, directly or not, in topological order."""
    needed, waiting = set(keys), list(keys)
    while waiting:
        for name in checked.values[waiting.pop()].references:
            if name not in needed:
                needed.add(name)
                waiting.append(name)
    return [key for key in checked.values if key in needed]


# -- pieces ----------------------------------------------------------------------------------------------------------


def _commented(value: exp.Expr, name: str, text: str) -> exp.Expr:
    alias = exp.alias_(value, name)
    alias.add_comments([text.replace("*/", "* /")])
    return alias


def _cte(name: str, query: exp.Select) -> exp.CTE:
    return exp.CTE(this=query, alias=exp.TableAlias(this=exp.to_identifier(name)))


def _slug(event: str) -> str:
    text = "".join(c if c.isascii() and c.isalnum() else "_" for c in event).lower()
    return f"event_{text}" if not text or text[0].isdigit() else text


def _unused(name: str, names: set[str]) -> str:
    while name in names:
        name += "_"
    names.add(name)
    return name


def _pretty(query: exp.Select) -> str:
    return query.sql(dialect=DuckDB.name, pretty=True)
