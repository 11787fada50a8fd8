"""The ledger of tables of which a refresh computes some rows again: which `(t, cut)` the others are left from."""

from dataclasses import dataclass

from warehouse.database import Connection
from warehouse.refresh import Refresh

_CREATE = """
CREATE TABLE IF NOT EXISTS computed_tables (
    table_name VARCHAR NOT NULL, refresh_id BIGINT NOT NULL, cut BIGINT NOT NULL, t_ms BIGINT NOT NULL,
    form VARCHAR NOT NULL
)
"""


@dataclass(frozen=True, slots=True)
class Computed:
    """What a table is of: nothing in it has to change before an event, or the time, asks for it.

    Attributes:
        refresh_id: the refresh that brought it there.
        cut, t_ms: of that refresh.
    """

    refresh_id: int
    cut: int
    t_ms: int


def read_computed(connection: Connection, table: str, refresh: Refresh, form: str) -> Computed | None:
    """What a table is of; None when a refresh cannot go on from it: it is of another form, or ahead of the refresh.

    Args:
        form: what the table is made by, as text: its columns, its definitions.
    """
    connection.execute(_CREATE)
    found = connection.execute(
        "SELECT refresh_id, cut, t_ms FROM computed_tables "
        "WHERE table_name = ? AND form = ? AND refresh_id <= ? AND cut <= ? AND t_ms <= ?",
        [table, form, refresh.refresh_id, refresh.cut, refresh.t_ms],
    ).fetchall()
    return Computed(*found[0]) if found else None


def refresh_of(connection: Connection, table: str) -> int | None:
    """The refresh that brought a table where it is."""
    connection.execute(_CREATE)
    found = connection.execute("SELECT refresh_id FROM computed_tables WHERE table_name = ?", [table]).fetchall()
    return int(found[0][0]) if found else None


def write_computed(connection: Connection, table: str, refresh: Refresh, form: str) -> None:
    """The table is of this refresh; belongs into the transaction that brings it there."""
    forget_computed(connection, table)
    row = [table, refresh.refresh_id, refresh.cut, refresh.t_ms, form]
    connection.execute("INSERT INTO computed_tables VALUES (?, ?, ?, ?, ?)", row)


def forget_computed(connection: Connection, table: str) -> None:
    """The table is of several refreshes, or of none: the next one computes it whole."""
    connection.execute(_CREATE)
    connection.execute("DELETE FROM computed_tables WHERE table_name = ?", [table])
