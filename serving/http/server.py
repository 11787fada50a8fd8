"""Running the API: granian with worker processes, stopped gracefully by SIGTERM or SIGINT."""

import errno
import socket

from granian import Granian
from granian.constants import Interfaces
from granian.log import LogLevels

from dsl.failure import Failure
from serving.http.logs import server_log_config

_FACTORY = "serving.http.app:factory"
_STOP_TIMEOUT_S = 10
_HIGHEST_PORT = 65_535


class ServerError(Failure):
    """The API cannot be served there; the text is one sentence for people."""


def serve(host: str, port: int, *, workers: int = 1) -> None:
    """Serve the API until SIGTERM or SIGINT; requests under way are answered first.

    Workers read their settings from the environment of this process.

    Raises:
        ServerError: the address is taken or not of this machine.
    """
    check_free(host, port)
    Granian(
        _FACTORY,
        address=host,
        port=port,
        interface=Interfaces.ASGI,
        factory=True,
        workers=workers,
        websockets=False,
        log_level=LogLevels.info,
        log_dictconfig=server_log_config(),
        respawn_failed_workers=True,
        workers_kill_timeout=_STOP_TIMEOUT_S,
    ).serve()


def check_free(host: str, port: int) -> None:
    """Return when `host:port` can be listened on.

    Raises:
        ServerError: it cannot, with the reason.
    """
    try:
        if not 0 <= port <= _HIGHEST_PORT:
            raise OverflowError("there are ports from 0 to 65535")
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            # As the server itself will: connections of an earlier server that are still closing do not count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except (OSError, OverflowError) as error:
        raise ServerError(_reason(host, port, error)) from error


def _reason(host: str, port: int, error: OSError | OverflowError) -> str:
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return f"port {port} of {host} is in use: stop the program that has it, or choose another with --port"
    if isinstance(error, OSError) and error.errno == errno.EACCES:
        return f"port {port} needs more rights: choose one above 1023 with --port"
    return f"cannot listen on {host}:{port} ({error}): choose another --host or --port"
