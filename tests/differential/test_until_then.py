"""Between an instant and the next change after it every drawn definition keeps the oracle's value."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from hypothesis import HealthCheck, given, settings

from dsl.next_change import next_change
from dsl.recount import instants_of
from dsl.unsolved import flows, unsolved
from tests.differential.engines import Engines
from tests.differential.names import DAY, MINUTE
from tests.differential.questions import Question, questions

LONGEST = 30 * DAY


def solved(engines: Engines, keys: tuple[str, ...]) -> Iterator[str]:
    """Those of the definitions whose next change can be known: none of all profiles, none that is never at rest."""
    flowing, out = set[str](), set[str]()
    for key, value in engines.checked.values.items():
        if flows(value.node, flowing):
            flowing.add(key)
        if "percent_rank(" in value.text or unsolved(value.node, flowing) or out & {*value.references}:
            out.add(key)
        elif key in keys:
            yield key


def changes(engines: Engines, keys: list[str]) -> Iterator[tuple[str, str, int]]:
    """Profile, definition, and the instant before which its value stays."""
    world = engines.world
    for profile in engines.profiles:
        events, state = world.of_profile(profile), engines.recounted_state(profile)
        holdings = partial(instants_of, events=events, checked=engines.checked, state=state)
        for key in keys:
            node = engines.checked.values[key].node
            change = next_change(node, state, engines.checked, zone=world.zone, holdings=holdings)
            assert change is None or change > world.t_ms
            yield profile, key, min(change or world.t_ms + LONGEST, world.t_ms + LONGEST)


@settings(max_examples=40, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(questions(0))
def test_constant_until_then(question: Question) -> None:
    """With no new event a value is the same at every instant before its next change."""
    world = question.world
    world = replace(world, entries=[entry for entry in world.entries if entry.ts_ms < world.t_ms])
    engines = Engines(world, question.catalog)
    oracle, t_ms = engines.oracle, world.t_ms
    for profile, key, end in changes(engines, list(solved(engines, question.drawn))):
        asked = f'{engines.checked.values[key].kind}("{key}")'
        value = oracle.value(asked, profile)
        for at in {min(t_ms + 1, end - 1), min(t_ms + MINUTE, end - 1), (t_ms + end) // 2, end - 1}:
            later = replace(world, t_ms=at).oracle(oracle.definitions, oracle.declared)
            assert value == later.value(asked, profile), (engines.checked.values[key].text, at - t_ms)
