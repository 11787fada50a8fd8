"""`tinycdp dead-letters` over a real home."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dsl.failure import WrongUse
from serving.online import connect, read_log
from tests.tinycdp.conftest import Shell
from tinycdp.cli import app
from warehouse.records import DeadLetter
from warehouse.registry import Registry

ENVELOPE = {"type": "track", "sentAt": "null", "context": "{}"}


def letter(reason: str, event: dict[str, str]) -> DeadLetter:
    """An event that was not accepted."""
    event_id = event.get("messageId", "")
    return DeadLetter(reason, "wrong", "$.event", event_id, "segment", json.dumps(event), 1_700_000_000_000, ENVELOPE)


def test_a_letter_is_listed_shown_corrected_and_replayed(tmp_path: Path, valkey_url: str, project: str) -> None:
    """From the list to the log; what is still wrong stays, and the exit code says so."""
    shell = Shell(tmp_path, {"TINYCDP_REDIS_URL": valkey_url, "TINYCDP_PROJECT": project})
    with Registry(f"sqlite:///{tmp_path}/registry.db") as registry:
        registry.create_project(project)
        bad = {"messageId": "m-1", "userId": "null", "event": "e"}
        registry.add_dead_letters(project, [letter("no_identifier", bad), letter("missing_field", {"userId": "a"})])
    listed = shell.json("dead-letters", "list")
    assert ["no_identifier", "missing_field"] == [each["reason"] for each in listed["letters"]]
    first, second = (str(each["id"]) for each in listed["letters"])
    assert bad == json.loads(shell.run("dead-letters", "show", first).stdout.splitlines()[-1])
    done = shell.json("dead-letters", "replay", first, "--patch", '{"userId": "ann"}')
    assert {"replayed": 1, "rejected": []} == done
    assert ["m-1"] == [entry.event_id for entry in read_log(connect(valkey_url), project, 0)]
    stays = shell.run("dead-letters", "replay", second)
    assert (1, True) == (stays.returncode, "missing_field at $.event" in stays.stderr)
    assert {"discarded": 1} == shell.json("dead-letters", "discard", second)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["replay"], "name letters by their ids"),
        (["replay", "1", "--patch", "{"], "--patch is no JSON"),
        (["replay", "1", "--patch", "[]"], "--patch is a JSON object"),
        (["list", "--status", "old"], "it is one of open"),
    ],
)
def test_wrong_use(arguments: list[str], said: str) -> None:
    """One sentence that says what to do."""
    error = CliRunner().invoke(app, ["dead-letters", *arguments]).exception
    assert isinstance(error, WrongUse)
    assert said in str(error)
