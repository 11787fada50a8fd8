"""The whole log of a project, opened for one question: what has landed, and what the online store still holds of it."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial

import redis

from serving.online.connection import connect
from serving.online.embedded import embedded_url
from serving.online.log import read_log
from warehouse.log_view import WholeLog, open_whole_log
from warehouse.records import Project
from warehouse.registry import Registry
from warehouse.settings import Settings


@dataclass(frozen=True, slots=True)
class Place:
    """Where a project's identities are: its registry and its online store, open."""

    settings: Settings
    registry: Registry
    client: redis.Redis

    @property
    def key(self) -> str:
        """Of the project."""
        return self.settings.project

    @property
    def project(self) -> Project:
        """The project.

        Raises:
            UnknownProject: there is none.
        """
        return self.registry.project(self.key)

    def log(self) -> AbstractContextManager[WholeLog]:
        """Everything that the log holds by now.

        Raises:
            OnlineStoreError: the store is away.
            LogGapError: the store has lost records that have not landed.
        """
        read = partial(read_log, self.client, self.key)
        return open_whole_log(self.settings.home, self.registry, self.key, read)


@contextmanager
def open_place(settings: Settings) -> Iterator[Place]:
    """The project of these settings; a home without a registry has landed nothing.

    Raises:
        OnlineStoreError: the store does not answer.
    """
    url = settings.registry_url if settings.home.registry.exists() else "sqlite://"
    client = connect(settings.redis_url or embedded_url(settings.home.valkey))
    try:
        with Registry(url) as registry:
            yield Place(settings, registry, client)
    finally:
        client.close()
