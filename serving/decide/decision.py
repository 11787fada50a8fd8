"""One decision, pure: the same catalog, state and context always give the same answer."""

from collections.abc import Mapping
from dataclasses import dataclass

from dsl.catalog import Flag
from dsl.check import CheckedCatalog, CheckedFlag
from dsl.evaluate import Evaluation
from dsl.explain import reasons
from dsl.failure import Failure
from dsl.nearest import nearest
from dsl.state import State

_LONGEST_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer of a flag.

    Attributes:
        payload: any JSON that the variant hands to the application.
        reasons: short sentences: the rule that matched and the values that decided, or what kept each rule from it.
    """

    flag: str
    allow: bool
    variant: str
    payload: object
    reasons: tuple[str, ...]


class UnknownFlagError(Failure):
    """No flag has this name in the current catalog; `nearest` is the one that was probably meant."""

    def __init__(self, flag: str, near: str | None) -> None:
        self.flag = flag
        self.nearest = near
        super().__init__(f"no flag is named `{flag[:_LONGEST_SHOWN]}`" + (f"; the nearest is `{near}`" if near else ""))


def decide(
    catalog: CheckedCatalog, flag_key: str, state: State, context: Mapping[str, object] | None = None
) -> Decision:
    """The variant of the first rule that holds, else the default; a disabled flag answers its default.

    Args:
        context: what the request brought along, as JSON values with numbers in micro-units.

    Raises:
        UnknownFlagError: the catalog has no such flag.
    """
    checked = catalog.flags.get(flag_key)
    if checked is None:
        raise UnknownFlagError(flag_key, nearest(flag_key, catalog.flags))
    flag = checked.flag
    if not flag.enabled:
        return _answer(flag, flag.default, (f"flag {flag.key} is disabled",))
    evaluation = Evaluation(catalog, state, context or {})
    for number, rule in enumerate(checked.rules, 1):
        if evaluation.truth(rule.when):
            why = reasons(rule.when, state, catalog, context)
            return _answer(flag, rule.variant, (f"rule {number} matched: {rule.text}", *why))
    return _answer(flag, flag.default, _why_none(checked, catalog, state, context))


def _why_none(
    checked: CheckedFlag, catalog: CheckedCatalog, state: State, context: Mapping[str, object] | None
) -> tuple[str, ...]:
    """That no rule matched, and the first clause that failed in each."""
    failed = (reasons(rule.when, state, catalog, context)[:1] for rule in checked.rules)
    numbered = (f"rule {number}: {clause}" for number, clauses in enumerate(failed, 1) for clause in clauses)
    return ("no rule matched" if checked.rules else "the flag has no rules", *numbered)


def _answer(flag: Flag, variant_key: str, why: tuple[str, ...]) -> Decision:
    variant = next(variant for variant in flag.variants if variant.key == variant_key)
    return Decision(flag.key, variant.allow, variant.key, variant.payload, why)
