"""Answers of flags, as the application sees them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from tinycdp.client.exceptions import ClientError, UnavailableError


class Decision(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """The answer of a flag for one profile at one instant.

    Attributes:
        payload: any JSON that the variant hands over.
        reason: why, in one word: `TARGETING_MATCH`, `SPLIT`, `DEFAULT`, `STATIC`, `DISABLED`, `WARMING`, `STALE`;
            `ERROR` is a default: of the flag where the store was away, of the caller where the API was.
        reasons: the rule that matched and the values that decided, or what kept each rule from it, in sentences.
        profile_id: who was asked about; None where the API could not say.
        as_of: the instant that the profile's values are of, on the project's clock; None in the caller's default.
        as_of_seq: events up to this number of the log are counted.
        expires_at: with no new event the answer stays as it is before this instant; None is for ever, or unknown.
        stale: None, or why the answer may be older than it should be: `no_snapshot`, `bulk_load`, `percent_rank`,
            `store_unavailable`, `profile_too_large`, `catalog_unusable`.
        warming: the flag is new, and answers its default until its definitions are in use.
        explanation: with `explain`, each part of each condition with its value, as the API sends it.
    """

    flag: str
    allow: bool
    variant: str
    payload: Any = None
    reason: str
    reasons: tuple[str, ...] = ()
    profile_id: str | None = None
    as_of: datetime | None = None
    as_of_seq: int | None = None
    expires_at: datetime | None = None
    stale: str | None = None
    warming: bool = False
    explanation: Any = None


class Default(msgspec.Struct, frozen=True):
    """What an application does without an answer; `True` and `False` stand for `on` and `off` without payload."""

    allow: bool
    variant: str
    payload: Any = None

    @classmethod
    def of(cls, given: "bool | Default") -> "Default":
        """The default that was meant."""
        return cls(given, "on" if given else "off") if isinstance(given, bool) else given

    def decision(self, flag: str, why: ClientError) -> Decision:
        """The decision that this default is."""
        sentence = f"the caller's default, because {why.detail}"
        return Decision(
            flag=flag, allow=self.allow, variant=self.variant, payload=self.payload, reason="ERROR", reasons=(sentence,)
        )


class _Several(msgspec.Struct, frozen=True):
    decisions: list[Decision]


_one = msgspec.json.Decoder(Decision)
_several = msgspec.json.Decoder(_Several)


def read_decision(body: bytes) -> Decision:
    """The decision that the API answered.

    Raises:
        UnavailableError: it is something else, as from a gateway that answers for the API.
    """
    try:
        return _one.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _strange(error) from error


def read_decisions(body: bytes) -> Sequence[Decision]:
    """The decisions that the API answered, in their order.

    Raises:
        UnavailableError: it is something else.
    """
    try:
        return _several.decode(body).decisions
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _strange(error) from error


def _strange(error: Exception) -> UnavailableError:
    return UnavailableError("answer_unreadable", f"what answered is no API of TinyCDP: {error}", 200)
