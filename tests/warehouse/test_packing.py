"""Many sources packed at once are each packed alone, byte by byte."""

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from dsl.bases import Bases, bases_of
from dsl.catalog import Catalog, EventSchema, Trait
from dsl.check import check_catalog
from dsl.sql.duckdb_tiles import TileBase
from dsl.tile_codec import COLUMNS, COUNT_BITS, Layout, TypeCode, layout_of, pack, pack_attributes, pack_rest
from dsl.tiles import HopStates, Run, Tiles
from warehouse.packing import pack_sources
from warehouse.tile_columns import TileColumns
from warehouse.tiles import Covered

HOUR_MS = 3_600_000
SOURCES = 5
Rows = dict[tuple[int, int, int], tuple[int, ...]]
"""By source, place of the base, and number of the hop: the other columns; of moments count, first and last instant."""


def _bases() -> Bases:
    texts = (
        "events.a.count_7d",
        "events.b.count",
        "events.c.longest_gap_minutes_24h",
        "events.a.sum_7d(n)",
        "events.a.max_7d(due)",
        "events.a.unique_days",
    )
    events = (EventSchema("a", {"n": "number", "due": "timestamp"}), EventSchema("b"), EventSchema("c"))
    traits = tuple(Trait(f"t{number}", text) for number, text in enumerate(texts))
    return bases_of(check_catalog(Catalog(events=events, traits=traits)).aggregates.values())


BASES = _bases()
COVERED = {
    layout: [
        Covered(TileBase(number, base, grain), 0)
        for number, (base, grain) in enumerate((b, g) for b in BASES.by_key.values() for g in b.grains)
        if layout_of(base) == layout
    ]
    for layout in COLUMNS
}
TYPES = {"I": pa.uint32(), "q": pa.int64(), "Q": pa.uint64()}


@st.composite
def rows_of(draw: st.DrawFn, layout: Layout, sources: int) -> Rows:
    """Some rows of a layout."""
    bases = COVERED[layout]
    places = st.tuples(st.integers(0, sources - 1), st.integers(0, len(bases) - 1))
    found: Rows = {}
    for source, place in draw(st.lists(places, max_size=12)):
        if layout in ("firsts", "spans"):
            grain = bases[place].tile_base.grain_ms
            hop = draw(st.integers(0, (2**47 - 1) // grain - 1))
            first, last = sorted(draw(st.tuples(st.integers(0, grain - 1), st.integers(0, grain - 1))))
            row = draw(st.integers(1, 2**COUNT_BITS - 1)), hop * grain + first, hop * grain + last
        else:
            hop = draw(st.integers(0, 2**32 - 1))
            values = {"I": st.integers(0, 2**32 - 1), "q": st.integers(-(2**63), 2**63 - 1)}
            row = draw(st.tuples(*(values[code] for code in COLUMNS[layout][1:] if code != "Q")))
            row = (0, *row[1:]) if layout == "instants" else row
        found[source, place, hop] = row
    return found


def _columns(layout: Layout, rows: Rows, batches: list[list[tuple[int, int, int]]], size: int) -> TileColumns:
    """As they are read, in some order."""
    found = TileColumns(layout, COVERED[layout], SOURCES, size)
    for places in batches:
        columns = zip(*(_read(layout, place, rows[place]) for place in places), strict=True)
        codes: tuple[TypeCode, ...] = ("I", *(("Q", "q") if layout == "firsts" else COLUMNS[layout]))
        arrays = [pa.array(values, TYPES[code]) for values, code in zip(columns, codes, strict=True)]
        found.add(pa.record_batch(arrays, [f"c{number}" for number in range(len(arrays))]))
    return found


def _read(layout: Layout, place: tuple[int, int, int], row: tuple[int, ...]) -> tuple[int, ...]:
    """Number of the run, and the columns."""
    source, base, hop = place
    run = source * len(COVERED[layout]) + base
    return (run, row[1] << COUNT_BITS | row[0], row[2]) if layout in ("firsts", "spans") else (run, hop, *row)


def _state(layout: Layout, hop: int, row: tuple[int, ...]) -> object:
    if layout == "instants":
        return row[1:]
    return frozenset((hop,)) if layout == "days" else row


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data())
def test_sources_packed_together_are_each_packed_alone(data: st.DataObject) -> None:
    """Whatever the order in which rows are read, and whichever sources are packed at a time."""
    rows = {layout: data.draw(rows_of(layout, SOURCES)) for layout in COLUMNS}
    size = data.draw(st.integers(1, SOURCES + 1))
    held = {}
    for layout, its_own in rows.items():
        order = data.draw(st.permutations(sorted(its_own)))
        half = data.draw(st.integers(0, len(order)))
        held[layout] = _columns(layout, its_own, [part for part in (order[:half], order[half:]) if part], size).sliced()
    instants = data.draw(st.lists(st.none() | st.integers(-9, 9), min_size=SOURCES, max_size=SOURCES))
    attributes = data.draw(st.lists(st.sampled_from(({}, {"a": (1, "e", None)})), min_size=SOURCES, max_size=SOURCES))
    alone = []
    for number in range(SOURCES):
        hops: dict[Run, HopStates] = {}
        for layout, its_own in rows.items():
            for (source, place, hop), row in sorted(its_own.items()):
                tile_base = COVERED[layout][place].tile_base
                hop_ms = hop * (tile_base.grain_ms or 1)
                if source == number:
                    run = tile_base.base.id, tile_base.grain_ms
                    hops.setdefault(run, HopStates())[hop_ms] = _state(layout, hop, row)
        alone.append(pack(Tiles(7, hops, attributes[number], instants[number]), BASES))
    rests = [pack_rest(pack_attributes(each) if each else b"", ()) for each in attributes]
    together = []
    for start in range(0, SOURCES, size):
        tiles = {layout: next(slices) for layout, slices in held.items()}
        together += pack_sources(7, instants[start : start + size], tiles, rests[start : start + size])
    assert alone == together
    assert [None] * len(held) == [next(slices, None) for slices in held.values()]
