"""Many sources packed at once are each packed alone, byte by byte."""

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from dsl.bases import Bases, bases_of
from dsl.catalog import Catalog, EventSchema, Trait
from dsl.check import check_catalog
from dsl.folds import FamilyName
from dsl.sql.duckdb_tiles import TileBase
from dsl.tile_codec import COLUMNS, pack, pack_attributes, pack_rest
from dsl.tiles import HopStates, Run, Tiles
from warehouse.packing import pack_sources
from warehouse.tile_columns import TileColumns
from warehouse.tiles import Covered

HOUR_MS = 3_600_000
SOURCES = 5
Rows = dict[tuple[int, int, int], tuple[int, ...]]
"""By source, place of the base, and number of the hop: the other columns."""


def _bases() -> Bases:
    texts = (
        "events.a.count_7d",
        "events.b.count",
        "events.a.sum_7d(n)",
        "events.a.max_7d(due)",
        "events.a.unique_days",
    )
    events = (EventSchema("a", {"n": "number", "due": "timestamp"}), EventSchema("b"))
    traits = tuple(Trait(f"t{number}", text) for number, text in enumerate(texts))
    return bases_of(check_catalog(Catalog(events=events, traits=traits)).aggregates.values())


BASES = _bases()
COVERED = {
    family: [
        Covered(TileBase(number, base, grain), 0)
        for number, (base, grain) in enumerate((b, g) for b in BASES.by_key.values() for g in b.grains)
        if base.family == family
    ]
    for family in COLUMNS
}


@st.composite
def rows_of(draw: st.DrawFn, family: FamilyName, sources: int) -> Rows:
    """Some rows of a family."""
    values = {"I": st.integers(0, 2**32 - 1), "q": st.integers(-(2**63), 2**63 - 1)}
    places = st.tuples(st.integers(0, sources - 1), st.integers(0, len(COVERED[family]) - 1), st.integers(0, 2**32 - 1))
    columns = st.tuples(*(values[code] for code in COLUMNS[family][1:] if code != "Q"))
    if family == "instants":
        columns = columns.map(lambda row: (0, *row[1:]))
    return draw(st.dictionaries(places, columns, max_size=12))


def _columns(family: FamilyName, rows: Rows, batches: list[list[tuple[int, int, int]]], size: int) -> TileColumns:
    """As they are read, in some order."""
    found = TileColumns(family, COVERED[family], SOURCES, size)
    for places in batches:
        columns = list(zip(*((*place, *rows[place]) for place in places), strict=True))
        types = (pa.uint16(), pa.uint16(), *(pa.uint32() if code == "I" else pa.int64() for code in COLUMNS[family]))
        arrays = [pa.array(values, kind) for values, kind in zip(columns, types, strict=True)]
        found.add(pa.record_batch(arrays, [f"c{number}" for number in range(len(arrays))]))
    return found


def _state(family: FamilyName, hop_ms: int, hop: int, row: tuple[int, ...]) -> object:
    if family == "moments":
        count, low, span = row
        return count, hop_ms + low, hop_ms + low + span
    if family == "instants":
        return row[1:]
    return frozenset((hop,)) if family == "days" else row


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data())
def test_sources_packed_together_are_each_packed_alone(data: st.DataObject) -> None:
    """Whatever the order in which rows are read, and whichever sources are packed at a time."""
    rows = {family: data.draw(rows_of(family, SOURCES)) for family in COLUMNS}
    size = data.draw(st.integers(1, SOURCES + 1))
    held = {}
    for family, its_own in rows.items():
        order = data.draw(st.permutations(sorted(its_own)))
        half = data.draw(st.integers(0, len(order)))
        held[family] = _columns(family, its_own, [part for part in (order[:half], order[half:]) if part], size).sliced()
    instants = data.draw(st.lists(st.none() | st.integers(-9, 9), min_size=SOURCES, max_size=SOURCES))
    attributes = data.draw(st.lists(st.sampled_from(({}, {"a": (1, "e", None)})), min_size=SOURCES, max_size=SOURCES))
    alone = []
    for number in range(SOURCES):
        hops: dict[Run, HopStates] = {}
        for family, its_own in rows.items():
            for (source, place, hop), row in sorted(its_own.items()):
                tile_base = COVERED[family][place].tile_base
                hop_ms = hop * (tile_base.grain_ms or 1)
                if source == number:
                    run = tile_base.base.id, tile_base.grain_ms
                    hops.setdefault(run, HopStates())[hop_ms] = _state(family, hop_ms, hop, row)
        alone.append(pack(Tiles(7, hops, attributes[number], instants[number]), BASES))
    rests = [pack_rest(pack_attributes(each) if each else b"", ()) for each in attributes]
    together = []
    for start in range(0, SOURCES, size):
        tiles = {family: next(slices) for family, slices in held.items()}
        together += pack_sources(7, instants[start : start + size], tiles, rests[start : start + size])
    assert alone == together
    assert [None] * len(held) == [next(slices, None) for slices in held.values()]
