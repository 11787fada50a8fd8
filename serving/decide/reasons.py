"""Why a flag answers as it does, as short sentences: the stage that settled it and the values that decided."""

from collections.abc import Iterator

from dsl.bucketing import place_micros
from dsl.catalog import Prerequisite
from dsl.check_flags import CheckedFlag, CheckedRule
from dsl.explain import clauses
from dsl.numbers import write_number
from serving.decide.resolution import Resolution, Resolver


def sentences(resolver: Resolver, checked: CheckedFlag, resolution: Resolution) -> tuple[str, ...]:
    """The stage that settled the answer of a flag first, what led there behind it; none twice."""
    return tuple(dict.fromkeys(_sentences(resolver, checked, resolution)))


def percent(share_micros: int) -> str:
    """A share as people read it.

    >>> percent(250_000), percent(123_456), percent(1)
    ('25%', '12.3456%', '0.0001%')
    """
    return f"{write_number(share_micros * 100)}%"


def _sentences(resolver: Resolver, checked: CheckedFlag, resolution: Resolution) -> Iterator[str]:
    match resolution.stage:
        case "disabled":
            yield f"flag {checked.flag.key} is disabled"
        case "static":
            yield "the flag has no rules"
        case "prerequisite":
            yield _prerequisite(resolver, checked.prerequisites[resolution.number - 1])
        case "holdout":
            if checked.holdout is not None:
                yield from (
                    f"in the holdout: {clause}" for clause in clauses(checked.holdout.when, resolver.evaluation, True)
                )
        case "target":
            yield f"individual target {resolution.target}"
        case "rule":
            yield from _decided(resolver, checked, resolution)
        case "default":
            yield from _none_decided(resolver, checked)


def _prerequisite(resolver: Resolver, prerequisite: Prerequisite) -> str:
    found = resolver.resolve(prerequisite.flag)
    is_so = "disabled" if found.stage == "disabled" else found.variant
    wanted = " or ".join(prerequisite.variants) or "a variant that allows"
    return f"prerequisite {prerequisite.flag}: is {is_so}, needs {wanted}"


def _decided(resolver: Resolver, checked: CheckedFlag, resolution: Resolution) -> Iterator[str]:
    rule = checked.rules[resolution.number - 1]
    yield f"rule {resolution.number} {f'matched: {rule.text}' if rule.text else 'is for everybody'}"
    if rule.text:
        yield from clauses(rule.when, resolver.evaluation, True)
    key, its_id = checked.flag.key, resolver.bucketing_id(checked) or ""
    if rule.rollout_micros is not None:
        yield f"rollout {percent(rule.rollout_micros)}: this profile is at {percent(place_micros(key, its_id))}"
    if rule.variant is None:
        weight, whole = checked.variants[resolution.variant].weight_micros, checked.split[-1][1]
        part = f"{write_number(weight)} of {write_number(whole)}"
        at = percent(place_micros(key, its_id, "variant"))
        yield f"split: {resolution.variant} has weight {part}, this profile is at {at}"
    for number, earlier in enumerate(checked.rules[: resolution.number - 1], 1):
        if _is_outside(resolver, earlier):
            yield _outside(resolver, checked, earlier, number)


def _none_decided(resolver: Resolver, checked: CheckedFlag) -> Iterator[str]:
    """That no rule decided, and of each the first clause that failed, or the share that the profile is outside of."""
    outside = [_is_outside(resolver, rule) for rule in checked.rules]
    none = "no rule decided" if any(outside) else "no rule matched"
    yield none if checked.rules else "the flag has no rules"
    for number, (rule, is_outside) in enumerate(zip(checked.rules, outside, strict=True), 1):
        if is_outside:
            yield _outside(resolver, checked, rule, number)
        else:
            yield from (f"rule {number}: {clause}" for clause in clauses(rule.when, resolver.evaluation, False)[:1])


def _is_outside(resolver: Resolver, rule: CheckedRule) -> bool:
    """Whether a rule that did not decide matched all the same; one without share and split would have decided."""
    return (rule.rollout_micros is not None or rule.variant is None) and resolver.evaluation.truth(rule.when)


def _outside(resolver: Resolver, checked: CheckedFlag, rule: CheckedRule, number: int) -> str:
    part = "split" if rule.rollout_micros is None else "rollout"
    share = "" if rule.rollout_micros is None else f" ({percent(rule.rollout_micros)})"
    its_id = resolver.bucketing_id(checked)
    if its_id is None:
        return f"outside the {part} of rule {number}{share}: no {checked.flag.bucket_by} identifier to go by"
    return f"outside the {part} of rule {number}{share}: at {percent(place_micros(checked.flag.key, its_id))}"
