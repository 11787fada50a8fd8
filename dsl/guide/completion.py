"""What may stand next in an expression: names, functions, aggregates, windows, from the tables that the checks read."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from dsl.aggregates import AGES, AGGREGATES, SEEN_AGES, AggregateFunction
from dsl.check import CheckedCatalog
from dsl.functions import FUNCTIONS, RANK, REFERENCES
from dsl.observed import Observed
from dsl.source import Source
from dsl.tokens import RESERVED, WORD, Token, tokenize
from dsl.windows import read_window

Kind = Literal["event", "aggregate", "window", "property", "attribute", "function", "trait", "segment", "word"]
_WINDOWS = ("30m", "1h", "24h", "7d", "14d", "30d", "90d")
_NOT_IN_FILTER = ("now", "days_since", "bucket", RANK)


@dataclass(frozen=True, slots=True)
class Completion:
    """Something that may stand at the cursor.

    Attributes:
        text: what replaces the word at the cursor.
        start: where that word starts, code points of the text.
        detail: its type, its signature or what it gives.
    """

    text: str
    kind: Kind
    start: int
    detail: str = ""


def complete(text: str, cursor: int, checked: CheckedCatalog, observed: Observed | None = None) -> list[Completion]:
    """Everything that may stand at a cursor and begins like the word there, best known names first.

    Args:
        cursor: 0 to the length of the text.
        observed: what events have held; declared names come first.

    >>> from dsl.catalog import Catalog
    >>> from dsl.check import check_catalog
    >>> [found.text for found in complete("coal", 4, check_catalog(Catalog()))]
    ['coalesce(']
    """
    place = _Place.at(text, cursor)
    names = _Names(checked, observed or Observed())
    found = _candidates(place, names)
    typed = place.word.casefold()
    return [
        Completion(candidate.text, candidate.kind, place.start, candidate.detail)
        for candidate in {candidate.text: candidate for candidate in found}.values()
        if candidate.text.strip('."[').casefold().startswith(typed) and candidate.text != place.word
    ]


@dataclass(frozen=True, slots=True)
class _Place:
    """The tokens before the word at the cursor, that word, and where it starts."""

    before: tuple[Token, ...]
    word: str
    start: int

    @classmethod
    def at(cls, text: str, cursor: int) -> "_Place":
        tokens = [token for token in tokenize(Source(text[:cursor])).tokens if token.kind != "end"]
        last = tokens[-1] if tokens else None
        if last is not None and last.span.end == cursor and last.kind in ("word", "string"):
            word = last.text if last.kind == "word" else last.value
            return cls(tuple(tokens[:-1]), word, last.span.start)
        return cls(tuple(tokens), "", cursor)

    def ends_with(self, *texts: str) -> bool:
        """Whether the tokens before the word end with these texts."""
        return [token.text for token in self.before[-len(texts) :]] == list(texts)

    def around(self) -> "tuple[str, ...] | None":
        """The event of the aggregate in whose filter or parentheses the cursor is, `*` for any; None outside of one."""
        depth = 0
        for index in range(len(self.before) - 1, -1, -1):
            text = self.before[index].text
            depth += {")": 1, "]": 1, "(": -1, "[": -1}.get(text, 0) if self.before[index].kind == "symbol" else 0
            if depth < 0:
                event = _event_before(self.before[:index])
                if event is not None:
                    return event
                depth = 0
        return None


@dataclass(frozen=True, slots=True)
class _Names:
    """Every name of a catalog, declared or seen."""

    checked: CheckedCatalog
    observed: Observed

    def events(self) -> Iterator[str]:
        yield from self.checked.events
        yield from self.observed.events

    def properties(self, event: str) -> Mapping[str, str]:
        """Type by path, of one event or of any."""
        found: dict[str, str] = {}
        for declared in self.checked.events.values():
            if event in ("*", declared.name):
                found |= declared.types
        seen = self.observed.properties(None if event == "*" else event)
        return {**{path: " or ".join(sorted(types)) for path, types in seen.items()}, **found}

    def attributes(self) -> Mapping[str, str]:
        """Type by path."""
        seen = {path: " or ".join(sorted(types)) for path, types in self.observed.attributes.items()}
        return {**seen, **self.checked.catalog.attributes}


def _candidates(place: _Place, names: _Names) -> Iterator[Completion]:  # one case per place
    for kind in REFERENCES:
        if place.ends_with(kind, "("):
            keys = (value.key for value in names.checked.values.values() if value.kind == kind)
            yield from (Completion(json.dumps(key, ensure_ascii=False), kind, 0) for key in keys)  # type: ignore[arg-type]  # both are kinds
            return
    if place.ends_with("events", "."):
        yield Completion("*", "event", 0, "any track, page or screen event")
        yield from (Completion(name, "event", 0) for name in names.events() if WORD.fullmatch(name))
        return
    if place.ends_with("events", "["):
        yield from (Completion(f"{json.dumps(name, ensure_ascii=False)}]", "event", 0) for name in names.events())
        return
    if place.ends_with("profile", "."):
        yield from _paths(names.attributes(), "attribute")
        return
    event = _event_before(place.before[:-1]) if place.ends_with(".") else None
    if event is not None:
        yield from _aggregates(place.word)
        return
    inside = place.around()
    if inside is not None:
        yield from _paths(names.properties(inside[0]), "property")
    yield from _words(names, filtered=inside is not None)


def _paths(types: Mapping[str, str], kind: Kind) -> Iterator[Completion]:
    """Paths that can be written with dots."""
    yield from (
        Completion(path, kind, 0, its) for path, its in types.items() if all(map(WORD.fullmatch, path.split(".")))
    )


def _aggregates(word: str) -> Iterator[Completion]:
    for name, aggregate in AGGREGATES.items():
        argument = "" if not aggregate.argument else "("
        if word.startswith(f"{name}_"):
            windows = (window for window in _WINDOWS if _fits(window, aggregate))
            yield from (Completion(f"{name}_{window}{argument}", "window", 0, aggregate.summary) for window in windows)
        elif aggregate.longest_ms is None:
            yield Completion(f"{name}{argument}", "aggregate", 0, aggregate.summary)
        else:
            yield Completion(f"{name}_30m", "aggregate", 0, aggregate.summary)
    yield from (Completion(name, "aggregate", 0, "whole units, rounded down") for name in AGES)


def _fits(text: str, aggregate: AggregateFunction) -> bool:
    """Whether an aggregate can have that window."""
    window = read_window(text)
    if window is None or (aggregate.window == "calendar" and window.days is None):
        return False
    return aggregate.longest_ms is None or window.width_ms <= aggregate.longest_ms


def _words(names: _Names, *, filtered: bool) -> Iterator[Completion]:
    if not filtered:
        for value in names.checked.values.values():
            yield Completion(value.key, value.kind, 0, value.type)
        yield from (Completion(name, "word", 0, "whole units since an event of any kind") for name in SEEN_AGES)
        yield from (Completion(f'{kind}("', "function", 0, f"another {kind}") for kind in REFERENCES)
        yield from (Completion(root, "word", 0) for root in ("events.", "profile."))
    yield Completion("context.", "word", 0, "of the event" if filtered else "of the request, in flags")
    for function in FUNCTIONS.values():
        if not (filtered and function.name in _NOT_IN_FILTER):
            yield Completion(f"{function.name}(", "function", 0, function.signature)
    yield from (Completion(word, "word", 0) for word in sorted(RESERVED))


def _event_before(tokens: Iterable[Token]) -> tuple[str, ...] | None:
    """The event whose aggregate these tokens end with: after its name, its filter, or its function."""
    rest = list(tokens)
    if len(rest) >= 2 and rest[-1].kind == "word" and rest[-2].text == ".":
        inner = _event_before(rest[:-2])
        if inner is not None:
            return inner
    if rest and rest[-1].text == "]":
        depth = 0
        for index in range(len(rest) - 1, -1, -1):
            depth += {"]": 1, "[": -1}.get(rest[index].text, 0)
            if depth == 0:
                if rest[index - 1 : index] and rest[index - 1].text == "events" and rest[index + 1].kind == "string":
                    return (rest[index + 1].value,)
                return _event_before(rest[:index])
    if len(rest) >= 3 and [token.text for token in rest[-3:-1]] == ["events", "."]:
        return (rest[-1].text,)
    return None
