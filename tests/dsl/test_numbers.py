"""Numbers are read from their text, never through a double."""

import math
import time
from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsl.numbers import LARGEST, SMALLEST, read_json, read_number, write_number

ASCII = st.characters(codec="ascii")


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("0", 0),
        ("-0", 0),
        ("007", 7_000_000),
        ("+1", 1_000_000),
        ("1.5", 1_500_000),
        ("0.05", 50_000),
        ("0.0000004", 0),
        ("0.0000005", 1),
        ("-0.0000005", -1),
        ("0.00000049999999999", 0),
        ("2.0000015", 2_000_002),
        ("-2.0000025", -2_000_003),
        ("1e-7", 0),
        ("5e-7", 1),
        ("1.5E3", 1_500_000_000),
        ("1e+3", 1_000_000_000),
        ("1200000e-5", 12_000_000),
        ("0e999999999999", 0),
        # A double would make ...992 of the first and ...808 of the second.
        ("9007199254740.993", 9_007_199_254_740_993_000),
        ("9223372036854.775807", LARGEST),
        ("-9223372036854.775808", SMALLEST),
        ("9223372036854.775808", None),
        ("9223372036854.7758074", LARGEST),
        ("9223372036854.7758075", None),
        ("-9223372036854.775809", None),
        ("1e13", None),
        ("10000000000000000000", None),
        ("", None),
        ("-", None),
        (".5", None),
        ("5.", None),
        (" 1", None),
        ("1_000", None),
        ("NaN", None),
        ("Infinity", None),
        ("0x10", None),
        ("\uff11", None),
        ("1\n", None),
    ],
)
def test_read(text: str, micros: int | None) -> None:
    """A decimal text is rounded half away from zero at six places; what is out of range or no number is None."""
    assert micros == read_number(text)


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("1e" + "9" * 50_000, None),
        ("1e-" + "9" * 50_000, 0),
        ("0." + "0" * 50_000 + "15e50001", 1_500_000),
        ("1" + "0" * 50_000 + "e-50000", 1_000_000),
        ("9" * 100_000, None),
        ("0." + "9" * 100_000, 1_000_000),
        ("1e" + "0" * 50_000 + "2", 100_000_000),
    ],
)
def test_enormous_texts(text: str, micros: int | None) -> None:
    """Texts and exponents of any size are exact and cost next to nothing."""
    start = time.process_time()
    assert micros == read_number(text)
    assert time.process_time() - start < 0.5


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**14), max_value=10**14, places=9))
def test_agrees_with_decimal(number: Decimal) -> None:
    """Rounding is that of the decimal module, half away from zero."""
    micros = int(number.quantize(Decimal("0.000001"), ROUND_HALF_UP) * 1_000_000)
    assert (micros if SMALLEST <= micros <= LARGEST else None) == read_number(f"{number:f}")


@given(st.integers(SMALLEST, LARGEST))
def test_written_and_read(micros: int) -> None:
    """Every number comes back from its canonical text."""
    assert micros == read_number(write_number(micros))


@pytest.mark.parametrize(
    ("micros", "text"),
    [(1_500_000, "1.5"), (4_000_000, "4"), (0, "0"), (-1, "-0.000001"), (100_000_000, "100"), (10, "0.00001")],
)
def test_write(micros: int, text: str) -> None:
    """Canonical text has no exponent, no needless zeros and no point without decimals."""
    assert text == write_number(micros)


def test_read_json() -> None:
    """JSON numbers are micro-units, exact where a double is not; booleans and strings stay what they are."""
    document = '{"a": [1, 2.50, 9007199254740.993, -1e-6], "b": true, "c": null, "d": "1", "e": 1e40}'
    expected = {
        "a": [1_000_000, 2_500_000, 9_007_199_254_740_993_000, -1],
        "b": True,
        "c": None,
        "d": "1",
        "e": None,
    }
    assert expected == read_json(document)


WRITTEN = st.from_regex(r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,9})?([eE][+-]?[0-9]{1,3})?", fullmatch=True, alphabet=ASCII)


@given(WRITTEN)
def test_numbers_of_json_are_those_of_their_text(text: str) -> None:
    """However long a number is written, in JSON it is what its text is."""
    assert read_number(text) == read_json(text)


@pytest.mark.parametrize("document", ["NaN", "[Infinity]", '{"a": -Infinity}', "{", "", "[" * 100_000])
def test_refused_json(document: str) -> None:
    """NaN, infinity, broken and bottomless JSON raise ValueError."""
    with pytest.raises(ValueError, match=r"."):
        read_json(document)


def test_lone_surrogates() -> None:
    """Lone surrogates become U+FFFD, in keys and values; pairs are characters."""
    assert {"k\ufffd": ["\ufffd", "\U0001f600"]} == read_json(r'{"k\ud800": ["\udc00", "\ud83d\ude00"]}')
    assert "\ufffd" == read_json('"\ud800"')


def test_no_doubles_on_the_way() -> None:
    """The nearest double of a large amount is another number: it would show."""
    text = "9007199254740.993"
    assert Decimal(text) != Decimal(float(text))
    assert not math.isclose(0, read_number(text) or 0)
    assert text == write_number(read_number(text) or 0)
