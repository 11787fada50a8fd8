"""One file of definitions: YAML nodes -> frozen definitions, and the place of every expression."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal, TypeVar

from yaml.nodes import Node, ScalarNode, SequenceNode

from dsl.catalog import EventSchema, Export, Feature, Segment, Trait
from dsl.diagnostics import DefinitionError
from dsl.documents.audience_rules import read_rules, rule_mistakes
from dsl.documents.flags import FlagReader
from dsl.documents.pipelines import PipelineReader
from dsl.documents.values import NAMED, VALUE_TYPES, ValueReader, called
from dsl.documents.yaml_nodes import Field
from dsl.features import expand, feature_mistakes, read_feature
from dsl.source import Source

EXPORT_FORMATS: Final[tuple[Literal["csv", "parquet"], ...]] = ("csv", "parquet")

_FILE_STEM = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_SEGMENT_FIELDS: Final = ("expression", "rules", "description", "owner")
_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class FileReader(ValueReader):
    """Reads one file into what all files hold together."""

    def read(self) -> None:
        """Reads the whole file; a definition with a mistake is reported and left out."""
        pipelines, flags = PipelineReader(self.file, self.into), FlagReader(self.file, self.into)
        sections: dict[str, Callable[[Node], None]] = {
            "events": lambda node: self._every(node, "`events`", self._event, self.into.events),
            "pipelines": lambda node: self._every(node, "`pipelines`", pipelines.pipeline, self.into.pipelines),
            "attributes": lambda node: self.into.attributes.update(self.types(node, "`attributes`", unique=True)),
            "traits": lambda node: self._every(node, "`traits`", self._trait, self.into.traits),
            "features": lambda node: self._every(node, "`features`", self._feature, self.into.features),
            "segments": lambda node: self._every(node, "`segments`", self._segment, self.into.segments),
            "flags": lambda node: self._every(node, "`flags`", flags.flag, self.into.flags),
            "exports": lambda node: self._every(node, "`exports`", self._export, self.into.exports),
        }
        root = self.file.compose()
        if root is not None and not self.file.is_null(root):
            fields = self.file.fields(root, "a file of definitions", optional=tuple(sections)) or {}
            for name, read in sections.items():
                if name in fields:
                    read(fields[name][1])
        self.into.found.extend(sorted(self.file.found, key=lambda diagnostic: diagnostic.span.start))

    def _every(self, node: Node, what: str, read: Callable[[Node], _Item | None], into: list[_Item]) -> None:
        into.extend(item for item in map(read, self.file.items(node, what)) if item is not None)

    # -- definitions -----------------------------------------------------------------------------------------

    def _event(self, node: Node) -> EventSchema | None:
        fields = self.file.fields(node, "an event", ("name",), ("description", "properties"))
        if fields is None:
            return None
        name = self.file.text(fields["name"][1], "an event's `name`")
        properties = (
            self.types(fields["properties"][1], "`properties`", event=str(name)) if "properties" in fields else {}
        )
        if name is None or not self.is_new("event", name, fields["name"][1]):
            return None
        return EventSchema(name, properties, self.optional(fields, "description"))

    def _trait(self, node: Node) -> Trait | None:
        fields = self.file.fields(node, "a trait", ("key", "expression"), ("description", "type", "owner"))
        if fields is None:
            return None
        key = self.key(fields["key"][1])
        text = self.expression(fields["expression"][1], called("trait", key), "trait", str(key))
        value_type = self.word("type", fields["type"][1], VALUE_TYPES) if "type" in fields else None
        if key is None or text is None:
            return None
        return Trait(key, text, self.optional(fields, "description"), value_type, self.optional(fields, "owner"))

    def _feature(self, node: Node) -> Feature | None:
        fields = self.file.fields(node, "a feature", optional=None)
        if fields is None:
            return None
        document = {name: self._written(name, value) for name, (_, value) in fields.items()}
        mistakes = feature_mistakes(document)
        self.report(mistakes, node, fields)
        if mistakes:
            return None
        feature = read_feature(document)
        name = fields["key"] if "key" in fields else fields["name"]
        return feature if self.is_new(NAMED, feature.key, name[1]) and self._has_new_traits(feature, node) else None

    def _written(self, name: str, node: Node) -> object:
        """A field of a feature as a JSON value: names and windows are text, however they look."""
        if self.file.is_null(node) or name == "enabled":
            return self.file.json(node)
        if isinstance(node, SequenceNode):
            return [self.file.text(item, f"an item of `{name}`") for item in node.value]
        return self.file.text(node, f"`{name}`") if isinstance(node, ScalarNode) else self.file.json(node)

    def _has_new_traits(self, feature: Feature, node: Node) -> bool:
        """Takes the names of a feature's traits, and notes whose their expressions are."""
        whose = f"{self.file.source.name} (feature `{feature.key}`)"
        taken = False
        for trait in expand(feature):
            self.into.sources.setdefault(("trait", trait.key), Source(trait.expression, whose))
            taken |= not self.is_new(NAMED, trait.key, node)
        return not taken

    def _segment(self, node: Node) -> Segment | None:
        fields = self.file.fields(node, "a segment", ("key",), _SEGMENT_FIELDS)
        if fields is None:
            return None
        key = self.key(fields["key"][1])
        text = self._condition(node, fields, key)
        if key is None or text is None:
            return None
        return Segment(key, text, self.optional(fields, "description"), self.optional(fields, "owner"))

    def _condition(self, node: Node, fields: Mapping[str, Field], key: str | None) -> str | None:
        """The expression of a segment, as written or as its rules translate."""
        given = [name for name in ("expression", "rules") if name in fields and not self.file.is_null(fields[name][1])]
        if not given and set(fields) <= {"key", *_SEGMENT_FIELDS}:
            advice = ("add `expression: …`",)
            self.file.report("bad-definition", "a segment needs `expression` or `rules`", node, advice, "expression")
        elif len(given) == 2:
            advice = ("`rules` are translated into an expression",)
            place = fields["rules"][0]
            self.file.report("bad-definition", "a segment has either `expression` or `rules`", place, advice)
        elif given == ["expression"]:
            return self.expression(fields["expression"][1], called("segment", key), "segment", str(key))
        elif given == ["rules"]:
            return self._translated(fields["rules"][1], called("segment", key), "segment", str(key))
        return None

    def _translated(self, node: Node, what: str, *key: str) -> str | None:
        """The expression that rules stand for; its place under `key` is the file as a whole."""
        fields = self.file.fields(node, "`rules`", optional=None)
        if fields is None:
            return None
        rules = {name: self.file.json(value, Decimal) for name, (_, value) in fields.items()}
        mistakes = rule_mistakes(rules)
        self.report(mistakes, node, fields)
        if mistakes:
            return None
        try:
            text = read_rules(rules).expression
        except DefinitionError as error:
            for diagnostic in error.diagnostics:
                self.file.report(diagnostic.code, diagnostic.message, node, diagnostic.help)
            return None
        self.into.sources.setdefault(key, Source(text, f"{self.file.source.name} ({what})"))
        return text

    def _export(self, node: Node) -> Export | None:
        fields = self.file.fields(node, "an export", ("name", "segment", "format"), ("description",))
        if fields is None:
            return None
        stem = "letters, digits, `_`, `.` and `-`, the first no `.` or `-`"
        name = self.label("export", fields["name"][1], _FILE_STEM, stem)
        segment = self.expression(fields["segment"][1], called("export", name), "export", str(name))
        written = self.word("format", fields["format"][1], EXPORT_FORMATS)
        if name is None or segment is None or written is None:
            return None
        return Export(name, segment, written, self.optional(fields, "description"))
