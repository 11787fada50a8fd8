"""Flags as they are written down: YAML nodes -> frozen definitions, and back."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final, get_args

from yaml.nodes import Node, SequenceNode

from dsl.catalog import BucketBy, Flag, Prerequisite, Rule, Target, Variant
from dsl.check_flags import flag_mistakes, target_mistake
from dsl.documents.values import ValueReader, called
from dsl.documents.yaml_nodes import Field
from dsl.numbers import MICROS

BUILT_IN_VARIANTS: Final = (Variant("on", True), Variant("off", False))
"""Variants that every flag may name without defining them."""
BUCKETS: Final[tuple[BucketBy, ...]] = get_args(BucketBy)
LARGEST_WEIGHT: Final = 1_000_000

_LABEL = re.compile(r"[A-Za-z0-9_.-]+")
_NUMBER = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?")
OPTIONAL: Final = (
    "description",
    "enabled",
    "rule",
    "rules",
    "variants",
    "default",
    "prerequisites",
    "holdout",
    "targets",
    "bucket_by",
)
_Variants = tuple[Variant, ...]


@dataclass(frozen=True, slots=True)
class FlagReader(ValueReader):
    """Reads flags of one file; a definition with a mistake is reported and left out."""

    def flag(self, node: Node) -> Flag | None:
        """A flag; notes the place of each of its conditions, and of the flags that it builds on."""
        before = len(self.file.found)
        fields = self.file.fields(node, "a flag", ("key",), OPTIONAL)
        if fields is None:
            return None
        key = self.label("flag", fields["key"][1], _LABEL, "letters, digits, `_`, `.` and `-`")
        enabled = self.file.boolean(fields["enabled"][1], "`enabled`") if "enabled" in fields else True
        variants = self._variants(fields["variants"][1]) if "variants" in fields else ()
        rules = self._rules(fields, key, variants)
        default = self._variant_key(fields["default"][1], variants) if "default" in fields else "off"
        holdout = (
            self.expression(fields["holdout"][1], f"the holdout of {called('flag', key)}", "flag", str(key), "holdout")
            if "holdout" in fields
            else None
        )
        prerequisites = self._prerequisites(fields, str(key))
        targets = self._targets(fields, variants)
        bucket_by = self.word("bucket", fields["bucket_by"][1], BUCKETS) if "bucket_by" in fields else "profile"
        if key is None or enabled is None or default is None or bucket_by is None:
            return None
        named = [*(rule.variant for rule in rules), *(target.variant for target in targets), default]
        whole = _with_built_in(variants, named)
        description = self.optional(fields, "description")
        flag = Flag(key, rules, whole, default, enabled, description, prerequisites, holdout, targets, bucket_by)
        if len(self.file.found) == before:
            self.report(flag_mistakes(flag), fields["key"][1], fields)
        return flag

    # -- variants --------------------------------------------------------------------------------------------

    def _variants(self, node: Node) -> _Variants:
        found, weights = [], list[int | None]()
        for key, (_, value) in (self.file.fields(node, "`variants`", optional=None) or {}).items():
            fields = self.file.fields(value, f"variant `{key}`", ("allow",), ("payload", "weight"))
            allow = self.file.boolean(fields["allow"][1], "`allow`") if fields else True
            payload = self.file.json(fields["payload"][1]) if fields and "payload" in fields else None
            if fields and "weight" in fields:
                weights.append(self._number(fields["weight"][1], "weight", LARGEST_WEIGHT, MICROS))
            # A variant with a mistake stays a name, so that the mistake is reported once.
            found.append(Variant(key, bool(allow), payload, (weights[-1] or 0) if fields and "weight" in fields else 0))
        if weights and set(weights) == {0}:
            advice = ("a split gives nobody to a variant of weight 0: raise one, or take them out",)
            self.file.report("bad-definition", "no variant has a weight above 0", node, advice)
        return tuple(found)

    def _variant_key(self, node: Node, variants: _Variants) -> str | None:
        known = [variant.key for variant in (*variants, *BUILT_IN_VARIANTS)]
        return self.word("variant", node, tuple(dict.fromkeys(known)))

    def _number(self, node: Node, what: str, largest: int, unit: int) -> int | None:
        """A number from 0 to `largest`, in whole parts of one `unit`-th."""
        written = self.file.text(node, f"`{what}`")
        exact = None if written is None else exact_number(written)
        if written is None:
            return None
        bounds = f"a number from 0 to {largest}, with at most {len(str(unit)) - 1} decimals"
        if exact is None or not 0 <= exact <= largest or (exact * unit).denominator != 1:
            self.file.report(
                "bad-definition", f"`{written[:40]}` is no {what}", node, (f"a {what} is {bounds}",), bounds
            )
            return None
        return int(exact * unit)

    # -- rules -----------------------------------------------------------------------------------------------

    def _rules(self, fields: Mapping[str, Field], key: str | None, variants: _Variants) -> tuple[Rule, ...]:
        if "rule" in fields and "rules" in fields:
            advice = ("`rule: …` gives the variant `on`", "`rules: [{when: …, variant: …}]` gives any variant")
            self.file.report("bad-definition", "a flag has either `rule` or `rules`", fields["rule"][0], advice)
        if "rule" in fields:
            when = self.expression(fields["rule"][1], called("flag", key), "flag", str(key), "0")
            return () if when is None else (Rule(when, "on"),)
        nodes = self.file.items(fields["rules"][1], "`rules`") if "rules" in fields else []
        rules = (self._rule(node, key, number, variants) for number, node in enumerate(nodes))
        return tuple(rule for rule in rules if rule is not None)

    def _rule(self, node: Node, key: str | None, number: int, variants: _Variants) -> Rule | None:
        fields = self.file.fields(node, "a rule", optional=("when", "variant", "rollout"))
        if fields is None:
            return None
        what = f"{called('flag', key)}, rule {number + 1}"
        when = variant = rollout = None
        if "when" in fields:
            when = self.expression(fields["when"][1], what, "flag", str(key), str(number))
        if "variant" in fields:
            variant = self._variant_key(fields["variant"][1], variants)
        if "rollout" in fields:
            rollout = self._number(fields["rollout"][1], "rollout", 100, MICROS // 100)
        return Rule(when, variant, rollout)

    # -- what is asked before the rules ----------------------------------------------------------------------

    def _prerequisites(self, fields: Mapping[str, Field], key: str) -> tuple[Prerequisite, ...]:
        nodes = self.file.items(fields["prerequisites"][1], "`prerequisites`") if "prerequisites" in fields else []
        each = (self._prerequisite(node, key, number) for number, node in enumerate(nodes))
        return tuple(prerequisite for prerequisite in each if prerequisite is not None)

    def _prerequisite(self, node: Node, key: str, number: int) -> Prerequisite | None:
        fields = self.file.fields(node, "a prerequisite", ("flag",), ("variants",))
        if fields is None:
            return None
        what = f"a prerequisite of flag `{key}`"
        flag = self.expression(fields["flag"][1], what, "flag", key, "prerequisite", str(number))
        variants = self._texts(fields["variants"], "`variants`") if "variants" in fields else ()
        return None if flag is None else Prerequisite(flag, variants)

    def _targets(self, fields: Mapping[str, Field], variants: _Variants) -> tuple[Target, ...]:
        nodes = self.file.items(fields["targets"][1], "`targets`") if "targets" in fields else []
        return tuple(target for node in nodes if (target := self._target(node, variants)) is not None)

    def _target(self, node: Node, variants: _Variants) -> Target | None:
        fields = self.file.fields(node, "a target", ("variant", "ids"))
        if fields is None:
            return None
        variant = self._variant_key(fields["variant"][1], variants)
        ids = self._texts(fields["ids"], "`ids`")
        for item, text in zip(fields["ids"][1].value, ids, strict=False):
            mistake = target_mistake(text)
            if mistake is not None:
                self.file.report("bad-definition", mistake.message, item, mistake.help, mistake.expected)
        return None if variant is None else Target(variant, ids)

    def _texts(self, field: Field, what: str) -> tuple[str, ...]:
        """A list of texts that is not empty."""
        items = self.file.items(field[1], what)
        if isinstance(field[1], SequenceNode) and not items:
            self.file.report("bad-definition", f"{what} is empty", field[0], ("name one, or take the field out",))
        texts = (self.file.text(item, f"an item of {what}") for item in items)
        return tuple(text for text in texts if text is not None)


def exact_number(text: str) -> Fraction | None:
    """A decimal text as the number that it is, to the last digit; None for what is no number, and for a longer text.

    >>> exact_number("12.5"), exact_number("1e-06"), exact_number("nan"), exact_number("25%")
    (Fraction(25, 2), Fraction(1, 1000000), None, None)
    """
    return Fraction(text) if _NUMBER.fullmatch(text) else None


def written_flag(flag: Flag) -> dict[str, Any]:
    """A flag as its definition is written: what is as it would be anyway is left out."""
    written: dict[str, Any] = {"key": flag.key}
    if flag.description:
        written["description"] = flag.description
    if not flag.enabled:
        written["enabled"] = False
    if flag.prerequisites:
        written["prerequisites"] = [
            {"flag": each.flag, **({"variants": list(each.variants)} if each.variants else {})}
            for each in flag.prerequisites
        ]
    if flag.holdout is not None:
        written["holdout"] = flag.holdout
    if flag.targets:
        written["targets"] = [{"variant": target.variant, "ids": list(target.ids)} for target in flag.targets]
    if flag.bucket_by != "profile":
        written["bucket_by"] = flag.bucket_by
    written |= _written_rules(flag.rules)
    if flag.variants != BUILT_IN_VARIANTS:
        written["variants"] = {variant.key: _written_variant(variant) for variant in flag.variants}
    return written if flag.default == "off" else {**written, "default": flag.default}


def _written_rules(rules: tuple[Rule, ...]) -> dict[str, Any]:
    if len(rules) == 1 and rules[0].when is not None and rules[0] == Rule(rules[0].when, "on"):
        return {"rule": rules[0].when}
    return {"rules": [_written_rule(rule) for rule in rules]} if rules else {}


def _written_rule(rule: Rule) -> dict[str, Any]:
    written: dict[str, Any] = {} if rule.when is None else {"when": rule.when}
    if rule.rollout_micros is not None:
        written["rollout"] = _decimal(rule.rollout_micros, MICROS // 100)
    return written if rule.variant is None else {**written, "variant": rule.variant}


def _written_variant(variant: Variant) -> dict[str, Any]:
    written: dict[str, Any] = {"allow": variant.allow}
    if variant.payload is not None:
        written["payload"] = variant.payload
    return {**written, "weight": _decimal(variant.weight_micros, MICROS)} if variant.weight_micros else written


def _decimal(parts: int, unit: int) -> int | float:
    """So many parts of one `unit`-th; rollouts and weights have few digits, which a double is written with again."""
    return parts / unit if parts % unit else parts // unit


def _with_built_in(variants: _Variants, named: Iterable[str | None]) -> _Variants:
    """The variants of a flag: its own, and those built in that it names without defining them."""
    if not variants:
        return BUILT_IN_VARIANTS
    defined, wanted = {variant.key for variant in variants}, set(named)
    return (*variants, *(v for v in BUILT_IN_VARIANTS if v.key in wanted and v.key not in defined))
