"""The published copy of the warehouse: complete, compact, read-only, replaced by one rename."""

import os
from collections.abc import Iterator
from pathlib import Path

from warehouse.columns import literal, quoted
from warehouse.database import Connection, transaction

KEPT_BACK = (
    "tiles",
    "tile_bases",
    "tile_sources",
    "covered_tables",
    "computed_tables",
    "evaluated",
    "identity_apart",
    "identity_joined",
    "identity_settings",
    "packed_attributes",
    "system_sources",
)
"""Tables that stay in the warehouse: what a refresh goes on from."""
_READ_ONLY = 0o444
_CONTENTS = """
WITH named AS (
    SELECT schema_name, 'TABLE' AS kind, table_name AS name, NULL AS sql, comment FROM duckdb_tables()
    WHERE database_name = {name} AND NOT internal AND NOT temporary AND table_name NOT IN {kept_back}
    UNION ALL
    SELECT schema_name, 'VIEW', view_name, sql, comment FROM duckdb_views()
    WHERE database_name = {name} AND NOT internal AND NOT temporary
)
SELECT named.schema_name, kind, named.name, sql, named.comment,
    list((column_name, columns.comment) ORDER BY column_index)
FROM named JOIN duckdb_columns() AS columns
    ON columns.database_name = {name} AND columns.schema_name = named.schema_name AND columns.table_name = named.name
GROUP BY ALL ORDER BY kind, named.schema_name, named.name
"""


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
    """What analysts read into a new file: without the space of replaced tables, and without `.wal`."""
    ((name, schema),) = connection.execute("SELECT current_database(), current_schema()").fetchall()
    path.unlink(missing_ok=True)
    connection.execute(f"ATTACH {literal(str(path))} AS published")
    try:
        with transaction(connection):
            for statement in _statements(connection, name):
                connection.execute(statement)
    finally:
        connection.execute(f"USE {quoted(name)}.{quoted(schema)}")
        connection.execute("DETACH published")


def _statements(connection: Connection, name: str) -> Iterator[str]:
    """Schemas, tables, views and comments of a database, for the database `published`."""
    rows = connection.execute(_CONTENTS.format(name=literal(name), kept_back=KEPT_BACK)).fetchall()
    for schema in dict.fromkeys(schema for schema, *_ in rows):
        yield f"CREATE SCHEMA IF NOT EXISTS published.{quoted(schema)}"
    for schema, kind, table, sql, comment, columns in rows:
        target = f"published.{quoted(schema)}.{quoted(table)}"
        if kind == "VIEW":
            yield f"USE published.{quoted(schema)}"
            yield sql
        else:
            yield f"CREATE TABLE {target} AS FROM {quoted(name)}.{quoted(schema)}.{quoted(table)}"
        if comment is not None:
            yield f"COMMENT ON {kind} {target} IS {literal(comment)}"
        for column, text in columns:
            if text is not None:
                yield f"COMMENT ON COLUMN {target}.{quoted(column)} IS {literal(text)}"


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
