"""Settings: every variable is read, explained, and refused with a sentence when it says nothing."""

import re
from pathlib import Path

import pytest

from warehouse.exceptions import SettingsError
from warehouse.settings import VARIABLES, Home, Settings

PAGE = Path(__file__).parents[2] / "docs/reference/settings.md"
EVERYTHING = {
    "TINYCDP_HOME": "/data/cdp",
    "TINYCDP_REDIS_URL": "redis://localhost:6379/0",
    "TINYCDP_PROJECT": "shop",
    "TINYCDP_LOG_LEVEL": "debug",
    "TINYCDP_SETTLE": "10s",
    "TINYCDP_GRACE_PERIOD": "5m",
    "TINYCDP_DEDUP_TTL": "2w",
    "TINYCDP_TICK": "3s",
    "TINYCDP_MAX_LOG": "100",
    "TINYCDP_MAX_LATENESS": "30d",
    "TINYCDP_MAX_EVENT_BYTES": "1000",
    "TINYCDP_PLANES": "decide, ingest",
    "TINYCDP_DECIDE_DEADLINE_MS": "20",
    "TINYCDP_DECIDE_MAX_FRESH": "500",
    "TINYCDP_DECIDE_CACHE_TTL": "0",
    "TINYCDP_DECIDE_CACHE_SIZE": "7",
}


def test_every_variable_is_read() -> None:
    """Durations are written as windows are, in milliseconds once they are read."""
    home = Home(Path("/data/cdp"))
    url = "redis://localhost:6379/0"
    durations = (10_000, 300_000, 14 * 86_400_000, 3_000)
    limits = (100, 30 * 86_400_000, 1_000)
    expected = Settings(home, url, "shop", "debug", *durations, *limits, frozenset({"decide", "ingest"}), 20, 500, 0, 7)
    assert expected == Settings.read(EVERYTHING)
    assert set(EVERYTHING) == set(VARIABLES)


def test_defaults() -> None:
    """What is not set, or empty, has its default: 5 s, 2 m, 7 d, 1 s."""
    nothing = Settings.read({})
    assert nothing == Settings.read(dict.fromkeys(EVERYTHING, ""))
    durations = nothing.settle_ms, nothing.grace_period_ms, nothing.dedup_ttl_ms, nothing.tick_ms
    assert (5_000, 120_000, 7 * 86_400_000, 1_000) == durations


@pytest.mark.parametrize(
    ("variable", "text", "expected"),
    [
        ("TINYCDP_TICK", "1", "it takes a duration such as `5s`"),
        ("TINYCDP_SETTLE", "0s", "it takes a duration such as `5s`"),
        ("TINYCDP_GRACE_PERIOD", "PT2M", "it takes a duration such as `5s`"),
        ("TINYCDP_DEDUP_TTL", "6d", "it takes `7d` or more"),
        ("TINYCDP_PLANES", "decide,all", "it takes some of decide, ingest, admin"),
        ("TINYCDP_MAX_LOG", "-1", "it takes a whole number of 1 or more"),
    ],
)
def test_what_says_nothing_is_refused(variable: str, text: str, expected: str) -> None:
    """The variable, what it says, and what it takes."""
    with pytest.raises(SettingsError, match=re.escape(f"{variable} is `{text}`: {expected}")):
        Settings.read({variable: text})


def test_the_page_lists_every_variable() -> None:
    """docs/reference/settings.md has a row for each, with its default."""
    rows = re.findall(r"^\| `(TINYCDP_[A-Z_]+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    of_tests = {"TINYCDP_FAILPOINT", "TINYCDP_FAILPOINT_FILE", "TINYCDP_TEST_SEED", "TINYCDP_REQUIRE_ALL"}
    assert {*VARIABLES, *of_tests} == set(rows)
