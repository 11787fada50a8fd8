"""Landing: a batch of events is checked, stripped of what has landed before, numbered, and put into the lake."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from dsl.clock import Zone, parse_instant
from dsl.columns import Column, column_name
from warehouse import lake
from warehouse.day_files import COLUMNS, Progress, local_day, property_columns, write_days
from warehouse.exceptions import LandingError
from warehouse.observed import sightings
from warehouse.property_columns import DTYPES, with_typed_columns
from warehouse.records import LakeFile, Project
from warehouse.registry import Registry
from warehouse.settings import Home

KINDS: Final = ("track", "page", "screen", "identify", "alias", "group", "system")
"""Kinds of events."""
_REQUIRED = ("event_id", "kind", "name", "source_id", "ts_ms")
_OPTIONAL = ("properties", "context", "identifiers", "alias")
_FIRST_MS = parse_instant("0001-01-02")
"""Earliest `ts`: a local date, in any zone, must be a date."""

Reserve = Callable[[int], int]
"""Takes a count, gives the first of so many numbers that are nobody else's: `[first, first + count)`."""


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
            `properties`, where it is missing or null, is made from them. `identifiers` (a JSON list, the source first)
            and `alias`, where an event names more than its source. Grain: one row an event as sent. Order: of two
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
        new = _new_rows(batch, home.lake, present)
        if new.is_empty():
            return Landing(0, batch.height)
        seq_lo = reserved(new.height, reserve, registry.max_seq(project.key))
        in_order = numbered(new, seq_lo, project.zone)
        files = write_days(home.lake, project.key, batch, in_order, progress)
        seen = sightings(batch if new.height == batch.height else batch[new["row"]], project.zone)
        registry.add_files(files, (seq_lo, seq_lo + new.height - 1), seen)
    return Landing(new.height, batch.height - new.height, tuple(files), seq_lo, seq_lo + new.height - 1)


def reserved(count: int, reserve: Reserve, held: int) -> int:
    """The first of so many numbers.

    Args:
        held: largest `seq` in the lake.

    Raises:
        LandingError: the counter is behind the lake.
    """
    seq_lo = reserve(count)
    if seq_lo <= held:
        raise LandingError(
            f"the counter gave seq {seq_lo} but the lake holds events up to {held}: nothing has landed; "
            "raise the counter above that before landing again"
        )
    return seq_lo


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
        appended_at_ms=pl.lit(received_at_ms, pl.Int64),
    )


def _typed(events: pl.DataFrame) -> pl.DataFrame:
    """The columns that the lake keeps, each in its type; `properties` may still be null."""
    optional = [pl.lit(None, pl.String).alias(name) for name in _OPTIONAL if name not in events.columns]
    events = events.with_columns(optional)
    types: dict[str, pl.DataType] = {column: COLUMNS[column]() for column in (*_REQUIRED, *_OPTIONAL)}
    types |= {_canonical(column): DTYPES[column.type] for column in property_columns(events)}
    for column, wanted in types.items():
        found = events.schema[column]
        if found not in (wanted, pl.Null) and not (wanted == pl.Int64 and found.is_integer()):
            raise LandingError(f"column `{column}` of the events holds {found}: expected {wanted}")
    return events.select(*types).cast(pl.Schema(types)).with_columns(pl.col("context").fill_null("{}"))


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


def _new_rows(batch: pl.DataFrame, folder: Path, present: Sequence[LakeFile]) -> pl.DataFrame:
    """Events that are to land: not the ids that have landed, each id once (the first by `ts_ms`, then row).

    Returns:
        `row` in the batch and `ts_ms`. Order: that of `seq`.
    """
    ids = batch.lazy().select("event_id", "ts_ms").with_row_index("row")
    # Only ids of this batch are kept of the lake's, however many have landed.
    known = [
        lake.read_files(folder, some, ["event_id"])
        .join(ids.select("event_id"), on="event_id", how="semi")
        .collect(engine="streaming")
        for some in lake.in_turns(present)
    ]
    first = ids.sort("ts_ms", "row").unique("event_id", keep="first", maintain_order=True)
    if known:
        first = first.join(pl.concat(known).lazy(), on="event_id", how="anti")
    return first.sort("ts_ms", "event_id").select("row", "ts_ms").collect()


def numbered(new: pl.DataFrame, seq_lo: int, zone: Zone) -> pl.DataFrame:
    """Rows in their order, with `seq` and `local_day`."""
    seq = pl.int_range(seq_lo, seq_lo + new.height, dtype=pl.Int64)
    return new.with_columns(seq.alias("seq"), local_day(new["ts_ms"], zone).alias("local_day"))
