"""Audience to rows: what a file will hold, decided before anything is written."""

import re
from dataclasses import dataclass
from typing import Literal

from dsl.catalog import Export
from dsl.clock import format_instant
from exports.exceptions import ExportError
from warehouse.columns import column_names, count, literal, quoted
from warehouse.database import Connection
from warehouse.refresh import Refresh

Format = Literal["csv", "parquet"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,199}")


@dataclass(frozen=True, slots=True)
class AudiencePlan:
    """One file to write: the members of a segment with their traits.

    Attributes:
        name: the file's stem.
        columns: in the order of the file: `profile_id`, `user_id`, `since_at`, then every trait.
        statement: the rows. Grain: one row per member. Keys: profile_id. Order: profile_id.
        rows: how many there are.
        as_of: the instant of membership and traits, `2018-01-01T04:01:21.000Z`.
        cut: events with `seq <= cut` are counted.
    """

    name: str
    segment: str
    format: Format
    columns: tuple[str, ...]
    statement: str
    rows: int
    as_of: str
    cut: int
    catalog_version: int

    @property
    def file_name(self) -> str:
        """Name of the file within the folder of exports."""
        return f"{self.name}.{self.format}"


def plan_audience(connection: Connection, export: Export, refresh: Refresh) -> AudiencePlan:
    """What the export's file will hold, from the tables of `refresh`.

    Raises:
        ExportError: its name is no file name, or the segment has not been computed.
    """
    if not _NAME.fullmatch(export.name):
        raise ExportError(f"export name `{export.name}` is not allowed: use A-Z, a-z, 0-9, `_`, `.` and `-`")
    segment = literal(export.segment)
    if not count(connection, f"SELECT count(*) FROM segment_sizes WHERE segment = {segment}"):
        raise ExportError(f"segment `{export.segment}` has not been computed: refresh it, then export again")
    traits = [name for name in column_names(connection, "traits") if name != "profile_id"]
    columns = ("profile_id", "user_id", "since_at", *traits)
    return AudiencePlan(
        name=export.name,
        segment=export.segment,
        format=export.format,
        columns=columns,
        statement=_statement(segment, traits),
        rows=count(connection, f"SELECT count(*) FROM segment_members WHERE segment = {segment}"),
        as_of=format_instant(refresh.t_ms),
        cut=refresh.cut,
        catalog_version=refresh.catalog_version,
    )


def _statement(segment: str, traits: list[str]) -> str:
    selected = ", ".join(["profile_id", "user_id", "since_at", *(f"traits.{quoted(name)}" for name in traits)])
    return (
        f"SELECT {selected} FROM segment_members AS members JOIN profiles USING (profile_id) "
        f"LEFT JOIN traits USING (profile_id) WHERE members.segment = {segment} ORDER BY profile_id"
    )
