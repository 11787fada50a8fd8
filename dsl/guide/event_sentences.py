"""What would have to happen for an aggregate to be another: more events, other ones, or fewer, as sentences."""

from dataclasses import replace

from dsl import typed
from dsl.folds import EXACT
from dsl.guide.aims import Aim
from dsl.numbers import MICROS, write_number
from dsl.state import Value
from dsl.typed_text import text_of
from dsl.types import Type

MOMENTS = ("first_at", "last_at")
"""Aggregates that are the instant of an event."""

_LONGEST = 300
"""Characters of an expression that a sentence quotes."""
_SURELY_EXACT = 200
"""A `count_distinct` of at most that many is exact: of more than 256 no estimate is so far off."""
_ALONE = ("min", "max", "avg", "median", "percentile")
"""Aggregates whose value, where none is there yet, is that of the first event that comes."""


def happening(aggregate: typed.BaseAggregate, aim: Aim, value: Value, as_of_ms: int) -> str:  # one case per aggregate
    """What, happening before `as_of_ms`, makes an aggregate that is `value` now meet the aim; empty if that is unclear.

    "2 more `purchase` events within 30 days", "179.5 more of `amount` in `purchase` events".
    """
    if aim.operator in ("is_set", "not is_set"):
        return _of_presence(aggregate, aim)
    match aggregate.function:
        case "count" | "unique_days" if isinstance(value, int):
            return _of_steps(aggregate, aim, value // MICROS)
        case "count_distinct" if isinstance(value, int):
            return _of_distinct(aggregate, aim, value // MICROS)
        case "sum" if isinstance(value, int):
            return _of_sum(aggregate, aim, value)
        case "streak_days":
            return _of_streak(aggregate, aim)
        case "first_at" | "last_at":
            later = aim.operator in (">", ">=") and (aggregate.function == "last_at" or value is None)
            reachable = later and aim.met_by(as_of_ms - 1)
            return one_event(aggregate, "a", f"its instant is {aim.phrase()}") if reachable else ""
        case "unique_list" if isinstance(value, tuple):
            return _of_list(aggregate, aim) if len(value) < EXACT else ""
    return _of_value(aggregate, aim, value)


def one_event(aggregate: typed.BaseAggregate, which: str, *wheres: str, number: int = 1) -> str:
    """Words for an event, or so many, that an aggregate counts: its name, filter and window.

    "2 more `purchase` events where `amount > 20` within 30 days".

    Args:
        which: what stands before them: "a", "a new", "2 more".
        wheres: what holds of them besides the filter.
    """
    noun = "event" if number == 1 else "events"
    if aggregate.scope == "outside":
        return f"{'any' if which in ('a', 'a new') else which} {noun}"
    named = f"`{aggregate.event}` {noun}" if aggregate.scope == "named" else f"{noun} of any name"
    vowel = named.lstrip("`")[:1].lower() in "aeiou"
    return f"{'an' if which == 'a' and vowel else which} {named}{_where(aggregate, *wheres)}"


def quoted(node: typed.Node) -> str:
    """The text of a part in backticks, cut where it is long."""
    text = text_of(node)
    return f"`{text if len(text) <= _LONGEST else text[: _LONGEST - 1] + '…'}`"


def _of_steps(aggregate: typed.BaseAggregate, aim: Aim, count: int) -> str:
    """So many more or fewer events, or local dates with one."""
    target, on_dates = aim.nearest_whole(count), aggregate.function == "unique_days"
    days = aggregate.window.days if aggregate.window is not None else None
    if target is None or (on_dates and days is not None and target > days):
        return ""
    if target < count and aggregate.window is None:
        return ""  # what has happened in a whole life stays
    number, word = abs(target - count), "more" if target > count else "fewer"
    if on_dates:
        return f"{number} {word} local date{'' if number == 1 else 's'} with {one_event(aggregate, 'a')}"
    return one_event(aggregate, f"{number} {word}", number=number)


def _of_value(aggregate: typed.BaseAggregate, aim: Aim, value: Value) -> str:
    """One event whose property becomes the value."""
    if aggregate.function == "last":
        return _of_one(aggregate, aim, "a newer")
    if value is None:
        return _of_one(aggregate, aim, "a") if _is_of_the_first(aggregate) else ""
    beyond = {"max": (">", ">="), "min": ("<", "<=")}.get(aggregate.function, ())
    return _of_one(aggregate, aim, "a") if aim.operator in beyond else ""


def _of_presence(aggregate: typed.BaseAggregate, aim: Aim) -> str:
    if aim.operator == "not is_set":
        return ""
    return one_event(aggregate, "a") if aggregate.function in MOMENTS else _of_value(aggregate, aim, None)


def _where(aggregate: typed.BaseAggregate, *wheres: str) -> str:
    """The filter, further conditions, and the window."""
    asked = [*([] if aggregate.filter is None else [quoted(aggregate.filter)]), *wheres]
    return f"{' where ' if asked else ''}{' and '.join(asked)}{_within(aggregate)}"


def _within(aggregate: typed.BaseAggregate) -> str:
    window = aggregate.window
    if window is None:
        return ""
    if aggregate.function in ("unique_days", "streak_days"):
        return f" within {window.days} local date{'' if window.days == 1 else 's'}"
    unit = {"s": "second", "m": "minute", "h": "hour", "d": "day", "w": "week"}[window.unit]
    return f" within {window.count} {unit}{'' if window.count == 1 else 's'}"


def _of_one(aggregate: typed.BaseAggregate, aim: Aim, which: str) -> str:
    """One event whose property meets the aim; nothing where the filter has a say in that property too."""
    phrase = aim.phrase()
    if aggregate.argument is None or not phrase or _filters_argument(aggregate):
        return ""
    return one_event(aggregate, which, f"`{text_of(aggregate.argument)}` is {phrase}")


def _of_list(aggregate: typed.BaseAggregate, aim: Aim) -> str:
    """One event with the value that a list of all values lacks."""
    argument, (bound,) = aggregate.argument, aim.bounds
    of: Type = "boolean" if isinstance(bound, bool) else "number" if isinstance(bound, int) else "string"
    fits = aim.operator == "contains" and argument is not None and argument.type in ("unknown", of)
    return _of_one(aggregate, Aim("in", (bound,), of), "a") if fits else ""


def _of_sum(aggregate: typed.BaseAggregate, aim: Aim, value: int) -> str:
    distance = aim.distance(value)
    if aggregate.argument is None or distance is None or _filters_argument(aggregate):
        return ""
    over = "over " if aim.operator in ("<", ">") else ""
    word = "less" if distance < 0 or aim.operator == "<" else "more"
    events = "events of any name" if aggregate.scope != "named" else f"`{aggregate.event}` events"
    amount = f"{over}{write_number(abs(distance))} {word} of `{text_of(aggregate.argument)}`"
    return f"{amount} in {events}{_where(aggregate)}"


def _of_distinct(aggregate: typed.BaseAggregate, aim: Aim, count: int) -> str:
    target = aim.nearest_whole(count)
    if aggregate.argument is None or target is None or _filters_argument(aggregate):
        return ""
    if target < count or target > EXACT or count > _SURELY_EXACT:
        return ""
    events = "events of any name" if aggregate.scope != "named" else f"`{aggregate.event}` events"
    number = target - count
    values = f"value{'' if number == 1 else 's'} of `{text_of(aggregate.argument)}`"
    return f"{number} more different {values} in {events}{_where(aggregate)}"


def _of_streak(aggregate: typed.BaseAggregate, aim: Aim) -> str:
    days = aggregate.window.days if aggregate.window is not None else None
    target = aim.nearest_whole(0) if aim.operator in (">", ">=") else None
    if not target or (days is not None and target > days):
        return ""
    dates = "on today's local date" if target == 1 else f"on each of {target} local dates in a row up to today"
    plain = replace(aggregate, window=None)
    return f"{one_event(plain, 'a')} {dates}"


def _is_of_the_first(aggregate: typed.BaseAggregate) -> bool:
    """Whether the value, where none is there yet, will be that of the first event that comes with the property."""
    if aggregate.function in _ALONE:
        return True
    # The first of all values may be of another type than the one that is asked for, and so count as missing.
    settled = aggregate.argument is not None and aggregate.argument.type != "unknown"
    return settled and aggregate.function in ("first", "most_frequent")


def _filters_argument(aggregate: typed.BaseAggregate) -> bool:
    """Whether the filter reads the property that is aggregated."""
    waiting = [] if aggregate.filter is None or aggregate.argument is None else [aggregate.filter]
    while waiting:
        part = waiting.pop()
        if isinstance(part, typed.Field) and aggregate.argument is not None:
            shorter = min(len(part.steps), len(aggregate.argument.steps))
            if part.root == "property" and part.steps[:shorter] == aggregate.argument.steps[:shorter]:
                return True
        waiting += typed.children(part)
    return False
