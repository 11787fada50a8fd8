"""Beyond 256 different values every engine gives the same estimate, bucket and list: those of the oracle."""

import json
import random

import pytest

from dsl.catalog import Catalog, Trait
from dsl.clock import Zone
from dsl.recount import is_approximate
from tests.differential.engines import Engines
from tests.differential.tables import in_table
from tests.differential.worlds import Entry, World

T_MS = 1_500_000_000_000
TRAITS = (
    Trait("texts", "events.visit.count_distinct(text)"),
    Trait("middle", "events.visit.median(number)"),
    Trait("upper", "events.visit.percentile(number, 0.9)"),
    Trait("usual", "events.visit.most_frequent(mixed)", type="number"),
    Trait("numbers", "events.visit.count_distinct_24h(number)"),
    Trait("all", "events.visit.unique_list(mixed)"),
)


def world(count: int, pick: random.Random) -> World:
    """So many visits, each with a number and a text that no other has; and with a value that is often the same."""
    entries = []
    for seq in range(1, count + 1):
        number, mixed = f"{seq - count // 2}.{pick.randrange(10**6):06d}", pick.choice(("1", "2", str(seq), '"é"'))
        properties = f'{{"number": {number}, "text": {json.dumps(f"v{seq}é")}, "mixed": {mixed}}}'
        entries.append(Entry(f"e{seq}", seq, "track", "visit", "p", T_MS - seq * 60_000, properties))
    return World(entries, T_MS, count, Zone("UTC"))


@pytest.mark.parametrize("count", [256, 257, 1_000])
def test_approximations_are_equal(count: int) -> None:
    """Estimates are equal to the last digit, and an answer says when it is one."""
    engines = Engines(world(count, random.Random(count)), Catalog(traits=TRAITS))
    expected = engines.expected()
    assert expected == engines.recounted() == engines.evaluated()
    assert {"p": {key: in_table(value) for key, value in expected["p"].items()}} == engines.tables()
    state, node = engines.recounted_state("p"), engines.checked.values["texts"].node
    assert (count > 256) == is_approximate(node, engines.world.events, engines.checked, state, engines.world.zone)
