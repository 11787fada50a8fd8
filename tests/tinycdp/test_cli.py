"""The command line: what it prints, what it refuses, and how."""

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main

from tests.tinycdp.conftest import ROOT, Shell
from tinycdp.cli import app

BROKEN = """\
attributes: {country: string}
traits:
  - key: spend
    expression: events.purchase.sum_30d(amount)
segments:
  - key: nordic
    expression: profile.counrty in ["NO", "SE"]
  - key: rich
    expression: spend >= "100"
  - key: cut
    expression: spend >=
"""


def test_help_loads_none_of_the_heavy_libraries() -> None:
    """`--help` is instant: no engine, no Dagster, no web framework is imported for it."""
    code = (
        "import sys; sys.argv = ['tinycdp', '--help']\n"
        "try:\n    from tinycdp.cli import main; main()\n"
        "except SystemExit: pass\n"
        "print(sorted({'duckdb', 'polars', 'dagster', 'fastapi', 'sqlglot', 'sqlalchemy', 'redis'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_every_command_has_an_example_in_its_help() -> None:
    """Whoever asks a command for help sees how it is called."""
    commands: dict[str, Any] = {}
    for name, command in typer.main.get_group(app).commands.items():
        inside = getattr(command, "commands", None)
        commands.update({f"{name} {its}": c for its, c in inside.items()} if inside else {name: command})
    lacking = [name for name, command in commands.items() if f"`tinycdp {name}" not in (command.help or "")]
    assert lacking == []


def test_broken_definitions_are_drawn_and_nothing_changes(shell: Shell, tmp_path: Path) -> None:
    """All mistakes of a folder are drawn at once with their places; exit code 1; the catalog stays as it was."""
    folder = tmp_path / "definitions"
    folder.mkdir()
    (folder / "all.yaml").write_text(BROKEN)
    for command in ("check", "apply"):
        done = shell.run(command, str(folder))
        assert done.returncode == 1
        assert done.stdout == ""
        assert done.stderr.count("error[") == 3
        assert "all.yaml:7:25" in done.stderr
        assert "the nearest attribute is `profile.country` (string)" in done.stderr
        assert "expected `number`, found `string`" in done.stderr
        assert "Traceback" not in done.stderr
    found = json.loads(shell.run("check", str(folder), "--json").stdout)
    assert [d["line"] for d in found["diagnostics"]] == [11, 7, 9]
    assert not shell.home.exists()


def test_the_shop_s_definitions_pass(shell: Shell) -> None:
    """`check` on the demo's definitions says how many there are and exits with 0."""
    found = shell.json("check", "examples/shop")
    assert found["ok"] is True
    assert (found["traits"] >= 12, found["segments"] >= 8, found["flags"] >= 4) == (True, True, True)


def test_applying_twice_makes_one_version(shell: Shell) -> None:
    """The same definitions again are the same version."""
    assert [shell.json("apply", "examples/shop")["created"] for _ in range(2)] == [True, False]


def test_expressions_have_one_canonical_text(shell: Shell) -> None:
    """`fmt` prints the same text for every way of writing the same."""
    written = ["not (a and b)", "!(a&&b)", "! ( a && b )"]
    assert shell.json("fmt", *written)["expressions"] == ["!(a && b)"] * 3


def test_keys_are_shown_once_and_end_when_revoked(shell: Shell) -> None:
    """A key's text is in the answer of `create` and nowhere else; a revoked one is listed as such."""
    made = shell.json("keys", "create", "--kind", "read", "--label", "site")
    assert made["key"].startswith("tcdp_r_")
    shell.json("keys", "revoke", str(made["id"]))
    listed = shell.run("keys", "list", "--json").stdout
    assert made["key"] not in listed
    assert [(key["label"], key["state"]) for key in json.loads(listed)["keys"]] == [("site", "revoked")]


def test_a_secret_is_made_once_and_rotated(shell: Shell) -> None:
    """`secret` shows the same one again; `rotate` makes a new one and says how long the one before works."""
    shell.json("apply", "examples/shop")
    first, again = (shell.json("pipelines", "secret", "web-shop") for _ in range(2))
    rotated = shell.json("pipelines", "rotate", "web-shop")
    assert (first, None) == (again, first["previousUntil"])
    assert first["secret"] != rotated["secret"] == shell.json("pipelines", "secret", "web-shop")["secret"]
    assert rotated["previousUntil"] > rotated["createdAt"]
    listed = shell.json("pipelines", "list")["pipelines"]
    assert [("web-shop", "active", True)] == [(its["key"], its["status"], its["signed"]) for its in listed]
    assert rotated["secret"] not in json.dumps(listed)


def test_the_schema_of_what_is_declared(shell: Shell) -> None:
    """`schema` lists declared events, of pipelines too, before anything has landed."""
    shell.json("apply", "examples/shop")
    events = {event["name"]: event for event in shell.json("schema")["events"]}
    assert (["pipeline:web-shop"], ["events"], 0) == (
        events["add_to_cart"]["declaredBy"],
        events["purchase"]["declaredBy"],
        events["purchase"]["times"],
    )
    assert events["add_to_cart"] == shell.json("schema", "add_to_cart")
    assert "cart.total" in shell.run("schema", "add_to_cart").stdout


def test_templates_can_be_applied(shell: Shell, tmp_path: Path) -> None:
    """What `pipelines template` prints is a file of definitions."""
    folder = tmp_path / "definitions"
    folder.mkdir()
    (folder / "pipelines.yaml").write_text(shell.run("pipelines", "template", "marketing").stdout)
    shell.json("apply", str(folder))
    assert "configuring" == shell.json("pipelines", "show", "campaigns")["status"]


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("keys", "create", "--kind", "reed"), 2, "`reed` is no kind of key: use"),
        (("pipelines", "show", "web"), 2, "there is no pipeline `web`"),
        (("pipelines", "template", "trusty"), 2, "there is no category `trusty`: use behavioral"),
        (("schema", "purchase"), 2, "the event `purchase` is not declared and was never seen"),
        (("check", "no/such/folder"), 2, "`no/such/folder` is not there"),
        (("check", "pyprojct.toml"), 2, "the nearest is `pyproject.toml`"),
        (("demo", "--sample", "0"), 2, "above 0"),
        (("segments",), 1, "run `tinycdp refresh` first"),
        (("sql", "events.purchase.sum(amount"), 1, "error["),
        (("decide", "x", "--profile", "1", "--context", "[1]"), 2, "takes a JSON object"),
        (("export", "vip", "--to", "vip.xls"), 2, "ends in neither .csv nor .parquet"),
    ],
)
def test_wrong_use_is_answered_by_a_sentence(
    shell: Shell, arguments: tuple[str, ...], code: int, sentence: str
) -> None:
    """What people can mend is said on stderr, without a traceback, with the right exit code."""
    done = shell.run(*arguments)
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode == code


