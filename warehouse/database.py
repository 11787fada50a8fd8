"""The one place that opens DuckDB."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import duckdb

Connection = duckdb.DuckDBPyConnection
"""An open database; a context manager that closes it."""


def connect(
    path: Path | None = None,
    *,
    read_only: bool = False,
    threads: int | None = None,
    memory_limit_bytes: int | None = None,
) -> Connection:
    """Open a DuckDB file, or a database in memory when there is no path.

    Args:
        path: the file; made when missing, unless `read_only`.
        read_only: whether other readers may have the file open at the same time.
        threads: upper bound; None takes what DuckDB takes, which is one a core.
        memory_limit_bytes: upper bound, above which DuckDB spills to disk; None takes 80 % of the machine's.
    """
    # Nothing that runs in production may fetch code: every extension that is used is built in.
    settings: dict[str, str | bool | int | float | list[str]] = {"autoinstall_known_extensions": False}
    if threads is not None:
        settings["threads"] = threads
    if memory_limit_bytes is not None:
        settings["memory_limit"] = f"{memory_limit_bytes}B"
    return duckdb.connect(":memory:" if path is None else str(path), read_only=read_only, config=settings)


@contextmanager
def transaction(connection: Connection) -> Iterator[None]:
    """Everything in this block, or nothing of it."""
    connection.execute("BEGIN")
    with ExitStack() as undo:
        undo.callback(connection.execute, "ROLLBACK")
        yield
        undo.pop_all()
    connection.execute("COMMIT")
