"""A catalog checked whole: definitions in topological order, every expression typed, the aggregates that it needs."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

from typing_extensions import TypeIs

from dsl import syntax, typed
from dsl.aggregates import AGGREGATES, SEEN_AGES
from dsl.catalog import Catalog, Segment, Trait
from dsl.check_flags import CheckedCondition, CheckedFlag, FlagCheck
from dsl.clock import Zone
from dsl.columns import column_names
from dsl.diagnostics import DefinitionError, Diagnostic
from dsl.features import expand_catalog
from dsl.functions import RANK
from dsl.infer import Definition, Inference, Names, Place
from dsl.nearest import nearest
from dsl.numbers import MICROS, write_number
from dsl.observed import Observed
from dsl.parser import parse
from dsl.printer import print_tree
from dsl.schemas import DeclaredEvent, Sources, declared_events, schema_mistakes
from dsl.source import Source, Span
from dsl.state import Value
from dsl.tags import untag
from dsl.typed_text import text_of
from dsl.types import Type
from dsl.unsolved import flows, unsolved
from dsl.walk import depth as depth_of
from dsl.walk import referred, topological

MAX_AGGREGATES = 2_000
"""Base aggregates of one catalog: beyond it one statement is no longer reasonable."""

MAX_DEPTH = 200
"""Levels of an expression with all that it refers to put in its place: evaluation takes three calls for each."""

_TAKEN_KEYS = {"profile_id", *SEEN_AGES}
"""Keys that would hide a column of the tables or a word of the language."""


@dataclass(frozen=True, slots=True)
class AggregateUse:
    """A base aggregate that the catalog needs, and the column that tables keep it in.

    Attributes:
        column: name in the table `aggregates`: whole numbers bare, other numbers end in `_micros`, instants in `_ms`.
        whole: the column holds whole numbers, not micro-units.
    """

    aggregate: typed.BaseAggregate
    column: str
    whole: bool

    @property
    def text(self) -> str:
        """Canonical text, for people."""
        return self.aggregate.text

    @property
    def key(self) -> str:
        """What `State.aggregates` keeps the value under."""
        return self.aggregate.key

    @property
    def of_nothing(self) -> Value:
        """The value when no event is selected; None is missing."""
        return AGGREGATES[self.aggregate.function].of_nothing

    def state_value(self, column_value: int | str | bool | list[str] | None) -> Value:
        """The value as a `State` holds it: numbers in micro-units, lists of values instead of tagged texts."""
        if isinstance(column_value, list):
            return tuple(untag(text) for text in column_value)
        if self.whole and isinstance(column_value, int):
            return column_value * MICROS
        return column_value


@dataclass(frozen=True, slots=True)
class RankUse:
    """A `percent_rank` that the catalog needs, and the column that tables keep it in."""

    node: typed.Node
    text: str
    column: str


@dataclass(frozen=True, slots=True)
class CheckedValue:
    """A trait or segment that passed: its typed tree, canonical text and the definitions it refers to directly.

    Attributes:
        depth: levels of the expression with all that it refers to, directly or not, put in its place.
    """

    key: str
    kind: Literal["trait", "segment"]
    node: typed.Node
    type: Type
    text: str
    references: tuple[str, ...]
    depth: int = 1


# A zone remembers what it was asked.
_zone = lru_cache(maxsize=100)(Zone)


@dataclass(frozen=True, slots=True)
class CheckedCatalog:
    """A catalog that passed every check.

    Attributes:
        values: traits and segments by key, in topological order: what a definition refers to stands before it.
        aggregates: base aggregates of all definitions, by their key, in order of first use.
        attribute_columns: typed attribute columns that the expressions read: `n_age`, `s_plan`, `b_member`.
        ranks: every `percent_rank`, by its canonical text.
        warnings: what may be a mistake, in the order of the definitions.
        property_columns: typed columns of properties and of contexts that the aggregates read: `n_amount`, `cs_ip`.
        events: every declared event by name, of `events` and of pipelines.
    """

    catalog: Catalog
    values: Mapping[str, CheckedValue]
    flags: Mapping[str, CheckedFlag]
    aggregates: Mapping[str, AggregateUse]
    attribute_columns: tuple[str, ...]
    property_columns: tuple[str, ...]
    ranks: Mapping[str, RankUse] = field(default_factory=dict)
    warnings: tuple[Diagnostic, ...] = ()
    events: Mapping[str, DeclaredEvent] = field(default_factory=dict)

    @property
    def zone(self) -> Zone:
        """The project's zone, in which dates are read."""
        return _zone(self.catalog.timezone)

    @property
    def order(self) -> tuple[str, ...]:
        """Keys of traits and segments, each after all it refers to."""
        return tuple(self.values)


