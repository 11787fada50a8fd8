"""API keys as text: made once, checked without a store, kept only as their digest."""

import hashlib
import re
import secrets
import string
import zlib
from typing import Literal

KeyKind = Literal["write", "read", "admin"]

_LETTERS: dict[KeyKind, str] = {"write": "w", "read": "r", "admin": "a"}
_KINDS: dict[str, KeyKind] = {letter: kind for kind, letter in _LETTERS.items()}
_BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
_SECRET_LENGTH = 30
_CHECK_LENGTH = 6
_WRITTEN = re.compile(rf"tcdp_([wra])_([0-9A-Za-z]{{{_SECRET_LENGTH}}})([0-9A-Za-z]{{{_CHECK_LENGTH}}})")


def new_key(kind: KeyKind) -> str:
    """A fresh key: `tcdp_<w|r|a>_`, 30 random base62 characters (178 bits), 6 characters of their CRC32."""
    secret = "".join(secrets.choice(_BASE62) for _ in range(_SECRET_LENGTH))
    return f"tcdp_{_LETTERS[kind]}_{secret}{checksum(secret)}"


def kind_of(text: str) -> KeyKind | None:
    """The kind that a well-formed key names; None when prefix, alphabet, length or checksum are wrong.

    A kind is no permission: whether the key exists is asked by its `digest`.

    >>> kind_of("tcdp_r_000000000000000000000000000000" + checksum("0" * 30))
    'read'
    >>> kind_of("tcdp_r_000000000000000000000000000001" + checksum("0" * 30)) is None
    True
    """
    match = _WRITTEN.fullmatch(text)
    return _KINDS[match[1]] if match and checksum(match[2]) == match[3] else None


def is_well_formed(text: str) -> bool:
    """Whether `text` can be a key at all, so that a typing error needs no look-up."""
    return kind_of(text) is not None


def digest(text: str) -> str:
    """Hex SHA-256 of a key: the only form in which a key is stored or published.

    A key has 178 random bits, so that a plain hash of it cannot be searched.
    """
    return hashlib.sha256(text.encode()).hexdigest()


def checksum(secret: str) -> str:
    """CRC32 of the ASCII `secret` in base62 (digits, upper case, lower case), six characters, zero padded.

    >>> checksum("123456789")  # CRC32 is 0xCBF43926 = 3,421,780,262
    '3jZRME'
    """
    number, text = zlib.crc32(secret.encode()), ""
    for _ in range(_CHECK_LENGTH):
        number, digit = divmod(number, len(_BASE62))
        text = _BASE62[digit] + text
    return text
