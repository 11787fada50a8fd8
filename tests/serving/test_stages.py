"""The stages of a decision: disabled, prerequisites, holdout, targets, rules with shares and splits, default."""

import json
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsl.bucketing import place_micros
from dsl.calls import bucket_share
from dsl.catalog import BucketBy, Catalog, Flag, Prerequisite, Rule, Target, Variant
from dsl.check import CheckedCatalog, check_catalog
from dsl.identifiers import email_hash, profile_id
from dsl.numbers import write_number
from dsl.state import State
from serving.decide import Decision, Decisions, UnknownFlagError, decide
from serving.decide.decision import default_decision

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "bucketing.json").read_text(encoding="utf-8"))["flags"]
BLUE_RED = (Variant("blue", True, "#00f", 1_000_000), Variant("red", True, "#f00", 1_000_000), Variant("off", False))
EVERYTHING = Flag(
    "all",
    (Rule("context.rule == true", "red"), Rule("context.second == true", "blue")),
    BLUE_RED,
    prerequisites=(Prerequisite("wanted", ("on",)),),
    holdout="context.held == true",
    targets=(Target("blue", ("user:17",)),),
)
WANTED = Flag("wanted", (Rule("context.wanted == true", "on"),))


def catalog(*flags: Flag) -> CheckedCatalog:
    """Checked flags."""
    return check_catalog(Catalog(flags=flags))


def somebody(number: int = 0, *identifiers: str) -> State:
    """A profile of that number."""
    return State(f"profile-{number}", 1, 1, identifiers=identifiers)


def summary(decision: Decision) -> tuple[str, str, int | None, bool]:
    """What programs read of a decision."""
    return decision.variant, decision.reason, decision.rule, decision.split


# -- the order of stages -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "context", "expected", "why"),
    [
        ({"enabled": False}, (), ("off", "DISABLED", None, False), "flag all is disabled"),
        ({}, (), ("off", "DEFAULT", None, False), "prerequisite wanted: is off, needs on"),
        ({}, ("wanted",), ("off", "DEFAULT", None, False), "in the holdout: context.held = true == true"),
        ({}, ("wanted", "not held"), ("blue", "TARGETING_MATCH", None, False), "individual target user:17"),
        (
            {"targets": ()},
            ("wanted", "not held"),
            ("red", "TARGETING_MATCH", 1, False),
            "rule 1 matched: context.rule == true",
        ),
        (
            {"targets": ()},
            ("wanted", "not held", "not rule"),
            ("blue", "TARGETING_MATCH", 2, False),
            "rule 2 matched: context.second == true",
        ),
        (
            {"targets": ()},
            ("wanted", "not held", "not rule", "not second"),
            ("off", "DEFAULT", None, False),
            "no rule matched",
        ),
        (
            {"targets": (), "rules": ()},
            ("wanted", "not held"),
            ("off", "DEFAULT", None, False),
            "the flag has no rules",
        ),
    ],
)
def test_each_stage_comes_before_the_next(
    change: dict[str, Any], context: tuple[str, ...], expected: tuple[str, str, int | None, bool], why: str
) -> None:
    """With every later stage ready to answer, the first one that does is the answer and its sentence comes first."""
    said: dict[str, object] = {"held": True, "rule": True, "second": True, "wanted": False}
    for words in context:
        said[words.removeprefix("not ")] = not words.startswith("not ")
    found = decide(catalog(replace(EVERYTHING, **change), WANTED), "all", somebody(0, "user:17"), said)
    assert (expected, why) == (summary(found), found.reasons[0])


def test_version_and_payload() -> None:
    """A decision carries the payload of its variant and the version of its flag."""
    found = decide(catalog(EVERYTHING, WANTED), "all", somebody(0, "user:17"), {"wanted": True})
    assert ("#00f", EVERYTHING.version()) == (found.payload, found.version)


def test_the_default_alone() -> None:
    """Where nothing can be asked, the default is the answer, with what is said of it."""
    checked = catalog(EVERYTHING, WANTED)
    found = default_decision(checked, "all", "STALE", "the store is away")
    assert (("off", "STALE", None, False), ("the store is away",)) == (summary(found), found.reasons)
    with pytest.raises(UnknownFlagError, match="the nearest is `all`"):
        default_decision(checked, "al", "STALE")


# -- prerequisites -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variants", "wanted", "why"),
    [
        ((), {"variant": "yes"}, None),
        (("yes", "no"), {"variant": "no"}, None),
        ((), {"variant": "no"}, "prerequisite other: is no, needs a variant that allows"),
        (("yes", "no"), {"variant": "third"}, "prerequisite other: is third, needs yes or no"),
        (("yes",), {"variant": "yes", "enabled": False}, "prerequisite other: is disabled, needs yes"),
    ],
)
def test_prerequisites(variants: tuple[str, ...], wanted: dict[str, Any], why: str | None) -> None:
    """Without variants any that allows will do; a disabled flag fails, whatever its default is."""
    three = (Variant("yes", True), Variant("no", False), Variant("third", True))
    other = Flag("other", (), three, wanted["variant"], wanted.get("enabled", True))
    flag = Flag("flag", (Rule("true", "on"),), prerequisites=(Prerequisite("other", variants),))
    found = decide(catalog(flag, other), "flag", somebody())
    assert (why is None, why or "rule 1 matched: true") == (found.allow, found.reasons[0])


