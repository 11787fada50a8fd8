"""One event as every room knows it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

Kind = Literal["track", "page", "screen", "identify", "alias", "group", "system"]
EXPOSURE: Final = "flag_exposure"
"""Name of the system event that tells which variant of a flag chance showed to whom; it happens once for each profile,
variant and version of a flag."""


class Happened(Protocol):
    """What aggregates and filters look at in an event."""

    @property
    def event_id(self) -> str:
        """As in `Event`, and so all others."""

    @property
    def kind(self) -> Kind: ...  # noqa: D102

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def ts_ms(self) -> int: ...  # noqa: D102

    @property
    def local_day(self) -> int: ...  # noqa: D102

    @property
    def properties(self) -> Mapping[str, object]: ...  # noqa: D102

    @property
    def context(self) -> Mapping[str, object]: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Event:
    """An accepted event.

    Attributes:
        event_id: the sender's message id; ties of `ts_ms` are broken by it.
        seq: position in the project's log.
        name: of a `track` or `system` event its own; of others their kind.
        source_id: strongest identifier, `user:208`.
        ts_ms: when it happened, epoch milliseconds, UTC.
        local_day: its date in the project's zone, days since 1970-01-01.
        properties: JSON with numbers as micro-units; of an `identify` the attributes that it writes.
    """

    event_id: str
    seq: int
    kind: Kind
    name: str
    source_id: str
    ts_ms: int
    local_day: int
    properties: Mapping[str, object] = field(default_factory=dict)
    context: Mapping[str, object] = field(default_factory=dict)
