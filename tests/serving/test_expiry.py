"""Until a decision expires it stays, with no new event: random flags, asked again at the edges of windows and days."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dsl.catalog import Catalog, Flag, Prerequisite, Rule, Segment, Target, Trait, Variant
from dsl.check import CheckedCatalog, check_catalog
from dsl.clock import Zone, format_instant, parse_instant
from dsl.recount import count_again
from dsl.state import State
from serving.decide import Decisions, decide
from serving.decide.expiry import expires_ms
from tests.dsl.test_next_change import DEFINITIONS, LONGEST, MINUTE, Log, Writer, edges, questions

UTC = Zone("UTC")
NOON = parse_instant("2017-07-01T12:00:00Z")
LOG = Log(UTC, [("purchase", NOON - 90 * MINUTE, 1), ("visit", NOON - 30 * MINUTE, 1)])
# Hops of 1s: an event of 10:30 leaves 90m a second after 12:00, one of 11:30 leaves 60m a second after 12:30.
FIRST, SECOND = (parse_instant(f"2017-07-01T12:{minute}:01Z") for minute in ("00", "30"))
FLAG = Flag(
    "f",
    (Rule("events.purchase.count_90m >= 1", "a"), Rule("events.visit.count_60m >= 1", "b"), Rule(None, "c")),
    (Variant("a", True), Variant("b", True), Variant("c", True), Variant("off", False)),
)
VISITED = Rule("events.visit.count_60m >= 1", "on")


def state_at(log: Log, checked: CheckedCatalog, t_ms: int) -> State:
    """What is known at an instant, with no event after it."""
    return count_again("p", log.events(), checked, t_ms, len(log.rows), log.zone)


def expiry(flag: Flag, *others: Flag, t_ms: int = NOON) -> int | None:
    """When the decision of a flag expires."""
    checked = check_catalog(Catalog(flags=(flag, *others)))
    return expires_ms(checked, flag.key, state_at(LOG, checked, t_ms), {}, LOG.holdings)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, FIRST),
        ({"rules": FLAG.rules[1:]}, SECOND),
        ({"rules": FLAG.rules[2:]}, None),
        ({"rules": (Rule("events.purchase.count_90m < 1", "a"), *FLAG.rules[2:])}, FIRST),
        ({"enabled": False}, None),
        ({"rules": ()}, None),
        ({"holdout": "events.visit.count_60m >= 1"}, SECOND),
        ({"holdout": "events.visit.count_60m >= 2"}, FIRST),
        ({"rules": (Rule("true", "a"),), "holdout": "events.visit.count_60m >= 2"}, None),
        ({"targets": (Target("c", ("0b0f8a52-6a3c-5d0e-8f43-3f1d2a4b5c6d",)),)}, FIRST),
    ],
)
def test_when_a_decision_expires(change: dict[str, object], expected: int | None) -> None:
    """The conditions that were looked at count, up to the one that decided, and no other."""
    assert expected == expiry(replace(FLAG, **change))  # type: ignore[arg-type]  # each is a field of a flag


def test_a_target_stays() -> None:
    """Who is a target is one whatever time does to the rules; a holdout before it counts."""
    target = replace(FLAG, targets=(Target("c", ("user:1",)),))
    holdout = replace(target, holdout="events.purchase.count_90m >= 2 || events.visit.count_60m >= 1 && false")
    for flag, expected in ((target, None), (holdout, None)):
        checked = check_catalog(Catalog(flags=(flag,)))
        state = state_at(LOG, checked, NOON)
        assert expected == expires_ms(checked, "f", state, {}, LOG.holdings, "user:1")


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Flag("w", (VISITED,)), FIRST),
        (Flag("w", (VISITED,), default="on"), FIRST),
        (Flag("w", (replace(VISITED, when="events.visit.count_60m >= 2"),)), None),
        (Flag("w", (replace(VISITED, when="events.visit.count_60m < 1"),)), SECOND),
        (Flag("w", (VISITED,), enabled=False, default="on"), None),
    ],
)
def test_prerequisites_count(wanted: Flag, expected: int | None) -> None:
    """What a flag builds on is looked at; of one that fails nothing behind it."""
    assert expected == expiry(replace(FLAG, prerequisites=(Prerequisite("w", ("on",)),)), wanted)


def test_several_flags_of_one_state() -> None:
    """The expiry of each of several decisions is that of it alone."""
    flags = (FLAG, Flag("w", (VISITED,)), replace(FLAG, key="g", prerequisites=(Prerequisite("w"),)))
    checked = check_catalog(Catalog(flags=flags))
    together = Decisions(checked, state_at(LOG, checked, NOON))
    assert [FIRST, SECOND, FIRST] == [together.expires_ms(flag.key, LOG.holdings) for flag in flags]


# -- random flags ------------------------------------------------------------------------------------------------------


@st.composite
def random_flags(draw: st.DrawFn) -> tuple[Log, int, Catalog]:
    """A log, an instant, and two flags with random conditions, the first of which builds on the other."""
    log, t_ms, _ = draw(questions())
    writer = Writer(draw, t_ms)
    variants = (
        Variant("on", True, None, 1),
        Variant("other", True, None, 2),
        Variant("third", True),
        Variant("off", False),
    )

    def flag(key: str) -> Flag:
        shares = st.sampled_from([None, None, 300_000, 700_000])
        names = st.sampled_from(["on", "other", "third", None])
        depths = st.integers(0, 2)
        rules = tuple(
            Rule(writer.truth(draw(depths)), draw(names), draw(shares)) for _ in range(draw(st.integers(1, 3)))
        )
        holdout = writer.truth(draw(depths)) if draw(st.booleans()) else None
        return Flag(key, rules, variants, draw(st.sampled_from(["off", "on"])), holdout=holdout)

    below = Prerequisite("below", draw(st.sampled_from([(), ("on",), ("off", "third")])))
    top = replace(flag("top"), prerequisites=draw(st.sampled_from([(), (below,)])))
    traits = tuple(Trait(key, text) for key, (kind, text, _) in DEFINITIONS.items() if kind == "trait")
    segments = tuple(Segment(key, text) for key, (kind, text, _) in DEFINITIONS.items() if kind == "segment")
    return log, t_ms, Catalog((), {}, traits, segments, (top, flag("below")), timezone=log.zone.name)


@settings(max_examples=200, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(random_flags(), st.data())
def test_a_decision_stays_until_then(question: tuple[Log, int, Catalog], data: st.DataObject) -> None:
    """With no new event the variant, the reason and the rule are the same at every instant before it expires."""
    log, t_ms, catalog = question
    checked = check_catalog(catalog)

    def answer(at_ms: int) -> tuple[str, str, int | None]:
        found = decide(checked, "top", state_at(log, checked, at_ms))
        return found.variant, found.reason, found.rule

    change = expires_ms(checked, "top", state_at(log, checked, t_ms), None, log.holdings)
    assert change is None or change > t_ms
    if change is not None and change <= t_ms + MINUTE and checked.warnings:
        return
    end = min(change or t_ms + LONGEST, t_ms + LONGEST)
    within = [at for at in edges(log, t_ms) if t_ms < at < end]
    chosen = data.draw(st.lists(st.sampled_from(within), max_size=10)) if within else []
    asked = sorted({*chosen, end - 1, (t_ms + end) // 2})
    now = answer(t_ms)
    assert [(format_instant(at), now) for at in asked] == [(format_instant(at), answer(at)) for at in asked]
