"""The home of a demo: which sample it holds, its keys, and beginning again."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from dsl import apikeys
from dsl.apikeys import KeyKind
from dsl.failure import WrongUse
from warehouse.settings import Settings

if TYPE_CHECKING:
    import redis

    from tinycdp.workspace import Workspace
    from warehouse.registry import Registry


@dataclass(frozen=True, slots=True)
class DemoHome:
    """A home that holds the demo and nothing else; `demo.json` in it says so."""

    settings: Settings

    @property
    def record(self) -> Path:
        """Sample and keys of the demo; readable by its owner only."""
        return self.settings.home.path / "demo.json"

    def claim(self, share: float, seed: int) -> None:
        """Marks the home as holding this sample.

        Raises:
            WrongUse: it holds another sample, or a project that is not the demo.
        """
        wanted = {"sample": share, "seed": seed if share < 1 else 0}
        known = self.read()
        if known is None:
            if self.settings.home.registry.exists():
                raise WrongUse(
                    f"{self.settings.home.path} holds data that is not the demo's: set TINYCDP_HOME to another folder"
                )
            self.write({**wanted, "keys": {}})
        elif {name: known[name] for name in wanted} != wanted:
            raise WrongUse(
                f"{self.settings.home.path} holds the demo with sample {known['sample']:g} and seed {known['seed']}: "
                "add --reset to begin again, or set TINYCDP_HOME to another folder"
            )

    def read(self) -> dict[str, Any] | None:
        """The record; None when there is none."""
        if not self.record.exists():
            return None
        found: dict[str, Any] = json.loads(self.record.read_text())
        return found

    def write(self, record: dict[str, Any]) -> None:
        """Replaces the record, whole or not at all."""
        self.record.parent.mkdir(parents=True, exist_ok=True)
        aside = self.record.with_suffix(".tmp")
        aside.write_text(json.dumps(record, indent=2))
        aside.chmod(0o600)
        aside.replace(self.record)

    def remove(self) -> None:
        """Deletes all that the demo made here, and its keys in the online store; nothing else in the folder.

        Raises:
            WrongUse: the home holds data that is not the demo's.
        """
        from serving.online import embedded
        from serving.online.connection import connect
        from serving.online.store import delete_project

        home = self.settings.home
        if self.read() is None and home.registry.exists():
            raise WrongUse(f"{home.path} holds data that is not the demo's: it is not deleted")
        if self.settings.redis_url is not None:
            client = connect(self.settings.redis_url)
            delete_project(client, self.settings.project)
            client.close()
        embedded.stop(home.valkey)
        for folder in (home.lake, home.exports, home.valkey, home.dagster, home.logs):
            shutil.rmtree(folder, ignore_errors=True)
        for file in (home.warehouse, home.analytics, home.registry):
            for suffix in ("", ".wal", "-wal", "-shm"):
                Path(f"{file}{suffix}").unlink(missing_ok=True)
        # Last, so that a removal that was interrupted can be begun again.
        self.record.unlink(missing_ok=True)


def ensure_keys(
    home: DemoHome, workspace: "Workspace", registry: "Registry", client: "redis.Redis", skipped: list[str]
) -> dict[str, str]:
    """One working key of each kind, by kind; those of an earlier run are kept."""
    record = home.read() or {}
    known: dict[str, str] = record.get("keys", {})
    working = {key.digest for key in registry.keys(workspace.settings.project) if key.is_active}
    keys = {kind: plain for kind, plain in known.items() if apikeys.digest(plain) in working}
    if keys:
        skipped.append(f"{len(keys)} keys that were made before")
    for kind in get_args(KeyKind):
        if kind not in keys:
            keys[kind] = registry.create_key(workspace.settings.project, kind, "demo").plain
    home.write({**record, "keys": keys})
    workspace.publish_keys(registry, client)
    return keys
