"""The lake: Parquet files of events, one folder a project and UTC day, each file written whole or not at all."""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from dsl.clock import format_day
from dsl.columns import typed_columns
from dsl.failpoints import reached
from warehouse.exceptions import LakeError
from warehouse.records import LakeFile

SORTED_BY = ("name", "source_id", "ts_ms")
"""Order of rows in a file: a filter on the name of the event, or on a source, skips whole row groups."""
_FILES_AT_ONCE = 256
_LEVEL = 1
"""Of compression: the next ones take longer and files of a day become no smaller."""


def write_day(lake: Path, project: str, day: int, events: pl.DataFrame, lead: str = "part") -> LakeFile:
    """Write the events of one UTC day as a file; it exists only once the manifest lists it.

    Args:
        lake: the lake's folder.
        project: key of the project.
        day: UTC days since 1970-01-01.
        events: all columns of the lake. Grain: one row an event. At least one row.
        lead: what the file's name begins with; two files of a lead must not have the same first and last `seq`.
    """
    seq_lo, seq_hi = _ends(events["seq"])
    path = f"events/project={project}/day={format_day(day)}/{lead}-{seq_lo}-{seq_hi}.parquet"
    target = lake / path
    hidden = target.with_name(f".{target.name}")
    _make_folder(target.parent)
    reached("lake.before_file")
    try:
        events.sort(SORTED_BY, maintain_order=True).write_parquet(hidden, compression="zstd", compression_level=_LEVEL)
        _sync(hidden)
        reached("lake.before_rename")
        hidden.replace(target)
    finally:
        hidden.unlink(missing_ok=True)
    _sync(target.parent)
    reached("lake.after_file")
    size_bytes = target.stat().st_size
    columns = tuple(column.name for column in typed_columns(events.columns))
    return LakeFile(project, path, day, seq_lo, seq_hi, events.height, size_bytes, columns)


def in_turns(files: Sequence[LakeFile]) -> Iterator[Sequence[LakeFile]]:
    """So many files that Polars has a thread for each that it waits for; it has 512."""
    return (files[start : start + _FILES_AT_ONCE] for start in range(0, len(files), _FILES_AT_ONCE))


def read_files(lake: Path, files: Sequence[LakeFile], columns: Sequence[str]) -> pl.LazyFrame:
    """Columns that every file has, over files of the manifest; no rows without files.

    Raises:
        LakeError: a file is missing.
    """
    paths = [file.absolute(lake) for file in files]
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise LakeError(
            f"{len(missing)} of {len(paths)} files of the lake are missing, the first is {missing[0]}: "
            "restore the folder from a backup, or delete the project and load it again"
        )
    if not paths:
        return pl.LazyFrame(schema=dict.fromkeys(columns, pl.String))
    scans = [pl.scan_parquet(path, glob=False).select(columns) for path in paths]
    return pl.concat(scans)


@contextmanager
def only_writer(lake: Path, project: str) -> Iterator[None]:
    """Wait until no other process lands events of the project, and keep others waiting meanwhile.

    The lock ends with the process, however it ends.
    """
    folder = lake / "events" / f"project={project}"
    _make_folder(folder)
    with (folder / ".landing").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def no_writer(lake: Path, project: str) -> Iterator[bool]:
    """Whether nobody lands events of the project, who is kept waiting meanwhile; it does not wait itself."""
    folder = lake / "events" / f"project={project}"
    _make_folder(folder)
    with (folder / ".landing").open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def _ends(seq: pl.Series) -> tuple[int, int]:
    ordered = seq.sort()
    return int(ordered[0]), int(ordered[-1])


def _make_folder(folder: Path) -> None:
    """Make a folder so that it, and the way to it, outlives a power cut."""
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync(folder.parent)


def _sync(path: Path) -> None:
    """Wait until a file's bytes, or a folder's entries, are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
