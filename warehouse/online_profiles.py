"""What the online store is given of profiles: who belongs to them, where they stand among all, how links are judged."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from dsl.check import CheckedCatalog
from dsl.identifiers import profile_id as id_of
from dsl.identity_records import IdentitySettings, Profile
from warehouse.columns import quoted
from warehouse.database import Connection
from warehouse.identity_tables import read_apart, read_profiles, read_settings, valid_at

_CHUNK = 10_000
_CHANGED = """
SELECT profile_id FROM identities
WHERE (valid_from_seq > {since:d} AND valid_from_seq <= {cut:d})
    OR (valid_to_seq > {since:d} AND valid_to_seq <= {cut:d})
"""
_RETIRED = """
SELECT DISTINCT profile_id, source_id
FROM identities
WHERE valid_to_seq > {since:d} AND valid_to_seq <= {cut:d}
    AND profile_id NOT IN (SELECT profile_id FROM identities WHERE {valid})
ORDER BY profile_id
"""


@dataclass(frozen=True, slots=True)
class IdentityRules:
    """What links are judged by, at the cut of the tables.

    Attributes:
        apart: of an identifier, those that an un-merge keeps apart from it.
    """

    settings: IdentitySettings
    apart: Mapping[str, tuple[str, ...]]


def changed_profiles(connection: Connection, since: int, cut: int) -> Iterator[Profile]:
    """Profiles at a cut that somebody has joined or left after `since`, in the order of ids; none without members.

    The connection must not run anything else while this is consumed.
    """
    return read_profiles(connection, _CHANGED.format(since=since, cut=cut), valid_at(cut))


def members_of(connection: Connection, profile_ids: Sequence[str], cut: int) -> list[str]:
    """The identifiers of some profiles at a cut."""
    found = connection.execute(
        f"SELECT source_id FROM identities WHERE {valid_at(cut)} AND list_contains(?, profile_id)", [list(profile_ids)]
    ).fetchall()
    return [source_id for (source_id,) in found]


def retired_profiles(connection: Connection, since: int, cut: int) -> Iterator[tuple[str, str]]:
    """Ids of profiles that somebody has left after `since` and that have no member at a cut; with their first one.

    The connection must not run anything else while this is consumed.

    Args:
        since: 0 for all of them.
    """
    found = connection.execute(_RETIRED.format(since=since, cut=cut, valid=valid_at(cut)))
    rows = (row for chunk in iter(lambda: found.fetchmany(_CHUNK), []) for row in chunk)
    # A profile whose first identifier was erased leads nowhere: nobody is left who was the first.
    return ((profile_id, source_id) for profile_id, source_id in rows if id_of(source_id) == profile_id)


def read_rules(connection: Connection) -> IdentityRules:
    """Settings in force and what is kept apart: what an online store that was lost needs before links are judged."""
    apart = read_apart(connection)
    return IdentityRules(read_settings(connection), {each: tuple(sorted(others)) for each, others in apart.items()})


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
