"""JSON documents: read and written without losing a digit.

This is the one row-wise step of a load: what a document holds is known only once it is read.
"""

import json
from decimal import Decimal
from typing import Any, Final, NoReturn

import msgspec

from dsl.numbers import without_surrogates

DEEPEST: Final = 32
"""Levels of objects and lists in each other."""
_decoder = msgspec.json.Decoder(float_hook=Decimal)
_encoder = msgspec.json.Encoder(decimal_format="number")


class NoDocument(ValueError):
    """A text that is no JSON as it may be sent.

    Attributes:
        reason: of its dead letter.
    """

    def __init__(self, reason: str, detail: str) -> None:
        self.reason = reason
        super().__init__(detail)


def read_document(text: str | bytes) -> dict[str, Any]:
    """A JSON object: fractions are `Decimal`, integers `int` of any size, lone surrogates U+FFFD.

    Raises:
        NoDocument: it is none.
    """
    try:
        found = _decoder.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        found = _read_leniently(text)
    if not isinstance(found, dict):
        raise NoDocument("invalid_json", "expected a JSON object")
    return found


def write_document(document: object) -> str:
    """JSON text of what was read, every digit as it was."""
    return _encoder.encode(document).decode()


def depth_of(value: object, most: int = DEEPEST) -> int:
    """Levels of objects and lists in each other, counted up to one more than `most`."""
    if most < 0 or not isinstance(value, dict | list):
        return 0
    inside = value.values() if isinstance(value, dict) else value
    return 1 + max((depth_of(each, most - 1) for each in inside), default=0)


def _read_leniently(text: str | bytes) -> object:
    """What strict readers refuse: lone surrogates.

    Raises:
        NoDocument: it is no JSON.
    """
    try:
        return without_surrogates(json.loads(text, parse_float=Decimal, parse_constant=_refuse))
    except NoDocument:
        raise
    except RecursionError:
        raise NoDocument("too_deep", "the JSON nests too deeply") from None
    except ValueError as error:
        raise NoDocument("invalid_json", f"no JSON: {error}") from None


def _refuse(constant: str) -> NoReturn:
    raise NoDocument("invalid_number", f"`{constant}` is no number: leave it out, or send null")
