"""Who is in a share: each bucketing id has one place under each flag, the same for ever and on every machine."""

from collections.abc import Sequence
from hashlib import sha1
from typing import Final, Literal

from dsl.catalog import BucketBy
from dsl.numbers import MICROS, replace_surrogates
from dsl.state import State

LARGEST: Final = 2**60 - 1
"""The largest hash: 15 hex digits."""

Salt = Literal["", "variant"]
"""What keeps the shares of rules (empty) and the splits between variants apart."""


def hashed(flag_key: str, bucketing_id: str, salt: Salt) -> int:
    """The place of an id under a flag as it is compared: 0 to `LARGEST`, both inclusive.

    >>> hashed("simple-flag", "distinct_id_0", "")
    903540405459435855
    """
    text = replace_surrogates(f"{flag_key}.{bucketing_id}{salt}")
    return int(sha1(text.encode(), usedforsecurity=False).hexdigest()[:15], 16)


def place_micros(flag_key: str, bucketing_id: str, salt: Salt = "") -> int:
    """The smallest share that an id is in: 1 to 1,000,000 micro-units.

    `place <= share` is exactly `hash * 10**6 <= share * (2**60 - 1)`, but for the hash 0: a share of 0 lets nobody in.
    """
    return place_of(hashed(flag_key, bucketing_id, salt))


def place_of(hash_value: int) -> int:
    """The smallest share that a hash is in: 1 to 1,000,000 micro-units.

    >>> [place_of(value) for value in (0, 1, LARGEST // MICROS, LARGEST // MICROS + 1, LARGEST)]
    [1, 1, 1, 2, 1000000]
    """
    return max(1, -(-hash_value * MICROS // LARGEST))


def chosen(hash_value: int, reaches: Sequence[int]) -> int:
    """Number of the first part that reaches a hash, from 0.

    Args:
        reaches: how far each part reaches: the sum of the weights up to and including its own, no weight 0.

    >>> [chosen(value, [1, 3]) for value in (0, LARGEST // 3, LARGEST // 3 + 1, LARGEST)]
    [0, 0, 1, 1]
    """
    whole = reaches[-1]
    return next(number for number, reach in enumerate(reaches) if hash_value * whole <= reach * LARGEST)


def bucketing_id(bucket_by: BucketBy, state: State, asked: str | None) -> str | None:
    """The text that shares and splits of a flag go by; None when the profile has no identifier of that kind.

    The identifier that was asked for where it is of that kind, else the first in text order.

    Args:
        asked: the identifier that the request named, as it is stored.

    >>> ann = State("p-1", 0, 0, identifiers=("anon:b", "anon:a", "user:ann"))
    >>> [bucketing_id(by, ann, "anon:b") for by in ("profile", "user", "anon", "email")]
    ['p-1', 'ann', 'b', None]
    """
    if bucket_by == "profile":
        return state.profile_id
    prefix = f"{bucket_by}:"
    if asked is not None and asked.startswith(prefix):
        return asked.removeprefix(prefix)
    its_own = [identifier for identifier in state.identifiers if identifier.startswith(prefix)]
    return min(its_own).removeprefix(prefix) if its_own else None
