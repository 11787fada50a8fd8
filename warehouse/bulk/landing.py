"""Landing a batch of a load: ids that are known are told apart, the rest lands whole or not at all."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import polars as pl

from dsl.failpoints import reached
from dsl.numbers import read_json
from warehouse import lake
from warehouse.bulk.known_ids import KnownIds
from warehouse.bulk.understanding import Problem
from warehouse.day_files import made_properties, write_days
from warehouse.exceptions import LoadError
from warehouse.landing import Reserve, numbered, reserved
from warehouse.observed import sightings
from warehouse.records import DeadLetter, LakeFile, Project
from warehouse.registry import Registry
from warehouse.settings import Home

_CONTENT: Final = (
    "event_id",
    "kind",
    "name",
    "source_id",
    "ts_ms",
    "received_at_ms",
    "identifiers",
    "alias",
    "properties",
)
_ATTEMPTS: Final = 20


def _nothing_to_land() -> None:
    return


def _nobody_sends(_events: Sequence[tuple[str, int]], _landed_seq: int) -> Sequence[str]:
    return ()


def _nobody_asks(_event_ids: Sequence[str]) -> None:
    return


@dataclass(frozen=True, slots=True)
class Online:
    """What a load needs of the online store; by default there is none beside the counter.

    Attributes:
        reserve: takes numbers from the project's counter.
        land_log: lands what has been appended; called by who holds `lake.only_writer`.
        claim: takes ids (with their `seq`) for events that are about to land; gives those that somebody has sent since
            the log landed (up to that cut).
        keep: events of claimed ids have landed.
        remembered_ms: how long ids of live events are known; older events take the late lane, which asks the lake.
    """

    reserve: Reserve
    land_log: Callable[[], object] = _nothing_to_land
    claim: Callable[[Sequence[tuple[str, int]], int], Sequence[str]] = _nobody_sends
    keep: Callable[[Sequence[str]], None] = _nobody_asks
    remembered_ms: int = 0


@dataclass(frozen=True, slots=True)
class Target:
    """Where a load goes."""

    home: Home
    registry: Registry
    project: Project
    online: Online
    known: KnownIds


@dataclass(frozen=True, slots=True)
class Sorted:
    """What ids say of a batch.

    Attributes:
        new: events that are to land, each id once.
        duplicates: events that have landed, or stand earlier in the batch.
        conflicts: rows whose id is of another event.
    """

    new: pl.DataFrame
    duplicates: int
    conflicts: tuple[Problem, ...]


Letters = Callable[[Sequence[Problem]], Sequence[DeadLetter]]
Position = Callable[[int, int, Mapping[str, int]], Mapping[str, Any]]
"""Of events that land, duplicates, and dead letters by reason, the position of the load after them."""


@dataclass(slots=True)
class BatchLanding:
    """One batch on its way.

    Attributes:
        events: as `understand` gives them.
        letters: makes dead letters of rows.
        problems: rows that are no events; `broken` letters of lines that are not even rows.
    """

    target: Target
    load: str
    events: pl.DataFrame
    problems: Sequence[Problem]
    broken: Sequence[DeadLetter]
    letters: Letters
    position: Position
    _claimed: list[str] = field(default_factory=list)

    def land(self, received_at_ms: int) -> Mapping[str, Any]:
        """Land it, all of it or nothing; the position after it."""
        target = self.target
        with lake.only_writer(target.home.lake, target.project.key):
            sorted_out, order = self._sorted_and_numbered(received_at_ms)
            position = self._commit(sorted_out, order)
        reached("load.before_keep")
        target.online.keep(self._claimed)
        return position

    def _sorted_and_numbered(self, received_at_ms: int) -> tuple[Sorted, pl.DataFrame | None]:
        """New events, and their rows in order with their numbers; None when there are none."""
        target = self.target
        for _ in range(_ATTEMPTS):
            target.online.land_log()
            present = target.registry.files(target.project.key)
            target.known.take(present)
            sorted_out = sort_out(self.events, target.known, present)
            if sorted_out.new.is_empty():
                return sorted_out, None
            held = target.registry.max_seq(target.project.key)
            seq_lo = reserved(sorted_out.new.height, target.online.reserve, held)
            reached("load.after_reserve")
            order = _in_order(sorted_out.new, seq_lo, target.project)
            if not self._sent_meanwhile(sorted_out.new, order, received_at_ms):
                return sorted_out, order
        # Whoever sends the same ids again and again as fast as this looks: they are known the next time.
        raise LoadError("events of this load are being sent at the same time: run the load again")

    def _sent_meanwhile(self, new: pl.DataFrame, order: pl.DataFrame, received_at_ms: int) -> bool:
        """Whether somebody has sent one of these since the log landed; takes the ids of the last days otherwise."""
        online = self.target.online
        recent = order.filter(pl.col("ts_ms") >= received_at_ms - online.remembered_ms)
        if recent.is_empty() or not online.remembered_ms:
            return False
        events = list(zip(new["event_id"].gather(recent["row"]), recent["seq"], strict=True))
        landed_seq = self.target.registry.landed_seq(self.target.project.key)
        sent = online.claim(events, landed_seq)
        self._claimed = [event_id for event_id, _ in events]
        return bool(sent)

    def _commit(self, sorted_out: Sorted, order: pl.DataFrame | None) -> Mapping[str, Any]:
        target, new = self.target, sorted_out.new
        problems = [*self.problems, *sorted_out.conflicts]
        letters = [*self.broken, *self.letters(problems)]
        reasons = Counter(letter.reason for letter in letters)
        position = self.position(new.height, sorted_out.duplicates, reasons)
        files: list[LakeFile] = []
        numbers, seen = None, {}
        if order is not None:
            numbers = (int(order["seq"][0]), int(order["seq"][-1]))
            files = write_days(target.home.lake, target.project.key, new, order)
            seen = sightings(new, target.project.zone)
        reached("load.before_manifest")
        target.registry.add_batch(target.project.key, self.load, position, files, numbers, seen, letters)
        reached("load.after_manifest")
        return position


def _in_order(new: pl.DataFrame, seq_lo: int, project: Project) -> pl.DataFrame:
    rows = new.select("ts_ms", "event_id").with_row_index("row").sort("ts_ms", "event_id").select("row", "ts_ms")
    return numbered(rows, seq_lo, project.zone)


def sort_out(events: pl.DataFrame, known: KnownIds, present: Sequence[LakeFile]) -> Sorted:
    """Tell apart events whose id is new, events that are known, and events that others have the id of.

    Args:
        events: as `understand` gives them; of two with one id the first counts.
        present: the manifest.
    """
    first = events["event_id"].is_first_distinct()
    winners = events if first.all() else events.filter(first)
    files = known.where(winners["event_id"], present)
    landed = _landed(winners["event_id"], known, files)
    new = (
        winners
        if landed.is_empty()
        else winners.join(landed.select("event_id"), on="event_id", how="anti", maintain_order="left")
    )
    if new.height == events.height:
        return Sorted(_as_written(new), 0, ())
    again = events.filter(~first | ~pl.col("event_id").is_in(new["event_id"].implode()))
    contents = pl.concat([landed, _content(new.join(again.select("event_id"), on="event_id", how="semi"))])
    conflicts = tuple(_conflicts(again, contents))
    return Sorted(_as_written(new), again.height - len(conflicts), conflicts)


def _as_written(new: pl.DataFrame) -> pl.DataFrame:
    return new.drop("row", "sent_ms")


def _landed(ids: pl.Series, known: KnownIds, files: Sequence[LakeFile]) -> pl.DataFrame:
    """What events of the lake with these ids say."""
    types = {name: pl.Int64() if name.endswith("_ms") else pl.String() for name in _CONTENT}
    wanted = ids.to_frame("event_id").lazy()
    scans = (lake.read_files(known.lake, some, _CONTENT) for some in lake.in_turns(files))
    found = (rows.join(wanted, on="event_id", how="semi").collect(engine="streaming") for rows in scans)
    return pl.concat([pl.DataFrame(schema=types), *found])


def _content(events: pl.DataFrame) -> pl.DataFrame:
    return events.with_columns(made_properties(events).alias("properties")).select(_CONTENT)


def _conflicts(again: pl.DataFrame, contents: pl.DataFrame) -> "Sequence[Problem]":
    """Rows that say something else than the event that has their id."""
    said = _content(again).with_columns(again["row"], again["sent_ms"])
    both = said.join(contents, on="event_id", how="left", suffix="_held", maintain_order="left")
    at = pl.min_horizontal("sent_ms", "received_at_ms_held") != pl.col("ts_ms_held")
    previous = pl.col("alias").str.split_exact(":", 1).struct.field("field_1")
    previous_held = pl.col("alias_held").str.split_exact(":", 1).struct.field("field_1")
    differing = {
        "kind": pl.col("kind") != pl.col("kind_held"),
        "name": pl.col("name") != pl.col("name_held"),
        "time": at,
        "identifiers": (pl.col("source_id") != pl.col("source_id_held"))
        | pl.col("identifiers").ne_missing(pl.col("identifiers_held"))
        | previous.ne_missing(previous_held),
        "properties": pl.col("properties") != pl.col("properties_held"),
    }
    found = both.filter(pl.any_horizontal(*differing.values())).with_columns(
        pl.concat_list(pl.when(mask).then(pl.lit(what)) for what, mask in differing.items())
        .list.drop_nulls()
        .alias("in")
    )
    rows = found.select("row", "event_id", "kind", "properties", "properties_held", "in").iter_rows()
    return [
        Problem(row, "id_conflict", "$", f"the id is of an event already whose {', '.join(where)} differ", event_id)
        for row, event_id, kind, properties, held, where in rows
        if where != ["properties"] or _differ(properties, held, kind)
    ]


def _differ(one: str, other: str, kind: str) -> bool:
    """Whether two texts are different objects, however they are written; null is as nothing but for attributes."""
    first, second = read_json(one), read_json(other)
    return first != second if kind == "identify" else _without_nulls(first) != _without_nulls(second)


def _without_nulls(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_nulls(each) for key, each in value.items() if each is not None}
    return value
