"""The tables `sources` and `source_attributes`: what every source adds to its profile; a refresh folds in what is new.

Like tiles they are kept by source: a merge moves nothing. Attribute values never pass through DuckDB's JSON functions.
What is published of them is packed when it changes.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from dsl.numbers import read_json
from dsl.tile_codec import FORMAT, pack_attributes
from warehouse.attributes import NAMES_WRITTEN, json_text
from warehouse.coverage import forget_covered, read_covered, require_covered, write_covered
from warehouse.database import Connection, transaction
from warehouse.events_view import events_view_sql
from warehouse.refresh import Refresh
from warehouse.stretches import FilesAfter, stretches

_CREATE = """
CREATE OR REPLACE TABLE sources (
    source_id VARCHAR NOT NULL,
    first_seen_ms BIGINT NOT NULL,
    last_seen_ms BIGINT NOT NULL,
    events BIGINT NOT NULL,
    first_seq BIGINT NOT NULL,
    last_seq BIGINT NOT NULL,
    last_identify_seq BIGINT
);
CREATE OR REPLACE TABLE source_attributes (
    source_id VARCHAR NOT NULL, name VARCHAR NOT NULL, ts_ms BIGINT NOT NULL, event_id VARCHAR NOT NULL, value VARCHAR
);
CREATE OR REPLACE TABLE packed_attributes (source_id VARCHAR NOT NULL, packed BLOB NOT NULL);
CREATE OR REPLACE TABLE system_sources (source_id VARCHAR NOT NULL, last_seq BIGINT NOT NULL)
"""
_FORM = f"{_CREATE} -- format {FORMAT}"
_MERGE_SEEN = """
MERGE INTO sources AS kept USING (
    SELECT source_id, min(ts_ms) AS first_seen_ms, max(ts_ms) AS last_seen_ms, count(*) AS events,
        min(seq) AS first_seq, max(seq) AS last_seq, max(seq) FILTER (WHERE kind = 'identify') AS last_identify_seq
    FROM stretch_events
    WHERE kind <> 'system' AND seq > {lo:d} AND seq <= {hi:d}
    GROUP BY source_id
) AS seen USING (source_id)
WHEN MATCHED THEN UPDATE SET
    first_seen_ms = least(kept.first_seen_ms, seen.first_seen_ms),
    last_seen_ms = greatest(kept.last_seen_ms, seen.last_seen_ms),
    events = kept.events + seen.events,
    last_seq = seen.last_seq,
    last_identify_seq = coalesce(seen.last_identify_seq, kept.last_identify_seq)
WHEN NOT MATCHED THEN INSERT BY NAME
"""
_MERGE_SYSTEM = """
MERGE INTO system_sources AS kept USING (
    SELECT source_id, max(seq) AS last_seq
    FROM stretch_events
    WHERE kind = 'system' AND seq > {lo:d} AND seq <= {hi:d}
    GROUP BY source_id
) AS told USING (source_id)
WHEN MATCHED THEN UPDATE SET last_seq = told.last_seq
WHEN NOT MATCHED THEN INSERT BY NAME
"""
_HEARD_FROM = """
SELECT source_id FROM sources WHERE last_seq > {since:d}
UNION SELECT source_id FROM system_sources WHERE last_seq > {since:d}
"""
_IDENTIFIES = """
SELECT source_id, ts_ms, event_id, properties
FROM stretch_events
WHERE kind = 'identify' AND seq > {lo:d} AND seq <= {hi:d}
QUALIFY row_number() OVER (PARTITION BY source_id, {names} ORDER BY ts_ms DESC, event_id DESC) = 1
ORDER BY source_id, ts_ms, event_id
"""
# A source whose writes lie in two chunks has two newest ones.
_MERGE_WRITES = """
MERGE INTO source_attributes AS kept USING (
    FROM new_writes
    QUALIFY row_number() OVER (PARTITION BY source_id, name ORDER BY ts_ms DESC, event_id DESC) = 1
) AS new USING (source_id, name)
WHEN MATCHED AND (new.ts_ms, new.event_id) > (kept.ts_ms, kept.event_id) THEN
    UPDATE SET ts_ms = new.ts_ms, event_id = new.event_id, value = new.value
