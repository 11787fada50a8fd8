"""Section 3, "Values" and "Truth is two-valued": what a value is, how it is read, computed with and compared.

A value is one of `Number`, `Timestamp`, `str`, `bool`, `tuple` (a list) or `None` (missing). Two values of different
types are never equal, which Python's own `==` already says of these classes.
"""

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import TypeAlias
from zoneinfo import ZoneInfo

from tests.oracle.windows import DAY, HOUR, MINUTE, SECOND, start_of_date

MICRO = 1_000_000
LARGEST = 2**63 - 1
SMALLEST = -(2**63)
DECIMAL_TEXT = re.compile(r"(-?)([0-9]+)(?:\.([0-9]+))?(?:[eE]([+-]?)([0-9]+))?")
SURROGATE = re.compile(r"[\ud800-\udfff]")
MOMENT = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
    r"(?P<time>[T ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]+))?)?(Z|[+-][0-9]{2}(?::?[0-9]{2})?)?)?"
)


class NumberText(str):
    """The decimal text of a JSON number, so that it never passes through a double."""

    __slots__ = ()


@dataclass(frozen=True)
class Number:
    """Values: a signed 64-bit count of micro-units."""

    micro: int


@dataclass(frozen=True)
class Timestamp:
    """Values: integer milliseconds since 1970-01-01 UTC."""

    ms: int


Value: TypeAlias = Number | Timestamp | str | bool | tuple["Value", ...] | None


# --- numbers ---------------------------------------------------------------------------------------------------------


def fit(micro: int) -> Number | None:
    """Values: out of the range of 64 bits is missing."""
    return Number(micro) if SMALLEST <= micro <= LARGEST else None


def whole(units: int) -> Number | None:
    """A count of whole units (events, days, minutes) as a number."""
    return fit(units * MICRO)


def divide(dividend: int, divisor: int) -> int:
    """Values: an integer quotient, rounded half away from zero; the divisor is not 0."""
    size = (2 * abs(dividend) + abs(divisor)) // (2 * abs(divisor))
    return size if (dividend < 0) == (divisor < 0) else -size


def read_number(text: str) -> Number | None:
    """Values: read from the decimal text, rounded half away from zero to six places; no number or too large: missing.

    Digits are counted before any is converted, so that an exponent of a million costs nothing.
    """
    found = DECIMAL_TEXT.fullmatch(text)
    if not found:
        return None
    minus, units, fraction, exponent_sign, exponent_digits = found.groups(default="")
    digits = (units + fraction).lstrip("0")
    if not digits:
        return Number(0)
    exponent_digits = exponent_digits.lstrip("0")
    exponent = 10**18 if len(exponent_digits) > 18 else int(exponent_digits or "0")
    if exponent_sign == "-":
        exponent = -exponent
    point = len(digits) - len(fraction) + exponent  # the value is 0.<digits> * 10**point
    if point > 13:
        return None
    if point < -6:
        return Number(0)
    kept = point + 6  # so many leading digits are micro-units; the first one left out decides the rounding
    padded = digits + "0" * (kept + 1)
    micro = int(padded[:kept] or "0") + (1 if padded[kept] >= "5" else 0)
    return fit(-micro if minus else micro)


def plus(left: Number, right: Number) -> Number | None:
    """Values: `+`; overflow is missing."""
    return fit(left.micro + right.micro)


def minus(left: Number, right: Number) -> Number | None:
    """Values: `-`; overflow is missing."""
    return fit(left.micro - right.micro)


def times(left: Number, right: Number) -> Number | None:
    """Values: `*`, rounded half away from zero to six places."""
    return fit(divide(left.micro * right.micro, MICRO))


def over(left: Number, right: Number) -> Number | None:
    """Values: `/`, rounded half away from zero to six places; `/0` is missing."""
    return None if right.micro == 0 else fit(divide(left.micro * MICRO, right.micro))


def remainder(left: Number, right: Number) -> Number | None:
    """Values: `%` takes the dividend's sign; `%0` is missing."""
    if right.micro == 0:
        return None
    size = abs(left.micro) % abs(right.micro)
    return Number(-size if left.micro < 0 else size)


