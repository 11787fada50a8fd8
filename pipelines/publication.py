"""Publishing a refresh to the online store: what has changed since the publication before it."""

import contextlib
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final

import redis

from dsl.bases import bases_of, together
from dsl.check import CheckedCatalog
from dsl.failpoints import reached
from serving.online.exceptions import LogMovedError
from serving.online.identities import (
    publish_newest,
    publish_newest_rules,
    publish_profiles,
    publish_retired,
    publish_rules,
)
from serving.online.publication import Publication
from serving.online.reading import snapshot as read_snapshot
from serving.online.snapshot import Snapshot
from serving.online.store import announce_catalog
from warehouse.database import Connection
from warehouse.exceptions import RefreshError
from warehouse.identity_around import Around, OutgrownError, read_around
from warehouse.log_view import WholeLog
from warehouse.online_bases import packed_sources
from warehouse.online_profiles import changed_profiles, members_of, read_ranks, read_rules, retired_profiles
from warehouse.refresh import Refresh

_ATTEMPTS: Final = 10


@dataclass(frozen=True, slots=True)
class Published:
    """What a publication wrote.

    Attributes:
        since: the cut of the publication before; 0 when everything was written.
    """

    sources: int
    since: int


def publish(  # noqa: PLR0913  # what is told, to whom, and what it is told from
    connection: Connection,
    client: redis.Redis,
    project: str,
    snapshot: Snapshot,
    checked: CheckedCatalog,
    refresh: Refresh,
    *,
    before: CheckedCatalog | None = None,
    log: Callable[[], AbstractContextManager[WholeLog]] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Published:
    """Profiles, bases and ranks, then the catalog and the snapshot in one step; safe to repeat.

    Args:
        snapshot: of the refresh; its `tiles` are filled in here.
        before: the catalog that decisions use until this publication ends; they find its tiles until then.
        log: opens the whole log: profiles that have changed since the cut are published as they are by now. Without it
            they are left to whoever changed them.
        progress: told the number of sources written so far.

    Raises:
        OlderPublicationError: a newer publication has begun.
    """
    held, kept = read_snapshot(client, project), together(checked, before)
    since, known = (0, frozenset[int]()) if held is None else (held.cut, held.tiles)
    publication = Publication(client, project, snapshot.with_tiles(_tiles_ids(checked, kept)))
    publication.begin()
    announce_catalog(client, project, snapshot.catalog_version, checked.catalog.to_document())
    reached("publication.after_begin")
    _publish_rules(connection, client, project, since, refresh.cut, log)
    left = _publish_profiles(connection, client, project, since, refresh.cut)
    if left and log is not None:
        _seen_from(log, left, lambda known: publish_newest(client, project, known, left))
    reached("publication.after_identities")
    sources = packed_sources(connection, kept, refresh, since, known)
    written = publication.bases(sources, progress)
    reached("publication.after_bases")
    publication.ranks(read_ranks(connection, checked))
    reached("publication.after_ranks")
    publication.end(checked.catalog.to_document())
    reached("publication.after_end")
    return Published(written, since)


def _tiles_ids(*catalogs: CheckedCatalog) -> frozenset[int]:
    """Tiles that are kept for longer than a catalog asks for serve it as well."""
    return frozenset[int]().union(*(bases_of(checked.aggregates.values()).tiles_ids for checked in catalogs))


def _publish_rules(
    connection: Connection,
    client: redis.Redis,
    project: str,
    since: int,
    cut: int,
    log: Callable[[], AbstractContextManager[WholeLog]] | None,
) -> None:
    """A store that was lost judges links as before from here on; any other is ahead of what is published."""
    if since:
        return
    rules = read_rules(connection)
    if rules.apart and log is not None:
        _seen_from(log, rules.apart, lambda known: publish_newest_rules(client, project, known))
    else:
        publish_rules(client, project, cut, rules.settings, rules.apart)


def _publish_profiles(connection: Connection, client: redis.Redis, project: str, since: int, cut: int) -> list[str]:
    """Members of those that were left because a later record has changed them."""
    left = publish_profiles(client, project, cut, changed_profiles(connection, since, cut))
    publish_retired(client, project, cut, retired_profiles(connection, since, cut))
    return members_of(connection, left, cut)


def _seen_from(
    log: Callable[[], AbstractContextManager[WholeLog]],
    identifiers: Iterable[str],
    publish_it: Callable[[Around], object],
) -> None:
    """Publishes something of the replay around some identifiers, which is read again when the log moves away."""
    named = list(identifiers)
    for _ in range(_ATTEMPTS):
        with log() as whole, contextlib.suppress(OutgrownError, LogMovedError):
            publish_it(read_around(whole, named))
            return
    raise RefreshError("the log did not stand still while profiles were published: refresh again when it is quieter")
