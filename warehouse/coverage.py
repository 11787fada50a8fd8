"""The ledger of tables that a refresh carries on: up to which `seq` each holds everything. Never inferred from rows."""

from warehouse.database import Connection
from warehouse.exceptions import RefreshError

_CREATE = """
CREATE TABLE IF NOT EXISTS covered_tables (
    table_name VARCHAR NOT NULL, covered_seq BIGINT NOT NULL, form VARCHAR NOT NULL
)
"""


def read_covered(connection: Connection, table: str, cut: int, form: str = "") -> int | None:
    """The `seq` up to which a table holds everything; None when it has to be built from nothing.

    That is the first time, in another form than it has, and when it is ahead of the cut: of another lake.

    Args:
        form: what the table is made by, as text: its columns, its statement.
    """
    connection.execute(_CREATE)
    found = connection.execute(
        "SELECT covered_seq FROM covered_tables WHERE table_name = ? AND covered_seq <= ? AND form = ?",
        [table, cut, form],
    ).fetchall()
    return int(found[0][0]) if found else None


def require_covered(connection: Connection, table: str, cut: int) -> None:
    """What reads a table at a cut asks first whether it is there.

    Raises:
        RefreshError: the table is of another cut.
    """
    connection.execute(_CREATE)
    found = connection.execute("SELECT covered_seq FROM covered_tables WHERE table_name = ?", [table]).fetchall()
    covered = int(found[0][0]) if found else None
    if covered != cut:
        raise RefreshError(
            f"the table `{table}` holds the events up to {covered or 0:,} and not up to {cut:,}: refresh all"
        )


def forget_covered(connection: Connection, table: str | None = None) -> None:
    """A table, or every table of the ledger, has to be built from nothing."""
    connection.execute("DELETE FROM covered_tables WHERE table_name = coalesce(?, table_name)", [table])


def write_covered(connection: Connection, table: str, covered_seq: int, form: str = "") -> None:
    """The table's row of the ledger; belongs into the transaction that brings the table there."""
    connection.execute("DELETE FROM covered_tables WHERE table_name = ?", [table])
    connection.execute("INSERT INTO covered_tables VALUES (?, ?, ?)", [table, covered_seq, form])
