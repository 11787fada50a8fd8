"""What functions give for values: strings, numbers, shares. None is missing."""

import re
from collections.abc import Callable
from hashlib import md5

from dsl.clock import format_instant
from dsl.numbers import MICROS, bounded, divide_half_away, read_number, write_number
from dsl.state import Value
from dsl.types import Type

_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}
_UPPER = {lower: upper for upper, lower in _LOWER.items()}
_DECIMAL_TEXT = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
BUCKET_BITS = 60


def to_text(value: Value, value_type: Type) -> Value:
    """Canonical text; of a list there is none.

    >>> to_text(2_500_000, "number"), to_text(True, "boolean"), to_text(0, "timestamp")
    ('2.5', 'true', '1970-01-01T00:00:00.000Z')
    """
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return format_instant(value) if value_type == "timestamp" else write_number(value)
        case str():
            return value
    return None


def to_number(value: Value, value_type: Type) -> Value:
    """A number as it is, decimal text as a number, a timestamp in milliseconds; else missing.

    >>> to_number("2.50", "string"), to_number(" 1", "string"), to_number(1500, "timestamp"), to_number(True, "boolean")
    (2500000, None, 1500000000, None)
    """
    match value:
        case bool():
            return None
        case int():
            return bounded(value * MICROS) if value_type == "timestamp" else value
        case str() if _DECIMAL_TEXT.fullmatch(value):
            return read_number(value)
    return None


def round_to(number: int, decimals_micros: int) -> int | None:
    """A number with at most so many decimals, halves away from zero.

    >>> round_to(2_345_000, 2 * MICROS), round_to(-2_500_000, 0)
    (2350000, -3000000)
    """
    unit: int = 10 ** (6 - decimals_micros // MICROS)
    return bounded(divide_half_away(number, unit) * unit)


def bucket_share(salt: str, profile_id: str) -> int:
    """The share of a profile under a salt: micro-units from 0 to 999,999.

    >>> bucket_share("spring", "p1")
    875975
    """
    digest = md5(f"{salt}.{profile_id}".encode(), usedforsecurity=False).hexdigest()
    return int(digest[: BUCKET_BITS // 4], 16) * MICROS >> BUCKET_BITS


STRICT: dict[str, Callable[..., Value]] = {
    "abs": lambda number: bounded(abs(number)),
    "min": min,
    "max": max,
    "lower": lambda text: text.translate(_LOWER),
    "upper": lambda text: text.translate(_UPPER),
    "length": lambda text: len(text) * MICROS,
    "round": round_to,
}
"""Functions that are missing when an argument is, and look at nothing else."""
