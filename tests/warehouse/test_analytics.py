"""The published file: complete, commented, read-only, replaced while it is read."""

import stat
from pathlib import Path

import pytest

from dsl.catalog import Catalog
from dsl.check import check_catalog
from tests.warehouse.bench import Bench
from tests.warehouse.small_shop import CATALOG
from warehouse.analytics import KEPT_BACK, publish_analytics
from warehouse.comments import TABLES, comment_tables
from warehouse.database import connect

CHECKED = check_catalog(CATALOG)
_UNCOMMENTED = """
SELECT table_name FROM duckdb_tables() WHERE comment IS NULL
UNION ALL SELECT view_name FROM duckdb_views() WHERE comment IS NULL AND NOT internal
UNION ALL SELECT table_name || '.' || column_name FROM duckdb_columns() WHERE comment IS NULL AND NOT internal
"""


def publish(bench: Bench) -> Path:
    """The published file of a refreshed shop."""
    bench.run(CHECKED)
    comment_tables(bench.connection, CHECKED)
    publish_analytics(bench.connection, bench.shop.home.analytics)
    return bench.shop.home.analytics


def test_every_table_and_column_has_a_comment(bench: Bench) -> None:
    """Whoever opens the file finds out what each table and column is."""
    with connect(publish(bench), read_only=True) as connection:
        assert [] == connection.execute(_UNCOMMENTED).fetchall()


def test_comments_are_for_tables_and_columns_that_are_there(bench: Bench) -> None:
    """The list of comments names no table and no column that does not exist."""
    publish(bench)
    there = set(bench.rows("SELECT table_name, column_name FROM duckdb_columns()"))
    assert [] == [(table.name, name) for table in TABLES for name in table.columns if (table.name, name) not in there]


def test_trait_columns_say_what_they_are(bench: Bench) -> None:
    """The comment of a trait is its author's description and its expression."""
    with connect(publish(bench), read_only=True) as connection:
        found = connection.execute(
            "SELECT comment FROM duckdb_columns() WHERE table_name = 'traits' AND column_name = 'spend'"
        ).fetchall()
    assert [("Money spent ever: events.purchase.sum(amount)",)] == found


def test_copy_holds_everything(bench: Bench) -> None:
    """What analysts read is in the copy, row for row and with its comments, and events can be read from anywhere."""
    names = "SELECT table_name, comment FROM duckdb_tables() WHERE NOT temporary AND table_name NOT IN {} ORDER BY ALL"
    with connect(publish(bench), read_only=True) as connection:
        for table in TABLES:
            if table.name not in KEPT_BACK:
                whole = f"SELECT * FROM {table.name} ORDER BY ALL"
                assert bench.rows(whole) == connection.execute(whole).fetchall()
        assert bench.rows(names.format(KEPT_BACK)) == connection.execute(names.format(("",))).fetchall()


def test_file_is_read_only(bench: Bench) -> None:
    """Nobody may write the published file."""
    assert stat.S_IFREG | 0o444 == publish(bench).stat().st_mode


def test_readers_keep_what_they_opened(bench: Bench) -> None:
    """A reader goes on with the file it opened while a new one takes its place."""
    target = publish(bench)
    with connect(target, read_only=True) as reader:
        bench.run(check_catalog(Catalog()))
        publish_analytics(bench.connection, target)
        assert [(5,)] == reader.execute("SELECT count(*) FROM segment_members").fetchall()
    with connect(target, read_only=True) as connection:
        assert [(0,)] == connection.execute("SELECT count(*) FROM segment_members").fetchall()


def test_log_of_another_program_is_removed(bench: Bench) -> None:
    """A `.wal` that a shell left behind does not spoil the new file."""
    target = publish(bench)
    log = Path(f"{target}.wal")
    log.write_bytes(b"left by a shell")
    publish_analytics(bench.connection, target)
    assert not log.exists()
    with connect(target, read_only=True) as connection:
        assert [(5,)] == connection.execute("SELECT count(*) FROM profiles").fetchall()


def test_failed_publication_leaves_the_old_file(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the copy cannot be finished the old file stays as it was, and nothing else is left in the folder."""
    target = publish(bench)
    before, beside = target.read_bytes(), sorted(target.parent.iterdir())

    def full(_self: Path, _mode: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "chmod", full)
    with pytest.raises(OSError, match="No space"):
        publish_analytics(bench.connection, target)
    assert before == target.read_bytes()
    assert beside == sorted(target.parent.iterdir())
