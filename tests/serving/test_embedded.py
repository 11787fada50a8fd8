"""The embedded Valkey: started once, found again, durable."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from serving.online import OnlineStoreError, connect, embedded
from serving.online.socket_path import LONGEST_BYTES
from tests.serving.world import ROOT
from warehouse.settings import Home

STARTER = """
import sys
from pathlib import Path
from serving.online import embedded
print(embedded.start(Path(sys.argv[1])))
"""


def server_pid(folder: Path) -> int:
    """The process that the server wrote down."""
    return int((folder / "valkey.pid").read_text())


def kill_and_wait(folder: Path) -> None:
    """End the server without a chance to tidy up."""
    os.kill(server_pid(folder), signal.SIGKILL)
    while embedded.is_running(folder):
        time.sleep(0.01)


def test_start_is_idempotent(home: Home) -> None:
    """A second start finds the server that runs."""
    url = embedded.start(home.valkey)
    pid = server_pid(home.valkey)
    assert (url, pid) == (embedded.start(home.valkey), server_pid(home.valkey))


def test_two_starters_at_once(home: Home) -> None:
    """Processes that start the same home at the same moment all get the one server."""
    command = [sys.executable, "-c", STARTER, str(home.valkey)]
    starters = [
        subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE)
        for _ in range(4)
    ]
    said = {starter.communicate(timeout=60)[0].decode().strip() for starter in starters}
    assert {embedded.embedded_url(home.valkey)} == said
    log = (home.valkey / "valkey.log").read_text()
    assert 1 == log.count("Ready to accept connections")


def test_it_outlives_its_starter(home: Home) -> None:
    """The server goes on when the process that started it has ended, and is stopped by another."""
    subprocess.run(
        [sys.executable, "-c", STARTER, str(home.valkey)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
    )
    assert embedded.is_running(home.valkey)
    assert connect(embedded.embedded_url(home.valkey)).ping()
    assert embedded.stop(home.valkey)
    assert not embedded.is_running(home.valkey)


def test_killed_and_started_again_keeps_everything(home: Home) -> None:
    """What was answered is on disk: after kill -9 and a start it is there, though socket and pid file are stale."""
    client = connect(embedded.start(home.valkey))
    for number in range(200):
        client.set(f"k{number}", number)
    kill_and_wait(home.valkey)
    assert (home.valkey / "valkey.sock").exists()
    again = connect(embedded.start(home.valkey))
    assert 200 == again.dbsize()
    assert "199" == again.get("k199")


def test_a_pid_of_another_process_is_left_alone(home: Home) -> None:
    """A stale pid file that names a living process of somebody else kills nobody."""
    embedded.start(home.valkey)
    kill_and_wait(home.valkey)
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        (home.valkey / "valkey.pid").write_text(f"{bystander.pid}\n")
        assert not embedded.stop(home.valkey)
        embedded.start(home.valkey)
        assert embedded.stop(home.valkey)
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_stop_keeps_everything(home: Home) -> None:
    """Data survives an orderly stop; stopping twice says that there was nothing to stop."""
    connect(embedded.start(home.valkey)).set("kept", "yes")
    assert [True, False] == [embedded.stop(home.valkey), embedded.stop(home.valkey)]
    assert "yes" == connect(embedded.start(home.valkey)).get("kept")


def test_a_home_with_a_long_path(tmp_path: Path) -> None:
    """A home whose path is too long for a socket works: its socket lies in a private temporary folder."""
    folder = tmp_path / ("long" * 20) / ("name" * 20) / "valkey"
    try:
        path = Path(embedded.start(folder).removeprefix("unix://"))
        assert len(os.fsencode(path)) <= LONGEST_BYTES
        assert 0o700 == path.parent.stat().st_mode & 0o777
        assert connect(embedded.embedded_url(folder)).ping()
    finally:
        embedded.stop(folder)
        path.parent.rmdir()


def test_another_temporary_directory_finds_the_same_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process with another TMPDIR reaches the server that is already there."""
    folder = tmp_path / ("long" * 20) / ("name" * 20) / "valkey"
    try:
        url = embedded.start(folder)
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        assert url == embedded.embedded_url(folder) == embedded.start(folder)
    finally:
        embedded.stop(folder)
        Path(url.removeprefix("unix://")).parent.rmdir()


def test_no_server_for_this_machine(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a bundled server the error says what to set."""
    monkeypatch.setattr("platform.machine", lambda: "sparc64")
    with pytest.raises(OnlineStoreError, match=r"^no embedded Valkey for linux sparc64: set TINYCDP_REDIS_URL .*$"):
        embedded.start(home.valkey)


def test_a_home_that_cannot_be_written(tmp_path: Path) -> None:
    """A home under a file is refused in one sentence."""
    (tmp_path / "file").write_text("")
    with pytest.raises(OnlineStoreError, match=r"^cannot make .*: choose another TINYCDP_HOME"):
        embedded.start(tmp_path / "file" / "valkey")


def test_broken_data_is_reported(home: Home) -> None:
    """A server that cannot read its data does not start, and the error names the log."""
    embedded.start(home.valkey)
    embedded.stop(home.valkey)
    manifest = next((home.valkey / "appendonlydir").glob("*.manifest"))
    manifest.write_text("nonsense\n")
    with pytest.raises(OnlineStoreError, match=r"^the embedded Valkey did not start \(.*\): see .*valkey\.log$"):
        embedded.start(home.valkey)
