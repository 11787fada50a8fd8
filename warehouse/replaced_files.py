"""Files that compaction has taken out of the manifest: they stay where they are until nobody can read them any more."""

from collections.abc import Sequence

from sqlalchemy import Connection, func, select

from warehouse.exceptions import RegistryError
from warehouse.records import LakeFile
from warehouse.registry_tables import lake_files, replaced_files

_AT_ONCE = 500
"""Paths in one statement: SQLite takes some thousand."""


def replace_files(connection: Connection, project: str, old: Sequence[LakeFile], at_ms: int) -> None:
    """Take files out of the manifest.

    Raises:
        RegistryError: one of them is not there any more.
    """
    removed = 0
    for start in range(0, len(old), _AT_ONCE):
        paths = [file.path for file in old[start : start + _AT_ONCE]]
        its_rows = (lake_files.c.project == project) & lake_files.c.path.in_(paths)
        removed += connection.execute(lake_files.delete().where(its_rows)).rowcount
    if removed != len(old):
        raise RegistryError(f"{len(old) - removed} of {len(old)} files have been replaced meanwhile: compact again")
    rows = [{"project": project, "path": file.path, "replaced_at_ms": at_ms} for file in old]
    connection.execute(replaced_files.insert(), rows)


def replaced_paths(connection: Connection, project: str, until_ms: int | None = None) -> list[str]:
    """Paths of files that were replaced up to an instant (inclusive), all of them without one."""
    statement = select(replaced_files.c.path).where(replaced_files.c.project == project)
    if until_ms is not None:
        statement = statement.where(replaced_files.c.replaced_at_ms <= until_ms)
    return list(connection.execute(statement).scalars())


def forget_replaced(connection: Connection, project: str, paths: Sequence[str]) -> None:
    """Files that are gone."""
    for start in range(0, len(paths), _AT_ONCE):
        some = replaced_files.c.path.in_(paths[start : start + _AT_ONCE])
        connection.execute(replaced_files.delete().where((replaced_files.c.project == project) & some))


def total_rows(connection: Connection, project: str) -> int:
    """Events in the lake."""
    statement = select(func.sum(lake_files.c.rows)).where(lake_files.c.project == project)
    return int(connection.execute(statement).scalar() or 0)
