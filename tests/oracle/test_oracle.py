"""Parts of the oracle that no vector reaches: the list of hops, depth, and what lies beyond 256 different values."""

import hashlib

import pytest

from tests.oracle.aggregates import hyperloglog
from tests.oracle.evaluate import Evaluator
from tests.oracle.values import Number, Value, load_json
from tests.oracle.windows import UNITS, hop

HOPS = [
    ("1s", "1s"),
    ("99s", "1s"),
    ("100s", "1s"),
    ("1h", "1s"),
    ("100m", "1m"),
    ("24h", "5m"),
    ("99h", "5m"),
    ("100h", "1h"),
    ("7d", "1h"),
    ("14d", "1h"),
    ("30d", "1h"),
    ("90d", "1h"),
    ("2399h", "1h"),
    ("100d", "1d"),
]
LEVELS = {
    "parentheses": ("(" * 100 + "1" + ")" * 100, Number(1_000_000)),
    "minus": ("-" * 100 + "1", Number(1_000_000)),
    "not": ("!" * 101 + "true", False),
    "if": ("if(true, " * 100 + "1" + ", 2)" * 100, Number(1_000_000)),
    "plus": (" + ".join(["1"] * 100), Number(100_000_000)),
}


@pytest.mark.parametrize(("window", "expected"), HOPS)
def test_hop(window: str, expected: str) -> None:
    """Section 2: the page's own list, and both sides of 100 * h <= W."""
    assert int(expected[:-1]) * UNITS[expected[-1]] == hop(int(window[:-1]) * UNITS[window[-1]])


@pytest.mark.parametrize(("expression", "expected"), LEVELS.values(), ids=LEVELS)
def test_a_hundred_levels(expression: str, expected: Value) -> None:
    """Depth 100 is no trouble."""
    assert expected == Evaluator([], {}, t_ms=0, cut=0).value(expression, "p")


def test_linear_counting() -> None:
    """2048 registers are set, 2048 are zero: 4096 * ln(4096 / 2048) = 4096 * 0.693147 = 2839.13."""
    assert 2839 == hyperloglog({index << 52 for index in range(2048)})


def test_raw_estimate() -> None:
    """Every register holds 4 (three zeros, a one): 0.7213 / (1 + 1.079 / 4096) * 4096^2 / (4096 / 16) = 47258.67."""
    assert 47259 == hyperloglog({index << 52 | 1 << 48 for index in range(4096)})


def test_more_than_256_values_keep_the_smallest_hashes() -> None:
    """Of the numbers 1 to 300 those with the 256 smallest prefixes of md5(`n:<number>`) stay, ordered as text."""
    event = {"kind": "track", "name": "a", "source_id": "p", "ts": 0, "context": {}}
    log = [{**event, "event_id": f"e{n}", "seq": n, "properties": load_json(f'{{"p": {n}}}')} for n in range(1, 301)]
    by_hash = sorted(range(1, 301), key=lambda value: hashlib.md5(f"n:{value}".encode()).digest()[:8])
    expected = tuple(Number(int(text) * 1_000_000) for text in sorted(map(str, by_hash[:256])))
    assert expected == Evaluator(log, {}, t_ms=1, cut=300).value("events.a.unique_list(p)", "p")
