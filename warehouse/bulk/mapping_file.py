"""A mapping file: YAML -> mapping, read strictly; whatever is wrong is shown where it stands."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from dsl.clock import Zone
from dsl.diagnostics import DefinitionError, Diagnostic
from dsl.documents.yaml_nodes import Field, YamlFile
from dsl.identifiers import Kind
from dsl.nearest import nearest
from dsl.source import Source, Span
from warehouse.bulk.mapping import (
    EVENT_KINDS,
    FORMATS,
    GIVEN,
    IDENTIFIERS,
    UNITS,
    Cell,
    EventId,
    Given,
    LoadMapping,
    Properties,
    Stamp,
)

_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,60}")
_REQUIRED: Final = ("name", "identifiers", "ts", "event_id")
_OPTIONAL: Final = (
    "kind",
    "event",
    "properties",
    "attributes",
    "previous_id",
    "types",
    "leave_out",
    "format",
    "separator",
)
_Word = TypeVar("_Word", bound=str)
_Fields = dict[str, Field]


def load_mapping(path: Path) -> LoadMapping:
    """The mapping in a file.

    Raises:
        DefinitionError: with everything that is wrong with it.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        message = f"the mapping cannot be read: {reason}"
        raise DefinitionError([Diagnostic("bad-definition", message, Span(0, 0), Source("", str(path)))]) from None
    return read_mapping(Source(text, str(path)))


