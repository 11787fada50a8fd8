"""Publishing a refresh to the online store: what has changed since the publication before it."""

from collections.abc import Callable
from dataclasses import dataclass

import redis

from dsl.bases import bases_of, together
from dsl.check import CheckedCatalog
from serving.online.identities import publish_profiles, publish_retired, publish_rules
from serving.online.publication import Publication
from serving.online.reading import snapshot as read_snapshot
from serving.online.snapshot import Snapshot
from warehouse.database import Connection
from warehouse.online_bases import packed_sources
from warehouse.online_profiles import changed_profiles, read_ranks, read_rules, retired_profiles
from warehouse.refresh import Refresh


@dataclass(frozen=True, slots=True)
class Published:
    """What a publication wrote.

    Attributes:
        since: the cut of the publication before; 0 when everything was written.
    """

    sources: int
    since: int


def publish(
    connection: Connection,
    client: redis.Redis,
    project: str,
    snapshot: Snapshot,
    checked: CheckedCatalog,
    refresh: Refresh,
    *,
    before: CheckedCatalog | None = None,
    progress: Callable[[int], None] | None = None,
) -> Published:
    """Profiles, bases and ranks, then the catalog and the snapshot in one step; safe to repeat.

    Args:
        snapshot: of the refresh; its `tiles` are filled in here.
        before: the catalog that decisions use until this publication ends; they find its tiles until then.
        progress: told the number of sources written so far.

    Raises:
        OlderPublicationError: a newer publication has begun.
    """
    held, kept = read_snapshot(client, project), together(checked, before)
    since, known = (0, frozenset[int]()) if held is None else (held.cut, held.tiles)
    publication = Publication(client, project, snapshot.with_tiles(_tiles_ids(checked, kept)))
    publication.begin()
    _publish_identities(connection, client, project, since, refresh.cut)
    sources = packed_sources(connection, kept, refresh, since, known)
    written = publication.bases(((source.source_id, source.packed) for source in sources), progress)
    publication.ranks(read_ranks(connection, checked))
    publication.end(checked.catalog.to_document())
    return Published(written, since)


def _tiles_ids(*catalogs: CheckedCatalog) -> frozenset[int]:
    """Tiles that are kept for longer than a catalog asks for serve it as well."""
    return frozenset[int]().union(*(bases_of(checked.aggregates.values()).tiles_ids for checked in catalogs))


def _publish_identities(connection: Connection, client: redis.Redis, project: str, since: int, cut: int) -> None:
    if since == 0:
        # A store that was lost judges links as before from here on; any other is ahead of what is published.
        rules = read_rules(connection)
        publish_rules(client, project, cut, rules.settings, rules.apart)
    publish_profiles(client, project, cut, changed_profiles(connection, since, cut))
    publish_retired(client, project, cut, retired_profiles(connection, since, cut))