def test_many_ways_to_one_prerequisite() -> None:
    """A flag that is reached in very many ways is resolved once."""
    flags = [Flag("f0", (Rule("true", "on"),))]
    for level in range(1, 25):
        below = tuple(Prerequisite(each.key) for each in flags[-2:])
        flags += [replace(flags[0], key=f"f{level}{side}", prerequisites=below) for side in "ab"]
    checked = catalog(*flags)
    started = time.perf_counter()
    assert decide(checked, flags[-1].key, somebody()).allow
    assert time.perf_counter() - started < 1


def test_flags_of_one_request() -> None:
    """Decisions of several flags for one state are those of each alone."""
    checked = catalog(EVERYTHING, WANTED)
    context = {"wanted": True, "rule": True}
    together = Decisions(checked, somebody(), context)
    alone = [decide(checked, flag, somebody(), context) for flag in ("wanted", "all", "wanted")]
    assert alone == [together.of(flag) for flag in ("wanted", "all", "wanted")]


# -- targets -----------------------------------------------------------------------------------------------------------

MERGED = profile_id("anon:before")


@pytest.mark.parametrize(
    ("target", "who", "asked", "expected"),
    [
        ("user:17", ("anon:x", "user:17"), None, "user:17"),
        ("user:17", ("user:170",), None, None),
        ("user:17", (), "user:17", "user:17"),
        ("email: A@B.example ", (f"email:{email_hash('a@b.example')}",), None, f"email:{email_hash('a@b.example')}"),
        (f"email_hash:{email_hash('a@b.example').upper()}", (f"email:{email_hash('a@b.example')}",), None, "email:"),
        (MERGED.upper(), ("user:17", "anon:before"), None, MERGED),
        (MERGED, ("user:17",), None, None),
        (MERGED, (), "anon:before", MERGED),
        (profile_id("user:0"), (), None, None),
    ],
)
def test_targets(target: str, who: tuple[str, ...], asked: str | None, expected: str | None) -> None:
    """Every identifier of the profile counts, the one that was asked for too, and every id that it ever had."""
    flag = Flag("f", targets=(Target("on", (target,)),))
    found = decide(catalog(flag), "f", somebody(0, *who), asked=asked)
    assert (expected is not None) is found.allow
    assert found.reasons[0].startswith("the flag has no rules" if expected is None else f"individual target {expected}")


def test_the_profile_s_own_id_is_a_target() -> None:
    """A target may be the id that decisions return."""
    flag = Flag("f", targets=(Target("on", (MERGED,)),))
    assert decide(catalog(flag), "f", State(MERGED, 0, 0)).allow


def test_the_first_target_counts() -> None:
    """Of several targets that a profile is, the first in the definition decides."""
    flag = Flag("f", (), BLUE_RED, targets=(Target("red", ("device:d",)), Target("blue", ("user:1",))))
    assert "red" == decide(catalog(flag), "f", somebody(0, "user:1", "device:d"), asked="user:1").variant


# -- shares ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", list(VECTORS))
def test_published_answers(key: str) -> None:
    """The answers that another product with this formula published, 1,000 of each flag, are ours."""
    vector = VECTORS[key]
    variants = tuple(Variant(str(n), True, None, w * 1_000_000) for n, w in enumerate(vector["weights"], 1))
    flag = Flag(
        key,
        (Rule(None, None if variants else "1", vector["rollout"] * 10_000),),
        (*(variants or (Variant("1", True),)), Variant("0", False)),
        "0",
        bucket_by="user",
    )
    checked = catalog(flag)
    found = [decide(checked, key, somebody(n, f"user:distinct_id_{n}")).variant for n in range(1_000)]
    assert "".join(vector["answers"]) == "".join(found)


@given(st.lists(st.integers(0, 1_000_000), min_size=2, max_size=4), st.integers(0, 10**9))
@settings(max_examples=200, deadline=None)
def test_a_ramp(shares: list[int], number: int) -> None:
    """A larger share never takes anybody out, and no change of it moves anybody to another variant."""
    flags = [Flag("f", (Rule(None, None, share),), BLUE_RED) for share in sorted(shares)]
    answers = [decide(catalog(flag), "f", somebody(number)).variant for flag in flags]
    assert all(earlier in ("off", later) for earlier, later in pairwise(answers))


