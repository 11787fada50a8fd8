"""Logs: one JSON object a line on stderr, with the id of the request.

No line may hold a key, an e-mail address or an identifier: lines name routes, never paths, queries or messages of
exceptions.
"""

import asyncio
import sys
import traceback
from contextvars import ContextVar
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, BinaryIO, Final, Literal

import msgspec
import structlog

REQUEST_ID: Final = ContextVar("REQUEST_ID", default="")
"""Of the request that is being served; every line that is logged meanwhile has it."""
_FRAMES_LOGGED = 12
_ACCESS_LEVELS: Final = ("debug", "info")
_LATER_S: Final = 0.05
_MOST_LINES: Final = 1_000


class _AccessLine(msgspec.Struct):
    request_id: str
    method: str
    route: str
    status: int
    duration_ms: float
    at: datetime
    level: Literal["info"] = "info"
    event: Literal["request"] = "request"


class AccessLog:
    """A line of the log for each request, written a moment later with those of others.

    A process that is killed loses the lines of the last twentieth of a second.
    """

    def __init__(self) -> None:
        self._sink: BinaryIO | None = None
        self._lines: list[_AccessLine] = []
        self._encoder = msgspec.json.Encoder()

    def open(self, sink: BinaryIO | None) -> None:
        """Write there from now on, or nowhere."""
        self._sink = sink

    def add(self, request_id: str, method: str, route: str, status: int, seconds: float) -> None:
        """A request was answered."""
        if self._sink is None:
            return
        if not self._lines:
            asyncio.get_running_loop().call_later(_LATER_S, self.flush)
        self._lines.append(_AccessLine(request_id, method, route, status, round(seconds * 1_000, 3), datetime.now(UTC)))
        if len(self._lines) >= _MOST_LINES:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        lines, self._lines = self._lines, []
        if lines and self._sink is not None:
            self._sink.write(self._encoder.encode_lines(lines))
            self._sink.flush()


ACCESS_LOG: Final = AccessLog()
"""That of this process; open once `configure_logs` was called."""


def _with_request_id(_: object, __: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
    if request_id := REQUEST_ID.get():
        event["request_id"] = request_id
    return event


_SHARED: list[structlog.types.Processor] = [
    _with_request_id,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
]


def configure_logs(level: str) -> None:
    """Make structlog write JSON lines from `level` up: `debug`, `info`, `warning`, `error`."""
    structlog.configure(
        processors=[*_SHARED, structlog.processors.JSONRenderer(serializer=_json_line)],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.BytesLoggerFactory(file=sys.stderr.buffer),
        cache_logger_on_first_use=True,
    )
    ACCESS_LOG.open(sys.stderr.buffer if level in _ACCESS_LEVELS else None)


def server_log_config() -> dict[str, Any]:
    """Configuration of the standard library's logging, so that the server's own lines look the same."""
    formatter = {"()": "structlog.stdlib.ProcessorFormatter", "processors": _server_processors()}
    formatter["foreign_pre_chain"] = list(_SHARED)
    handler = {"class": "logging.StreamHandler", "stream": "ext://sys.stderr", "formatter": "json"}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": formatter},
        "handlers": {"stderr": handler},
        "root": {"handlers": ["stderr"], "level": "WARNING"},
        "loggers": {"_granian": {"handlers": ["stderr"], "level": "INFO", "propagate": False}},
    }


def fault_fields(error: BaseException) -> dict[str, object]:
    """What a log may say of an exception: its type and where it was raised, innermost last.

    Not its message: that may hold what the request said.
    """
    innermost = traceback.extract_tb(error.__traceback__)[-_FRAMES_LOGGED:]
    frames = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in innermost]
    return {"error_type": type(error).__name__, "frames": frames}


def _without_messages(_: object, __: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
    # The server puts tracebacks, with messages, below the first line of its text; ours are logged by `fault_fields`.
    event["event"] = str(event["event"]).partition("\n")[0]
    match event.pop("exc_info", None):
        case (_, BaseException() as error, TracebackType() | None):
            event.update(fault_fields(error))
    return event


def _server_processors() -> list[structlog.types.Processor]:
    return [
        _without_messages,
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.JSONRenderer(serializer=_json_text),
    ]


def _json_line(event: object, **_: object) -> bytes:
    return msgspec.json.encode(event, enc_hook=repr)


def _json_text(event: object, **_: object) -> str:
    return _json_line(event).decode()
