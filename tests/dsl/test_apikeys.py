"""Keys carry their kind and a checksum; only their digest is kept."""

import hashlib
import string

import pytest

from dsl.apikeys import KeyKind, checksum, digest, is_well_formed, kind_of, new_key

BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase


@pytest.mark.parametrize(("kind", "letter"), [("write", "w"), ("read", "r"), ("admin", "a")])
def test_form(kind: KeyKind, letter: str) -> None:
    """A key is `tcdp_`, the letter of its kind, 30 random base62 characters and their checksum."""
    key = new_key(kind)
    prefix, secret, check = key[:7], key[7:37], key[37:]
    assert f"tcdp_{letter}_" == prefix
    assert set() == set(secret) - set(BASE62)
    assert checksum(secret) == check
    assert kind == kind_of(key)


def test_every_changed_character_is_noticed() -> None:
    """A key with any one character of its body changed is not well-formed."""
    key = new_key("write")
    for position in range(7, len(key)):
        other = BASE62[(BASE62.index(key[position]) + 1) % 62]
        assert not is_well_formed(key[:position] + other + key[position + 1 :])


@pytest.mark.parametrize(
    "change",
    [
        lambda key: "",
        lambda key: key[:-1],
        lambda key: key + "0",
        lambda key: key + "\n",
        lambda key: " " + key,
        lambda key: key.replace("tcdp_w_", "tcdp_x_"),
        lambda key: key.replace("tcdp_", "TCDP_"),
        lambda key: key[:10] + "-" + key[11:],
        lambda key: key[:10] + "é" + key[11:],
    ],
)
def test_other_text_is_no_key(change) -> None:  # type: ignore[no-untyped-def]  # a lambda of the table above
    """Text of another length, prefix or alphabet is no key."""
    assert kind_of(change(new_key("write"))) is None


def test_checksum_is_padded() -> None:
    """The checksum is CRC32 in base62, digits first, padded with zeros to six characters."""
    secrets = [f"{number:030d}" for number in range(2_000)]
    assert {6} == {len(checksum(secret)) for secret in secrets}
    assert any(checksum(secret).startswith("0") for secret in secrets)


def test_digest() -> None:
    """The digest is the hex SHA-256 of the whole key; no two new keys share it."""
    keys = [new_key("read") for _ in range(50)]
    assert hashlib.sha256(keys[0].encode()).hexdigest() == digest(keys[0])
    assert 50 == len({digest(key) for key in keys})
