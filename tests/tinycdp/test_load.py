"""`tinycdp load` as a person runs it: killed and run again, beside live events, with a refresh at its end."""

import json
import time
from dataclasses import replace
from pathlib import Path

from serving.online import Item, append, body_digest, connect, embedded
from tests.tinycdp.conftest import Shell

MAPPING = """\
name: orders
identifiers: {user: customer}
event: {value: purchase}
ts: {column: at, unit: ms}
event_id: order
types: {total: number}
"""


def orders(folder: Path, *, count: int, at_ms: int) -> Path:
    """A CSV file of orders, a second apart, and the mapping beside it."""
    (folder / "orders.yaml").write_text(MAPPING)
    path = folder / "orders.csv"
    rows = (f"o{number},{at_ms + number * 1_000},{number % 7 + 1},{number}.5\n" for number in range(count))
    path.write_text("order,at,customer,total\n" + "".join(rows))
    return path


def test_a_load_that_is_killed_goes_on(shell: Shell, tmp_path: Path) -> None:
    """A load that dies as by a power cut leaves nothing half, and ends when it is run again; then everything counts."""
    path = orders(tmp_path, count=50, at_ms=1_700_000_000_000)
    arguments = ("load", str(path), "--mapping", str(tmp_path / "orders.yaml"))
    for place in ("load.after_reserve", "lake.before_rename", "load.before_manifest", "load.after_manifest"):
        dying = replace(shell, environment={"TINYCDP_FAILPOINT": place})
        assert -9 == dying.run(*arguments, "--no-refresh").returncode
    found = shell.json(*arguments)
    assert (50, 0, {}, True) == (found["loaded"], found["duplicates"], found["deadLetters"], found["resumed"])
    assert found["refresh"]["failedChecks"] == []
    again = shell.json(*arguments, "--no-refresh")
    assert (0, 50, False) == (again["loaded"], again["duplicates"], again["resumed"])


def test_a_look_lands_nothing(shell: Shell, tmp_path: Path) -> None:
    """`--dry-run` shows rows as understood and needs no home; wrong use and a wrong mapping have their exit codes."""
    path = orders(tmp_path, count=9, at_ms=1_700_000_000_000)
    mapping = tmp_path / "orders.yaml"
    found = shell.json("load", str(path), "--mapping", str(mapping), "--dry-run")
    assert (9, {}, 5) == (found["events"], found["problems"], len(found["sample"]))
    assert found["sample"][1] == {
        "eventId": "o1",
        "kind": "track",
        "name": "purchase",
        "identifiers": "user:2",
        "ts": "2023-11-14T22:13:21.000Z",
        "properties": '{"total":1.5}',
    }
    assert not shell.home.exists()
    assert 2 == shell.run("load", "nothing.csv", "--mapping", str(mapping)).returncode
    mapping.write_text(MAPPING.replace("order\n", "ordr\n"))
    wrong = shell.run("load", str(path), "--mapping", str(mapping))
    assert (1, "") == (wrong.returncode, wrong.stdout)
    assert "has no column `ordr` (`event_id` of the mapping): the nearest is `order`" in wrong.stderr


def test_events_that_are_sent_and_loaded_count_once(shell: Shell, tmp_path: Path) -> None:
    """An id that was sent is not loaded again, one that was loaded is not taken in again, while both are young."""
    now_ms = time.time_ns() // 1_000_000
    path = orders(tmp_path, count=3, at_ms=now_ms - 60_000)
    shell.json("load", str(path), "--mapping", str(tmp_path / "orders.yaml"), "--dry-run")
    shell.run("apply", "examples/shop")
    client = connect(embedded.start(shell.home / "valkey"))
    record = {"id": "o1", "kind": "track", "name": "purchase", "ts": now_ms - 59_000, "received": now_ms, "day": 0}
    record |= {"properties": '{"total": 1.50}', "context": "{}"}
    sent = Item("o1", json.dumps(record), body_digest("a"), ("user:2",))
    assert "accepted" == append(client, "default", [sent], now_ms)[0].code
    found = shell.json("load", str(path), "--mapping", str(tmp_path / "orders.yaml"), "--no-refresh")
    assert (2, 1, {}) == (found["loaded"], found["duplicates"], found["deadLetters"])
    items = [Item(f"o{number}", "{}", body_digest("b"), ("user:2",)) for number in (0, 2)]
    assert ["duplicate", "duplicate"] == [answer.code for answer in append(client, "default", items, now_ms)]
    client.close()
