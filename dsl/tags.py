"""Values as texts that say their type: what is counted as one and the same, and the one hash that every engine has."""

from hashlib import md5

from typing_extensions import TypeIs

from dsl.numbers import read_number, write_number
from dsl.state import Scalar, Value


def tag(value: Scalar) -> str:
    """Type and canonical text of a value: what is counted as one and the same.

    >>> tag(1_500_000), tag("1.5"), tag(True)
    ('n:1.5', 's:1.5', 'b:true')
    """
    if isinstance(value, bool):
        return "b:true" if value else "b:false"
    return f"n:{write_number(value)}" if isinstance(value, int) else f"s:{value}"


def untag(text: str) -> Scalar:
    """The value that `tag` wrote.

    Raises:
        ValueError: it wrote no such text.
    """
    kind, _, rest = text.partition(":")
    if kind == "n" and (number := read_number(rest)) is not None:
        return number
    if kind == "b":
        return rest == "true"
    if kind == "s":
        return rest
    raise ValueError(f"`{text}` is no tagged value")


def is_scalar(value: Value) -> TypeIs[Scalar]:
    """Whether a value can be tagged: it is there, and no list."""
    return value is not None and not isinstance(value, tuple)


def canonical_order(tagged: str) -> tuple[str, str]:
    """Order of values: by canonical text, then by the letter of their type."""
    kind, _, text = tagged.partition(":")
    return text, kind


def hash_prefix(tagged: str) -> int:
    """The first 64 bits of the MD5 of a tagged value."""
    return int.from_bytes(md5(tagged.encode(), usedforsecurity=False).digest()[:8])
