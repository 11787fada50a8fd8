"""Where a TinyCDP home lies and how it is reached, as one frozen value."""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dsl.clock import DAY_MS
from dsl.windows import read_window
from warehouse.exceptions import SettingsError

SHORTEST_DEDUP_MS = 7 * DAY_MS
"""No event id is forgotten earlier."""


PLANES: Final = ("decide", "ingest", "admin")
"""Parts of the API."""


@dataclass(frozen=True, slots=True)
class Home:
    """The folder that holds all run-time data of one installation (`TINYCDP_HOME`, default `./var`)."""

    path: Path

    @property
    def lake(self) -> Path:
        """Parquet files of events, by project and day."""
        return self.path / "lake"

    @property
    def warehouse(self) -> Path:
        """The DuckDB file that only Dagster's assets write."""
        return self.path / "warehouse.duckdb"

    @property
    def analytics(self) -> Path:
        """The published copy of the warehouse for analysts: read-only, replaced by rename."""
        return self.path / "analytics.duckdb"

    @property
    def exports(self) -> Path:
        """Files of audiences and their manifests."""
        return self.path / "exports"

    @property
    def registry(self) -> Path:
        """The SQLite file of definitions, keys and the lake's manifest."""
        return self.path / "registry.db"

    @property
    def valkey(self) -> Path:
        """Data, log and socket of the embedded Valkey."""
        return self.path / "valkey"

    @property
    def dagster(self) -> Path:
        """`DAGSTER_HOME`: runs, events and schedules of Dagster."""
        return self.path / "dagster"

    @property
    def logs(self) -> Path:
        """Logs of supervised processes."""
        return self.path / "logs"


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that the environment decides; each has a variable (docs/reference/settings.md).

    Attributes:
        redis_url: an outside Redis or Valkey; None uses the embedded one of this home.
        project: the project that commands and processes work on.
        settle_ms: how long after the first event of a burst its effect on segments is told.
        grace_period_ms: an event that comes later than this after it happened counts as late in the metrics.
        dedup_ttl_ms: how long the online store knows an event's id; an older event takes the late lane.
        tick_ms: between two looks of the worker at the log.
        max_log: records that may wait for the worker; beyond it nothing is taken in.
        max_lateness_ms: events that are older than this when they come become dead letters.
        max_event_bytes: larger events do too.
        planes: parts of the API that a process serves: `decide`, `ingest`, `admin`.
        decide_deadline_ms: how long a decision waits for the online store before it makes do without.
        decide_most_fresh: events of a source that no tile has yet; with more a decision makes do without them.
        decide_keep_ms: how long a process keeps what it has answered, as long as nothing changes; 0 keeps nothing.
        decide_most_kept: profiles that it keeps.
    """

    home: Home
    redis_url: str | None = None
    project: str = "default"
    log_level: str = "info"
    settle_ms: int = 5_000
    grace_period_ms: int = 120_000
    dedup_ttl_ms: int = SHORTEST_DEDUP_MS
    tick_ms: int = 1_000
    max_log: int = 5_000_000
    max_lateness_ms: int = 400 * 86_400_000
    max_event_bytes: int = 32_768
    planes: frozenset[str] = frozenset(PLANES)
    decide_deadline_ms: int = 50
    decide_most_fresh: int = 10_000
    decide_keep_ms: int = 60_000
    decide_most_kept: int = 10_000

    @property
    def registry_url(self) -> str:
        """SQLAlchemy URL of the registry."""
        return f"sqlite:///{self.home.registry}"

    @classmethod
    def read(cls, environ: Mapping[str, str] = os.environ) -> "Settings":
        """Settings from the variables `TINYCDP_…`; what is not set, or empty, has its default.

        Raises:
            SettingsError: a variable does not say what it must.
        """
        home = Home(Path(environ.get("TINYCDP_HOME") or "var").absolute())
        given = {name: read(variable, environ[variable]) for variable, name, read in _READ if environ.get(variable)}
        return cls(home, **given)


def _text(_: str, text: str) -> str:
    return text


def _duration(variable: str, text: str) -> int:
    """Milliseconds of a duration as the language writes it."""
    window = read_window(text)
    if window is None:
        raise SettingsError(f"{variable} is `{text}`: it takes a duration such as `5s`, `2m`, `12h` or `7d`")
    return window.width_ms


def _duration_or_none(variable: str, text: str) -> int:
    return 0 if text == "0" else _duration(variable, text)


def _long_duration(variable: str, text: str) -> int:
    found_ms = _duration(variable, text)
    if found_ms < SHORTEST_DEDUP_MS:
        raise SettingsError(f"{variable} is `{text}`: it takes `7d` or more")
    return found_ms


def _count(variable: str, text: str) -> int:
    if not re.fullmatch("[1-9][0-9]{0,11}", text):
        raise SettingsError(f"{variable} is `{text}`: it takes a whole number of 1 or more")
    return int(text)


def _planes(variable: str, text: str) -> frozenset[str]:
    found = frozenset(name.strip() for name in text.split(","))
    if not found <= set(PLANES):
        raise SettingsError(f"{variable} is `{text}`: it takes some of {', '.join(PLANES)}, with commas between them")
    return found


_READ: Final[Sequence[tuple[str, str, Callable[[str, str], Any]]]] = (
    ("TINYCDP_REDIS_URL", "redis_url", _text),
    ("TINYCDP_PROJECT", "project", _text),
    ("TINYCDP_LOG_LEVEL", "log_level", _text),
    ("TINYCDP_SETTLE", "settle_ms", _duration),
    ("TINYCDP_GRACE_PERIOD", "grace_period_ms", _duration),
    ("TINYCDP_DEDUP_TTL", "dedup_ttl_ms", _long_duration),
    ("TINYCDP_TICK", "tick_ms", _duration),
    ("TINYCDP_MAX_LOG", "max_log", _count),
    ("TINYCDP_MAX_LATENESS", "max_lateness_ms", _duration),
    ("TINYCDP_MAX_EVENT_BYTES", "max_event_bytes", _count),
    ("TINYCDP_PLANES", "planes", _planes),
    ("TINYCDP_DECIDE_DEADLINE_MS", "decide_deadline_ms", _count),
    ("TINYCDP_DECIDE_MAX_FRESH", "decide_most_fresh", _count),
    ("TINYCDP_DECIDE_CACHE_TTL", "decide_keep_ms", _duration_or_none),
    ("TINYCDP_DECIDE_CACHE_SIZE", "decide_most_kept", _count),
)
"""Variable, field, and what reads it."""
VARIABLES: Final = ("TINYCDP_HOME", *(variable for variable, _, _ in _READ))
"""Every variable that is read."""
