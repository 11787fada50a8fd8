"""Flags as they are written and checked: every part of a definition, what is wrong with it, and back again."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dsl.catalog import Catalog, Flag, Prerequisite, Rule, Segment, Target, Trait, Variant
from dsl.check import check_catalog
from dsl.check_flags import MAX_PREREQUISITES, flag_mistakes
from dsl.diagnostics import DefinitionError, Diagnostic
from dsl.documents.definitions import dump_yaml, load_directory
from dsl.identifiers import email_hash, profile_id

WHOLE = """
flags:
  - {key: beta, rule: segment("vip")}
  - {key: payments, rule: "true"}
  - {key: bare}
  - key: new_checkout
    enabled: false
    description: the next one
    prerequisites:
      - {flag: payments, variants: [on]}
      - {flag: beta}
    holdout: bucket("holdout_2026") < 0.05
    targets:
      - {variant: blue, ids: ["user:17", "email:a@b.example", 02c4bdd9-5236-5938-86aa-4183ef2979ee]}
      - {variant: off, ids: ["device:k"]}
    bucket_by: user
    variants:
      blue: {allow: true, payload: {color: "#00f"}, weight: 1}
      red: {allow: true, weight: 0.000001}
      white: {allow: true, weight: 2.50}
      off: {allow: false}
    rules:
      - {when: segment("vip"), variant: blue}
      - {when: profile.country == "NO", rollout: 25, variant: red}
      - {rollout: 12.3456}
    default: white
