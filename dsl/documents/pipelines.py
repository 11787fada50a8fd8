"""Pipelines as they are written down: YAML nodes, or CartNudge's JSON documents, -> frozen definitions; and back."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, get_args

from yaml.nodes import Node, ScalarNode

from dsl.catalog import FieldType, Pipeline, PipelineCategory, PipelineEvent, PipelineField, PipelineStatus
from dsl.diagnostics import DefinitionError
from dsl.documents.values import Reading, ValueReader, called
from dsl.documents.yaml_nodes import Field, YamlFile
from dsl.mistakes import as_json
from dsl.source import Source

FIELD_TYPES: Final[tuple[FieldType, ...]] = get_args(FieldType)
CATEGORIES: Final[tuple[PipelineCategory, ...]] = get_args(PipelineCategory)
STATUSES: Final[tuple[PipelineStatus, ...]] = get_args(PipelineStatus)

_KEY: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_KEY_RULE: Final = "1 to 63 of `a-z`, `0-9`, `_` and `-`, the first a letter or digit: it stands in the route"
_PATH: Final = re.compile(r"[^.]+(\.[^.]+)*")
_THEIRS: Final = ("_id", "project_id", "webhook_secret", "created_at", "updated_at")
"""Fields of a CartNudge document that say nothing about events."""
_LEVELS: Final = 12
_NOT_IN_YAML: Final = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
"""Letters that stand in JSON as they are, and mean something else, or nothing, to YAML."""


@dataclass(frozen=True, slots=True)
class PipelineReader(ValueReader):
    """Reads pipelines of one file; a definition with a mistake is reported and left out."""

    def pipeline(self, node: Node) -> Pipeline | None:
        """A pipeline with its events."""
        optional = ("name", "description", "category", "status", "events")
        fields = self.file.fields(node, "a pipeline", ("key",), optional)
        if fields is None:
            return None
        key = self.label("pipeline", fields["key"][1], _KEY, _KEY_RULE)
        category = self.word("category", fields["category"][1], CATEGORIES) if "category" in fields else CATEGORIES[0]
        status = self.word("status", fields["status"][1], STATUSES) if "status" in fields else STATUSES[0]
        nodes = self.file.items(fields["events"][1], "`events`") if "events" in fields else []
        events = tuple(event for item in nodes if (event := self._event(item, str(key))) is not None)
        if key is None or category is None or status is None:
            return None
        name, description = self.optional(fields, "name"), self.optional(fields, "description")
        return Pipeline(key, events, name, description, category, status)

    def _event(self, node: Node, pipeline: str) -> PipelineEvent | None:
        what = f"an event of {called('pipeline', pipeline)}"
        fields = self.file.fields(node, what, ("name",), ("description", "enabled", "fields"))
        if fields is None:
            return None
        name = self.file.text(fields["name"][1], "an event's `name`")
        enabled = self.file.boolean(fields["enabled"][1], "`enabled`") if "enabled" in fields else True
        nodes = self.file.items(fields["fields"][1], "`fields`") if "fields" in fields else []
        its = tuple(each for item in nodes if (each := self._field(item, pipeline, str(name))) is not None)
        if name is None or enabled is None or not self._is_new_in(pipeline, "event", name, fields["name"]):
            return None
        return PipelineEvent(name, its, self.optional(fields, "description"), enabled)

    def _field(self, node: Node, pipeline: str, event: str) -> PipelineField | None:
        fields = self.file.fields(node, f"a field of `{event}`", ("name", "type"), ("required", "description"))
        if fields is None:
            return None
        name = self.file.text(fields["name"][1], "a field's `name`")
        value_type = self.word("type", fields["type"][1], FIELD_TYPES)
        required = self.file.boolean(fields["required"][1], "`required`") if "required" in fields else False
        if name is not None and not _PATH.fullmatch(name):
            advice = ("steps are joined by dots: `cart.total`",)
            self.file.report("bad-definition", f"`{name[:60]}` is no path of a field", fields["name"][1], advice)
            return None
        if name is None or value_type is None or required is None:
            return None
        if not self._is_new_in(pipeline, f"field of `{event}`", name, fields["name"]):
            return None
        if isinstance(fields["type"][1], ScalarNode):
            source = self.file.expression(fields["type"][1], f"pipeline `{pipeline}`")
            self.into.sources.setdefault(("pipeline", pipeline, event, name), source)
        return PipelineField(name, value_type, required, self.optional(fields, "description"))

    def _is_new_in(self, pipeline: str, what: str, name: str, field: Field) -> bool:
        """Whether a name is new in its pipeline; other pipelines may have it as well."""
        return self.is_new(f"{what} in the pipeline `{pipeline}`:", name, field[1])


def read_pipeline(document: Mapping[str, object]) -> Pipeline:
    """The pipeline that a JSON document defines; CartNudge's identifiers, dates and secret are passed over.

    Raises:
        DefinitionError: everything that is wrong with the document, drawn in it.

    >>> read_pipeline({"key": "shop", "status": "configuring", "webhook_secret": "x", "events": []})
    Pipeline(key='shop', events=(), name='', description='', category='behavioral', status='configuring')
    """
    ours = {name: value for name, value in document.items() if name not in _THEIRS and value is not None}
    # JSON is YAML, so that both are read by the same rules.
    text = _NOT_IN_YAML.sub(lambda letter: f"\\u{ord(letter[0]):04x}", as_json(ours, _LEVELS))
    file = YamlFile(Source(text, "<pipeline>"))
    node = file.compose()
    found = PipelineReader(file, Reading()).pipeline(node) if node is not None else None
    if file.found or found is None:
        raise DefinitionError(file.found)
    return found


def written_pipeline(pipeline: Pipeline) -> dict[str, Any]:
    """A pipeline as its definition is written: what is as it would be anyway is left out."""
    document = asdict(pipeline)
    return {
        "key": pipeline.key,
        **_unless({"name": "", "description": ""}, document),
        "category": pipeline.category,
        **_unless({"status": STATUSES[0]}, document),
        **({"events": [_written_event(event) for event in document["events"]]} if pipeline.events else {}),
    }


def _written_event(event: Mapping[str, Any]) -> dict[str, Any]:
    its = {"name": event["name"], **_unless({"description": "", "enabled": True}, event)}
    fields = [
        {"name": each["name"], "type": each["type"], **_unless({"required": False, "description": ""}, each)}
        for each in event["fields"]
    ]
    return {**its, "fields": fields} if fields else its


def _unless(defaults: Mapping[str, object], document: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that have another value than their default."""
    return {name: document[name] for name, default in defaults.items() if document[name] != default}
