"""The registry's table of what events have held: counted in the transaction that brings the events into being."""

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from sqlalchemy import Connection, Select, case, func, select
from sqlalchemy.dialects import postgresql, sqlite

from dsl.observed import Seen, Sighting
from warehouse.registry_tables import observed_names

MAX_OBSERVED: Final = 20_000
"""Observed names of one project: where keys are made up as events are sent, the first ones are kept."""
_LONGEST_EVENT, _LONGEST_PATH = 400, 1_000
_KEY = (observed_names.c.project, observed_names.c.event, observed_names.c.path, observed_names.c.type)


def add_observed(connection: Connection, project: str, seen: Mapping[Sighting, Seen]) -> None:
    """Adds what was seen in events that are new; what is too long to be a name is passed over.

    Who calls holds the lock of the project.
    """
    named = {s: seen[s] for s in sorted(seen) if len(s.event) <= _LONGEST_EVENT and len(s.path) <= _LONGEST_PATH}
    if not named:
        return
    held = connection.execute(select(func.count()).where(observed_names.c.project == project)).scalar() or 0
    if held + len(named) > MAX_OBSERVED:
        known = {Sighting(*row) for row in connection.execute(select(*_KEY[1:]).where(_KEY[0] == project))}
        new = [sighting for sighting in named if sighting not in known][max(0, MAX_OBSERVED - held) :]
        named = {sighting: its for sighting, its in named.items() if sighting not in set(new)}
    rows = [{"project": project, **s._asdict(), **its._asdict()} for s, its in named.items()]
    if rows:
        connection.execute(_upsert(connection.dialect.name), rows)


def observed_statement(project: str) -> Select[Any]:
    """Everything that was seen, in the order of names."""
    return select(observed_names).where(observed_names.c.project == project).order_by(*_KEY[1:])


@cache
def _upsert(dialect: str) -> Any:
    insert = postgresql.insert(observed_names) if dialect == "postgresql" else sqlite.insert(observed_names)
    held, new = observed_names.c, insert.excluded
    # A row from before times were counted has none, and no instants.
    first = case((held.times == 0, new.first_ms), (new.first_ms < held.first_ms, new.first_ms), else_=held.first_ms)
    last = case((held.times == 0, new.last_ms), (new.last_ms > held.last_ms, new.last_ms), else_=held.last_ms)
    changes = {"times": held.times + new.times, "first_ms": first, "last_ms": last}
    return insert.on_conflict_do_update(index_elements=[column.name for column in _KEY], set_=changes)