@pytest.mark.parametrize(("share", "inside"), [(0, 0), (250_000, 518), (1_000_000, 2_000)])
def test_how_many_are_inside(share: int, inside: int) -> None:
    """Nobody is in a share of 0, everybody in one of 100 %, about a quarter in one of 25 %."""
    checked = catalog(Flag("f", (Rule(None, "on", share),)))
    assert inside == sum(decide(checked, "f", somebody(number)).allow for number in range(2_000))


def test_reasons_of_a_share() -> None:
    """Who is inside reads the share and the own place, who is outside too; only what a share decided is an exposure."""
    rules = (Rule('context.country == "NO"', "blue", 250_000), Rule(None, "red", 500_000))
    checked = catalog(Flag("f", rules, BLUE_RED))
    places = {number: place_micros("f", f"profile-{number}") for number in range(50)}
    low, middle, high = (
        next(number for number, place in places.items() if first < place <= last)
        for first, last in ((0, 250_000), (250_000, 500_000), (500_000, 1_000_000))
    )

    def at(number: int) -> str:
        return f"{write_number(places[number] * 100)}%"

    norway: dict[str, object] = {"country": "NO"}
    found = [decide(checked, "f", somebody(number), norway) for number in (low, middle, high)]
    assert [("blue", "SPLIT", 1, True), ("red", "SPLIT", 2, True), ("off", "DEFAULT", None, False)] == [
        summary(each) for each in found
    ]
    assert [
        (
            'rule 1 matched: context.country == "NO"',
            'context.country = "NO" == "NO"',
            f"rollout 25%: this profile is at {at(low)}",
        ),
        (
            "rule 2 is for everybody",
            f"rollout 50%: this profile is at {at(middle)}",
            f"outside the rollout of rule 1 (25%): at {at(middle)}",
        ),
        (
            "no rule decided",
            f"outside the rollout of rule 1 (25%): at {at(high)}",
            f"outside the rollout of rule 2 (50%): at {at(high)}",
        ),
    ] == [each.reasons for each in found]
    other = decide(checked, "f", somebody(high))
    assert 'rule 1: context.country = missing, not == "NO"' == other.reasons[1]


def test_reasons_of_a_split() -> None:
    """Who gets a variant by weight reads the weight of all weights and the own place."""
    flag = Flag("f", (Rule(None),), (Variant("a", True, None, 2_500_000), Variant("b", True, None, 500_000)), "b")
    found = decide(catalog(flag), "f", somebody())
    place = write_number(place_micros("f", "profile-0", "variant") * 100)
    weight = {"a": "2.5", "b": "0.5"}[found.variant]
    assert ("SPLIT", 1, True) == summary(found)[1:]
    assert (
        "rule 1 is for everybody",
        f"split: {found.variant} has weight {weight} of 3, this profile is at {place}%",
    ) == found.reasons


def test_a_holdout_by_bucket() -> None:
    """A holdout holds the same profiles out of every flag that names its salt, and says at which share they are."""
    flags = [Flag(key, (Rule("true", "on"),), holdout='bucket("h") < 0.05') for key in ("one", "other")]
    checked = catalog(*flags)
    for number in range(200):
        share = bucket_share("h", f"profile-{number}")
        found = [decide(checked, key, somebody(number)) for key in ("one", "other")]
        assert [share >= 50_000] * 2 == [each.allow for each in found]
        if share < 50_000:
            assert (f'in the holdout: bucket("h") = {write_number(share)} < 0.05',) == found[0].reasons


# -- what shares go by -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bucket_by", "asked", "its_id"),
    [
        ("profile", "device:b", "profile-0"),
        ("device", "device:b", "b"),
        ("device", "user:1", "a"),
        ("device", None, "a"),
        ("anon", "anon:new", "new"),
    ],
)
def test_bucket_by(bucket_by: BucketBy, asked: str | None, its_id: str) -> None:
    """A share goes by the profile, or by an identifier of a kind: the one that was asked for, else the first."""
    checked = catalog(Flag("f", (Rule(None, "on", 1_000_000),), bucket_by=bucket_by))
    found = decide(checked, "f", somebody(0, "user:1", "device:b", "device:a"), asked=asked)
    place = write_number(place_micros("f", its_id) * 100)
    assert f"rollout 100%: this profile is at {place}%" == found.reasons[1]


def test_nothing_to_go_by() -> None:
    """Who has no identifier of the kind is outside of every share and split, and goes on to the next rule."""
    rules = (Rule(None, "blue", 1_000_000), Rule(None), Rule(None, "red"))
    checked = catalog(Flag("f", rules, BLUE_RED, bucket_by="email"))
    found = decide(checked, "f", somebody(0, "user:1"))
    assert ("red", "TARGETING_MATCH", 3, False) == summary(found)
    assert (
        "rule 3 is for everybody",
        "outside the rollout of rule 1 (100%): no email identifier to go by",
        "outside the split of rule 2: no email identifier to go by",
    ) == found.reasons
