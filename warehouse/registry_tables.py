"""The registry's tables and the engine under them: SQLite in WAL mode, or PostgreSQL."""

from pathlib import Path

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Connection,
    Engine,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    create_engine,
    event,
    inspect,
    make_url,
)
from sqlalchemy.engine import URL
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

metadata = MetaData()
_BUSY_TIMEOUT_S = 30

projects = Table(
    "projects",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("timezone", String(64), nullable=False),
    Column("clock_offset_ms", BigInteger, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    comment="Grain: one row a project.",
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("project", ForeignKey("projects.key"), nullable=False, index=True),
    Column("kind", String(8), nullable=False),
    Column("label", String(200), nullable=False),
    Column("digest", String(64), nullable=False, unique=True),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("revoked_at_ms", BigInteger),
    comment="Grain: one row a key ever made. The key itself is not stored, only its SHA-256.",
)

catalog_versions = Table(
    "catalog_versions",
    metadata,
    Column("project", ForeignKey("projects.key"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("digest", String(64), nullable=False),
    Column("document", JSON, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    comment="Grain: one row a version of a project's definitions; rows never change.",
)

lake_files = Table(
    "lake_files",
    metadata,
    Column("project", ForeignKey("projects.key"), primary_key=True),
    Column("path", String(400), primary_key=True),
    Column("day", Integer, nullable=False),
    Column("seq_lo", BigInteger, nullable=False),
    Column("seq_hi", BigInteger, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("columns", JSON, nullable=False),
    comment="Grain: one row a file of the lake. The manifest: a file that is not here does not exist.",
)
replaced_files = Table(
    "replaced_files",
    metadata,
    Column("project", ForeignKey("projects.key"), primary_key=True),
    Column("path", String(400), primary_key=True),
    Column("replaced_at_ms", BigInteger, nullable=False),
    comment="Grain: one row a file that compaction took out of the manifest and that may still be read.",
)
log_positions = Table(
    "log_positions",
    metadata,
    Column("project", ForeignKey("projects.key"), primary_key=True),
    Column("landed_seq", BigInteger, nullable=False),
    comment="Grain: one row a project. Every record of its log up to `landed_seq` has landed: the newest cut.",
)
bulk_loads = Table(
    "bulk_loads",
    metadata,
    Column("project", ForeignKey("projects.key"), primary_key=True),
    Column("load", String(64), primary_key=True),
    Column("position", JSON, nullable=False),
    comment="Grain: one row a bulk load that has begun and not ended: how far its files have landed.",
)
identity_records = Table(
    "identity_records",
    metadata,
    Column("project", ForeignKey("projects.key"), primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("type", String(16), nullable=False),
    Column("record", Text, nullable=False),
    Column("appended_at_ms", BigInteger, nullable=False),
    comment="Grain: one row a record of the log that is no event: identity settings, un-merges, erasures.",
)
observed_names = Table(
    "observed_names",
    metadata,
    Column("project", ForeignKey("projects.key"), primary_key=True),
    Column("event", String(400), primary_key=True),
    Column("path", String(1000), primary_key=True),
    Column("type", String(16), primary_key=True),
    Column("times", BigInteger, nullable=False, server_default="0"),
    Column("first_ms", BigInteger, nullable=False, server_default="0"),
    Column("last_ms", BigInteger, nullable=False, server_default="0"),
    comment="Grain: one row a type that an event's property, or an attribute (event empty), has had; path and type "
    "are empty for the event itself. `times`: events that have landed, `first_ms` and `last_ms`: by their `ts`.",
)
webhook_secrets = Table(
    "webhook_secrets",
    metadata,
    Column("project", ForeignKey("projects.key"), primary_key=True),
    Column("pipeline", String(64), primary_key=True),
    Column("secret", String(100), nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("previous", String(100)),
    Column("previous_until_ms", BigInteger),
    comment="Grain: one row a pipeline that signs. The secret itself is here: no signature is checked without it. "
    "The one before works until `previous_until_ms`, wall time.",
)
dead_letters = Table(
    "dead_letters",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("project", ForeignKey("projects.key"), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("reason", String(40), nullable=False),
    Column("detail", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("event_id", Text, nullable=False),
    Column("route", String(200), nullable=False),
    Column("raw", Text, nullable=False),
    Column("envelope", JSON, nullable=False),
    Column("schema_version", Integer, nullable=False),
    Column("received_at_ms", BigInteger, nullable=False),
    Column("times", Integer, nullable=False),
    Column("status", String(16), nullable=False),
    Column("closed_at_ms", BigInteger),
    UniqueConstraint("project", "digest"),
    comment="Grain: one row an event that was not accepted; the same one sent again adds to `times`.",
)
Index("dead_letters_by_status", dead_letters.c.project, dead_letters.c.status, dead_letters.c.id)
Index("lake_files_by_seq", lake_files.c.project, lake_files.c.seq_hi)


def open_engine(url: str) -> Engine:
    """An engine whose transactions begin as writers, with every table there.

    A SQLite file and its folder are made when missing.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        engine = _open_sqlite(parsed)
    else:
        engine = create_engine(parsed, pool_pre_ping=True)
    with engine.begin() as connection:
        metadata.create_all(connection)
        _add_missing_columns(connection)
    return engine


def lock_project(connection: Connection, project: str) -> bool:
    """Keep other writers out of a project until the transaction ends.

    Returns:
        False when there is no such project.
    """
    # SQLite leaves `FOR UPDATE` out: there the transaction already holds the only write lock.
    row = projects.select().where(projects.c.key == project).with_for_update()
    return connection.execute(row).first() is not None


def _add_missing_columns(connection: Connection) -> None:
    """Columns that came to be after the table of an older home; they have a default."""
    held = {column["name"] for column in inspect(connection).get_columns(observed_names.name)}
    for column in observed_names.columns:
        if column.name not in held:
            declared = f"{column.name} BIGINT NOT NULL DEFAULT 0"
            connection.exec_driver_sql(f"ALTER TABLE {observed_names.name} ADD COLUMN {declared}")


def _open_sqlite(url: URL) -> Engine:
    if url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, connect_args={"timeout": _BUSY_TIMEOUT_S})
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin_as_writer)
    return engine


def _prepare(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    # The driver would begin a transaction only at the first write; `_begin_as_writer` decides instead.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.close()


def _begin_as_writer(connection: Connection) -> None:
    # A transaction that reads first and then writes cannot wait for another writer in SQLite: it fails at once.
    # Plain reads, in autocommit mode, take no lock.
    if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
