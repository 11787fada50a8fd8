"""Declared events: what `events` and pipelines say of each, as one schema, and where they disagree."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from dsl.catalog import Catalog, FieldType
from dsl.diagnostics import Diagnostic
from dsl.source import Source, Span
from dsl.types import ARTICLE, Type

NAMED_BY_KIND = ("page", "screen", "identify", "group", "alias")
"""Events that need no declaration: their name is their kind."""
Sources = Mapping[tuple[str, ...], Source]
"""Where definitions stand in their files. The type of a property is found by `("event", event, path)` or
`("pipeline", pipeline, event, path)`."""


@dataclass(frozen=True, slots=True)
class DeclaredEvent:
    """An event with all that is declared of its properties.

    Attributes:
        types: by path; nothing is known of an event without any: each of its properties may be used.
    """

    name: str
    types: Mapping[str, FieldType] = field(default_factory=dict)

    def type_of(self, path: str) -> Type | None:
        """The type of a property's value; None when it is not declared.

        It is `unknown` where nothing is said: of an object, and of all in an object whose properties are not declared.

        >>> event = DeclaredEvent("buy", {"amount": "number", "cart": "object"})
        >>> event.type_of("amount"), event.type_of("cart.total"), event.type_of("amuont")
        ('number', 'unknown', None)
        """
        found = self.types.get(path)
        if found is not None:
            return "unknown" if found == "object" else found
        return "unknown" if not self.types or self._in_open_object(path) else None

    def _in_open_object(self, path: str) -> bool:
        above = path.rpartition(".")[0]
        while above and above not in self.types:
            above = above.rpartition(".")[0]
        return self.types.get(above) == "object" and not any(p.startswith(f"{above}.") for p in self.types)


class _Declaration(NamedTuple):
    """One property as one place declares it; `where` is that place as people call it, `key` that of its source."""

    event: str
    path: str
    type: FieldType
    where: str
    key: tuple[str, ...]


def declared_events(catalog: Catalog) -> dict[str, DeclaredEvent]:
    """Every declared event by name; of two types of one property the first counts.

    What a pipeline declares is declared whatever its status: what has happened can still be asked for.
    """
    types: dict[str, dict[str, FieldType]] = {event.name: {} for event in catalog.events}
    types.update({event.name: {} for pipeline in catalog.pipelines for event in pipeline.events})
    for declared in _declarations(catalog):
        types[declared.event].setdefault(declared.path, declared.type)
    return {name: DeclaredEvent(name, its) for name, its in types.items()}


def schema_mistakes(catalog: Catalog, sources: Sources) -> Iterator[Diagnostic]:
    """What is wrong with declared events: keys that are there twice, types that differ or cannot both be."""
    yield from _repeated(catalog)
    first: dict[tuple[str, str], _Declaration] = {}
    for declared in _declarations(catalog):
        other = first.setdefault((declared.event, declared.path), declared)
        if other.type != declared.type:
            what = f"`{declared.path}` of `{declared.event}` is {_article(declared.type)} in {declared.where}"
            yield _mistake(f"{what} and {_article(other.type)} in {other.where}", declared, other, sources)
    for declared in first.values():
        above = _no_object_above(declared, first)
        if above is not None:
            what = f"`{declared.path}` of `{declared.event}` lies in `{above.path}`"
            yield _mistake(f"{what}, which is {_article(above.type)} in {above.where}", declared, above, sources)


def _declarations(catalog: Catalog) -> Iterator[_Declaration]:
    for event in catalog.events:
        for path, value_type in event.properties.items():
            yield _Declaration(event.name, path, value_type, "`events`", ("event", event.name, path))
    for pipeline in catalog.pipelines:
        where = f"the pipeline `{pipeline.key}`"
        for its in pipeline.events:
            for each in its.fields:
                key = ("pipeline", pipeline.key, its.name, each.name)
                yield _Declaration(its.name, each.name, each.type, where, key)


def _no_object_above(declared: _Declaration, first: Mapping[tuple[str, str], _Declaration]) -> _Declaration | None:
    """The declaration that leaves no room for a property below it; between two of `events` it is theirs alone."""
    above = declared.path.rpartition(".")[0]
    while above:
        other = first.get((declared.event, above))
        if other is not None and other.type != "object" and "pipeline" in (declared.key[0], other.key[0]):
            return other
        above = above.rpartition(".")[0]
    return None


def _repeated(catalog: Catalog) -> Iterator[Diagnostic]:
    keys = [pipeline.key for pipeline in catalog.pipelines]
    yield from (_twice(f"the pipeline `{key}`", key) for key in _doubles(keys))
    for pipeline in catalog.pipelines:
        names = [event.name for event in pipeline.events]
        yield from (_twice(f"the event `{name}` of the pipeline `{pipeline.key}`", name) for name in _doubles(names))
        for event in pipeline.events:
            paths = [each.name for each in event.fields]
            what = f"of `{event.name}` in the pipeline `{pipeline.key}`"
            yield from (_twice(f"the field `{path}` {what}", path) for path in _doubles(paths))


def _doubles(names: list[str]) -> list[str]:
    return [name for name in dict.fromkeys(names) if names.count(name) > 1]


def _twice(what: str, name: str) -> Diagnostic:
    source = Source(name, "<pipelines>")
    return Diagnostic("duplicate-name", f"{what} is defined twice", Span(0, len(name)), source)


def _mistake(message: str, declared: _Declaration, other: _Declaration, sources: Sources) -> Diagnostic:
    source = sources.get(declared.key, Source(declared.type, f"<{declared.where.replace('`', '')}>"))
    there = sources.get(other.key)
    place = there.position(0) if there is not None else None
    first = f"the first is at {there.name}:{place.line}:{place.column}" if there and place else ""
    help_lines = tuple(line for line in (first, "an event has one schema: let both say the same") if line)
    return Diagnostic("bad-definition", message, Span(0, len(source.text)), source, help=help_lines)


def _article(value_type: FieldType) -> str:
    return "an object" if value_type == "object" else ARTICLE[value_type]
