"""What the assets work on: one project of one home, and the catalog version that the definitions were made from."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import redis

from dsl.catalog import Catalog
from dsl.check import CheckedCatalog, check_catalog
from dsl.diagnostics import DefinitionError
from serving.online.connection import connect as connect_online
from serving.online.embedded import start
from serving.online.log import read_log
from serving.online.pipelines import publish_webhook_secrets
from serving.online.project import publish_calendar
from serving.online.reading import current_catalog, current_version
from serving.online.snapshot import Snapshot
from serving.online.store import publish_keys
from serving.worker.landing import LogLanding, land_log
from warehouse.compaction import groups
from warehouse.database import Connection, connect
from warehouse.exceptions import RefreshError
from warehouse.log_view import WholeLog, open_whole_log
from warehouse.records import LakeFile
from warehouse.refresh import Refresh, begin_refresh, current_refresh, open_project
from warehouse.registry import Registry
from warehouse.settings import Settings


@dataclass(frozen=True, slots=True)
class Workspace:
    """A project as one load of the definitions sees it.

    Attributes:
        catalog_version: the current version at that moment; 0 when there was none.
        checked: that version; empty when there was none.
    """

    settings: Settings
    catalog_version: int
    checked: CheckedCatalog

    @contextmanager
    def registry(self) -> Iterator[Registry]:
        """The registry of the home."""
        with Registry(self.settings.registry_url) as registry:
            yield registry

    @contextmanager
    def warehouse(self) -> Iterator[Connection]:
        """`warehouse.duckdb`, in the project's schema; one process at a time."""
        with connect(self.settings.home.warehouse) as connection:
            open_project(connection, self.settings.project)
            yield connection

    @contextmanager
    def online(self) -> Iterator[redis.Redis]:
        """The online store; the embedded one is started if it does not run."""
        client = connect_online(self.settings.redis_url or start(self.settings.home.valkey))
        try:
            yield client
        finally:
            client.close()

    def land(self) -> LogLanding:
        """Land what has been appended by now."""
        with self.registry() as registry, self.online() as client:
            project = registry.project(self.settings.project)
            return land_log(client, self.settings.home, registry, project, self.settings.grace_period_ms)

    @contextmanager
    def log(self, client: redis.Redis) -> Iterator[WholeLog]:
        """Everything that the log holds by now."""
        project = self.settings.project
        with self.registry() as registry:
            read = partial(read_log, client, project)
            with open_whole_log(self.settings.home, registry, project, read) as whole:
                yield whole

    def begin(self, connection: Connection) -> Refresh:
        """A new refresh over everything that has landed.

        Raises:
            RefreshError: the registry's current catalog is another one by now.
        """
        with self.registry() as registry:
            project = registry.project(self.settings.project)
            current = registry.current_catalog(project.key)
            if (current[0] if current else 0) != self.catalog_version:
                raise RefreshError("the definitions have changed since they were loaded: reload the code location")
            now_ms = project.clock.now_ms()
            return begin_refresh(
                connection, registry, project, self.settings.home.lake, self.checked, self.catalog_version, now_ms
            )

    def current(self, connection: Connection) -> Refresh:
        """The refresh that a run continues.

        Raises:
            RefreshError: there is none, or it was of other definitions.
        """
        refresh = current_refresh(connection)
        if refresh.catalog_version != self.catalog_version:
            raise RefreshError(
                f"the tables are of version {refresh.catalog_version} of the definitions, and {self.catalog_version} "
                "is loaded: refresh everything"
            )
        return refresh

    def files(self, cut: int, after: int = 0) -> Sequence[LakeFile]:
        """Files of the lake that may hold events up to a cut, and after another one."""
        with self.registry() as registry:
            return registry.files(self.settings.project, cut, after)

    def small_files(self) -> int:
        """Files of the lake that a compaction would merge, were all of them refreshed."""
        if not self.settings.home.registry.exists():
            return 0
        with self.registry() as registry:
            return sum(map(len, groups(registry.files(self.settings.project))))

    def now_ms(self) -> int:
        """The project's now."""
        with self.registry() as registry:
            return registry.project(self.settings.project).clock.now_ms()

    def before(self) -> CheckedCatalog | None:
        """The catalog that decisions use, where it is another version; None where it is this one, or none."""
        with self.online() as client:
            version = current_version(client, self.settings.project)
            document = current_catalog(client, self.settings.project)
        if version in (None, self.catalog_version) or document is None:
            return None
        try:
            return check_catalog(Catalog.from_document(document))
        except DefinitionError:
            # Another version of this program wrote it: no decision is made with it any more.
            return None

    def snapshot(self, refresh: Refresh) -> Snapshot:
        """The refresh as the online store announces it."""
        with self.registry() as registry:
            project = registry.project(self.settings.project)
        return Snapshot(refresh.cut, refresh.t_ms, refresh.catalog_version, project.clock_offset_ms, project.timezone)

    def publish_project(self, client: redis.Redis) -> None:
        """Tells the online store which API keys and secrets of webhooks work, and the project's zone and clock."""
        with self.registry() as registry:
            project, keys = registry.project(self.settings.project), registry.keys(self.settings.project)
            secrets = registry.webhook_secrets(self.settings.project)
        publish_calendar(client, project.key, project.timezone, project.clock_offset_ms)
        publish_keys(client, project.key, {key.digest: key.kind for key in keys if key.is_active})
        publish_webhook_secrets(client, project.key, {secret.pipeline: secret.terms for secret in secrets})


def load_workspace(settings: Settings) -> Workspace:
    """The settings' project with its current catalog; a home without any still loads, with an empty catalog."""
    empty = Workspace(settings, 0, check_catalog(Catalog()))
    if not settings.home.registry.exists():
        return empty
    with Registry(settings.registry_url) as registry:
        current = registry.current_catalog(settings.project)
    if current is None:
        return empty
    version, document = current
    return Workspace(settings, version, check_catalog(Catalog.from_document(document)))
