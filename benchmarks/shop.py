"""The demo's shop, landed and ready to be computed on: what measurements share."""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import polars as pl

from dsl.check import CheckedCatalog, check_catalog
from dsl.clock import DAY_MS
from dsl.documents.definitions import load_directory
from examples.shop.journey import END_OF_DATA_MS, TIMEZONE, read_events
from warehouse.database import Connection, connect
from warehouse.exceptions import UnknownProject
from warehouse.identities import build_identities
from warehouse.landing import land
from warehouse.profiles import build_profiles
from warehouse.records import Project
from warehouse.refresh import Refresh, begin_refresh
from warehouse.registry import Registry
from warehouse.settings import Home, Settings

PROJECT = "default"
_SHIFT_MS = 7 * DAY_MS + 5 * 3_600_000 + 61_000
"""A week, some hours and some seconds: no two copies share their instants."""
_YEAR_MS = 52 * 7 * DAY_MS
"""Later years fall on the same days of the week."""


@dataclass(frozen=True, slots=True)
class Shop:
    """A home that holds the whole data and, computed, everything that the aggregates read.

    Attributes:
        refresh: the `(t, cut)` to compute at: the end of the data.
        lake_files: absolute paths of the manifest's files.
        events: rows in them.
    """

    warehouse: Path
    checked: CheckedCatalog
    refresh: Refresh
    lake_files: tuple[Path, ...]
    events: int


def shop_catalog() -> CheckedCatalog:
    """The demo's definitions, checked."""
    return check_catalog(load_directory(Path(str(files("examples.shop")))).catalog)


def open_shop(folder: Path, checked: CheckedCatalog, copies: int = 1, share: float = 1.0) -> Shop:
    """The shop in `folder`; the data is landed there once, identities and profiles are computed anew.

    Args:
        checked: the definitions that are going to be computed.
        copies: how often everything happened, to other households each time, and each time a week earlier.
        share: of the households, 0..1.
    """
    settings = Settings(Home(folder))
    folder.mkdir(parents=True, exist_ok=True)
    with Registry(settings.registry_url) as registry:
        project = _landed(registry, settings.home, copies, share)
        settings.home.warehouse.unlink(missing_ok=True)
        with connect(settings.home.warehouse) as connection:
            refresh = begin_refresh(
                connection, registry, project, settings.home.lake, checked, catalog_version=1, now_ms=END_OF_DATA_MS
            )
            build_identities(connection)
            build_profiles(connection, checked, refresh)
            events = _count(connection)
        paths = tuple(file.absolute(settings.home.lake).absolute() for file in registry.files(PROJECT, refresh.cut))
    return Shop(settings.home.warehouse, checked, refresh, paths, events)


def land_copies(folder: Path, copies: int) -> None:
    """The data alone, as of `open_shop`, unless the folder has it."""
    settings = Settings(Home(folder))
    folder.mkdir(parents=True, exist_ok=True)
    with Registry(settings.registry_url) as registry:
        _landed(registry, settings.home, copies, 1.0)


def land_years(folder: Path, years: int) -> None:
    """The same households with so many years of the same shopping, unless the folder has them; the end is the same."""
    settings = Settings(Home(folder))
    folder.mkdir(parents=True, exist_ok=True)
    with Registry(settings.registry_url) as registry:
        project = project_of(registry)
        if registry.max_seq(PROJECT) == 0:
            events = read_events().events
            for ago in reversed(range(years)):
                named = pl.format("{}-year-{}", "event_id", pl.lit(ago)) if ago else pl.col("event_id")
                then = events.with_columns(named.alias("event_id"), pl.col("ts_ms") - ago * _YEAR_MS)
                land_more(then, project, settings.home, registry, END_OF_DATA_MS)


def land_more(events: pl.DataFrame, project: Project, home: Home, registry: Registry, now_ms: int) -> None:
    """Events into the lake, numbered after those that are there."""
    land(
        events,
        project=project,
        home=home,
        registry=registry,
        reserve=lambda _: registry.max_seq(PROJECT) + 1,
        received_at_ms=now_ms,
    )


def _landed(registry: Registry, home: Home, copies: int, share: float) -> Project:
    project = project_of(registry)
    if registry.max_seq(PROJECT) == 0:
        land_more(_copied(read_events(share).events, copies), project, home, registry, END_OF_DATA_MS)
    return project


def project_of(registry: Registry) -> Project:
    """The project of the shop, made when the registry has none."""
    try:
        return registry.project(PROJECT)
    except UnknownProject:
        return registry.create_project(PROJECT, TIMEZONE)


def _copied(events: pl.DataFrame, copies: int) -> pl.DataFrame:
    """Copies with users and instants of their own; what lies between two events of a household stays as it is."""
    copies_of_it = [events]
    for number in range(1, copies):
        ids = [pl.format("{}-{}", name, pl.lit(number)).alias(name) for name in ("event_id", "source_id")]
        copies_of_it.append(events.with_columns(*ids, pl.col("ts_ms") - number * _SHIFT_MS))
    return pl.concat(copies_of_it)


def _count(connection: Connection) -> int:
    (row,) = connection.execute("SELECT count(*) FROM events").fetchall()
    return int(row[0])
