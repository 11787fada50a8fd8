"""Columns as analysts meet them: quoted names, and the engine's integers as decimals and timestamps."""

from itertools import count as count_up

from dsl.types import Type
from warehouse.database import Connection

_TABLE_TYPES: dict[Type, str] = {
    "number": "DECIMAL(19,6)",
    "string": "VARCHAR",
    "boolean": "BOOLEAN",
    "timestamp": "TIMESTAMP",
    "list": "VARCHAR[]",
}


def quoted(name: str) -> str:
    """The name as an SQL identifier.

    >>> print(quoted('7" screen'))
    "7"" screen"
    """
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """The text as an SQL string.

    >>> literal("it's")
    "'it''s'"
    """
    return "'" + text.replace("'", "''") + "'"


def decimal_of_micros(column: str) -> str:
    """SQL of micro-units as an exact decimal with six places; every 64-bit count fits."""
    # Multiplying decimals is exact; dividing would go through a double.
    return f"CAST(CAST({column} AS DECIMAL(19,0)) * 0.000001 AS DECIMAL(19,6))"


def json_list(column: str) -> str:
    """SQL of the JSON text of a list of tagged values."""
    item = "CASE WHEN starts_with(tagged, 's:') THEN CAST(to_json(tagged[3:]) AS VARCHAR) ELSE tagged[3:] END"
    return f"'[' || array_to_string(list_transform({column}, lambda tagged: {item}), ',') || ']'"


def free_name(wanted: str, taken: set[str]) -> str:
    """`wanted`, numbered where it differs from a name before it in upper and lower case only; it is taken then.

    >>> taken = set()
    >>> free_name("a_Plan", taken), free_name("a_plan", taken)
    ('a_Plan', 'a_plan_2')
    """
    candidates = (wanted if number == 1 else f"{wanted}_{number}" for number in count_up(1))
    name = next(candidate for candidate in candidates if candidate.casefold() not in taken)
    taken.add(name.casefold())
    return name


def table_type(value_type: Type, whole: bool) -> str:
    """The column type of a value in the table `traits`; `whole` numbers are plain integers."""
    return "BIGINT" if whole and value_type == "number" else _TABLE_TYPES[value_type]


def column_names(connection: Connection, table: str) -> tuple[str, ...]:
    """Columns of a table or view of the current schema, in its order; empty when there is none of that name."""
    found = connection.execute(
        "SELECT column_name FROM duckdb_columns() WHERE database_name = current_database() "
        "AND schema_name = current_schema() AND table_name = ? ORDER BY column_index",
        [table],
    )
    return tuple(name for (name,) in found.fetchall())


def count(connection: Connection, statement: str) -> int:
    """The one integer that a statement gives."""
    # Every row is fetched: DuckDB holds a connection as long as one of its results is unfinished.
    ((number,),) = connection.execute(statement).fetchall()
    return int(number)
