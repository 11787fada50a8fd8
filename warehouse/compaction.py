"""Compaction: the small files of a day become one, so that a scan opens hundreds of files and not thousands.

Only files that the last finished refresh has seen whole are merged, so that no table ever meets an event for the first
time in a merged file; readers filter by `seq` in any case. The manifest changes in one transaction. The files that were
merged stay: who has read the old manifest, and the published view `events`, may still open them. They go once a refresh
that began after the swap is published, and a grace period is over.
"""

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from dsl.columns import typed_columns
from dsl.failpoints import reached
from warehouse import lake
from warehouse.columns import column_names, count, literal
from warehouse.database import Connection, connect
from warehouse.day_files import COLUMNS
from warehouse.exceptions import LakeError
from warehouse.property_columns import DTYPES
from warehouse.records import LakeFile, Project
from warehouse.refresh import use_project
from warehouse.registry import Registry
from warehouse.settings import Home

SMALL_BYTES: Final = 32 * 2**20
"""A file of this size or more is not merged any more."""
LARGEST_BYTES: Final = 2 * SMALL_BYTES
"""No more than this is merged into one: its events are in memory."""
FEWEST: Final = 4
"""Small files of a day from which on they are merged: fewer cost less than writing them anew."""
GRACE_MS: Final = 3_600_000
"""How long a replaced file stays at least."""
ORPHAN_S: Final = 86_400
"""How old a file that nobody knows must be: only a process that ended long ago can have left it."""
_FINISHED = "SELECT coalesce(max(cut), 0) FROM refreshes WHERE finished_at IS NOT NULL"
_KNOWN = "SELECT count(*) FROM duckdb_tables() WHERE table_name = 'refreshes'"
_PUBLISHED = "SELECT coalesce(max(epoch_ms(started_at)), 0) FROM refreshes WHERE finished_at IS NOT NULL"


@dataclass(frozen=True, slots=True)
class Compaction:
    """What a compaction did to the files of a project.

    Attributes:
        merged: files that became `written` ones; their sizes are `merged_bytes` and `written_bytes`.
        files: in the manifest, `before` and `after`.
        swept: files that were removed because nobody can read them.
    """

    merged: int
    written: int
    merged_bytes: int
    written_bytes: int
    files_before: int
    files_after: int
    swept: int = 0


def groups(
    files: Iterable[LakeFile], fewest: int = FEWEST, small_bytes: int = SMALL_BYTES
) -> Iterator[Sequence[LakeFile]]:
    """Files that are to become one, each time of one day.

    Args:
        fewest: small files of a day from which on they are merged.
    """
    by_day: dict[int, list[LakeFile]] = defaultdict(list)
    for file in files:
        if file.size_bytes < small_bytes:
            by_day[file.day].append(file)
    for small in by_day.values():
        if len(small) >= fewest:
            group, size = list[LakeFile](), 0
            for file in sorted(small, key=lambda file: (file.seq_lo, file.path)):
                if size + file.size_bytes > 2 * small_bytes:
                    yield group
                    group, size = [], 0
                group.append(file)
                size += file.size_bytes
            if len(group) > 1:
                yield group


def finished_cut(connection: Connection) -> int:
    """The cut of the last refresh of the project that ended; 0 when none has."""
    return count(connection, _FINISHED) if column_names(connection, "refreshes") else 0


def published_ms(home: Home, project: str) -> int:
    """When the refresh began that analysts see, on the project's clock; 0 when nothing is published."""
    if not home.analytics.exists():
        return 0
    with connect(home.analytics, read_only=True) as connection:
        schema = "main" if project == "default" else project
        if not count(connection, f"{_KNOWN} AND schema_name = {literal(schema)}"):
            return 0
        use_project(connection, project)
        return count(connection, _PUBLISHED)


def compact(
    home: Home, registry: Registry, project: Project, cut: int, now_ms: int, fewest: int = FEWEST
) -> Compaction:
    """Merge the small files of each day, then remove what nobody can read any more.

    A crash anywhere leaves every event where readers find it, once. One process compacts at a time.

    Args:
        cut: of the last finished refresh: files with later events stay as they are.
        now_ms: the project's.

    Raises:
        LakeError: a file is missing, or does not hold what the manifest says; nothing of its day has changed.
        RegistryError: somebody else has compacted meanwhile.
    """
    before = registry.files(project.key)
    merged = written = merged_bytes = written_bytes = 0
    for group in groups((file for file in before if file.seq_hi <= cut), fewest):
        made = _merge(home.lake, project.key, group)
        reached("compaction.after_file")
        registry.replace_files(project.key, group, [made], now_ms)
        reached("compaction.after_swap")
        merged, written = merged + len(group), written + 1
        merged_bytes += sum(file.size_bytes for file in group)
        written_bytes += made.size_bytes
    swept = sweep(home, registry, project, min(now_ms - GRACE_MS, published_ms(home, project.key) - 1))
    after = len(registry.files(project.key))
    return Compaction(merged, written, merged_bytes, written_bytes, len(before), after, swept)


def sweep(home: Home, registry: Registry, project: Project, until_ms: int, orphan_s: float = ORPHAN_S) -> int:
    """Remove files that nobody can read: replaced ones, and what processes left that were killed; how many.

    Args:
        until_ms: files that were replaced later than this stay, epoch milliseconds on the project's clock.
        orphan_s: files that neither the manifest nor this registry of replaced files knows go when they are that old;
            not while somebody lands, whose files are known to nobody yet.
    """
    listed = {file.path for file in registry.files(project.key)}
    gone = [path for path in registry.replaced_files(project.key, until_ms) if path not in listed]
    removed = sum(_remove(home.lake / path) for path in gone)
    reached("compaction.before_forget")
    registry.forget_replaced(project.key, gone)
    with lake.no_writer(home.lake, project.key) as alone:
        orphans = _orphans(home.lake, registry, project.key, orphan_s) if alone else []
        return removed + sum(map(_remove, orphans))


def _orphans(folder: Path, registry: Registry, project: str, orphan_s: float) -> list[Path]:
    known = {folder / file.path for file in registry.files(project)}
    known |= {folder / path for path in registry.replaced_files(project)}
    oldest_s = time.time() - orphan_s
    found = (folder / "events" / f"project={project}").glob("day=*/*.parquet")
    return [path for path in found if path not in known and _modified_s(path) < oldest_s]


def _modified_s(path: Path) -> float:
    with suppress(FileNotFoundError):
        return path.stat().st_mtime
    return float("inf")


def _remove(path: Path) -> bool:
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True


def _merge(folder: Path, project: str, files: Sequence[LakeFile]) -> LakeFile:
    """A file with the events of all of them."""
    typed = typed_columns({column for file in files for column in file.columns})
    dtypes: dict[str, pl.DataType] = {column.name: DTYPES[column.type] for column in typed}
    schema = pl.Schema({name: dtype() for name, dtype in COLUMNS.items()} | dtypes)
    lake.read_files(folder, files, ["seq"])
    frames = [pl.read_parquet(file.absolute(folder), glob=False) for file in files]
    events = pl.concat([pl.DataFrame(schema=schema), *frames], how="diagonal").select(schema.names())
    if events.height != sum(file.rows for file in files) or events["seq"].n_unique() != events.height:
        raise LakeError(f"the files of {files[0].path.rpartition('/')[0]} do not hold what the manifest says of them")
    # A file of the group may reach from the first to the last `seq` too: only the number of events is certainly new.
    return lake.write_day(folder, project, files[0].day, events.sort("seq"), f"merged-{events.height}")
