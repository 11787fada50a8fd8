"""What is wrong with a document of JSON values, field by field, before it is known where the field stands."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from dsl.diagnostics import DefinitionError, Diagnostic
from dsl.numbers import replace_surrogates
from dsl.source import Source, Span


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing that is wrong with a document.

    Attributes:
        field: the field in which it is, as the document spells it; None is the document as a whole.
        at: the field's name, or its value.
        item: number of the item, when the value is a list and one item of it is wrong.
    """

    field: str | None
    message: str
    help: tuple[str, ...] = ()
    expected: str = ""
    at: Literal["key", "value"] = "value"
    item: int | None = None


def definition_error(document: Mapping[str, object], name: str, mistakes: Iterable[Mistake]) -> DefinitionError:
    """The mistakes as an error that points into the document, written as JSON on one line.

    Args:
        name: what stands for a file's name, such as `<rules>`.

    >>> error = definition_error({"a": 1, "b": 2}, "<rules>", [Mistake("b", "`b` is too large")])
    >>> (found,) = error.diagnostics
    >>> found.source.text, found.source.text[found.span.start : found.span.end]
    ('{"a": 1, "b": 2}', '2')
    """
    text, places = _written(document)
    source = Source(text, name)
    return DefinitionError(
        Diagnostic(
            "bad-definition",
            mistake.message,
            places.get((mistake.field, mistake.at), Span(0, len(text))),
            source,
            expected=mistake.expected,
            help=mistake.help,
        )
        for mistake in mistakes
    )


def shown(value: object) -> str:
    """A value as JSON, short enough for a message.

    >>> shown("pro"), shown(None), shown([1, 2])
    ('"pro"', 'null', '[1, 2]')
    """
    text = _json(value)
    return text if len(text) <= 40 else f"{text[:39]}…"


def _written(document: Mapping[str, object]) -> tuple[str, dict[tuple[str | None, str], Span]]:
    """The document as one line, and where the name and the value of each field stand in it."""
    text, places = "{", dict[tuple[str | None, str], Span]()
    for field, value in document.items():
        for at, part, end in (("key", _json(field), ": "), ("value", _json(value), ", ")):
            places[field, at] = Span(len(text), len(text) + len(part))
            text += part + end
    return text.removesuffix(", ") + "}", places


def _json(value: object) -> str:
    # Whatever is no JSON value is shown by its text: numbers read as decimals, and what should not be there at all.
    return replace_surrogates(json.dumps(value, ensure_ascii=False, default=str))
