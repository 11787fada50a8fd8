"""Passes over the events: which there are, and that sharing one changes no value."""

import json
from collections import Counter
from time import process_time

import pytest

from dsl.aggregates import AGGREGATES
from dsl.catalog import Catalog, EventSchema, Trait
from dsl.check import check_catalog
from dsl.clock import Zone
from dsl.hyperloglog import linear_counts
from dsl.sql import Moment, aggregates_sql
from dsl.sql.duckdb_aggregates import linear_count
from dsl.sql.passes import MAX_SCANS, Pass, plan_passes
from tests.differential.engines import Engines
from tests.differential.tables import in_table
from tests.differential.worlds import Entry, World, json_text
from tests.dsl.one_profile import T_MS, event, world
from warehouse.database import connect

MOMENT = Moment(T_MS, 100, 17_348)


def passes(*expressions: str) -> list[Pass]:
    """The passes for some expressions."""
    traits = tuple(Trait(f"trait_{number}", text) for number, text in enumerate(expressions))
    return plan_passes(check_catalog(Catalog(traits=traits)).aggregates.values(), MOMENT)


def test_stretches_of_time() -> None:
    """A month, half a year and the whole life of an event are scanned apart when each has three aggregates."""
    windows = ("", "_365d", "_300d", "_180d", "_90d", "_40d", "_30d", "_7d", "_1h")
    found = passes(*(f"events.purchase.count{window}" for window in windows))
    assert ["purchase_events", "purchase_events_180d", "purchase_events_30d"] == [planned.name for planned in found]
    assert [3, 3, 3] == [len(planned.uses) for planned in found]
    assert [None, 180, 30] == [p.oldest_ms and (T_MS - p.oldest_ms) // 86_400_000 for p in found]


def test_few_aggregates_are_not_worth_a_scan() -> None:
    """What a stretch has too few of is collected with the next longer one, and by itself when there is none."""
    found = passes("events.purchase.count", "events.purchase.count_90d", "events.purchase.count_7d")
    assert [("purchase_events", 3)] == [(planned.name, len(planned.uses)) for planned in found]
    assert ["purchase_events_7d"] == [planned.name for planned in passes("events.purchase.count_7d")]


def test_first_and_last_values_take_two_passes() -> None:
    """One pass finds the instants of first and last values of a whole life, another one the values at them."""
    text = 'events["{}"].{}(category) == "x"'
    found = passes(*(text.format(name, edge) for name in ("a", "b") for edge in ("first", "last")))
    assert ["a_events", "b_events", "ends_of_events"] == [planned.name for planned in found]
    assert [0, 0, 4] == [len(planned.uses) for planned in found]
    assert ["a_events", "b_events"] == list(found[2].instants)


@pytest.mark.parametrize("names", [1, 2, MAX_SCANS, MAX_SCANS + 1, 100, 1_000])
def test_names_share_scans(names: int) -> None:
    """However many names there are, each is read by one of a few passes."""
    found = passes(*(f'events["name {number}"].count' for number in range(names)))
    assert min(names, MAX_SCANS) >= len(found)
    read = Counter(name for planned in found for name in planned.events)
    assert {f"name {number}": 1 for number in range(names)} == read


def test_a_scan_reads_only_names_that_it_needs() -> None:
    """A pass over one stretch of time leaves out the names of which nothing is asked there."""
    texts = [f"events.n{number}.count" for number in range(MAX_SCANS + 1)]
    found = passes(*texts, *(f"events.n1.count_{days}d" for days in (1, 2, 3)))
    assert [("n1",)] == [planned.events for planned in found if planned.oldest_ms is not None]


# -- values ------------------------------------------------------------------------------------------------------------

ARGUMENTS = {"first": "tag", "last": "tag", "count_distinct": "tag", "most_frequent": "tag", "unique_list": "tag"}


def every_aggregate(name: str) -> dict[str, str]:
    """An expression with each aggregate, of the whole life and of windows, by a key."""
    found: dict[str, str] = {}
    for function in AGGREGATES.values():
        argument = f"({ARGUMENTS.get(function.name, 'amount')}{', 0.5' if function.quantile else ''})"
        windows = ("", "_90d", "_2d") if function.longest_ms is None else ("_20h",)
        for window in windows:
            text = f"events.{name}.{function.name}{window}{argument if function.argument else ''}"
            found[f"{name}_{function.name}{window}"] = text
    return found


def several_sources(names: int) -> World:
    """Events of some names from three sources, two of which are one profile; many of them at one instant."""
    days = (0, 0, 0, 1, 1, 2, 40, 40, 100, 300)
    entries = [
        Entry(
            f"{name}-{source}-{(number * 7) % 10}",
            seq,
            "track",
            f"name{name}",
            source,
            T_MS - 1 - days[number] * 86_400_000,
            json_text({"amount": (number - 4) * 1_500_000, "tag": f"tag {(number * name) % 4}"}),
        )
        for seq, (name, source, number) in enumerate(
            ((name, source, number) for name in range(names) for source in "abc" for number in range(10)), 1
        )
    ]
    identities = [("a", "p", 0, None), ("b", "p", 0, None), ("c", "q", 0, None)]
    return World(entries, T_MS, len(entries), Zone("Europe/Oslo"), identities)


@pytest.mark.parametrize("names", [1, MAX_SCANS + 3])
def test_every_aggregate_of_several_sources(names: int) -> None:
    """Every aggregate over events of several sources is the oracle's, whether or not names share a scan."""
    texts = {key: text for name in range(names) for key, text in every_aggregate(f"name{name}").items()}
    catalog = Catalog(
        timezone="Europe/Oslo",
        events=tuple(EventSchema(f"name{name}", {"tag": "string", "amount": "number"}) for name in range(names)),
        traits=tuple(Trait(key, text) for key, text in texts.items()),
    )
    engines = Engines(several_sources(names), catalog)
    expected = engines.expected()
    assert ["p", "q"] == sorted(expected)
    shown = {who: {key: in_table(value) for key, value in values.items()} for who, values in expected.items()}
    assert shown == engines.tables()


def test_a_thousand_names() -> None:
    """A catalog over a thousand names of events, two aggregates each, is compiled and computed within seconds."""
    windows = ("count", "count_30d", "count_7d", "last_at", "unique_days_30d", "count_90d", "first_at")
    texts = {
        f"trait_{number}_{n}": f'events["Event {number}"].{windows[(number + n) % len(windows)]}'
        for number in range(1_000)
        for n in range(2)
    }
    catalog = Catalog(traits=tuple(Trait(key, text) for key, text in texts.items()))
    known = world(*(event(T_MS - number * 3_600_000, f"Event {number}") for number in range(1, 1_000, 7)))
    engines = Engines(known, catalog)
    begin = process_time()
    computed = engines.states()["p"]
    assert 60 > process_time() - begin
    assert 2_000 == len(computed.aggregates)
    counted = engines.recounted_state("p")
    uses = engines.checked.aggregates.values()
    assert {u.text: counted.aggregates.get(u.key, u.of_nothing) for u in uses} == {
        u.text: computed.aggregates[u.key] for u in uses
    }


def test_counts_of_empty_registers() -> None:
    """The logarithm in integers gives the count of each number of empty registers exactly."""
    counts = f"SELECT {linear_count('zeros')} FROM range(1, {len(linear_counts()) + 1}) AS registers(zeros)"
    assert linear_counts() == tuple(count for (count,) in connect().execute(counts).fetchall())


def test_names_of_shared_scans_are_told_apart() -> None:
    """Names that look alike in the name of a table, and hostile ones, share a scan and keep their counts."""
    names = ["a b", "a_b", "A B", "a-b", "it's", "a\nb", "*/", "zz", "1", "2", "é"]
    keys = {f"trait_{number}": f"events[{json.dumps(name)}].count_7d" for number, name in enumerate(names)}
    traits = tuple(Trait(key, text) for key, text in keys.items())
    engines = Engines(
        world(*(event(T_MS - 1 - n, name) for number, name in enumerate(names) for n in range(number))),
        Catalog(traits=traits),
    )
    assert MAX_SCANS < len(names)
    assert "_by_name AS (" in aggregates_sql(engines.checked, *engines.moment)
    assert {key: number * 1_000_000 for number, key in enumerate(keys)} == engines.tables()["p"]
