"""The replay of the whole log, by which an un-merge or an erasure changes what was: rare, so it is simple.

Only identifiers that a link, an un-merge or an erasure names go through the replay; the others are profiles of their
own from their first event on.
"""

from collections.abc import Iterator, Sequence
from heapq import merge
from operator import attrgetter

import polars as pl

from dsl.identifiers import profile_id
from dsl.identity import Identities
from dsl.identity_records import Erasure, Linked, Unmerge
from warehouse.database import Connection
from warehouse.identity_log import IdentityChange, choose_links, drop_links, fetched, identifiers_of, linked, named
from warehouse.identity_tables import (
    add_apart,
    add_conflicts,
    add_intervals,
    add_joined,
    add_rows,
    write_settings,
)

# After an erasure the first event that names a source alone begins its profile again.
_RECORDS = """
SELECT seq, source_id, identifiers, alias FROM links
UNION ALL
SELECT min(single.seq), source_id, NULL, NULL
FROM {events} AS single SEMI JOIN replayed USING (source_id) ASOF LEFT JOIN erased ON single.seq > erased.seq
WHERE single.seq <= {cut:d} AND identifiers IS NULL AND alias IS NULL
GROUP BY source_id, erased.seq
ORDER BY 1
"""


def replay_all(connection: Connection, events: str, changes: Sequence[IdentityChange], cut: int) -> None:
    """Fills the tables of identities, which are empty, with what a replay of the log up to a cut gives.

    Args:
        events: a view that has every event.
        changes: every record with `seq <= cut`.
    """
    choose_links(connection, events, 0, cut)
    singles = _singles(connection)
    replayed = _replayed(connection, changes, singles)
    connection.register("replayed", replayed.to_frame())
    erasures = [change.seq for change in changes if isinstance(change, Erasure)]
    connection.register("erased", pl.DataFrame({"seq": erasures}, schema={"seq": pl.Int64()}))
    identities = Identities()
    for record in merge(_linked(connection, events, cut), changes, key=attrgetter("seq")):
        identities.add(record)
    connection.unregister("erased")
    connection.unregister("replayed")
    _write(connection, identities)
    add_rows(connection, singles.join(replayed.to_frame(), on="source_id", how="anti", maintain_order="left"))
    drop_links(connection)


def _singles(connection: Connection) -> pl.DataFrame:
    """Every source that has named nobody else, as a row of `identities`: as if it had been left alone."""
    singles: pl.DataFrame = connection.sql(
        "SELECT source_id, seq AS valid_from_seq, NULL::BIGINT AS valid_to_seq FROM singles ORDER BY seq"
    ).pl()
    ids = pl.Series("profile_id", [profile_id(source_id) for source_id in singles["source_id"]], pl.String())
    return singles.with_columns(ids)


def _replayed(connection: Connection, changes: Sequence[IdentityChange], singles: pl.DataFrame) -> pl.Series:
    """Identifiers that may be or have been anything but a profile of their own."""
    links = connection.sql("SELECT DISTINCT source_id, identifiers, alias FROM links").pl()
    parted = [each for change in changes if isinstance(change, Unmerge) for each in (change.one, change.other)]
    # A value of a user may be a profile id: it stands for the identifier that the profile began with.
    ids = [change.profile_id for change in changes if isinstance(change, Erasure)]
    ids += [each.removeprefix("user:") for each in parted]
    asked = singles.filter(pl.col("profile_id").is_in(ids))["source_id"]
    names = identifiers_of(named(links).values())
    return pl.concat([names, pl.Series("source_id", parted, pl.String()), asked]).unique()


def _linked(connection: Connection, events: str, cut: int) -> Iterator[Linked]:
    for seq, source_id, identifiers, alias in fetched(connection, _RECORDS.format(events=events, cut=cut)):
        yield linked(seq, (source_id, identifiers, alias))


def _write(connection: Connection, identities: Identities) -> None:
    add_intervals(connection, identities.intervals())
    add_joined(connection, identities.profiles())
    add_conflicts(connection, identities.conflicts)
    add_apart(connection, identities.apart)
    write_settings(connection, identities.settings)
