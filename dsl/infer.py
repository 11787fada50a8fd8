"""Syntax to typed tree: looks up every name and settles every type of one expression, collecting what is wrong."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from dsl import syntax, typed
from dsl.aggregates import AGES, AGGREGATES, SEEN_AGES, AggregateFunction
from dsl.catalog import EventSchema
from dsl.diagnostics import Code, Diagnostic
from dsl.functions import FUNCTIONS, REFERENCES, Function
from dsl.nearest import nearest
from dsl.printer import print_node
from dsl.source import Source, Span
from dsl.types import ARTICLE, Type
from dsl.windows import Window, read_window

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

    events: Mapping[str, EventSchema]
    attributes: Mapping[str, Type]
    definitions: Mapping[str, Definition]


@dataclass(slots=True)
class Inference:
    """Types one expression. `found` collects diagnostics; after an error the broken part is a missing constant."""

    source: Source
    names: Names
    place: Place = "value"
    event: EventSchema | None = None
    found: list[Diagnostic] = field(default_factory=list)

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
                return self._aggregate(node)
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
        if node.type == wanted or _is_broken(node):
            return node
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
        help_lines = _nearest_help(node.name, candidates, "name")
        if node.name in self.names.attributes:
            help_lines = (f"the attribute of that name is `profile.{node.name}`",)
        return self._error(
            "unknown-name", f"no trait or segment is named `{node.name}`", node.span, "not defined", help_lines
        )

    def _path(self, node: syntax.Path) -> typed.Node:
        root = node.steps[0]
        if root == "profile" and self.place != "filter":
            return self._attribute(node)
        if root == "context":
            if self.place == "value":
                text = "`context.` is what a request brought along, so only flags may read it"
                return self._error("not-allowed-here", text, node.span, "not in a trait or segment")
            return typed.Field("context", node.steps[1:], "unknown", node.span)
        if self.place == "filter" and root != "profile":
            cut = 1 if root == "properties" else 0
            return self._property(node.steps[cut:], node.step_spans[cut:], node.span)
        if self.place == "filter":
            text = "a filter looks at one event: it cannot read `profile.`"
            return self._error("not-allowed-here", text, node.span, "not in a filter")
        roots = ["profile", "context", "events"]
        return self._error(
            "unknown-name",
            f"nothing is named `{root}`",
            node.step_spans[0],
            "expected `profile`, `context` or `events`",
            _nearest_help(root, roots, "root"),
        )

    def _attribute(self, node: syntax.Path) -> typed.Node:
        steps = node.steps[1:]
        if len(steps) > 1:
            return self._nested(node.span)
        name = steps[0]
        declared = self.names.attributes.get(name)
        if declared is None and self.names.attributes:
            return self._error(
                "unknown-name",
                f"`profile` has no attribute `{name}`",
                node.step_spans[1],
                "not declared",
                _nearest_help(name, self.names.attributes, "attribute", "profile.", self.names.attributes.get),
            )
        return typed.Field("attribute", steps, declared or "unknown", node.span)

    def _property(self, steps: tuple[str, ...], spans: tuple[Span, ...], span: Span) -> typed.Node:
        if len(steps) > 1:
            return self._nested(span)
        declared = self.event.properties if self.event else {}
        if declared and steps[0] not in declared:
            event = self.event.name if self.event else ""
            return self._error(
                "unknown-name",
                f"event `{event}` has no property `{steps[0]}`",
                spans[0],
                "not declared",
                _nearest_help(steps[0], declared, "property", type_of=declared.get),
            )
        return typed.Field("property", steps, declared.get(steps[0], "unknown"), span)

    def _nested(self, span: Span) -> typed.Node:
        return self._error("not-allowed-here", "a path may have one step below its root", span, "nested too deep")

    # -- aggregates ----------------------------------------------------------------------------------------------

    def _aggregate(self, node: syntax.Aggregate) -> typed.Node:
        if self.place == "filter":
            text = "a filter looks at one event: it cannot hold aggregates"
            return self._error("not-allowed-here", text, node.span, "not in a filter")
        schema = self._event_schema(node)
        filter_node = self._filter(node, schema)
        age = AGES.get(node.function)
        name = age.instant if age else node.function
        function = AGGREGATES.get(name)
        if function is None:
            help_lines = _nearest_help(node.function, [*AGGREGATES, *AGES], "aggregate")
            message = f"no aggregate is named `{node.function}`"
            return self._error("unknown-aggregate", message, node.function_span, "", help_lines)
        window = self._window(node, function)
        argument = self._argument(node, function, schema)
        text = print_node(replace(node, function=name))
        scope: typed.Scope = "tracked" if node.event is None else "named"
        base = typed.BaseAggregate(scope, node.event or "", filter_node, name, window, argument, function.returns, text)
        nullable = function.of_nothing is None or not function.whole
        value = typed.AggregateValue(base, function.returns, node.span, nullable)
        return typed.Age(value, age.unit_ms, print_node(node), node.span) if age else value

    def _event_schema(self, node: syntax.Aggregate) -> EventSchema | None:
        if node.event is None:
            return None
        known = self.names.events
        if known and node.event not in known:
            message = f"no event is named `{node.event}`"
            help_lines = _nearest_help(node.event, known, "event", "events.")
            self._error("unknown-name", message, node.event_span, "not declared", help_lines)
        return known.get(node.event)

    def _filter(self, node: syntax.Aggregate, schema: EventSchema | None) -> typed.Node | None:
        if node.filter is None:
            return None
        inner = Inference(self.source, self.names, "filter", schema, self.found)
        result = inner.truth(node.filter, "a filter")
        inner.settled(result)
        return result

    def _window(self, node: syntax.Aggregate, function: AggregateFunction) -> Window | None:
        if node.window is None or node.window_span is None:
            return None
        window = read_window(node.window)
        if window is None:
            help_lines = ("write a number and a unit: `90s`, `30m`, `36h`, `7d`, `2w`",)
            self._error("bad-window", f"`{node.window}` is not a window", node.window_span, "", help_lines)
        elif function.window == "calendar" and window.days is None:
            help_lines = ("write whole days or weeks: `14d`, `2w`",)
            message = f"`{function.name}` counts calendar days, so its window cannot be `{node.window}`"
            self._error("bad-window", message, node.window_span, "", help_lines)
        return window

    def _argument(
        self, node: syntax.Aggregate, function: AggregateFunction, schema: EventSchema | None
    ) -> typed.Field | None:
        given = node.arguments or ()
        wanted = 0 if function.argument is None else 1
        if len(given) != wanted or (wanted == 0 and node.arguments is not None):
            shown = f"{function.name}(property)" if wanted else f"{function.name}` without parentheses; found `()"
            message = f"expected `{shown}`" if wanted else f"expected `{function.name}` without parentheses"
            self._error("wrong-arguments", message, node.span, f"{len(given)} given")
            return None
        if function.argument is None:
            return None
        inner = Inference(self.source, self.names, "filter", schema, self.found)
        value = inner.infer(given[0])
        if not isinstance(value, typed.Field) or value.root != "property":
            if not _is_broken(value):
                self._error("wrong-arguments", f"`{function.name}` takes a property", value.span, "not a property")
            return None
        settled = inner.expect(value, function.argument, f"`{function.name}`")
        return settled if isinstance(settled, typed.Field) else None

    # -- calls and operators -------------------------------------------------------------------------------------

    def _call(self, node: syntax.Call) -> typed.Node:
        if self.place == "filter" and node.function in (*REFERENCES, "now", "days_since"):
            text = f"a filter looks at one event: it cannot call `{node.function}`"
            return self._error("not-allowed-here", text, node.function_span, "not in a filter")
        if node.function in REFERENCES:
            return self._reference_call(node)
        function = FUNCTIONS.get(node.function)
        if function is None:
            help_lines = _nearest_help(node.function, [*FUNCTIONS, *REFERENCES], "function")
            message = f"no function is named `{node.function}`"
            return self._error("unknown-function", message, node.function_span, "", help_lines)
        least = len(function.parameters)
        if len(node.arguments) < least or (len(node.arguments) > least and not function.variadic):
            message = f"expected `{function.signature}`"
            return self._error("wrong-arguments", message, node.span, f"{len(node.arguments)} given")
        return self._known_call(node, function)

    def _known_call(self, node: syntax.Call, function: Function) -> typed.Node:
        if function.name == "now":
            return typed.Now(node.span)
        wanted = [function.parameters[min(i, len(function.parameters) - 1)] for i in range(len(node.arguments))]
        arguments = [self.infer(argument) for argument in node.arguments]
        free = [arguments[i] for i, parameter in enumerate(wanted) if parameter == "unknown"]
        common: Type = next((a.type for a in free if a.type != "unknown"), "unknown")
        for i, parameter in enumerate(wanted):
            target: Type = common if parameter == "unknown" else parameter
            if target != "unknown":
                arguments[i] = self.expect(arguments[i], target, f"`{function.name}`")
        if function.name == "days_since":
            return typed.Age(arguments[0], 86_400_000, print_node(node), node.span)
        result: Type = common if function.returns == "unknown" else function.returns
        return typed.Call(function.name, tuple(arguments), result, node.span, _call_nullable(function, arguments))

    def _reference_call(self, node: syntax.Call) -> typed.Node:
        if len(node.arguments) != 1 or not isinstance(node.arguments[0], syntax.String):
            message = f'expected `{node.function}("key")`'
            return self._error("wrong-arguments", message, node.span, "takes one string literal")
        key = node.arguments[0].value
        definition = self.names.definitions.get(key)
        if definition is not None and definition.kind == node.function:
            return _reference(definition, node.span)
        keys = [d.key for d in self.names.definitions.values() if d.kind == node.function]
        help_lines = _nearest_help(key, keys, node.function)
        if definition is not None:
            help_lines = (f'`{key}` is a {definition.kind}: write `{definition.kind}("{key}")`',)
        return self._error(
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
        message = f"`{node.operator}` is not available yet"
        return self._error("not-allowed-here", message, node.operator_span, "")

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
        if left.type == "unknown" and not _is_broken(left):
            left = self.expect(left, right.type, place)
        right = self.expect(right, left.type, place) if left.type != "unknown" else right
        if left.type == "boolean" and node.operator not in ("==", "!=") and not _is_broken(left):
            help_lines = ("booleans have no order: compare them with `==` or `!=`",)
            return self._error("wrong-type", f"{place} does not apply to booleans", node.operator_span, "", help_lines)
        if left.type == "list":
            help_lines = ("ask whether a value is in a list with `in`",)
            return self._error("wrong-type", f"{place} does not apply to lists", node.operator_span, "", help_lines)
        return typed.Compare(node.operator, left, right, node.span)

    def _within(self, node: syntax.Binary) -> typed.Node:
        value, right = self.infer(node.left), self.infer(node.right)
        if not isinstance(right, typed.Items):
            if not _is_broken(right):
                self._error(
                    "wrong-type",
                    "the right side of `in` is a list",
                    right.span,
                    f"expected a list, found {ARTICLE[right.type]}",
                    ('write the values in brackets: `in ["NO", "SE"]`',),
                )
            return typed.Constant(None, "boolean", node.span)
        types = list(dict.fromkeys(item.type for item in right.items if item.type != "unknown"))
        if value.type == "unknown" and not _is_broken(value) and len(types) == 1:
            value = _settle(value, types[0])
        items = tuple(_settle(i, value.type) if i.type == "unknown" else i for i in right.items)
        kept = tuple(item for item in items if item.type == value.type)
        return typed.Within(value, kept, node.span)

    # -- errors --------------------------------------------------------------------------------------------------

    def settled(self, node: typed.Node) -> None:
        """Reports every part of `node` whose type nothing fixes (`is_set` takes any)."""
        if isinstance(node, typed.Field) and node.type == "unknown":
            what = {"attribute": "attribute", "property": "property", "context": "context value"}[node.root]
            self._error(
                "unknown-type",
                f"nothing says of which type the {what} `{'.'.join(node.steps)}` is",
                node.span,
                "type unknown",
                (f"declare the {what}" if what != "context value" else "compare it with a literal",),
            )
        if isinstance(node, typed.Call) and node.function == "is_set":
            return
        for child in typed.children(node):
            self.settled(child)

    def _wrong_type(self, node: typed.Node, wanted: Type, place: str) -> typed.Node:
        message = f"{place} takes {ARTICLE[wanted]} here"
        label = f"expected `{wanted}`, found `{node.type}`"
        help_lines: tuple[str, ...] = ()
        if wanted == "number" and isinstance(node, typed.Constant) and isinstance(node.value, str):
            help_lines = ("there is no implicit conversion: write the number without quotes",)
        elif wanted == "boolean":
            help_lines = ('compare the value with something: `... >= 1`, `... == "pro"`',)
        self.found.append(
            Diagnostic("wrong-type", message, node.span, self.source, label, wanted, node.type, help_lines)
        )
        return typed.Constant(None, wanted, node.span)

    def _error(
        self, code: Code, message: str, span: Span, label: str = "", help_lines: tuple[str, ...] = ()
    ) -> typed.Node:
        self.found.append(Diagnostic(code, message, span, self.source, label, help=help_lines))
        return typed.Constant(None, "unknown", span)


def _is_broken(node: typed.Node) -> bool:
    return isinstance(node, typed.Constant) and node.value is None


def _settle(node: typed.Node, wanted: Type) -> typed.Node:
    """`node` with its open type fixed, through calls that pass a type along."""
    match node:
        case typed.Field(type="unknown"):
            return replace(node, type=wanted)
        case typed.Call(type="unknown", function="if"):
            condition, *branches = node.arguments
            return replace(node, type=wanted, arguments=(condition, *(_settle(b, wanted) for b in branches)))
        case typed.Call(type="unknown"):
            return replace(node, type=wanted, arguments=tuple(_settle(a, wanted) for a in node.arguments))
    return node


def _reference(definition: Definition, span: Span) -> typed.Reference:
    return typed.Reference(definition.key, definition.kind, definition.type, span, definition.nullable)


def _call_nullable(function: Function, arguments: list[typed.Node]) -> bool:
    if function.total:
        return False
    if function.name == "coalesce":
        return all(argument.nullable for argument in arguments)
    if function.name == "if":
        return any(argument.nullable for argument in arguments[1:])
    return any(argument.nullable for argument in arguments)


def _nearest_help(
    name: str,
    candidates: "Mapping[str, object] | list[str]",
    what: str,
    prefix: str = "",
    type_of: Callable[[str], object] | None = None,
) -> tuple[str, ...]:
    """The help line that names the nearest candidate, with its type where that is known; empty when none is near."""
    best = nearest(name, list(candidates))
    if best is None:
        return ()
    known = type_of(best) if type_of else None
    return (f"the nearest {what} is `{prefix}{best}`" + (f" ({known})" if known else ""),)
