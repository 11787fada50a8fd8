"""The view `events`: the lake as analysts and compiled SQL see it, up to a knowledge cut."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from warehouse.columns import decimal_of_micros, literal, quoted
from warehouse.exceptions import LakeError
from warehouse.records import LakeFile

_COLUMNS = {
    "seq": "BIGINT",
    "event_id": "VARCHAR",
    "kind": "VARCHAR",
    "name": "VARCHAR",
    "source_id": "VARCHAR",
    "ts_ms": "BIGINT",
    "received_at_ms": "BIGINT",
    "local_day": "INTEGER",
    "properties": "VARCHAR",
    "context": "VARCHAR",
}
_TYPES = {"n_": "BIGINT", "s_": "VARCHAR", "b_": "BOOLEAN"}


def events_view_sql(files: Sequence[LakeFile], cut: int, needed: Sequence[str], lake: Path) -> str:
    """A statement that makes the view `events` over files of the manifest.

    Grain: one row an event with `seq <= cut`. Keys: `seq`; `event_id`. Columns: those of the lake, `ts`, `received_at`,
    `local_date`, then for each property its typed columns and `p_<property>` (decimal, text or Boolean; JSON text
    when the property has come in several types).

    Args:
        files: the project's files (`Registry.files`).
        cut: largest `seq` that is seen (inclusive).
        needed: typed columns that must be there (`n_amount`); null in every row when no file has them.
        lake: the lake's folder (`Home.lake`); the view names files by their absolute path.

    Raises:
        LakeError: two properties differ in upper and lower case only.
    """
    present = {column for file in files for column in file.columns}
    typed = sorted({*needed, *present})
    _refuse_other_spelling(typed)
    columns = [
        *_COLUMNS,
        "epoch_ms(ts_ms) AS ts",
        "epoch_ms(received_at_ms) AS received_at",
        "CAST(epoch_ms(local_day * CAST(86400000 AS BIGINT)) AS DATE) AS local_date",
        *(quoted(column) if column in present else _nothing(column) for column in typed),
        *_plain_columns(typed),
    ]
    listed = ",\n  ".join(columns)
    return f"CREATE OR REPLACE VIEW events AS\nSELECT\n  {listed}\nFROM {_rows(files, lake)}\nWHERE seq <= {cut:d}"


def _refuse_other_spelling(typed: Sequence[str]) -> None:
    # DuckDB takes names that differ in case for one: an expression would read the other property, silently.
    spelling: dict[str, str] = {}
    for column in typed:
        known = spelling.setdefault(column.lower(), column)
        if known != column:
            raise LakeError(
                f"properties `{known[2:]}` and `{column[2:]}` differ in upper and lower case only: "
                "write the name in the definitions as the events have it"
            )


def _nothing(column: str) -> str:
    return f"CAST(NULL AS {_TYPES[column[:2]]}) AS {quoted(column)}"


def _rows(files: Sequence[LakeFile], lake: Path) -> str:
    if not files:
        columns = ", ".join(f"CAST(NULL AS {sql_type}) AS {column}" for column, sql_type in _COLUMNS.items())
        return f"(SELECT {columns} WHERE false)"
    paths = ",\n  ".join(literal(str(file.absolute(lake).absolute())) for file in files)
    return f"read_parquet([\n  {paths}\n], union_by_name = true, hive_partitioning = false)"


def _plain_columns(typed: Sequence[str]) -> Iterator[str]:
    """`p_<property>` of each property, in the order of their names."""
    for name in sorted({column[2:] for column in typed}):
        columns = [column for column in typed if column[2:] == name]
        value = _plain(columns[0]) if len(columns) == 1 else f"coalesce({', '.join(map(_json_text, columns))})"
        yield f"{value} AS {quoted('p_' + name)}"


def _plain(column: str) -> str:
    return decimal_of_micros(quoted(column)) if column.startswith("n_") else quoted(column)


def _json_text(column: str) -> str:
    match column[:2]:
        case "n_":
            return f"rtrim(rtrim(CAST({_plain(column)} AS VARCHAR), '0'), '.')"
        case "s_":
            return f"CAST(to_json({quoted(column)}) AS VARCHAR)"
    return f"CAST({quoted(column)} AS VARCHAR)"
