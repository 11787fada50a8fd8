"""Patterns of `matches`: RE2, so that no text and no pattern can take more than linear time, here and in DuckDB."""

import re
from functools import lru_cache

import re2

MAX_PATTERN_LENGTH = 1_000
"""Code points."""

_INLINE_FLAGS = re.compile(r"(?<!\\)(?:\\\\)*\(\?[a-zA-Z-]+[:)]")


class PatternError(ValueError):
    """A pattern that cannot be used; the message says why, in lower case."""


def check_pattern(pattern: str) -> None:
    """Returns when a pattern can be used.

    Raises:
        PatternError: it is no RE2 pattern, sets flags of its own, or is too long.

    >>> check_pattern("^a+$")
    """
    if len(pattern) > MAX_PATTERN_LENGTH:
        raise PatternError(f"a pattern may have {MAX_PATTERN_LENGTH:,} characters")
    if _INLINE_FLAGS.search(pattern):
        raise PatternError("flags inside a pattern are not available: write the letters out, as in `[Vv]`")
    try:
        _compiled(pattern)
    except re2.error as error:
        reason = error.args[0] if error.args else "not a pattern"
        raise PatternError(reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)) from None


def matches(text: str, pattern: str) -> bool:
    r"""Whether the pattern is found anywhere in the text; classes such as `\d` are ASCII, `.` is no line end.

    >>> matches("order-17", "[0-9]+$"), matches("order", "^[0-9]")
    (True, False)
    """
    return _compiled(pattern).search(text) is not None


@lru_cache(maxsize=1_024)
def _compiled(pattern: str) -> "re2._Regexp":
    options = re2.Options()
    options.log_errors = False
    return re2.compile(pattern, options)
