"""The demo's shop, landed and ready to be computed on: what measurements share."""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from dsl.check import CheckedCatalog, check_catalog
from dsl.documents.definitions import load_directory
from examples.shop.journey import END_OF_DATA_MS, TIMEZONE, read_events
from warehouse.database import Connection, connect
from warehouse.exceptions import UnknownProject
from warehouse.identities import update_identities
from warehouse.landing import land
from warehouse.profiles import build_profiles
from warehouse.records import Project
from warehouse.refresh import Refresh, begin_refresh
from warehouse.registry import Registry
from warehouse.settings import Home, Settings

PROJECT = "default"


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


def open_shop(folder: Path) -> Shop:
    """The shop in `folder`; the data is landed there once, identities and profiles are computed anew."""
    settings, checked = Settings(Home(folder)), shop_catalog()
    folder.mkdir(parents=True, exist_ok=True)
    with Registry(settings.registry_url) as registry:
        project = _landed(registry, settings.home)
        settings.home.warehouse.unlink(missing_ok=True)
        with connect(settings.home.warehouse) as connection:
            refresh = begin_refresh(
                connection, registry, project, settings.home.lake, checked, catalog_version=1, now_ms=END_OF_DATA_MS
            )
            update_identities(connection)
            build_profiles(connection, checked, refresh)
            events = _count(connection)
        paths = tuple(file.absolute(settings.home.lake).absolute() for file in registry.files(PROJECT, refresh.cut))
    return Shop(settings.home.warehouse, checked, refresh, paths, events)


def _landed(registry: Registry, home: Home) -> Project:
    try:
        project = registry.project(PROJECT)
    except UnknownProject:
        project = registry.create_project(PROJECT, TIMEZONE)
    if registry.max_seq(PROJECT) == 0:
        land(
            read_events().events,
            project=project,
            home=home,
            registry=registry,
            reserve=lambda _: 1,
            received_at_ms=END_OF_DATA_MS,
        )
    return project


def _count(connection: Connection) -> int:
    (row,) = connection.execute("SELECT count(*) FROM events").fetchall()
    return int(row[0])
