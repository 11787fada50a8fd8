"""The view `events`: the lake as analysts and compiled SQL see it, up to a knowledge cut."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from dsl.columns import Column, typed_columns
from dsl.types import Type
from warehouse.columns import decimal_of_micros, free_name, json_list, literal, quoted
from warehouse.records import LakeFile

_COLUMNS = {
    "seq": "BIGINT",
    "event_id": "VARCHAR",
    "kind": "VARCHAR",
    "name": "VARCHAR",
    "source_id": "VARCHAR",
    "ts_ms": "BIGINT",
    "received_at_ms": "BIGINT",
    "appended_at_ms": "BIGINT",
    "local_day": "INTEGER",
    "identifiers": "VARCHAR",
    "alias": "VARCHAR",
    "properties": "VARCHAR",
    "context": "VARCHAR",
}
SQL_TYPES: Mapping[Type, str] = {
    "number": "BIGINT",
    "string": "VARCHAR",
    "boolean": "BOOLEAN",
    "timestamp": "BIGINT",
    "list": "VARCHAR[]",
}
"""Types of typed columns in SQL."""


def events_view_sql(
    files: Sequence[LakeFile], cut: int, needed: Sequence[str], lake: Path, name: str = "events"
) -> str:
    """A statement that makes the view `events` over files of the manifest.

    Grain: one row an event with `seq <= cut`. Keys: `seq`; `event_id`. Columns: those of the lake, `ts`, `received_at`,
    `local_date`, then the typed columns of properties and contexts (`dsl.columns`), then `p_<property>` and
    `c_<path>` (decimal, text, Boolean or list of text; JSON text when it has come in several types).

    Args:
        files: the project's files (`Registry.files`).
        cut: largest `seq` that is seen (inclusive).
        needed: typed columns that must be there (`n_amount`); null in every row when no file has them.
        lake: the lake's folder (`Home.lake`); the view names files by their absolute path.
        name: of the view.
    """
    present = {column for file in files for column in file.columns}
    typed = typed_columns({*needed, *present})
    columns = [
        *_COLUMNS,
        "epoch_ms(ts_ms) AS ts",
        "epoch_ms(received_at_ms) AS received_at",
        "CAST(epoch_ms(local_day * CAST(86400000 AS BIGINT)) AS DATE) AS local_date",
        *(quoted(column.name) if column.name in present else _nothing(column) for column in typed),
        *_plain_columns(typed),
    ]
    listed = ",\n  ".join(columns)
    return f"CREATE OR REPLACE VIEW {name} AS\nSELECT\n  {listed}\nFROM {_rows(files, lake)}\nWHERE seq <= {cut:d}"


def _nothing(column: Column) -> str:
    return f"CAST(NULL AS {SQL_TYPES[column.type]}) AS {quoted(column.name)}"


def _rows(files: Sequence[LakeFile], lake: Path) -> str:
    if not files:
        columns = ", ".join(f"CAST(NULL AS {sql_type}) AS {column}" for column, sql_type in _COLUMNS.items())
        return f"(SELECT {columns} WHERE false)"
    paths = ",\n  ".join(literal(str(file.absolute(lake).absolute())) for file in files)
    return f"read_parquet([\n  {paths}\n], union_by_name = true, hive_partitioning = false)"


def _plain_columns(typed: Sequence[Column]) -> Iterator[str]:
    """`p_<property>` of each property and `c_<path>` of each path of the context, in the order of their names."""
    groups: dict[tuple[str, str], list[Column]] = {}
    for column in typed:
        if column.type != "timestamp":
            groups.setdefault(("c_" if column.context else "p_", ".".join(column.steps)), []).append(column)
    taken: set[str] = set()
    for (lead, path), columns in sorted(groups.items(), key=lambda group: (group[0][0], group[0][1].swapcase())):
        value = _plain(columns[0]) if len(columns) == 1 else f"coalesce({', '.join(map(_json_text, columns))})"
        yield f"{value} AS {quoted(free_name(lead + path, taken))}"


def _plain(column: Column) -> str:
    if column.type == "list":
        return f"list_transform({quoted(column.name)}, lambda tagged: tagged[3:])"
    return decimal_of_micros(quoted(column.name)) if column.type == "number" else quoted(column.name)


def _json_text(column: Column) -> str:
    match column.type:
        case "number":
            return f"rtrim(rtrim(CAST({_plain(column)} AS VARCHAR), '0'), '.')"
        case "string":
            return f"CAST(to_json({quoted(column.name)}) AS VARCHAR)"
        case "list":
            return json_list(quoted(column.name))
    return f"CAST({quoted(column.name)} AS VARCHAR)"
