"""A step of the replay: events that are new, against the profiles that they could have to do with and no others.

Only settings may change in a step; what an un-merge or an erasure does is in `warehouse.identity_replay`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Final

import polars as pl

from dsl.identifiers import profile_id
from dsl.identity_graph import Graph, Group
from dsl.identity_records import Conflict, IdentitySettings, Linked, SettingsChange
from warehouse.database import Connection
from warehouse.identity_log import Said, choose_links, drop_links, identifiers_of, named
from warehouse.identity_tables import (
    add_conflicts,
    add_moves,
    add_rows,
    read_apart,
    read_profiles,
    read_settings,
    write_settings,
)

STEP_LINKS: Final = 200_000
"""Events with links that are taken at a time: what they name is in memory."""
_SLICE: Final = 500_000
_BOUNDARIES = "SELECT seq FROM links QUALIFY row_number() OVER (ORDER BY seq) % {links:d} = 0 ORDER BY seq"
_LINKS = "SELECT source_id, identifiers, alias, seq FROM links WHERE seq > {lo:d} AND seq <= {hi:d} ORDER BY seq"
_SINGLES = """
SELECT source_id, NULL::VARCHAR AS identifiers, NULL::VARCHAR AS alias, seq
FROM singles ANTI JOIN (SELECT source_id FROM identities WHERE valid_to_seq IS NULL) USING (source_id)
WHERE seq > {lo:d} AND seq <= {hi:d}
ORDER BY seq
"""
_NAMED = """
SELECT profile_id FROM identities WHERE valid_to_seq IS NULL AND source_id IN (SELECT source_id FROM named)
"""


@dataclass(slots=True)
class _Taken:
    """What events have done to some profiles.

    Attributes:
        moves: by identifier the profiles that it has come to, by `seq`.
        refused: the first refusal of each link for each reason.
    """

    graph: Graph
    moves: dict[str, dict[int, str]] = field(default_factory=dict)
    refused: dict[tuple[str, str, str], Conflict] = field(default_factory=dict)

    def take(self, linked: Linked, settings: IdentitySettings) -> bool:
        """Apply an event; whether all that it names is one profile now, so that the same again changes nothing."""
        taken = self.graph.take(linked, settings)
        for identifier in taken.moved:
            self.moves.setdefault(identifier, {})[linked.seq] = self.graph.groups[identifier].profile_id
        for found in taken.refused:
            self.refused.setdefault((found.reason, found.stronger, found.weaker), found)
        return not taken.refused


def carry_on(connection: Connection, events: str, changes: Sequence[SettingsChange], after: int, cut: int) -> None:
    """Brings the tables of identities from one cut to another.

    Args:
        events: a view that has the events in between.
        changes: of the settings, with `after < seq <= cut`.
    """
    choose_links(connection, events, after, cut)
    boundaries = connection.execute(_BOUNDARIES.format(links=STEP_LINKS)).fetchall()
    for lo, hi in pairwise([after, *(seq for (seq,) in boundaries), cut]):
        _step(connection, changes, lo, hi)
    if changes:
        write_settings(connection, changes[-1].settings)
    drop_links(connection)


def _step(connection: Connection, changes: Sequence[SettingsChange], lo: int, hi: int) -> None:
    links = connection.sql(_LINKS.format(lo=lo, hi=hi)).pl()
    singles = connection.sql(_SINGLES.format(lo=lo, hi=hi)).pl()
    if links.height:
        said = named(links)
        names = identifiers_of(said.values())
        alone = singles.join(names.to_frame(), on="source_id", how="semi")
        taken = _Taken(_load(connection, names))
        _follow(taken, pl.concat([links, alone]).sort("seq"), said | named(alone), _settings(connection, changes))
        add_moves(connection, taken.moves)
        add_conflicts(connection, taken.refused.values())
        singles = singles.join(names.to_frame(), on="source_id", how="anti", maintain_order="left")
    _add_singles(connection, singles)


def _load(connection: Connection, names: pl.Series) -> Graph:
    """Everybody in whose profile somebody is who is named."""
    graph = Graph(read_apart(connection))
    connection.register("named", names.to_frame())
    for profile in read_profiles(connection, _NAMED):
        graph.put(Group(profile.first, profile.since_seq, dict(profile.members), profile.profile_id))
    connection.unregister("named")
    return graph


def _settings(connection: Connection, changes: Sequence[SettingsChange]) -> Iterator[SettingsChange]:
    yield SettingsChange(0, read_settings(connection))
    yield from changes


def _follow(
    taken: _Taken, events: pl.DataFrame, said: Mapping[Said, Linked], settings_changes: Iterator[SettingsChange]
) -> None:
    """Applies events in their order, each by the settings of its own `seq`."""
    in_force, following = next(settings_changes), next(settings_changes, None)
    settled = set[Said]()
    for source_id, identifiers, alias, seq in events.iter_rows():
        what = source_id, identifiers, alias
        while following is not None and following.seq < seq:
            in_force, following = following, next(settings_changes, None)
        if what not in settled and taken.take(replace(said[what], seq=seq), in_force.settings):
            settled.add(what)


def _add_singles(connection: Connection, singles: pl.DataFrame) -> None:
    """Profiles of sources that nobody else has to do with."""
    for some in singles.iter_slices(_SLICE):
        ids = pl.Series("profile_id", [profile_id(source_id) for source_id in some["source_id"]], pl.String())
        until = pl.lit(None, pl.Int64).alias("valid_to_seq")
        add_rows(connection, some.select("source_id", ids, pl.col("seq").alias("valid_from_seq"), until))
