"""Every aggregate with every window, and random events at their edges."""

import random
import re
from collections.abc import Iterator
from dataclasses import replace

from dsl.bases import bases_of
from dsl.catalog import Catalog, EventSchema, Trait
from dsl.check import CheckedCatalog, check_catalog
from dsl.clock import DAY_MS, Zone
from dsl.event import Event, Kind
from dsl.windows import read_window

ZONE = Zone("America/New_York")
WINDOWS = ("90s", "30m", "100m", "24h", "7d", "30d", "100d")
T_MS = (1_509_861_600_001, 1_489_302_000_123, 1_500_000_000_000)
"""As clocks go back, just before they go forward, and any instant."""
EXPRESSIONS = (
    "events.buy.count{}", "events.*.count{}", "events.buy.sum{}(n)", "events.buy.avg{}(n)", "events.buy.min{}(n)",
    "events.buy.max{}(n)", "events.buy.max{}(due)", "events.buy.first{}(x)", "events.buy.last{}(x)",
    "events.buy.last{}(tags)", "events.buy[n > 1 || is_set(x)].first_at{}", "events.buy.last_at{}",
    "events.buy.count_distinct{}(x)", "events.*.most_frequent{}(x)", "events.buy.unique_list{}(x)",
    "events.buy.median{}(n)", "events.buy.percentile{}(n, 0.9)", 'events.buy[context.app == "a"].count{}',
)  # fmt: skip
DAYS = ("events.buy.unique_days{}", "events.*.streak_days{}")
GAPS = tuple(f"events.*.longest_gap_minutes_{window}" for window in ("30m", "100m", "24h"))
OTHERS = ("first_seen_days_ago", "last_seen_minutes_ago", "events.page.days_since_last", *GAPS)
OPEN = re.compile(r"\.(first|last|most_frequent)(_[0-9]+[a-z])?\(x\)")
"""Aggregates over a property of any type: what they give has to be said."""
KINDS: tuple[Kind, ...] = ("track", "track", "track", "page", "identify", "system")


def catalog() -> CheckedCatalog:
    """Every aggregate with every window."""
    texts = [e.format(f"_{window}" if window else "") for e in EXPRESSIONS for window in (*WINDOWS, "")]
    texts += [e.format(f"_{window}" if window else "") for e in DAYS for window in ("1d", "2w", "30d", "")]
    traits = []
    for number, text in enumerate((*texts, *OTHERS)):
        open_type = OPEN.search(text) is not None
        traits.append(Trait(f"t{number}", text, type="string" if open_type else None))
    events = (EventSchema("buy", {"n": "number", "due": "timestamp", "tags": "list", "x": "string"}),)
    loose = [
        replace(trait, expression=trait.expression.replace(".buy", ".tap").replace("(due)", "(n)")) for trait in traits
    ]
    kept = [replace(t, key=f"l{t.key}") for t in loose if "tags" not in t.expression]
    declared = (*events, EventSchema("tap"), EventSchema("page"), EventSchema("go"))
    return check_catalog(Catalog(events=declared, traits=(*traits, *kept), timezone=ZONE.name))


CHECKED = catalog()
BASES = bases_of(CHECKED.aggregates.values())


def edges(t_ms: int, pick: random.Random) -> int:
    """An instant at an edge of a window, a hop or a day, before `t_ms`."""
    window = read_window(pick.choice(WINDOWS))
    assert window is not None
    start = window.start_ms(t_ms)
    day = ZONE.start_ms(ZONE.day(t_ms) - pick.randrange(32))
    found = pick.choice(
        (start, start + window.hop_ms, day, t_ms - pick.randrange(120 * DAY_MS), t_ms - pick.randrange(7_200_000))
    )
    return min(found + pick.choice((-1, 0, 1)), t_ms - 1)


def world(seed: int) -> tuple[int, list[Event]]:
    """An instant and some events before it, in any order."""
    pick = random.Random(seed)
    t_ms = pick.choice(T_MS)
    return t_ms, list(_events(t_ms, pick))


def _events(t_ms: int, pick: random.Random) -> Iterator[Event]:
    for seq in range(1, pick.randrange(2, 40)):
        ts_ms = edges(t_ms, pick)
        kind = pick.choice(KINDS)
        name = pick.choice(("buy", "buy", "tap", "go")) if kind == "track" else "page" if kind == "page" else kind
        values: dict[str, object] = {
            "n": pick.choice((None, 1_000_000, -5, 2**63 - 1, "1")),
            "x": pick.choice((None, "a", "b", 7_000_000, True, ["a", 1_000_000])),
            "tags": pick.choice((None, ["a"], [], "a")),
            "due": pick.choice((None, "2017-11-05", "2017-03-12T07:00:00Z", "soon")),
        }
        context: dict[str, object] = {"app": pick.choice("ab")}
        yield Event(
            f"e{pick.randrange(99)}-{seq}",
            seq,
            kind,
            name,
            f"user:{pick.randrange(3)}",
            ts_ms,
            ZONE.day(ts_ms),
            values,
            context,
        )
