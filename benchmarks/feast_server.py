"""Feast's feature server over the same store, in its own environment: ten values of each user, as it recommends."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import httpx
import polars as pl

from benchmarks.publication import feast_python
from dsl.failure import Failure
from tinycdp.supervisor import free_port
from warehouse.settings import Settings

VALUES: Final = 10
_FOLDER: Final = Path(__file__).parent / "feast"


@contextmanager
def feast_server(settings: Settings, users: int) -> Iterator[str]:
    """Its address, once every user's values are in the store; installing it takes minutes the first time."""
    python = feast_python(Settings.read().home.path / "bench")
    folder = settings.home.path / "feast"
    folder.mkdir()
    socket = str(settings.redis_url).removeprefix("unix://")
    told = (_FOLDER / "feature_store.yaml").read_text(encoding="utf-8")
    (folder / "feature_store.yaml").write_text(told.format(folder=folder, socket=socket), encoding="utf-8")
    values = folder / "values.parquet"
    columns = {f"f{place}": [float(number + place) for number in range(users)] for place in range(VALUES)}
    names = [f"user-{number}" for number in range(users)]
    stamps = [datetime(2026, 1, 1, tzinfo=UTC)] * users
    pl.DataFrame({"source_id": names, "happened_at": stamps, **columns}).write_parquet(values)
    subprocess.run([python, str(_FOLDER / "materialize.py"), str(folder), str(values)], check=True, capture_output=True)
    port = free_port()
    # Its workers end after a thousand requests unless they are told otherwise.
    serve = ("serve", "-h", "127.0.0.1", "-p", str(port), "--no-access-log", "-w", "1", "--max-requests", "100000000")
    process = subprocess.Popen(
        [str(python.parent / "feast"), "-c", str(folder), *serve], stdout=sys.stderr, stderr=subprocess.DEVNULL
    )
    try:
        _wait(f"http://127.0.0.1:{port}")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _wait(address: str) -> None:
    question = {"features": ["aggregates:f1"], "entities": {"source_id": ["user-7"]}}
    with httpx.Client(base_url=address, timeout=60, transport=httpx.HTTPTransport(retries=60)) as http:
        answer = http.post("/get-online-features", json=question)
        found = answer.json()["results"] if answer.is_success else []
        if [part["values"] for part in found] != [["user-7"], [8.0]]:
            raise Failure(f"Feast does not answer as it should: {answer.text[:300]}")
