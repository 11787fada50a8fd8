"""One home, opened: its settings, registry, online store and current catalog, for a command that needs them."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dsl.catalog import Catalog
from dsl.failure import Failure
from dsl.observed import Observed
from warehouse.settings import Settings

if TYPE_CHECKING:
    import redis

    from dsl.check import CheckedCatalog
    from warehouse.database import Connection
    from warehouse.records import CatalogVersion, Project
    from warehouse.registry import Registry


class NothingThere(Failure):
    """A command needs something that an earlier one makes."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """What commands share. Everything is opened on demand, so that a command loads only what it uses."""

    settings: Settings

    @contextmanager
    def registry(self) -> "Iterator[Registry]":
        """The registry of this home; it is made when absent."""
        from warehouse.registry import Registry

        self.settings.home.path.mkdir(parents=True, exist_ok=True)
        with Registry(self.settings.registry_url) as registry:
            yield registry

    @contextmanager
    def store(self) -> "Iterator[redis.Redis]":
        """The online store; the embedded server is started when it does not run, and left running."""
        from serving.online.connection import connect

        client = connect(self.store_url())
        try:
            yield client
        finally:
            client.close()

    def store_url(self) -> str:
        """URL of the online store, which answers from here on if it is the embedded one."""
        from serving.online import embedded

        return self.settings.redis_url or embedded.start(self.settings.home.valkey)

    def ensure_project(self, registry: "Registry", timezone: str = "UTC", now_ms: int | None = None) -> "Project":
        """The project of these settings, made when absent.

        Args:
            timezone: calendar of a project that is made now.
            now_ms: the instant that the clock of a project that is made now shows; None is wall time.
        """
        from warehouse.exceptions import UnknownProject

        try:
            return registry.project(self.settings.project)
        except UnknownProject:
            offset_ms = 0 if now_ms is None else time.time_ns() // 1_000_000 - now_ms
            return registry.create_project(self.settings.project, timezone, offset_ms)

    def apply(self, registry: "Registry", catalog: Catalog) -> "CatalogVersion":
        """Makes a checked catalog the current version; one equal to the current is not written again.

        Dates in its expressions are read in the project's zone from here on.
        """
        catalog = replace(catalog, timezone=registry.project(self.settings.project).timezone)
        return registry.save_catalog(self.settings.project, catalog.to_document(), catalog.digest())

    def deploy(self, version: int, checked: "CheckedCatalog") -> bool:
        """Tells the online store of a new catalog version; whether decisions use it from here on.

        They do at once where all that it needs is published already: a flag that is switched off is off. Otherwise its
        new flags answer their defaults until the next refresh has published it.
        """
        from dsl.bases import bases_of
        from dsl.check import check_catalog
        from serving.online import current_catalog, embedded, snapshot
        from serving.online.store import announce_catalog, publish_catalog

        if self.settings.redis_url is None and not embedded.is_running(self.settings.home.valkey):
            return False
        with self.store() as client:
            document, project = checked.catalog.to_document(), self.settings.project
            announce_catalog(client, project, version, document)
            published, current = snapshot(client, project), current_catalog(client, project)
            if published is None or current is None:
                return False
            ranks = check_catalog(Catalog.from_document(current)).ranks
            needs = bases_of(checked.aggregates.values()).tiles_ids
            if not needs <= published.tiles or not set(checked.ranks) <= set(ranks):
                return False
            publish_catalog(client, project, version, document)
            return True

    def checked(self, registry: "Registry") -> "tuple[int, CheckedCatalog]":
        """Number of the current catalog version, and the catalog; version 0 is an empty one."""
        from dsl.check import check_catalog

        found = registry.current_catalog(self.settings.project)
        if found is None:
            return 0, check_catalog(Catalog(timezone=registry.project(self.settings.project).timezone))
        return found[0], check_catalog(Catalog.from_document(found[1]))

    def observed(self) -> Observed | None:
        """What the project's events have held so far; None where nothing has landed yet."""
        if not self.settings.home.registry.exists():
            return None
        with self.registry() as registry:
            return Observed.of(registry.observed(self.settings.project))

    def publish_keys(self, registry: "Registry", client: "redis.Redis") -> None:
        """Tells the online store what the registry says: keys, secrets of webhooks, the clock, definitions to come."""
        from serving.online import current_version
        from serving.online.pipelines import publish_webhook_secrets
        from serving.online.project import publish_calendar
        from serving.online.store import announce_catalog, publish_keys

        keys, project = registry.keys(self.settings.project), registry.project(self.settings.project)
        publish_calendar(client, project.key, project.timezone, project.clock_offset_ms)
        publish_keys(client, self.settings.project, {key.digest: key.kind for key in keys if key.is_active})
        secrets = registry.webhook_secrets(project.key)
        publish_webhook_secrets(client, project.key, {secret.pipeline: secret.terms for secret in secrets})
        newest = registry.current_catalog(project.key)
        if newest is not None and current_version(client, project.key) != newest[0]:
            announce_catalog(client, project.key, *newest)

    @contextmanager
    def analytics(self) -> "Iterator[Connection]":
        """The published tables, read-only.

        Raises:
            NothingThere: nothing has been refreshed yet.
        """
        from warehouse.database import connect
        from warehouse.refresh import use_project

        path = self.settings.home.analytics
        if not path.exists():
            raise NothingThere(f"no tables in {self.settings.home.path} yet: run `tinycdp refresh` first")
        with connect(path, read_only=True) as connection:
            use_project(connection, self.settings.project)
            yield connection
