"""Events against the schema of their pipeline: compiled once, asked for each event."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, Literal

from dsl.catalog import Catalog, FieldType, Pipeline, PipelineEvent, PipelineStatus
from dsl.clock import Zone
from dsl.columns import instant_of
from dsl.nearest import nearest
from dsl.types import ARTICLE

ViolationKind = Literal[
    "pipeline_inactive",
    "unknown_event",
    "event_disabled",
    "missing_field",
    "wrong_type",
    "invalid_timestamp",
    "undeclared_field",
]
MOST_UNDECLARED: Final = 20
"""Undeclared fields of one event that are told; what an event brings along is without bound."""

_WORDS: Final[Mapping[type, FieldType]] = {
    str: "string",
    int: "number",
    Decimal: "number",
    float: "number",
    bool: "boolean",
    dict: "object",
    list: "list",
    tuple: "list",
}
_ARTICLES: Final = {**ARTICLE, "object": "an object"}
_LONGEST_SHOWN: Final = 60


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing in which an event is not as its pipeline says.

    Attributes:
        path: of the field, its steps joined by dots; empty for the event as a whole.
        expected, found: types of values, a status, or the event's name; empty where there is nothing to compare.
        nearest: the name that was probably meant by an unknown one.
    """

    kind: ViolationKind
    path: str = ""
    expected: str = ""
    found: str = ""
    nearest: str | None = None

    @property
    def rejects(self) -> bool:
        """Whether the event is refused for it; an undeclared field is only counted."""
        return self.kind != "undeclared_field"

    @property
    def text(self) -> str:
        """One sentence for people, without a full stop.

        >>> Violation("wrong_type", "amount", "number", "string").text
        '`amount` is a string: expected a number'
        """
        match self.kind:
            case "pipeline_inactive":
                return f"the pipeline is {self.found}: only an active one takes events"
            case "unknown_event":
                meant = f"; the nearest is `{self.nearest}`" if self.nearest else ""
                return f"the pipeline has no event `{self.found[:_LONGEST_SHOWN]}`{meant}"
            case "event_disabled":
                return f"the event `{self.found}` is disabled in this pipeline"
            case "missing_field":
                return f"`{self.path}` is missing: expected {_ARTICLES[self.expected]}"
            case "invalid_timestamp":
                return f"`{self.path}` is no instant: write it like `2018-01-01T04:01:21Z`"
            case "undeclared_field":
                return f"`{self.path[:_LONGEST_SHOWN]}` is not declared"
        return f"`{self.path}` is {_ARTICLES.get(self.found, self.found)}: expected {_ARTICLES[self.expected]}"


@dataclass(slots=True)
class _Node:
    """A declared field, or an object that is only declared by what lies in it.

    Attributes:
        below: declared fields by name; empty: whatever lies there is as it should be.
    """

    type: FieldType
    path: str
    below: "dict[str, _Node]" = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Event:
    enabled: bool
    fields: dict[str, _Node]
    required: tuple[tuple[tuple[str, ...], _Node], ...]


@dataclass(frozen=True, slots=True)
class CompiledPipeline:
    """The schema of one pipeline, ready to be asked; it never changes."""

    key: str
    status: PipelineStatus
    zone: Zone
    _events: Mapping[str, _Event]

    def violations(self, name: str, properties: Mapping[str, object]) -> list[Violation]:
        """Everything in which an event is not as the pipeline says; what refuses it comes first.

        JSON null is a missing value. A number that was out of range is one too, as everywhere.

        Args:
            name: of the event.
            properties: JSON values; numbers as `int` (micro-units or not, here it is the same) or `Decimal`.
        """
        if self.status != "active":
            return [Violation("pipeline_inactive", expected="active", found=self.status)]
        event = self._events.get(name)
        if event is None:
            return [Violation("unknown_event", found=name, nearest=nearest(name, self._events))]
        if not event.enabled:
            return [Violation("event_disabled", found=name)]
        found = [
            Violation("missing_field", node.path, node.type)
            for steps, node in event.required
            if _is_missing(steps, properties)
        ]
        undeclared: list[Violation] = []
        self._compare(event.fields, properties, "", found, undeclared)
        return found + undeclared if undeclared else found

    def _compare(
        self,
        fields: Mapping[str, _Node],
        values: Mapping[str, object],
        above: str,
        found: list[Violation],
        undeclared: list[Violation],
    ) -> None:
        for name, value in values.items():
            node = fields.get(name)
            if node is None:
                if len(undeclared) < MOST_UNDECLARED:
                    undeclared.append(Violation("undeclared_field", f"{above}{name}", found=_word(value)))
                continue
            if value is None:
                continue
            word = _word(value)
            if node.type == "timestamp":
                if not isinstance(value, str):
                    found.append(Violation("wrong_type", node.path, "timestamp", word))
                elif instant_of(value, self.zone) is None:
                    found.append(Violation("invalid_timestamp", node.path, "timestamp", word))
            elif word != node.type:
                found.append(Violation("wrong_type", node.path, node.type, word))
            elif node.below and isinstance(value, dict):
                self._compare(node.below, value, f"{node.path}.", found, undeclared)


def compile_pipelines(catalog: Catalog) -> Mapping[str, CompiledPipeline]:
    """The pipelines of a catalog by key. A catalog that passed its checks has each field once."""
    zone = Zone(catalog.timezone)
    return {pipeline.key: _compiled(pipeline, zone) for pipeline in catalog.pipelines}


def _compiled(pipeline: Pipeline, zone: Zone) -> CompiledPipeline:
    events = {event.name: _compiled_event(event) for event in pipeline.events}
    return CompiledPipeline(pipeline.key, pipeline.status, zone, events)


def _compiled_event(event: PipelineEvent) -> _Event:
    top = _Node("object", "")
    required = []
    # What lies above comes first: an object that is declared is not one that is only implied.
    for declared in sorted(event.fields, key=lambda its: its.name.count(".")):
        steps = tuple(declared.name.split("."))
        node = top
        for level, step in enumerate(steps, 1):
            last = level == len(steps)
            path, value_type = ".".join(steps[:level]), declared.type if last else "object"
            node = node.below.setdefault(step, _Node(value_type, path))
        if declared.required:
            required.append((steps, node))
    return _Event(event.enabled, top.below, tuple(required))


def _is_missing(steps: tuple[str, ...], properties: Mapping[str, object]) -> bool:
    """Whether nothing is there; false below what is no object, which is told of instead."""
    value = properties.get(steps[0])
    for step in steps[1:]:
        if not isinstance(value, dict):
            return value is None
        value = value.get(step)
    return value is None


def _word(value: object) -> str:
    """The type of a JSON value in the words of a schema."""
    return "null" if value is None else _WORDS.get(type(value), "no value of JSON")
