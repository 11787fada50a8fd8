"""Rows as a file has them, of a table or of JSON documents: their columns, and the properties in them."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from math import isfinite
from typing import Any, Protocol

import polars as pl

from dsl.clock import Zone
from dsl.columns import typed_columns
from dsl.sent_json import depth_of, json_text
from warehouse.bulk.documents import DEEPEST, NoDocument, read_document
from warehouse.bulk.mapping import LoadMapping, Properties
from warehouse.bulk.table_columns import not_a_number, typed
from warehouse.property_text import escaped, properties_text

MOST_PROPERTIES = 300
"""Properties of an event."""


@dataclass(slots=True)
class Chosen:
    """The properties of rows.

    Attributes:
        columns: typed columns by name; a row has no value where it has no such property.
        texts: all of them as JSON, from which the columns are then read; None where it is made from the columns.
        emails: the property `email` where it is a text and not in the columns.
        wrong: reason, path and sentence of rows that hold what no event may hold.
    """

    columns: dict[str, pl.Series] = field(default_factory=dict)
    texts: pl.Series | None = None
    emails: pl.Series | None = None
    wrong: dict[int, tuple[str, str, str]] = field(default_factory=dict)


class Rows(Protocol):
    """Rows of a batch."""

    @property
    def height(self) -> int:
        """How many there are."""

    def column(self, name: str) -> pl.Series:
        """What they hold in a column; null where there is nothing."""

    def chosen(self, properties: Properties, mapping: LoadMapping, zone: Zone) -> Chosen:
        """Their properties, as a mapping chooses them."""

    def raw(self, rows: Sequence[int]) -> list[str]:
        """Rows as JSON text, as dead letters keep them."""


@dataclass(frozen=True, slots=True)
class TableRows:
    """Rows of a table; a column may be a field of a nested one: `contact.email`."""

    frame: pl.DataFrame

    @property
    def height(self) -> int:
        """How many there are."""
        return self.frame.height

    def column(self, name: str) -> pl.Series:
        """What they hold in a column, or in a field of one."""
        if name in self.frame.columns:
            return self.frame[name]
        head, *steps = name.split(".")
        values = self.frame[head]
        for step in steps:
            values = values.struct.field(step)
        return values

    def chosen(self, properties: Properties, mapping: LoadMapping, zone: Zone) -> Chosen:
        """Their properties, as a mapping chooses them."""
        if properties.all_of:
            return _documents(self.column(properties.all_of))
        columns = dict(properties.columns)
        if properties.others:
            taken = mapping.taken()
            columns |= {name: name for name in self.frame.columns if name not in taken}
        found, parts = Chosen(), dict[str, Chosen]()
        for name, column in columns.items():
            values = self.column(column)
            if mapping.types.get(column) == "json" and values.dtype == pl.String:
                parts[name] = _documents(values, name)
                continue
            bad = not_a_number(values)
            for row in bad.arg_true() if bad is not None else ():
                what = f"`{column}` holds `{values[row]}`, which is no number: leave it out"
                found.wrong.setdefault(row, ("invalid_number", f"$.properties.{name}", what))
            for series in typed([name], values, mapping.types.get(column), zone):
                found.columns[series.name] = series
        if parts:
            _add_parts(found, parts, self.height)
        if len(columns) > MOST_PROPERTIES:
            _count(found, self.frame.select(_has_value(self.frame, columns.values())).to_series())
        return found

    def raw(self, rows: Sequence[int]) -> list[str]:
        """Rows as JSON text."""
        return [json.dumps(_plain(row), ensure_ascii=False) for row in self.frame[list(rows)].iter_rows(named=True)]


@dataclass(frozen=True, slots=True)
class DocumentRows:
    """Rows that are JSON objects; a column is a path in them."""

    lines: Sequence[str]
    documents: Sequence[Mapping[str, Any]]

    @property
    def height(self) -> int:
        """How many there are."""
        return len(self.documents)

    def column(self, name: str) -> pl.Series:
        """Texts and numbers at a path, as text; what is neither has the text of its JSON."""
        steps = name.split(".")
        if len(steps) == 1:
            found = [document.get(name) for document in self.documents]
        else:
            found = [document[name] if name in document else _at(document, steps) for document in self.documents]
        return pl.Series(name, [value if type(value) is str else _as_text(value) for value in found], pl.String)

    def chosen(self, properties: Properties, mapping: LoadMapping, zone: Zone) -> Chosen:
        """Their properties, as a mapping chooses them."""
        found, texts, emails = Chosen(), list[str](), list[str | None]()
        taken = mapping.taken() if properties.others else frozenset()
        for row, document in enumerate(self.documents):
            own = self._own(document, properties, taken)
            if not isinstance(own, Mapping):
                path = f"$.{properties.all_of}"
                found.wrong[row] = ("invalid_field", path, f"`{properties.all_of}` is no object")
                own = {}
            elif (wrong := _too_much(own)) is not None:
                found.wrong[row] = wrong
                own = {}
            texts.append(json_text(own) if own else "{}")
            emails.append(_email(own))
        found.emails = pl.Series("email", emails, pl.String)
        found.texts = pl.Series("properties", texts, pl.String)
        return found

    def raw(self, rows: Sequence[int]) -> list[str]:
        """Rows as they stand in the file."""
        return [self.lines[row] for row in rows]

    def _own(self, document: Mapping[str, Any], properties: Properties, taken: frozenset[str]) -> object:
        if properties.all_of:
            found = _at(document, properties.all_of.split("."))
            return {} if found is None else found
        if properties.others:
            return {key: value for key, value in document.items() if key not in taken}
        found_columns = ((name, _at(document, column.split("."))) for name, column in properties.columns.items())
        return {name: value for name, value in found_columns if value is not None}


def _email(document: Mapping[str, Any]) -> str | None:
    found = document.get("email")
    return found if isinstance(found, str) else None


def _at(document: Mapping[str, Any], steps: Sequence[str]) -> Any:
    found: Any = document
    for step in steps:
        if not isinstance(found, Mapping):
            return None
        found = found.get(step)
    return found


def _as_text(value: object) -> str | None:
    match value:
        case None:
            return None
        case Decimal() if abs(value.adjusted()) < 30:
            text = format(value, "f")
            return (text.rstrip("0").rstrip(".") if "." in text else text) or "0"
    return json_text(value)


def _too_much(document: Mapping[str, Any]) -> tuple[str, str, str] | None:
    if len(document) > MOST_PROPERTIES:
        count = len(document)
        return "too_many_properties", "$.properties", f"the row has {count} properties: more than {MOST_PROPERTIES}"
    if depth_of(document, DEEPEST) > DEEPEST:
        return "too_deep", "$.properties", f"the properties nest more than {DEEPEST} levels"
    return None


def _documents(texts: pl.Series, name: str = "") -> Chosen:
    """Columns of JSON texts; objects of all properties, or any JSON as the property of that name."""
    found, written, emails = Chosen(), list[str | None](), list[str | None]()
    for row, text in enumerate(texts):
        if text is None or text == "":
            written.append(None if name else "{}")
            emails.append(None)
            continue
        try:
            document = read_document(f'{{"value":{text}}}' if name else text)
        except NoDocument as error:
            found.wrong[row] = (error.reason, f"$.{texts.name}", f"`{texts.name}` holds {error}")
            written.append(None if name else "{}")
            emails.append(None)
            continue
        wrong = _too_much(document)
        if wrong is not None:
            found.wrong[row] = wrong
        value = document["value"] if name else document
        written.append(json_text(value))
        emails.append(_email(document))
    found.texts, found.emails = (pl.Series("", each, pl.String) for each in (written, emails))
    return found


def _add_parts(found: Chosen, parts: Mapping[str, Chosen], height: int) -> None:
    """Properties that are JSON texts, beside those that are columns."""
    frame = pl.DataFrame(list(found.columns.values())) if found.columns else pl.DataFrame({"": [None] * height})
    texts = properties_text(frame, typed_columns(frame.columns))
    for name, part in parts.items():
        if part.texts is not None:
            texts = with_member(texts, name, part.texts)
        for row, wrong in part.wrong.items():
            found.wrong.setdefault(row, wrong)
    found.texts = texts


def with_member(texts: pl.Series, name: str, values: pl.Series) -> pl.Series:
    """JSON objects with one more member, given as JSON; where that is null they stay as they are.

    >>> with_member(pl.Series(['{"a":1}', "{}"]), "b", pl.Series(["2", "3"])).to_list()
    ['{"a":1,"b":2}', '{"b":3}']
    """
    frame = pl.DataFrame([texts.alias("object"), values.alias("value")])
    lead = json.dumps(name, ensure_ascii=False) + ":"
    before = pl.when(pl.col("object") == "{}").then(pl.lit("{")).otherwise(pl.col("object").str.head(-1) + ",")
    longer = pl.concat_str(before, pl.lit(lead), pl.col("value"), pl.lit("}"))
    return frame.select(pl.coalesce(longer, "object").alias("properties"))["properties"]


def json_strings(texts: pl.Series) -> pl.Series:
    """JSON strings of texts; null of null."""
    return '"' + escaped(texts) + '"'


def _has_value(frame: pl.DataFrame, columns: Iterable[str]) -> pl.Expr:
    return pl.sum_horizontal(pl.col(column).is_not_null() for column in columns if column in frame.columns)


def _count(found: Chosen, held: pl.Series) -> None:
    for row in (held > MOST_PROPERTIES).arg_true():
        what = f"the row has {held[row]} properties: more than {MOST_PROPERTIES}"
        found.wrong.setdefault(row, ("too_many_properties", "$.properties", what))


def _plain(value: Any) -> Any:
    """A value as JSON can have it."""
    match value:
        case dict():
            return {key: _plain(each) for key, each in value.items()}
        case list():
            return [_plain(each) for each in value]
        case float() if not isfinite(value):
            return str(value)
        case None | bool() | int() | float() | str():
            return value
    return str(value)
