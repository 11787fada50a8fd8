"""Whole statements: every aggregate of a catalog in one pass per event, every trait and segment in one more."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from sqlglot import exp

from dsl import typed
from dsl.aggregates import AGGREGATES
from dsl.check import AggregateUse, CheckedCatalog, CheckedValue, aggregate_uses, check_expression
from dsl.numbers import MICROS
from dsl.sql.duckdb import DuckDB
from dsl.sql.lower import Lowered, Lowering, column, integer

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
    return _pretty(_values_query(checked, keys, Moment(t_ms, cut, today)))


def expression_sql(text: str, checked: CheckedCatalog, t_ms: int, cut: int, today: int) -> str:
    """One expression straight from the events, as one statement with the column `value`.

    Raises:
        DefinitionError: what is wrong with the expression.
    """
    value = check_expression(text, checked)
    values = {**checked.values, value.key: value}
    alone = replace(checked, values=values)
    needed = [values[key].node for key in _with_ancestors(alone, [value.key])]
    uses = list(aggregate_uses(needed, checked.aggregates).values())
    alone = replace(alone, aggregates={use.text: use for use in uses})
    moment = Moment(t_ms, cut, today)
    query = _values_query(alone, [value.key], moment)
    # The aggregates come first: what follows reads them by that name.
    inner = _aggregates_query(uses, alone, moment)
    passes, outer = inner.ctes, query.ctes
    inner.set("with_", None)
    query.set("with_", None)
    for cte in [*passes, _cte("aggregates", inner), *outer]:
        query = query.with_(cte.alias, as_=cte.this, copy=False)
    return _pretty(query)


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
        name = _unused(_slug(event) if scope == "named" else "any_event", names)
        query = query.with_(name, as_=_event_pass(scope, event, members, checked, moment, engine), copy=False)
        query = query.join(exp.to_table(name), using="profile_id", join_type="left", copy=False)
        for use in members:
            value = engine.finished(use.aggregate.function, column(use.column, name))
            query = query.select(_commented(value, use.column, use.text), copy=False)
    for use in groups.get(("outside", ""), []):
        seen = {"first_at": "first_seen_ms", "last_at": "last_seen_ms"}[use.aggregate.function]
        query = query.select(_commented(column(seen, "profiles"), use.column, use.text), copy=False)
    return query


def _event_pass(
    scope: str, event: str, uses: list[AggregateUse], checked: CheckedCatalog, moment: Moment, engine: DuckDB
) -> exp.Select:
    """One pass over the events of one name: every aggregate of it, by profile."""
    lowering = Lowering(checked, moment.t_ms, _no_reference, engine)
    oldest = [_oldest_ms(use.aggregate, moment) for use in uses]
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
    bounds = [bound for bound in oldest if bound is not None]
    if bounds and len(bounds) == len(oldest):
        conditions.append(f"events.ts_ms >= {min(bounds)}")
    query = exp.select(column("profile_id", "identities")).from_("events")
    query = query.join("identities", using="source_id").where(*conditions, dialect=engine.name)
    for use in uses:
        aggregate = use.aggregate
        argument = lowering.value(aggregate.argument).sql if aggregate.argument is not None else None
        lowered = engine.aggregate(aggregate.function, argument, _selected(aggregate, lowering, moment))
        query = query.select(exp.alias_(lowered, use.column, quoted=False), copy=False)
    return query.group_by(column("profile_id", "identities"))


def _selected(aggregate: typed.BaseAggregate, lowering: Lowering, moment: Moment) -> exp.Expr | None:
    """The rows of its event that an aggregate counts; None is all of them."""
    conditions: list[exp.Expr] = []
    if aggregate.window is not None:
        days = aggregate.window.days
        if AGGREGATES[aggregate.function].window == "calendar" and days is not None:
            first_day = integer(moment.today - (days - 1))
            conditions.append(exp.GTE(this=column("local_day", "events"), expression=first_day))
        else:
            start = integer(aggregate.window.start_ms(moment.t_ms))
            conditions.append(exp.GTE(this=column("ts_ms", "events"), expression=start))
    if aggregate.filter is not None:
        conditions.append(lowering.condition(aggregate.filter))
    return exp.and_(*conditions) if conditions else None


def _oldest_ms(aggregate: typed.BaseAggregate, moment: Moment) -> int | None:
    """No event before this instant counts; None is whole life."""
    if aggregate.window is None:
        return None
    days = aggregate.window.days
    if AGGREGATES[aggregate.function].window == "calendar" and days is not None:
        return (moment.today - (days - 1)) * 86_400_000 - _FARTHEST_OFFSET_MS
    return aggregate.window.start_ms(moment.t_ms)


# -- traits and segments ---------------------------------------------------------------------------------------------


def _values_query(checked: CheckedCatalog, keys: Sequence[str], moment: Moment) -> exp.Select:
    """Levels: each definition is computed once, in the first level after all that it refers to."""
    engine = DuckDB()
    staged, order = _staged(checked, keys)
    level: dict[str, int] = {}
    for key in order:
        level[key] = 1 + max((level[name] for name in staged[key].references if name in level), default=0)
    stages = replace(checked, values=staged)

    def reference(key: str) -> Lowered:
        return Lowered(column(key, f"values_{level[key]}"), is_whole(staged[key].node, stages))

    lowering = Lowering(stages, moment.t_ms, reference, engine)
    query = exp.select(column("profile_id", "profiles")).from_("profiles")
    for number in range(1, max(level.values(), default=0) + 1):
        inner = exp.select(column("profile_id", "profiles")).from_("profiles")
        for key in (key for key in order if level[key] == number):
            value = staged[key]
            lowered = lowering.condition(value.node) if value.kind == "segment" else lowering.value(value.node).sql
            inner = inner.select(_commented(lowered, key, value.text), copy=False)
        query = query.with_(f"values_{number}", as_=_joined(inner), copy=False)
    for key in keys:
        value = staged[key]
        shown = engine.presented(reference(key).sql, value.type, is_whole(value.node, stages))
        query = query.select(exp.alias_(shown, key), copy=False)
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
    """Definitions by key with nested operands of `* / % min max` taken out as steps of their own, and their order.

    Rounding writes an operand more than once, so nesting it would double the text at every level.
    """
    staged = dict(checked.values)
    order: list[str] = []
    for key in _with_ancestors(checked, keys):
        steps: list[CheckedValue] = []
        node = _hoisted(staged[key].node, key, steps)
        for step in steps:
            staged[step.key] = step
            order.append(step.key)
        references = tuple(dict.fromkeys([*staged[key].references, *(step.key for step in steps)]))
        staged[key] = replace(staged[key], node=node, references=references)
        order.append(key)
    return staged, order


def _hoisted(node: typed.Node, key: str, steps: list[CheckedValue]) -> typed.Node:
    match node:
        case typed.Arithmetic():
            left, right = _hoisted(node.left, key, steps), _hoisted(node.right, key, steps)
            if node.operator in "*/%":
                left, right = _as_step(left, key, steps), _as_step(right, key, steps)
            return replace(node, left=left, right=right)
        case typed.Compare() | typed.Logic():
            return replace(node, left=_hoisted(node.left, key, steps), right=_hoisted(node.right, key, steps))
        case typed.Not() | typed.Negate():
            return replace(node, operand=_hoisted(node.operand, key, steps))
        case typed.Within():
            return replace(node, value=_hoisted(node.value, key, steps))
        case typed.Call():
            arguments = tuple(_hoisted(argument, key, steps) for argument in node.arguments)
            if node.function in ("min", "max"):
                arguments = tuple(_as_step(argument, key, steps) for argument in arguments)
            return replace(node, arguments=arguments)
    return node


def _as_step(node: typed.Node, key: str, steps: list[CheckedValue]) -> typed.Node:
    if not isinstance(node, typed.Arithmetic | typed.Call | typed.Negate):
        return node
    name = f"{key}__step_{len(steps) + 1}"
    references = tuple(n.key for n in _references(node))
    steps.append(CheckedValue(name, "trait", node, node.type, "step", references))
    return typed.Reference(name, "trait", node.type, node.span, node.nullable)


def _references(node: typed.Node) -> Iterable[typed.Reference]:
    if isinstance(node, typed.Reference):
        yield node
    for child in typed.children(node):
        yield from _references(child)


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
    return f"event_{text}" if not text or text[0].isdigit() or text in _RESERVED else text


_RESERVED = {"events", "identities", "profiles", "aggregates", "any_event"}


def _unused(name: str, names: set[str]) -> str:
    while name in names:
        name += "_"
    names.add(name)
    return name


def _no_reference(key: str) -> Lowered:
    raise LookupError(f"a filter refers to `{key}`")


def _pretty(query: exp.Select) -> str:
    return query.sql(dialect=DuckDB.name, pretty=True)
