"""The online store: what decisions read, and who may write it."""

from serving.online.append import (
    DEDUP_WINDOW_MS,
    Answer,
    Item,
    OnlineAppender,
    Refusal,
    append,
    body_digest,
    drop_late,
    settings_item,
)
from serving.online.connection import connect, connect_async, store_errors
from serving.online.embedded import embedded_url
from serving.online.exceptions import OlderPublicationError, OnlineStoreError
from serving.online.identities import catch_up, erase_identity, publish_identities, unmerge
from serving.online.log import LateEvent, LogEntry, read_late, read_log
from serving.online.reading import OnlineReader, current_catalog, look_up, read, resolve
from serving.online.snapshot import Reading, Snapshot
from serving.online.store import delete_project, publish_catalog, publish_keys, publish_states, reserve_seq

__all__ = [
    "DEDUP_WINDOW_MS",
    "Answer",
    "Item",
    "LateEvent",
    "LogEntry",
    "OlderPublicationError",
    "OnlineAppender",
    "OnlineReader",
    "OnlineStoreError",
    "Reading",
    "Refusal",
    "Snapshot",
    "append",
    "body_digest",
    "catch_up",
    "connect",
    "connect_async",
    "current_catalog",
    "delete_project",
    "drop_late",
    "embedded_url",
    "erase_identity",
    "look_up",
    "publish_catalog",
    "publish_identities",
    "publish_keys",
    "publish_states",
    "read",
    "read_late",
    "read_log",
    "reserve_seq",
    "resolve",
    "settings_item",
    "store_errors",
    "unmerge",
]
