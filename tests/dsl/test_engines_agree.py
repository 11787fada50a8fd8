"""Every engine gives the oracle's answer, bit for bit, for random definitions over random logs."""

import sys
from collections import Counter

from hypothesis import HealthCheck, given, settings

from dsl.explain import reasons
from dsl.windows import hop_ms
from tests.dsl.drawing import AGGREGATES, CALENDAR, WINDOWS, Question, is_fixed, parts, questions
from tests.dsl.engines import Engines
from tests.dsl.oracle import Oracle, Value, first_day, start_ms, text, width_ms

OFFSETS = (-1, 0, 1)
Coverage = Counter[tuple[str, str, int]]


def agree(question: Question) -> None:
    """The oracle, the SQL over tables, the evaluator over states and the SQL of single expressions are equal."""
    world = question.world
    profiles = world.universe()
    expected = {
        profile: {key: Oracle(world, profile).definition(key) for key in world.definitions} for profile in profiles
    }
    engines = Engines.of(question)
    order = engines.checked.order
    assert expected == engines.tables()
    assert expected == engines.evaluated()
    last = order[-1]
    tree = world.definitions[last][1]
    if is_fixed(tree):
        alone: dict[str, Value] = {profile: Oracle(world, profile).value(tree) for profile in profiles}
        assert alone == engines.alone(text(tree))
    for state in engines.states().values():
        for key in order:
            if engines.checked.values[key].type == "boolean":
                assert reasons(engines.checked.values[key].node, state, engines.checked)


def covered(question: Question, coverage: Coverage) -> None:
    """Counts, for each aggregate with a window, the events that lie within 1 ms of an edge of it."""
    world = question.world
    windowed = [tree for _, root in world.definitions.values() for tree in parts(root) if tree[0] == "agg" and tree[4]]
    for _, name, _, function, window, _ in windowed:
        for event in world.events:
            if name in (None, event["name"]) and event["seq"] <= world.cut:
                if function == "unique_days":
                    coverage[function, "first day", event["local_day"] - first_day(window, world.today)] += 1
                else:
                    hop = f"hop {hop_ms(width_ms(window)) // 1000} s"
                    coverage[hop, "start", event["ts_ms"] - start_ms(window, world.t_ms)] += 1
                    coverage[function, "start", event["ts_ms"] - start_ms(window, world.t_ms)] += 1
                coverage[function, "t", event["ts_ms"] - world.t_ms] += 1


def engines_agree(examples: int, derandomize: bool = True) -> Coverage:
    """Asks that many random questions for each window; gives what they covered."""
    coverage: Coverage = Counter()
    for number, window in enumerate(WINDOWS):
        ask_about(window, CALENDAR[number % len(CALENDAR)], examples, derandomize, coverage)
    return coverage


def ask_about(window: str, days: str, examples: int, derandomize: bool, coverage: Coverage) -> None:
    """Asks random questions in which these windows, of a duration and of calendar days, are used."""

    @settings(
        max_examples=examples,
        derandomize=derandomize,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(questions(window, days))
    def ask(question: Question) -> None:
        covered(question, coverage)
        agree(question)

    ask()


def test_engines_agree() -> None:
    """`oracle == SQL == evaluate`, with events at, just before and just after every kind of edge."""
    coverage = engines_agree(14)
    sys.stdout.write(shown(coverage))
    edges: dict[str, tuple[str, ...]] = dict.fromkeys(AGGREGATES, ("start", "t"))
    edges["unique_days"] = ("first day", "t")
    edges |= {f"hop {seconds} s": ("start",) for seconds in (1, 60, 300, 3_600, 86_400)}
    wanted = {(what, edge, offset) for what, its_edges in edges.items() for edge in its_edges for offset in OFFSETS}
    assert set() == wanted - {combination for combination, times in coverage.items() if times >= 3}


def shown(coverage: Coverage) -> str:
    """Events at each edge of each aggregate's windows: 1 ms (for days: one day) before, at and after it."""
    lines = []
    for function, edge in sorted({(function, edge) for function, edge, _ in coverage}):
        counts = "".join(f"{coverage[function, edge, offset]:7}" for offset in OFFSETS)
        lines.append(f"{function:12} {edge:10}{counts}\n")
    return "".join(lines)
