"""What the registry knows, as frozen values: projects, keys, catalog versions, files of the lake."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from dsl.apikeys import KeyKind
from dsl.clock import Clock, Zone


@dataclass(frozen=True, slots=True)
class Project:
    """One customer base with its own log, lake, catalog and keys.

    Attributes:
        timezone: IANA name; fixed at creation, because local days are stored with the events.
        clock_offset_ms: wall time minus the project's now; 0 for a project that lives today.
        created_at_ms: wall time, epoch milliseconds.
    """

    key: str
    timezone: str
    clock_offset_ms: int
    created_at_ms: int

    @property
    def clock(self) -> Clock:
        """The project's own now."""
        return Clock(self.clock_offset_ms)

    @property
    def zone(self) -> Zone:
        """The calendar of the project's days."""
        return Zone(self.timezone)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key without its text.

    Attributes:
        digest: hex SHA-256 of the key, which is how it is looked up.
        created_at_ms: wall time, epoch milliseconds; so is `revoked_at_ms`, None while the key works.
    """

    id: int
    project: str
    kind: KeyKind
    label: str
    digest: str
    created_at_ms: int
    revoked_at_ms: int | None

    @property
    def is_active(self) -> bool:
        """Whether the key still works."""
        return self.revoked_at_ms is None


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key at the only moment when its text is known; `plain` is kept out of `repr` and so out of logs."""

    plain: str = field(repr=False)
    key: ApiKey


@dataclass(frozen=True, slots=True)
class CatalogVersion:
    """One immutable version of a project's definitions.

    Attributes:
        number: 1, 2, 3 ... within the project; the largest is the current one.
        digest: `Catalog.digest()` of its document.
        created: True from the call that wrote it; False when it was there before.
    """

    number: int
    digest: str
    created_at_ms: int
    created: bool = False


@dataclass(frozen=True, slots=True)
class IdentityRecord:
    """A record of the log that is no event.

    Attributes:
        type: `settings`, `unmerge` or `erasure`.
        record: its JSON text.
        appended_at_ms: epoch milliseconds on the project's clock.
    """

    seq: int
    type: str
    record: str
    appended_at_ms: int


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that was not accepted, as it was sent: it can be corrected and sent again.

    Attributes:
        reason: a code: `no_identifier`, `id_conflict`, `too_late`, ...
        detail: one sentence: what was expected, what was found.
        path: where in the event, `$.properties.amount`; `$` is all of it.
        event_id: empty when it has none.
        route: by which dialect it came: `segment`, `mini`, `cdp`, `pipeline:<key>`, `bulk:<mapping>`.
        raw: the event as text, as it was sent.
        envelope: what came around it and counts for it: `type`, `sentAt`, `context` of its batch.
        schema_version: catalog version that it was checked against; 0 when there was none.
        received_at_ms: epoch milliseconds on the project's clock; a replay keeps it.
        times: how often the same event came and was not accepted.
        id: 0 before it is stored.
        closed_at_ms: wall time of the replay that was accepted, or of giving it up; None while it is open.
    """

    reason: str
    detail: str
    path: str
    event_id: str
    route: str
    raw: str
    received_at_ms: int
    envelope: Mapping[str, Any] = field(default_factory=dict)
    schema_version: int = 0
    times: int = 1
    id: int = 0
    status: Literal["open", "replayed", "discarded"] = "open"
    closed_at_ms: int | None = None

    @property
    def digest(self) -> str:
        """Hex SHA-256 of what makes it this letter and no other."""
        return hashlib.sha256("\x1f".join((self.route, self.reason, self.event_id, self.raw)).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class LakeFile:
    """One Parquet file of events. Only files that the manifest lists exist.

    Attributes:
        path: below the lake's folder, with `/`: a home can be moved or restored elsewhere.
        day: UTC days since 1970-01-01 of every `ts` in the file.
        seq_lo: smallest `seq` in the file; `seq_hi` the largest (inclusive).
        columns: typed columns of properties that the file has (`n_amount`, `s_brand`), sorted.
    """

    project: str
    path: str
    day: int
    seq_lo: int
    seq_hi: int
    rows: int
    size_bytes: int
    columns: tuple[str, ...]

    def absolute(self, lake: Path) -> Path:
        """Where the file lies when the lake's folder (`Home.lake`) is `lake`."""
        return lake / self.path


@dataclass(frozen=True, slots=True)
class LakePaths:
    """Files of the lake as far as a view of them needs to know: however many, they are one text.

    Attributes:
        paths: as of `LakeFile`, a line each; empty when there are none.
        columns: those that any of them has.
    """

    paths: str
    columns: frozenset[str]
    rows: int

    @classmethod
    def of(cls, files: Iterable[LakeFile]) -> "LakePaths":
        """Of some files."""
        listed = list(files)
        columns = frozenset(column for file in listed for column in file.columns)
        return cls("\n".join(file.path for file in listed), columns, sum(file.rows for file in listed))
