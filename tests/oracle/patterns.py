r"""Section 3, "Strings": `matches` is an unanchored search with a literal RE2 pattern, ASCII classes, no flags.

Python's `re` does the search. The part of RE2's syntax that means the same in both is taken as it stands; `$`, `\z`,
`\s` and `\B` are rewritten, because Python reads them otherwise; everything else (look-around, back-references,
possessive and atomic groups, flags, POSIX and Unicode classes, octal escapes) is an error.
"""

import re
from string import hexdigits

BLANKS = r"\t\n\f\r "
SAME = "dDwWnrtfva"
OUTSIDE = {"b": r"\b", "B": r"(?!\b)", "A": r"\A", "z": r"\Z", "s": f"[{BLANKS}]", "S": f"[^{BLANKS}]"}
REPEAT_LIMIT = 1000


class PatternError(ValueError):
    """The pattern is no RE2 pattern, or one that this page's readers could understand differently."""


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """A pattern of `matches` as Python's."""
    pieces: list[str] = []
    position = 0
    while position < len(pattern):
        if pattern[position] == "\\":
            piece, position = _escape(pattern, position, OUTSIDE)
        elif pattern[position] == "[":
            piece, position = _class(pattern, position)
        else:
            piece, position = _plain(pattern, position)
        pieces.append(piece)
    try:
        return re.compile("".join(pieces), re.ASCII)
    except re.error as problem:
        raise PatternError(str(problem)) from problem


def _plain(pattern: str, position: int) -> tuple[str, int]:
    """One character outside escapes and classes."""
    character = pattern[position]
    rest = pattern[position:]
    if rest.startswith("(?") and not rest.startswith(("(?:", "(?P<")):
        raise PatternError("look-around, flags and special groups are not RE2's plain syntax")
    if rest[:2] in {"*+", "++", "?+", "}+"} or rest.startswith("{,"):
        raise PatternError("possessive and open-ended repetition is not RE2's")
    repeat = re.match(r"\{([0-9]+)(?:,([0-9]*))?\}", rest)
    if repeat and max(int(repeat[1]), int(repeat[2] or "0")) > REPEAT_LIMIT:
        raise PatternError("RE2 repeats at most 1000 times")
    return (r"\Z" if character == "$" else character), position + 1


def _escape(pattern: str, position: int, special: dict[str, str]) -> tuple[str, int]:
    """One escape, inside or outside a class."""
    following = pattern[position + 1 : position + 2]
    if following and following in special:
        return special[following], position + 2
    if following and following in SAME:
        return "\\" + following, position + 2
    if following == "x":
        digits = pattern[position + 2 : position + 4]
        if len(digits) == 2 and all(digit in hexdigits for digit in digits):
            return "\\x" + digits, position + 4
    if following and following.isascii() and not following.isalnum():
        return re.escape(following), position + 2
    raise PatternError(f"escape {pattern[position : position + 2]!r}")


def _class(pattern: str, position: int) -> tuple[str, int]:
    """One bracketed class."""
    pieces = ["["]
    position += 1
    if pattern[position : position + 1] == "^":
        pieces.append("^")
        position += 1
    first = True
    while position < len(pattern):
        character = pattern[position]
        if character == "]" and not first:
            return "".join([*pieces, "]"]), position + 1
        if pattern.startswith("[:", position):
            raise PatternError("POSIX classes are left out")
        if character == "\\":
            piece, position = _escape(pattern, position, {"s": BLANKS})
        else:
            piece, position = ("\\" + character if character in "[]&~|" else character), position + 1
        pieces.append(piece)
        first = False
    raise PatternError("unterminated class")
