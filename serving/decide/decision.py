"""One decision, pure: the same catalog, state and context always give the same answer."""

from collections.abc import Mapping, Sequence
from typing import Final, Literal

import msgspec

from dsl.check import CheckedCatalog
from dsl.check_flags import CheckedFlag
from dsl.failure import Failure
from dsl.nearest import nearest
from dsl.next_change import Holdings
from dsl.state import State
from serving.decide.expiry import expires_of
from serving.decide.reasons import sentences
from serving.decide.resolution import Resolution, Resolver, Stage
from serving.decide.story import Story, story

Reason = Literal["DISABLED", "STATIC", "TARGETING_MATCH", "SPLIT", "DEFAULT", "STALE", "ERROR", "WARMING"]
"""Why a variant is the answer, in the words of OpenFeature and one of ours: `WARMING` is a flag whose version of the
definitions is not in use yet."""

_REASONS: Final[Mapping[Stage, Reason]] = {
    "disabled": "DISABLED",
    "static": "STATIC",
    "prerequisite": "DEFAULT",
    "holdout": "DEFAULT",
    "target": "TARGETING_MATCH",
    "rule": "TARGETING_MATCH",
    "default": "DEFAULT",
}
_LONGEST_SHOWN = 80


class Decision(msgspec.Struct, frozen=True):
    """The answer of a flag.

    Attributes:
        payload: any JSON that the variant hands to the application.
        reasons: short sentences: the rule that matched and the values that decided, or what kept each rule from it.
        reason: the same in one word. `SPLIT` is a rollout's share or a split that decided; who is outside of all of
            them and gets the default has `DEFAULT`.
        rule: number of the rule that decided, from 1; None when none did.
        split: a rollout's share or the weights of a split chose the answer: only these are exposures.
        version: of the flag, 12 hex digits.
    """

    flag: str
    allow: bool
    variant: str
    payload: object
    reasons: tuple[str, ...]
    reason: Reason
    rule: int | None
    split: bool
    version: str


class UnknownFlagError(Failure):
    """No flag has this name in the current catalog; `nearest` is the one that was probably meant."""

    def __init__(self, flag: str, near: str | None) -> None:
        self.flag = flag
        self.nearest = near
        super().__init__(f"no flag is named `{flag[:_LONGEST_SHOWN]}`" + (f"; the nearest is `{near}`" if near else ""))


class UnknownFlagsError(Failure):
    """Some of the flags that were asked for are not in the catalog, or no catalog is published."""

    def __init__(self, flags: Sequence[UnknownFlagError], *, is_published: bool) -> None:
        self.flags = flags
        self.is_published = is_published
        super().__init__("; ".join(map(str, flags)))


class Decisions:
    """The decisions of any flags of a catalog for one state: what they share is computed once.

    Args:
        context: what the request brought along, as JSON values with numbers in micro-units.
        asked: the identifier that the request named, as it is stored (`email:` by its hash).
    """

    __slots__ = ("_resolver",)

    def __init__(
        self,
        catalog: CheckedCatalog,
        state: State,
        context: Mapping[str, object] | None = None,
        *,
        asked: str | None = None,
    ) -> None:
        self._resolver = Resolver(catalog, state, context or {}, asked)

    def of(self, flag_key: str) -> Decision:
        """The decision of a flag.

        Raises:
            UnknownFlagError: the catalog has no such flag.
        """
        resolver = self._resolver
        checked = _flag(resolver.catalog, flag_key)
        found = resolver.resolve(flag_key)
        variant = checked.variants[found.variant]
        return Decision(
            flag_key,
            variant.allow,
            variant.key,
            variant.payload,
            sentences(resolver, checked, found),
            _reason(found),
            found.number if found.stage == "rule" else None,
            found.split,
            checked.version,
        )

    def story(self, flag_key: str, holdings: Holdings) -> Story:
        """`serving.decide.story` of a flag that the catalog has."""
        return story(self._resolver, flag_key, holdings)

    def expires_ms(self, flag_key: str, holdings: Holdings) -> int | None:
        """`serving.decide.expiry.expires_ms` of a flag that the catalog has."""
        return expires_of(self._resolver, flag_key, holdings)


def decide(
    catalog: CheckedCatalog,
    flag_key: str,
    state: State,
    context: Mapping[str, object] | None = None,
    *,
    asked: str | None = None,
) -> Decision:
    """The decision of one flag: disabled, prerequisites, holdout, targets, rules in order, default.

    Args:
        context: what the request brought along, as JSON values with numbers in micro-units.
        asked: the identifier that the request named, as it is stored (`email:` by its hash).

    Raises:
        UnknownFlagError: the catalog has no such flag.
    """
    return Decisions(catalog, state, context, asked=asked).of(flag_key)


def default_decision(catalog: CheckedCatalog, flag_key: str, reason: Reason, *why: str) -> Decision:
    """The default of a flag, where its conditions cannot be asked.

    Args:
        why: sentences.

    Raises:
        UnknownFlagError: the catalog has no such flag.
    """
    checked = _flag(catalog, flag_key)
    variant = checked.variants[checked.flag.default]
    return Decision(flag_key, variant.allow, variant.key, variant.payload, why, reason, None, False, checked.version)


def _flag(catalog: CheckedCatalog, flag_key: str) -> CheckedFlag:
    checked = catalog.flags.get(flag_key)
    if checked is None:
        raise UnknownFlagError(flag_key, nearest(flag_key, catalog.flags))
    return checked


def _reason(found: Resolution) -> Reason:
    return "SPLIT" if found.split else _REASONS[found.stage]