def read_mapping(source: Source) -> LoadMapping:
    """The mapping that a text holds.

    Raises:
        DefinitionError: with everything that is wrong with it.
    """
    reader = _Reader(YamlFile(source))
    mapping = reader.read()
    if mapping is None or reader.file.found:
        raise DefinitionError(sorted(reader.file.found, key=lambda found: found.span.start))
    return mapping


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads one file; gives None for what is not as it should be, and reports it."""

    file: YamlFile

    def read(self) -> LoadMapping | None:
        root = self.file.compose()
        if root is None:
            if not self.file.found:
                self.file.found.append(self._empty())
            return None
        fields = self.file.fields(root, "a mapping", _REQUIRED, _OPTIONAL)
        if fields is None:
            return None
        name, identifiers = self._name(fields["name"][1]), self._identifiers(fields["identifiers"][1])
        ts, event_id = self._stamp(fields["ts"][1]), self._event_id(fields["event_id"][1])
        kind, event = self._kind(fields), self._optional_cell(fields, "event")
        self._needs_event(root, fields, kind)
        properties = self._properties(fields, "properties") or Properties(others=True)
        attributes = self._properties(fields, "attributes")
        previous_id, types = self._optional_cell(fields, "previous_id"), self._types(fields)
        left, separator = self._columns(fields, "leave_out"), self._separator(fields)
        format_ = self._word("format", fields["format"][1], FORMATS) if "format" in fields else None
        if name is None or ts is None or event_id is None or not identifiers or kind is None:
            return None
        return LoadMapping(
            name, identifiers, ts, event_id, event, kind, properties, attributes, previous_id, types,
            frozenset(left), format_, separator,
        )  # fmt: skip

    def _empty(self) -> Diagnostic:
        needed = ", ".join(f"`{name}`" for name in _REQUIRED)
        return Diagnostic(
            "bad-definition", "the mapping is empty", Span(0, 0), self.file.source, help=(f"it needs {needed}",)
        )

    def _name(self, node: Node) -> str | None:
        name = self.file.text(node, "the mapping's `name`")
        if name is not None and not _NAME.fullmatch(name):
            advice = ("a name is 1 to 60 of letters, digits, `_`, `.` and `-`",)
            self.file.report("bad-definition", f"`{name[:60]}` is no name of a mapping", node, advice)
            return None
        return name

    def _identifiers(self, node: Node) -> dict[Kind, Cell]:
        fields = self.file.fields(node, "`identifiers`", (), IDENTIFIERS)
        found: dict[Kind, Cell] = {}
        for kind in IDENTIFIERS:
            if fields and kind in fields:
                cell = self._cell(fields[kind][1], f"`identifiers.{kind}`")
                if cell is not None:
                    found[kind] = cell
        if fields is not None and not fields:
            advice = ("add `user: column`, or another kind: " + ", ".join(f"`{kind}`" for kind in IDENTIFIERS[1:]),)
            self.file.report("bad-definition", "`identifiers` names nobody", node, advice)
        return found

    def _cell(self, node: Node, what: str) -> Cell | None:
        """A column by its name, or a mapping that says more."""
        if isinstance(node, ScalarNode):
            column = self._column(node, what)
            return None if column is None else Cell(column)
        fields = self.file.fields(node, what, (), ("column", "value", "prefix"))
        if fields is None:
            return None
        if ("column" in fields) == ("value" in fields):
            advice = ("`column` takes what a column holds, `value` is the same for all rows",)
            self.file.report("bad-definition", f"{what} needs either `column` or `value`", node, advice)
            return None
        prefix = self.file.text(fields["prefix"][1], f"the prefix of {what}") if "prefix" in fields else ""
        if "value" in fields:
            value = self.file.text(fields["value"][1], f"the value of {what}")
            return None if value is None or prefix is None else Cell(None, value, prefix)
        column = self._column(fields["column"][1], what)
        return None if column is None or prefix is None else Cell(column, "", prefix)

    def _optional_cell(self, fields: _Fields, name: str) -> Cell | None:
        return self._cell(fields[name][1], f"`{name}`") if name in fields else None

    def _column(self, node: Node, what: str) -> str | None:
        column = self.file.text(node, f"the column of {what}")
        if column == "":
            self.file.report("bad-definition", f"{what} names no column", node, ("write the name of a column",))
            return None
        return column

    def _kind(self, fields: _Fields) -> Cell | None:
        """One of the kinds, or the column that says which."""
        if "kind" not in fields:
            return Cell(value="track")
        node = fields["kind"][1]
        if isinstance(node, ScalarNode):
            word = self._word("kind", node, EVENT_KINDS, "a column that says the kind is `kind: {column: …}`")
            return None if word is None else Cell(value=word)
        cell = self._cell(node, "`kind`")
        if cell is not None and cell.column is None and cell.value not in EVENT_KINDS:
            self._unknown("kind", cell.value, node, EVENT_KINDS)
            return None
        return cell

    def _needs_event(self, root: Node, fields: _Fields, kind: Cell | None) -> None:
        tracks = kind is not None and (kind.column is not None or kind.value == "track")
        if tracks and "event" not in fields:
            advice = ("add `event: column`, or `event: {value: purchase}` where all rows are one event",)
            self.file.report("bad-definition", "a mapping of `track` events needs `event`", root, advice, "event")

    def _stamp(self, node: Node) -> Stamp | None:
        if isinstance(node, ScalarNode):
            column = self._column(node, "`ts`")
            return None if column is None else Stamp(column)
        fields = self.file.fields(node, "`ts`", ("column",), ("format", "unit", "zone"))
        if fields is None:
            return None
        column = self._column(fields["column"][1], "`ts`")
        written = self.file.text(fields["format"][1], "`ts.format`") if "format" in fields else ""
        unit = self._word("unit", fields["unit"][1], UNITS) if "unit" in fields else None
        if unit is not None and (written or "zone" in fields):
            advice = ("numbers since 1970 are in UTC: they have neither `format` nor `zone`",)
            self.file.report("bad-definition", "`ts` has a `unit`, and what is no number", fields["unit"][0], advice)
        zone = self._zone(fields["zone"][1]) if "zone" in fields else None
        return None if column is None or written is None else Stamp(column, written, unit, zone)

    def _zone(self, node: Node) -> Zone | None:
        name = self.file.text(node, "`ts.zone`")
        try:
            return None if name is None else Zone(name)
        except ValueError as error:
            self.file.report("bad-definition", str(error), node, (), "the name of a time zone")
            return None

    def _event_id(self, node: Node) -> EventId | None:
        if isinstance(node, MappingNode) and any(key.value == "hash" for key, _ in node.value):
            fields = self.file.fields(node, "`event_id`", ("hash",))
            hashed = self._columns(fields, "hash") if fields else []
            if fields and not hashed:
                advice = ("name the columns that tell an event from every other",)
                self.file.report("bad-definition", "`event_id.hash` has no column", fields["hash"][0], advice)
            return EventId(hashed=tuple(hashed)) if hashed else None
        cell = self._cell(node, "`event_id`")
        if cell is not None and cell.column is None:
            advice = ("events with one id are one event: take a column, or `{hash: [columns]}`",)
            self.file.report("bad-definition", "`event_id` is the same for all rows", node, advice)
            return None
        return None if cell is None else EventId(cell)

    def _properties(self, fields: _Fields, name: str) -> Properties | None:
        if name not in fields:
            return None
        node = fields[name][1]
        if isinstance(node, ScalarNode):
            word = self._word("choice", node, ("all", "none"), f"`{name}` is also a list, or a mapping, of columns")
            return Properties(others=word == "all")
        if isinstance(node, SequenceNode):
            return Properties({column: column for column in self._columns(fields, name)})
        chosen = self.file.fields(node, f"`{name}`", optional=None) or {}
        if set(chosen) == {"all_of"}:
            return Properties(all_of=self._column(chosen["all_of"][1], f"`{name}.all_of`") or "")
        columns = {key: self._column(value, f"`{name}.{key}`") for key, (_, value) in chosen.items()}
        return Properties({key: column for key, column in columns.items() if column is not None})

    def _columns(self, fields: _Fields, name: str) -> list[str]:
        if name not in fields:
            return []
        nodes = self.file.items(fields[name][1], f"`{name}`")
        return [column for node in nodes if (column := self._column(node, f"`{name}`")) is not None]

    def _types(self, fields: _Fields) -> dict[str, Given]:
        if "types" not in fields:
            return {}
        pairs = self.file.fields(fields["types"][1], "`types`", optional=None) or {}
        words = {column: self._word("type", node, GIVEN) for column, (_, node) in pairs.items()}
        return {column: word for column, word in words.items() if word is not None}

    def _separator(self, fields: _Fields) -> str:
        if "separator" not in fields:
            return ","
        written = self.file.text(fields["separator"][1], "`separator`")
        if written is not None and (len(written.encode()) != 1 or written in '"\n\r'):
            advice = ('a tab is `"\\t"`',)
            self.file.report("bad-definition", "`separator` should be one character", fields["separator"][1], advice)
            return ","
        return written or ","

    def _word(self, what: str, node: Node, known: tuple[_Word, ...], *advice: str) -> _Word | None:
        written = self.file.text(node, f"the {what}")
        if written is None or written in known:
            return next((word for word in known if word == written), None)
        self._unknown(what, written, node, known, *advice)
        return None

    def _unknown(self, what: str, written: str, node: Node, known: tuple[str, ...], *advice: str) -> None:
        best = nearest(written, known)
        listed = f"one of {', '.join(f'`{word}`' for word in known)}"
        near = [f"the nearest {what} is `{best}`"] if best else []
        self.file.report(
            "bad-definition", f"there is no {what} `{written[:60]}`", node, [*near, listed, *advice], listed
        )