"""
CHECKOUT = Flag(
    "new_checkout",
    (
        Rule('segment("vip")', "blue"),
        Rule('profile.country == "NO"', "red", 250_000),
        Rule(None, None, 123_456),
    ),
    (
        Variant("blue", True, {"color": "#00f"}, 1_000_000),
        Variant("red", True, None, 1),
        Variant("white", True, None, 2_500_000),
        Variant("off", False),
    ),
    "white",
    enabled=False,
    description="the next one",
    prerequisites=(Prerequisite("payments", ("on",)), Prerequisite("beta")),
    holdout='bucket("holdout_2026") < 0.05',
    targets=(
        Target("blue", ("user:17", "email:a@b.example", "02c4bdd9-5236-5938-86aa-4183ef2979ee")),
        Target("off", ("device:k",)),
    ),
    bucket_by="user",
)
SEGMENTS = (Segment("vip", "events.purchase.count_30d >= 3"),)


def wrong(*flags: Flag, segments: tuple[Segment, ...] = SEGMENTS) -> tuple[Diagnostic, ...]:
    """What is wrong with flags."""
    with pytest.raises(DefinitionError) as caught:
        check_catalog(Catalog(segments=segments, flags=flags))
    return caught.value.diagnostics


def messages(flag: Flag) -> list[str]:
    """What is wrong with a flag by itself."""
    return [mistake.message for mistake in flag_mistakes(flag)]


# -- written and read --------------------------------------------------------------------------------------------------


def test_every_part_is_read(tmp_path: Path) -> None:
    """All that a flag may say comes into the catalog, numbers to the last digit; all but the key may be left out."""
    (tmp_path / "flags.yaml").write_text(WHOLE, encoding="utf-8")
    beta, payments, bare, checkout = load_directory(tmp_path).catalog.flags
    assert (Flag("beta", (Rule('segment("vip")', "on"),)), Flag("bare")) == (beta, bare)
    assert Rule("true", "on") == payments.rules[0]
    assert CHECKOUT == checkout


def test_every_part_is_written(tmp_path: Path) -> None:
    """What is written is read as the same flag again, and is no longer than it has to be."""
    catalog = Catalog(flags=(CHECKOUT, Flag("bare"), Flag("beta", (Rule("x > 1", "on"),))))
    written = dump_yaml(catalog)
    (tmp_path / "flags.yaml").write_text(written, encoding="utf-8")
    assert catalog == load_directory(tmp_path).catalog
    assert written.endswith("  default: white\n- key: bare\n- key: beta\n  rule: x > 1\n")
    assert "rollout: 12.3456\n" in written


def test_a_document_comes_back() -> None:
    """A flag is the same after its document went through JSON."""
    catalog = Catalog(flags=(CHECKOUT, Flag("bare")))
    assert catalog == Catalog.from_document(json.loads(json.dumps(catalog.to_document())))


def test_an_older_document_is_read() -> None:
    """A document that was written before there were shares, targets and prerequisites says what it said."""
    old: dict[str, Any] = {
        "key": "f",
        "rules": [{"when": "true", "variant": "on"}],
        "variants": [{"key": "on", "allow": True, "payload": None}, {"key": "off", "allow": False, "payload": None}],
        "default": "off",
        "enabled": True,
        "description": "",
    }
    document = {**Catalog().to_document(), "flags": [old]}
    assert (Flag("f", (Rule("true", "on"),)),) == Catalog.from_document(document).flags


def test_places_of_conditions(tmp_path: Path) -> None:
    """Conditions, and the flags that another builds on, are known with their place in the file."""
    (tmp_path / "flags.yaml").write_text(WHOLE, encoding="utf-8")
    sources = load_directory(tmp_path).sources
    places = {place: sources["flag", "new_checkout", *place].position(0).line for place in [("holdout",), ("1",)]}
    assert {("holdout",): 12, ("1",): 24} == places
    assert "beta" == sources["flag", "new_checkout", "prerequisite", "1"].text


# -- one flag by itself ------------------------------------------------------------------------------------------------


def test_nothing_is_wrong() -> None:
    """A flag of which every part is right has no mistakes."""
    assert [] == messages(CHECKOUT)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rules": (Rule("true", "green"),)}, "flag `new_checkout` has no variant `green`"),
        ({"targets": (Target("green", ("user:1",)),)}, "flag `new_checkout` has no variant `green`"),
        ({"default": "green"}, "flag `new_checkout` has no variant `green`"),
        (
            {"variants": (*CHECKOUT.variants, Variant("red", True))},
            "flag `new_checkout` has two variants `red`",
        ),
        (
            {"variants": (*CHECKOUT.variants, Variant("x", True, None, -1))},
            "a variant of flag `new_checkout` has a weight below 0",
        ),
        (
            {"variants": tuple(replace(variant, weight_micros=0) for variant in CHECKOUT.variants)},
            "rule 3 of flag `new_checkout` names no variant, and no variant has a weight to split by",
        ),
        ({"rules": (Rule(None, "red", -1),)}, "the rollout of rule 1 of flag `new_checkout` is not from 0 to 100"),
        (
            {"rules": (Rule(None, "red", 1_000_001),)},
            "the rollout of rule 1 of flag `new_checkout` is not from 0 to 100",
        ),
        (
            {"rules": (Rule("true", "red"), Rule(None, "red"), Rule("true", "off"))},
            "rule 3 of flag `new_checkout` is never reached: rule 2 is for everybody",
        ),
        ({"targets": (Target("red", ("17",)),)}, "`17` is no id of a profile"),
        ({"targets": (Target("red", ("usr:17",)),)}, "there is no kind of identifier `usr`"),
        ({"targets": (Target("red", ("user:null",)),)}, "`user:null` stands for nobody: no profile has it"),
        (
            {"targets": (Target("red", ("email:A@b.c",)), Target("off", (f"email:{email_hash('a@B.c')}",)))},
            f"`email:{email_hash('a@b.c')}`"[:61] + "` is a target of two variants: `red` and `off`",
        ),
    ],
)
def test_a_mistake(change: dict[str, Any], message: str) -> None:
    """Each mistake is one sentence; the check of a catalog gives it too."""
    flag = replace(CHECKOUT, **change)
    assert [message] == messages(flag)
    alone = replace(flag, prerequisites=())
    assert message in [diagnostic.message for diagnostic in wrong(alone)]


@pytest.mark.parametrize(
    "rules",
    [
        (Rule("true", "red"), Rule(None, "red")),
        (Rule(None, "red", 1_000_000), Rule(None, "blue")),
        (Rule(None, None), Rule(None, "blue")),
    ],
)
def test_what_may_be_reached(rules: tuple[Rule, ...]) -> None:
    """A rule behind a condition, a share, or a split by identifiers that not everybody has, may be reached."""
    assert [] == messages(replace(CHECKOUT, rules=rules))


def test_one_id_twice_under_one_variant() -> None:
    """Saying the same twice is no mistake; a profile id and an identifier are different ids."""
    targets = (Target("red", ("user:1", "user:1")), Target("red", ("user:1",)), Target("off", (profile_id("user:1"),)))
    assert [] == messages(replace(CHECKOUT, targets=targets))


# -- flags together ----------------------------------------------------------------------------------------------------


def needing(key: str, *flags: str) -> Flag:
    """A flag that builds on others."""
    return Flag(key, (Rule("true", "on"),), prerequisites=tuple(map(Prerequisite, flags)))


def test_cycle_of_prerequisites() -> None:
    """A cycle is an error that names the way round, once; what leads into it is not part of it."""
    cycle, alone = wrong(needing("first", "a"), needing("a", "b"), needing("b", "a"), needing("self", "self"))
    assert ("cycle", "flag `a` depends on itself: `a` -> `b` -> `a`") == (cycle.code, cycle.message)
    assert "flag `self` depends on itself: `self` -> `self`" == alone.message


def test_unknown_prerequisites() -> None:
    """A flag or a variant that does not exist is named with the nearest."""
    flag = Flag("a", prerequisites=(Prerequisite("chekout"), Prerequisite("checkout", ("off", "onn"))))
    unknown, variant = wrong(flag, Flag("checkout"))
    assert ("unknown-name", ("the nearest flag is `checkout`",)) == (unknown.code, unknown.help)
    assert "flag `checkout` has no variant `onn`, which flag `a` waits for" == variant.message
    assert ("the nearest variant is `on`",) == variant.help


def test_long_chains() -> None:
    """So many flags may build on one another in a row, and no more: one error says so."""
    chain = [needing("f0"), *(needing(f"f{n}", f"f{n - 1}") for n in range(1, MAX_PREREQUISITES + 3))]
    assert set(check_catalog(Catalog(flags=tuple(chain[:MAX_PREREQUISITES]))).flags)
    (found,) = wrong(*chain)
    assert ("too-deep", f"flag `f{MAX_PREREQUISITES}`") == (found.code, found.message.split(" builds")[0])


def test_two_flags_of_one_name() -> None:
    """Names of flags are unique."""
    (found,) = wrong(Flag("a"), Flag("a"))
    assert ("duplicate-name", "the flag `a` is defined twice") == (found.code, found.message)


def test_a_holdout_is_checked() -> None:
    """A holdout is a condition like that of a rule: it may read the context, and has to be true or false."""
    flag = Flag("a", holdout="context.amount > 1")
    holdout = check_catalog(Catalog(flags=(flag,))).flags["a"].holdout
    assert holdout is not None
    assert "boolean" == holdout.when.type
    assert ["wrong-type"] == [found.code for found in wrong(replace(flag, holdout='bucket("h")'))]
    assert ["unknown-name"] == [found.code for found in wrong(replace(flag, holdout='segment("vpi")'))]


def test_aggregates_of_a_holdout_are_computed() -> None:
    """What the conditions of flags count is among the aggregates of the catalog, a holdout's too."""
    flag = Flag("a", (Rule("events.b.count > 1", "on"),), holdout="events.h.count_7d > 1")
    assert ["events.h.count_7d", "events.b.count"] == list(check_catalog(Catalog(flags=(flag,))).aggregates)


