"""Identifiers: who an event is about, written `<kind>:<value>`, and the profile that it names."""

import hashlib
import re
from collections.abc import Mapping
from typing import Final, Literal
from uuid import UUID, uuid5

from dsl.numbers import replace_surrogates

Kind = Literal["user", "external", "email", "email_hash", "device", "anon"]

KINDS: Final[tuple[Kind, ...]] = ("user", "external", "email", "device", "anon")
"""Kinds of stored identifiers, the strongest first. `email_hash` is stored as `email`."""

BLOCKED_VALUES: Final[frozenset[str]] = frozenset(
    {
        "", "null", "undefined", "none", "nil", "nan", "void", "n/a", "na", "true", "false", "unknown", "unset",
        "not set", "not_set", "notset", "(not set)", "anonymous", "guest", "not_authenticated", "unidentified", "id",
        "userid", "user_id", "distinct_id", "distinctid", "email", "[object object]", "[]", "{}", '""', "''", "?",
    }
)  # fmt: skip
"""Values that stand for nobody, in lower case; so do those made of nothing but `0` and `-`, and `-1`.

Source: what senders put there when they have no id; the lists of other customer data platforms.
"""

PROFILE_NAMESPACE: Final = UUID("6f1d0a3e-7c52-5e0b-9b64-2d8f4b7a1c95")
"""Namespace of all profile ids."""

_STRENGTH: Final[Mapping[Kind, int]] = {kind: place for place, kind in enumerate(KINDS)} | {
    "email_hash": KINDS.index("email")
}
_NOBODY = re.compile(r"[0-]*|-1")
_ASCII_SPACE = " \t\n\r\v\f"
_LOWER = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")


def source_id(kind: Kind, value: str | int) -> str:
    """The identifier as it is stored; a number is its decimal text, an address its SHA-256.

    >>> source_id("user", 208), source_id("device", "K-7")
    ('user:208', 'device:K-7')
    >>> source_id("email", " Ann@Example.com ") == source_id("email_hash", email_hash("ann@example.com").upper())
    True
    """
    text = replace_surrogates(str(value))
    if kind == "email":
        return f"email:{email_hash(text)}"
    if kind == "email_hash":
        return f"email:{folded(text)}"
    return f"{kind}:{text}"


def identifiers(values: Mapping[Kind, str | int | None], blocked: frozenset[str] = BLOCKED_VALUES) -> tuple[str, ...]:
    """The identifiers that are left once blocked values are dropped, the strongest first; may be empty.

    >>> identifiers({"anon": "a-1", "user": "NULL", "external": 7})
    ('external:7', 'anon:a-1')
    """
    found = {
        (_STRENGTH[kind], source_id(kind, value))
        for kind, value in values.items()
        if value is not None and not is_blocked(value, blocked)
    }
    return tuple([identifier for _, identifier in (sorted(found) if len(found) > 1 else found)])


def is_blocked(value: str | int, blocked: frozenset[str] = BLOCKED_VALUES) -> bool:
    """Whether a value stands for nobody; case and surrounding ASCII white space do not matter.

    >>> is_blocked(" Guest"), is_blocked(0), is_blocked("00000000-0000-0000-0000-000000000000"), is_blocked("208")
    (True, True, True, False)
    """
    text = folded(str(value))
    return text in blocked or (text[:1] in "0-" and _NOBODY.fullmatch(text) is not None)


def folded(text: str) -> str:
    """A value as blocked values and addresses are compared: trimmed of ASCII white space, A-Z in lower case.

    >>> folded(" Guest")
    'guest'
    """
    text = text.strip(_ASCII_SPACE)
    return text.lower() if text.isascii() else text.translate(_LOWER)


def email_hash(address: str) -> str:
    """Hex SHA-256 of an address, trimmed of ASCII white space, A-Z in lower case.

    >>> email_hash("a@b.c") == email_hash(" A@B.C ")
    True
    """
    return hashlib.sha256(folded(replace_surrogates(address)).encode()).hexdigest()


def profile_id(identifier: str) -> str:
    """UUIDv5 of the first identifier that a profile ever had, for ever the same.

    >>> profile_id("user:208")
    '02c4bdd9-5236-5938-86aa-4183ef2979ee'
    """
    return str(uuid5(PROFILE_NAMESPACE, replace_surrogates(identifier)))
