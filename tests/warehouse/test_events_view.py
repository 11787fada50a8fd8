"""The view `events` shows what the manifest lists up to the cut, in plain columns."""

from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from dsl.clock import parse_instant
from warehouse.database import connect
from warehouse.events_view import events_view_sql
from warehouse.landing import land
from warehouse.registry import Registry
from warehouse.settings import Home

NOON_MS = parse_instant("2017-03-01T12:00:00Z")
DAY_MS = 86_400_000


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """A registry whose project `shop` has three days of events in the lake; `amount` came once as text."""
    registry = Registry(f"sqlite:///{tmp_path}/registry.db")
    project = registry.create_project("shop", "America/New_York")
    events = {
        "event_id": ["a", "b", "c", "d"],
        "kind": ["track"] * 4,
        "name": ["purchase"] * 4,
        "source_id": ["user:1"] * 4,
        "ts_ms": [NOON_MS, NOON_MS + 1, NOON_MS + DAY_MS, NOON_MS + 2 * DAY_MS],
        "n_amount": [1_500_000, -(2**63), 10_000_000, None],
        "s_amount": [None, None, None, 'ten "10"'],
        "s_odd 'name\"": [None, None, "x", None],
        "b_gift": [True, False, None, None],
        "n_paid": [2**63 - 1, None, None, 0],
    }
    land(
        pl.DataFrame(events),
        project=project,
        home=Home(tmp_path),
        registry=registry,
        reserve=lambda _: 1,
        received_at_ms=NOON_MS + 10 * DAY_MS,
    )
    return registry


def rows(registry: Registry, lake: Path, select: str, cut: int = 4, needed: tuple[str, ...] = ()) -> list[object]:
    """Rows of the view by `seq`."""
    with connect() as database:
        database.execute(events_view_sql(registry.files("shop", cut), cut, needed, lake))
        return list(database.execute(f"SELECT {select} FROM events ORDER BY seq").fetchall())


def test_the_cut_is_inclusive(registry: Registry, tmp_path: Path) -> None:
    """The view holds exactly the events with `seq <= cut`, also where the cut divides a file."""
    seen = [rows(registry, tmp_path / "lake", "seq", cut) for cut in range(5)]
    assert [[(seq,) for seq in range(1, cut + 1)] for cut in range(5)] == seen


def test_plain_columns(registry: Registry, tmp_path: Path) -> None:
    """A property is shown in its type, exactly; one that came in several types is shown as JSON text."""
    shown = rows(registry, tmp_path / "lake", 'p_amount, p_gift, p_paid, "p_odd \'name"""')
    assert [
        ("1.5", True, Decimal("9223372036854.775807"), None),
        ("-9223372036854.775808", False, None, None),
        ("10", None, None, "x"),
        ('"ten \\"10\\""', None, Decimal("0.000000"), None),
    ] == shown


def test_instants_and_dates(registry: Registry, tmp_path: Path) -> None:
    """`ts` and `received_at` are UTC, `local_date` is the project's."""
    shown = rows(registry, tmp_path / "lake", "ts::VARCHAR, received_at::VARCHAR, local_date::VARCHAR", cut=2)
    assert ("2017-03-01 12:00:00.001", "2017-03-11 12:00:00", "2017-03-01") == shown[1]


def test_needed_columns_are_there(registry: Registry, tmp_path: Path) -> None:
    """A column that a catalog reads and no file has is null in every row, in its own type."""
    needed = ("n_discount", "s_brand", "b_member", "n_amount")
    kinds = "typeof(n_discount), typeof(s_brand), typeof(b_member), typeof(p_discount), n_discount"
    shown = rows(registry, tmp_path / "lake", kinds, 1, needed)
    assert [("BIGINT", "VARCHAR", "BOOLEAN", "DECIMAL(19,6)", None)] == shown


def test_an_empty_lake_has_the_same_columns(registry: Registry, tmp_path: Path) -> None:
    """Without files the view is empty and has the columns and types that it has with files."""

    def described(cut: int) -> list[object]:
        needed = sorted({column for file in registry.files("shop") for column in file.columns})
        with connect() as database:
            database.execute(events_view_sql(registry.files("shop", cut), cut, needed, tmp_path / "lake"))
            return list(database.execute("SELECT column_name, column_type FROM (DESCRIBE events)").fetchall())

    assert described(4) == described(0)
    assert [] == rows(registry, tmp_path / "lake", "*", cut=0)


def test_names_that_differ_in_case(registry: Registry, tmp_path: Path) -> None:
    """A catalog that reads `Gift` where events have `gift` does not get the wrong one, though SQL knows no case."""
    found = rows(registry, tmp_path / "lake", '"b_gift", "b_^Gift"', needed=("b_^Gift",))
    assert [(True, None), (False, None), (None, None), (None, None)] == found
