"""Flags checked: each by itself, its conditions typed, and the flags that it builds on."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Final

from dsl import typed
from dsl.catalog import Flag, Prerequisite, Rule, Variant
from dsl.diagnostics import Code, Diagnostic
from dsl.identifiers import KINDS, Kind, is_blocked, source_id
from dsl.mistakes import Mistake
from dsl.nearest import nearest, nearest_help
from dsl.numbers import MICROS
from dsl.schemas import Sources
from dsl.source import Source, Span
from dsl.walk import topological

MAX_PREREQUISITES: Final = 50
"""Flags that build on one another in a row: a decision takes a few calls for each."""

_PROFILE_ID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_HASH = re.compile(r"[0-9a-fA-F]{64}")
_KINDS: tuple[Kind, ...] = (*KINDS, "email_hash")
_EVERYBODY: Final = typed.Constant(True, "boolean", Span(0, 0))


@dataclass(frozen=True, slots=True)
class CheckedCondition:
    """A condition of a flag: its typed tree and its canonical text."""

    when: typed.Node
    text: str


@dataclass(frozen=True, slots=True)
class CheckedRule:
    """A rule of a flag.

    Attributes:
        when: the typed condition; constantly true for everybody.
        text: its canonical text; empty for everybody.
        variant: None splits.
        rollout_micros: a share, 0 to 1,000,000 micro-units; None is all for whom `when` holds.
    """

    when: typed.Node
    text: str
    variant: str | None = None
    rollout_micros: int | None = None


@dataclass(frozen=True, slots=True)
class CheckedFlag:
    """A flag that passed, with all that a decision needs.

    Attributes:
        ranked: a condition needs all profiles (`percent_rank`), here or in a flag that it builds on, so its answer is
            of the last refresh.
        version: `Flag.version`.
        variants: by key.
        split: what a split chooses from: variants with a weight, and how far each reaches.
        targets: variant of each target, by its id as profiles have it, in the order of the targets.
        targets_profiles: some targets are profile ids.
        is_static: nothing but the default can be the answer.
    """

    flag: Flag
    rules: tuple[CheckedRule, ...]
    ranked: bool = False
    version: str = ""
    holdout: CheckedCondition | None = None
    variants: Mapping[str, Variant] = field(default_factory=dict)
    split: tuple[tuple[str, int], ...] = ()
    targets: Mapping[str, str] = field(default_factory=dict)
    targets_profiles: bool = False
    is_static: bool = False

    @property
    def prerequisites(self) -> tuple[Prerequisite, ...]:
        """The flags that it builds on directly, in the order in which they are asked."""
        return self.flag.prerequisites

    @property
    def conditions(self) -> tuple[CheckedCondition | CheckedRule, ...]:
        """Its own conditions, in the order in which they are asked."""
        return (*(() if self.holdout is None else (self.holdout,)), *self.rules)


@dataclass(slots=True)
class FlagCheck:
    """Checks all flags of a catalog together.

    Attributes:
        sources: where conditions stand, by `("flag", key, "0")` and `("flag", key, "holdout")`, and the flag of a
            prerequisite, by `("flag", key, "prerequisite", "0")`.
        condition: types the text of a source, for what people call it; None when it is wrong, which it reports.
        is_ranked: whether a condition, or a definition that it builds on, needs all profiles.
        found: collects what is wrong.
    """

    flags: Sequence[Flag]
    sources: Sources
    condition: Callable[[Source, str], CheckedCondition | None]
    is_ranked: Callable[[typed.Node], bool]
    found: list[Diagnostic]
    _checked: dict[str, CheckedFlag] = field(default_factory=dict)

    def run(self) -> dict[str, CheckedFlag]:
        """The flags by key, in their order; those with a mistake are reported."""
        for flag in self.flags:
            if flag.key in self._checked:
                self._report("duplicate-name", f"the flag `{flag.key}` is defined twice", flag)
            else:
                self._checked[flag.key] = self._flag(flag)
        for checked in self._checked.values():
            for number, prerequisite in enumerate(checked.prerequisites):
                self._check_prerequisite(checked.flag, prerequisite, number)
        self._build_on()
        return self._checked

    def _flag(self, flag: Flag) -> CheckedFlag:
        for mistake in flag_mistakes(flag):
            self._report("bad-definition", mistake.message, flag, mistake.help)
        holdout = self._condition(flag, flag.holdout, "holdout", f"the holdout of flag `{flag.key}`")
        rules = []
        for number, rule in enumerate(flag.rules):
            when = self._condition(flag, rule.when, str(number), f"a rule of flag `{flag.key}`")
            node, text = (_EVERYBODY, "") if when is None else (when.when, when.text)
            rules.append(CheckedRule(node, text, rule.variant, rule.rollout_micros))
        targets = [(text, target.variant) for target in flag.targets for text in target.ids]
        return CheckedFlag(
            flag,
            tuple(rules),
            version=flag.version(),
            holdout=holdout,
            variants={variant.key: variant for variant in flag.variants},
            split=reaches(flag),
            targets=_stored(targets),
            targets_profiles=any(is_profile_id(text) for text, _ in targets),
            is_static=not (flag.rules or flag.targets or flag.prerequisites or flag.holdout is not None),
        )

    def _condition(self, flag: Flag, text: str | None, place: str, what: str) -> CheckedCondition | None:
        """None where there is no condition, and where it is wrong."""
        if text is None:
            return None
        return self.condition(self.sources.get(("flag", flag.key, place), Source(text)), what)

    # -- flags that build on others --------------------------------------------------------------------------

    def _check_prerequisite(self, flag: Flag, prerequisite: Prerequisite, number: int) -> None:
        source = self._prerequisite_source(flag, number)
        wanted = self._checked.get(prerequisite.flag)
        if wanted is None:
            message = f"flag `{flag.key}` builds on the flag `{prerequisite.flag[:60]}`, which is not defined"
            advice = nearest_help(prerequisite.flag, [key for key in self._checked if key != flag.key], "flag")
            self._add("unknown-name", message, source, advice)
            return
        for variant in prerequisite.variants:
            if variant not in wanted.variants:
                message = (
                    f"flag `{prerequisite.flag}` has no variant `{variant[:60]}`, which flag `{flag.key}` waits for"
                )
                listed = (f"its variants are {', '.join(f'`{key}`' for key in wanted.variants)}",)
                advice = nearest_help(variant, wanted.variants, "variant") or listed
                self._add("unknown-name", message, source, advice)

    def _build_on(self) -> None:
        """Reports cycles and chains that are too long; says of each flag whether it needs all profiles."""
        levels: dict[str, int] = {}
        references = {key: [each.flag for each in its.prerequisites] for key, its in self._checked.items()}
        for key in topological(references, self._report_cycle):
            checked = self._checked[key]
            below = [each.flag for each in checked.prerequisites if each.flag in levels]
            levels[key] = 1 + max((levels[name] for name in below), default=0)
            if levels[key] == MAX_PREREQUISITES + 1:
                message = f"flag `{key}` builds on more than {MAX_PREREQUISITES} flags, one behind the other"
                self._report("too-deep", message, checked.flag, ("let it build on fewer flags in a row",))
            its_own = any(self.is_ranked(condition.when) for condition in checked.conditions)
            if its_own or any(self._checked[name].ranked for name in below):
                self._checked[key] = replace(checked, ranked=True)

    def _report_cycle(self, path: list[str]) -> None:
        flag = self._checked[path[0]].flag
        number = next(number for number, each in enumerate(flag.prerequisites) if each.flag == path[1])
        shown = " -> ".join(f"`{key}`" for key in path)
        advice = ("take one of these prerequisites out",)
        self._add(
            "cycle", f"flag `{path[0]}` depends on itself: {shown}", self._prerequisite_source(flag, number), advice
        )

    def _prerequisite_source(self, flag: Flag, number: int) -> Source:
        return self.sources.get(
            ("flag", flag.key, "prerequisite", str(number)),
            Source(flag.prerequisites[number].flag, f"<flag {flag.key}>"),
        )

    def _report(self, code: Code, message: str, flag: Flag, help_lines: tuple[str, ...] = ()) -> None:
        self._add(code, message, self.sources.get(("flag", flag.key, "0"), Source(flag.key)), help_lines)

    def _add(self, code: Code, message: str, source: Source, help_lines: tuple[str, ...]) -> None:
        self.found.append(Diagnostic(code, message, Span(0, len(source.text)), source, help=help_lines))


def _stored(targets: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Variants by id; of an id with a mistake there is none."""
    found: dict[str, str] = {}
    for text, variant in targets:
        if target_mistake(text) is None:
            found.setdefault(stored_target(text), variant)
    return found


