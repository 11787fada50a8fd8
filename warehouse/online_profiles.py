"""What the online store is given of profiles: who belongs to them, and where they stand among all."""

from collections.abc import Iterator, Mapping
from itertools import groupby
from operator import itemgetter

from dsl.check import CheckedCatalog
from dsl.identifiers import profile_id as id_of
from dsl.identity_records import Profile
from warehouse.columns import quoted
from warehouse.database import Connection
from warehouse.identities import valid_at

_CHUNK = 10_000
_CHANGED = """
SELECT profile_id, source_id, valid_from_seq
FROM identities
WHERE {valid} AND profile_id IN (
    SELECT profile_id FROM identities
    WHERE (valid_from_seq > {since:d} AND valid_from_seq <= {cut:d})
        OR (valid_to_seq > {since:d} AND valid_to_seq <= {cut:d})
)
ORDER BY profile_id, valid_from_seq, source_id
"""


def changed_profiles(connection: Connection, since: int, cut: int) -> Iterator[Profile]:
    """Profiles at a cut that somebody has joined or left after `since`, in the order of ids.

    The connection must not run anything else while this is consumed.
    """
    found = connection.execute(_CHANGED.format(valid=valid_at(cut), since=since, cut=cut))
    rows = (row for chunk in iter(lambda: found.fetchmany(_CHUNK), []) for row in chunk)
    for profile_id, members in groupby(rows, key=itemgetter(0)):
        joined = {source_id: seq for _, source_id, seq in members}
        first = next((source_id for source_id in joined if id_of(source_id) == profile_id), next(iter(joined)))
        yield Profile(profile_id, first, joined[first], joined)


def read_ranks(connection: Connection, checked: CheckedCatalog) -> Iterator[tuple[str, Mapping[str, int]]]:
    """Every profile with its ranks in micro-units, by the text of each `percent_rank`; none that is missing.

    The connection must not run anything else while this is consumed.
    """
    ranks = tuple(checked.ranks.values())
    if not ranks:
        return
    columns = ", ".join(quoted(rank.column) for rank in ranks)
    found = connection.execute(f"SELECT profile_id, {columns} FROM ranks ORDER BY profile_id")
    while rows := found.fetchmany(_CHUNK):
        for profile_id, *values in rows:
            told = zip((rank.text for rank in ranks), values, strict=True)
            yield profile_id, {text: value for text, value in told if value is not None}