def test_answers_about_nobody_say_so(shell: Shell) -> None:
    """An expression is answered for a profile without any event as well, and a sentence on stderr says that it is."""
    shell.json("apply", "examples/shop")
    for command in ("eval", "explain"):
        done = shell.run(command, "events.purchase.count", "--profile", "nobody", "--json")
        assert (done.returncode, json.loads(done.stdout)["value"]) == (0, 0)
        assert "nobody is known as `nobody`" in done.stderr


def test_explain_of_ranks_ends_with_the_next_refresh(shell: Shell) -> None:
    """What compares a profile with all others is not said to stay so."""
    shell.json("apply", "examples/shop")
    done = shell.run("explain", "percent_rank(events.purchase.count) > 0.5", "--profile", "1")
    assert done.stdout.endswith("it stays so until the next refresh at most\n")


def test_a_flag_s_key_leads_to_decide(shell: Shell) -> None:
    """`explain` of a flag says which command asks it."""
    shell.json("apply", "examples/shop")
    done = shell.run("explain", "checkout_offer", "--profile", "1")
    assert (done.returncode, "`tinycdp decide checkout_offer" in done.stderr) == (2, True)


def test_warnings_of_an_expression_name_no_trait(shell: Shell) -> None:
    """What was typed on the command line is called the expression."""
    shell.json("apply", "examples/shop")
    done = shell.run("eval", 'text(now()) matches "T12:"', "--profile", "1")
    assert "warning[next-minute]: time changes the expression at instants" in done.stderr


def test_a_port_in_use_is_said_in_one_sentence(shell: Shell) -> None:
    """`serve` on a taken port says which port and what to do."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = shell.run("serve", "--port", str(port))
    assert done.returncode == 1
    assert f"port {port} of 127.0.0.1 is in use" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unreachable_redis_is_said_in_one_sentence(tmp_path: Path) -> None:
    """A `TINYCDP_REDIS_URL` where nobody answers ends the demo with a sentence that names it."""
    shell = Shell(tmp_path / "home", {"TINYCDP_REDIS_URL": "redis://127.0.0.1:9/0"})
    done = shell.run("demo", "--sample", "0.01", "--seed", "1")
    assert done.returncode == 1
    assert "127.0.0.1:9" in done.stderr
    assert "Traceback" not in done.stderr