# -- a flag by itself ------------------------------------------------------------------------------------------


def is_profile_id(text: str) -> bool:
    """Whether a target's id is a profile id, not an identifier.

    >>> is_profile_id("02C4BDD9-5236-5938-86aa-4183ef2979ee"), is_profile_id("user:02c4bdd9")
    (True, False)
    """
    return _PROFILE_ID.fullmatch(text) is not None


def stored_target(text: str) -> str:
    """A target's id as profiles have it: an address by its hash, a profile id in lower case.

    >>> stored_target("user:17"), stored_target("email: A@B.example") == stored_target("email:a@b.example")
    ('user:17', True)
    """
    if is_profile_id(text):
        return text.lower()
    kind, _, value = text.partition(":")
    known = next(name for name in _KINDS if name == kind)
    return source_id("email_hash" if known == "email" and _HASH.fullmatch(value) else known, value)


def target_mistake(text: str) -> Mistake | None:
    """What is wrong with a target's id; None when it names somebody.

    >>> target_mistake("user:17"), target_mistake("usr:17").help
    (None, ('the nearest kind is `user`',))
    """
    if is_profile_id(text):
        return None
    kind, colon, value = text.partition(":")
    if not colon:
        advice = ("an id is written `<kind>:<value>`, such as `user:17`, or it is a profile id",)
        return Mistake("targets", f"`{text[:60]}` is no id of a profile", advice, "<kind>:<value>")
    if kind not in _KINDS:
        best = nearest(kind, _KINDS)
        listed = f"kinds are {', '.join(f'`{name}`' for name in KINDS)}"
        message = f"there is no kind of identifier `{kind[:60]}`"
        return Mistake("targets", message, (f"the nearest kind is `{best}`",) if best else (listed,))
    if is_blocked(value):
        return Mistake("targets", f"`{text[:60]}` stands for nobody: no profile has it", ("take it out",))
    return None