def round_to(number: Number, places: Number) -> Number | None:
    """Values: `round(x, n)`, half away from zero; an n that is not one of 0..6 is missing."""
    if places.micro not in range(0, 7 * MICRO, MICRO):
        return None
    step = 10 ** (6 - places.micro // MICRO)
    return fit(divide(number.micro, step) * step)


# --- JSON ------------------------------------------------------------------------------------------------------------


def clean(text: str) -> str:
    """Strings: a lone surrogate becomes U+FFFD."""
    return SURROGATE.sub("\ufffd", text)


def _refuse(constant: str) -> object:
    raise ValueError(f"{constant} is refused")


def load_json(text: str) -> object:
    """JSON with its numbers kept as their text; NaN and infinity are refused."""
    return json.loads(text, parse_float=NumberText, parse_int=NumberText, parse_constant=_refuse)


def from_json(found: object) -> Value:
    """A JSON value as a value: null, an object and a number out of range are missing.

    Inside a list they are left out, and so is another list: the language has none in lists.
    Python's `int` and `Decimal` are taken too; a `float` is a mistake of the caller.
    """
    if isinstance(found, NumberText):
        return read_number(found)
    if isinstance(found, str):
        return clean(found)
    if isinstance(found, bool):
        return found
    if isinstance(found, int | Decimal):
        return read_number(str(found))
    if isinstance(found, list | tuple):
        values = map(from_json, found)
        return tuple(value for value in values if value is not None and not isinstance(value, tuple))
    if found is None or isinstance(found, dict):
        return None
    raise TypeError(f"no JSON value with numbers kept as text: {found!r}")


# --- text ------------------------------------------------------------------------------------------------------------


def number_text(number: Number) -> str:
    """The shortest decimal text: no exponent, no trailing zeros, no plus, `0` for zero."""
    units, rest = divmod(abs(number.micro), MICRO)
    fraction = f"{rest:06d}".rstrip("0")
    return ("-" if number.micro < 0 else "") + str(units) + ("." + fraction if fraction else "")


def tagged(value: Value) -> tuple[str, str] | None:
    """`count_distinct`: canonical text and type tag of a number, string or boolean; the others have none."""
    if isinstance(value, Number):
        return number_text(value), "n:"
    if isinstance(value, bool):
        return ("true" if value else "false"), "b:"
    if isinstance(value, str):
        return value, "s:"
    return None


def md5_prefix(value: Value) -> int:
    """`count_distinct`: the first 64 bits of the md5 of type tag + canonical text, in UTF-8."""
    text_and_tag = tagged(value)
    if text_and_tag is None:
        raise TypeError(f"no canonical text: {value!r}")
    text, tag = text_and_tag
    return int(hashlib.md5((tag + text).encode(), usedforsecurity=False).hexdigest()[:16], 16)


def lower(text: str) -> str:
    """Strings: A-Z only."""
    return "".join(chr(ord(c) + 32) if "A" <= c <= "Z" else c for c in text)


def upper(text: str) -> str:
    """Strings: a-z only."""
    return "".join(chr(ord(c) - 32) if "a" <= c <= "z" else c for c in text)


# --- timestamps ------------------------------------------------------------------------------------------------------


def days_since_epoch(day: date) -> int:
    """The days from 1970-01-01 to a date."""
    return day.toordinal() - date(1970, 1, 1).toordinal()


def read_timestamp(text: str, zone: ZoneInfo) -> Timestamp | None:
    """Timestamps: a date alone starts in the project's zone; no zone is UTC; floored to ms; else missing."""
    found = MOMENT.fullmatch(text)
    if not found:
        return None
    try:
        day = date(int(found[1]), int(found[2]), int(found[3]))
    except ValueError:
        return None
    if not found["time"]:
        return Timestamp(start_of_date(day, zone))
    hour, minute, second = int(found[5]), int(found[6]), int(found[7] or "0")
    offset = found[9] or "Z"
    offset_digits = "0000" if offset == "Z" else (offset[1:].replace(":", "") + "00")[:4]
    offset_hour, offset_minute = int(offset_digits[:2]), int(offset_digits[2:])
    if hour > 23 or minute > 59 or second > 59 or offset_hour > 23 or offset_minute > 59:
        return None
    east = (offset_hour * HOUR + offset_minute * MINUTE) * (-1 if offset.startswith("-") else 1)
    ms = int(((found[8] or "") + "000")[:3])
    return Timestamp(days_since_epoch(day) * DAY + hour * HOUR + minute * MINUTE + second * SECOND + ms - east)


def timestamp_text(moment: Timestamp) -> str | None:
    """`text(timestamp)`: ISO 8601 in UTC with milliseconds; outside the years 1 to 9999 it is missing."""
    days, rest = divmod(moment.ms, DAY)
    ordinal = date(1970, 1, 1).toordinal() + days
    if not 1 <= ordinal <= date.max.toordinal():
        return None
    day = date.fromordinal(ordinal).isoformat()
    hour, minute = rest // HOUR, rest // MINUTE % 60
    return f"{day}T{hour:02d}:{minute:02d}:{rest // SECOND % 60:02d}.{rest % SECOND:03d}Z"


# --- comparison ------------------------------------------------------------------------------------------------------


def equal(left: Value, right: Value) -> bool:
    """`==`: false with a missing operand and between types."""
    return left is not None and right is not None and left == right


def less(left: Value, right: Value) -> bool:
    """`<` of two numbers, two timestamps or two strings (by code point); false for all else."""
    if isinstance(left, Number) and isinstance(right, Number):
        return left.micro < right.micro
    if isinstance(left, Timestamp) and isinstance(right, Timestamp):
        return left.ms < right.ms
    if isinstance(left, str) and isinstance(right, str):
        return [ord(c) for c in left] < [ord(c) for c in right]
    return False


def contains(left: Value, right: Value) -> bool:
    """`x contains y`: substring, or exact element of a list."""
    if isinstance(left, str) and isinstance(right, str):
        return right in left
    if isinstance(left, tuple):
        return is_element(right, left)
    return False


def is_element(value: Value, elements: Iterable[Value]) -> bool:
    """`x in [...]`: equal to one of the elements."""
    return any(equal(value, element) for element in elements)
