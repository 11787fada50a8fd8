"""Mappings: what is read, and how mistakes are shown."""

from pathlib import Path

import pytest

from dsl.clock import Zone
from dsl.diagnostics import DefinitionError
from dsl.render import draw_all
from dsl.source import Source
from warehouse.bulk.mapping import Cell, EventId, LoadMapping, Properties, Stamp
from warehouse.bulk.mapping_file import load_mapping, read_mapping

GOLDEN = Path(__file__).parent / "golden"
WHOLE = """\
name: crm-2024
format: csv
separator: ";"
identifiers:
  user: customer
  external: {column: crm.id, prefix: crm-}
  device: {value: till-1}
kind: {column: type}
event: {value: purchase}
ts: {column: at, format: "%d/%m/%Y", zone: Europe/Oslo}
event_id: {hash: [customer, at]}
properties: {amount: total, note: note}
attributes: {all_of: traits}
previous_id: before
types: {total: number, vip: boolean}
leave_out: [row]
"""
WRONG = """\
name: my orders
identifiers: {usr: customer, email: {colum: mail}}
kind: trak
event: {value: a, column: b}
ts: {column: at, unit: sec, zone: Oslo}
event_id: {value: one}
types: {total: float}
separator: "::"
properties: al
"""
GAPS = """\
name: o
identifiers: {}
event_id: {hash: []}
ts: {column: at, unit: s, zone: UTC}
"""


def test_everything_that_a_mapping_says() -> None:
    """Every field is read into its place."""
    expected = LoadMapping(
        name="crm-2024",
        identifiers={
            "user": Cell("customer"),
            "external": Cell("crm.id", prefix="crm-"),
            "device": Cell(value="till-1"),
        },
        ts=Stamp("at", "%d/%m/%Y", None, Zone("Europe/Oslo")),
        event_id=EventId(hashed=("customer", "at")),
        event=Cell(value="purchase"),
        kind=Cell("type"),
        properties=Properties({"amount": "total", "note": "note"}),
        attributes=Properties(all_of="traits"),
        previous_id=Cell("before"),
        types={"total": "number", "vip": "boolean"},
        leave_out=frozenset({"row"}),
        format="csv",
        separator=";",
    )
    assert expected == read_mapping(Source(WHOLE, "m.yaml"))


@pytest.mark.parametrize(("name", "text"), [("load_mapping", WRONG), ("load_mapping_gaps", GAPS)])
def test_mistakes_are_drawn(name: str, text: str) -> None:
    """All mistakes are shown at once, each where it stands, with the nearest name."""
    with pytest.raises(DefinitionError) as caught:
        read_mapping(Source(text, "m.yaml"))
    assert (GOLDEN / f"{name}.txt").read_text(encoding="utf-8") == draw_all(caught.value.diagnostics) + "\n"


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    """A mapping that cannot be read says why."""
    path = tmp_path / "m.yaml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(DefinitionError, match="the mapping cannot be read: it is no UTF-8 text"):
        load_mapping(path)
    with pytest.raises(DefinitionError, match="the mapping is empty"):
        read_mapping(Source("", "m.yaml"))
