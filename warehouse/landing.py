"""Landing: a batch of events is checked, stripped of what has landed before, numbered, and put into the lake."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from dsl.clock import DAY_MS, Zone, parse_instant
from dsl.columns import Column, column_name, read_column, typed_columns
from warehouse import lake
from warehouse.exceptions import LandingError
from warehouse.observed import sightings
from warehouse.property_columns import DTYPES, with_typed_columns
from warehouse.property_text import properties_text
from warehouse.records import LakeFile, Project
from warehouse.registry import Registry
from warehouse.settings import Home

KINDS: Final = ("track", "page", "screen", "identify", "alias", "group", "system")
"""Kinds of events."""
COLUMNS: Final[dict[str, type[pl.DataType]]] = {
    "seq": pl.Int64,
    "event_id": pl.String,
    "kind": pl.String,
    "name": pl.String,
    "source_id": pl.String,
    "ts_ms": pl.Int64,
    "received_at_ms": pl.Int64,
    "local_day": pl.Int32,
    "properties": pl.String,
    "context": pl.String,
}
"""Columns of every file of the lake, before the typed columns of properties."""

_REQUIRED = ("event_id", "kind", "name", "source_id", "ts_ms")
_STRETCH_EVENTS = 50_000
"""Events whose properties are written out at a time: the texts take some 300 bytes each."""
_FIRST_MS = parse_instant("0001-01-02")
"""Earliest `ts`: a local date, in any zone, must be a date."""

Reserve = Callable[[int], int]
"""Takes a count, gives the first of so many numbers that are nobody else's: `[first, first + count)`."""
Progress = Callable[[int, int], None]
"""Is told the number of events written so far and in all."""


@dataclass(frozen=True, slots=True)
class Landing:
    """What became of a batch.

    Attributes:
        landed: events that are new in the lake.
        duplicates: events left out because their id was there already, in the lake or earlier in the batch.
        files: files that came into being, by day.
        seq_lo: first `seq` of the batch and `seq_hi` its last (inclusive); None when nothing landed.
    """

    landed: int
    duplicates: int
    files: tuple[LakeFile, ...] = ()
    seq_lo: int | None = None
    seq_hi: int | None = None


def land(
    events: pl.DataFrame,
    *,
    project: Project,
    home: Home,
    registry: Registry,
    reserve: Reserve,
    received_at_ms: int,
    progress: Progress | None = None,
) -> Landing:
    """Put a batch of events into the lake, each id of a project once, all of the batch or nothing.

    New events get their `seq` in the order `(ts_ms, event_id)`. A crash anywhere leaves the lake as it was; landing
    the batch again is always safe. One process lands at a time; others wait.

    Args:
        events: `event_id`, `kind`, `name`, `source_id`, `ts_ms` (epoch milliseconds, UTC), none of them null;
            `properties` and `context` (text of JSON objects), from which their typed columns are read
            (`dsl.columns`). A loader that has columns gives them instead, `n_<property>` (micro-units), `s_`, `b_`:
            `properties`, where it is missing or null, is made from them. Grain: one row an event as sent. Order: of two
            with one id and one `ts_ms` the first wins.
        project: whose events they are; its zone gives `local_day`.
        home: where the lake lies.
        registry: holds the manifest.
        reserve: takes numbers from the project's counter; they must lie above `registry.max_seq(project.key)`.
        received_at_ms: the project's now; no event keeps a later `ts_ms` than this.
        progress: called after each file.

    Raises:
        LandingError: an event breaks a rule; nothing has landed.
        LakeError: a file that has landed before is missing; nothing has landed.
    """
    batch = with_typed_columns(_checked(events, received_at_ms), project.zone)
    with lake.only_writer(home.lake, project.key):
        present = registry.files(project.key)
        new = _new_rows(batch, lake.read_files(home.lake, present, ["event_id"]))
        if new.is_empty():
            return Landing(0, batch.height)
        seq_lo = _reserved(new.height, reserve, registry.max_seq(project.key))
        numbered = _numbered(new, seq_lo, project.zone)
        files = _write(home.lake, project.key, _by_day(batch, numbered), new.height, progress)
        registry.add_observed(project.key, sightings(batch, project.zone))
        registry.add_files(files)
    return Landing(new.height, batch.height - new.height, tuple(files), seq_lo, seq_lo + new.height - 1)


def _reserved(count: int, reserve: Reserve, held: int) -> int:
    seq_lo = reserve(count)
    if seq_lo <= held:
        raise LandingError(
            f"the counter gave seq {seq_lo} but the lake holds events up to {held}: nothing has landed; "
            "raise the counter above that before landing again"
        )
    return seq_lo


def _write(
    folder: Path, project: str, days: Iterator[tuple[int, pl.DataFrame]], count: int, progress: Progress | None
) -> list[LakeFile]:
    """Write a file a day; when one fails none stays."""
    files: list[LakeFile] = []
    with ExitStack() as undo:
        for day, events in days:
            files.append(lake.write_day(folder, project, day, events))
            undo.callback(files[-1].absolute(folder).unlink, missing_ok=True)
            if progress is not None:
                progress(sum(file.rows for file in files), count)
        # From here on the manifest may name the files, whatever happens: they stay.
        undo.pop_all()
    return files


