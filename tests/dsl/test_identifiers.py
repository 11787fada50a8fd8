"""Identifiers, as they are stored, and the profiles that they name."""

import hashlib
from uuid import UUID

import pytest

from dsl.identifiers import KINDS, email_hash, identifiers, is_blocked, profile_id, source_id

ANN = hashlib.sha256(b"ann@example.com").hexdigest()


def test_stored_forms() -> None:
    """An identifier is its kind and value; numbers are decimal text, addresses are hashed."""
    assert "user:208" == source_id("user", 208) == source_id("user", "208")
    assert "anon: x" == source_id("anon", " x")
    assert f"email:{ANN}" == source_id("email", "\tAnn@EXAMPLE.com ") == source_id("email_hash", ANN.upper())


def test_folding_is_ascii() -> None:
    """Only A-Z are folded and only ASCII white space is trimmed."""
    assert email_hash("É@x.no") != email_hash("é@x.no")
    assert email_hash("\u00a0a@b.c") != email_hash("a@b.c")


@pytest.mark.parametrize(
    "value",
    [
        "", "  ", "null", "NULL", "undefined", "None", "nil", "0", 0, "-1", -1, "unknown", "Anonymous", " guest ",
        "NaN", "00000000-0000-0000-0000-000000000000", "[object Object]", "true",
    ],
)  # fmt: skip
def test_blocked(value: str | int) -> None:
    """Values that stand for nobody are known in any case and spacing."""
    assert is_blocked(value)


@pytest.mark.parametrize("value", ["208", 1, "-2", "nobody@example.com", "a-0", "guest1"])
def test_not_blocked(value: str | int) -> None:
    """Anything else is somebody."""
    assert not is_blocked(value)


def test_strongest_first() -> None:
    """Identifiers come strongest first; blocked ones and doubles are gone."""
    given = identifiers(
        {"anon": "a", "device": "d", "email": "ann@example.com", "email_hash": ANN, "external": 7, "user": "null"}
    )
    assert ("external:7", f"email:{ANN}", "device:d", "anon:a") == given
    assert () == identifiers({"user": None, "anon": "0"})
    assert ("user", "external", "email", "device", "anon") == KINDS


def test_profile_ids_never_change() -> None:
    """The profile id of an identifier is the same for ever: it is stored everywhere."""
    assert "02c4bdd9-5236-5938-86aa-4183ef2979ee" == profile_id("user:208")
    assert 5 == UUID(profile_id("anon:x")).version
    assert profile_id("user:1") != profile_id("anon:1")
