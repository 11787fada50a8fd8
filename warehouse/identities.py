"""The table `identities`: which sources make up which profile, and since when in the log.

One source is one profile here; merging adds rows and closes others, the tables downstream already join by interval.
"""

from dataclasses import dataclass

import polars as pl

from dsl.identifiers import profile_id
from warehouse.columns import count
from warehouse.database import Connection

_CREATE = """
CREATE TABLE IF NOT EXISTS identities (
    source_id VARCHAR NOT NULL,
    profile_id VARCHAR NOT NULL,
    valid_from_seq BIGINT NOT NULL,
    valid_to_seq BIGINT
)
"""
_UNKNOWN_SOURCES = """
SELECT source_id, min(seq) AS valid_from_seq
FROM events ANTI JOIN identities USING (source_id)
WHERE kind <> 'system'
GROUP BY source_id
ORDER BY valid_from_seq
"""


@dataclass(frozen=True, slots=True)
class Identities:
    """What `update_identities` found: all known sources, and how many of them are new."""

    sources: int
    added: int


def update_identities(connection: Connection) -> Identities:
    """Every source of the view `events` belongs to a profile; known sources keep theirs.

    Grain: one row per source and interval of the log `[valid_from_seq, valid_to_seq)`; NULL is open.
    """
    connection.execute(_CREATE)
    unknown = connection.sql(_UNKNOWN_SOURCES).pl()
    if not unknown.is_empty():
        ids = [profile_id(source) for source in unknown["source_id"]]
        connection.register("new_identities", unknown.with_columns(pl.Series("profile_id", ids)))
        connection.execute(
            "INSERT INTO identities SELECT source_id, profile_id, valid_from_seq, NULL FROM new_identities"
        )
        connection.unregister("new_identities")
    sources = count(connection, "SELECT count(*) FROM identities WHERE valid_to_seq IS NULL")
    return Identities(sources, added=unknown.height)


def valid_at(cut: int) -> str:
    """SQL condition: the row of `identities` that holds at a knowledge cut."""
    return f"valid_from_seq <= {cut:d} AND (valid_to_seq IS NULL OR valid_to_seq > {cut:d})"
