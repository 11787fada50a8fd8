"""Commands that answer: sizes of segments, files of audiences."""

from pathlib import Path

from dsl.failure import WrongUse
from tinycdp.output import Output
from tinycdp.workspace import Workspace
from warehouse.settings import Settings

SIZES = """
SELECT segment, members, share, entered, exited
FROM segment_sizes SEMI JOIN (SELECT max(refresh_id) AS refresh_id FROM segment_sizes) USING (refresh_id)
ORDER BY members DESC, segment
"""


def run_segments(settings: Settings, output: Output) -> None:
    """Prints the size of every segment at the last refresh."""
    rows = segment_sizes(Workspace(settings))
    names = ("segment", "members", "share", "entered", "exited")
    output.result({"segments": [dict(zip(names, row, strict=True)) for row in rows]})
    output.table("segments", ("segment", "members>", "share>", "entered>", "exited>"), with_percent(rows))


def segment_sizes(workspace: Workspace) -> list[tuple[str, int, float, int, int]]:
    """Key, members, share of all profiles (0..1), entered and exited since the refresh before; largest first."""
    with workspace.analytics() as connection:
        return [
            (segment, members, float(share), entered, exited)
            for segment, members, share, entered, exited in connection.execute(SIZES).fetchall()
        ]


def with_percent(rows: list[tuple[str, int, float, int, int]]) -> list[tuple[object, ...]]:
    """The rows of `segment_sizes` with shares as people read them."""
    return [(segment, members, f"{share:.1%}", entered, exited) for segment, members, share, entered, exited in rows]


def run_export(settings: Settings, output: Output, segment: str, to: str) -> None:
    """Writes a segment's members to a file, whole or not at all."""
    from dsl.catalog import Export
    from exports.files import write_audience
    from exports.plan import plan_audience
    from warehouse.refresh import current_refresh

    target = Path(to) if to else settings.home.exports / f"{segment}.csv"
    kind = target.suffix.removeprefix(".")
    if kind not in ("csv", "parquet"):
        raise WrongUse(f"`{target}` ends in neither .csv nor .parquet, so its format is unknown")
    with Workspace(settings).analytics() as connection:
        plan = plan_audience(
            connection,
            Export(target.stem, segment, "csv" if kind == "csv" else "parquet"),
            current_refresh(connection),
        )
        written = write_audience(connection, plan, target.parent)
    output.result({"path": str(target), "rows": written.rows, "bytes": written.size_bytes, "sha256": written.sha256})
    output.lines(f"{written.rows:,} members of {segment} in {target} ({written.size_bytes:,} bytes)")
