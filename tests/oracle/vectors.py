"""How the tables of hand-worked vectors are written down."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from tests.oracle.evaluate import Evaluator
from tests.oracle.language import LanguageError
from tests.oracle.values import MICRO, Number, Timestamp, Value, load_json

ERROR = "this text is an error"
FAR = 10**9


class Vector(NamedTuple):
    """An expression, its value (or `ERROR`), and the line that derives the value by hand."""

    expression: str
    expected: Value
    why: str


class Case(NamedTuple):
    """A log, an instant, and expressions about the profile `p`, each with its value and its derivation."""

    title: str
    log: list[dict[str, Any]]
    t: str
    rows: list[tuple[str, Value, str]]
    settings: dict[str, Any] = {}  # noqa: RUF012 - never changed


def n(text: str) -> Number:
    """A number from its text."""
    return Number(int(Decimal(text) * MICRO))


def ms(moment: str) -> int:
    """An instant from its ISO text, in ms."""
    found = datetime.fromisoformat(moment)
    return int(found.replace(microsecond=0).timestamp()) * 1000 + found.microsecond // 1000


def ts(moment: str) -> Timestamp:
    """A timestamp value from its ISO text."""
    return Timestamp(ms(moment))


def log(*rows: tuple[str, ...]) -> list[dict[str, Any]]:
    """Events from rows `(name, moment, JSON properties, event id, source, JSON context)`; the last four may lack.

    A name `identify:`, `page:`, `screen:` or `system:name` chooses the kind, else it is a track event. `seq` counts the
    rows from 1, so the order of the rows is the order of arrival.
    """
    events: list[dict[str, Any]] = []
    for position, row in enumerate(rows, 1):
        name, moment, properties, event_id, source, context = (*row, *("", "", "{}", "", "p", "{}")[len(row) :])
        kind, _, named = name.rpartition(":")
        events.append(
            {
                "event_id": event_id or f"e{position:04d}",
                "seq": position,
                "ts": ms(moment),
                "kind": kind or ("track" if ":" not in name else named),
                "name": named,
                "source_id": source,
                "properties": load_json(properties),
                "context": load_json(context),
            }
        )
    return events


def evaluate(case: Case, expression: str, profile_id: str = "p") -> Value:
    """The oracle's answer to one row of a case; `ERROR` when the text is no expression."""
    settings: Mapping[str, Any] = {"definitions": {}, "cut": FAR, **case.settings}
    try:
        return Evaluator(case.log, t_ms=ms(case.t), **settings).value(expression, profile_id)
    except LanguageError:
        return ERROR
