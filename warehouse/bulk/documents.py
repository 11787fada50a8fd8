"""JSON documents of a row: read and written without losing a digit.

This is the one row-wise step of a load: what a document holds is known only once it is read.
"""

from typing import Any, Final

from dsl.sent_json import UnreadableJson, find_not_a_number, json_text, read_sent

DEEPEST: Final = 32
"""Levels of objects and lists in each other."""


class NoDocument(ValueError):
    """A text that is no JSON as it may be sent.

    Attributes:
        reason: of its dead letter.
    """

    def __init__(self, reason: str, detail: str) -> None:
        self.reason = reason
        super().__init__(detail)


def read_document(text: str | bytes) -> dict[str, Any]:
    """A JSON object, as `dsl.sent_json.read_sent` reads it.

    Raises:
        NoDocument: it is none, or holds what is no number.
    """
    try:
        found = read_sent(text)
    except UnreadableJson as error:
        raise NoDocument("too_deep" if error.too_deep else "invalid_json", f"the text {error}") from None
    if not isinstance(found, dict):
        raise NoDocument("invalid_json", "expected a JSON object")
    try:
        json_text(found)
    except TypeError:
        _, written = find_not_a_number(found)
        raise NoDocument("invalid_number", f"`{written}` is no number: leave it out, or send null") from None
    return found
