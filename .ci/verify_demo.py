"""Checks what `make demo` left behind, with nothing of TinyCDP: plain SQL, plain files, published figures.

Usage: verify_demo.py FIRST.json SECOND.json — what `tinycdp demo --json` printed, run twice in one home.
"""

import hashlib
import json
import re
import sqlite3
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

MIN_TRAITS, MIN_SEGMENTS, MIN_FLAGS = 12, 8, 4

FIGURES: dict[str, tuple[str, object]] = {
    "households": ("SELECT count(*) FROM profiles", 2_469),
    "purchases": ("SELECT count(*) FROM events WHERE name = 'purchase'", 1_469_307),
    "baskets": ("SELECT count(DISTINCT p_basket_id) FROM events WHERE name = 'purchase'", 155_848),
    "total sales": ("SELECT sum(p_amount)::VARCHAR FROM events WHERE name = 'purchase'", "4596039.580000"),
    "weeks that New York's calendar gives": (
        """SELECT count(*) FROM events WHERE name = 'purchase'
           AND p_week = (local_date - DATE '2016-12-26') // 7 + 1""",
        1_469_307,
    ),
    "households reached": ("SELECT count(DISTINCT source_id) FROM events WHERE name = 'campaign_received'", 1_559),
    "households that redeemed": ("SELECT count(DISTINCT source_id) FROM events WHERE name = 'coupon_redeemed'", 410),
    "household 208": (
        """SELECT string_agg(name || ' ' || n, ', ' ORDER BY name) FROM (
             SELECT name, count(*) AS n FROM events WHERE source_id = 'user:208' AND kind = 'track' GROUP BY name)""",
        "campaign_received 7, coupon_redeemed 5, purchase 756",
    ),
    "mean spend of age 45-54": (
        """SELECT count(*) || ' households, ' || round(avg(total_spent), 2)
           FROM traits JOIN profiles USING (profile_id) WHERE a_age = '45-54'""",
        "288 households, 3374.38",
    ),
    "one event per id": ("SELECT count(*) - count(DISTINCT event_id) FROM events", 0),
}
"""Published for this data, or following from it."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must hold."""

    name: str
    expected: object
    actual: object

    @property
    def holds(self) -> bool:
        """Whether it does."""
        return self.expected == self.actual


def main(first_path: str, second_path: str) -> int:
    """Runs every check, prints each as a line; returns 1 when one fails."""
    first, second = (json.loads(Path(path).read_text(encoding="utf-8")) for path in (first_path, second_path))
    home = Path(first["home"])
    checks = [
        *figures(home / "analytics.duckdb"),
        *definitions(home / "analytics.duckdb", second),
        *decisions(first),
        *keys(first),
        *exported_files(second),
        *dagster_runs(home),
        *second_run(first, second),
        *nothing_left_running(home),
    ]
    for check in checks:
        print(f"{'ok    ' if check.holds else 'FAILED'} {check.name}: {check.actual}")
        if not check.holds:
            print(f"       expected {check.expected}")
    return 0 if all(check.holds for check in checks) else 1


def figures(database: Path) -> Iterator[Check]:
    """The published figures, by plain SQL on what analysts read."""
    with duckdb.connect(str(database), read_only=True) as connection:
        for name, (query, expected) in FIGURES.items():
            yield Check(name, expected, scalar(connection, query))


def definitions(database: Path, told: dict[str, Any]) -> Iterator[Check]:
    """Enough traits and segments, the named ones among them, and sizes that are the numbers of members."""
    with duckdb.connect(str(database), read_only=True) as connection:
        traits = {str(row[0]) for row in connection.execute("DESCRIBE traits").fetchall()} - {"profile_id"}
        members = connection.execute("SELECT segment, count(*) FROM segment_members GROUP BY segment").fetchall()
    yield Check("traits are at least 12", True, len(traits) >= MIN_TRAITS)
    yield Check("segments are at least 8", True, len(told["segments"]) >= MIN_SEGMENTS)
    yield Check("traits of the TinyCDP document", set(), {"power_user", "recent_buyer"} - traits)
    told_sizes = {key: size for key, size in told["segments"].items() if size}
    yield Check("sizes of segments", dict(sorted(told_sizes.items())), dict(sorted(members)))


