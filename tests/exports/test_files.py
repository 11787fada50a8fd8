"""Files of audiences: what they hold, and that they appear whole or not at all."""

import csv
import hashlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Literal

import polars as pl
import pytest

from dsl.catalog import Export, Segment, Trait
from dsl.check import check_catalog
from exports.exceptions import ExportError
from exports.files import ExportedFile, read_manifest, write_audience
from exports.plan import plan_audience
from tests.warehouse.bench import Bench
from tests.warehouse.small_shop import CATALOG, EVENTS, event, open_shop
from warehouse.database import connect

# Everybody, with a note that spreadsheets would run as a formula, and a list-like text.
CATALOG_WITH_NOTES = replace(
    CATALOG,
    traits=(*CATALOG.traits, Trait("note", "profile.note", type="string"), Trait("is_vip", 'segment("vip")')),
    segments=(*CATALOG.segments, Segment("everybody", "orders >= 0")),
)
CHECKED = check_catalog(CATALOG_WITH_NOTES)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A refreshed shop whose people have awkward names and notes."""
    shop = open_shop(tmp_path / "home")
    notes = ["=1+1", "+1", "-1", "@x", "\tx", 'a,b "c"\nd', "7"]
    awkward = (
        event(f"note-{i}", user, 1, "identify", attributes=f'{{"note": {json_text(note)}}}')
        for i, (user, note) in enumerate(zip(["ann", "bob", "cem", "dee", "eva", "=fay", "gül"], notes, strict=True))
    )
    shop.land(*EVENTS, *awkward)
    with connect(shop.home.warehouse) as connection:
        found = Bench(shop, connection)
        found.run(CHECKED)
        yield found


def json_text(text: str) -> str:
    """A JSON string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'


def write(bench: Bench, segment: str = "everybody", kind: Literal["csv", "parquet"] = "csv") -> ExportedFile:
    """A segment written into the home's folder of exports."""
    refresh = bench.run(CHECKED)
    plan = plan_audience(bench.connection, Export("people", segment, kind), refresh)
    return write_audience(bench.connection, plan, bench.shop.home.exports)


def rows_of(file: ExportedFile) -> dict[str, dict[str, str]]:
    """The rows of a CSV file by user id."""
    with file.path.open(newline="", encoding="utf-8") as text:
        return {row["user_id"]: row for row in csv.DictReader(text)}


def test_csv_holds_members_with_their_traits(bench: Bench) -> None:
    """A row a member: profile, user, since, then every trait; exact decimals, instants in UTC, missing empty."""
    file = write(bench, "buyers")
    rows = rows_of(file)
    assert ["ann", "bob", "cem"] == sorted(rows)
    assert ["profile_id", "user_id", "since_at", *(trait.key for trait in CHECKED.catalog.traits)] == list(rows["ann"])
    ann = rows["ann"]
    assert ("3", "120.000000", "premium", "true") == (ann["orders"], ann["spend"], ann["plan"], ann["is_vip"])
    assert "2026-03-31T12:00:00.000Z" == ann["since_at"]
    assert "" == rows["cem"]["plan"]


def test_parquet_holds_typed_columns(bench: Bench) -> None:
    """The Parquet file has decimals, instants and booleans as such, and text as it is."""
    file = write(bench, kind="parquet")
    frame = pl.read_parquet(file.path)
    ann = frame.row(by_predicate=pl.col("user_id") == "ann", named=True)
    assert (3, Decimal(120), True, "=1+1") == (ann["orders"], ann["spend"], ann["is_vip"], ann["note"])
    assert datetime.fromisoformat("2026-03-31 12:00:00") == ann["since_at"]
    assert frame["profile_id"].is_sorted()


def test_formulas_are_neutralised_in_csv(bench: Bench) -> None:
    """A text cell that a spreadsheet would run gets an apostrophe; other texts, and numbers, stay as they are."""
    notes = {user: row["note"] for user, row in rows_of(write(bench)).items()}
    assert {
        "ann": "'=1+1",
        "bob": "'+1",
        "cem": "'-1",
        "dee": "'@x",
        "eva": "'\tx",
        "'=fay": 'a,b "c"\nd',
        "gül": "7",
    } == notes


def test_manifest_describes_the_file(bench: Bench) -> None:
    """Beside each file lies what it is of, how many rows it has and its digest."""
    file = write(bench, "buyers")
    content = file.path.read_bytes()
    assert {
        "file": "people.csv",
        "bytes": len(content),
        "segment": "buyers",
        "format": "csv",
        "rows": 3,
        "sha256": hashlib.sha256(content).hexdigest(),
        "columns": list(file.columns),
        "as_of": "2026-03-31T12:00:00.000Z",
        "cut": len(EVENTS) + 7,
        "catalog_version": 1,
    } == read_manifest(file.path)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_empty_segment_gives_a_file_with_its_columns(bench: Bench, kind: Literal["csv", "parquet"]) -> None:
    """A segment without members is a file without rows, not a missing one."""
    file = write(bench, "nobody", kind)
    frame = pl.read_csv(file.path) if kind == "csv" else pl.read_parquet(file.path)
    assert (0, list(file.columns)) == (frame.height, frame.columns)


def test_rerun_replaces_the_file(bench: Bench) -> None:
    """Writing again leaves one file and one manifest, of the newest rows."""
    write(bench, "everybody")
    file = write(bench, "vip")
    assert ["ann"] == list(rows_of(file))
    assert ["people.csv", "people.csv.manifest.json"] == sorted(path.name for path in file.path.parent.iterdir())


def test_failure_leaves_the_old_file(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a file cannot be finished the old one stays whole, nothing is left beside it, and one sentence says so."""
    file = write(bench, "vip")
    before = file.path.read_bytes(), read_manifest(file.path)

    def full(_self: Path, _target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(ExportError, match="No space left on device"):
        write(bench, "everybody")
    assert before == (file.path.read_bytes(), read_manifest(file.path))
    assert ["people.csv", "people.csv.manifest.json"] == sorted(path.name for path in file.path.parent.iterdir())


@pytest.mark.parametrize(
    ("export", "said"),
    [
        (Export("people", "no_such", "csv"), "segment `no_such` has not been computed"),
        (Export("../people", "vip", "csv"), "export name `../people` is not allowed"),
    ],
)
def test_what_cannot_be_exported(bench: Bench, export: Export, said: str) -> None:
    """A segment that is not there, or a name that leads out of the folder, is refused before anything is written."""
    with pytest.raises(ExportError, match=said):
        plan_audience(bench.connection, export, bench.run(CHECKED))
