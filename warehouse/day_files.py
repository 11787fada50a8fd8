"""Writing a batch into the lake: a file a UTC day, with the columns that its events have, all of them or none."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import ExitStack
from pathlib import Path
from threading import Lock
from typing import Final

import polars as pl

from dsl.clock import DAY_MS, Zone
from dsl.columns import Column, read_column, typed_columns
from warehouse import lake
from warehouse.property_text import properties_text
from warehouse.records import LakeFile

COLUMNS: Final[dict[str, type[pl.DataType]]] = {
    "seq": pl.Int64,
    "event_id": pl.String,
    "kind": pl.String,
    "name": pl.String,
    "source_id": pl.String,
    "ts_ms": pl.Int64,
    "received_at_ms": pl.Int64,
    "appended_at_ms": pl.Int64,
    "local_day": pl.Int32,
    "identifiers": pl.String,
    "alias": pl.String,
    "properties": pl.String,
    "context": pl.String,
}
"""Columns of every file of the lake, before the typed columns of properties.

`identifiers` is the text of a JSON list, the source first; null when there is only the source. `alias` is what an alias
joins to it.
"""
GIVEN: Final = tuple(name for name in COLUMNS if name not in ("seq", "local_day", "properties"))
"""Columns that a batch has when it is written."""

_STRETCH_EVENTS = 50_000
"""Events whose properties are written out at a time: the texts take some 300 bytes each."""
_WRITERS = min(os.cpu_count() or 1, 8)

Progress = Callable[[int, int], None]
"""Is told the number of events written so far and in all."""


def write_days(
    folder: Path, project: str, batch: pl.DataFrame, numbered: pl.DataFrame, progress: Progress | None = None
) -> list[LakeFile]:
    """Write a file a day; when one fails none stays. They exist once the manifest lists them.

    Args:
        folder: the lake's.
        batch: events with their typed columns.
        numbered: `row` in the batch, `ts_ms`, `seq`, `local_day` of the events to write. Order: `ts_ms`.
    """
    files: list[LakeFile] = []
    counting = Lock()

    def write(stretch: pl.DataFrame) -> None:
        for day, events in _days(batch, stretch):
            file = lake.write_day(folder, project, day, events)
            with counting:
                files.append(file)
                if progress is not None:
                    progress(sum(each.rows for each in files), numbered.height)

    with ExitStack() as undo:
        undo.callback(_remove, folder, files)
        # What is done for one stretch leaves cores idle: the next one begins meanwhile.
        with ThreadPoolExecutor(_WRITERS) as pool:
            writing = [pool.submit(write, stretch) for stretch in _stretches(numbered)]
            wait(writing, return_when=FIRST_EXCEPTION)
            pool.shutdown(cancel_futures=True)
        for done in writing:
            done.result()
        # From here on the manifest may name the files, whatever happens: they stay.
        undo.pop_all()
    return sorted(files, key=lambda file: file.day)


def _remove(folder: Path, files: list[LakeFile]) -> None:
    for file in files:
        file.absolute(folder).unlink(missing_ok=True)


def local_day(ts_ms: pl.Series, zone: Zone) -> pl.Series:
    """Local dates of instants as days since 1970-01-01; the series must not be empty.

    >>> local_day(pl.Series([1_514_782_799_999, 1_514_782_800_000]), Zone("America/New_York")).to_list()
    [17531, 17532]
    """
    changes = pl.DataFrame(
        zone.offsets(*_range(ts_ms)), schema={"from_ms": pl.Int64, "offset_ms": pl.Int64}, orient="row"
    )
    its_change = changes["from_ms"].search_sorted(ts_ms, side="right") - 1
    return ((ts_ms + changes["offset_ms"].gather(its_change)) // DAY_MS).cast(pl.Int32)


def _range(values: pl.Series) -> tuple[int, int]:
    ordered = values.to_frame("value").select(pl.col("value").min().alias("lo"), pl.col("value").max().alias("hi"))
    return int(ordered["lo"][0]), int(ordered["hi"][0])


def _days(batch: pl.DataFrame, stretch: pl.DataFrame) -> Iterator[tuple[int, pl.DataFrame]]:
    """UTC day and its events as the lake keeps them, day after day."""
    filled = _filled(batch[stretch["row"]].with_columns(stretch["seq"], stretch["local_day"]))
    start = 0
    for day, length in _runs(filled["ts_ms"]):
        events = filled.slice(start, length)
        typed = [column.name for column in typed_columns(events.columns)]
        yield day, events.select(*COLUMNS, *(name for name in typed if events[name].null_count() < length))
        start += length


def _stretches(numbered: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Rows in slices of whole days, each long enough to be worth a vectorised step, none much longer."""
    start = length = 0
    for _, events in _runs(numbered["ts_ms"]):
        length += events
        if length >= _STRETCH_EVENTS:
            yield numbered.slice(start, length)
            start, length = start + length, 0
    if length:
        yield numbered.slice(start, length)


def _runs(ts_ms: pl.Series) -> Iterator[tuple[int, int]]:
    """UTC day and its number of events, of instants in order."""
    runs = (ts_ms // DAY_MS).rle().struct.unnest()
    yield from zip(runs["value"], runs["len"], strict=True)


def _filled(events: pl.DataFrame) -> pl.DataFrame:
    """Events with `properties` written out; an identify has attributes there, and no typed columns."""
    columns = [column for column in typed_columns(events.columns) if events[column.name].null_count() < events.height]
    typed = [
        pl.col(c.name) if c.context else pl.when(pl.col("kind") != "identify").then(c.name).alias(c.name)
        for c in columns
    ]
    made = made_properties(events)
    return events.select(*GIVEN, "seq", "local_day", made, *typed)


def made_properties(events: pl.DataFrame) -> pl.Series:
    """`properties`, made from the typed columns where they are null."""
    given = events["properties"]
    rows = given.is_null().arg_true()
    if rows.is_empty():
        return given
    bare = events[rows]
    columns = [c for c in property_columns(bare) if c.type != "timestamp" and bare[c.name].null_count() < bare.height]
    return given.scatter(rows, properties_text(bare, columns))


def property_columns(events: pl.DataFrame) -> list[Column]:
    """Typed columns of properties in the order of the batch, which is the order of the properties in their text."""
    found = (read_column(name) for name in events.columns)
    return [column for column in found if column is not None and not column.context]
