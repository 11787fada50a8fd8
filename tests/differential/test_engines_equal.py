"""One expression has one meaning: the oracle, SQL and both ways to a state give equal values, exactly."""

import random

import pytest

from dsl.catalog import Catalog, Segment, Trait, ValueType
from dsl.diagnostics import DefinitionError
from dsl.recount import is_approximate
from dsl.render import draw_all
from tests.differential.engines import Engines, as_presented, from_oracle
from tests.differential.expressions import Writer
from tests.differential.worlds import ZONE, World, random_world

WORLDS = 32
ATTRIBUTES: dict[str, ValueType] = {"n": "number", "s": "string", "b": "boolean", "x": "string"}
DEFINITIONS = 24


def random_catalog(seed: int) -> Catalog:
    """Traits of each type and segments, the later ones referring to the earlier."""
    pick = random.Random(seed)
    writer = Writer(pick, {"number": ["c0", "c1"], "string": ["c2", "c3"]})
    chosen: tuple[ValueType, ...] = ("number", "number", "string", "string")
    traits = [
        Trait(f"c{number}", writer.chosen(pick.choice(f"{kind[0]}x")), type=kind) for number, kind in enumerate(chosen)
    ]
    for number in range(DEFINITIONS):
        kind = number % 3
        key = f"v{number}"
        if kind == 0:
            traits.append(Trait(key, writer.number(3), type="number"))
            writer.traits["number"].append(key)
        elif kind == 1:
            traits.append(Trait(key, writer.text(3), type="string"))
        else:
            traits.append(Trait(key, writer.boolean(3), type="boolean"))
    segments = (Segment("s0", writer.boolean(2)), Segment("s1", 'segment("s0") || v2'))
    return Catalog(attributes=ATTRIBUTES, traits=tuple(traits), segments=segments, timezone="America/New_York")


@pytest.mark.parametrize("seed", range(WORLDS))
def test_engines_are_equal(seed: int) -> None:
    """Random definitions over a random log: every engine gives what the oracle gives."""
    try:
        engines = Engines(random_world(seed), random_catalog(seed))
    except DefinitionError as error:
        pytest.fail(draw_all(error.diagnostics))
    assert_equal(engines, f"seed {seed}")


def assert_equal(engines: Engines, world: str) -> None:
    """Compares every definition for every profile."""
    by_sql = engines.by_sql()
    assert engines.profiles == sorted(by_sql)
    for profile in engines.profiles:
        recounted = engines.evaluated(engines.recounted(profile))
        stored = engines.evaluated(engines.stored[profile])
        for key, checked in engines.checked.values.items():
            where = f"{world}, {profile}: {checked.text}"
            expected = from_oracle(engines.oracle.value(checked.text, profile), checked.type)
            assert expected == recounted[key], where
            assert expected == stored[key], where
            assert as_presented(expected, checked.type) == by_sql[profile][key], where


@pytest.mark.parametrize(("seed", "count"), [(1, 256), (2, 257), (3, 1_500)])
def test_approximations_are_equal(seed: int, count: int) -> None:
    """Beyond 256 different values every engine gives the same estimate, bucket and list: those of the oracle."""
    pick = random.Random(seed)
    world = World(t_ms=1_500_000_000_000, cut=10**6)
    for seq in range(1, count + 1):
        number = f"{seq - count // 2}.{pick.randrange(10**6):06d}"
        text = f'{{"n": {number}, "s": "v{seq}", "x": {pick.choice(("1", "2", f"{seq}"))}}}'
        event = {"event_id": f"e{seq}", "seq": seq, "ts": world.t_ms - seq * 60_000, "kind": "track", "name": "visit"}
        world.raw.append({**event, "source_id": "user:1", "json": text})
    asked = ("count_distinct(s)", "median(n)", "percentile(n, 0.9)", "most_frequent(x)", "count_distinct_24h(n)")
    traits = [Trait(f"v{number}", f"events.visit.{text}", type="number") for number, text in enumerate(asked)]
    traits.append(Trait("all", "events.visit.unique_list(x)"))
    engines = Engines(world, Catalog(traits=tuple(traits), timezone="America/New_York"))
    assert_equal(engines, f"{count} values")
    state, node = engines.recounted("user:1"), engines.checked.values["v0"].node
    assert (count > 256) == is_approximate(node, world.events, engines.checked, state, ZONE)