def _checked(events: pl.DataFrame, received_at_ms: int) -> pl.DataFrame:
    """The batch in the lake's types, with every rule that a single event can break held.

    Raises:
        LandingError: with the number of events that break a rule, and the first of them.
    """
    missing = [column for column in _REQUIRED if column not in events.columns]
    if missing:
        raise LandingError(f"events have no column `{missing[0]}`: an event needs {', '.join(_REQUIRED)}")
    batch = _typed(events)
    for column in ("event_id", "kind", "name", "source_id"):
        _refuse(batch, pl.col(column).fill_null("") == "", f"have no `{column}`")
    _refuse(batch, ~pl.col("kind").is_in(KINDS), f"are of another kind than {', '.join(KINDS)}")
    _refuse(batch, pl.col("ts_ms").is_null(), "have no `ts_ms`")
    _refuse(batch, pl.col("ts_ms") < _FIRST_MS, "have a `ts_ms` before the year 1")
    return batch.with_columns(
        ts_ms=pl.min_horizontal("ts_ms", pl.lit(received_at_ms, pl.Int64)),
        received_at_ms=pl.lit(received_at_ms, pl.Int64),
    )


def _typed(events: pl.DataFrame) -> pl.DataFrame:
    """The columns that the lake keeps, each in its type; `properties` may still be null."""
    optional = [pl.lit(None, pl.String).alias(name) for name in ("properties", "context") if name not in events.columns]
    events = events.with_columns(optional)
    types: dict[str, pl.DataType] = {column: COLUMNS[column]() for column in (*_REQUIRED, "properties", "context")}
    types |= {_canonical(column): DTYPES[column.type] for column in _properties(events)}
    for column, wanted in types.items():
        found = events.schema[column]
        if found not in (wanted, pl.Null) and not (wanted == pl.Int64 and found.is_integer()):
            raise LandingError(f"column `{column}` of the events holds {found}: expected {wanted}")
    return events.select(*types).cast(pl.Schema(types)).with_columns(pl.col("context").fill_null("{}"))


def _properties(events: pl.DataFrame) -> list[Column]:
    """Typed columns of properties in the order of the batch, which is the order of the properties in their text."""
    found = (read_column(name) for name in events.columns)
    return [column for column in found if column is not None and not column.context]


def _canonical(column: Column) -> str:
    """The name of a column that a loader gives.

    Raises:
        LandingError: expressions would look for it under another name.
    """
    wanted = column_name("property", column.steps, column.type)
    if wanted != column.name:
        raise LandingError(f"column `{column.name}` of the events is no name of a property: write `{wanted}`")
    return wanted


def _refuse(batch: pl.DataFrame, broken: pl.Expr, saying: str) -> None:
    rows = batch.select(broken.arg_true()).to_series()
    if not rows.is_empty():
        event_id = batch["event_id"][rows[0]]
        raise LandingError(
            f"{rows.len():,} of {batch.height:,} events {saying}, the first in row {rows[0] + 1:,} "
            f"(`event_id` {event_id!r}): nothing has landed; correct or leave out these rows"
        )


def _new_rows(batch: pl.DataFrame, landed: pl.LazyFrame) -> pl.DataFrame:
    """Events that are to land: not the ids that have landed, each id once (the first by `ts_ms`, then row).

    Returns:
        `row` in the batch and `ts_ms`. Order: that of `seq`.
    """
    ids = batch.lazy().select("event_id", "ts_ms").with_row_index("row")
    # Only ids of this batch are kept of the lake's, however many have landed.
    known = landed.join(ids.select("event_id"), on="event_id", how="semi")
    first = ids.sort("ts_ms", "row").unique("event_id", keep="first", maintain_order=True)
    return first.join(known, on="event_id", how="anti").sort("ts_ms", "event_id").select("row", "ts_ms").collect()


def _numbered(new: pl.DataFrame, seq_lo: int, zone: Zone) -> pl.DataFrame:
    seq = pl.int_range(seq_lo, seq_lo + new.height, dtype=pl.Int64)
    return new.with_columns(seq.alias("seq"), local_day(new["ts_ms"], zone).alias("local_day"))


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


def _by_day(batch: pl.DataFrame, numbered: pl.DataFrame) -> Iterator[tuple[int, pl.DataFrame]]:
    """UTC day and its events as the lake keeps them, day after day."""
    for stretch in _stretches(numbered):
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
    made = _made_properties(events)
    return events.select(*_REQUIRED, "seq", "received_at_ms", "local_day", "context", made, *typed)


def _made_properties(events: pl.DataFrame) -> pl.Series:
    """`properties`, made from the typed columns where they are null."""
    given = events["properties"]
    rows = given.is_null().arg_true()
    if rows.is_empty():
        return given
    bare = events[rows]
    columns = [c for c in _properties(bare) if c.type != "timestamp" and bare[c.name].null_count() < bare.height]
    return given.scatter(rows, properties_text(bare, columns))
