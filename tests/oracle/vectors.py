"""Reads the vectors of `tests/vectors`: what each expression is asked of, and the value or the error that it has."""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from tests.oracle.evaluate import Evaluator
from tests.oracle.values import MICRO, Number, Timestamp, Value, load_json

FOLDER = Path(__file__).parent.parent / "vectors"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Vector:
    """One expression and what it is worth.

    Attributes:
        value: what the rules give; None is missing.
        valued: whether it has a value at all: what is wrong by its text alone has none.
        error: code with which whoever checks an expression refuses it; empty is not at all.
        why: the line that derives it.
        type: what the expression is declared to be, where it does not say so itself.
        unsupported: why an engine cannot answer, by its name.
    """

    ask: str
    value: Value
    valued: bool
    error: str
    why: str
    by_hand: bool
    profile: str
    type: str | None
    unsupported: Mapping[str, str]


@dataclass(frozen=True)
class Case:
    """A log, a moment, definitions; and vectors asked of them.

    Attributes:
        name: file and title.
        log: events as the oracle takes them, properties and context as JSON text.
        identities: profile of each source; without any, each source is a profile.
        request: JSON text of what a request brought along; None is asked without one.
        declared: type by path: `profile.due`, `events.order.amount`.
        definitions: kind, expression and declared type by key, features left out.
        features: key, event, aggregation, field and windows.
    """

    name: str
    t_ms: int
    cut: int
    zone: str
    log: list[dict[str, Any]]
    identities: Mapping[str, str]
    request: str | None
    declared: Mapping[str, str]
    definitions: Mapping[str, tuple[str, str, str | None]]
    features: list[dict[str, Any]]
    vectors: list[Vector] = field(repr=False)

    def answer(self, vector: Vector) -> Value:
        """The oracle's answer.

        Raises:
            LanguageError: the expression is none of the language.
        """
        events = [
            {**event, "properties": load_json(event["properties"]), "context": load_json(event["context"])}
            for event in self.log
        ]
        request = load_json(self.request or "{}")
        assert isinstance(request, dict)
        # What a request brings along is asked of in a Boolean position: the rule of a flag.
        kind = "trait" if self.request is None else "segment"
        asked = {"asked": (kind, vector.ask, vector.type)}
        oracle = Evaluator(
            events,
            {**self.definitions, **dict(_expanded(self.features)), **asked},
            self.t_ms,
            self.cut,
            self.zone,
            request,
            identities=self.identities or None,
            declared=self.declared,
        )
        return oracle.value(f'{kind}("asked")', vector.profile)


@cache
def cases() -> list[Case]:
    """Every case of every file."""
    return [_case(path.stem, table) for path in sorted(FOLDER.glob("*.toml")) for table in _tables(path)["case"]]


@cache
def refused_documents() -> list[str]:
    """JSON texts that nobody may take for an event's properties."""
    return [text for path in sorted(FOLDER.glob("*.toml")) for text in _tables(path).get("refused", [])]


@cache
def _tables(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)


def _case(file: str, table: dict[str, Any]) -> Case:
    log = [event for rows in map(_rows, table.get("log", [])) for event in rows]
    for seq, event in enumerate(log, 1):
        event["seq"] = seq
        event["event_id"] = event["event_id"] or f"e{seq:04d}"
    return Case(
        name=f"{file}: {table['title']}",
        t_ms=_ms(table["at"]),
        cut=table.get("cut", len(log)),
        zone=table.get("zone", "UTC"),
        log=log,
        identities=table.get("identities", {}),
        request=table.get("request"),
        declared=table.get("declared", {}),
        definitions={key: _definition(written) for key, written in table.get("definitions", {}).items()},
        features=table.get("features", []),
        vectors=[_vector(row, table) for row in table["vectors"]],
    )


def _rows(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The events of a row of a log: one, or one for each number of its `numbers`."""
    kind = row.get("kind", "track")
    numbers = row.get("numbers")
    texts = [row.get("properties", "{}")]
    if numbers:
        texts = [f'{{"{numbers["property"]}": {n}}}' for n in range(numbers["first"], numbers["last"] + 1)]
    for text in texts:
        yield {
            "event_id": row.get("id", ""),
            "ts": _ms(row["at"]),
            "kind": kind,
            "name": row.get("event", kind),
            "source_id": row.get("source", "p"),
            "properties": text,
            "context": row.get("context", "{}"),
        }


def _definition(written: dict[str, str]) -> tuple[str, str, str | None]:
    kind = "trait" if "trait" in written else "segment"
    return kind, written[kind], written.get("type")


def _expanded(features: list[dict[str, Any]]) -> Iterator[tuple[str, tuple[str, str, None]]]:
    """Section 6: a feature is the traits `<name>_<window>`."""
    for feature in features:
        argument = f"({feature['field']})" if "field" in feature else ""
        for window in feature["windows"]:
            text = f'events["{feature["event"]}"].{feature["aggregation"].lower()}_{window}{argument}'
            yield f"{feature['key']}_{window}", ("trait", text, None)


def _vector(row: dict[str, Any], case: dict[str, Any]) -> Vector:
    assert ("value" in row) + ("missing" in row) <= 1
    assert {"value", "missing", "error"} & set(row), f"{row['ask']}: no value, not missing, no error"
    return Vector(
        ask=row["ask"],
        value=_value(row["value"]) if "value" in row else None,
        valued="value" in row or "missing" in row,
        error=row.get("error", ""),
        why=row["why"],
        by_hand=row.get("by_hand", case.get("by_hand", False)),
        profile=row.get("profile", "p"),
        type=row.get("type"),
        unsupported={**case.get("unsupported", {}), **row.get("unsupported", {})},
    )


def _value(found: object) -> Value:
    match found:
        case bool() | str():
            return found
        case int() | Decimal():
            micro = Decimal(found).scaleb(6)
            assert micro == int(micro)
            assert Decimal(found) * MICRO == micro
            return Number(int(micro))
        case datetime():
            return Timestamp(_ms(found))
        case list():
            return tuple(_value(item) for item in found)
    raise TypeError(f"no value: {found!r}")


def _ms(moment: datetime) -> int:
    since = moment - _EPOCH
    assert since.microseconds % 1000 == 0, f"{moment} is no whole millisecond"
    return (since.days * 86_400 + since.seconds) * 1000 + since.microseconds // 1000
