"""Where a TinyCDP home lies and how it is reached, as one frozen value."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


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
    """Everything that the environment decides.

    Attributes:
        redis_url: an outside Redis or Valkey; None uses the embedded one of this home.
        project: the project that commands and processes work on.
    """

    home: Home
    redis_url: str | None = None
    project: str = "default"
    log_level: str = "info"

    @property
    def registry_url(self) -> str:
        """SQLAlchemy URL of the registry."""
        return f"sqlite:///{self.home.registry}"

    @classmethod
    def read(cls, environ: Mapping[str, str] = os.environ) -> "Settings":
        """Settings from `TINYCDP_HOME`, `TINYCDP_REDIS_URL`, `TINYCDP_PROJECT`, `TINYCDP_LOG_LEVEL`."""
        return cls(
            home=Home(Path(environ.get("TINYCDP_HOME", "var")).absolute()),
            redis_url=environ.get("TINYCDP_REDIS_URL") or None,
            project=environ.get("TINYCDP_PROJECT", "default"),
            log_level=environ.get("TINYCDP_LOG_LEVEL", "info"),
        )
