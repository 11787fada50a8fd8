"""The view `events`: the lake as analysts and compiled SQL see it, up to a knowledge cut."""

from collections.abc import Iterator, Mapping, Sequence
from os.path import commonprefix
from pathlib import Path

from dsl.columns import Column, typed_columns
from dsl.types import Type
from warehouse.columns import decimal_of_micros, free_name, json_list, literal, quoted
from warehouse.records import LakeFile, LakePaths

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
_ENDING = ".parquet"
SQL_TYPES: Mapping[Type, str] = {
    "number": "BIGINT",
    "string": "VARCHAR",
    "boolean": "BOOLEAN",
    "timestamp": "BIGINT",
    "list": "VARCHAR[]",
}
"""Types of typed columns in SQL."""


def events_view_sql(
    files: Sequence[LakeFile] | LakePaths, cut: int, needed: Sequence[str], lake: Path, name: str = "events"
) -> str:
    """A statement that makes the view `events` over files of the manifest.

    Grain: one row an event with `seq <= cut`. Keys: `seq`; `event_id`. Columns: those of the lake, `ts`, `received_at`,
    `local_date`, then the typed columns of properties and contexts (`dsl.columns`), then `p_<property>` and
    `c_<path>` (decimal, text, Boolean or list of text; JSON text when it has come in several types).

    Args:
        files: the project's (`Registry.files`, `Registry.lake_paths`).
        cut: largest `seq` that is seen (inclusive).
        needed: typed columns that must be there (`n_amount`); null in every row when no file has them.
        lake: the lake's folder (`Home.lake`); the view names files by their absolute path.
        name: of the view.
    """
    known = files if isinstance(files, LakePaths) else LakePaths.of(files)
    typed = typed_columns({*needed, *known.columns})
    types = {**_COLUMNS, **{column.name: SQL_TYPES[column.type] for column in typed}}
    columns = [
        *_COLUMNS,
        "epoch_ms(ts_ms) AS ts",
        "epoch_ms(received_at_ms) AS received_at",
        "CAST(epoch_ms(local_day * CAST(86400000 AS BIGINT)) AS DATE) AS local_date",
        *(quoted(column.name) for column in typed),
        *_plain_columns(typed),
    ]
    listed, rows = ",\n  ".join(columns), _rows(known.paths, lake, types)
    return f"CREATE OR REPLACE VIEW {name} AS\nSELECT\n  {listed}\nFROM {rows}\nWHERE seq <= {cut:d}"


def _rows(paths: str, lake: Path, types: Mapping[str, str]) -> str:
    """The rows of files, with columns of these types: null where a file does not have one."""
    if not paths:
        columns = ", ".join(f"CAST(NULL AS {sql_type}) AS {quoted(name)}" for name, sql_type in types.items())
        return f"(SELECT {columns} WHERE false)"
    # The types are told so that no file is opened before its rows are asked for: a list of columns that is united from
    # files takes a look into each of them whenever the view is named.
    schema = ",\n  ".join(
        f"{literal(name)}: {{name: {literal(name)}, type: {literal(sql_type)}, default_value: NULL}}"
        for name, sql_type in types.items()
    )
    return f"read_parquet({_paths(paths, lake)}, schema = MAP {{\n  {schema}\n}}, hive_partitioning = false)"


def _paths(paths: str, lake: Path) -> str:
    """A list of absolute paths: one text that is split, which takes a fifth of the time that a list of texts takes.

    How they all begin and end is said once: a refresh writes the view again, with all of it.
    """
    names = paths.split("\n")
    begin = commonprefix(names) if len(names) > 1 else ""  # noqa: RUF071  # characters are what is meant
    end = _ENDING if paths.count(f"{_ENDING}\n") == len(names) - 1 and paths.endswith(_ENDING) else ""
    lead = f"{lake.absolute()}/{begin}"
    separator = next(code for code in range(10, 32) if chr(code) not in lead)
    middles = literal(chr(separator).join(name[len(begin) : len(name) - len(end)] for name in names))
    between = f"{literal(end)} || chr({separator}) || {literal(lead)}"
    listed = f"{literal(lead)} || replace({middles}, chr({separator}), {between}) || {literal(end)}"
    return f"string_split({listed}, chr({separator}))"


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
