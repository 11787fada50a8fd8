"""Publishing a refresh to the online store: what has changed since the publication before it."""

from collections.abc import Callable
from dataclasses import dataclass

import redis

from dsl.bases import bases_of
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
    whole: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Published:
    """Profiles, bases and ranks, then the catalog and the snapshot in one step; safe to repeat.

    Args:
        snapshot: of the refresh; its `tiles` are filled in here.
        whole: write everything, whatever the store says that it has.
        progress: told the number of sources written so far.

    Raises:
        OlderPublicationError: a newer publication has begun.
    """
    held = None if whole else read_snapshot(client, project)
    since, known = (0, frozenset[int]()) if held is None else (held.cut, held.tiles)
    publication = Publication(client, project, snapshot.with_tiles(bases_of(checked.aggregates.values()).tiles_ids))
    publication.begin()
    _publish_identities(connection, client, project, since, refresh.cut)
    sources = packed_sources(connection, checked, refresh, since, known)
    written = publication.bases(((source.source_id, source.packed) for source in sources), progress)
    publication.ranks(read_ranks(connection, checked))
    publication.end(checked.catalog.to_document())
    return Published(written, since)


def _publish_identities(connection: Connection, client: redis.Redis, project: str, since: int, cut: int) -> None:
    if since == 0:
        # A store that was lost judges links as before from here on; any other is ahead of what is published.
        rules = read_rules(connection)
        publish_rules(client, project, cut, rules.settings, rules.apart)
    publish_profiles(client, project, cut, changed_profiles(connection, since, cut))
    publish_retired(client, project, cut, retired_profiles(connection, since, cut))
