"""Commands on API keys."""

from typing import cast, get_args

from dsl.apikeys import KeyKind
from dsl.clock import format_instant
from dsl.failure import WrongUse
from tinycdp.output import Output
from tinycdp.workspace import Workspace
from warehouse.settings import Settings


def run_create(settings: Settings, output: Output, kind: str, label: str) -> None:
    """Makes a key and publishes its hash, so that it works at once."""
    if kind not in get_args(KeyKind):
        raise WrongUse(f"`{kind}` is no kind of key: use {', '.join(get_args(KeyKind))}")
    workspace = Workspace(settings)
    with workspace.registry() as registry, workspace.store() as client:
        workspace.ensure_project(registry)
        made = registry.create_key(settings.project, cast(KeyKind, kind), label)
        workspace.publish_keys(registry, client)
    output.result({"key": made.plain, "id": made.key.id, "kind": kind, "label": label, "project": settings.project})
    output.lines(made.plain)
    output.say("this is the only time the key is shown: keep it somewhere safe")


def run_list(settings: Settings, output: Output) -> None:
    """Lists keys, revoked ones too."""
    with Workspace(settings).registry() as registry:
        keys = registry.keys(settings.project)
    rows = [
        (key.id, key.kind, key.label, format_instant(key.created_at_ms), "active" if key.is_active else "revoked")
        for key in keys
    ]
    names = ("id", "kind", "label", "createdAt", "state")
    output.result({"keys": [dict(zip(names, row, strict=True)) for row in rows]})
    output.table(f"keys of project {settings.project}", ("id>", "kind", "label", "created", "state"), rows)


def run_revoke(settings: Settings, output: Output, key_id: int) -> None:
    """Ends a key in the registry and in the online store."""
    workspace = Workspace(settings)
    with workspace.registry() as registry, workspace.store() as client:
        revoked = registry.revoke_key(key_id)
        workspace.publish_keys(registry, client)
    output.result({"id": revoked.id, "revoked": True})
    output.lines(f"key {revoked.id} ({revoked.kind}) no longer works")
