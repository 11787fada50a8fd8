"""What the Dagster UI shows of a materialisation: expression, SQL, a preview, the sizes so far."""

import base64
from collections.abc import Mapping, Sequence

from dagster import MetadataValue

from dsl.check import CheckedCatalog
from exports.files import ExportedFile
from pipelines.parity import Parity
from pipelines.publication import Published
from warehouse.columns import count, literal, quoted
from warehouse.database import Connection
from warehouse.identities import IdentitiesUpdate
from warehouse.refresh import Refresh
from warehouse.tiles import Folding
from warehouse.values import segment_sizes, trait_counts

Metadata = Mapping[str, MetadataValue | int | float | str | None]

_PREVIEW_ROWS = 5
_PLOT_WIDTH, _PLOT_HEIGHT = 320, 60
_PLOTTED_REFRESHES = 60


def refresh_metadata(refresh: Refresh) -> Metadata:
    """What all tables of a refresh are of."""
    return {
        "refresh_id": refresh.refresh_id,
        "cut": refresh.cut,
        "as_of": MetadataValue.timestamp(refresh.t_ms / 1000),
        "catalog_version": refresh.catalog_version,
    }


def folding_metadata(folding: Folding) -> Metadata:
    """What was folded into tiles."""
    return {"events_folded": folding.events, "bases_added": folding.added}


def identity_metadata(found: IdentitiesUpdate) -> Metadata:
    """How many identifiers belong to a profile, and how many links were ever refused."""
    return {"identifiers": found.identifiers, "conflicts": found.conflicts}


def parity_metadata(parity: Parity) -> Metadata:
    """What was compared and what differs."""
    shown = "\n".join(f"{m.profile_id} {m.key}: online {m.online}, counted {m.counted}" for m in parity.shown)
    numbers = {name: getattr(parity, name) for name in ("compared", "values", "mismatches", "missing", "extra")}
    return {**numbers, "differences": _code("", shown)}


def published_metadata(published: Published) -> Metadata:
    """What was published of how many sources, and the cut before."""
    return {"dagster/row_count": published.sources, "since": published.since}


def table_metadata(
    connection: Connection, table: str, columns: Sequence[str] = (), statement: str | None = None
) -> Metadata:
    """Row count, the first rows of some columns, and the statement that made the table."""
    metadata: dict[str, MetadataValue | int] = {
        "dagster/row_count": count(connection, f"SELECT count(*) FROM {table}"),
    }
    if statement is not None:
        metadata["sql"] = _code("sql", statement)
    if columns:
        metadata["preview"] = _preview(connection, f"SELECT {', '.join(columns)} FROM {table} ORDER BY profile_id")
    return metadata


def value_metadata(connection: Connection, checked: CheckedCatalog, key: str) -> Metadata:
    """All that is to be seen of one trait or segment."""
    value = checked.values[key]
    ((statement,),) = connection.execute("SELECT sql FROM definitions WHERE key = ?", [key]).fetchall()
    defined = {"expression": _code("", value.text), "sql": _code("sql", statement)}
    if value.kind == "trait":
        return {**defined, **_trait_metadata(connection, key)}
    return {**defined, **_segment_metadata(connection, key)}


def file_metadata(file: ExportedFile) -> Metadata:
    """What the manifest of an exported file says."""
    return {
        "dagster/row_count": file.rows,
        "path": MetadataValue.path(str(file.path)),
        "bytes": file.size_bytes,
        "sha256": file.sha256,
        "segment": file.segment,
    }


def plot(sizes: Sequence[int]) -> str:
    """Markdown of a small line plot of sizes, the oldest first; where it cannot be drawn, the numbers stand.

    >>> plot([3, 5])[:15], plot([3, 5])[-20:]
    ('![3, 5](data:im', ...)
    """
    top = max(*sizes, 1)
    step = _PLOT_WIDTH / max(len(sizes) - 1, 1)
    height = _PLOT_HEIGHT - 8
    points = " ".join(f"{4 + i * step:.1f},{4 + height - height * size / top:.1f}" for i, size in enumerate(sizes))
    last_x, last_y = points.split(" ")[-1].split(",")
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_PLOT_WIDTH + 8}" height="{_PLOT_HEIGHT}">'
        f'<polyline points="{points}" fill="none" stroke="#4f43dd" stroke-width="2"/>'
        f'<circle cx="{last_x}" cy="{last_y}" r="3" fill="#4f43dd"/></svg>'
    )
    numbers = ", ".join(map(str, sizes[-8:]))
    return f"![{numbers}](data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()})"


def _trait_metadata(connection: Connection, key: str) -> Metadata:
    profiles = count(connection, "SELECT count(*) FROM traits")
    present = trait_counts(connection, [key])[key]
    name = quoted(key)
    return {
        "dagster/row_count": profiles,
        "with_value": present,
        "with_value_share": present / profiles if profiles else 0.0,
        "preview": _preview(
            connection, f"SELECT profile_id, {name} FROM traits WHERE {name} IS NOT NULL ORDER BY profile_id"
        ),
    }


def _segment_metadata(connection: Connection, key: str) -> Metadata:
    sizes = segment_sizes(connection, key)[-_PLOTTED_REFRESHES:]
    newest = sizes[-1]
    return {
        "dagster/row_count": newest.members,
        "share": newest.share,
        "entered": newest.entered,
        "exited": newest.exited,
        "change": newest.entered - newest.exited,
        "sizes": MetadataValue.md(plot([size.members for size in sizes])),
        "preview": _preview(
            connection,
            f"SELECT profile_id, since_at FROM segment_members WHERE segment = {literal(key)} ORDER BY profile_id",
        ),
    }


def _preview(connection: Connection, statement: str) -> MetadataValue:
    """The first rows as a Markdown table; what could be an e-mail address is not shown."""
    found = connection.execute(f"{statement} LIMIT {_PREVIEW_ROWS}")
    names = [column[0] for column in found.description or ()]
    lines = [names, ["---"] * len(names), *([_cell(value) for value in row] for row in found.fetchall())]
    return MetadataValue.md("\n".join(f"| {' | '.join(line)} |" for line in lines))


def _cell(value: object) -> str:
    text = "" if value is None else str(value)
    return "…@…" if "@" in text else text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")[:80]


def _code(language: str, text: str) -> MetadataValue:
    return MetadataValue.md(f"```{language}\n{text}\n```")
