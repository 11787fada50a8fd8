"""Landing a stretch of the log: events that have their `seq` already become files of the lake."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from dsl.event_record import EventRecord
from warehouse.day_files import COLUMNS, write_days
from warehouse.exceptions import LandingError
from warehouse.observed import sightings
from warehouse.property_columns import with_typed_columns
from warehouse.records import IdentityRecord, Project
from warehouse.registry import Registry
from warehouse.settings import Home


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """An event of the log.

    Attributes:
        appended_at_ms: epoch milliseconds on the project's clock.
        identifiers: whom it names, as understood; the source first.
        alias: what an alias joins to the source.
    """

    seq: int
    appended_at_ms: int
    record: EventRecord
    identifiers: tuple[str, ...]
    alias: str | None = None


def land_stretch(
    home: Home,
    registry: Registry,
    project: Project,
    after: int,
    landed_seq: int,
    events: Sequence[LoggedEvent],
    records: Sequence[IdentityRecord] = (),
) -> None:
    """Land the records with `after < seq <= landed_seq`, all of them or none; then the newest cut is `landed_seq`.

    Who calls holds `lake.only_writer` of the project.

    Raises:
        LandingError: an event is no event (what appends has checked it: this is a bug).
        RegistryError: somebody else has landed meanwhile.
    """
    files = []
    if events:
        batch = with_typed_columns(_frame(events), project.zone)
        numbered = batch.with_row_index("row").select("row", "ts_ms", "seq", "local_day").sort("ts_ms", "seq")
        files = write_days(home.lake, project.key, batch.drop("seq", "local_day"), numbered)
        registry.add_observed(project.key, sightings(batch, project.zone))
    registry.add_log(project.key, files, records, after, landed_seq)


def _frame(events: Sequence[LoggedEvent]) -> pl.DataFrame:
    rows = [
        (
            event.seq,
            event.record.event_id,
            event.record.kind,
            event.record.name,
            event.identifiers[0],
            event.record.ts_ms,
            event.record.received_at_ms,
            event.appended_at_ms,
            event.record.local_day,
            json.dumps(event.identifiers, ensure_ascii=False) if len(event.identifiers) > 1 else None,
            event.alias,
            event.record.properties,
            event.record.context,
        )
        for event in events
    ]
    try:
        return pl.DataFrame(rows, schema=COLUMNS, orient="row")
    except (TypeError, pl.exceptions.PolarsError) as error:
        raise LandingError(f"an event of the log does not fit into the lake ({error}): nothing has landed") from error
