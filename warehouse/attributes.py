"""Attributes of profiles, folded from `identify` events: last write wins per attribute.

The values never pass through DuckDB's JSON functions: they read numbers as doubles, and a number is exact here.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import polars as pl

from dsl.clock import Zone
from dsl.columns import flatten, typed_columns
from dsl.numbers import read_json, write_number
from warehouse.columns import free_name
from warehouse.database import Connection
from warehouse.identities import valid_at
from warehouse.property_columns import DTYPES

# An identify that is followed by one with the same names, from the same profile, has no say any more.
_WRITES = """
SELECT profile_id, properties
FROM events JOIN identities USING (source_id)
WHERE kind = 'identify' AND seq <= {cut:d} AND ts_ms < {t_ms:d} AND {valid}
QUALIFY row_number() OVER (
    PARTITION BY profile_id, list_sort(json_keys(properties)) ORDER BY ts_ms DESC, event_id DESC
) = 1
ORDER BY profile_id, ts_ms, event_id
"""
_CHUNK = 10_000

AttributeType = Literal["number", "string", "boolean", "json"]
_DTYPES = {"number": pl.Int64(), "string": pl.String(), "boolean": pl.Boolean(), "json": pl.String()}


@dataclass(frozen=True, slots=True)
class AttributeColumn:
    """An attribute as a column of `profiles`: `a_<name>` of the one type that all its values have.

    Attributes:
        type: `json` when values of several types, lists or objects occur: the column is their JSON text.
    """

    name: str
    column: str
    type: AttributeType


@dataclass(frozen=True, slots=True)
class Attributes:
    """All attributes of all profiles that have any.

    Attributes:
        frame: columns `profile_id`, `attributes` (JSON text) and each of `columns` (numbers in micro-units).
            Grain: one row per profile. Keys: profile_id.
    """

    frame: pl.DataFrame
    columns: tuple[AttributeColumn, ...]


def read_attributes(connection: Connection, cut: int, t_ms: int, zone: Zone, needed: Sequence[str] = ()) -> Attributes:
    """Attributes as written by identify events with `seq <= cut` and `ts < t`; `null` unsets.

    Args:
        zone: the project's: a date alone is the start of that date there.
        needed: further columns of the frame, as compiled expressions name them (`dsl.columns`): `n_age` (micro-units),
            `s_address.city`; a value of another type is NULL there.
    """
    written = connection.execute(_WRITES.format(cut=cut, t_ms=t_ms, valid=valid_at(cut)))
    rows = iter(lambda: written.fetchmany(_CHUNK), [])
    folded = fold(row for chunk in rows for row in chunk)
    columns = _columns(folded.values())
    data: dict[str, list[str]] = {
        "profile_id": list(folded),
        "attributes": [json_text(values) for values in folded.values()],
    }
    schema = {"profile_id": pl.String(), "attributes": pl.String()}
    series = [_analyst_series(column, folded.values()) for column in columns]
    flat = [flatten(values, zone, "attribute") for values in folded.values()] if needed else []
    series += [
        pl.Series(column.name, [cells.get(column.name) for cells in flat], DTYPES[column.type])
        for column in typed_columns(needed)
    ]
    return Attributes(pl.DataFrame(data, schema=schema).with_columns(series), columns)


def fold(writes: Iterable[tuple[str, str]]) -> dict[str, dict[str, object]]:
    """Attributes by profile after writes in the order of `(profile, ts, event_id)`.

    >>> fold([("p", '{"plan": "free", "age": 1.50}'), ("p", '{"plan": null}')])
    {'p': {'age': 1500000}}
    """
    folded: dict[str, dict[str, object]] = {}
    for profile, text in writes:
        values = read_json(text)
        if isinstance(values, dict):
            folded[profile] = {k: v for k, v in {**folded.get(profile, {}), **values}.items() if v is not None}
    return folded


def json_text(value: object) -> str:
    """JSON text of a value whose numbers are micro-units; `dsl.numbers.read_json` gives it back.

    >>> json_text({"age": 1500000, "tags": ["a", True]})
    '{"age":1.5,"tags":["a",true]}'
    """
    match value:
        case bool() | str() | None:
            return json.dumps(value, ensure_ascii=False)
        case int():
            return write_number(value)
        case list():
            return f"[{','.join(json_text(item) for item in value)}]"
        case dict():
            return f"{{{','.join(f'{json_text(key)}:{json_text(item)}' for key, item in value.items())}}}"
    raise TypeError(f"no JSON value: {type(value).__name__}")


def _columns(profiles: Iterable[Mapping[str, object]]) -> tuple[AttributeColumn, ...]:
    types: dict[str, set[AttributeType]] = {}
    for attributes in profiles:
        for name, value in attributes.items():
            types.setdefault(name, set()).add(_type(value))
    return tuple(_named(sorted(types.items())))


def _named(types: Iterable[tuple[str, set[AttributeType]]]) -> Iterator[AttributeColumn]:
    """Columns whose names differ in more than case, as DuckDB asks for: `a_Plan` and `a_plan_2`."""
    taken: set[str] = set()
    for name, found in types:
        yield AttributeColumn(name, free_name(f"a_{name}", taken), found.pop() if len(found) == 1 else "json")


def _type(value: object) -> AttributeType:
    match value:
        case bool():
            return "boolean"
        case int():
            return "number"
        case str():
            return "string"
    return "json"


def _analyst_series(column: AttributeColumn, profiles: Iterable[Mapping[str, object]]) -> pl.Series:
    values = [attributes.get(column.name) for attributes in profiles]
    if column.type == "json":
        values = [None if value is None else json_text(value) for value in values]
    return pl.Series(column.column, values, dtype=_DTYPES[column.type])
