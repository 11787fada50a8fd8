"""Commands on pipelines: what comes in by each, and the secret that its senders sign with."""

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dsl.failure import WrongUse
from tinycdp.output import Output
from tinycdp.workspace import Workspace
from warehouse.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dsl.catalog import Pipeline
    from warehouse.registry import Registry
    from warehouse.webhook_secrets import WebhookSecret

app = typer.Typer(no_args_is_help=True, help="Pipelines: list, show, their templates, the secrets of their webhooks.")

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else there.")]
Key = Annotated[str, typer.Argument(help="Key of the pipeline.")]


@app.command("list")
def list_pipelines(as_json: AsJson = False) -> None:
    """Every pipeline of the current definitions.

    Example: `tinycdp pipelines list`
    """
    settings, output = Settings.read(), Output(as_json)
    with Workspace(settings).registry() as registry:
        documents = [_document(settings, registry, each) for each in _pipelines(settings, registry)]
    output.result({"pipelines": documents})
    rows = [(d["key"], d["name"], d["category"], d["status"], len(d["events"]), d["signed"]) for d in documents]
    columns = ("key", "name", "category", "status", "events>", "has a secret")
    output.table(f"pipelines of project {settings.project}", columns, rows)


@app.command("show")
def show(key: Key, as_json: AsJson = False) -> None:
    """A pipeline with its events and fields.

    Example: `tinycdp pipelines show web-shop`
    """
    settings, output = Settings.read(), Output(as_json)
    with Workspace(settings).registry() as registry:
        document = _document(settings, registry, _pipeline(settings, registry, key))
    output.result(document)
    output.lines(f"{key}: {document['name']} ({document['category']}, {document['status']})\nPOST {document['route']}")
    rows = [
        (event["name"], field["name"], field["type"], "yes" if field["required"] else "", field["description"])
        for event in document["events"]
        for field in event["fields"] or [{"name": "", "type": "", "required": False, "description": ""}]
    ]
    output.table(f"events of {key}", ("event", "field", "type", "required", "what it is"), rows)


@app.command("template")
def template(
    category: Annotated[str, typer.Argument(help="behavioral, transaction, context, marketing, trust or realtime.")],
    as_json: AsJson = False,
) -> None:
    """A pipeline to begin with, as YAML: put it into a file of definitions and change it.

    Example: `tinycdp pipelines template transaction`
    """
    from dsl.catalog import Catalog
    from dsl.documents.definitions import dump_yaml
    from dsl.documents.templates import TEMPLATES

    found = {name: its for name, its in TEMPLATES.items() if name == category}
    if not found:
        raise WrongUse(f"there is no category `{category}`: use {', '.join(TEMPLATES)}")
    output, catalog = Output(as_json), Catalog(pipelines=tuple(found.values()))
    output.result(catalog.to_document()["pipelines"][0])
    output.lines(dump_yaml(catalog).rstrip())


@app.command("secret")
def secret(key: Key, as_json: AsJson = False) -> None:
    """The secret that senders sign with; it is made when there is none. Without one nobody can send to the webhook.

    Example: `tinycdp pipelines secret web-shop`
    """
    _show_secret(key, Output(as_json), rotate=False)


@app.command("rotate")
def rotate(key: Key, as_json: AsJson = False) -> None:
    """A new secret; the one before works for another 24 hours.

    Example: `tinycdp pipelines rotate web-shop`
    """
    _show_secret(key, Output(as_json), rotate=True)


def _show_secret(key: str, output: Output, *, rotate: bool) -> None:
    from dsl.clock import format_instant

    settings = Settings.read()
    workspace = Workspace(settings)
    with workspace.registry() as registry, workspace.store() as client:
        _pipeline(settings, registry, key)
        found = _secret(settings, registry, key)
        if found is None or rotate:
            found = registry.rotate_webhook_secret(settings.project, key)
            workspace.publish_keys(registry, client)
    before = found.works_before(time.time_ns() // 1_000_000)
    until = format_instant(found.previous_until_ms) if before and found.previous_until_ms else None
    created = format_instant(found.created_at_ms)
    output.result({"pipeline": key, "secret": found.secret, "createdAt": created, "previousUntil": until})
    output.lines(found.secret)
    if until is not None:
        output.say(f"the secret before works until {until}")


def _pipelines(settings: Settings, registry: "Registry") -> "Sequence[Pipeline]":
    from dsl.catalog import Catalog

    Workspace(settings).ensure_project(registry)
    current = registry.current_catalog(settings.project)
    return Catalog.from_document(current[1]).pipelines if current else ()


def _pipeline(settings: Settings, registry: "Registry", key: str) -> "Pipeline":
    from dsl.nearest import nearest

    known = {pipeline.key: pipeline for pipeline in _pipelines(settings, registry)}
    if key not in known:
        best = nearest(key, known)
        advice = f"the nearest is `{best}`" if best else "`tinycdp pipelines list` shows those that are defined"
        raise WrongUse(f"there is no pipeline `{key}`: {advice}")
    return known[key]


def _secret(settings: Settings, registry: "Registry", key: str) -> "WebhookSecret | None":
    return next((each for each in registry.webhook_secrets(settings.project) if each.pipeline == key), None)


def _document(settings: Settings, registry: "Registry", pipeline: "Pipeline") -> dict[str, Any]:
    """The pipeline as a JSON document; its secret is no part of it."""
    from dataclasses import asdict

    signed = _secret(settings, registry, pipeline.key) is not None
    return {**asdict(pipeline), "route": f"/ingest/{settings.project}/{pipeline.key}", "signed": signed}
