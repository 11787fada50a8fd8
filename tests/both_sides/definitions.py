"""Definitions that a life goes through: traits, segments, and flags of which every stage can decide."""

from dataclasses import replace

from dsl.catalog import Catalog, Flag, Prerequisite, Rule, Segment, Target, Trait, Variant

FLAGS = ("gate", "offer", "after")
"""Flags that every version has."""
_SIZES = (
    Variant("small", True, None, 1_000_000),
    Variant("large", True, None, 2_000_000),
    Variant("off", False),
)
_GATE = Flag("gate", (Rule("context.amount >= 2.5", "on"),))
_OFFER = Flag("offer", variants=_SIZES, holdout='bucket("held") < 0.2', targets=(Target("large", ("user:bob",)),))
_AFTER = Flag("after", prerequisites=(Prerequisite("gate", ("on",)),), bucket_by="user")

CATALOGS = (
    Catalog(
        traits=(
            Trait("buys", "events.buy.count_30m"),
            Trait("spend", "events.buy.sum_24h(amount)"),
            Trait("ever", "events.buy.sum(amount)"),
            Trait("label", "events.buy.last(label)", type="string"),
            Trait("days", "events.*.unique_days_2d"),
            Trait("plan", "profile.plan", type="string"),
        ),
        segments=(
            Segment("busy", "buys >= 2 && last_seen_minutes_ago < 30"),
            Segment("gold", 'plan == "gold" || spend > 3'),
        ),
        flags=(
            replace(_GATE, rules=(Rule('segment("busy")', "on"), *_GATE.rules)),
            replace(
                _OFFER,
                rules=(
                    Rule('segment("gold") && days >= 1', "large"),
                    Rule("context.amount > buys", "small", 400_000),
                    Rule('label == "a" || last_seen_minutes_ago < 90'),
                ),
            ),
            replace(_AFTER, rules=(Rule("ever > 2", "on"), Rule(None, "on", 500_000))),
        ),
    ),
    Catalog(
        traits=(
            Trait("buys", "events.buy.count_7d"),
            Trait("large", "events.buy[amount > 1].count_90s"),
            Trait("labels", "events.buy.unique_list_24h(label)"),
            Trait("middle", "events.buy.median_7d(amount)"),
            Trait("gap", "events.*.longest_gap_minutes_30m"),
        ),
        segments=(Segment("away", "gap >= 5 || last_seen_hours_ago >= 1"), Segment("many", "buys >= 3")),
        flags=(
            replace(_GATE, rules=(Rule("large >= 1", "on"), *_GATE.rules)),
            replace(
                _OFFER,
                rules=(Rule('segment("many")', None), Rule('segment("away") && labels contains "b"', "small", 600_000)),
                holdout="context.amount < 1",
                bucket_by="anon",
            ),
            replace(_AFTER, rules=(Rule("middle > 1", "on", 500_000), Rule("large == 0 && buys > 0", "on"))),
        ),
    ),
    Catalog(
        traits=(Trait("ever", "events.buy.sum(amount)"),),
        segments=(Segment("rich", "ever >= 5"),),
        flags=(
            replace(_GATE, enabled=False, default="on"),
            replace(_OFFER, rules=(Rule('segment("rich") && context.amount > 0', "large"),), holdout=None),
            replace(_AFTER, rules=(Rule("is_set(ever)", "on"),), prerequisites=(Prerequisite("offer", ("off",)),)),
        ),
    ),
)
"""Versions of the definitions: they share some bases, at other grains too, and drop others."""


def catalog(number: int, life: str) -> Catalog:
    """One of them, whose flags are of a life of their own, so that what was shown in another is none of theirs."""
    chosen = CATALOGS[number]
    return replace(chosen, flags=tuple(_of(flag, f"{number} of {life}") for flag in chosen.flags))


def _of(flag: Flag, whose: str) -> Flag:
    return replace(flag, variants=tuple(replace(each, payload=whose) for each in flag.variants))
