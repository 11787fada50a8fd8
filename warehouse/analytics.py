"""The published copy of the warehouse: complete, compact, read-only, replaced by one rename."""

import os
from pathlib import Path

from warehouse.columns import literal, quoted
from warehouse.database import Connection

_READ_ONLY = 0o444


def publish_analytics(connection: Connection, target: Path) -> int:
    """Replaces the file `target` by a copy of the open warehouse; returns its size in bytes.

    Readers that have the old file open go on with it; whoever opens the name sees the old file or the new one, whole.

    Args:
        target: `Home.analytics`; on the same file system as its folder, where the copy is made.
    """
    aside = target.with_name(f".{target.name}.{os.getpid()}")
    aside_log = Path(f"{aside}.wal")
    try:
        _copy(connection, aside)
        aside.chmod(_READ_ONLY)
        _sync(aside)
        # DuckDB's own shell opens read-write and may leave a log behind, which would be taken for the new file's.
        Path(f"{target}.wal").unlink(missing_ok=True)
        aside.replace(target)
        _sync(target.parent)
    finally:
        aside.unlink(missing_ok=True)
        aside_log.unlink(missing_ok=True)
    return target.stat().st_size


def _copy(connection: Connection, path: Path) -> None:
    """Everything of the current database into a new file: without the space of replaced tables, and without `.wal`."""
    (name,) = connection.execute("SELECT current_database()").fetchall()[0]
    path.unlink(missing_ok=True)
    connection.execute(f"ATTACH {literal(str(path))} AS published")
    try:
        connection.execute(f"COPY FROM DATABASE {quoted(name)} TO published")
    finally:
        connection.execute("DETACH published")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
