"""Time travel: the project as of any instant, all known now, straight from the events and in memory.

Slower than the tables of a refresh, and equal to them at their instant: previews, single values and the past read this.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from dsl.check import CheckedCatalog
from dsl.clock import Zone
from dsl.event import Event
from dsl.numbers import read_json
from dsl.recount import count_again
from dsl.sql import values_sql
from dsl.state import State
from warehouse.aggregates import count_aggregates
from warehouse.columns import quoted
from warehouse.database import Connection, connect
from warehouse.events_view import events_view_sql
from warehouse.identities import build_identities
from warehouse.identity_tables import valid_at
from warehouse.profiles import build_profiles
from warehouse.records import Project
from warehouse.refresh import Refresh
from warehouse.registry import Registry
from warehouse.settings import Home

_EVENTS = """
SELECT event_id, seq, kind, name, source_id, ts_ms, local_day, properties, context
FROM events SEMI JOIN (SELECT source_id FROM identities WHERE profile_id = ? AND {valid}) USING (source_id)
WHERE seq <= {cut:d} AND ts_ms < {t_ms:d}
"""


@dataclass(frozen=True, slots=True)
class Audience:
    """Who an expression holds for.

    Attributes:
        members: profiles for which it is true.
        profiles: the universe.
        sample: a few members' user ids (profile ids where there is none), in their order.
    """

    members: int
    profiles: int
    sample: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AsOf:
    """The events, identities and profiles of a project at one `(t, cut)`."""

    connection: Connection
    refresh: Refresh
    checked: CheckedCatalog

    def at(self, t_ms: int, zone: Zone) -> "AsOf":
        """The same at another instant; this one must not be asked any more."""
        refresh = replace(self.refresh, t_ms=t_ms, today=zone.day(t_ms))
        build_profiles(self.connection, self.checked, refresh)
        return replace(self, refresh=refresh)

    def audience(self, key: str, sample: int = 5) -> Audience:
        """The profiles for which the Boolean definition `key` holds."""
        count_aggregates(self.connection, self.checked, self.refresh)
        values = values_sql(self.checked, [key], self.refresh.t_ms, self.refresh.cut, self.refresh.today)
        self.connection.execute(f"CREATE OR REPLACE TABLE answers AS {values}")
        ((members, profiles),) = self.connection.execute(
            f"SELECT count(*) FILTER (WHERE {quoted(key)}), count(*) FROM answers"
        ).fetchall()
        found = self.connection.execute(
            f"SELECT coalesce(user_id, profile_id) FROM answers JOIN profiles USING (profile_id) WHERE {quoted(key)} "
            f"ORDER BY ALL LIMIT {sample:d}"
        ).fetchall()
        return Audience(members, profiles, tuple(user for (user,) in found))

    def state_of(self, profile_id: str, events: Iterable[Event]) -> State:
        """The state of a profile counted again from its events, with its ranks among all profiles."""
        refresh, ranks = self.refresh, tuple(self.checked.ranks.values())
        state = count_again(profile_id, events, self.checked, refresh.t_ms, refresh.cut, self.checked.zone)
        if not ranks:
            return state
        count_aggregates(self.connection, self.checked, refresh)
        columns = ", ".join(quoted(rank.column) for rank in ranks)
        found = self.connection.execute(f"SELECT {columns} FROM ranks WHERE profile_id = ?", [profile_id]).fetchall()
        ranked = {rank.text: value for row in found for rank, value in zip(ranks, row, strict=True)}
        return replace(state, aggregates={**state.aggregates, **ranked})

    def events_of(self, profile_id: str) -> list[Event]:
        """Every known event of a profile, its numbers read from their text."""
        statement = _EVENTS.format(valid=valid_at(self.refresh.cut), cut=self.refresh.cut, t_ms=self.refresh.t_ms)
        return [
            Event(event_id, seq, kind, name, source_id, ts_ms, local_day, _object(properties), _object(context))
            for event_id, seq, kind, name, source_id, ts_ms, local_day, properties, context in self.connection.execute(
                statement, [profile_id]
            ).fetchall()
        ]


@contextmanager
def as_of(home: Home, registry: Registry, project: Project, checked: CheckedCatalog, t_ms: int) -> Iterator[AsOf]:
    """The project at `t_ms` with all that is known now, for the expressions of `checked`."""
    cut = registry.landed_seq(project.key)
    refresh = Refresh(0, cut, t_ms, project.zone.day(t_ms), 0)
    with connect() as connection:
        connection.execute(events_view_sql(registry.files(project.key, cut), cut, checked.property_columns, home.lake))
        build_identities(connection, registry.identity_records(project.key), cut)
        yield AsOf(connection, refresh, checked).at(t_ms, project.zone)


def _object(text: str) -> dict[str, object]:
    found = read_json(text)
    return found if isinstance(found, dict) else {}
