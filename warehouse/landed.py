"""Looking up what has landed, without a refresh."""

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from warehouse.lake import in_turns, read_files
from warehouse.records import LakeFile, Project
from warehouse.registry import Registry
from warehouse.settings import Home

_CONTENT: Final = ("event_id", "seq", "kind", "name", "source_id", "ts_ms", "identifiers", "alias", "properties")


@dataclass(frozen=True, slots=True)
class LandedEvent:
    """What an event of the lake says.

    Attributes:
        identifiers: as they were understood, the source first.
        alias: what an alias joins to the source.
        properties: JSON text.
    """

    event_id: str
    seq: int
    kind: str
    name: str
    ts_ms: int
    identifiers: tuple[str, ...]
    alias: str | None
    properties: str


def landed_events(
    home: Home, registry: Registry, project: Project, event_ids: Collection[str]
) -> dict[str, LandedEvent]:
    """Those of some event ids that are in the lake, all of which is looked through, however old.

    Raises:
        LakeError: a file of the lake is missing.
    """
    ids = pl.LazyFrame({"event_id": list(event_ids)}, schema={"event_id": pl.String})
    found: dict[str, LandedEvent] = {}
    for some in in_turns(registry.files(project.key)):
        known = read_files(home.lake, some, ["event_id", "seq"]).join(ids, on="event_id", how="semi")
        seqs = known.collect(engine="streaming")["seq"].to_list()
        if seqs:
            found |= _contents(home, some, seqs)
    return found


def _contents(home: Home, files: Sequence[LakeFile], seqs: Sequence[int]) -> dict[str, LandedEvent]:
    holding = [file for file in files if any(file.seq_lo <= seq <= file.seq_hi for seq in seqs)]
    rows = read_files(home.lake, holding, _CONTENT).filter(pl.col("seq").is_in(seqs)).collect(engine="streaming")
    return {
        event_id: LandedEvent(event_id, seq, kind, name, ts_ms, _identifiers(source_id, listed), alias, properties)
        for event_id, seq, kind, name, source_id, ts_ms, listed, alias, properties in rows.iter_rows()
    }


def _identifiers(source_id: str, listed: str | None) -> tuple[str, ...]:
    return (source_id,) if listed is None else tuple(json.loads(listed))


def landed_since(
    home: Home, registry: Registry, project: Project, appended_at_ms: int
) -> Iterator[tuple[str, int, int]]:
    """Event id, `seq` and `appended_at_ms` of the events that were appended at this instant (project's clock) or later.

    Raises:
        LakeError: a file of the lake is missing.
    """
    columns = ["event_id", "seq", "appended_at_ms"]
    for some in in_turns(registry.files(project.key)):
        recent = read_files(home.lake, some, columns).filter(pl.col("appended_at_ms") >= appended_at_ms)
        yield from recent.collect().iter_rows()


def landed_system(home: Home, registry: Registry, project: Project, name: str) -> Iterator[tuple[str, int, None]]:
    """Event id and `seq` of every system event of a name, and no instant: however old, they happen once.

    Raises:
        LakeError: a file of the lake is missing.
    """
    for some in in_turns(registry.files(project.key)):
        named = read_files(home.lake, some, ["event_id", "seq", "kind", "name"])
        logged = named.filter((pl.col("kind") == "system") & (pl.col("name") == name)).select("event_id", "seq")
        for event_id, seq in logged.collect(engine="streaming").iter_rows():
            yield event_id, seq, None
