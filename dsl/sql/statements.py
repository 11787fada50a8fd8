"""Whole statements: every aggregate of a catalog from few passes, every trait and segment; or both at once."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from sqlglot import exp
from sqlglot.generator import Generator

from dsl import typed
from dsl.aggregates import AGGREGATES
from dsl.check import (
    AggregateUse,
    CheckedCatalog,
    CheckedValue,
    aggregate_uses,
    check_expression,
    walk,
)
from dsl.numbers import MICROS
from dsl.sql.duckdb import DuckDB
from dsl.sql.lower import Lowered, Lowering, column
from dsl.sql.next_change import LAST_MS, Outlook
from dsl.sql.passes import Moment, plan_passes, unused
from dsl.sql.scans import pass_queries
from dsl.sql.steps import Steps, by_level, levels, referred

_BY_PROFILE = "by_profile"
NEXT_CHANGE = "next change ms"
"""The column of `foreseen_sql` that no definition can be called like."""


@dataclass(frozen=True, slots=True)
class Foreseen:
    """A statement that gives values, and when they can next change with no new event.

    Attributes:
        changes: the column with the next change of each of them that time can change, by key.
        restless: those that time changes at every step, or that are of all profiles: they are asked at each refresh.
    """

    sql: str
    changes: Mapping[str, str]
    restless: frozenset[str]


def aggregates_sql(checked: CheckedCatalog, t_ms: int, cut: int, today: int) -> str:
    """The statement that gives every base aggregate of the catalog.

    Grain: one row per row of `profiles`. Reads `events`, `identities`, `profiles`. What is scanned how often, and from
    which instant on, `dsl.sql.passes` says.
    """
    return _pretty(_aggregates_query(list(checked.aggregates.values()), checked, Moment(t_ms, cut, today)))


def values_sql(checked: CheckedCatalog, keys: Sequence[str], t_ms: int, cut: int, today: int) -> str:
    """The statement that gives the traits and segments `keys` from the table `aggregates`.

    Grain: one row per row of `profiles`; columns `profile_id`, then `keys` in that order, in analysts' types.
    """
    return _pretty(_values_query(checked, {key: key for key in keys}, Moment(t_ms, cut, today)))


def foreseen_sql(
    checked: CheckedCatalog, keys: Sequence[str], t_ms: int, cut: int, today: int, profiles: str = "profiles"
) -> Foreseen:
    """The statement of `values_sql`, and instants later than `t_ms` before which its values stay as they are.

    Grain: one row per row of `profiles`; columns `profile_id`, then `keys`, then those of `Foreseen.changes` (epoch
    milliseconds, NULL is never) and `NEXT_CHANGE`, the earliest of all but the restless. Reads `aggregates.due_ms`.

    Args:
        profiles: a table with the columns of `profiles`: all of them, or some where no key is restless.
    """
    moment, shown = Moment(t_ms, cut, today), {key: key for key in keys}
    staged = _Levels(checked, shown, moment, profiles)
    outlook = Outlook(staged.lowering)
    query = staged.query(outlook=outlook)
    courses = {key: outlook.at_rest(key) for key in keys}
    restless = frozenset(key for key, course in courses.items() if course.restless)
    taken = {"profile_id", *keys}
    changes = {key: unused(f"{key} changes", taken) for key, course in courses.items() if course.until}
    for key, name in changes.items():
        query.select(exp.alias_(_earliest(courses[key].until), name, quoted=True), copy=False)
    resting = dict.fromkeys(instant for key in keys if key not in restless for instant in courses[key].until)
    query.select(exp.alias_(_earliest([*resting, "NULL"]), NEXT_CHANGE, quoted=True), copy=False)
    return Foreseen(_pretty(query), changes, restless)


def expression_sql(text: str, checked: CheckedCatalog, t_ms: int, cut: int, today: int) -> str:
    """One expression straight from the events, as one statement with the column `value`.

    Raises:
        DefinitionError: what is wrong with the expression.
    """
    value = check_expression(text, checked)
    # A trait may be called `value` as well.
    key = unused(value.key, set(checked.values))
    values = {**checked.values, key: value}
    return _pretty(_whole_query(replace(checked, values=values), {key: value.key}, Moment(t_ms, cut, today)))


def catalog_sql(checked: CheckedCatalog, t_ms: int, cut: int, today: int) -> str:
    """Every trait and segment of the catalog straight from the events, as one statement.

    Grain: one row per row of `profiles`. Columns: `profile_id`, then the keys in the order of the catalog, in analysts'
    types. Reads `events`, `identities`, `profiles`.
    """
    return _pretty(_whole_query(checked, {key: key for key in checked.order}, Moment(t_ms, cut, today)))


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


def _whole_query(checked: CheckedCatalog, shown: Mapping[str, str], moment: Moment) -> exp.Select:
    """Values straight from the events: what they need of the aggregates, then they themselves."""
    needed = [checked.values[key].node for key in _with_ancestors(checked, list(shown))]
    uses = list(aggregate_uses(needed, checked.aggregates).values())
    query = _values_query(replace(checked, aggregates={use.key: use for use in uses}), shown, moment)
    # The aggregates come first: what follows reads them by that name.
    inner = _aggregates_query(uses, checked, moment)
    passes, outer = inner.ctes, query.ctes
    inner.set("with_", None)
    query.set("with_", None)
    for cte in [*passes, _cte("aggregates", inner), *outer]:
        query.with_(cte.alias, as_=cte.this, copy=False)
    return query


# -- aggregates ------------------------------------------------------------------------------------------------------


def _aggregates_query(uses: Sequence[AggregateUse], checked: CheckedCatalog, moment: Moment) -> exp.Select:
    """Passes over the events by source, what they collected by profile, and the values of every profile."""
    engine = DuckDB()
    profile = column("profile_id", "identities")
    merged = exp.select(profile).from_("identities", copy=False)
    merged.where(exp.Var(this=_valid_at(moment.cut)), copy=False).group_by(profile.copy(), copy=False)
    query = exp.select(column("profile_id", "profiles")).from_("profiles", copy=False)
    for planned in plan_passes(uses, moment):
        for name, cte in pass_queries(planned, checked, moment).items():
            query.with_(name, as_=cte, copy=False)
        if planned.uses:
            merged.join(exp.to_table(planned.name), using="source_id", join_type="left", copy=False)
        for use in planned.uses:
            value = engine.merged(use.aggregate, column(use.column, planned.name))
            merged.select(exp.alias_(value, use.column, quoted=False, copy=False), copy=False)
    if merged.args.get("joins"):
        query.with_(_BY_PROFILE, as_=merged, copy=False)
        query.join(exp.to_table(_BY_PROFILE), using="profile_id", join_type="left", copy=False)
    for use in uses:
        query.select(_commented(_finished(use, moment, engine), use.column, use.text), copy=False)
    return query


def _finished(use: AggregateUse, moment: Moment, engine: DuckDB) -> exp.Expr:
    if use.aggregate.scope == "outside":
        seen = {"first_at": "first_seen_ms", "last_at": "last_seen_ms"}
        return column(seen[use.aggregate.function], "profiles")
    return engine.finished(use.aggregate, column(use.column, _BY_PROFILE), moment.today)


def _valid_at(cut: int) -> str:
    return (
        f"identities.valid_from_seq <= {cut} AND (identities.valid_to_seq IS NULL OR identities.valid_to_seq > {cut})"
    )


# -- traits and segments ---------------------------------------------------------------------------------------------


def _values_query(
    checked: CheckedCatalog, shown: Mapping[str, str], moment: Moment, presented: bool = True
) -> exp.Select:
    """Values in analysts' types, or in those of the engine.

    Args:
        shown: the columns that come out, by the key of their definition.
    """
    return _Levels(checked, shown, moment).query(presented)


class _Levels:
    """Levels: each definition is computed once, in the first level after all that it refers to."""

    def __init__(
        self, checked: CheckedCatalog, shown: Mapping[str, str], moment: Moment, profiles: str = "profiles"
    ) -> None:
        self.shown, self.profiles = shown, profiles
        self.staged, order = _staged(checked, list(shown))
        self.level = levels(self.staged, order)
        self.stages = replace(checked, values=self.staged)
        self.lowering = Lowering(self.stages, moment.t_ms, self._reference, DuckDB())

    def query(self, presented: bool = True, outlook: Outlook | None = None) -> exp.Select:
        """One row per profile.

        Args:
            outlook: learns the course of each definition; the levels get what it keeps of them.
        """
        query = _profiles(self.level.values(), self.profiles)
        for number, members in by_level(self.level):
            inner = _profiles(_levels_read([self.staged[key].node for key in members], self.level), self.profiles)
            for key in members:
                value = self.staged[key]
                is_segment = value.kind == "segment"
                lowered = self.lowering.condition(value.node) if is_segment else self.lowering.value(value.node).sql
                inner.select(_commented(lowered, key, value.text), copy=False)
                kept = outlook.keep(key, value.node, self._table(key), self._names(key)) if outlook else {}
                inner.select(*(exp.alias_(sql, name, copy=False) for name, sql in kept.items()), copy=False)
            query.with_(f"values_{number}", as_=inner, copy=False)
        for key, name in self.shown.items():
            result = self._reference(key).sql
            if presented:
                whole = is_whole(self.staged[key].node, self.stages)
                result = self.lowering.engine.presented(result, self.staged[key].type, whole)
            query.select(exp.alias_(result, name, copy=False), copy=False)
        return query

    def _reference(self, key: str) -> Lowered:
        return Lowered(column(key, self._table(key)), is_whole(self.staged[key].node, self.stages))

    def _table(self, key: str) -> str:
        return f"values_{self.level[key]}"

    def _names(self, key: str) -> dict[str, str]:
        return {part: unused(f"{key}__{part}", set(self.staged)) for part in ("until", "origin")}


def _earliest(instants: Sequence[str]) -> exp.Expr:
    """SQL of the earliest of some instants, where it is not too far."""
    earliest = f"LEAST({', '.join(instants)})"
    return exp.Var(this=f"CAST(CASE WHEN {earliest} <= {LAST_MS} THEN {earliest} END AS BIGINT)")


def _profiles(read: Iterable[int], profiles: str) -> exp.Select:
    """`profile_id` from `profiles`, joined with the levels that are read; level 0 is the table `aggregates`."""
    # Trees, not texts that sqlglot reads first: a catalog has hundreds of them.
    alias = None if profiles == "profiles" else exp.TableAlias(this=exp.to_identifier("profiles"))
    table = exp.Table(this=exp.to_identifier(profiles), alias=alias)
    query = exp.select(column("profile_id", "profiles"), copy=False).from_(table, copy=False)
    for number in sorted(set(read)):
        table = exp.Table(this=exp.to_identifier(f"values_{number}" if number else "aggregates"))
        query.append("joins", exp.Join(this=table, using=[exp.to_identifier("profile_id")]))
    return query


def _levels_read(nodes: Iterable[typed.Node], level: Mapping[str, int]) -> Iterator[int]:
    for node in nodes:
        for part in walk(node):
            if isinstance(part, typed.AggregateValue):
                yield 0
            elif isinstance(part, typed.Reference):
                yield level[part.key]


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
    alias = exp.alias_(value, name, copy=False)
    alias.add_comments([text.replace("*/", "* /")])
    return alias


def _cte(name: str, query: exp.Select) -> exp.CTE:
    return exp.CTE(this=query, alias=exp.TableAlias(this=exp.to_identifier(name)))


def _pretty(query: exp.Select) -> str:
    # A line end in a name or a string is none of the statement: the printer must not indent after it.
    for verbatim in query.find_all(exp.Var):
        if "\n" in verbatim.name:
            verbatim.set("this", verbatim.name.replace("\n", Generator.SENTINEL_LINE_BREAK))
    return query.sql(dialect=DuckDB.name, pretty=True, copy=False)
