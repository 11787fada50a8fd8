"""Attributes of profiles: last write wins per attribute, over all sources of the profile.

The values never pass through DuckDB's JSON functions: they read numbers as doubles, and a number is exact here.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

import polars as pl

from dsl.clock import Zone
from dsl.columns import flatten, typed_columns
from dsl.numbers import read_json, write_number
from warehouse.columns import free_name
from warehouse.database import Connection
from warehouse.identity_tables import valid_at
from warehouse.property_columns import DTYPES

NAMES_WRITTEN = """
if(json_valid(properties), list_sort(json_keys(properties)), NULL), if(json_valid(properties), NULL, event_id)
"""
"""SQL to partition identifies by: one that is followed by another with the same names has no say any more.

DuckDB refuses some texts that are JSON here (half a surrogate pair): each of them is on its own.
"""
_WRITES = """
SELECT profile_id, properties
FROM events JOIN identities USING (source_id)
WHERE kind = 'identify' AND seq <= {cut:d} AND ts_ms < {t_ms:d} AND {valid}
QUALIFY row_number() OVER (PARTITION BY profile_id, {names} ORDER BY ts_ms DESC, event_id DESC) = 1
ORDER BY profile_id, ts_ms, event_id
"""
_MERGED = """
WITH newest AS (
    SELECT profile_id, name, value
    FROM source_attributes JOIN identities USING (source_id)
    WHERE {valid} AND {whose}
    QUALIFY row_number() OVER (PARTITION BY profile_id, name ORDER BY ts_ms DESC, event_id DESC) = 1
)
SELECT profile_id, list(name ORDER BY name), list(value ORDER BY name)
FROM newest
WHERE value IS NOT NULL
GROUP BY profile_id
"""
_CHUNK = 10_000

Attributes = dict[str, object]
"""Value by name, of one profile, in the order of the names; numbers are micro-units."""
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


def read_attributes(connection: Connection, cut: int, t_ms: int) -> dict[str, Attributes]:
    """Attributes by profile as written by identify events with `seq <= cut` and `ts < t`; `null` unsets."""
    return fold(_rows(connection, _WRITES.format(cut=cut, t_ms=t_ms, valid=valid_at(cut), names=NAMES_WRITTEN)))


def merge_attributes(connection: Connection, cut: int, whose: str = "true") -> dict[str, Attributes]:
    """The same of everybody from `source_attributes`: of each attribute the newest write of all its sources.

    Args:
        whose: condition on `profile_id`: nobody else's are read.
    """
    found = _rows(connection, _MERGED.format(valid=valid_at(cut), whose=whose))
    return {profile: _attributes(names, values) for profile, names, values in found}


def fold(writes: Iterable[tuple[str, str]]) -> dict[str, Attributes]:
    """Attributes by profile, by name, after writes in the order of `(profile, ts, event_id)`.

    >>> fold([("p", '{"plan": "free", "age": 1.50}'), ("p", '{"plan": null}')])
    {'p': {'age': 1500000}}
    """
    folded: dict[str, dict[str, object]] = {}
    for profile, text in writes:
        values = read_json(text)
        if isinstance(values, dict):
            folded.setdefault(profile, {}).update(values)
    return {
        profile: {name: value for name, value in sorted(values.items()) if value is not None}
        for profile, values in folded.items()
    }


def count_types(profiles: Iterable[Attributes]) -> Counter[tuple[str, AttributeType]]:
    """How many profiles have each attribute in each type.

    >>> count_types([{"age": 1500000}, {"age": "old"}, {"age": 0}])
    Counter({('age', 'number'): 2, ('age', 'string'): 1})
    """
    return Counter((name, _type(value)) for attributes in profiles for name, value in attributes.items())


def attribute_columns(types: Iterable[tuple[str, AttributeType]]) -> tuple[AttributeColumn, ...]:
    """Columns of attributes of these types, in the order of their names.

    Their own names differ in more than case, as DuckDB asks for: `a_Plan` and `a_plan_2`.
    """
    taken: set[str] = set()
    return tuple(_column(name, {found for _, found in group}, taken) for name, group in groupby(sorted(types), _name))


def attribute_frame(
    profiles: Mapping[str, Attributes], columns: Sequence[AttributeColumn], zone: Zone, needed: Sequence[str]
) -> pl.DataFrame:
    """Columns `profile_id`, `attributes` (JSON text, by name) and each of `columns` (numbers in micro-units).

    Grain: one row per profile. Keys: profile_id.

    Args:
        zone: the project's: a date alone is the start of that date there.
        needed: further columns, as compiled expressions name them (`dsl.columns`): `n_age` (micro-units),
            `s_address.city`; a value of another type is NULL there.
    """
    data = {"profile_id": list(profiles), "attributes": [json_text(values) for values in profiles.values()]}
    series = [_analyst_series(column, profiles.values()) for column in columns]
    flat = [flatten(values, zone, "attribute") for values in profiles.values()] if needed else []
    series += [
        pl.Series(column.name, [cells.get(column.name) for cells in flat], DTYPES[column.type])
        for column in typed_columns(needed)
    ]
    return pl.DataFrame(data, schema={"profile_id": pl.String(), "attributes": pl.String()}).with_columns(series)


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


def _rows(connection: Connection, statement: str) -> Iterator[Any]:
    found = connection.execute(statement)
    chunks = iter(lambda: found.fetchmany(_CHUNK), [])
    return (row for chunk in chunks for row in chunk)


def _attributes(names: Sequence[str], values: Sequence[str]) -> Attributes:
    """One object of JSON texts, read at once."""
    members = (f"{json_text(name)}:{value}" for name, value in zip(names, values, strict=True))
    found = read_json(f"{{{','.join(members)}}}")
    return found if isinstance(found, dict) else {}


def _name(found: tuple[str, AttributeType]) -> str:
    return found[0]


def _column(name: str, types: set[AttributeType], taken: set[str]) -> AttributeColumn:
    # No name in SQL holds a NUL.
    shown = free_name(f"a_{name}".replace("\0", "\u2400"), taken)
    return AttributeColumn(name, shown, types.pop() if len(types) == 1 else "json")


def _type(value: object) -> AttributeType:
    match value:
        case bool():
            return "boolean"
        case int():
            return "number"
        case str():
            return "string"
    return "json"


def _analyst_series(column: AttributeColumn, profiles: Iterable[Attributes]) -> pl.Series:
    values = [attributes.get(column.name) for attributes in profiles]
    if column.type == "json":
        values = [None if value is None else json_text(value) for value in values]
    return pl.Series(column.column, values, dtype=_DTYPES[column.type])
