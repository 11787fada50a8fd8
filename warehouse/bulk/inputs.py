"""Files that are loaded: Parquet, CSV and NDJSON, batch by batch from any position, also compressed."""

import csv
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import polars as pl
import pyarrow as pa

from dsl.nearest import nearest
from warehouse.bulk.documents import NoDocument, read_document
from warehouse.bulk.mapping import Format, LoadMapping
from warehouse.bulk.rows import DocumentRows, Rows, TableRows
from warehouse.bulk.table_columns import holds
from warehouse.exceptions import LoadError

BATCH_ROWS: Final = 1_000_000
"""Rows of Parquet that are in memory at a time."""
BATCH_BYTES: Final[dict[Format, int]] = {"csv": 128 << 20, "ndjson": 64 << 20}
"""Text that is in memory at a time."""
_FORMATS: Final[dict[str, Format]] = {
    ".parquet": "parquet",
    ".csv": "csv",
    ".tsv": "csv",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
}
_COMPRESSIONS: Final = {".gz": "gzip", ".zst": "zstd"}
_HEADER_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Broken:
    """A line that is no row.

    Attributes:
        row: of the file, from 1.
        raw: the line.
    """

    row: int
    reason: str
    detail: str
    raw: str


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of a file that follow one another.

    Attributes:
        numbers: of each row in the file, from 1; a header is none.
        end: position behind the last one, where the next batch begins: a row of Parquet, else a byte of the text.
        rows_read: rows of the file up to there.
        share: of the file that has been read by then, 0..1.
    """

    rows: Rows
    numbers: Sequence[int]
    broken: tuple[Broken, ...]
    end: int
    rows_read: int
    share: float


@dataclass(frozen=True, slots=True)
class Input:
    """A file that is to be loaded."""

    path: Path
    format: Format
    compression: str | None
    separator: str

    @classmethod
    def of(cls, path: Path, mapping: LoadMapping) -> "Input":
        """The file, by its name unless the mapping says the format.

        Raises:
            LoadError: there is no such file, or its name does not say what it is.
        """
        if not path.is_file():
            raise LoadError(f"there is no file {path}")
        compression = _COMPRESSIONS.get(path.suffix)
        suffix = Path(path.stem).suffix if compression else path.suffix
        found = mapping.format or _FORMATS.get(suffix)
        if found is None:
            raise LoadError(f"{path} could be anything: say `format: csv`, `ndjson` or `parquet` in the mapping")
        separator = "\t" if suffix == ".tsv" and mapping.separator == "," else mapping.separator
        return cls(path, found, compression, separator)

    def check(self, mapping: LoadMapping) -> None:
        """See that every column that the mapping names is there.

        Raises:
            LoadError: one is not, or is of a type that cannot be used.
        """
        if self.format == "ndjson":
            return
        schema = self._schema()
        for column, what in mapping.named():
            if _dtype(schema, column) is None:
                best = nearest(column, schema)
                advice = f"the nearest is `{best}`" if best else f"it has {', '.join(f'`{name}`' for name in schema)}"
                raise LoadError(f"{self.path} has no column `{column}` (`{what}` of the mapping): {advice}")
        stamp = _dtype(schema, mapping.ts.column)
        if stamp is not None and stamp.is_numeric() and mapping.ts.unit is None:
            raise LoadError(
                f"`{mapping.ts.column}` of {self.path} holds numbers: "
                "say `unit: s`, `ms` or `us` under `ts` of the mapping"
            )
        taken = mapping.taken()
        others = [name for name in schema if mapping.properties.others and name not in taken]
        for column in [*others, *mapping.properties.columns.values()]:
            dtype = _dtype(schema, column)
            if dtype is not None and (why := holds(dtype)):
                raise LoadError(f"`{column}` of {self.path} holds {why}, no property: name it under `leave_out`")

    def batches(self, mapping: LoadMapping, start: int = 0, rows_read: int = 0) -> Iterator[Batch]:
        """What follows a position.

        Raises:
            LoadError: the file cannot be read.
        """
        try:
            match self.format:
                case "parquet":
                    yield from self._tables(mapping, start)
                case "csv":
                    yield from self._csv(start, rows_read)
                case "ndjson":
                    yield from self._documents(start, rows_read)
        except (OSError, pl.exceptions.PolarsError, pa.ArrowException) as error:
            raise LoadError(f"{self.path} cannot be read: {str(error).splitlines()[0]}") from error

    def _schema(self) -> dict[str, pl.DataType]:
        try:
            if self.format == "parquet":
                return dict(pl.read_parquet_schema(self.path))
            return dict.fromkeys(self._header()[0], pl.String())
        except (OSError, pl.exceptions.PolarsError, pa.ArrowException) as error:
            raise LoadError(f"{self.path} cannot be read: {str(error).splitlines()[0]}") from error

    # Parquet

    def _tables(self, mapping: LoadMapping, start: int) -> Iterator[Batch]:
        scan = pl.scan_parquet(self.path, glob=False)
        total = int(scan.select(pl.len()).collect().item())
        if not mapping.properties.others and not (mapping.attributes or mapping.properties).others:
            schema = self._schema()
            named = dict.fromkeys(column for column, _ in mapping.named())
            scan = scan.select(list(dict.fromkeys(name if name in schema else name.split(".")[0] for name in named)))
        while start < total:
            frame = scan.slice(start, BATCH_ROWS).collect()
            end = start + frame.height
            yield Batch(TableRows(frame), range(start + 1, end + 1), (), end, end, end / total)
            start = end

    # Texts

    def _open(self, stack: ExitStack) -> tuple[IO[bytes], IO[bytes]]:
        """The file, and its text uncompressed."""
        file = stack.enter_context(self.path.open("rb"))
        if self.compression is None:
            return file, file
        return file, stack.enter_context(pa.CompressedInputStream(pa.PythonFile(file), self.compression))

    def _header(self) -> tuple[list[str], int]:
        """Names of the columns, and where the rows begin.

        Raises:
            LoadError: there is none, or it names a column twice.
        """
        with ExitStack() as stack:
            begin = _read(self._open(stack)[1], _HEADER_BYTES)
        bom = 3 if begin.startswith(b"\xef\xbb\xbf") else 0
        end = _record_end(begin, bom)
        text = begin[bom:end].decode("utf-8", "replace")
        names = next(csv.reader([text.rstrip("\r\n")], delimiter=self.separator), [])
        twice = next((name for name in names if names.count(name) > 1), None)
        if not names or twice is not None:
            what = f"the column `{twice}` twice" if names else "no header: its first line should name the columns"
            raise LoadError(f"{self.path} has {what}")
        return names, end

    def _pieces(self, start: int, size: int) -> Iterator[tuple[bytes, int, float]]:
        """Whole lines of some bytes, where they end, and the share of the file that has been read."""
        with ExitStack() as stack:
            file, text = self._open(stack)
            total, rest = max(1, self.path.stat().st_size), b""
            _skip(text, start)
            while more := _read(text, size):
                held = rest + more
                is_last = len(more) < size
                cut = len(held) if is_last else _last_end(held, quoted=self.format == "csv")
                if cut:
                    start += cut
                    yield held[:cut], start, min(1.0, file.tell() / total)
                rest = held[cut:]
            if rest:
                yield rest, start + len(rest), 1.0

    def _csv(self, start: int, rows_read: int) -> Iterator[Batch]:
        names, begin = self._header()
        for piece, end, share in self._pieces(max(start, begin), BATCH_BYTES["csv"]):
            try:
                piece.decode()
            except UnicodeDecodeError:
                piece = piece.decode("utf-8", "replace").encode()  # noqa: PLW2901  # every text is UTF-8 from here on
            frame, broken = self._parsed(piece, names, rows_read)
            numbers: Sequence[int] = range(rows_read + 1, rows_read + frame.height + len(broken) + 1)
            rows_read += len(numbers)
            if broken:
                lost = {each.row for each in broken}
                numbers = [number for number in numbers if number not in lost]
            yield Batch(TableRows(frame), numbers, broken, end, rows_read, share)

    def _parsed(self, piece: bytes, names: list[str], rows_read: int) -> tuple[pl.DataFrame, tuple[Broken, ...]]:
        schema = dict.fromkeys(names, pl.String())
        try:
            frame = pl.read_csv(
                piece,
                has_header=False,
                schema=schema,
                separator=self.separator,
                infer_schema=False,
                raise_if_empty=False,
            )
        except pl.exceptions.PolarsError:
            return self._parsed_leniently(piece.decode(), names, rows_read)
        # An empty line is no row.
        return frame.filter(~pl.all_horizontal(pl.all().is_null())), ()

    def _parsed_leniently(self, text: str, names: list[str], rows_read: int) -> tuple[pl.DataFrame, tuple[Broken, ...]]:
        """Line by line, because one of them has more cells than there are columns."""
        rows, broken = list[list[str | None]](), list[Broken]()
        for cells in csv.reader(text.splitlines(keepends=True), delimiter=self.separator):
            if not cells:
                continue
            number = rows_read + len(rows) + len(broken) + 1
            if len(cells) > len(names):
                detail = f"the row has {len(cells)} cells: expected {len(names)}"
                broken.append(Broken(number, "invalid_field", detail, self.separator.join(cells)))
            else:
                rows.append([cell or None for cell in cells] + [None] * (len(names) - len(cells)))
        return pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String()), orient="row"), tuple(broken)

    def _documents(self, start: int, rows_read: int) -> Iterator[Batch]:
        for piece, end, share in self._pieces(start, BATCH_BYTES["ndjson"]):
            lines, numbers, documents, broken = list[str](), list[int](), list[dict[str, object]](), list[Broken]()
            for line in piece.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace").split("\n"):
                if not line.strip():
                    continue
                rows_read += 1
                try:
                    documents.append(read_document(line))
                except NoDocument as error:
                    broken.append(Broken(rows_read, error.reason, str(error), line))
                else:
                    lines.append(line)
                    numbers.append(rows_read)
            yield Batch(DocumentRows(lines, documents), numbers, tuple(broken), end, rows_read, share)


def _dtype(schema: dict[str, pl.DataType], column: str) -> pl.DataType | None:
    """Type of a column, or of a field of a nested one; None when there is none."""
    if column in schema:
        return schema[column]
    head, *steps = column.split(".")
    found: object = schema.get(head)
    for step in steps:
        fields = {field.name: field.dtype for field in found.fields} if isinstance(found, pl.Struct) else {}
        found = fields.get(step)
    return found if steps and isinstance(found, pl.DataType) else None


def _read(text: IO[bytes], size: int) -> bytes:
    """As many bytes as asked for, fewer only at the end."""
    parts, left = list[bytes](), size
    while left and (part := text.read(left)):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def _skip(text: IO[bytes], count: int) -> None:
    if text.seekable():
        text.seek(count)
        return
    while count and (part := text.read(min(count, 1 << 24))):
        count -= len(part)


def _record_end(text: bytes, start: int) -> int:
    """Behind the first record; a line end between quotes does not end one."""
    end = start
    while (end := text.find(b"\n", end)) >= 0:
        end += 1
        if text.count(b'"', start, end) % 2 == 0:
            return end
    return len(text)


def _last_end(text: bytes, *, quoted: bool) -> int:
    """Behind the last whole line, 0 when there is none; a line end between quotes does not end a record of CSV."""
    end = text.rfind(b"\n") + 1
    if not quoted:
        return end
    quotes = text.count(b'"', 0, end)
    while end and quotes % 2:
        before = text.rfind(b"\n", 0, end - 1) + 1
        quotes -= text.count(b'"', before, end)
        end = before
    return end
