"""Syntax to typed tree: looks up every name and settles every type of one expression, collecting what is wrong."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, cast

from dsl import syntax, typed
from dsl.aggregates import SEEN_AGES
from dsl.clock import UTC_ZONE, Zone, parse_instant
from dsl.diagnostics import Code, Diagnostic
from dsl.functions import FUNCTIONS, RANK, REFERENCES, TAKES_ANY, Function
from dsl.habits import function_help, name_help, root_help
from dsl.infer_aggregate import infer_aggregate
from dsl.nearest import nearest_help
from dsl.numbers import MICROS
from dsl.observed import Observed
from dsl.patterns import PatternError, check_pattern
from dsl.printer import print_node
from dsl.schemas import DeclaredEvent
from dsl.source import Source, Span
from dsl.typed_text import field_syntax
from dsl.types import ARTICLE, Type
from dsl.unseen import warn_otherwise, warn_unseen

Place = Literal["value", "flag", "filter"]
"""Where an expression stands: traits and segments are `value`; only flags may read `context.`."""


@dataclass(frozen=True, slots=True)
class Definition:
    """What is known of another definition when an expression refers to it."""

    key: str
    kind: Literal["trait", "segment"]
    type: Type
    nullable: bool


@dataclass(frozen=True, slots=True)
class Names:
    """Every name that an expression may use.

    A catalog that declares events (or attributes) is checked against them: others are errors. Where nothing is
    declared, any name is accepted.
    """

    events: Mapping[str, DeclaredEvent]
    attributes: Mapping[str, Type]
    definitions: Mapping[str, Definition]
    zone: Zone = UTC_ZONE
    observed: Observed | None = None


@dataclass(slots=True)
class Inference:
    """Types one expression. `found` collects diagnostics; after an error the broken part is a missing constant.

    Attributes:
        event: in a filter, the declared event.
        event_name: in a filter, its name; None for `events.*`.
    """

    source: Source
    names: Names
    place: Place = "value"
    event: DeclaredEvent | None = None
    found: list[Diagnostic] = field(default_factory=list)
    event_name: str | None = None

    def infer(self, node: syntax.Node) -> typed.Node:
        """The typed form of `node`; its type is `unknown` when only its neighbours can tell, or when it is broken."""
        match node:
            case syntax.Number(micros=micros, span=span):
                return typed.Constant(micros, "number", span)
            case syntax.String(value=text, span=span):
                return typed.Constant(text, "string", span)
            case syntax.Boolean(value=truth, span=span):
                return typed.Constant(truth, "boolean", span)
            case syntax.ListOf(items=items, span=span):
                return typed.Items(tuple(self.infer(item) for item in items), span)
            case syntax.Name():
                return self._name(node)
            case syntax.Path():
                return self._path(node)
            case syntax.Aggregate():
                return infer_aggregate(self, node)
            case syntax.Call():
                return self._call(node)
            case syntax.Unary(operator="-"):
                return typed.Negate(self.expect(self.infer(node.operand), "number", "`-`"), node.span)
            case syntax.Unary():
                return typed.Not(self.truth(node.operand, f"`{node.operator}`"), node.span)
            case syntax.Binary():
                return self._binary(node)

    def expect(self, node: typed.Node, wanted: Type, place: str) -> typed.Node:
        """`node` with type `wanted`: an open type is settled, another type is an error that names `place`."""
        if node.type == wanted or is_broken(node):
            return node
        if node.type == "unknown" and wanted == "timestamp":
            return self._not_declared(node, place)
        if node.type == "unknown":
            return _settle(node, wanted)
        return self._wrong_type(node, wanted, place)

    def truth(self, node: syntax.Node, place: str) -> typed.Node:
        """`node` in a Boolean position."""
        return self.expect(self.infer(node), "boolean", place)

    # -- names ---------------------------------------------------------------------------------------------------

    def _name(self, node: syntax.Name) -> typed.Node:
        if self.place == "filter":
            return self._property((node.name,), (node.span,), node.span)
        if age := SEEN_AGES.get(node.name):
            text = age.name.split("_")[0] + "_seen_at"
            base = typed.BaseAggregate("outside", "", None, age.instant, None, None, "timestamp", text)
            instant = typed.AggregateValue(base, "timestamp", node.span, nullable=True)
            return typed.Age(instant, age.unit_ms, node.name, node.span)
        if definition := self.names.definitions.get(node.name):
            return _reference(definition, node.span)
        candidates = [*self.names.definitions, *SEEN_AGES]
        help_lines = nearest_help(node.name, candidates, "name") or (name_help(node.name),)
        if node.name in self.names.attributes:
            help_lines = (f"the attribute of that name is `profile.{node.name}`",)
        return self.error(
            "unknown-name", f"no trait or segment is named `{node.name}`", node.span, "not defined", help_lines
        )

    def _path(self, node: syntax.Path) -> typed.Node:
        root = node.steps[0]
        if root == "profile" and self.place != "filter":
            return self._attribute(node)
        if root == "context":
            if self.place == "value":
                text = "`context.` is what a request brought along, so only flags may read it"
                return self.error("not-allowed-here", text, node.span, "not in a trait or segment")
            return typed.Field("context", node.steps[1:], "unknown", node.span)
        if self.place == "filter" and root != "profile":
            cut = 1 if root == "properties" else 0
            return self._property(node.steps[cut:], node.step_spans[cut:], node.span)
        if self.place == "filter":
            text = "a filter looks at one event: it cannot read `profile.`"
            return self.error("not-allowed-here", text, node.span, "not in a filter")
        roots = ["profile", "context", "events"]
        return self.error(
            "unknown-name",
            f"nothing is named `{root}`",
            node.step_spans[0],
            "expected `profile`, `context` or `events`",
            (habit,) if (habit := root_help(root, ".".join(node.steps[1:]))) else nearest_help(root, roots, "root"),
        )

    def _attribute(self, node: syntax.Path) -> typed.Node:
        steps = node.steps[1:]
        name = ".".join(steps)
        declared = self.names.attributes.get(name)
        if declared is None and self.names.attributes:
            return self.error(
                "unknown-name",
                f"`profile` has no attribute `{name}`",
                node.step_spans[1].join(node.step_spans[-1]),
                "not declared",
                nearest_help(name, self.names.attributes, "attribute", "profile.", self.names.attributes.get),
            )
        result = typed.Field("attribute", steps, declared or "unknown", node.span)
        warn_unseen(self, result, node.step_spans[1].join(node.step_spans[-1]))
        return result

    def _property(self, steps: tuple[str, ...], spans: tuple[Span, ...], span: Span) -> typed.Node:
        name = ".".join(steps)
        declared = self.event.type_of(name) if self.event else "unknown"
        if self.event and declared is None:
            return self.error(
                "unknown-name",
                f"event `{self.event.name}` has no property `{name}`",
                spans[0].join(spans[-1]),
                "not declared",
                nearest_help(name, self.event.types, "property", type_of=self.event.types.get),
            )
        result = typed.Field("property", steps, declared or "unknown", span)
        warn_unseen(self, result, spans[0].join(spans[-1]))
        return result

    def inside(self, schema: DeclaredEvent | None, event: str | None) -> "Inference":
        """The same expression, inside a filter or the parentheses of an aggregate over events of that name."""
        return Inference(self.source, self.names, "filter", schema, self.found, event)

    # -- calls and operators -------------------------------------------------------------------------------------

    def _call(self, node: syntax.Call) -> typed.Node:
        if self.place == "filter" and node.function in (*REFERENCES, "now", "days_since", "bucket", RANK):
            text = f"a filter looks at one event: it cannot call `{node.function}`"
            return self.error("not-allowed-here", text, node.function_span, "not in a filter")
        if node.function in REFERENCES:
            return self._reference_call(node)
        function = FUNCTIONS.get(node.function)
        if function is None:
            habit = function_help(node.function)
            help_lines = (habit,) if habit else nearest_help(node.function, [*FUNCTIONS, *REFERENCES], "function")
            message = f"no function is named `{node.function}`"
            return self.error("unknown-function", message, node.function_span, "", help_lines)
        most, given = len(function.parameters), len(node.arguments)
        if given < most - function.optional or (given > most and not function.variadic):
            message = f"expected `{function.signature}`"
            return self.error("wrong-arguments", message, node.span, f"{len(node.arguments)} given")
        return self._known_call(node, function)

    def _known_call(self, node: syntax.Call, function: Function) -> typed.Node:
        if function.name == "now":
            return typed.Now(node.span)
        if function.name in ("date", "bucket", "round"):
            return self._with_literal(node, function)
        wanted = [function.parameters[min(i, len(function.parameters) - 1)] for i in range(len(node.arguments))]
        arguments = [self.infer(argument) for argument in node.arguments]
        free = [arguments[i] for i, parameter in enumerate(wanted) if parameter == "unknown"]
        takes_any = function.name in TAKES_ANY
        common: Type = "unknown" if takes_any else next((a.type for a in free if a.type != "unknown"), "unknown")
        for i, parameter in enumerate(wanted):
            target: Type = common if parameter == "unknown" else parameter
            if target != "unknown":
                arguments[i] = self.expect(arguments[i], target, f"`{function.name}`")
        if function.name == "days_since":
            return typed.Age(arguments[0], 86_400_000, print_node(node), node.span)
        result: Type = common if function.returns == "unknown" else function.returns
        return typed.Call(function.name, tuple(arguments), result, node.span, _call_nullable(function, arguments))

    def _with_literal(self, node: syntax.Call, function: Function) -> typed.Node:
        """Calls that take a literal: the instant of a date, the share of a salt, the decimals of a rounding."""
        literal = node.arguments[-1] if function.name != "round" or len(node.arguments) == 2 else None
        value = literal.value if isinstance(literal, syntax.String) else None
        if function.name == "round":
            return self._round(node, literal)
        if function.name == "date" and literal is not None and isinstance(literal, syntax.Name | syntax.Path):
            return self._date_of(literal)
        if value is None:
            return self.error("wrong-arguments", f'expected `{function.name}("...")`', node.span, "takes a literal")
        if function.name == "bucket":
            constant = typed.Constant(value, "string", node.arguments[0].span)
            return typed.Call("bucket", (constant,), "number", node.span, nullable=False)
        try:
            return typed.Constant(parse_instant(value, self.names.zone), "timestamp", node.span)
        except ValueError as error:
            help_lines = ("write a date or an instant: `2017-07-04`, `2017-07-04T12:00:00Z`",)
            return self.error("wrong-arguments", str(error), node.arguments[0].span, "", help_lines)

    def _date_of(self, node: syntax.Name | syntax.Path) -> typed.Node:
        """A string that was sent, read as the instant that it names."""
        value = self.infer(node)
        if isinstance(value, typed.Field) and value.type in ("unknown", "string", "timestamp"):
            return replace(value, type="timestamp", span=node.span)
        if is_broken(value):
            return value
        label = f"found {ARTICLE[value.type]}" if isinstance(value, typed.Field) else "computed"
        return self.error("wrong-arguments", "`date` takes a literal, or a string as it was sent", node.span, label)

    def _round(self, node: syntax.Call, literal: syntax.Node | None) -> typed.Node:
        decimals = literal.micros if isinstance(literal, syntax.Number) else None if literal else 0
        if decimals is None or decimals % MICROS or not 0 <= decimals <= 6 * MICROS:
            message = "the decimals of `round` are a whole number from 0 to 6, written out"
            return self.error("wrong-arguments", message, literal.span if literal else node.span)
        number = self.expect(self.infer(node.arguments[0]), "number", "`round`")
        constant = typed.Constant(decimals, "number", node.span)
        return typed.Call("round", (number, constant), "number", node.span, nullable=True)

    def _reference_call(self, node: syntax.Call) -> typed.Node:
        if len(node.arguments) != 1 or not isinstance(node.arguments[0], syntax.String):
            message = f'expected `{node.function}("key")`'
            return self.error("wrong-arguments", message, node.span, "takes one string literal")
        key = node.arguments[0].value
        definition = self.names.definitions.get(key)
        if definition is not None and definition.kind == node.function:
            return _reference(definition, node.span)
        keys = [d.key for d in self.names.definitions.values() if d.kind == node.function]
        help_lines = nearest_help(key, keys, node.function)
        if definition is not None:
            help_lines = (f'`{key}` is a {definition.kind}: write `{definition.kind}("{key}")`',)
        return self.error(
            "unknown-name", f"no {node.function} is named `{key}`", node.arguments[0].span, "not defined", help_lines
        )

    def _binary(self, node: syntax.Binary) -> typed.Node:
        place = f"`{node.operator}`"
        match node.operator:
            case "&&" | "||" as operator:
                left, right = self.truth(node.left, place), self.truth(node.right, place)
                return typed.Logic(operator, left, right, node.span)
            case "+" | "-" | "*" | "/" | "%":
                return self._arithmetic(node, place)
            case "==" | "!=" | "<" | "<=" | ">" | ">=":
                return self._compare(node, place)
            case "in":
                return self._within(node)
        return self._word_operator(node, place)

    def _arithmetic(self, node: syntax.Binary, place: str) -> typed.Node:
        left, right = self.infer(node.left), self.infer(node.right)
        if node.operator == "-" and "timestamp" in (left.type, right.type):
            wanted: Type = "timestamp"
        else:
            wanted = "number"
        left, right = self.expect(left, wanted, place), self.expect(right, wanted, place)
        return typed.Arithmetic(node.operator, left, right, node.span)

    def _compare(self, node: syntax.Binary, place: str) -> typed.Node:
        left, right = self.infer(node.left), self.infer(node.right)
        if left.type == "unknown" and not is_broken(left):
            left = self.expect(left, right.type, place)
        right = self.expect(right, left.type, place) if left.type != "unknown" else right
        if left.type == "boolean" and node.operator not in ("==", "!=") and not is_broken(left):
            help_lines = ("booleans have no order: compare them with `==` or `!=`",)
            return self.error("wrong-type", f"{place} does not apply to booleans", node.operator_span, "", help_lines)
        if left.type == "list":
            help_lines = ("ask whether a value is in a list with `in`",)
            return self.error("wrong-type", f"{place} does not apply to lists", node.operator_span, "", help_lines)
        return typed.Compare(node.operator, left, right, node.span)

    def _within(self, node: syntax.Binary) -> typed.Node:
        value, right = self.infer(node.left), self.infer(node.right)
        if right.type == "list" and not isinstance(right, typed.Items):
            return typed.WordOperator("contains", right, value, node.span)
        if right.type == "unknown" and isinstance(right, typed.Field | typed.AggregateValue):
            value = _settle(value, "string") if value.type == "unknown" and not is_broken(value) else value
            return typed.WordOperator("contains", _settle(right, "list"), value, node.span)
        if not isinstance(right, typed.Items):
            if not is_broken(right):
                self.error(
                    "wrong-type",
                    "the right side of `in` is a list",
                    right.span,
                    f"expected a list, found {ARTICLE[right.type]}",
                    ('write the values in brackets: `in ["NO", "SE"]`',),
                )
            return typed.Constant(None, "boolean", node.span)
        return self._among(value, right, node.span)

    def _among(self, value: typed.Node, right: typed.Items, span: Span) -> typed.Node:
        """Whether a value is one of the items that are written out."""
        types = list(dict.fromkeys(item.type for item in right.items if item.type != "unknown"))
        if value.type == "unknown" and len(types) > 1 and "timestamp" in types:
            # What nobody declares to be a timestamp equals none.
            right = replace(right, items=tuple(item for item in right.items if item.type != "timestamp"))
            types.remove("timestamp")
        if value.type == "unknown" and not is_broken(value) and len(types) == 1:
            value = self.expect(value, types[0], "`in`")
        if value.type == "unknown" and isinstance(value, typed.Field) and types:
            # What was sent decides of which type it is: each type has its own items.
            first, *others = types
            settled = self.expect(value, first, "`in`")
            found = self._among(settled, replace(right, items=_of_type(right.items, first)), span)
            rest = replace(right, items=tuple(item for item in right.items if item.type != first))
            return typed.Logic("||", found, self._among(value, rest, span), span) if others else found
        if types and value.type not in (*types, "unknown") and not isinstance(value, typed.Constant):
            return self._wrong_type(next(i for i in right.items if i.type in types), value.type, "`in`")
        items = tuple(_settle(i, value.type) if i.type == "unknown" else i for i in right.items)
        kept = tuple(item for item in items if item.type == value.type)
        return typed.Within(value, kept, span)

    def _word_operator(self, node: syntax.Binary, place: str) -> typed.Node:
        """`contains`, `starts_with`, `ends_with`, `matches`: text on both sides, or a list on the left."""
        left, right = self.infer(node.left), self.infer(node.right)
        operator = cast(Literal["contains", "starts_with", "ends_with", "matches"], node.operator)
        if operator == "contains" and not is_broken(left):
            if right.type == "unknown" and not is_broken(right):
                right = _settle(right, "string")
            if isinstance(left, typed.Items):
                return self._among(right, left, node.span)
            if left.type == "unknown" and right.type != "string":
                left = _settle(left, "list")
            if left.type == "list" or (isinstance(left, typed.Field) and left.type == "unknown"):
                return typed.WordOperator(operator, left, right, node.span)
        left, right = self.expect(left, "string", place), self.expect(right, "string", place)
        if operator == "matches" and not is_broken(right):
            self._check_pattern(right)
        return typed.WordOperator(operator, left, right, node.span)

    def _check_pattern(self, node: typed.Node) -> None:
        if not isinstance(node, typed.Constant):
            self.error("wrong-arguments", "the pattern of `matches` is written out, in quotes", node.span)
            return
        try:
            check_pattern(str(node.value))
        except PatternError as error:
            help_lines = ("patterns are written as for RE2: no look-around, no back-references",)
            self.error("bad-pattern", f"this is not a pattern: {error}", node.span, "", help_lines)

    # -- errors --------------------------------------------------------------------------------------------------

    def settled(self, node: typed.Node) -> None:
        """Reports every part of `node` whose type nothing fixes (`is_set` takes any), or that engines cannot hold."""
        match node:
            case typed.Call(function="is_set" | "number" | "text", arguments=(typed.Field(type="unknown"),)):
                return
            case typed.WordOperator(operator="contains", left=typed.Field(type="unknown"), right=right):
                self.settled(right)  # a text or a list: what was sent decides
                return
            case typed.AggregateValue(type="unknown"):
                hints = ("declare the property", 'or compare the value with a literal: `... == "pro"`')
                self.error(
                    "unknown-type", f"nothing says of which type `{node.aggregate.text}` is", node.span, "", hints
                )
            case typed.Field() if node.type != "unknown":
                warn_otherwise(self, node)
            case typed.Field(type="unknown"):
                what = _WORDS[node.root]
                self.error(
                    "unknown-type",
                    f"nothing says of which type the {what} `{'.'.join(node.steps)}` is",
                    node.span,
                    "type unknown",
                    (f"declare the {what}" if node.root != "context" else "compare it with a literal",),
                )
            case typed.Items():
                advice = ('ask whether a value is in a list: `profile.country in ["NO", "SE"]`',)
                self.error("wrong-type", "a list stands only on the right side of `in`", node.span, "", advice)
        for child in typed.children(node):
            self.settled(child)

    def _not_declared(self, node: typed.Node, place: str) -> typed.Node:
        """Refuses to read what was sent as a timestamp, which JSON does not have, where nobody says that it is one."""
        help_lines: tuple[str, ...] = ("declare it as a `timestamp`",)
        if isinstance(node, typed.Field):
            meant = f"say that it is a date: `date({print_node(field_syntax(node))})`"
            help_lines = (meant,) if node.root == "context" else (*help_lines, f"or {meant}")
        message = f"{place} takes a timestamp here"
        label = "a string, unless it is declared"
        self.found.append(
            Diagnostic("wrong-type", message, node.span, self.source, label, "timestamp", "unknown", help_lines)
        )
        return typed.Constant(None, "timestamp", node.span)

    def _wrong_type(self, node: typed.Node, wanted: Type, place: str) -> typed.Node:
        message = f"{place} takes {ARTICLE[wanted]} here"
        label = f"expected `{wanted}`, found `{node.type}`"
        help_lines: tuple[str, ...] = ()
        if wanted == "number" and isinstance(node, typed.Constant) and isinstance(node.value, str):
            help_lines = ("there is no implicit conversion: write the number without quotes",)
        elif wanted == "timestamp" and isinstance(node, typed.Constant | typed.Arithmetic):
            help_lines = ('an instant is written `date("2026-01-31")`; how long ago one was, `days_since(x) < 7`',)
        elif wanted == "boolean":
            help_lines = ('compare the value with something: `... >= 1`, `... == "pro"`',)
        self.found.append(
            Diagnostic("wrong-type", message, node.span, self.source, label, wanted, node.type, help_lines)
        )
        return typed.Constant(None, wanted, node.span)

    def warn(self, code: Code, message: str, span: Span, label: str = "", help_lines: tuple[str, ...] = ()) -> None:
        """Notes what may be a mistake."""
        self.found.append(Diagnostic(code, message, span, self.source, label, help=help_lines, severity="warning"))

    def error(
        self, code: Code, message: str, span: Span, label: str = "", help_lines: tuple[str, ...] = ()
    ) -> typed.Node:
        """Notes what is wrong; the broken part goes on as a missing constant."""
        self.found.append(Diagnostic(code, message, span, self.source, label, help=help_lines))
        return typed.Constant(None, "unknown", span)


_WORDS = {"attribute": "attribute", "property": "property", "context": "context value"}


def is_broken(node: typed.Node) -> bool:
    """Whether an error has been noted for `node`: what follows from it is not noted again."""
    return isinstance(node, typed.Constant) and node.value is None


def _settle(node: typed.Node, wanted: Type) -> typed.Node:
    """`node` with its open type fixed, through calls that pass a type along."""
    match node:
        case typed.Field(type="unknown"):
            return replace(node, type=wanted)
        case typed.AggregateValue(type="unknown"):
            return replace(node, type=wanted, aggregate=replace(node.aggregate, type=wanted))
        case typed.Call(type="unknown", function="if"):
            condition, *branches = node.arguments
            return replace(node, type=wanted, arguments=(condition, *(_settle(b, wanted) for b in branches)))
        case typed.Call(type="unknown"):
            return replace(node, type=wanted, arguments=tuple(_settle(a, wanted) for a in node.arguments))
    return node


def _of_type(items: Sequence[typed.Node], wanted: Type) -> tuple[typed.Node, ...]:
    return tuple(item for item in items if item.type == wanted)


def _reference(definition: Definition, span: Span) -> typed.Reference:
    return typed.Reference(definition.key, definition.kind, definition.type, span, definition.nullable)


def _call_nullable(function: Function, arguments: list[typed.Node]) -> bool:
    if function.total:
        return False
    if function.name == "coalesce":
        return all(argument.nullable for argument in arguments)
    if function.name == "if":
        return any(argument.nullable for argument in arguments[1:])
    if function.name in ("abs", "number", RANK):
        return True  # the smallest number has no counterpart, not every text is a number, a new profile has no rank
    return any(argument.nullable for argument in arguments)
