"""What all files of definitions are read into, and the readers of the values that definitions are made of."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar, get_args

from yaml.nodes import Node, ScalarNode, SequenceNode

from dsl.catalog import Catalog, EventSchema, Export, Feature, Flag, Pipeline, Segment, Trait, ValueType
from dsl.diagnostics import Diagnostic
from dsl.documents.yaml_nodes import Field, YamlFile
from dsl.keys import KEY, KEY_RULE, TAKEN
from dsl.mistakes import Mistake
from dsl.nearest import nearest
from dsl.source import Source

VALUE_TYPES: Final[tuple[ValueType, ...]] = get_args(ValueType)
NAMED: Final = "trait, segment or feature"
"""What shares one set of names; the traits of features belong to it."""

_Word = TypeVar("_Word", bound=str)


@dataclass(slots=True)
class Reading:
    """What has been read so far, from all files; `places` knows who took a name first."""

    found: list[Diagnostic] = field(default_factory=list)
    sources: dict[tuple[str, ...], Source] = field(default_factory=dict)
    places: dict[tuple[str, str], str] = field(default_factory=dict)
    events: list[EventSchema] = field(default_factory=list)
    attributes: dict[str, ValueType] = field(default_factory=dict)
    traits: list[Trait] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)
    flags: list[Flag] = field(default_factory=list)
    exports: list[Export] = field(default_factory=list)
    features: list[Feature] = field(default_factory=list)
    pipelines: list[Pipeline] = field(default_factory=list)

    def catalog(self) -> Catalog:
        """All of it, in the order in which it was read."""
        return Catalog(
            events=tuple(self.events),
            attributes=self.attributes,
            traits=tuple(self.traits),
            segments=tuple(self.segments),
            flags=tuple(self.flags),
            exports=tuple(self.exports),
            features=tuple(self.features),
            pipelines=tuple(self.pipelines),
        )


@dataclass(frozen=True, slots=True)
class ValueReader:
    """Reads values of one file; gives None for what is not as it should be, and reports it."""

    file: YamlFile
    into: Reading

    def expression(self, node: Node, what: str, *key: str) -> str | None:
        """The text of an expression; notes its place under `key`."""
        text = self.file.text(node, what)
        if text is None or not isinstance(node, ScalarNode):
            return None
        source = self.file.expression(node, what)
        self.into.sources.setdefault(key, source)
        return source.text

    def optional(self, fields: Mapping[str, Field], name: str) -> str:
        """The text of a field; empty when nothing is written there."""
        if name not in fields or self.file.is_null(fields[name][1]):
            return ""
        return self.file.text(fields[name][1], f"`{name}`") or ""

    def types(self, node: Node, what: str, unique: bool = False, event: str | None = None) -> dict[str, ValueType]:
        """Types by name; `unique` names may stand in one file only.

        Args:
            event: whose properties they are: notes the place of each under `("event", event, name)`.
        """
        found: dict[str, ValueType] = {}
        for name, (key_node, value) in (self.file.fields(node, what, optional=None) or {}).items():
            value_type = self.word("type", value, VALUE_TYPES)
            if value_type is not None and (not unique or self.is_new("attribute", name, key_node)):
                found[name] = value_type
            if event is not None and isinstance(value, ScalarNode):
                self.into.sources.setdefault(("event", event, name), self.file.expression(value, f"event `{event}`"))
        return found

    def word(self, what: str, node: Node, known: tuple[_Word, ...]) -> _Word | None:
        """One of the known words; reports any other."""
        written = self.file.text(node, f"a {what}")
        if written is None or written in known:
            return next((word for word in known if word == written), None)
        best = nearest(written, known)
        advice = [f"the nearest {what} is `{best}`"] if best else []
        listed = f"one of {', '.join(f'`{word}`' for word in known)}"
        self.file.report("bad-definition", f"there is no {what} `{written[:60]}`", node, [*advice, listed], listed)
        return None

    def key(self, node: Node) -> str | None:
        """The key of a trait or segment."""
        key = self.label(NAMED, node, KEY, KEY_RULE)
        if key not in TAKEN:
            return key
        self.file.report("bad-definition", f"`{key}` is a word of the language", node, ("choose another key",))
        return None

    def label(self, what: str, node: Node, pattern: re.Pattern[str], rule: str) -> str | None:
        """A name that fits its pattern and is new among all `what`."""
        name = self.file.text(node, f"the name of a {what}")
        if name is None:
            return None
        if not pattern.fullmatch(name):
            message = f"`{name[:60]}` is no {what} name"
            self.file.report("bad-definition", message, node, (f"a name is {rule}",))
            return None
        return name if self.is_new(what, name, node) else None

    def is_new(self, what: str, name: str, node: Node) -> bool:
        """Whether nobody has the name yet among all `what`; takes it, or reports who has it."""
        if (what, name) not in self.into.places:
            place = self.file.source.position(node.start_mark.index)
            self.into.places[what, name] = f"{self.file.source.name}:{place.line}:{place.column}"
            return True
        first = self.into.places[what, name]
        self.file.report("duplicate-name", f"the {what} `{name}` is defined twice", node, (f"the first is at {first}",))
        return False

    def report(self, mistakes: Iterable[Mistake], node: Node, fields: Mapping[str, Field]) -> None:
        """Reports what is wrong with the document that `node` holds, each mistake at its field."""
        for mistake in mistakes:
            key, value = fields.get(mistake.field or "", (node, node))
            place = key if mistake.at == "key" else value
            if mistake.item is not None and isinstance(value, SequenceNode):
                place = value.value[mistake.item]
            self.file.report("bad-definition", mistake.message, place, mistake.help, mistake.expected)


def called(what: str, name: str | None) -> str:
    """How people call a definition that may have lost its name.

    >>> called("trait", "spend"), called("trait", None)
    ('trait `spend`', 'the trait')
    """
    return f"{what} `{name}`" if name is not None else f"the {what}"
