"""What the log says about who is who, as far as it has landed: events that link, and the first events of others.

`choose_links` puts a part of the log into two temporary tables: `links`, every event that names more than its source,
also what was said before (a link that was refused once may hold later); and `singles`, the first event of each source
that names nobody else.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
import polars as pl

from dsl.identity_records import Erasure, Linked, SettingsChange, Unmerge
from dsl.identity_text import read_identity
from warehouse.database import Connection
from warehouse.records import IdentityRecord

_LINKS = """
CREATE OR REPLACE TEMP TABLE links AS
SELECT seq, source_id, identifiers, alias FROM {events}
WHERE seq > {after:d} AND seq <= {cut:d} AND (identifiers IS NOT NULL OR alias IS NOT NULL)
ORDER BY seq
"""
_SINGLES = """
CREATE OR REPLACE TEMP TABLE singles AS
SELECT source_id, min(seq) AS seq FROM {events}
WHERE seq > {after:d} AND seq <= {cut:d} AND identifiers IS NULL AND alias IS NULL
GROUP BY source_id
"""
_CHUNK = 10_000
_names = msgspec.json.Decoder(list[str])

Said = tuple[str, str | None, str | None]
"""What an event says about identity: its source, the columns `identifiers` and `alias` of the lake."""
IdentityChange = SettingsChange | Unmerge | Erasure
"""A record of the log that is no event."""


def choose_links(connection: Connection, events: str, after: int, cut: int) -> None:
    """Makes `links` and `singles` of the events of a view with `after < seq <= cut`."""
    connection.execute(_LINKS.format(events=events, after=after, cut=cut))
    connection.execute(_SINGLES.format(events=events, after=after, cut=cut))


def drop_links(connection: Connection) -> None:
    """Takes away what `choose_links` made."""
    connection.execute("DROP TABLE links; DROP TABLE singles")


def linked(seq: int, said: Said) -> Linked:
    """Who an event is about.

    >>> linked(7, ("user:ann", '["user:ann", "anon:a"]', None)).weaker
    ('anon:a',)
    """
    source_id, identifiers, alias = said
    weaker = () if identifiers is None else tuple(_names.decode(identifiers)[1:])
    return Linked(seq, source_id, weaker, alias)


def named(links: pl.DataFrame) -> dict[Said, Linked]:
    """Everything that some rows of `links` say, once each; their `seq` is 0."""
    distinct = links.select("source_id", "identifiers", "alias").unique()
    return {said: linked(0, said) for said in distinct.iter_rows()}


def identifiers_of(linked: Iterable[Linked]) -> pl.Series:
    """Everybody who is named, once each."""
    return pl.Series("source_id", list({name for each in linked for name in each.identifiers()}), pl.String())


def changes_until(records: Sequence[IdentityRecord], cut: int) -> list[IdentityChange]:
    """The records with `seq <= cut`, in order."""
    return [read_identity(each.seq, each.type, each.record) for each in records if each.seq <= cut]


def fetched(connection: Connection, statement: str) -> Iterator[tuple[Any, ...]]:
    """Rows of a statement; the connection must not run anything else while they are consumed."""
    found = connection.execute(statement)
    return (row for chunk in iter(lambda: found.fetchmany(_CHUNK), []) for row in chunk)
