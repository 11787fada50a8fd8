"""Looking up what has landed, without a refresh."""

from collections.abc import Iterator

import polars as pl

from warehouse.lake import read_files
from warehouse.records import Project
from warehouse.registry import Registry
from warehouse.settings import Home


def landed_since(
    home: Home, registry: Registry, project: Project, appended_at_ms: int
) -> Iterator[tuple[str, int, int]]:
    """Event id, `seq` and `appended_at_ms` of the events that were appended at this instant (project's clock) or later.

    Raises:
        LakeError: a file of the lake is missing.
    """
    columns = ["event_id", "seq", "appended_at_ms"]
    files = registry.files(project.key)
    if files:
        recent = read_files(home.lake, files, columns).filter(pl.col("appended_at_ms") >= appended_at_ms)
        yield from recent.collect().iter_rows()
