"""JSON as others send it: every digit is kept, and what is no JSON in it is found."""

import pytest

from dsl.sent_json import UnreadableJson, find_not_a_number, json_text, raw_text, read_sent


@pytest.mark.parametrize("text", ['{"a":1.10,"b":123456789012345678901234567890}', "[1E+400]", f"[{'9' * 5_000}]"])
def test_digits_are_kept(text: str) -> None:
    """However many there are, and whatever a double makes of them."""
    assert text == json_text(read_sent(text.encode())) == json_text(read_sent(text))


@pytest.mark.parametrize("written", ["NaN", "-Infinity", "1e99999999999999999999"])
def test_what_is_no_number_is_found(written: str) -> None:
    """Its place and its text, and nothing else is lost."""
    value = read_sent(f'{{"a":[1,{written}]}}'.encode())
    assert ("$.a[1]", written) == find_not_a_number(value)
    assert f'{{"a":[1,{written}]}}' == raw_text(value)
    with pytest.raises(TypeError):
        json_text(value)


@pytest.mark.parametrize("sent", [b"{", b"\xff", b"[" * 100_000, b'"\xc3"'])
def test_what_nothing_can_be_read_from(sent: bytes) -> None:
    """One error, whatever is wrong."""
    with pytest.raises(UnreadableJson):
        read_sent(sent)