def check_catalog(catalog: Catalog, sources: Sources | None = None, observed: Observed | None = None) -> CheckedCatalog:
    """The catalog with every expression typed.

    Args:
        observed: what events have held so far; names that are not in it are warned of.
        sources: where each expression stands in its file, by `("trait", key)`, `("segment", key)` or
            `("flag", key, "0")`, other parts of a flag (`FlagCheck`), and each declared type; what has none is shown
            by itself.

    Raises:
        DefinitionError: everything that is wrong anywhere in the catalog.
    """
    return _CatalogCheck(expand_catalog(catalog), sources or {}, observed).run()


def check_expression(text: str, checked: CheckedCatalog, place: Place = "value") -> CheckedValue:
    """One expression checked against a catalog, as a value named `value`.

    Raises:
        DefinitionError: what is wrong with it.
    """
    source = Source(text)
    tree = parse(source)
    names = _names(checked.catalog, checked.events, _definitions(checked.catalog, checked.values))
    inference = Inference(source, names, place)
    node = inference.infer(tree.root)
    inference.settled(node)
    references = tuple(dict.fromkeys(name for name in referred(tree.root) if name in checked.values))
    depth = _depth(tree, references, checked.values)
    if depth > MAX_DEPTH:
        inference.found.append(_too_deep("the expression", source))
    if inference.found:
        raise DefinitionError(inference.found)
    return CheckedValue("value", "trait", node, node.type, print_tree(tree), references, depth)


def _columns(fields: Iterable[typed.Field]) -> tuple[str, ...]:
    """Typed columns that hold the fields; one whose type does not matter (`is_set`) may be in any."""
    return tuple(dict.fromkeys(name for f in fields for name in column_names(f.root, f.steps, f.type)))


def _is_field(node: typed.Node) -> TypeIs[typed.Field]:
    return isinstance(node, typed.Field)


def walk(node: typed.Node) -> Iterator[typed.Node]:
    """`node` and every node below it, filters of aggregates included."""
    yield node
    if isinstance(node, typed.AggregateValue):
        if node.aggregate.filter is not None:
            yield from walk(node.aggregate.filter)
        if node.aggregate.argument is not None:
            yield node.aggregate.argument
    for child in typed.children(node):
        yield from walk(child)


