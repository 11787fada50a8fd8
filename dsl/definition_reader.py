"""One file of definitions: YAML nodes -> frozen definitions, and the place of every expression."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeVar, get_args

from yaml.nodes import Node, ScalarNode

from dsl.catalog import Catalog, EventSchema, Export, Flag, Rule, Segment, Trait, ValueType, Variant
from dsl.diagnostics import Diagnostic
from dsl.nearest import nearest
from dsl.source import Source
from dsl.tokens import RESERVED
from dsl.yaml_nodes import Field, YamlFile

VALUE_TYPES: Final[tuple[ValueType, ...]] = get_args(ValueType)
EXPORT_FORMATS: Final[tuple[Literal["csv", "parquet"], ...]] = ("csv", "parquet")
BUILT_IN_VARIANTS: Final = (Variant("on", True), Variant("off", False))
"""Variants that every flag may name without defining them."""

_KEY = re.compile(r"[a-z][a-z0-9_]*")
_LABEL = re.compile(r"[A-Za-z0-9_.-]+")
_FILE_STEM = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_TAKEN: Final = RESERVED | {"events", "profile", "context", "properties"}
_Word = TypeVar("_Word", bound=str)
_Item = TypeVar("_Item")


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

    def catalog(self) -> Catalog:
        """All of it, in the order in which it was read."""
        return Catalog(
            events=tuple(self.events),
            attributes=self.attributes,
            traits=tuple(self.traits),
            segments=tuple(self.segments),
            flags=tuple(self.flags),
            exports=tuple(self.exports),
        )


@dataclass(frozen=True, slots=True)
class FileReader:
    """Reads one file into what all files hold together."""

    file: YamlFile
    into: Reading

    def read(self) -> None:
        """Reads the whole file; a definition with a mistake is reported and left out."""
        sections: dict[str, Callable[[Node], None]] = {
            "events": lambda node: self._every(node, "`events`", self._event, self.into.events),
            "attributes": lambda node: self.into.attributes.update(self._types(node, "`attributes`", unique=True)),
            "traits": lambda node: self._every(node, "`traits`", self._trait, self.into.traits),
            "segments": lambda node: self._every(node, "`segments`", self._segment, self.into.segments),
            "flags": lambda node: self._every(node, "`flags`", self._flag, self.into.flags),
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
        properties = self._types(fields["properties"][1], "`properties`") if "properties" in fields else {}
        if name is None or not self._is_new("event", name, fields["name"][1]):
            return None
        return EventSchema(name, properties, self._optional(fields, "description"))

    def _trait(self, node: Node) -> Trait | None:
        fields = self.file.fields(node, "a trait", ("key", "expression"), ("description", "type", "owner"))
        if fields is None:
            return None
        key = self._key(fields["key"][1])
        text = self._expression(fields["expression"][1], _called("trait", key), "trait", str(key))
        value_type = self._word("type", fields["type"][1], VALUE_TYPES) if "type" in fields else None
        if key is None or text is None:
            return None
        return Trait(key, text, self._optional(fields, "description"), value_type, self._optional(fields, "owner"))

    def _segment(self, node: Node) -> Segment | None:
        fields = self.file.fields(node, "a segment", ("key", "expression"), ("description", "owner"))
        if fields is None:
            return None
        key = self._key(fields["key"][1])
        text = self._expression(fields["expression"][1], _called("segment", key), "segment", str(key))
        if key is None or text is None:
            return None
        return Segment(key, text, self._optional(fields, "description"), self._optional(fields, "owner"))

    def _flag(self, node: Node) -> Flag | None:
        optional = ("description", "enabled", "rule", "rules", "variants", "default")
        fields = self.file.fields(node, "a flag", ("key",), optional)
        if fields is None:
            return None
        key = self._label("flag", fields["key"][1], _LABEL, "letters, digits, `_`, `.` and `-`")
        enabled = self.file.boolean(fields["enabled"][1], "`enabled`") if "enabled" in fields else True
        variants = self._variants(fields["variants"][1]) if "variants" in fields else ()
        rules = self._rules(fields, key, variants)
        default = self._variant_key(fields["default"][1], variants) if "default" in fields else "off"
        if key is None or enabled is None or default is None:
            return None
        named = [*(rule.variant for rule in rules), default]
        return Flag(
            key, rules, _with_built_in(variants, named), default, enabled, self._optional(fields, "description")
        )

    def _export(self, node: Node) -> Export | None:
        fields = self.file.fields(node, "an export", ("name", "segment", "format"), ("description",))
        if fields is None:
            return None
        stem = "letters, digits, `_`, `.` and `-`, the first no `.` or `-`"
        name = self._label("export", fields["name"][1], _FILE_STEM, stem)
        segment = self._expression(fields["segment"][1], _called("export", name), "export", str(name))
        written = self._word("format", fields["format"][1], EXPORT_FORMATS)
        if name is None or segment is None or written is None:
            return None
        return Export(name, segment, written, self._optional(fields, "description"))

    # -- parts of a flag -------------------------------------------------------------------------------------

    def _variants(self, node: Node) -> tuple[Variant, ...]:
        named = self.file.fields(node, "`variants`", optional=None) or {}
        found = []
        for key, (_, value) in named.items():
            fields = self.file.fields(value, f"variant `{key}`", ("allow",), ("payload",))
            allow = self.file.boolean(fields["allow"][1], "`allow`") if fields else True
            payload = self.file.json(fields["payload"][1]) if fields and "payload" in fields else None
            # A variant with a mistake stays a name, so that the mistake is reported once.
            found.append(Variant(key, bool(allow), payload))
        return tuple(found)

    def _rules(self, fields: Mapping[str, Field], key: str | None, variants: tuple[Variant, ...]) -> tuple[Rule, ...]:
        if ("rule" in fields) == ("rules" in fields):
            advice = ("`rule: …` gives the variant `on`", "`rules: [{when: …, variant: …}]` gives any variant")
            place = fields["rule"][0] if "rule" in fields else fields["key"][1]
            self.file.report("bad-definition", "a flag has either `rule` or `rules`", place, advice)
        if "rule" in fields:
            when = self._expression(fields["rule"][1], _called("flag", key), "flag", str(key), "0")
            return () if when is None else (Rule(when, "on"),)
        nodes = self.file.items(fields["rules"][1], "`rules`") if "rules" in fields else []
        rules = (self._rule(node, key, number, variants) for number, node in enumerate(nodes))
        return tuple(rule for rule in rules if rule is not None)

    def _rule(self, node: Node, key: str | None, number: int, variants: tuple[Variant, ...]) -> Rule | None:
        fields = self.file.fields(node, "a rule", ("when", "variant"))
        if fields is None:
            return None
        what = f"{_called('flag', key)}, rule {number + 1}"
        when = self._expression(fields["when"][1], what, "flag", str(key), str(number))
        variant = self._variant_key(fields["variant"][1], variants)
        return None if when is None or variant is None else Rule(when, variant)

    def _variant_key(self, node: Node, variants: tuple[Variant, ...]) -> str | None:
        known = [variant.key for variant in (*variants, *BUILT_IN_VARIANTS)]
        return self._word("variant", node, tuple(dict.fromkeys(known)))

    # -- values ----------------------------------------------------------------------------------------------

    def _expression(self, node: Node, what: str, *key: str) -> str | None:
        """The text of an expression; notes its place under `key`."""
        text = self.file.text(node, what)
        if text is None or not isinstance(node, ScalarNode):
            return None
        source = self.file.expression(node, what)
        self.into.sources.setdefault(key, source)
        return source.text

    def _optional(self, fields: Mapping[str, Field], name: str) -> str:
        if name not in fields or self.file.is_null(fields[name][1]):
            return ""
        return self.file.text(fields[name][1], f"`{name}`") or ""

    def _types(self, node: Node, what: str, unique: bool = False) -> dict[str, ValueType]:
        """Types by name; `unique` names may stand in one file only."""
        found: dict[str, ValueType] = {}
        for name, (key_node, value) in (self.file.fields(node, what, optional=None) or {}).items():
            value_type = self._word("type", value, VALUE_TYPES)
            if value_type is not None and (not unique or self._is_new("attribute", name, key_node)):
                found[name] = value_type
        return found

    def _word(self, what: str, node: Node, known: tuple[_Word, ...]) -> _Word | None:
        """One of the known words; reports any other."""
        written = self.file.text(node, f"a {what}")
        if written is None or written in known:
            return next((word for word in known if word == written), None)
        best = nearest(written, known)
        advice = [f"the nearest {what} is `{best}`"] if best else []
        listed = f"one of {', '.join(f'`{word}`' for word in known)}"
        self.file.report("bad-definition", f"there is no {what} `{written[:60]}`", node, [*advice, listed], listed)
        return None

    def _key(self, node: Node) -> str | None:
        """The key of a trait or segment: one name over both."""
        rule = "a lower-case letter, then lower-case letters, digits and `_`"
        key = self._label("trait or segment", node, _KEY, rule)
        if key not in _TAKEN:
            return key
        self.file.report("bad-definition", f"`{key}` is a word of the language", node, ("choose another key",))
        return None

    def _label(self, what: str, node: Node, pattern: re.Pattern[str], rule: str) -> str | None:
        """A name that fits its pattern and is new among all `what`."""
        name = self.file.text(node, f"the name of a {what}")
        if name is None:
            return None
        if not pattern.fullmatch(name):
            message = f"`{name[:60]}` is no {what} name"
            self.file.report("bad-definition", message, node, (f"a name is {rule}",))
            return None
        return name if self._is_new(what, name, node) else None

    def _is_new(self, what: str, name: str, node: Node) -> bool:
        if (what, name) not in self.into.places:
            place = self.file.source.position(node.start_mark.index)
            self.into.places[what, name] = f"{self.file.source.name}:{place.line}:{place.column}"
            return True
        first = self.into.places[what, name]
        self.file.report("duplicate-name", f"the {what} `{name}` is defined twice", node, (f"the first is at {first}",))
        return False


def _called(what: str, name: str | None) -> str:
    return f"{what} `{name}`" if name is not None else f"the {what}"


def _with_built_in(variants: tuple[Variant, ...], named: Iterable[str]) -> tuple[Variant, ...]:
    """The variants of a flag: its own, and those built in that it names without defining them."""
    if not variants:
        return BUILT_IN_VARIANTS
    defined, wanted = {variant.key for variant in variants}, set(named)
    return (*variants, *(v for v in BUILT_IN_VARIANTS if v.key in wanted and v.key not in defined))
