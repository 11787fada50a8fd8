"""Landing a stretch of the log: events that have their `seq` already become files of the lake."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import polars as pl

from dsl.event_record import RecordColumns
from dsl.failpoints import reached
from warehouse.day_files import COLUMNS, write_days
from warehouse.exceptions import LandingError
from warehouse.observed import sightings
from warehouse.property_columns import with_typed_columns
from warehouse.records import IdentityRecord, Project
from warehouse.registry import Registry
from warehouse.settings import Home

_TO_ESCAPE = re.compile(r'["\\\x00-\x1f]')


@dataclass(frozen=True, slots=True)
class LoggedEvents:
    """Events of the log: one item an event in each list.

    Attributes:
        appended_at_ms: epoch milliseconds on the project's clock.
        identifiers: whom each names, as understood; the source first.
        aliases: what an alias joins to the source, by place in the lists.
    """

    seq: list[int] = field(default_factory=list)
    appended_at_ms: list[int] = field(default_factory=list)
    identifiers: list[Sequence[str]] = field(default_factory=list)
    aliases: dict[int, str] = field(default_factory=dict)
    records: RecordColumns = field(default_factory=RecordColumns)

    def frame(self) -> pl.DataFrame:
        """The events as the lake keeps them, without typed columns. Grain: one row an event.

        Raises:
            LandingError: an event is no event (what appends has checked it: this is a bug).
        """
        alias: list[str | None] = [None] * len(self.seq)
        for place, joined in self.aliases.items():
            alias[place] = joined
        columns = {
            "seq": self.seq,
            "event_id": self.records.event_id,
            "kind": self.records.kind,
            "name": self.records.name,
            "source_id": [names[0] for names in self.identifiers],
            "ts_ms": self.records.ts_ms,
            "received_at_ms": self.records.received_at_ms,
            "appended_at_ms": self.appended_at_ms,
            "local_day": self.records.local_day,
            "identifiers": [_listed(names) for names in self.identifiers],
            "alias": alias,
            "properties": self.records.properties,
            "context": self.records.context,
        }
        try:
            return pl.DataFrame(columns, schema=COLUMNS)
        except (TypeError, OverflowError, pl.exceptions.PolarsError) as error:
            message = f"an event of the log does not fit into the lake ({error}): nothing has landed"
            raise LandingError(message) from error


def land_stretch(
    home: Home,
    registry: Registry,
    project: Project,
    after: int,
    landed_seq: int,
    events: pl.DataFrame,
    records: Sequence[IdentityRecord] = (),
) -> None:
    """Land the records with `after < seq <= landed_seq`, all of them or none; then the newest cut is `landed_seq`.

    Who calls holds `lake.only_writer` of the project.

    Args:
        events: as `LoggedEvents.frame` gives them.

    Raises:
        LandingError: an event is no event (what appends has checked it: this is a bug).
        RegistryError: somebody else has landed meanwhile.
    """
    files, seen = [], {}
    if not events.is_empty():
        batch = with_typed_columns(events, project.zone)
        numbered = batch.with_row_index("row").select("row", "ts_ms", "seq", "local_day").sort("ts_ms", "seq")
        files = write_days(home.lake, project.key, batch.drop("seq", "local_day"), numbered)
        seen = sightings(batch, project.zone)
    reached("landing.before_manifest")
    registry.add_log(project.key, files, records, after, landed_seq, seen)
    reached("landing.after_manifest")


def _listed(names: Sequence[str]) -> str | None:
    r"""The text of a JSON list; None for the source alone.

    >>> print(_listed(["user:ann", "anon:x"]), _listed(['user:"', "anon:x"]), _listed(["user:ann"]))
    ["user:ann", "anon:x"] ["user:\"", "anon:x"] None
    """
    if len(names) == 1:
        return None
    # Most have nothing to escape, which is told faster than it is done.
    if any(map(_TO_ESCAPE.search, names)):
        return json.dumps(names, ensure_ascii=False)
    return '["' + '", "'.join(names) + '"]'
