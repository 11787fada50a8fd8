"""The online store: what decisions read, and who may write it."""

from serving.online.connection import connect, connect_async, store_errors
from serving.online.embedded import embedded_url
from serving.online.exceptions import OlderPublicationError, OnlineStoreError
from serving.online.reading import OnlineReader, current_catalog, look_up, read, resolve
from serving.online.snapshot import Reading, Snapshot
from serving.online.store import delete_project, publish_catalog, publish_keys, publish_states, reserve_seq

__all__ = [
    "OlderPublicationError",
    "OnlineReader",
    "OnlineStoreError",
    "Reading",
    "Snapshot",
    "connect",
    "connect_async",
    "current_catalog",
    "delete_project",
    "embedded_url",
    "look_up",
    "publish_catalog",
    "publish_keys",
    "publish_states",
    "read",
    "reserve_seq",
    "resolve",
    "store_errors",
]
