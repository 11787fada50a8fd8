"""The tables of identities: what they hold, and what a step of the replay reads from them and writes into them.

Beside the two that analysts read, three small ones hold what the next refresh goes on from and a rebuild of the online
store needs: `identity_apart`, `identity_joined`, `identity_settings`.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby, islice
from operator import itemgetter

import polars as pl

from dsl.identifiers import profile_id as id_of
from dsl.identity_records import Conflict, IdentitySettings, Interval, Profile
from dsl.identity_text import pack_settings, unpack_settings
from warehouse.database import Connection

_CREATE = """
CREATE OR REPLACE TABLE identities (
    source_id VARCHAR NOT NULL,
    profile_id VARCHAR NOT NULL,
    valid_from_seq BIGINT NOT NULL,
    valid_to_seq BIGINT
);
CREATE OR REPLACE TABLE identity_conflicts (
    seq BIGINT NOT NULL,
    link_seq BIGINT NOT NULL,
    reason VARCHAR NOT NULL,
    stronger VARCHAR NOT NULL,
    weaker VARCHAR NOT NULL,
    stronger_profile VARCHAR NOT NULL,
    weaker_profile VARCHAR NOT NULL
);
CREATE OR REPLACE TABLE identity_apart (one VARCHAR NOT NULL, other VARCHAR NOT NULL);
CREATE OR REPLACE TABLE identity_joined (source_id VARCHAR NOT NULL, seq BIGINT NOT NULL);
CREATE OR REPLACE TABLE identity_settings (settings VARCHAR NOT NULL)
"""
_PROFILES = """
SELECT profile_id, source_id, coalesce(identity_joined.seq, valid_from_seq) AS joined_seq
FROM identities LEFT JOIN identity_joined USING (source_id)
WHERE {valid} AND profile_id IN ({whose})
ORDER BY profile_id, joined_seq, source_id
"""
_CLOSE = """
UPDATE identities SET valid_to_seq = left_at.seq
FROM (SELECT source_id, min(valid_from_seq) AS seq FROM new_intervals GROUP BY source_id) AS left_at
WHERE identities.source_id = left_at.source_id AND valid_to_seq IS NULL
"""
# A link that is refused again for the same reason is listed once.
_REFUSE = """
INSERT INTO identity_conflicts BY NAME
SELECT * FROM new_conflicts ANTI JOIN identity_conflicts USING (reason, stronger, weaker) ORDER BY seq
"""
_CHUNK = 100_000
_INTERVALS = {
    "source_id": pl.String(),
    "profile_id": pl.String(),
    "valid_from_seq": pl.Int64(),
    "valid_to_seq": pl.Int64(),
}
_CONFLICTS = {
    "seq": pl.Int64(),
    "link_seq": pl.Int64(),
    "reason": pl.String(),
    "stronger": pl.String(),
    "weaker": pl.String(),
    "stronger_profile": pl.String(),
    "weaker_profile": pl.String(),
}


def create_tables(connection: Connection) -> None:
    """Replaces all tables of identities by empty ones.

    Tables:
        identities: Grain: one row per identifier and interval of the log `[valid_from_seq, valid_to_seq)`; NULL is
            open.
        identity_conflicts: Grain: one row per reason, stronger and weaker identifier: the first time that the link was
            refused.
        identity_apart: Grain: one row per ordered pair of identifiers that are never one profile.
        identity_joined: Grain: one row per identifier that another record brought into its profile than the one that
            its open interval begins with, as after an un-merge. Keys: source_id.
        identity_settings: the settings in force; no row while they are the defaults.
    """
    connection.execute(_CREATE)


def valid_at(cut: int) -> str:
    """SQL condition: the row of `identities` that holds at a knowledge cut."""
    return f"valid_from_seq <= {cut:d} AND (valid_to_seq IS NULL OR valid_to_seq > {cut:d})"


def read_profiles(connection: Connection, whose: str, valid: str = "valid_to_seq IS NULL") -> Iterator[Profile]:
    """Profiles with all their members, in the order of ids.

    The connection must not run anything else while this is consumed.

    Args:
        whose: a query of profile ids.
        valid: condition on rows of `identities`.
    """
    found = connection.execute(_PROFILES.format(whose=whose, valid=valid))
    rows = (row for chunk in iter(lambda: found.fetchmany(_CHUNK), []) for row in chunk)
    for profile_id, members in groupby(rows, key=itemgetter(0)):
        yield _profile(profile_id, {source_id: seq for _, source_id, seq in members})


def add_intervals(connection: Connection, intervals: Iterable[Interval]) -> None:
    """Adds rows to `identities` as they are."""
    stream = iter(intervals)
    while some := list(islice(stream, _CHUNK)):
        rows = [(each.source_id, each.profile_id, each.valid_from_seq, each.valid_to_seq) for each in some]
        add_rows(connection, pl.DataFrame(rows, schema=_INTERVALS, orient="row"))


def add_rows(connection: Connection, rows: pl.DataFrame) -> None:
    """The same of a frame with the columns of `identities`."""
    _insert(connection, "identities", rows)


def add_moves(connection: Connection, moves: Mapping[str, Mapping[int, str]]) -> None:
    """Writes what has become of some identifiers: their open intervals end where the first of the new ones begins.

    Args:
        moves: by identifier the profiles that it has come to, by the `seq` at which it did, in order.
    """
    rows = [
        (source_id, profile_id, seq, until)
        for source_id, places in moves.items()
        for (seq, profile_id), until in zip(places.items(), [*list(places)[1:], None], strict=True)
    ]
    intervals = pl.DataFrame(rows, schema=_INTERVALS, orient="row")
    connection.register("new_intervals", intervals)
    connection.execute(_CLOSE)
    connection.execute("DELETE FROM identity_joined WHERE source_id IN (SELECT source_id FROM new_intervals)")
    connection.unregister("new_intervals")
    add_rows(connection, intervals)


def add_conflicts(connection: Connection, conflicts: Iterable[Conflict]) -> None:
    """Adds links that were refused, but for those that were refused for the same reason before."""
    rows = [tuple(getattr(each, name) for name in _CONFLICTS) for each in conflicts]
    connection.register("new_conflicts", pl.DataFrame(rows, schema=_CONFLICTS, orient="row"))
    connection.execute(_REFUSE)
    connection.unregister("new_conflicts")


def add_joined(connection: Connection, profiles: Iterable[Profile]) -> None:
    """Fills `identity_joined` for profiles whose intervals are written."""
    rows = [member for profile in profiles for member in profile.members.items()]
    connection.register(
        "members", pl.DataFrame(rows, schema={"source_id": pl.String(), "seq": pl.Int64()}, orient="row")
    )
    connection.execute(
        "INSERT INTO identity_joined SELECT source_id, members.seq FROM members JOIN identities USING (source_id) "
        "WHERE valid_to_seq IS NULL AND valid_from_seq <> members.seq"
    )
    connection.unregister("members")


def add_apart(connection: Connection, apart: Mapping[str, Iterable[str]]) -> None:
    """Fills `identity_apart`.

    Args:
        apart: of an identifier, those that an un-merge keeps apart from it.
    """
    pairs = [(one, other) for one, others in apart.items() for other in others]
    _insert(
        connection,
        "identity_apart",
        pl.DataFrame(pairs, schema={"one": pl.String(), "other": pl.String()}, orient="row"),
    )


def read_apart(connection: Connection) -> dict[str, set[str]]:
    """Of an identifier, those that an un-merge keeps apart from it."""
    apart: dict[str, set[str]] = {}
    for one, other in connection.execute("SELECT one, other FROM identity_apart").fetchall():
        apart.setdefault(one, set()).add(other)
    return apart


def read_settings(connection: Connection) -> IdentitySettings:
    """The settings in force."""
    found = connection.execute("SELECT settings FROM identity_settings").fetchall()
    return unpack_settings(found[0][0]) if found else IdentitySettings()


def write_settings(connection: Connection, settings: IdentitySettings) -> None:
    """Replaces the settings in force."""
    connection.execute("DELETE FROM identity_settings")
    if settings != IdentitySettings():
        connection.execute("INSERT INTO identity_settings VALUES (?)", [pack_settings(settings)])


def _profile(profile_id: str, members: Mapping[str, int]) -> Profile:
    """A profile that began with one of its members, which was there before the others joined, or came with them."""
    since_seq = min(members.values())
    oldest = [member for member, seq in members.items() if seq == since_seq]
    first = oldest[0] if len(oldest) == 1 else next(each for each in oldest if id_of(each) == profile_id)
    return Profile(profile_id, first, since_seq, members)


def _insert(connection: Connection, table: str, rows: pl.DataFrame) -> None:
    connection.register("new_rows", rows)
    connection.execute(f"INSERT INTO {table} BY NAME FROM new_rows")
    connection.unregister("new_rows")
