"""The CDP module's segments as definitions, on events in its own shape: `POST /cdp/ingest`."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from dsl.documents.definitions import load_directory
from serving.online import publish_catalog
from tests.docs.blocks import ROOT
from tests.ingest.conftest import Shop, shop

__all__ = ["shop"]

NAMES = "power_user,pro_plan,reengage"


@pytest.fixture(scope="module")
def module(shop: Shop) -> Shop:
    """A project with the module's definitions."""
    catalog = load_directory(ROOT / "examples/cdp_module").catalog
    publish_catalog(shop.client, shop.project, 1, catalog.to_document())
    return shop


def send(module: Shop, user: str, ago: timedelta, **payload: object) -> None:
    """One event of the module."""
    ts = (datetime.now(UTC) - ago).isoformat()
    event = {"eventId": str(uuid4()), "ts": ts, "payload": {"userId": user, **payload}}
    assert 202 == module.post("/cdp/ingest", event).status_code


def used(module: Shop, user: str, *ago: timedelta) -> None:
    """The module's example of an action, at some instants."""
    for each in ago:
        send(module, user, each, type="TRACK", name="Feature Used", properties={"feature": "dashboard"})


def memberships(module: Shop, user: str) -> set[str]:
    """The segments that somebody is in."""
    path = f"/features/{module.project}/users/{user}"
    values = module.api.http.get(path, params={"names": NAMES}, headers=module.headers("read")).json()["features"]
    assert NAMES.split(",") == list(values)
    return {name for name, holds in values.items() if holds}


def test_power_user(module: Shop) -> None:
    """Five events within 24 hours: four are not enough, and one of the day before does not count."""
    used(module, "p", timedelta(hours=26), *(timedelta(seconds=number) for number in range(4)))
    assert "power_user" not in memberships(module, "p")
    used(module, "p", timedelta())
    assert {"power_user", "reengage"} == memberships(module, "p")


def test_pro_plan(module: Shop) -> None:
    """The newest write to `plan` counts, by when it happened, however late it comes."""
    send(module, "u123", timedelta(hours=3), type="IDENTIFY", traits={"plan": "pro"})
    assert {"pro_plan"} == memberships(module, "u123")
    send(module, "u123", timedelta(hours=4), type="IDENTIFY", traits={"plan": "free"})
    assert {"pro_plan"} == memberships(module, "u123")
    send(module, "u123", timedelta(), type="IDENTIFY", traits={"plan": "free"})
    assert set() == memberships(module, "u123")


def test_reengage(module: Shop) -> None:
    """Back after ten minutes or more; less is no absence, and the first event ever is no return."""
    used(module, "r", timedelta(minutes=20))
    assert set() == memberships(module, "r")
    used(module, "r", timedelta(minutes=12))
    assert set() == memberships(module, "r")
    used(module, "r", timedelta())
    assert {"reengage"} == memberships(module, "r")