@dataclass(slots=True)
class _CatalogCheck:
    catalog: Catalog
    sources: Sources
    observed: Observed | None
    found: list[Diagnostic] = field(default_factory=list)
    trees: dict[str, tuple[Trait | Segment, Source, syntax.Tree]] = field(default_factory=dict)
    values: dict[str, CheckedValue] = field(default_factory=dict)
    definitions: dict[str, Definition] = field(default_factory=dict)
    events: dict[str, DeclaredEvent] = field(default_factory=dict)

    def run(self) -> CheckedCatalog:
        self.events.update(declared_events(self.catalog))
        self.found.extend(schema_mistakes(self.catalog, self.sources))
        self._parse_all()
        # Definitions that failed are still names: one mistake must not be reported again at each use.
        self.definitions.update(_definitions(self.catalog, {}))
        for key in self._ordered():
            self._check_value(key)
        flags = FlagCheck(self.catalog.flags, self.sources, self._check_condition, self._ranked, self.found).run()
        self._check_exports()
        errors = [diagnostic for diagnostic in self.found if diagnostic.severity == "error"]
        if errors:
            raise DefinitionError(errors)
        self._warn_of_minutes(flags)
        nodes = [value.node for value in self.values.values()]
        nodes += [condition.when for flag in flags.values() for condition in flag.conditions]
        aggregates = aggregate_uses(nodes)
        attributes = _columns(f for node in nodes for f in walk(node) if _is_field(f) and f.root == "attribute")
        parts = (p for use in aggregates.values() for p in (use.aggregate.filter, use.aggregate.argument) if p)
        properties = _columns(f for part in parts for f in walk(part) if _is_field(f))
        if len(aggregates) > MAX_AGGREGATES:
            message = f"the catalog needs {len(aggregates)} aggregates; at most {MAX_AGGREGATES} are allowed"
            raise DefinitionError([Diagnostic("too-many-aggregates", message, Span(0, 0), Source("", "<catalog>"))])
        return CheckedCatalog(
            self.catalog,
            self.values,
            flags,
            aggregates,
            attributes,
            properties,
            rank_uses(nodes),
            tuple(self.found),
            self.events,
        )

    def _warn_of_minutes(self, flags: Mapping[str, CheckedFlag]) -> None:
        """Warns of conditions whose next change by time nobody can know."""
        flowing = set[str]()
        for key, value in self.values.items():
            if flows(value.node, flowing):
                flowing.add(key)
            elif unsolved(value.node, flowing):
                self._warn_of_minute(f"{value.kind} `{key}`", self.trees[key][1])
        for key, flag in flags.items():
            for number, rule in enumerate(flag.rules):
                if unsolved(rule.when, flowing):
                    source = self.sources.get(("flag", key, str(number)), Source(rule.text))
                    self._warn_of_minute(f"a rule of flag `{key}`", source)
            if flag.holdout is not None and unsolved(flag.holdout.when, flowing):
                source = self.sources.get(("flag", key, "holdout"), Source(flag.holdout.text))
                self._warn_of_minute(f"the holdout of flag `{key}`", source)

    def _warn_of_minute(self, what: str, source: Source) -> None:
        message = f"time changes {what} at instants that cannot be foreseen"
        label, help_line = "asked again each minute", "compare `now()` itself: `now() - x > 3600000`, not a product"
        span = Span(0, len(source.text))
        self.found.append(
            Diagnostic("next-minute", message, span, source, label, help=(help_line,), severity="warning")
        )

    def _parse_all(self) -> None:
        for kind, definitions in (("trait", self.catalog.traits), ("segment", self.catalog.segments)):
            for definition in definitions:
                source = self.sources.get((kind, definition.key), Source(definition.expression))
                if definition.key in self.trees:
                    message = (
                        f"`{definition.key}` is defined twice: names are unique over traits, segments and features"
                    )
                    self._report("duplicate-name", message, source)
                    continue
                if definition.key in _TAKEN_KEYS:
                    message = f"`{definition.key}` has a meaning of its own: it cannot be the key of a {kind}"
                    self._report("bad-definition", message, source, ("choose another key",))
                try:
                    self.trees[definition.key] = (definition, source, parse(source))
                except DefinitionError as error:
                    self.found.extend(error.diagnostics)

    def _ordered(self) -> list[str]:
        """Keys in topological order; definitions on a cycle are reported and left out."""
        references = {key: list(referred(tree.root)) for key, (_, _, tree) in self.trees.items()}
        return topological(references, self._report_cycle)

    def _report_cycle(self, path: list[str]) -> None:
        definition, source, _ = self.trees[path[0]]
        shown = " -> ".join(f"`{key}`" for key in path)
        message = f"`{definition.key}` depends on itself: {shown}"
        help_lines = ("definitions form a graph without cycles: take one of these references out",)
        self.found.append(
            Diagnostic("cycle", message, Span(0, len(source.text)), source, "part of the cycle", help=help_lines)
        )

    def _check_value(self, key: str) -> None:
        definition, source, tree = self.trees[key]
        names = _names(self.catalog, self.events, self.definitions, self.observed)
        inference = Inference(source, names, "value", None, self.found)
        node = inference.infer(tree.root)
        kind: Literal["trait", "segment"] = "trait" if isinstance(definition, Trait) else "segment"
        if isinstance(definition, Trait) and definition.type is not None:
            node = inference.expect(node, definition.type, f"trait `{key}`")
        elif kind == "segment":
            node = inference.expect(node, "boolean", f"segment `{key}`")
        inference.settled(node)
        references = tuple(dict.fromkeys(name for name in referred(tree.root) if name in self.trees))
        depth = _depth(tree, references, self.values)
        if depth > MAX_DEPTH:
            self.found.append(_too_deep(f"{kind} `{key}`", source))
        self.values[key] = CheckedValue(key, kind, node, node.type, print_tree(tree), references, depth)
        self.definitions[key] = Definition(key, kind, node.type, kind == "trait" and node.nullable)

    def _check_condition(self, source: Source, what: str) -> CheckedCondition | None:
        """A condition of a flag, typed; None when it cannot be read."""
        try:
            tree = parse(source)
        except DefinitionError as error:
            self.found.extend(error.diagnostics)
            return None
        names = _names(self.catalog, self.events, self.definitions, self.observed)
        inference = Inference(source, names, "flag", None, self.found)
        node = inference.truth(tree.root, what)
        inference.settled(node)
        if _depth(tree, referred(tree.root), self.values) > MAX_DEPTH:
            self.found.append(_too_deep(what, source))
        return CheckedCondition(node, print_tree(tree))

    def _ranked(self, node: typed.Node) -> bool:
        """Whether `node`, or a definition that it builds on, holds a `percent_rank`."""
        keys, waiting = set[str](), [node]
        while waiting:
            for part in walk(waiting.pop()):
                if isinstance(part, typed.Call) and part.function == RANK:
                    return True
                if isinstance(part, typed.Reference) and part.key not in keys and part.key in self.values:
                    keys.add(part.key)
                    waiting.append(self.values[part.key].node)
        return False

    def _check_exports(self) -> None:
        segments = [segment.key for segment in self.catalog.segments]
        for export in self.catalog.exports:
            if export.segment not in segments:
                best = nearest(export.segment, segments)
                help_lines = (f"the nearest segment is `{best}`",) if best else ()
                source = self.sources.get(("export", export.name), Source(export.segment))
                message = f"export `{export.name}` names the segment `{export.segment}`, which is not defined"
                self._report("unknown-name", message, source, help_lines)

    def _report(
        self,
        code: Literal["duplicate-name", "bad-definition", "unknown-name"],
        message: str,
        source: Source,
        help_lines: tuple[str, ...] = (),
    ) -> None:
        self.found.append(Diagnostic(code, message, Span(0, len(source.text)), source, help=help_lines))


