"""Numbers: decimals with six places, held as signed 64-bit counts of micro-units, never as doubles."""

import json
import re
from typing import NoReturn

MICROS = 1_000_000
"""Micro-units in one."""
SMALLEST, LARGEST = -(2**63), 2**63 - 1
"""Range of a number in micro-units, both inclusive: about 9.22 million million either way."""

_PLACES = 6
_SHORT = 12
_WRITTEN = re.compile(r"([+-]?)([0-9]+)(?:\.([0-9]+))?(?:[eE]([+-]?)([0-9]+))?")
_LONE_SURROGATE = re.compile(r"[\ud800-\udfff]")
_MAY_HOLD_SURROGATE = re.compile(r"[\ud800-\udfff]|\\u[dD][89a-fA-F]")


def read_number(text: str) -> int | None:
    """Micro-units of a decimal text, rounded half away from zero at the sixth place.

    Returns:
        None when out of range, and when `text` is no number (spaces, `.5`, `5.`, `NaN` are none).

    >>> read_number("1.5"), read_number("-0.0000005"), read_number("1e-7"), read_number("1E12"), read_number("1e13")
    (1500000, -1, 0, 1000000000000000000, None)
    """
    match = _WRITTEN.fullmatch(text)
    if match is None:
        return None
    sign, whole, fraction, exponent_sign, exponent = match.groups(default="")
    digits = (whole + fraction).lstrip("0")
    # All arithmetic is on counts of digits, so that `1e999999999` costs nothing. 18 digits of exponent are more
    # than any text has digits to make up for.
    shift = int(exponent_sign + (exponent.lstrip("0")[:18] or "0"))
    magnitude = _micros(digits, len(digits) - len(fraction) + 6 + shift)
    if magnitude is None:
        return None
    micros = -magnitude if sign == "-" else magnitude
    return micros if SMALLEST <= micros <= LARGEST else None


def _micros(digits: str, count: int) -> int | None:
    """`0.<digits>` times ten to `count`, rounded half up; None when plainly out of range."""
    if not digits or count < 0:
        return 0
    if count > 19:
        return None
    kept = int(digits[:count].ljust(count, "0") or "0")
    return kept + (digits[count : count + 1] >= "5")


def bounded(number: int) -> int | None:
    """`number` where it fits into 64 bits; else missing.

    >>> bounded(2**63 - 1) == 2**63 - 1, bounded(2**63)
    (True, None)
    """
    return number if SMALLEST <= number <= LARGEST else None


def divide_half_away(dividend: int, divisor: int) -> int:
    """The quotient rounded to the nearest integer, halves away from zero.

    >>> [divide_half_away(n, 2) for n in (-3, -1, 1, 3, 4)]
    [-2, -1, 1, 2, 2]
    """
    quotient = (2 * abs(dividend) + abs(divisor)) // (2 * abs(divisor))
    return quotient if (dividend < 0) == (divisor < 0) else -quotient


def write_number(micros: int) -> str:
    """Canonical decimal text: no exponent, no trailing zeros; `read_number` gives `micros` back.

    >>> write_number(1_500_000), write_number(4_000_000), write_number(-1)
    ('1.5', '4', '-0.000001')
    """
    whole, rest = divmod(abs(micros), MICROS)
    fraction = f".{rest:06d}".rstrip("0") if rest else ""
    return f"{'-' if micros < 0 else ''}{whole}{fraction}"


def read_json(text: str) -> object:
    """The JSON value with every number as micro-units (`int`); a number out of range is None, like `null`.

    Lone surrogates in strings become U+FFFD.

    Raises:
        ValueError: `text` is no JSON, holds NaN or Infinity, or nests too deeply.

    >>> read_json('{"amount": 12.30, "big": 1e40, "ok": true}')
    {'amount': 12300000, 'big': None, 'ok': True}
    """
    try:
        value: object = _decoder.decode(text)
    except RecursionError:
        raise ValueError("JSON nests too deeply") from None
    return without_surrogates(value) if _MAY_HOLD_SURROGATE.search(text) else value


def replace_surrogates(text: str) -> str:
    r"""`text` with each lone surrogate replaced by U+FFFD, so that it has a UTF-8 form.

    >>> replace_surrogates("a\ud800b") == "a\ufffdb"
    True
    """
    return text if text.isascii() else _LONE_SURROGATE.sub("\ufffd", text)


def _read_integer(text: str) -> int | None:
    # Whatever is short is in range.
    return int(text) * MICROS if len(text) <= _SHORT else read_number(text)


def _read_fraction(text: str) -> int | None:
    whole, _, fraction = text.partition(".")
    if len(whole) <= _SHORT and len(fraction) <= _PLACES and fraction.isdigit():
        return int(whole + fraction.ljust(_PLACES, "0"))
    return read_number(text)


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"JSON holds `{constant}`, which is no number")


def without_surrogates(value: object) -> object:
    r"""A JSON value whose strings have each lone surrogate replaced by U+FFFD.

    >>> without_surrogates({"a": ["x\ud800"]}) == {"a": ["x\ufffd"]}
    True
    """
    if isinstance(value, str):
        return replace_surrogates(value)
    if isinstance(value, list):
        return [without_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {replace_surrogates(key): without_surrogates(item) for key, item in value.items()}
    return value


# Made once: making it takes as long as reading a short text.
_decoder = json.JSONDecoder(parse_int=_read_integer, parse_float=_read_fraction, parse_constant=_refuse_constant)
