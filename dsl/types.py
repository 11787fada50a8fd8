"""The types of values, and what a missing value means for each place."""

from typing import Literal

Type = Literal["number", "string", "boolean", "timestamp", "list", "unknown"]
"""`unknown` is the type of an attribute, property or context value that nothing has fixed yet; the checker resolves
it from what stands beside it, and refuses what stays open."""

ARTICLE = {
    "number": "a number",
    "string": "a string",
    "boolean": "a boolean",
    "timestamp": "a timestamp",
    "list": "a list",
    "unknown": "a value of unknown type",
}
"""Words for messages: `expected` and `found` read as sentences."""