def test_a_holdout_of_the_next_minute() -> None:
    """A holdout that time changes at instants that nobody knows is warned of."""
    checked = check_catalog(Catalog(flags=(Flag("a", holdout="number(now()) % 2 == 0"),)))
    assert ["time changes the holdout of flag `a` at instants that cannot be foreseen"] == [
        warning.message for warning in checked.warnings
    ]


def test_ranked_through_prerequisites() -> None:
    """A flag needs all profiles where a condition does, and where a flag that it builds on does."""
    spend = Trait("rank", "percent_rank(events.purchase.sum(amount))")
    flags = (needing("top", "middle"), needing("middle", "low"), Flag("low", holdout="rank > 0.9"), needing("other"))
    checked = check_catalog(Catalog(traits=(spend,), flags=flags))
    assert ["top", "middle", "low"] == [key for key, flag in checked.flags.items() if flag.ranked]
    assert [flag.key for flag in flags] == list(checked.flags)


def test_versions() -> None:
    """Equal flags have equal versions; every part of a flag is in it but its description."""
    changes: list[dict[str, Any]] = [
        {"rules": ()},
        {"variants": CHECKOUT.variants[:2]},
        {"default": "off"},
        {"enabled": True},
        {"prerequisites": ()},
        {"holdout": None},
        {"targets": ()},
        {"bucket_by": "email"},
    ]
    versions = [CHECKOUT.version(), *(replace(CHECKOUT, **change).version() for change in changes)]
    assert len(versions) == len(set(versions))
    assert versions[0] == replace(CHECKOUT, description="of the shop's").version()
    assert {12} == set(map(len, versions))
