"""What is wrong with a document of JSON values, field by field, before it is known where the field stands."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
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
    text = as_json(value)
    return text if len(text) <= 40 else f"{text[:39]}…"


def as_json(value: object, levels: int = 6) -> str:
    """A value as JSON; what is no JSON value by its text, what lies deeper than `levels` as `…`."""
    if not levels:
        return "…"
    match value:
        case Mapping():
            pairs = (f"{as_json(str(key))}: {as_json(item, levels - 1)}" for key, item in value.items())
            return f"{{{', '.join(pairs)}}}"
        case list() | tuple():
            return f"[{', '.join(as_json(item, levels - 1) for item in value)}]"
        case Decimal():
            return str(value)
    return replace_surrogates(json.dumps(value, ensure_ascii=False, default=str))


def _written(document: Mapping[str, object]) -> tuple[str, dict[tuple[str | None, str], Span]]:
    """The document as one line, and where the name and the value of each field stand in it."""
    text, places = "{", dict[tuple[str | None, str], Span]()
    for field, value in document.items():
        for at, part, end in (("key", as_json(field), ": "), ("value", as_json(value), ", ")):
            places[field, at] = Span(len(text), len(text) + len(part))
            text += part + end
    return text.removesuffix(", ") + "}", places
