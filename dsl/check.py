"""A catalog checked whole: definitions in topological order, every expression typed, the aggregates that it needs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from dsl import syntax, typed
from dsl.aggregates import AGGREGATES
from dsl.catalog import Catalog, Flag, Segment, Trait
from dsl.diagnostics import DefinitionError, Diagnostic
from dsl.functions import REFERENCES
from dsl.infer import Definition, Inference, Names, Place
from dsl.nearest import nearest
from dsl.parser import parse
from dsl.printer import print_tree
from dsl.source import Source, Span
from dsl.state import Value
from dsl.types import Type

MAX_AGGREGATES = 2_000
"""Base aggregates of one catalog: beyond it one statement is no longer reasonable."""

Sources = Mapping[tuple[str, ...], Source]


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
        """Canonical text: the key in `State.aggregates`."""
        return self.aggregate.text

    @property
    def of_nothing(self) -> Value:
        """The value when no event is selected; None is missing."""
        return AGGREGATES[self.aggregate.function].of_nothing

    def state_value(self, column_value: int | None) -> Value:
        """The value as a `State` holds it: numbers in micro-units."""
        return column_value * 1_000_000 if self.whole and column_value is not None else column_value


@dataclass(frozen=True, slots=True)
class CheckedValue:
    """A trait or segment that passed: its typed tree, canonical text and the definitions it refers to directly."""

    key: str
    kind: Literal["trait", "segment"]
    node: typed.Node
    type: Type
    text: str
    references: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CheckedRule:
    """A rule of a flag: its typed condition and the variant it gives."""

    when: typed.Node
    text: str
    variant: str


@dataclass(frozen=True, slots=True)
class CheckedFlag:
    """A flag whose rules passed."""

    flag: Flag
    rules: tuple[CheckedRule, ...]


@dataclass(frozen=True, slots=True)
class CheckedCatalog:
    """A catalog that passed every check.

    Attributes:
        values: traits and segments by key, in topological order: what a definition refers to stands before it.
        aggregates: base aggregates of all definitions, by canonical text, in order of first use.
        attribute_columns: typed attribute columns that the expressions read: `n_age`, `s_plan`, `b_member`.
        property_columns: typed property columns that the aggregates read.
    """

    catalog: Catalog
    values: Mapping[str, CheckedValue]
    flags: Mapping[str, CheckedFlag]
    aggregates: Mapping[str, AggregateUse]
    attribute_columns: tuple[str, ...]
    property_columns: tuple[str, ...]

    @property
    def order(self) -> tuple[str, ...]:
        """Keys of traits and segments, each after all it refers to."""
        return tuple(self.values)


def check_catalog(catalog: Catalog, sources: Sources | None = None) -> CheckedCatalog:
    """The catalog with every expression typed.

    Args:
        sources: where each expression stands in its file, by `("trait", key)`, `("segment", key)` or
            `("flag", key, "0")`; an expression without one is shown by itself.

    Raises:
        DefinitionError: everything that is wrong anywhere in the catalog.
    """
    return _CatalogCheck(catalog, sources or {}).run()


def check_expression(text: str, checked: CheckedCatalog, place: Place = "value") -> CheckedValue:
    """One expression checked against a catalog, as a value named `value`.

    Raises:
        DefinitionError: what is wrong with it.
    """
    source = Source(text)
    tree = parse(source)
    names = _names(checked.catalog, checked.values)
    inference = Inference(source, names, place)
    node = inference.infer(tree.root)
    inference.settled(node)
    if inference.found:
        raise DefinitionError(inference.found)
    references = tuple(dict.fromkeys(name for name in _referred(tree.root) if name in checked.values))
    return CheckedValue("value", "trait", node, node.type, print_tree(tree), references)


def column_prefix(value_type: Type) -> str:
    """The first letter of typed columns: `n_` micro-units, `s_` text, `b_` boolean."""
    return {"number": "n_", "string": "s_", "boolean": "b_"}.get(value_type, "s_")


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
    found: list[Diagnostic] = field(default_factory=list)
    trees: dict[str, tuple[Trait | Segment, Source, syntax.Tree]] = field(default_factory=dict)
    values: dict[str, CheckedValue] = field(default_factory=dict)

    def run(self) -> CheckedCatalog:
        self._parse_all()
        for key in self._ordered():
            self._check_value(key)
        flags = {flag.key: self._check_flag(flag) for flag in self.catalog.flags}
        self._check_exports()
        if self.found:
            raise DefinitionError(self.found)
        nodes = [value.node for value in self.values.values()]
        nodes += [rule.when for flag in flags.values() for rule in flag.rules]
        aggregates = aggregate_uses(nodes)
        fields = dict.fromkeys(n for node in nodes for n in walk(node) if isinstance(n, typed.Field))
        columns = {
            root: tuple(dict.fromkeys(column_prefix(f.type) + f.steps[0] for f in fields if f.root == root))
            for root in ("attribute", "property")
        }
        if len(aggregates) > MAX_AGGREGATES:
            message = f"the catalog needs {len(aggregates)} aggregates; at most {MAX_AGGREGATES} are allowed"
            raise DefinitionError([Diagnostic("too-many-aggregates", message, Span(0, 0), Source("", "<catalog>"))])
        return CheckedCatalog(self.catalog, self.values, flags, aggregates, columns["attribute"], columns["property"])

    def _parse_all(self) -> None:
        for kind, definitions in (("trait", self.catalog.traits), ("segment", self.catalog.segments)):
            for definition in definitions:
                source = self.sources.get((kind, definition.key), Source(definition.expression))
                if definition.key in self.trees:
                    message = f"`{definition.key}` is defined twice: names are unique over traits and segments"
                    self._report("duplicate-name", message, source)
                    continue
                try:
                    self.trees[definition.key] = (definition, source, parse(source))
                except DefinitionError as error:
                    self.found.extend(error.diagnostics)

    def _ordered(self) -> list[str]:
        """Keys in topological order; definitions on a cycle are reported and left out."""
        order: list[str] = []
        done: dict[str, bool] = {}
        for start in self.trees:
            stack: list[tuple[str, Iterator[str]]] = []
            if start not in done:
                done[start] = False
                stack.append((start, _referred(self.trees[start][2].root)))
            while stack:
                key, pending = stack[-1]
                target = next((name for name in pending if name in self.trees and not done.get(name, False)), None)
                if target is None:
                    stack.pop()
                    done[key] = True
                    order.append(key)
                elif target in done:
                    path = [name for name, _ in stack]
                    self._report_cycle([*path[path.index(target) :], target])
                else:
                    done[target] = False
                    stack.append((target, _referred(self.trees[target][2].root)))
        return order

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
        inference = Inference(source, self._known_names(), "value", None, self.found)
        node = inference.infer(tree.root)
        kind: Literal["trait", "segment"] = "trait" if isinstance(definition, Trait) else "segment"
        if isinstance(definition, Trait) and definition.type is not None:
            node = inference.expect(node, definition.type, f"trait `{key}`")
        elif kind == "segment":
            node = inference.expect(node, "boolean", f"segment `{key}`")
        inference.settled(node)
        if node.type == "list":
            self._report("wrong-type", f"trait `{key}` would be a list literal; a trait is one value", source)
        references = tuple(dict.fromkeys(name for name in _referred(tree.root) if name in self.trees))
        self.values[key] = CheckedValue(key, kind, node, node.type, print_tree(tree), references)

    def _check_flag(self, flag: Flag) -> CheckedFlag:
        rules = []
        for number, rule in enumerate(flag.rules):
            source = self.sources.get(("flag", flag.key, str(number)), Source(rule.when))
            try:
                tree = parse(source)
            except DefinitionError as error:
                self.found.extend(error.diagnostics)
                continue
            inference = Inference(source, self._known_names(), "flag", None, self.found)
            node = inference.truth(tree.root, f"a rule of flag `{flag.key}`")
            inference.settled(node)
            rules.append(CheckedRule(node, print_tree(tree), rule.variant))
        known = [variant.key for variant in flag.variants]
        for variant in (*(rule.variant for rule in flag.rules), flag.default):
            if variant not in known:
                source = self.sources.get(("flag", flag.key, "0"), Source(flag.key))
                help_lines = (f"its variants are {', '.join(f'`{key}`' for key in known)}",)
                self._report("bad-definition", f"flag `{flag.key}` has no variant `{variant}`", source, help_lines)
        return CheckedFlag(flag, tuple(rules))

    def _check_exports(self) -> None:
        segments = [segment.key for segment in self.catalog.segments]
        for export in self.catalog.exports:
            if export.segment not in segments:
                best = nearest(export.segment, segments)
                help_lines = (f"the nearest segment is `{best}`",) if best else ()
                source = self.sources.get(("export", export.name), Source(export.segment))
                message = f"export `{export.name}` names the segment `{export.segment}`, which is not defined"
                self._report("unknown-name", message, source, help_lines)

    def _known_names(self) -> Names:
        # Definitions that failed are still names: one mistake must not be reported again at each use.
        return _names(self.catalog, self.values, self.trees)

    def _report(
        self,
        code: Literal["duplicate-name", "bad-definition", "unknown-name", "wrong-type"],
        message: str,
        source: Source,
        help_lines: tuple[str, ...] = (),
    ) -> None:
        self.found.append(Diagnostic(code, message, Span(0, len(source.text)), source, help=help_lines))


def _names(catalog: Catalog, values: Mapping[str, CheckedValue], pending: Mapping[str, object] | None = None) -> Names:
    definitions = {key: Definition(key, value.kind, value.type, value.node.nullable) for key, value in values.items()}
    for trait in catalog.traits:
        definitions.setdefault(trait.key, Definition(trait.key, "trait", trait.type or "unknown", nullable=True))
    for segment in catalog.segments:
        definitions.setdefault(segment.key, Definition(segment.key, "segment", "boolean", nullable=False))
    return Names({event.name: event for event in catalog.events}, catalog.attributes, definitions)


def _referred(node: syntax.Node) -> Iterator[str]:
    """Every name in `node` that could be a definition, in the order of the text."""
    match node:
        case syntax.Name(name=name):
            yield name
        case syntax.ListOf(items=nodes):
            for item in nodes:
                yield from _referred(item)
        case syntax.Call(function=function, arguments=nodes):
            first = nodes[0] if nodes else None
            if function in REFERENCES and isinstance(first, syntax.String):
                yield first.value
            for argument in nodes:
                yield from _referred(argument)
        case syntax.Unary(operand=operand):
            yield from _referred(operand)
        case syntax.Binary(left=left, right=right):
            yield from _referred(left)
            yield from _referred(right)


def aggregate_uses(nodes: list[typed.Node], known: Mapping[str, AggregateUse] | None = None) -> dict[str, AggregateUse]:
    """Base aggregates of `nodes` by canonical text, in order of first use; those `known` keep their columns."""
    known = known or {}
    uses: dict[str, AggregateUse] = {}
    taken = {use.column for use in known.values()}
    for node in nodes:
        for inner in walk(node):
            if isinstance(inner, typed.AggregateValue) and inner.aggregate.text not in uses:
                use = known.get(inner.aggregate.text) or _aggregate_use(inner.aggregate, taken)
                taken.add(use.column)
                uses[use.text] = use
    return uses


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
    suffix = "" if whole else "_ms" if aggregate.type == "timestamp" else "_micros"
    stem = "_".join("".join(c if c.isascii() and c.isalnum() else "_" for c in part).lower() for part in parts)
    names = (f"{stem}{'' if number == 1 else f'_{number}'}{suffix}" for number in range(1, MAX_AGGREGATES * 10))
    return AggregateUse(aggregate, next(name for name in names if name not in taken), whole)
