"""The table `identities`: which sources make up which profile, and since when in the log.

One source is one profile here; merging adds rows and closes others, the tables downstream already join by interval.
"""

from dataclasses import dataclass

import polars as pl

from dsl.identifiers import profile_id
from warehouse.columns import count
from warehouse.coverage import read_covered, require_covered, write_covered
from warehouse.database import Connection, transaction
from warehouse.refresh import Refresh

_CREATE = """
CREATE OR REPLACE TABLE identities (
    source_id VARCHAR NOT NULL,
    profile_id VARCHAR NOT NULL,
    valid_from_seq BIGINT NOT NULL,
    valid_to_seq BIGINT
)
"""
_IN_EVENTS = "(SELECT source_id, min(seq) AS first_seq FROM events WHERE kind <> 'system' GROUP BY source_id)"
# A source may have been linked to a profile before it had an event of its own.
_UNKNOWN = """
SELECT source_id, first_seq AS valid_from_seq
FROM {sources} ANTI JOIN identities USING (source_id)
WHERE first_seq > {covered:d}
ORDER BY valid_from_seq
"""


@dataclass(frozen=True, slots=True)
class Identities:
    """What `update_identities` found: all known sources, and how many of them are new."""

    sources: int
    added: int


def update_identities(connection: Connection, refresh: Refresh) -> Identities:
    """Every source of the table `sources` belongs to a profile; known sources keep theirs.

    Grain: one row per source and interval of the log `[valid_from_seq, valid_to_seq)`; NULL is open.

    Raises:
        RefreshError: `sources` is of another cut.
    """
    with transaction(connection):
        require_covered(connection, "sources", refresh.cut)
        covered = read_covered(connection, "identities", refresh.cut)
        if covered is None:
            connection.execute(_CREATE)
        added = _add_unknown(connection, "sources", covered or 0)
        write_covered(connection, "identities", refresh.cut)
    sources = count(connection, "SELECT count(*) FROM identities WHERE valid_to_seq IS NULL")
    return Identities(sources, added)


def build_identities(connection: Connection) -> None:
    """Replaces `identities` by those of the view `events`, all of them read: previews and the past."""
    connection.execute(_CREATE)
    _add_unknown(connection, _IN_EVENTS, 0)


def valid_at(cut: int) -> str:
    """SQL condition: the row of `identities` that holds at a knowledge cut."""
    return f"valid_from_seq <= {cut:d} AND (valid_to_seq IS NULL OR valid_to_seq > {cut:d})"


def _add_unknown(connection: Connection, sources: str, covered: int) -> int:
    unknown: pl.DataFrame = connection.sql(_UNKNOWN.format(sources=sources, covered=covered)).pl()
    if not unknown.is_empty():
        ids = [profile_id(source) for source in unknown["source_id"]]
        connection.register("new_identities", unknown.with_columns(pl.Series("profile_id", ids)))
        connection.execute(
            "INSERT INTO identities SELECT source_id, profile_id, valid_from_seq, NULL FROM new_identities"
        )
        connection.unregister("new_identities")
    return unknown.height
