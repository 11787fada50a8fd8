"""Files of audiences: written under a hidden name, then renamed, with a manifest beside each."""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl

from exports.exceptions import ExportError
from exports.plan import AudiencePlan
from warehouse.database import Connection

_FORMULA = r"^[=+\-@\t\r]"
_INSTANT = "%Y-%m-%dT%H:%M:%S%.3fZ"


@dataclass(frozen=True, slots=True)
class ExportedFile:
    """A file that was written; the fields of its manifest.

    Attributes:
        path: the file; its manifest is `<path>.manifest.json`.
        sha256: hex, of the whole file.
    """

    path: Path
    segment: str
    format: str
    rows: int
    size_bytes: int
    sha256: str
    columns: tuple[str, ...]
    as_of: str
    cut: int
    catalog_version: int


def write_audience(connection: Connection, plan: AudiencePlan, folder: Path) -> ExportedFile:
    """Writes the plan's file and its manifest into `folder`; a file of that name is replaced whole.

    Rows are streamed: memory does not grow with the audience. In CSV, instants are ISO 8601 in UTC and a text cell
    that a spreadsheet would run as a formula gets an apostrophe in front.

    Raises:
        ExportError: the folder cannot be written.
    """
    target = folder / plan.file_name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _appearing_whole(target) as hidden:
            _stream(connection.sql(plan.statement).pl(lazy=True), hidden, plan)
            written = _described(plan, hidden, target)
        with _appearing_whole(_manifest_path(target)) as hidden:
            hidden.write_text(_manifest(written))
    except OSError as error:
        raise ExportError(
            f"cannot write {target} ({error.strerror}): make room there or choose another TINYCDP_HOME"
        ) from error
    return written


def read_manifest(path: Path) -> dict[str, object]:
    """What the manifest beside an exported file says."""
    manifest: dict[str, object] = json.loads(_manifest_path(path).read_text())
    return manifest


def _stream(rows: pl.LazyFrame, path: Path, plan: AudiencePlan) -> None:
    if plan.format == "parquet":
        rows.sink_parquet(path, compression="zstd")
        return
    texts = [name for name, dtype in rows.collect_schema().items() if dtype == pl.String()]
    rows.with_columns(_neutral(name) for name in texts).sink_csv(path, datetime_format=_INSTANT)


def _neutral(column: str) -> pl.Expr:
    """The text column with an apostrophe before what a spreadsheet would take for a formula."""
    text = pl.col(column)
    return pl.when(text.str.contains(_FORMULA)).then(pl.lit("'") + text).otherwise(text).alias(column)


def _described(plan: AudiencePlan, written: Path, target: Path) -> ExportedFile:
    with written.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return ExportedFile(
        path=target,
        segment=plan.segment,
        format=plan.format,
        rows=plan.rows,
        size_bytes=written.stat().st_size,
        sha256=digest,
        columns=plan.columns,
        as_of=plan.as_of,
        cut=plan.cut,
        catalog_version=plan.catalog_version,
    )


def _manifest(written: ExportedFile) -> str:
    fields = asdict(written)
    manifest = {"file": fields.pop("path").name, "bytes": fields.pop("size_bytes"), **fields}
    return json.dumps(manifest, indent=2) + "\n"


@contextmanager
def _appearing_whole(target: Path) -> Iterator[Path]:
    """A path to write to, which becomes `target` at the end of the block: its bytes reach the disk before its name."""
    hidden = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        yield hidden
        _sync(hidden)
        hidden.replace(target)
        _sync(target.parent)
    finally:
        hidden.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _manifest_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.manifest.json")
