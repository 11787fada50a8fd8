"""The tables `identities` and `identity_conflicts`: who is who since when in the log, and which links were refused.

They are what a replay of the log gives (`dsl.identity`). A refresh reads what is new, and the profiles that it has to
do with; only an un-merge or an erasure has everything replayed.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dsl.identity_records import Erasure, SettingsChange
from warehouse.columns import column_names, count
from warehouse.coverage import forget_covered, read_covered, require_covered, write_covered
from warehouse.database import Connection, transaction
from warehouse.events_view import events_view_sql
from warehouse.identity_log import IdentityChange, changes_until
from warehouse.identity_replay import replay_all
from warehouse.identity_step import carry_on
from warehouse.identity_tables import create_tables
from warehouse.records import IdentityRecord
from warehouse.refresh import Refresh
from warehouse.stretches import FilesAfter


@dataclass(frozen=True, slots=True)
class IdentitiesUpdate:
    """What `update_identities` came to.

    Attributes:
        identifiers: that belong to a profile.
        conflicts: links that were ever refused.
    """

    identifiers: int
    conflicts: int


def update_identities(
    connection: Connection,
    refresh: Refresh,
    files: FilesAfter,
    lake: Path,
    records: Sequence[IdentityRecord] = (),
) -> IdentitiesUpdate:
    """Brings the tables of identities to the refresh's cut: all of it or nothing.

    Tables:
        identities: Grain: one row per identifier, also those without events of their own, and interval of the log
            `[valid_from_seq, valid_to_seq)`; NULL is open. Keys: source_id, valid_from_seq.
        identity_conflicts: Grain: one row per reason, stronger and weaker identifier: the first time that the link was
            refused.

    Args:
        files: the project's up to the cut; those of what is new are asked for.
        lake: the lake's folder (`Home.lake`).
        records: those that are no events (`Registry.identity_records`), by `seq`; later ones than the cut are left out.

    Raises:
        RefreshError: `sources` is of another cut.
    """
    with transaction(connection):
        require_covered(connection, "sources", refresh.cut)
        step = _plan(changes_until(records, refresh.cut), _covered(connection, refresh.cut), refresh.cut)
        if step.leaves_no_trace:
            forget_covered(connection, "profiles")
        connection.execute(events_view_sql(files(step.after), refresh.cut, (), lake, "identity_events"))
        _take(connection, "identity_events", step)
        connection.execute("DROP VIEW identity_events")
        write_covered(connection, "identities", refresh.cut)
    return IdentitiesUpdate(
        count(connection, "SELECT count(*) FROM identities WHERE valid_to_seq IS NULL"),
        count(connection, "SELECT count(*) FROM identity_conflicts"),
    )


def build_identities(connection: Connection, records: Sequence[IdentityRecord] = (), cut: int = sys.maxsize) -> None:
    """Replaces the tables of identities by those of the view `events`, all of them read: previews and the past.

    Args:
        records: as of `update_identities`.
        cut: of the view; without one everything that it and the records hold.
    """
    _take(connection, "events", _plan(changes_until(records, cut), None, cut))


@dataclass(frozen=True, slots=True)
class _Step:
    """What is to be done.

    Attributes:
        after, cut: the events that are read are those with `after < seq <= cut`.
        changes: the same of the records that are no events.
        anew: nothing that the tables hold is kept.
        leaves_no_trace: rows vanish, not only end: nobody could tell from the tables which profiles have changed.
    """

    after: int
    cut: int
    changes: Sequence[IdentityChange]
    anew: bool
    leaves_no_trace: bool

    @property
    def settings(self) -> list[SettingsChange]:
        """Of the changes those of the settings."""
        return [change for change in self.changes if isinstance(change, SettingsChange)]


def _plan(changes: Sequence[IdentityChange], covered: int | None, cut: int) -> _Step:
    new = [change for change in changes if change.seq > (covered or 0)]
    traceless = covered is None or any(isinstance(change, Erasure) for change in new)
    if covered is None or not all(isinstance(change, SettingsChange) for change in new):
        return _Step(0, cut, changes, anew=True, leaves_no_trace=traceless)
    return _Step(covered, cut, new, anew=False, leaves_no_trace=traceless)


def _take(connection: Connection, events: str, step: _Step) -> None:
    if step.anew:
        create_tables(connection)
    if len(step.settings) < len(step.changes):
        replay_all(connection, events, step.changes, step.cut)
    else:
        carry_on(connection, events, step.settings, step.after, step.cut)


def _covered(connection: Connection, cut: int) -> int | None:
    # Warehouses of before there were links have no conflicts.
    there = column_names(connection, "identity_conflicts")
    return read_covered(connection, "identities", cut) if there else None