def decisions(told: dict[str, Any]) -> Iterator[Check]:
    """Several households and flags, each answered with allow, variant and reasons; some allowed, some not."""
    answers = told["decisions"]
    wanted = {"flag", "allow", "variant", "reasons", "profileId", "asOfSeq", "asOf"}
    yield Check("fields that decisions lack", set(), {name for answer in answers for name in wanted - set(answer)})
    yield Check("decisions without a reason", [], [answer["flag"] for answer in answers if not answer["reasons"]])
    yield Check("flags are at least 4", True, len({answer["flag"] for answer in answers}) >= MIN_FLAGS)
    yield Check("several households", True, len({answer["profileId"] for answer in answers}) > 1)
    yield Check("allowed and not allowed", {True, False}, {answer["allow"] for answer in answers})


def keys(told: dict[str, Any]) -> Iterator[Check]:
    """One well-formed key of each kind."""
    for kind in ("write", "read", "admin"):
        written = re.fullmatch(rf"tcdp_{kind[0]}_[0-9A-Za-z]{{36}}", told["keys"][kind]) is not None
        yield Check(f"{kind} key is well formed", True, written)


def exported_files(told: dict[str, Any]) -> Iterator[Check]:
    """CSV and Parquet files whose manifests tell their checksum, size and rows, and rows that are members."""
    paths = [Path(path) for path in told["exports"]]
    yield Check("kinds of exported files", {".csv", ".parquet"}, {path.suffix for path in paths})
    for path in paths:
        manifest = json.loads(path.with_name(f"{path.name}.manifest.json").read_text(encoding="utf-8"))
        content = path.read_bytes()
        rows = scalar(duckdb.connect(), f"SELECT count(*) FROM '{path}'")
        yield Check(f"checksum of {path.name}", manifest["sha256"], hashlib.sha256(content).hexdigest())
        yield Check(f"bytes of {path.name}", manifest["bytes"], len(content))
        yield Check(f"rows of {path.name}", (manifest["rows"],) * 2, (rows, told["segments"][manifest["segment"]]))


def dagster_runs(home: Path) -> Iterator[Check]:
    """The persistent instance holds the runs of both demos, all successful."""
    with sqlite3.connect(f"file:{home / 'dagster/history/runs.db'}?mode=ro", uri=True) as connection:
        statuses = [row[0] for row in connection.execute("SELECT status FROM runs")]
    yield Check("statuses of Dagster's runs", {"SUCCESS"}, set(statuses))
    yield Check("runs of both demos are kept", True, len(statuses) > 1)


def second_run(first: dict[str, Any], second: dict[str, Any]) -> Iterator[Check]:
    """The second run duplicated nothing, kept the keys and said what it skipped."""
    for name in ("households", "events", "keys"):
        same = first[name] == second[name]
        yield Check(f"{name} of the second run are those of the first", True, same)
    yield Check("the first run skipped nothing", [], first["skipped"])
    yield Check("the second run says what it skipped", True, bool(second["skipped"]))


def nothing_left_running(home: Path) -> Iterator[Check]:
    """No process speaks of this home any more (where the system lists its processes under /proc)."""
    processes = (path for path in Path("/proc").glob("[0-9]*/cmdline"))
    mentioning = [line for path in processes if str(home) in (line := command_line(path)) and "verify_demo" not in line]
    yield Check("processes left running", [], mentioning)


def command_line(path: Path) -> str:
    """The command line of a process; empty when it has ended meanwhile."""
    try:
        return path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def scalar(connection: duckdb.DuckDBPyConnection, query: str) -> object:
    """The one value of a query."""
    row = connection.execute(query).fetchone()
    return row[0] if row else None


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
