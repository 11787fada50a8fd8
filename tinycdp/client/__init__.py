"""The client for Python: `TinyCDP` sends events and asks for decisions."""

from tinycdp.client.client import TinyCDP
from tinycdp.client.decision import Decision, Default
from tinycdp.client.events import Event
from tinycdp.client.exceptions import (
    ClientError,
    QueueFullError,
    RefusedError,
    RejectedError,
    UnavailableError,
    UndeliveredError,
    WrongUseError,
)

__all__ = [
    "ClientError",
    "Decision",
    "Default",
    "Event",
    "QueueFullError",
    "RefusedError",
    "RejectedError",
    "TinyCDP",
    "UnavailableError",
    "UndeliveredError",
    "WrongUseError",
]
