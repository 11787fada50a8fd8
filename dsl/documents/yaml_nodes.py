"""YAML read as nodes that know their place, so that whatever is wrong is shown where it stands."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import isfinite

import yaml
from yaml.composer import ComposerError
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from dsl.diagnostics import Code, Diagnostic
from dsl.nearest import nearest
from dsl.source import Position, Source, Span

_JSON_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_NULLS = ("", "~", "null", "Null", "NULL")
_LONGEST_NUMBER = 300
_KINDS = {MappingNode: "a mapping", SequenceNode: "a list", ScalarNode: "one value"}

Field = tuple[Node, Node]
"""A key of a mapping and its value."""


class _Loader(yaml.SafeLoader):
    """Composes nodes; refuses aliases, by which a short text can stand for an endless one."""

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        if self.check_event(yaml.AliasEvent):
            raise ComposerError(None, None, "aliases are not read", self.peek_event().start_mark)  # type: ignore[no-untyped-call]
        return super().compose_node(parent, index)


@dataclass(frozen=True, slots=True)
class YamlFile:
    """One file; its readers give None for what is not as it should be, and report it.

    Attributes:
        source: the whole text under the name that people see.
        found: what was wrong, in the order in which it was met.
    """

    source: Source
    found: list[Diagnostic] = field(default_factory=list)
    _lines: tuple[str, ...] = field(init=False, repr=False, default=())

    def __post_init__(self) -> None:
        object.__setattr__(self, "_lines", tuple(self.source.text.split("\n")))

    def compose(self) -> Node | None:
        """The root; None when the file is empty or no YAML."""
        try:
            root: Node | None = yaml.compose(self.source.text, Loader=_Loader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            advice = "an expression that holds `: `, ` #` or starts with a quote, `!`, `[` stands below a `|`"
            self._not_yaml(error.problem or "a mistake", mark.index if mark else 0, advice)
        except yaml.reader.ReaderError as error:
            self._not_yaml(f"U+{int(error.character):04X} may not stand in it", int(error.position))
        except RecursionError:
            self._not_yaml("it nests too deeply", 0)
        else:
            return root
        return None

    def report(self, code: Code, message: str, node: Node, advice: Sequence[str] = (), expected: str = "") -> None:
        """Adds an error at a node; only the first line of it is marked."""
        span = Span(node.start_mark.index, max(node.end_mark.index, node.start_mark.index))
        self.found.append(Diagnostic(code, message, span, self.source, expected=expected, help=tuple(advice)))

    def fields(
        self, node: Node, what: str, required: Sequence[str] = (), optional: Sequence[str] | None = ()
    ) -> dict[str, Field] | None:
        """Values of a mapping by key.

        Args:
            what: how people call it, such as `a trait`.
            optional: keys that may be there besides; None allows any.
        """
        pairs = self._pairs(node, what)
        if pairs is None:
            return None
        known = None if optional is None else (*required, *optional)
        misspelt = [
            self._unknown_field(key, key_node, what, known)
            for key, (key_node, _) in pairs.items()
            if known is not None and key not in known
        ]
        missing = [name for name in required if name not in pairs or self.is_null(pairs[name][1])]
        for name in missing:
            if name not in misspelt:
                place = pairs[name][0] if name in pairs else node
                self.report("bad-definition", f"{what} needs `{name}`", place, (f"add `{name}: …`",), expected=name)
        return None if missing else pairs

    def items(self, node: Node, what: str) -> list[Node]:
        """The nodes of a list; none when it is no list."""
        if isinstance(node, SequenceNode):
            return list(node.value)
        if not self.is_null(node):
            self._wrong_kind(node, what, "a list")
        return []

    def text(self, node: Node, what: str) -> str | None:
        """A scalar as it is written: `on`, `5` and `true` are text like any other."""
        if not isinstance(node, ScalarNode):
            self._wrong_kind(node, what, "text")
            return None
        if node.tag.startswith("!"):
            advice = "YAML reads a leading `!` as a tag: put the whole in quotes, or below a `|`"
            self.report("bad-definition", f"{what} starts with `{node.tag}`, outside quotes", node, (advice,))
            return None
        value: str = node.value
        return value

    def boolean(self, node: Node, what: str) -> bool | None:
        """`true` or `false`, unquoted."""
        if isinstance(node, ScalarNode) and node.style is None and node.value in _BOOLEANS:
            return _BOOLEANS[node.value]
        self._wrong_kind(node, what, "`true` or `false`")
        return None

    def json(self, node: Node, fraction: Callable[[str], object] = float) -> object:
        """Any JSON value; unquoted, only `true`, `false`, `null` and numbers are no strings.

        Args:
            fraction: reads numbers with a decimal point or an exponent.
        """
        if isinstance(node, MappingNode):
            pairs = self._pairs(node, "the mapping") or {}
            return {key: self.json(value, fraction) for key, (_, value) in pairs.items()}
        if isinstance(node, SequenceNode):
            return [self.json(item, fraction) for item in node.value]
        plain = isinstance(node, ScalarNode) and node.style is None
        return plain_value(node.value, fraction) if plain else node.value

    def is_null(self, node: Node) -> bool:
        """Whether nothing is written there."""
        is_plain = isinstance(node, ScalarNode) and node.style is None and not node.tag.startswith("!")
        return is_plain and node.value in _NULLS

    def expression(self, node: ScalarNode, what: str) -> Source:
        """The scalar's text with the place of each of its lines in the file.

        A text that YAML put together from several lines, or that holds escapes, stands by itself: `file (what)`.
        """
        block = node.style in ("|", ">")
        value = node.value.rstrip() if block else node.value
        origins = self._block_origins(node, value, self._lines) if block else self._inline_origins(node)
        if origins:
            return Source(value, self.source.name, self._lines, origins)
        return Source(value, f"{self.source.name} ({what})")

    def _inline_origins(self, node: ScalarNode) -> tuple[Position, ...]:
        start = node.start_mark.index + (node.style is not None)
        same = self.source.text[start : start + len(node.value)] == node.value and "\n" not in node.value
        return (self.source.position(start),) if same else ()

    def _block_origins(self, node: ScalarNode, value: str, lines: tuple[str, ...]) -> tuple[Position, ...]:
        header = self.source.position(node.start_mark.index).line
        origins = []
        for number, line in enumerate(value.split("\n"), header + 1):
            written = lines[number - 1] if number <= len(lines) else ""
            indent = written.removesuffix(line) if line else ""
            if not written.endswith(line) or indent.strip(" "):
                return ()
            origins.append(Position(number, len(indent) + 1))
        return tuple(origins)

    def _pairs(self, node: Node, what: str) -> dict[str, Field] | None:
        if not isinstance(node, MappingNode):
            self._wrong_kind(node, what, "a mapping")
            return None
        pairs: dict[str, Field] = {}
        for key_node, value in node.value:
            key = self.text(key_node, "a field's name")
            if key in pairs:
                self.report("duplicate-name", f"`{key}` stands twice in {what}", key_node, ("keep one of them",))
            elif key is not None:
                pairs[key] = (key_node, value)
        return pairs

    def _unknown_field(self, key: str, node: Node, what: str, known: Sequence[str]) -> str | None:
        """Reports a field; the one that was probably meant."""
        best = nearest(key, known)
        advice = f"the nearest field is `{best}`" if best else f"its fields are {_listed(known)}"
        self.report("bad-definition", f"{what} has no field `{key}`", node, (advice,))
        return best

    def _wrong_kind(self, node: Node, what: str, expected: str) -> None:
        found = "nothing" if self.is_null(node) else _KINDS[type(node)]
        if isinstance(node, ScalarNode) and found != "nothing":
            found = f"`{node.value[:40]}`"
        self.report("bad-definition", f"{what} should be {expected}, found {found}", node, (), expected)

    def _not_yaml(self, problem: str, index: int, *advice: str) -> None:
        message = f"the file is no YAML: {problem}"
        self.found.append(Diagnostic("bad-definition", message, Span(index, index), self.source, help=advice))


def plain_value(text: str, fraction: Callable[[str], object] = float) -> object:
    """The JSON value of an unquoted scalar; whatever is no JSON is the text itself.

    Args:
        fraction: reads numbers with a decimal point or an exponent.

    >>> [plain_value(text) for text in ("1.50", "on", "true", "~", "0x1F", "1e999")]
    [1.5, 'on', True, None, '0x1F', '1e999']
    """
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    number = _JSON_NUMBER.fullmatch(text)
    if number is None or len(text) > _LONGEST_NUMBER:
        return text
    if not number[1] and not number[2]:
        return int(text)
    return fraction(text) if isfinite(float(text)) else text


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
