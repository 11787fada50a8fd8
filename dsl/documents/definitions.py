"""Definitions as YAML: a directory of files -> catalog, with the place of every expression; and back."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

from dsl.catalog import Catalog
from dsl.diagnostics import DefinitionError, Diagnostic
from dsl.documents.flags import written_flag
from dsl.documents.pipelines import written_pipeline
from dsl.documents.reader import FileReader
from dsl.documents.values import Reading
from dsl.documents.yaml_nodes import YamlFile, plain_value
from dsl.source import Source, Span

_MAX_BYTES: Final = 4_000_000
_DEFAULTS: Final[Mapping[str, tuple[object, ...]]] = {
    "description": ("",),
    "owner": ("",),
    "type": (None,),
    "properties": ({},),
    "field": (None,),
    "enabled": (True,),
}
"""Values of optional fields that need not be written."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A catalog as it was written.

    Attributes:
        sources: where each expression stands: by `("trait", key)`, `("segment", key)`, `("flag", key, "0")` with the
            number of the rule, `("flag", key, "holdout")`, the flag of a prerequisite by
            `("flag", key, "prerequisite", "0")`, the segment of an export by `("export", name)`, and the type of a
            property by `("event", event, path)` and `("pipeline", pipeline, event, path)`. Texts that no file holds,
            those of a feature's traits and of rules, stand by themselves under the file's name.
    """

    catalog: Catalog
    sources: Mapping[tuple[str, ...], Source]


def load_directory(path: Path) -> Loaded:
    """All definitions of the files `*.yaml` directly in a directory, in the order of their names.

    Raises:
        DefinitionError: everything that is wrong in any of the files; the expressions are not looked into.
    """
    try:
        files = sorted(file for file in path.iterdir() if file.suffix == ".yaml" and file.is_file())
    except OSError as error:
        raise DefinitionError([_unreadable(path, f"the directory cannot be read: {error.strerror}")]) from None
    if not files:
        raise DefinitionError([_unreadable(path, "the directory holds no `*.yaml`")])
    reading = Reading()
    for file in files:
        text = _text(file)
        if isinstance(text, Diagnostic):
            reading.found.append(text)
        else:
            FileReader(YamlFile(Source(text, str(file))), reading).read()
    if reading.found:
        raise DefinitionError(reading.found)
    return Loaded(reading.catalog(), reading.sources)


def dump_yaml(catalog: Catalog) -> str:
    """The catalog as one file of definitions; loaded again it is equal to `catalog`."""
    document = {
        "events": [_without_defaults(event) for event in catalog.to_document()["events"]],
        "pipelines": [written_pipeline(pipeline) for pipeline in catalog.pipelines],
        "attributes": dict(catalog.attributes),
        "traits": [_without_defaults(trait) for trait in catalog.to_document()["traits"]],
        "features": [_without_defaults(feature) for feature in catalog.to_document()["features"]],
        "segments": [_without_defaults(segment) for segment in catalog.to_document()["segments"]],
        "flags": [written_flag(flag) for flag in catalog.flags],
        "exports": [_without_defaults(export) for export in catalog.to_document()["exports"]],
    }
    written = {name: section for name, section in document.items() if section}
    return yaml.dump(written, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10_000)


def _text(file: Path) -> str | Diagnostic:
    """The text of a file, or what is wrong with it."""
    try:
        if file.stat().st_size > _MAX_BYTES:
            return _unreadable(file, f"the file has more than {_MAX_BYTES} bytes")
        return file.read_text(encoding="utf-8-sig")
    except OSError as error:
        return _unreadable(file, f"the file cannot be read: {error.strerror}")
    except UnicodeDecodeError as error:
        return _unreadable(file, f"the file is no UTF-8 text: byte {error.start} cannot be read")


def _unreadable(path: Path, message: str) -> Diagnostic:
    advice = ("definitions are files `*.yaml` in one directory",)
    return Diagnostic("bad-definition", message, Span(0, 0), Source("", str(path)), help=advice)


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as blocks, and no aliases."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _text_node(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    # A block drops white space at its end; and YAML has more line ends than `\n`, which only quotes keep.
    printable = text.replace("\n", "").isprintable()
    plain = None if printable and plain_value(text) == text else '"'
    style = "|" if "\n" in text and text == text.strip() and printable else plain
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text_node)


def _without_defaults(definition: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in definition.items() if value not in _DEFAULTS.get(name, ())}
