"""The online store: what decisions read, and who may write it."""

from serving.online.append import (
    DEDUP_WINDOW_MS,
    Answer,
    AppendRules,
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
from serving.online.exceptions import (
    BackPressureError,
    OlderPublicationError,
    OnlineStoreError,
    ProfileTooLargeError,
)
from serving.online.fold import Fold, Unpacked
from serving.online.identities import catch_up, erase_identity, publish_identities, publish_profiles, unmerge
from serving.online.keys import Keys
from serving.online.log import LateEvent, LogEntry, read_late, read_log
from serving.online.metrics import WorkerMetrics, read_worker_metrics, worker_metrics
from serving.online.project import KnownProject, ProjectFacts
from serving.online.publication import Publication
from serving.online.reading import OnlineReader, current_catalog, current_version, look_up, resolve, snapshot
from serving.online.snapshot import Reading, Snapshot, SourceReading
from serving.online.store import delete_project, publish_catalog, publish_keys, reserve_seq
from serving.online.watch import Watch

__all__ = [
    "DEDUP_WINDOW_MS",
    "Answer",
    "AppendRules",
    "BackPressureError",
    "Fold",
    "Item",
    "Keys",
    "KnownProject",
    "LateEvent",
    "LogEntry",
    "OlderPublicationError",
    "OnlineAppender",
    "OnlineReader",
    "OnlineStoreError",
    "ProfileTooLargeError",
    "ProjectFacts",
    "Publication",
    "Reading",
    "Refusal",
    "Snapshot",
    "SourceReading",
    "Unpacked",
    "Watch",
    "WorkerMetrics",
    "append",
    "body_digest",
    "catch_up",
    "connect",
    "connect_async",
    "current_catalog",
    "current_version",
    "delete_project",
    "drop_late",
    "embedded_url",
    "erase_identity",
    "look_up",
    "publish_catalog",
    "publish_identities",
    "publish_keys",
    "publish_profiles",
    "read_late",
    "read_log",
    "read_worker_metrics",
    "reserve_seq",
    "resolve",
    "settings_item",
    "snapshot",
    "store_errors",
    "unmerge",
    "worker_metrics",
]
