"""Which event ids have landed: their 64-bit hashes in sorted runs on disk, each with the file that has the event.

A hash says where to look, never that an id is known: whoever asks reads the ids in these files. So the memory that a
load needs does not grow with the lake, and neither does what it reads for each batch.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import polars as pl
import pyarrow as pa

from warehouse.lake import in_turns, read_files
from warehouse.records import LakeFile

_SEED: Final = 20_240_229
_LARGEST_RUN: Final = 1 << 25
"""Hashes of a run: merging two of them is in memory."""


@dataclass(slots=True)
class KnownIds:
    """An index of the ids in the files of a manifest.

    Attributes:
        folder: where the runs lie; it belongs to the index.
        lake: the lake's folder.
    """

    folder: Path
    lake: Path
    _paths: dict[str, int] = field(default_factory=dict)
    _files: list[LakeFile] = field(default_factory=list)
    _runs: list["_Run"] = field(default_factory=list)
    _written: int = 0

    def take(self, files: Sequence[LakeFile]) -> None:
        """Index the files that are not indexed yet.

        Raises:
            LakeError: one of them is missing.
        """
        new = [file for file in files if file.path not in self._paths]
        for some in in_turns(new):
            ids = [read_files(self.lake, [file], ["event_id"]).with_columns(file=self._number(file)) for file in some]
            self._add(hashed(pl.concat(ids).collect()))

    def where(self, ids: pl.Series, present: Iterable[LakeFile]) -> list[LakeFile]:
        """Files of the manifest that may hold one of these ids, and all that do."""
        wanted = ids.hash(_SEED).unique().sort()
        numbers = {number for run in self._runs for number in run.files_of(wanted)}
        paths = {self._files[number].path for number in numbers}
        return [file for file in present if file.path in paths]

    def _number(self, file: LakeFile) -> pl.Expr:
        self._paths[file.path] = len(self._files)
        self._files.append(file)
        return pl.lit(len(self._files) - 1, pl.UInt32)

    def _add(self, hashes: pl.DataFrame) -> None:
        """Add a run; runs of like size become one, so that there are few."""
        while self._runs and self._runs[-1].hashes <= 2 * hashes.height <= _LARGEST_RUN:
            run = self._runs.pop()
            hashes = pl.concat([run.read(), hashes]).sort("hash")
            run.path.unlink()
        self._written += 1
        path = self.folder / f"run-{self._written}.arrow"
        hashes.rechunk().write_ipc(path, compression="uncompressed")
        self._runs.append(_Run(path, hashes.height))


@dataclass(frozen=True, slots=True)
class _Run:
    """Sorted hashes in a file that is mapped, not read."""

    path: Path
    hashes: int

    def read(self) -> pl.DataFrame:
        found = pl.from_arrow(pa.ipc.open_file(pa.memory_map(str(self.path))).read_all(), rechunk=False)
        assert isinstance(found, pl.DataFrame)  # noqa: S101  # for the types: a table is no column
        return found

    def files_of(self, wanted: pl.Series) -> list[int]:
        """Numbers of the files that some sorted hashes lead to."""
        run = self.read()
        first, last = (run["hash"].search_sorted(wanted, side=side) for side in ("left", "right"))
        found = pl.DataFrame([first.alias("first"), last.alias("last")]).filter(pl.col("first") < pl.col("last"))
        places = found.select(pl.int_ranges("first", "last").alias("place")).explode("place")["place"]
        return run["file"].gather(places).unique().to_list() if places.len() else []


def hashed(ids: pl.DataFrame) -> pl.DataFrame:
    """Sorted hashes of `event_id` with their `file`."""
    return ids.select(pl.col("event_id").hash(_SEED).alias("hash"), "file").sort("hash")
