"""Batches of bulk loads in the registry: how far each load has come, and the dead letters of its rows."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, select

from warehouse.records import DeadLetter
from warehouse.registry_tables import bulk_loads, dead_letters


def keep_letters(connection: Connection, project: str, letters: Iterable[DeadLetter]) -> None:
    """Keep events that were not accepted; one that is there already counts once more, and is open again."""
    first: dict[str, DeadLetter] = {}
    times = Counter[str]()
    for letter in letters:
        first.setdefault(letter.digest, letter)
        times[letter.digest] += letter.times
    of_project = dead_letters.c.project == project
    for digest, letter in first.items():
        again = dead_letters.update().where(of_project & (dead_letters.c.digest == digest))
        seen = {"times": dead_letters.c.times + times[digest], "status": "open", "closed_at_ms": None}
        if connection.execute(again.values(seen)).rowcount == 0:
            row = {name: getattr(letter, name) for name in dead_letters.c.keys() if hasattr(letter, name)}  # noqa: SIM118  # a collection of columns
            del row["id"]
            connection.execute(dead_letters.insert(), row | {"project": project, "times": times[digest]})


def keep_position(connection: Connection, project: str, load: str, position: Mapping[str, Any]) -> None:
    """Say how far a load has come."""
    forget_position(connection, project, load)
    connection.execute(bulk_loads.insert(), {"project": project, "load": load, "position": dict(position)})


def read_position(connection: Connection, project: str, load: str) -> dict[str, Any] | None:
    """How far a load has come; None when nothing is known of it."""
    its_row = (bulk_loads.c.project == project) & (bulk_loads.c.load == load)
    found = connection.execute(select(bulk_loads.c.position).where(its_row)).scalar()
    return None if found is None else dict(found)


def forget_position(connection: Connection, project: str, load: str) -> None:
    """Nothing is known of the load any more."""
    connection.execute(bulk_loads.delete().where((bulk_loads.c.project == project) & (bulk_loads.c.load == load)))
