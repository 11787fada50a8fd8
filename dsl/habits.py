"""What people write who come from SQL, Segment or elsewhere, and what is written here instead."""

from typing import Final

from dsl.aggregates import AGGREGATES

OPERATORS: Final = {
    "is": "whether a value is missing is asked with `is_set(x)` and `!is_set(x)`",
    "like": 'write `x contains "…"`, `x starts_with "…"`, `x ends_with "…"`, or `x matches "…"` with a pattern',
    "ilike": 'write `lower(x) contains "…"`, or `x matches "…"` with a pattern',
    "between": "write both ends: `x >= 10 && x <= 20`",
}
"""Help by a word, in lower case, that somebody takes for an operator."""
_MISSING = "there is no `{name}`: whether a value is missing is asked with `is_set(x)` and `!is_set(x)`"
_ROOTS: Final = ("user", "users", "traits", "attributes", "attribute", "customer", "person", "person_properties")


def name_help(name: str) -> str:
    """For a bare name that nothing has, nor anything like it."""
    if name.lower() in ("null", "none", "nil", "undefined", "missing"):
        return _MISSING.format(name=name)
    return f'if a text is meant, it stands in quotes: `"{name}"`'


def root_help(root: str, rest: str) -> str | None:
    """For a path that begins with what is none: `user.plan`, `trait.total_spent`."""
    if root.lower() in ("trait", "segment"):
        return f'write `{rest}`, or `{root.lower()}("{rest}")`'
    if root.lower() in _ROOTS:
        return f"the attributes of a profile are written `profile.{rest}`"
    return None


def function_help(function: str) -> str | None:
    """For a call of what is an aggregate."""
    name = {"average": "avg", "mean": "avg", "countif": "count"}.get(function.lower(), function.lower())
    if name not in AGGREGATES:
        return None
    argument = "(amount)" if AGGREGATES[name].argument else ""
    return f"an aggregate stands behind its event: `events.purchase.{name}{argument}`"


def window_help(window: str) -> str:
    """For what is no window: the one that was probably meant."""
    digits = window[: len(window) - len(window.lstrip("0123456789"))]
    units = window[len(digits) :].lower().strip("_ ")
    if not digits.strip("0"):
        return "write a number and a unit: `90s`, `30m`, `36h`, `7d`, `2w`"
    if not units:
        return f"it lacks its unit: `{digits}d` are days, `{digits}h` hours, `{digits}m` minutes"
    meant = {"s": "s", "mi": "m", "m": "m", "h": "h", "d": "d", "w": "w"}
    unit = meant.get(units[:2]) or meant.get(units[:1])
    if unit and not units.startswith("mo"):
        return f"write `{digits}{unit}`"
    if units.startswith("mo"):
        return f"months differ in length: write days, `{30 * int(digits[:6])}d`"
    return "write a number and a unit: `90s`, `30m`, `36h`, `7d`, `2w`"
