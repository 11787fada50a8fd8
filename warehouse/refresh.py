"""The ledger of refreshes: which `(t, cut)` every table of the warehouse is of."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dsl.check import CheckedCatalog
from warehouse.columns import column_names, count, literal, quoted
from warehouse.database import Connection
from warehouse.events_view import events_view_sql
from warehouse.exceptions import RefreshError
from warehouse.records import LakeFile, Project
from warehouse.registry import Registry

_CREATE = """
CREATE TABLE IF NOT EXISTS refreshes (
    refresh_id BIGINT NOT NULL,
    cut BIGINT NOT NULL,
    as_of_ms BIGINT NOT NULL,
    as_of_at TIMESTAMP NOT NULL,
    today INTEGER NOT NULL,
    today_on DATE NOT NULL,
    catalog_version INTEGER NOT NULL,
    started_at TIMESTAMP NOT NULL,
    finished_at TIMESTAMP,
    events BIGINT,
    profiles BIGINT,
    members BIGINT
)
"""
_BEGIN = """
INSERT INTO refreshes
SELECT $id, $cut, $t_ms, epoch_ms($t_ms), $today, DATE '1970-01-01' + $today, $version, epoch_ms($now_ms), NULL,
    $events, NULL, NULL
"""
_FINISH = """
UPDATE refreshes
SET finished_at = epoch_ms($now_ms),
    profiles = (SELECT count(*) FROM profiles),
    members = (SELECT count(*) FROM segment_members)
WHERE refresh_id = $id
"""
_LAST = "SELECT cut, as_of_ms FROM refreshes ORDER BY refresh_id DESC LIMIT 1"
_CURRENT = """
SELECT refresh_id, cut, as_of_ms, today, catalog_version FROM refreshes ORDER BY refresh_id DESC LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class Refresh:
    """One computation of all tables: everything in it is of this `(t, cut)`.

    Attributes:
        refresh_id: 1, 2, 3 … within the project.
        cut: events with `seq <= cut` are known.
        t_ms: the instant of the question, epoch milliseconds; events with `ts < t` count.
        today: local day at `t`, days since 1970-01-01.
        catalog_version: the definitions; 0 when there are none yet.
    """

    refresh_id: int
    cut: int
    t_ms: int
    today: int
    catalog_version: int


def open_project(connection: Connection, project: str) -> None:
    """Unqualified tables are this project's from here on: schema `main` for `default`, else the project's key."""
    if project != "default":
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(project)}")
    use_project(connection, project)


def use_project(connection: Connection, project: str) -> None:
    """The same in a database that is read only and has the project's schema."""
    if project != "default":
        connection.execute(f"SET schema = {literal(project)}")


def begin_refresh(
    connection: Connection,
    registry: Registry,
    project: Project,
    lake: Path,
    checked: CheckedCatalog,
    catalog_version: int,
    now_ms: int,
) -> Refresh:
    """A new row of the ledger over everything that has landed, and the view `events` of it.

    Args:
        lake: the lake's folder (`Home.lake`).
        checked: the catalog of that version: the view has every property column that it reads.
        now_ms: the project's now; `t` is later when an event lies at or after it.
    """
    connection.execute(_CREATE)
    cut = registry.landed_seq(project.key)
    whole = registry.lake_paths(project.key, cut)
    connection.execute(events_view_sql(whole, cut, checked.property_columns, lake))
    new = registry.files(project.key, cut, _passed(connection, cut, now_ms))
    t_ms, events = _measure(connection, new, lake, cut, now_ms)
    events += whole.rows - sum(file.rows for file in new)
    refresh_id = count(connection, "SELECT coalesce(max(refresh_id), 0) + 1 FROM refreshes")
    refresh = Refresh(refresh_id, cut, t_ms, project.zone.day(t_ms), catalog_version)
    row = {"id": refresh_id, "cut": cut, "t_ms": t_ms, "today": refresh.today, "version": catalog_version}
    connection.execute(_BEGIN, {**row, "now_ms": now_ms, "events": events})
    return refresh


def _measure(connection: Connection, new: Sequence[LakeFile], lake: Path, cut: int, now_ms: int) -> tuple[int, int]:
    """The instant of a refresh, and the number of events in the files that may hold new ones: no other is opened."""
    connection.execute(events_view_sql(new, cut, (), lake, "new_events"))
    ((events, newest_ms),) = connection.execute("SELECT count(*), max(ts_ms) FROM new_events").fetchall()
    connection.execute("DROP VIEW new_events")
    return now_ms if newest_ms is None else max(now_ms, newest_ms + 1), events


def _passed(connection: Connection, cut: int, now_ms: int) -> int:
    """A `seq` up to which every event is known to lie before now: all of the last refresh were, if it was not later.

    0 when nothing is known: there was no refresh, it was of another lake, or the clock has gone back.
    """
    found = connection.execute(_LAST).fetchall()
    return next((int(last) for last, t_ms in found if last <= cut and t_ms <= now_ms), 0)


def current_refresh(connection: Connection) -> Refresh:
    """The newest row of the ledger: a run of some assets only continues with its `(t, cut)`.

    Raises:
        RefreshError: there was none yet.
    """
    # Looked for, not made: a published copy is open read-only.
    rows = connection.execute(_CURRENT).fetchall() if column_names(connection, "refreshes") else []
    if not rows:
        raise RefreshError("the warehouse is empty: refresh everything once before refreshing a part")
    return Refresh(*rows[0])


def finish_refresh(connection: Connection, refresh: Refresh, now_ms: int) -> None:
    """The ledger's row gets its end and the number of profiles and members."""
    connection.execute(_FINISH, {"id": refresh.refresh_id, "now_ms": now_ms})
