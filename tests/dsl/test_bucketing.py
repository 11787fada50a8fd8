"""Who is in a share, and which part of a split: by integers alone, and never another tomorrow."""

import hashlib
from fractions import Fraction
from itertools import accumulate, pairwise
from math import sqrt

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dsl.bucketing import LARGEST, Salt, bucketing_id, chosen, hashed, place_micros, place_of
from dsl.numbers import MICROS
from dsl.state import State

SHARES = st.integers(0, MICROS)
HASHES = st.integers(0, LARGEST) | st.builds(
    lambda share, off: min(LARGEST, max(0, share * LARGEST // MICROS + off)), SHARES, st.integers(-2, 2)
)
WEIGHTS = st.lists(st.integers(1, 10**12), min_size=1, max_size=6)
IDS = [f"somebody-{number}" for number in range(20_000)]


@given(HASHES, SHARES)
@example(LARGEST, MICROS)
@example(LARGEST, MICROS - 1)
@example(1, 0)
def test_a_place_is_the_formula(hash_value: int, share: int) -> None:
    """`place <= share` is `hash * 10**6 <= share * (2**60 - 1)`, but that a share of 0 lets nobody in."""
    expected = share > 0 and hash_value * 10**6 <= share * (2**60 - 1)
    assert expected == (place_of(hash_value) <= share)


def test_the_ends() -> None:
    """A share of 0 lets nobody in, not even the hash 0; one of 100 % everybody, even the largest hash."""
    assert (1, MICROS) == (place_of(0), place_of(LARGEST))


@pytest.mark.parametrize("share", [1, 250_000, 333_333, 999_999])
def test_the_edge_of_a_share(share: int) -> None:
    """The largest hash that a share holds is in; the next one is not."""
    last = share * LARGEST // MICROS
    assert (True, False) == (place_of(last) <= share, place_of(last + 1) <= share)


@given(HASHES, WEIGHTS)
def test_a_part_is_the_first_that_reaches(hash_value: int, weights: list[int]) -> None:
    """The part of a split is the first whose exact share of all weights is not below the hash's of the largest."""
    reaches = list(accumulate(weights))
    position = Fraction(hash_value, LARGEST)
    expected = next(n for n, reach in enumerate(reaches) if position <= Fraction(reach, reaches[-1]))
    assert expected == chosen(hash_value, reaches)


@given(HASHES, WEIGHTS, st.integers(2, 1_000))
def test_only_the_proportion_of_weights_counts(hash_value: int, weights: list[int], factor: int) -> None:
    """Weights that are all larger by one factor split the same."""
    assert chosen(hash_value, list(accumulate(weights))) == chosen(
        hash_value, list(accumulate(weight * factor for weight in weights))
    )


@pytest.mark.parametrize(("flag", "who", "salt"), [("f", "1", ""), ("beta.2", "æ-7", "variant"), ("a", "b.c", "")])
def test_the_hash(flag: str, who: str, salt: Salt) -> None:
    """The first fifteen hex digits of the SHA-1 of flag, a dot, id and salt."""
    digest = hashlib.sha1(f"{flag}.{who}{salt}".encode()).hexdigest()
    assert int(digest[:15], 16) == hashed(flag, who, salt)


@pytest.mark.parametrize("share", [1_000, 50_000, 250_000, 500_000, 990_000])
def test_a_share_holds_its_part(share: int) -> None:
    """Of 20,000 ids a share holds as many as it says, within four standard deviations."""
    inside = sum(place_micros("ramp", who) <= share for who in IDS)
    part = share / MICROS
    assert abs(inside - len(IDS) * part) <= 4 * sqrt(len(IDS) * part * (1 - part))


def test_a_split_gives_each_its_weight() -> None:
    """Of 20,000 ids each variant gets its weight, within four standard deviations, inside a rollout too."""
    weights = [5, 1, 2, 2]
    reaches = list(accumulate(weights))
    for ids in (IDS, [who for who in IDS if place_micros("test", who) <= 400_000]):
        parts = [chosen(hashed("test", who, "variant"), reaches) for who in ids]
        for number, weight in enumerate(weights):
            share = weight / reaches[-1]
            assert abs(parts.count(number) - len(ids) * share) <= 4 * sqrt(len(ids) * share * (1 - share))


def test_flags_are_independent() -> None:
    """Who is in a tenth of one flag is in a tenth of another as often as anybody."""
    inside = [who for who in IDS if place_micros("one", who) <= 100_000]
    both = sum(place_micros("other", who) <= 100_000 for who in inside)
    assert abs(both - len(inside) * 0.1) <= 4 * sqrt(len(inside) * 0.09)


def test_a_ramp_moves_nobody_out() -> None:
    """Whoever is in a share is in every larger one."""
    sets = [
        {who for who in IDS[:2_000] if place_micros("ramp", who) <= share} for share in range(0, MICROS + 1, 50_000)
    ]
    assert all(smaller <= larger for smaller, larger in pairwise(sets))
    assert (0, 2_000) == (len(sets[0]), len(sets[-1]))


ANN = State("p-1", 0, 0, identifiers=("user:ann", "device:b", "device:a", "email:hash", "external:x:y"))


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (None, ["p-1", "ann", "x:y", "hash", "a", None]),
        ("device:b", ["p-1", "ann", "x:y", "hash", "b", None]),
        ("anon:new", ["p-1", "ann", "x:y", "hash", "a", "new"]),
        ("02c4bdd9-5236-5938-86aa-4183ef2979ee", ["p-1", "ann", "x:y", "hash", "a", None]),
    ],
)
def test_what_a_flag_goes_by(asked: str | None, expected: list[str | None]) -> None:
    """The profile, or its identifier of a kind: the one that was asked for, else the first in text order."""
    found = [bucketing_id(by, ANN, asked) for by in ("profile", "user", "external", "email", "device", "anon")]
    assert expected == found