def reaches(flag: Flag) -> tuple[tuple[str, int], ...]:
    """The variants that a split chooses from, each with the sum of the weights up to it, in the order of the variants.

    Variants without weight are not among them.
    """
    weighted = [variant for variant in flag.variants if variant.weight_micros > 0]
    sums = accumulate(variant.weight_micros for variant in weighted)
    return tuple((variant.key, reach) for variant, reach in zip(weighted, sums, strict=True))


def flag_mistakes(flag: Flag) -> Iterator[Mistake]:
    """What is wrong with a flag, each at its field: variants that it does not have, shares, weights, targets, rules."""
    yield from _variant_mistakes(flag)
    yield from _target_mistakes(flag)
    for number, rule in enumerate(flag.rules):
        yield from _rule_mistakes(flag, rule, number)
    yield from _unreachable(flag)


def _variant_mistakes(flag: Flag) -> Iterator[Mistake]:
    known = [variant.key for variant in flag.variants]
    advice = (f"its variants are {', '.join(f'`{key}`' for key in known)}",)
    named = [("rules", rule.variant) for rule in flag.rules if rule.variant is not None]
    named += [("targets", target.variant) for target in flag.targets]
    for place, variant in (*named, ("default", flag.default)):
        if variant not in known:
            yield Mistake(place, f"flag `{flag.key}` has no variant `{variant}`", advice)
    for variant_key in sorted({key for key in known if known.count(key) > 1}):
        yield Mistake("variants", f"flag `{flag.key}` has two variants `{variant_key}`", ("rename one of them",))
    if any(variant.weight_micros < 0 for variant in flag.variants):
        yield Mistake("variants", f"a variant of flag `{flag.key}` has a weight below 0", ("a weight is 0 or more",))


def _target_mistakes(flag: Flag) -> Iterator[Mistake]:
    taken: dict[str, str] = {}
    for number, target in enumerate(flag.targets):
        for text in target.ids:
            mistake = target_mistake(text)
            if mistake is not None:
                yield Mistake("targets", mistake.message, mistake.help, mistake.expected, item=number)
                continue
            first = taken.setdefault(stored_target(text), target.variant)
            if first != target.variant:
                message = f"`{text[:60]}` is a target of two variants: `{first}` and `{target.variant}`"
                yield Mistake("targets", message, ("keep one of them",), item=number)


def _rule_mistakes(flag: Flag, rule: Rule, number: int) -> Iterator[Mistake]:
    what = f"rule {number + 1} of flag `{flag.key}`"
    if rule.rollout_micros is not None and not 0 <= rule.rollout_micros <= MICROS:
        yield Mistake("rules", f"the rollout of {what} is not from 0 to 100", item=number)
    if rule.variant is None and not reaches(flag):
        message = f"{what} names no variant, and no variant has a weight to split by"
        names = ", ".join(f"`variant: {variant.key}`" for variant in flag.variants)
        advice = (f"say which: {names}", "or give variants a `weight` above 0 to split by")
        yield Mistake("rules", message, advice, item=number)


def _unreachable(flag: Flag) -> Iterator[Mistake]:
    """Rules behind one that decides for everybody."""
    for number, rule in enumerate(flag.rules[:-1]):
        # Who has no identifier to bucket by is outside of a split.
        decides = rule.variant is not None or flag.bucket_by == "profile"
        if rule.when is None and rule.rollout_micros is None and decides:
            message = f"rule {number + 2} of flag `{flag.key}` is never reached: rule {number + 1} is for everybody"
            yield Mistake("rules", message, ("give the earlier one a `when` or a `rollout`",), item=number + 1)
            return
