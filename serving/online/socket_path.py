"""Where the socket of an embedded server lies: the kernel allows about 100 bytes for its path."""

import hashlib
import os
import stat
import tempfile
from pathlib import Path

from serving.online.exceptions import OnlineStoreError

LONGEST_BYTES = 100
"""Longest path of a socket that every system takes (Linux 107, macOS 103)."""


def recorded_socket_path(folder: Path) -> Path:
    """The path that the last start used: another process may have another temporary directory than the starter."""
    try:
        return Path((folder / "socket").read_text())
    except FileNotFoundError:
        return _socket_path(folder)


def make_socket_path(folder: Path) -> Path:
    """The path to start with: free, in a folder that only this user can enter, recorded for the others.

    Raises:
        OnlineStoreError: the temporary folder belongs to somebody else.
    """
    path = _socket_path(folder)
    if path.parent != folder.absolute():
        _make_private(path.parent)
    path.unlink(missing_ok=True)
    written = folder / f".socket-{os.getpid()}"
    written.write_text(str(path))
    written.replace(folder / "socket")
    return path


def _socket_path(folder: Path) -> Path:
    """In the folder itself, or in a temporary folder named after it when that path is too long."""
    path = folder.absolute() / "valkey.sock"
    if len(os.fsencode(path)) <= LONGEST_BYTES:
        return path
    name = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16]
    short = Path("tinycdp-" + name) / "valkey.sock"
    path = Path(tempfile.gettempdir()) / short
    return path if len(os.fsencode(path)) <= LONGEST_BYTES else Path("/tmp") / short  # noqa: S108  # made private


def _make_private(folder: Path) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise OnlineStoreError(
            f"{folder} is not a private folder of this user: remove it, or choose a shorter TINYCDP_HOME"
        )