WHEN NOT MATCHED THEN INSERT BY NAME
"""
_WRITTEN = """
SELECT source_id, name, ts_ms, event_id, value FROM source_attributes SEMI JOIN written USING (source_id)
ORDER BY source_id, name
"""
_CHUNK = 10_000
_WRITE = {
    "source_id": pl.String(),
    "name": pl.String(),
    "ts_ms": pl.Int64(),
    "event_id": pl.String(),
    "value": pl.String(),
}

Identify = tuple[str, int, str, str]
"""Source, `ts_ms`, event id and attributes (JSON text)."""


@dataclass(frozen=True, slots=True)
class SourcesUpdate:
    """What `update_sources` read: the sources that have an event, and the attributes that were written, since."""

    sources: int
    writes: int


def update_sources(connection: Connection, refresh: Refresh, files: FilesAfter, lake: Path) -> SourcesUpdate:
    """Folds the events that the tables have not seen yet, however late, into them: all of it or nothing.

    Tables:
        sources: Grain: one row per source with an event of any outside kind. Keys: source_id.
        source_attributes: Grain: one row per source and attribute that it ever wrote: the newest write by
            `(ts, event_id)`, as JSON text; NULL unsets. Keys: source_id, name.
        packed_attributes: Grain: one row per source that ever wrote an attribute: those of `source_attributes` as
            `dsl.tile_codec.pack_attributes` writes them. Keys: source_id.
        system_sources: Grain: one row per source with an event of the kind `system`, and the `seq` of its newest.
            Keys: source_id.
    """
    sources, writes = 0, pl.DataFrame(schema=_WRITE)
    with transaction(connection):
        covered = read_covered(connection, "sources", refresh.cut, _FORM)
        if covered is None:
            # Identities and profiles are made from what these tables held.
            forget_covered(connection)
            connection.execute(_CREATE)
        for lo, hi, its_files in stretches(files, covered or 0, refresh.cut):
            connection.execute(events_view_sql(its_files, refresh.cut, (), lake, "stretch_events"))
            ((seen,),) = connection.execute(_MERGE_SEEN.format(lo=lo, hi=hi)).fetchall()
            connection.execute(_MERGE_SYSTEM.format(lo=lo, hi=hi))
            sources, writes = sources + seen, pl.concat([writes, _merge_writes(connection, lo, hi)])
        connection.execute("DROP VIEW IF EXISTS stretch_events")
        _pack(connection, writes["source_id"].unique())
        write_covered(connection, "sources", refresh.cut, _FORM)
    return SourcesUpdate(sources, writes.height)


def heard_from(connection: Connection, since: int, cut: int) -> str:
    """A query of the sources with an event of any kind and `since < seq <= cut`; the lake is not opened.

    Raises:
        RefreshError: `sources` is of another cut.
    """
    require_covered(connection, "sources", cut)
    return _HEARD_FROM.format(since=since)


def newest_writes(identifies: Iterable[Identify]) -> dict[tuple[str, str], tuple[int, str, str | None]]:
    """By source and attribute its last write, of identifies in the order of `(ts, event_id)`; None unsets.

    >>> newest_writes([("user:1", 5, "a", '{"age": 1.50, "plan": "x"}'), ("user:1", 6, "b", '{"plan": null}')])
    {('user:1', 'age'): (5, 'a', '1.5'), ('user:1', 'plan'): (6, 'b', None)}
    """
    newest: dict[tuple[str, str], tuple[int, str, str | None]] = {}
    for source_id, ts_ms, event_id, text in identifies:
        values = read_json(text)
        for name, value in values.items() if isinstance(values, dict) else ():
            newest[source_id, name] = (ts_ms, event_id, None if value is None else json_text(value))
    return newest


def _merge_writes(connection: Connection, lo: int, hi: int) -> pl.DataFrame:
    """The writes of a stretch, which are in the table then where they are the newest."""
    found = connection.execute(_IDENTIFIES.format(lo=lo, hi=hi, names=NAMES_WRITTEN))
    chunks = iter(lambda: found.fetchmany(_CHUNK), [])
    frames = [
        pl.DataFrame([(*key, *write) for key, write in newest_writes(chunk).items()], schema=_WRITE, orient="row")
        for chunk in chunks
    ]
    writes = pl.concat([pl.DataFrame(schema=_WRITE), *frames])
    connection.register("new_writes", writes)
    connection.execute(_MERGE_WRITES)
    connection.unregister("new_writes")
    return writes


def _pack(connection: Connection, sources: pl.Series) -> None:
    """Packs the attributes of sources that have written some."""
    connection.register("written", sources.to_frame("source_id"))
    rows = connection.sql(_WRITTEN).pl()
    connection.execute("DELETE FROM packed_attributes WHERE source_id IN (FROM written)")
    connection.unregister("written")
    # Most values occur often.
    read = {value: None if value is None else read_json(value) for value in rows["value"].unique()}
    names, values = rows["name"].to_list(), map(read.__getitem__, rows["value"].to_list())
    writes = list(zip(rows["ts_ms"].to_list(), rows["event_id"].to_list(), values, strict=True))
    runs, packed, start = rows["source_id"].rle().struct.unnest(), [], 0
    for length in runs["len"].to_list():
        end = start + length
        packed.append(pack_attributes(dict(zip(names[start:end], writes[start:end], strict=True))))
        start = end
    columns = {"source_id": runs["value"], "packed": pl.Series(packed, dtype=pl.Binary())}
    connection.register("new_attributes", pl.DataFrame(columns))
    connection.execute("INSERT INTO packed_attributes FROM new_attributes")
    connection.unregister("new_attributes")
