"""When values can next change, in SQL: at the hand-worked instants, or before them, and never later."""

import pytest

from dsl import typed
from dsl.check import walk
from dsl.clock import format_instant, parse_instant
from dsl.next_change import next_change
from dsl.recount import count_again
from dsl.sql import NEXT_CHANGE, aggregates_sql, foreseen_sql
from tests.differential.tables import load
from tests.differential.worlds import Entry, World
from tests.dsl.test_next_change import CHANGES, DEFINITIONS, NOON, SUMMER, UNSOLVED, checked_with

EARLIER = {
    # Of two that move, one step of the slower one; what is calculated from an age, its next whole unit.
    "events.purchase.minutes_since_last - events.visit.minutes_since_last == 1": "2017-07-01T12:01:00.500Z",
    "now() - events.purchase.last_at + (now() - events.purchase.last_at) > 3000": "2017-07-01T12:00:01.501Z",
    # Of two false operands the first one counts.
    "recency >= 3 && recency >= 5": "2017-07-04T12:00:00.500Z",
    "recency < 3 || recency < 5": "2017-07-04T12:00:00.500Z",
}
"""Where the bound is earlier than the change, or might be: the bound."""
MORE: list[tuple[str, str | None]] = [
    ("recency == 0", "2017-07-02T12:00:00.500Z"),
    ("recency != 0", "2017-07-02T12:00:00.500Z"),
    ("recency > 0", "2017-07-02T12:00:00.500Z"),
    ("0 < recency", "2017-07-02T12:00:00.500Z"),
    ("recency - 3 >= 0", "2017-07-04T12:00:00.500Z"),
    ("3 - recency < 2", "2017-07-03T12:00:00.500Z"),
    ("recency < 5 && recency >= 3", "2017-07-04T12:00:00.500Z"),
    ("recency >= 3 && recency < 5", "2017-07-04T12:00:00.500Z"),
    ("recency >= 3 || recency >= 5", "2017-07-04T12:00:00.500Z"),
    ("recency >= 9 || recency < 2", "2017-07-03T12:00:00.500Z"),
    ("recency < 2 || recency >= 9", "2017-07-03T12:00:00.500Z"),
    ("recency < 2 || events.purchase.count == 3", None),
    ("recency >= 2 && events.purchase.count == 2", None),
    ("if(recency < 3, recency, 99) > 1", "2017-07-03T12:00:00.500Z"),
    ("if(recency < 2, true, false)", "2017-07-03T12:00:00.500Z"),
    ("coalesce(events.nothing.days_since_last, recency) >= 2", "2017-07-03T12:00:00.500Z"),
    ('days_since(if(recency < 2, now(), date("2017-06-01"))) > 3', "2017-07-03T12:00:00.500Z"),
    ("is_set(recency + 9223372036854)", "2017-07-02T12:00:00.500Z"),
    ("is_set(recency - 9223372036854 - 1)", "2017-07-02T12:00:00.500Z"),
]
"""Further ones, worked out by hand: the last purchase was at 12:00:00.500, no day before the question."""
RESTLESS = (
    "events.purchase.minutes_since_last",
    "events.purchase.minutes_since_last * 2",
    "events.purchase.minutes_since_last - events.visit.minutes_since_last == 1",
    "now() - events.purchase.last_at + (now() - events.purchase.last_at) > 3000",
    'now() - date("2017-07-01T12:00:01Z") + events.purchase.minutes_since_last >= 59501',
    "percent_rank(events.purchase.count) > 0.5",
    *UNSOLVED,
)
"""What time changes at every step, or others do."""


def bound(text: str) -> tuple[int | None, int | None, frozenset[str]]:
    """The next change of trait `value` as its column says, that of all resting values, and what never rests."""
    as_of, checked = parse_instant(NOON), checked_with(text, SUMMER.zone)
    entries = [
        Entry(e.event_id, e.seq + 1, e.kind, e.name, e.source_id, e.ts_ms, f'{{"amount": {amount or "null"}}}')
        for e, (_, _, amount) in zip(SUMMER.events(), SUMMER.rows, strict=True)
    ]
    world = World(entries, as_of, len(entries), SUMMER.zone)
    moment = (as_of, world.cut, SUMMER.zone.day(as_of))
    connection = load(world, checked, ["p"])
    connection.execute(
        f"CREATE TABLE aggregates AS SELECT *, {_due(text)} AS due_ms FROM ({aggregates_sql(checked, *moment)})"
    )
    foreseen = foreseen_sql(checked, ["value"], *moment)
    changes = f'"{foreseen.changes["value"]}"' if "value" in foreseen.changes else "NULL"
    ((own, resting),) = connection.execute(f'SELECT {changes}, "{NEXT_CHANGE}" FROM ({foreseen.sql})').fetchall()
    return own, resting, foreseen.restless


def _due(text: str) -> str:
    """When the first of the expression's own aggregates changes."""
    as_of, checked = parse_instant(NOON), checked_with(text, SUMMER.zone)
    state = count_again("p", SUMMER.events(), checked, as_of, len(SUMMER.rows), SUMMER.zone)
    keys = [key for key in ("value", *DEFINITIONS) if key == "value" or key in text]
    nodes = [part for key in keys for part in walk(checked.values[key].node) if isinstance(part, typed.AggregateValue)]
    found = [next_change(n, state, checked, zone=SUMMER.zone, holdings=SUMMER.holdings) for n in nodes]
    return str(min((change for change in found if change is not None), default="NULL"))


@pytest.mark.parametrize(("text", "change"), [*CHANGES, *MORE], ids=[text for text, _ in (*CHANGES, *MORE)])
def test_bound(text: str, change: str | None) -> None:
    """The bound is the instant worked out by hand, but for the cases that are listed, and there it is earlier."""
    own, resting, restless = bound(text)
    if text in RESTLESS:
        assert (frozenset({"value"}), None) == (restless, resting)
    else:
        assert (frozenset(), own) == (restless, resting)
        assert EARLIER.get(text, change) == (own and format_instant(own).replace(".000Z", "Z"))
    assert own is None or parse_instant(NOON) < own
    assert change is None or "value" in restless or (own is not None and own <= parse_instant(change))


@pytest.mark.parametrize("text", RESTLESS)
def test_restless(text: str) -> None:
    """What moves all the while, and what is of all profiles, nobody waits for."""
    own, resting, restless = bound(text)
    assert (frozenset({"value"}), None) == (restless, resting)
    assert own is None or parse_instant(NOON) < own <= parse_instant(NOON) + 60_000
