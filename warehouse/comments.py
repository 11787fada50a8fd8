"""What every table and column is, as DuckDB comments: grain, keys, producer, units."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from dsl.check import CheckedCatalog
from dsl.columns import read_column
from dsl.types import Type
from warehouse.columns import column_names, literal, quoted
from warehouse.database import Connection, transaction
from warehouse.values import described


@dataclass(frozen=True, slots=True)
class TableComment:
    """A table and the columns that it always has.

    Attributes:
        kind: the word of SQL: `TABLE` or `VIEW`.
        text: grain, keys, producer.
    """

    name: str
    kind: str
    text: str
    columns: Mapping[str, str] = field(default_factory=dict)


_PROFILE = "Profile: UUIDv5 of the first identifier that it ever had"
_SOURCE = "Source: strongest identifier of the event, `<kind>:<value>`"
_CUT = "Knowledge cut: events with seq <= cut are counted"
_AS_OF = "Instant that the values are of, UTC"

TABLES = (
    TableComment(
        "events",
        "VIEW",
        "Grain: one row per event up to the cut of the newest refresh. Keys: seq; event_id. Producer: landing, over "
        "the Parquet files of the lake. Each property is a plain column p_<property>.",
        {
            "seq": "Position in the project's log, given once after de-duplication",
            "event_id": "The sender's message id, unique in the project",
            "kind": "track, page, screen, identify, alias, group; system for what TinyCDP logs itself",
            "name": "Name of a track event; page, screen, identify… for the other kinds",
            "source_id": _SOURCE,
            "ts_ms": "When it happened, epoch milliseconds, UTC",
            "received_at_ms": "When it was taken, epoch milliseconds of the project's clock, UTC",
            "appended_at_ms": "When it got its seq, epoch milliseconds of the project's clock, UTC",
            "identifiers": "Whom it names, JSON list of identifiers, the source first; NULL when only the source",
            "alias": "Identifier that an alias joins to the source; NULL without",
            "local_day": "Local date of ts in the project's zone, days since 1970-01-01",
            "properties": "What was sent, JSON text; of identify events the attributes",
            "context": "Context that was sent, JSON text",
            "ts": "When it happened, UTC",
            "received_at": "When it was taken, on the project's clock, UTC",
            "local_date": "Local date of ts in the project's zone",
        },
    ),
    TableComment(
        "sources",
        "TABLE",
        "Grain: one row per source with an event of any outside kind. Keys: source_id. Producer: asset identities.",
        {
            "source_id": _SOURCE,
            "first_seen_ms": "First event of any outside kind, epoch milliseconds, UTC",
            "last_seen_ms": "Last event of any outside kind, epoch milliseconds, UTC",
            "events": "Number of events of outside kinds",
            "first_seq": "seq of the first of them in the log",
            "last_seq": "seq of the last of them in the log",
            "last_identify_seq": "seq of the last of them that is an identify; NULL without",
        },
    ),
    TableComment(
        "source_attributes",
        "TABLE",
        "Grain: one row per source and attribute that it ever wrote, top-level names only. Keys: source_id, name. "
        "Producer: asset identities. The newest write by (ts_ms, event_id); that of all sources of a profile wins.",
        {
            "source_id": _SOURCE,
            "name": "Name of the attribute",
            "ts_ms": "When it was written, epoch milliseconds, UTC",
            "event_id": "Of the identify event that wrote it",
            "value": "JSON text; NULL where the newest write unset it",
        },
    ),
    TableComment(
        "identities",
        "TABLE",
        "Grain: one row per identifier, also those without events of their own, and interval of the log. Keys: "
        "source_id, valid_from_seq. Producer: asset identities. A profile is the merge of its sources.",
        {
            "source_id": "Identifier, `<kind>:<value>`: a source, or one that events name beside their source",
            "profile_id": _PROFILE,
            "valid_from_seq": "First seq at which the identifier belongs to the profile (inclusive)",
            "valid_to_seq": "First seq at which it no longer does (exclusive); NULL while it does",
        },
    ),
    TableComment(
        "identity_conflicts",
        "TABLE",
        "Grain: one row per reason, stronger and weaker identifier: the first time that the link was refused. Keys: "
        "reason, stronger, weaker. Producer: asset identities.",
        {
            "seq": "When it was refused: seq of the event, or of the un-merge by which the link no longer held",
            "link_seq": "seq of the event that made the link",
            "reason": "users: too many users in one profile. emails: a device or anonymous id would join two e-mails. "
            "identifiers: too many identifiers in one profile. unmerged: the two were declared never to be one",
            "stronger": "Source of the event, `<kind>:<value>`",
            "weaker": "Identifier that the event names beside it",
            "stronger_profile": "Profile of the stronger identifier at that moment; empty when nobody knew it",
            "weaker_profile": "Profile of the weaker identifier at that moment; empty when nobody knew it",
        },
    ),
    TableComment(
        "profiles",
        "TABLE",
        "Grain: one row per profile with an event from outside. Keys: profile_id. Producer: asset profiles. Each "
        "attribute is a plain column a_<attribute>.",
        {
            "profile_id": _PROFILE,
            "user_id": "Value of the profile's user identifier; NULL when it has none",
            "identifiers": "All identifiers, <kind>:<value>, the strongest first; e-mail addresses are SHA-256",
            "first_seen_at": "First event of any outside kind, UTC",
            "last_seen_at": "Last event of any outside kind, UTC",
            "first_seen_ms": "First event of any outside kind, epoch milliseconds, UTC",
            "last_seen_ms": "Last event of any outside kind, epoch milliseconds, UTC",
            "events": "Number of events of outside kinds",
            "attributes": "All attributes, JSON text; last write wins per attribute",
        },
    ),
    TableComment(
        "attribute_types",
        "TABLE",
        "Grain: one row per attribute and type that a profile has it in. Keys: name, type. Producer: asset profiles.",
        {
            "name": "Name of the attribute",
            "type": "number, string, boolean; json for lists and objects",
            "profiles": "Number of profiles that have it in this type",
        },
    ),
    TableComment(
        "tiles",
        "TABLE",
        "Grain: one row per base aggregate and grain, source, hop. Keys: base_id, source_no, hop_start. Producer: "
        "asset tiles. Read by refreshes; not published.",
        {
            "base_id": "Number of the base aggregate and grain in tile_bases",
            "source_no": "Number of the source in tile_sources",
            "hop_start": "First millisecond of the hop, epoch milliseconds, UTC; of local dates the day's number; "
            "-86400000000000 for all hops before those that are kept by themselves (tile_bases.first_hop)",
            "count": "Events, or numbers",
            "total": "Exact sum, in millionths",
            "low": "First instant, or smallest number in millionths",
            "high": "Last instant, or largest number in millionths",
            "first": "First event that has the property, by (ts, event_id), and its value",
            "last": "Last event that has the property, by (ts, event_id), and its value",
            "counts": "Tagged value -> events",
            "numbers": "Number in millionths -> events",
        },
    ),
    TableComment(
        "aggregates",
        "TABLE",
        "Grain: one row per profile. Keys: profile_id. Producer: asset aggregates. One column per aggregate that a "
        "definition reads: *_micros in millionths, *_ms epoch milliseconds, others whole numbers.",
        {
            "profile_id": _PROFILE,
            "due_ms": "First instant at which time alone may change an aggregate of the profile, epoch milliseconds",
            "refresh_id": "The refresh that read the row, see refreshes: nothing has happened to the profile since",
        },
    ),
    TableComment(
        "ranks",
        "TABLE",
        "Grain: one row per profile. Keys: profile_id. Producer: asset aggregates. One column per percent_rank that a "
        "definition reads, in millionths.",
        {"profile_id": _PROFILE},
    ),
    TableComment(
        "traits",
        "TABLE",
        "Grain: one row per profile. Keys: profile_id. Producer: assets traits/<key>. One column per trait; NULL is "
        "missing.",
        {"profile_id": _PROFILE},
    ),
    TableComment(
        "segment_members",
        "TABLE",
        "Grain: one row per segment and member. Keys: segment, profile_id. Producer: assets segments/<key>.",
        {
            "segment": "Key of the segment",
            "profile_id": _PROFILE,
            "since_at": "Instant of the refresh that first found the profile in, since when it stayed, UTC",
            "since_ms": "The same in epoch milliseconds",
        },
    ),
    TableComment(
        "next_changes",
        "TABLE",
        "Grain: one row per segment and profile for which time alone may change it. Keys: segment, profile_id. "
        "Producer: assets segments/<key>. Until then, and with no new event, the profile stays in or stays out.",
        {
            "segment": "Key of the segment",
            "profile_id": _PROFILE,
            "next_change_at": "First instant at which it may be in when it was out, or out when it was in, UTC",
            "next_change_ms": "The same in epoch milliseconds",
        },
    ),
    TableComment(
        "segment_sizes",
        "TABLE",
        "Grain: one row per segment and refresh. Keys: segment, refresh_id. Producer: assets segments/<key>.",
        {
            "segment": "Key of the segment",
            "refresh_id": "The refresh, see refreshes",
            "as_of_ms": "Instant that the values are of, epoch milliseconds, UTC",
            "as_of_at": _AS_OF,
            "cut": _CUT,
            "members": "Number of members",
            "share": "Members / profiles, 0 to 1",
            "entered": "Members that were none at the refresh before",
            "exited": "Members of the refresh before that are none now",
        },
    ),
    TableComment(
        "definitions",
        "TABLE",
        "Grain: one row per trait or segment. Keys: key. Producer: assets traits/<key> and segments/<key>.",
        {
            "key": "Name, unique over traits and segments",
            "kind": "trait or segment",
            "expression": "Canonical text of the expression",
            "sql": "The statement that computes it from aggregates and profiles, as of the newest refresh",
            "description": "What its author says of it",
            "catalog_version": "Version of the definitions that the tables are of",
        },
    ),
    TableComment(
        "refreshes",
        "TABLE",
        "Grain: one row per refresh, the ledger of what all tables are of. Keys: refresh_id. Producer: asset events.",
        {
            "refresh_id": "1, 2, 3 … within the project",
            "cut": _CUT,
            "as_of_ms": "Instant of the question t: events with ts < t count; epoch milliseconds, UTC",
            "as_of_at": _AS_OF,
            "today": "Local day at t in the project's zone, days since 1970-01-01",
            "today_on": "Local date at t in the project's zone",
            "catalog_version": "Version of the definitions; 0 when there were none",
            "started_at": "Start on the project's clock, UTC",
            "finished_at": "Publication of the tables on the project's clock, UTC; NULL when it did not get there",
            "events": "Events up to the cut",
            "profiles": "Profiles",
            "members": "Members of all segments",
        },
    ),
)
"""All tables of a project, as analysts meet them."""


def comment_tables(connection: Connection, checked: CheckedCatalog) -> None:
    """Every table and column of the current schema says what it is; tables that are not there yet are passed over."""
    statements = [statement for table in TABLES for statement in _statements(connection, table, checked)]
    with transaction(connection):
        connection.execute("; ".join(statements))


def _statements(connection: Connection, table: TableComment, checked: CheckedCatalog) -> Iterator[str]:
    columns = column_names(connection, table.name)
    if columns:
        yield f"COMMENT ON {table.kind} {table.name} IS {literal(table.text)}"
    texts = {**_DYNAMIC.get(table.name, _none)(checked), **table.columns}
    for column in columns:
        text = texts.get(column) or _property_text(table.name, column)
        yield f"COMMENT ON COLUMN {table.name}.{quoted(column)} IS {literal(text)}"


def _none(_checked: CheckedCatalog) -> dict[str, str]:
    return {}


def _aggregate_texts(checked: CheckedCatalog) -> dict[str, str]:
    return {
        use.column: f"{use.text}{', in millionths' if use.column.endswith('_micros') else ''}"
        for use in checked.aggregates.values()
    }


def _rank_texts(checked: CheckedCatalog) -> dict[str, str]:
    return {rank.column: f"{rank.text}, in millionths" for rank in checked.ranks.values()}


def _trait_texts(checked: CheckedCatalog) -> dict[str, str]:
    descriptions = described(checked)
    return {
        value.key: ": ".join(part for part in (descriptions[value.key], value.text) if part)
        for value in checked.values.values()
    }


_DYNAMIC: Mapping[str, Callable[[CheckedCatalog], dict[str, str]]] = {
    "aggregates": _aggregate_texts,
    "ranks": _rank_texts,
    "traits": _trait_texts,
}
_PREFIXES = {
    "p_": "Property {name}; JSON text where it has come in several types",
    "c_": "Context {name}; JSON text where it has come in several types",
    "a_": "Attribute {name}; JSON text where it has several types, lists or objects",
}
_TYPED: Mapping[Type, str] = {
    "number": "a number, in millionths",
    "string": "text",
    "boolean": "Boolean",
    "timestamp": "an instant, in epoch milliseconds",
    "list": "a list, each item with the letter of its type",
}


def _property_text(table: str, column: str) -> str:
    if column[:2] in _PREFIXES:
        return _PREFIXES[column[:2]].format(name=column[2:])
    found = read_column(column)
    if found is None:
        return "Of an earlier refresh"
    thing = "Context" if found.context else "Property" if table == "events" else "Attribute"
    return f"{thing} {'.'.join(found.steps)} where it is {_TYPED[found.type]}; read by expressions"
