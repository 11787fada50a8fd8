"""A process serves the parts of the API that it is told to."""

from dataclasses import replace
from pathlib import Path

import pytest

from serving.http.app import create_app
from warehouse.settings import PLANES, Home, Settings

ROUTES = {"decide": "/v1/decide", "ingest": "/v1/batch", "admin": "/v1/admin/dead-letters"}


@pytest.mark.parametrize("plane", PLANES)
def test_only_the_planes_that_are_asked_for(tmp_path: Path, plane: str) -> None:
    """Routes of others are not there, nor on the OpenAPI page; health always is."""
    app = create_app(replace(Settings(Home(tmp_path)), planes=frozenset({plane})))
    paths = app.openapi()["paths"]
    assert {plane} == {name for name, path in ROUTES.items() if path in paths}
    assert {"/health", "/metrics"} <= set(paths)