def _definitions(catalog: Catalog, values: Mapping[str, CheckedValue]) -> dict[str, Definition]:
    """What is known of every definition: all of it once it is checked, before that its kind."""
    found = {
        key: Definition(key, value.kind, value.type, value.kind == "trait" and value.node.nullable)
        for key, value in values.items()
    }
    for trait in catalog.traits:
        found.setdefault(trait.key, Definition(trait.key, "trait", trait.type or "unknown", nullable=True))
    for segment in catalog.segments:
        found.setdefault(segment.key, Definition(segment.key, "segment", "boolean", nullable=False))
    return found


def _names(
    catalog: Catalog,
    events: Mapping[str, DeclaredEvent],
    definitions: Mapping[str, Definition],
    observed: Observed | None = None,
) -> Names:
    return Names(events, catalog.attributes, definitions, Zone(catalog.timezone), observed)


def _depth(tree: syntax.Tree, references: Iterable[str], values: Mapping[str, CheckedValue]) -> int:
    return depth_of(tree.root) + max((values[key].depth for key in references if key in values), default=0)


def _too_deep(what: str, source: Source) -> Diagnostic:
    message = f"{what} nests deeper than {MAX_DEPTH} levels together with the definitions that it builds on"
    advice = ("let it build on fewer definitions, one behind the other",)
    return Diagnostic("too-deep", message, Span(0, len(source.text)), source, help=advice)


def aggregate_uses(nodes: list[typed.Node], known: Mapping[str, AggregateUse] | None = None) -> dict[str, AggregateUse]:
    """Base aggregates of `nodes` by canonical text, in order of first use; those `known` keep their columns."""
    known = known or {}
    uses: dict[str, AggregateUse] = {}
    taken = {use.column for use in known.values()}
    for node in nodes:
        for inner in walk(node):
            if isinstance(inner, typed.AggregateValue) and inner.aggregate.key not in uses:
                use = known.get(inner.aggregate.key) or _aggregate_use(inner.aggregate, taken)
                taken.add(use.column)
                uses[use.key] = use
    return uses


def rank_uses(nodes: Iterable[typed.Node]) -> dict[str, RankUse]:
    """Every `percent_rank` of `nodes`, by its canonical text."""
    found = (part for node in nodes for part in walk(node) if isinstance(part, typed.Call) and part.function == RANK)
    by_text = {text_of(part): part for part in found}
    return {text: RankUse(node, text, f"percent_rank_{n}") for n, (text, node) in enumerate(by_text.items(), 1)}


def _aggregate_use(aggregate: typed.BaseAggregate, taken: set[str]) -> AggregateUse:
    whole = AGGREGATES[aggregate.function].whole
    scope = {"named": aggregate.event, "tracked": "any", "outside": "seen"}[aggregate.scope]
    parts = [scope, aggregate.function]
    if aggregate.argument is not None:
        parts.append(aggregate.argument.steps[-1])
    if aggregate.window is not None:
        parts.append(str(aggregate.window))
    if aggregate.filter is not None:
        parts.append("where")
    if AGGREGATES[aggregate.function].quantile:
        parts.append(write_number(aggregate.quantile_micros))
    suffix = "" if whole else {"timestamp": "_ms", "number": "_micros"}.get(aggregate.type, "")
    stem = "_".join("".join(c if c.isascii() and c.isalnum() else "_" for c in part).lower() for part in parts)
    names = (f"{stem}{'' if number == 1 else f'_{number}'}{suffix}" for number in range(1, MAX_AGGREGATES * 10))
    return AggregateUse(aggregate, next(name for name in names if name not in taken), whole)
