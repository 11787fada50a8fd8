"""JSON as others send it, read and written without losing a digit; what is no JSON in it is found, not lost."""

import json
import sys
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import msgspec

from dsl.numbers import without_surrogates


class UnreadableJson(ValueError):
    """A text that nothing can be read from; the text is the end of a sentence that begins with what it is.

    Attributes:
        too_deep: it nests too deeply; otherwise it is no JSON, or not UTF-8.
    """

    def __init__(self, detail: str, *, too_deep: bool = False) -> None:
        self.too_deep = too_deep
        super().__init__(detail)


class NotANumber:
    """`NaN` and infinities, which are no JSON and which some senders write; exponents that nothing holds."""

    def __init__(self, text: str) -> None:
        self.text = text


def _written(value: object) -> msgspec.Raw:
    if isinstance(value, NotANumber):
        return msgspec.Raw(value.text.encode())
    raise TypeError(f"{type(value).__name__} is no value of JSON")


def _fraction(text: str) -> Decimal | NotANumber:
    try:
        return Decimal(text)
    except InvalidOperation:
        return NotANumber(text)


def _integer(text: str) -> int | Decimal:
    """Python refuses to read more digits than that as an integer."""
    return int(text) if len(text) <= sys.int_info.default_max_str_digits else Decimal(text)


_LARGEST_NAME: Final = 64
_decoder = msgspec.json.Decoder(float_hook=Decimal)
_decoder_of_any_exponent = msgspec.json.Decoder(float_hook=_fraction)
_encoder = msgspec.json.Encoder(decimal_format="number")
_raw_encoder = msgspec.json.Encoder(decimal_format="number", enc_hook=_written)
_sorted_encoder = msgspec.json.Encoder(decimal_format="number", order="sorted")


def read_sent(text: bytes | str) -> Any:
    """The JSON value of a text: fractions are `Decimal`, integers `int` of any size, lone surrogates U+FFFD.

    `NaN` and infinities are `NotANumber`: one event has them, the others of the batch are good.

    Raises:
        UnreadableJson: it is not UTF-8, no JSON, or nests too deeply.
    """
    try:
        try:
            return _decoder.decode(text)
        except InvalidOperation:
            return _decoder_of_any_exponent.decode(text)
    except msgspec.DecodeError:
        return _read_slowly(text)
    except RecursionError:
        raise UnreadableJson("nests too deeply", too_deep=True) from None
    except UnicodeDecodeError:
        raise UnreadableJson("is not UTF-8") from None


def json_text(value: object) -> str:
    """JSON text of a value that `read_sent` gave, numbers digit by digit as they were sent.

    Raises:
        TypeError: there is a `NotANumber` in it.
    """
    return _encoder.encode(value).decode()


def raw_text(value: object) -> str:
    """The same with `NaN` and the like as they were sent."""
    return _raw_encoder.encode(value).decode()


def canonical_json(value: object) -> bytes:
    """The same for equal values: keys are sorted.

    Raises:
        TypeError: there is a `NotANumber` in it.
    """
    return _sorted_encoder.encode(value)


def find_not_a_number(value: object, path: str = "$") -> tuple[str, str]:
    """Path and text of the first `NotANumber`; two empty texts when there is none.

    >>> find_not_a_number({"a": [1, NotANumber("NaN")]})
    ('$.a[1]', 'NaN')
    """
    if isinstance(value, NotANumber):
        return path, value.text
    parts: Iterable[tuple[str, object]] = ()
    if isinstance(value, Mapping):
        parts = ((f"{path}.{name}", part) for name, part in value.items())
    elif isinstance(value, list):
        parts = ((f"{path}[{place}]", part) for place, part in enumerate(value))
    found = (find_not_a_number(part, its_path) for its_path, part in parts)
    return next((each for each in found if each[0]), ("", ""))


def depth_of(value: object, limit: int) -> int:
    """How deeply a value nests, counted up to `limit` + 1; a value without parts is 0.

    >>> depth_of({"a": [1, {"b": 2}]}, 10)
    3
    """
    depth, level = 0, [value]
    while depth <= limit:
        level = [part for each in level for part in _parts(each)]
        if not level:
            break
        depth += 1
    return depth


def _parts(value: object) -> list[Any]:
    if isinstance(value, Mapping):
        return list(value.values()) or [None]
    if isinstance(value, list):
        return value or [None]
    return []


def _read_slowly(sent: bytes | str) -> Any:
    """What strict readers refuse and senders write all the same."""
    try:
        text = sent.decode("utf-8-sig") if isinstance(sent, bytes) else sent
    except UnicodeDecodeError:
        raise UnreadableJson("is not UTF-8") from None
    try:
        value = json.loads(text, parse_float=_fraction, parse_int=_integer, parse_constant=NotANumber)
    except RecursionError:
        raise UnreadableJson("nests too deeply", too_deep=True) from None
    except json.JSONDecodeError as error:
        raise UnreadableJson(f"is no JSON: {error.msg[:_LARGEST_NAME].lower()}") from None
    return without_surrogates(value)
