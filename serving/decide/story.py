"""The whole story of a decision: every condition of its flag, with every value, and what would turn it."""

import msgspec

from dsl.check_flags import CheckedCondition, CheckedFlag, CheckedRule
from dsl.guide.explain_tree import Explained, explain_trees
from dsl.next_change import Holdings
from dsl.numbers import write_number
from serving.decide.resolution import Resolver

_PERCENT = 100


class PrerequisiteStory(msgspec.Struct, frozen=True, rename="camel"):
    """A flag that another one builds on.

    Attributes:
        needs: variants that let the other flag go on; empty: any that allows.
    """

    flag: str
    variant: str
    needs: tuple[str, ...]
    holds: bool


class RuleStory(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A rule of a flag.

    Attributes:
        rule: its number, from 1.
        variant: None splits by the weights of the variants.
        matched: its condition holds and the profile is inside of its rollout.
        decided: it is the rule that the answer is of.
        rollout_percent: the share of those for whom the condition holds; left out where that is all.
        place_percent: the profile's place: it is inside of every rollout of at least that; left out without one.
        condition: left out of a rule for everybody.
    """

    rule: int
    variant: str | None
    matched: bool
    decided: bool
    rollout_percent: msgspec.Raw | None = None
    place_percent: msgspec.Raw | None = None
    condition: Explained | None = None


class Story(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Every condition of a flag, those that were not asked too.

    Attributes:
        stage: where the answer was settled: `disabled`, `static`, `prerequisite`, `holdout`, `target`, `rule`,
            `default`.
        target: the individual target that matched.
    """

    stage: str
    rules: tuple[RuleStory, ...]
    prerequisites: tuple[PrerequisiteStory, ...] = ()
    holdout: Explained | None = None
    target: str = ""


def story(resolver: Resolver, flag_key: str, holdings: Holdings | None = None) -> Story:
    """The story of a flag that the catalog has.

    Args:
        holdings: instants of the events that an aggregate holds: with them it is told when events leave windows.
    """
    checked, found = resolver.catalog.flags[flag_key], resolver.resolve(flag_key)
    trees = _trees(resolver, checked, holdings)
    decider = found.number if found.stage == "rule" else 0
    return Story(
        stage=found.stage,
        rules=tuple(
            _rule(resolver, checked, rule, number, trees.get(number), decided=number == decider)
            for number, rule in enumerate(checked.rules, 1)
        ),
        prerequisites=tuple(
            PrerequisiteStory(each.flag, resolver.resolve(each.flag).variant, each.variants, resolver.holds(each))
            for each in checked.prerequisites
        ),
        holdout=trees.get(0),
        target=found.target,
    )


def _trees(resolver: Resolver, checked: CheckedFlag, holdings: Holdings | None) -> dict[int, Explained]:
    """The trees of the conditions: by number of the rule, of the holdout by 0."""
    conditions: dict[int, CheckedCondition | CheckedRule] = {} if checked.holdout is None else {0: checked.holdout}
    conditions |= {number: rule for number, rule in enumerate(checked.rules, 1) if rule.text}
    nodes = [condition.when for condition in conditions.values()]
    trees = explain_trees(nodes, resolver.state, resolver.catalog, resolver.context, holdings=holdings)
    return dict(zip(conditions, trees, strict=True))


def _rule(
    resolver: Resolver, checked: CheckedFlag, rule: CheckedRule, number: int, tree: Explained | None, *, decided: bool
) -> RuleStory:
    place = resolver.place_micros(checked) if rule.rollout_micros is not None else None
    return RuleStory(
        rule=number,
        variant=rule.variant,
        matched=resolver.matches(checked, rule),
        decided=decided,
        rollout_percent=_percent(rule.rollout_micros),
        place_percent=_percent(place),
        condition=tree,
    )


def _percent(share_micros: int | None) -> msgspec.Raw | None:
    return None if share_micros is None else msgspec.Raw(write_number(share_micros * _PERCENT).encode())
