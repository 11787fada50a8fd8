"""The replay of what has to do with some identifiers, and of nothing else.

Links lead from one identifier to the next; an un-merge is a link too, for what it keeps apart has to be known on both
sides. What no link leads to cannot change what comes of these: so this is the replay of the whole log, seen from here,
and costs two passes over four columns of the lake and the replay of a few records.
"""

from collections.abc import Iterable, Iterator, Sequence
from heapq import merge
from operator import attrgetter

import polars as pl

from dsl.identity import Identities
from dsl.identity_records import Erasure, Linked, Outcome, Record, Unmerge
from warehouse.exceptions import WarehouseError
from warehouse.identity_log import IdentityChange, changes_until, fetched, linked
from warehouse.log_view import WholeLog

_SAID = """
CREATE OR REPLACE TEMP TABLE said AS
SELECT DISTINCT source_id, identifiers, alias FROM events WHERE identifiers IS NOT NULL OR alias IS NOT NULL
"""
_TIES = """
CREATE OR REPLACE TEMP TABLE ties AS
WITH tied AS (
    SELECT source_id AS one, unnest(CAST(CAST(identifiers AS JSON) AS VARCHAR[])[2:]) AS other FROM said
    UNION SELECT source_id, alias FROM said WHERE alias IS NOT NULL
    UNION SELECT one, other FROM parted
)
SELECT one, other FROM tied UNION SELECT other, one FROM tied
"""
_AROUND = """
CREATE OR REPLACE TEMP TABLE around AS
WITH RECURSIVE reached(source_id) AS (
    SELECT source_id FROM asked
    UNION
    SELECT other FROM reached JOIN ties ON one = source_id
)
SELECT source_id FROM reached
"""
_THEIRS = """
CREATE OR REPLACE TEMP TABLE theirs AS
SELECT seq, source_id, identifiers, alias FROM events SEMI JOIN around USING (source_id)
"""
# After an erasure the first event that names a source alone begins its profile again.
_RECORDS = """
SELECT seq, source_id, identifiers, alias FROM theirs WHERE identifiers IS NOT NULL OR alias IS NOT NULL
UNION ALL
SELECT min(single.seq), source_id, NULL, NULL
FROM (SELECT * FROM theirs WHERE identifiers IS NULL AND alias IS NULL) AS single
    ASOF LEFT JOIN erased ON single.seq > erased.seq
GROUP BY source_id, erased.seq
ORDER BY 1
"""


class OutgrownError(WarehouseError):
    """Somebody whose past was not read has become somebody's that is looked at: read again."""


class Around(Identities):
    """Who is who among some identifiers; records about others pass by, and only `seq` goes on.

    Attributes:
        names: everybody whose past is known here.
    """

    def __init__(self, names: frozenset[str]) -> None:
        super().__init__()
        self.names = names

    def add(self, record: Record) -> Outcome | None:
        """As `Identities.add`.

        Raises:
            OutgrownError: it links somebody of these to somebody else.
            ValueError: a record with this `seq` or a later one was added before.
        """
        match record:
            case Linked():
                said = set(record.identifiers())
            case Unmerge(_, one, other):
                said = {one, other}
            case _:
                return super().add(record)
        if said <= self.names:
            return super().add(record)
        if not said.isdisjoint(self.names):
            raise OutgrownError("somebody new was linked to this profile meanwhile: repeat")
        self.seq = record.seq
        return None


def read_around(log: WholeLog, identifiers: Iterable[str]) -> Around:
    """The replay of a log, as far as it has to do with some identifiers; its `seq` is that of the log."""
    changes = changes_until(log.records, log.seq)
    found = Around(_names_around(log, changes, identifiers))
    for record in merge(_linked(log, changes), changes, key=attrgetter("seq")):
        found.add(record)
    found.seq = log.seq
    return found


def _names_around(log: WholeLog, changes: Sequence[IdentityChange], identifiers: Iterable[str]) -> frozenset[str]:
    parted = [(each.one, each.other) for each in changes if isinstance(each, Unmerge)]
    asked = pl.DataFrame({"source_id": sorted(set(identifiers))}, schema={"source_id": pl.String()})
    schema = {"one": pl.String(), "other": pl.String()}
    log.connection.register("parted", pl.DataFrame(parted, schema=schema, orient="row"))
    log.connection.register("asked", asked)
    for statement in (_SAID, _TIES, _AROUND, _THEIRS):
        log.connection.execute(statement)
    log.connection.unregister("parted")
    log.connection.unregister("asked")
    return frozenset(name for (name,) in log.connection.execute("SELECT source_id FROM around").fetchall())


def _linked(log: WholeLog, changes: Sequence[IdentityChange]) -> Iterator[Linked]:
    erasures = [change.seq for change in changes if isinstance(change, Erasure)]
    log.connection.register("erased", pl.DataFrame({"seq": erasures}, schema={"seq": pl.Int64()}))
    for seq, *said in fetched(log.connection, _RECORDS):
        yield linked(seq, tuple(said))
    log.connection.unregister("erased")
