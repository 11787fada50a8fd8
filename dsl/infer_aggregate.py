"""Types one aggregate: its event, filter, window and arguments."""

from dataclasses import replace
from typing import TYPE_CHECKING

from dsl import syntax, typed
from dsl.aggregates import AGES, AGGREGATES, AggregateFunction
from dsl.habits import window_help
from dsl.nearest import nearest_help
from dsl.numbers import MICROS
from dsl.printer import print_node
from dsl.schemas import NAMED_BY_KIND, DeclaredEvent
from dsl.types import Type
from dsl.unseen import warn_otherwise, warn_unseen_event
from dsl.windows import Window, read_window

if TYPE_CHECKING:
    from dsl.infer import Inference


def infer_aggregate(inference: "Inference", node: syntax.Aggregate) -> typed.Node:
    """The typed form of an aggregate, or of the age of an instant (`days_since_last`)."""
    if inference.place == "filter":
        text = "a filter looks at one event: it cannot hold aggregates"
        return inference.error("not-allowed-here", text, node.span, "not in a filter")
    schema = _event_schema(inference, node)
    condition = _filter(inference, node, schema)
    age = AGES.get(node.function)
    name = age.instant if age else node.function
    function = AGGREGATES.get(name)
    if function is None:
        help_lines = nearest_help(node.function, [*AGGREGATES, *AGES], "aggregate")
        message = f"no aggregate is named `{node.function}`"
        return inference.error("unknown-aggregate", message, node.function_span, "", help_lines)
    window = _window(inference, node, function)
    argument = _argument(inference, node, function, schema)
    if function.argument and argument is None:
        return typed.Constant(None, "unknown", node.span)
    returns: Type = function.returns
    if returns == "unknown" and argument is not None:
        returns = argument.type
    base = typed.BaseAggregate(
        scope="tracked" if node.event is None else "named",
        event=node.event or "",
        filter=condition,
        function=name,
        window=window,
        argument=argument,
        type=returns,
        text=print_node(replace(node, function=name)),
        quantile_micros=_quantile(inference, node, function),
    )
    nullable = function.of_nothing is None or not function.whole
    value = typed.AggregateValue(base, returns, node.span, nullable)
    return typed.Age(value, age.unit_ms, print_node(node), node.span) if age else value


def _event_schema(inference: "Inference", node: syntax.Aggregate) -> DeclaredEvent | None:
    if node.event is None:
        return None
    known = inference.names.events
    if known and node.event not in known and node.event not in NAMED_BY_KIND:
        message = f"no event is named `{node.event}`"
        help_lines = nearest_help(node.event, known, "event", "events.")
        inference.error("unknown-name", message, node.event_span, "not declared", help_lines)
    warn_unseen_event(inference, node.event, node.event_span)
    return known.get(node.event)


def _filter(inference: "Inference", node: syntax.Aggregate, schema: DeclaredEvent | None) -> typed.Node | None:
    if node.filter is None:
        return None
    inner = inference.inside(schema, node.event)
    result = inner.truth(node.filter, "a filter")
    inner.settled(result)
    return result


def _window(inference: "Inference", node: syntax.Aggregate, function: AggregateFunction) -> Window | None:
    if node.window is None or node.window_span is None:
        if function.longest_ms is not None:
            message = f"`{function.name}` needs a window"
            help_lines = (f"write how far back it looks: `{function.name}_30m`",)
            inference.error("bad-window", message, node.function_span, "", help_lines)
        return None
    window = read_window(node.window)
    if window is None:
        help_lines = (window_help(node.window),)
        inference.error("bad-window", f"`{node.window}` is not a window", node.window_span, "", help_lines)
    elif function.window == "calendar" and window.days is None:
        help_lines = ("write whole days or weeks: `14d`, `2w`",)
        message = f"`{function.name}` counts calendar days, so its window cannot be `{node.window}`"
        inference.error("bad-window", message, node.window_span, "", help_lines)
    elif function.longest_ms is not None and window.width_ms > function.longest_ms:
        message = f"the window of `{function.name}` may be 24 hours long, `{node.window}` is longer"
        inference.error("bad-window", message, node.window_span)
    return window


def _argument(
    inference: "Inference", node: syntax.Aggregate, function: AggregateFunction, schema: DeclaredEvent | None
) -> typed.Field | None:
    given = node.arguments or ()
    wanted = 0 if not function.argument else 2 if function.quantile else 1
    if len(given) != wanted or (wanted == 0 and node.arguments is not None):
        takes = "(property, q)" if function.quantile else "(property)"
        shown = f"`{function.name}{takes}`" if wanted else f"`{node.function}` without parentheses"
        inference.error("wrong-arguments", f"expected {shown}", node.span, f"{len(given)} given")
        return None
    if not function.argument:
        return None
    inner = inference.inside(schema, node.event)
    value = inner.infer(given[0])
    if not isinstance(value, typed.Field) or value.root != "property":
        if not (isinstance(value, typed.Constant) and value.value is None):
            inference.error("wrong-arguments", f"`{function.name}` takes a property", value.span, "not a property")
        return None
    fits = value.type in function.argument
    several = [f"`{each}`" for each in function.argument if each != "unknown"]
    if not fits and value.type != "unknown" and len(several) > 1:
        message = f"`{function.name}` takes {', '.join(several[:-1])} or {several[-1]}"
        inner.error("wrong-type", message, value.span, f"found `{value.type}`")
        return None
    settled = value if fits else inner.expect(value, _wanted(function.argument), f"`{function.name}`")
    if not isinstance(settled, typed.Field):
        return None
    warn_otherwise(inner, settled)
    return settled


def _wanted(takes: tuple[Type, ...]) -> Type:
    """The type that a message names, and that an open one becomes."""
    return next(value_type for value_type in takes if value_type != "unknown")


def _quantile(inference: "Inference", node: syntax.Aggregate, function: AggregateFunction) -> int:
    """The rank that is asked for, 0 to 1,000,000."""
    if not function.quantile or len(node.arguments or ()) != 2:
        return MICROS // 2
    literal = (node.arguments or ())[1]
    if isinstance(literal, syntax.Number) and 0 <= literal.micros <= MICROS:
        return literal.micros
    message = "the rank of `percentile` is a number from 0 to 1, written out"
    inference.error(
        "wrong-arguments", message, literal.span, "", ("the 95th percentile is `percentile(amount, 0.95)`",)
    )
    return MICROS // 2
