"""Which variant of a flag answers, and at which stage that was settled; the sentences come later, if at all."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from dsl.bucketing import bucketing_id, chosen, hashed, place_micros
from dsl.catalog import Prerequisite
from dsl.check import CheckedCatalog
from dsl.check_flags import CheckedFlag, CheckedRule
from dsl.evaluate import Evaluation
from dsl.identifiers import profile_id
from dsl.state import State

Stage = Literal["disabled", "static", "prerequisite", "holdout", "target", "rule", "default"]
"""Where a flag's answer was settled, in the order in which they are asked."""


class Resolution(msgspec.Struct, frozen=True, gc=False):
    """The answer of a flag.

    Attributes:
        number: of the prerequisite that failed, or of the rule that decided, from 1; else 0.
        target: the id of the target that matched, as profiles have it.
        split: a rollout's share or the weights of a split chose.
    """

    variant: str
    stage: Stage
    number: int = 0
    target: str = ""
    split: bool = False


@dataclass(slots=True)
class Resolver:
    """Resolves flags for one state: each flag once, and every definition that they share once.

    Attributes:
        context: what the request brought along, as JSON values with numbers in micro-units.
        asked: the identifier that the request named, as it is stored, or a profile id; None when nobody says.
    """

    catalog: CheckedCatalog
    state: State
    context: Mapping[str, object]
    asked: str | None = None
    evaluation: Evaluation = field(init=False)
    _known: dict[str, Resolution] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        # Answers, their reasons and how long they hold ask the same conditions.
        self.evaluation = Evaluation(self.catalog, self.state, self.context, truths={})

    def resolve(self, flag_key: str) -> Resolution:
        """The answer of a flag that the catalog has, and of all that it builds on as far as they were asked."""
        known = self._known.get(flag_key)
        if known is None:
            known = self._known[flag_key] = self._resolve(self.catalog.flags[flag_key])
        return known

    def bucketing_id(self, checked: CheckedFlag) -> str | None:
        """What shares and splits of a flag go by; None when the profile has no identifier of that kind."""
        return bucketing_id(checked.flag.bucket_by, self.state, self.asked)

    def place_micros(self, checked: CheckedFlag) -> int | None:
        """The smallest share of a flag that the profile is in; None when it is in none."""
        its_id = self.bucketing_id(checked)
        return None if its_id is None else place_micros(checked.flag.key, its_id)

    def matches(self, checked: CheckedFlag, rule: CheckedRule) -> bool:
        """Whether a rule would decide, if it came first."""
        return self.evaluation.truth(rule.when) and self._variant(checked, rule) is not None

    def _resolve(self, checked: CheckedFlag) -> Resolution:
        default = checked.flag.default
        if not checked.flag.enabled:
            return Resolution(default, "disabled")
        if checked.is_static:
            return Resolution(default, "static")
        for number, prerequisite in enumerate(checked.prerequisites, 1):
            if not self.holds(prerequisite):
                return Resolution(default, "prerequisite", number)
        if checked.holdout is not None and self.evaluation.truth(checked.holdout.when):
            return Resolution(default, "holdout")
        target = self._target(checked) if checked.targets else None
        if target is not None:
            return Resolution(checked.targets[target], "target", target=target)
        for number, rule in enumerate(checked.rules, 1):
            variant = self._variant(checked, rule) if self.evaluation.truth(rule.when) else None
            if variant is not None:
                split = rule.rollout_micros is not None or rule.variant is None
                return Resolution(variant, "rule", number, split=split)
        return Resolution(default, "default")

    def holds(self, prerequisite: Prerequisite) -> bool:
        """Whether a flag answers as one that builds on it needs."""
        found = self.resolve(prerequisite.flag)
        if found.stage == "disabled":
            return False
        if prerequisite.variants:
            return found.variant in prerequisite.variants
        return self.catalog.flags[prerequisite.flag].variants[found.variant].allow

    def _target(self, checked: CheckedFlag) -> str | None:
        """The first of the flag's targets that is this profile."""
        identifiers = {*self.state.identifiers, *(() if self.asked is None else (self.asked,))}
        names = {self.state.profile_id, *identifiers}
        if checked.targets_profiles:
            # Ids of profiles that were merged into this one are made of its identifiers.
            names.update(map(profile_id, identifiers))
        named = names & checked.targets.keys()
        return next((target for target in checked.targets if target in named), None) if named else None

    def _variant(self, checked: CheckedFlag, rule: CheckedRule) -> str | None:
        """What a rule whose condition holds gives; None to those outside of its share."""
        if rule.rollout_micros is None and rule.variant is not None:
            return rule.variant
        flag_key, its_id = checked.flag.key, self.bucketing_id(checked)
        if its_id is None:
            return None
        if rule.rollout_micros is not None and place_micros(flag_key, its_id) > rule.rollout_micros:
            return None
        if rule.variant is not None:
            return rule.variant
        part = chosen(hashed(flag_key, its_id, "variant"), [reach for _, reach in checked.split])
        return checked.split[part][0]
