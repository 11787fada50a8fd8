"""OpenFeature's client for Python with its OFREP provider, as published, against a real API."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext

from serving.http.ofrep_answers import ERROR_CODES
from serving.http.problems import STATUSES
from serving.online import Snapshot
from tests.docs.blocks import ROOT, of_language
from tests.docs.shown import is_shown, requests_shown, send
from tests.ingest.conftest import Shop, shop
from tests.ingest.test_sdks import address
from tests.serving.flags_of_types import CATALOG, buy
from tests.serving.world import publish_people

__all__ = ["shop"]

PAGE = "docs/reference/ofrep.md"
NOBODY = EvaluationContext("nobody")


@pytest.fixture(scope="module")
def flags(shop: Shop) -> Shop:
    """The shop with its flags, all that was known when it was opened, and one customer."""
    publish_people(shop.client, shop.project, Snapshot(0, time.time_ns() // 1_000_000, 1, 0, "UTC"), [], CATALOG)
    buy(shop, "ann")
    return shop


def client(flags: Shop, key: str) -> OpenFeatureClient:
    """A client with a key."""
    provider = OFREPProvider(address(flags), headers_factory=lambda: {"Authorization": f"Bearer {key}"})
    api.set_provider(provider, "shop")
    return api.get_client("shop")


@pytest.fixture
def openfeature(flags: Shop) -> Iterator[OpenFeatureClient]:
    """A client with a read key."""
    yield client(flags, flags.keys["read"])
    api.clear_providers()


def details(of: OpenFeatureClient, kind: str, key: str, default: Any, context: EvaluationContext) -> tuple[Any, ...]:
    """What an evaluation of a type comes to: value, variant, reason, error."""
    found = getattr(of, f"get_{kind}_details")(key, default, context)
    return found.value, found.variant, str(found.reason), found.error_code and found.error_code.value


@pytest.mark.parametrize(
    ("kind", "key", "default", "after", "before"),
    [
        ("boolean", "free_delivery", False, True, False),
        ("boolean", "switch", False, True, False),
        ("string", "colour", "blue", "red", ""),
        ("integer", "seats", 7, 500, 0),
        ("float", "discount", 7.5, 500.0, 0.0),
        ("object", "win_back_offer", {"x": 1}, {"voucher": 20}, {}),
    ],
)
def test_every_type(openfeature: OpenFeatureClient, kind: str, key: str, default: Any, after: Any, before: Any) -> None:
    """Each flag has one type, whichever variant answers; the default of the program is never needed."""
    for who, expected, reason in (("ann", after, "TARGETING_MATCH"), ("nobody", before, "DEFAULT")):
        value, _, why, error = details(openfeature, kind, key, default, EvaluationContext(who))
        assert (expected, type(expected), reason, None) == (value, type(value), why, error)


def test_the_context_is_asked(openfeature: OpenFeatureClient) -> None:
    """Attributes of the context are what conditions read."""
    context = EvaluationContext("nobody", {"amount": 120, "category": "Concert ticket"})
    assert (True, "on", "TARGETING_MATCH", None) == details(openfeature, "boolean", "big_basket", False, context)
    assert (0.25, "small", "TARGETING_MATCH", None) == details(openfeature, "float", "discount", 1.0, context)


@pytest.mark.parametrize(
    ("kind", "key", "default", "context", "error"),
    [
        ("boolean", "free_deliver", True, NOBODY, "FLAG_NOT_FOUND"),
        ("boolean", "free_delivery", True, EvaluationContext(), "TARGETING_KEY_MISSING"),
        ("boolean", "free_delivery", True, EvaluationContext("", {"userId": "ann"}), "TARGETING_KEY_MISSING"),
        ("boolean", "colour", True, NOBODY, "TYPE_MISMATCH"),
        ("float", "seats", 0.5, NOBODY, "TYPE_MISMATCH"),
        ("integer", "discount", 5, NOBODY, "TYPE_MISMATCH"),
        ("object", "free_delivery", {"x": 1}, NOBODY, "TYPE_MISMATCH"),
    ],
)
def test_the_default_and_why(
    openfeature: OpenFeatureClient, kind: str, key: str, default: Any, context: EvaluationContext, error: str
) -> None:
    """Where a flag cannot answer, the client gives the program's own default and the right error."""
    assert (default, None, "ERROR", error) == details(openfeature, kind, key, default, context)


def test_messages_come_through(openfeature: OpenFeatureClient) -> None:
    """What the API says is what the client shows."""
    found = openfeature.get_boolean_details("free_deliver", True, NOBODY)
    assert "no flag is named `free_deliver`; the nearest is `free_delivery`" == found.error_message
    assert str(openfeature.get_boolean_details("colour", True).error_message).startswith("`targetingKey` names nobody")


def test_a_change_is_seen(flags: Shop, openfeature: OpenFeatureClient) -> None:
    """An event that was answered counts in the next evaluation."""
    bob = EvaluationContext("bob")
    assert not openfeature.get_boolean_value("free_delivery", True, bob)
    buy(flags, "bob")
    found = openfeature.get_boolean_details("free_delivery", False, bob)
    assert (True, flags.newest()) == (found.value, found.flag_metadata["asOfSeq"])


def test_a_wrong_key(flags: Shop) -> None:
    """The client says that it is not authorised, and gives the default."""
    for key, message in (("tcdp_r_nobody", "unauthorized"), (flags.keys["write"], "forbidden")):
        found = client(flags, key).get_boolean_details("free_delivery", True, NOBODY)
        assert (True, message) == (found.value, found.error_message)
    api.clear_providers()


def test_the_page_runs(flags: Shop) -> None:
    """What the page shows is a whole program, and prints what it says."""
    ((block,)) = of_language(PAGE, "python")
    program = block.text.replace("http://localhost:8000", address(flags)).replace("YOUR_READ_KEY", flags.keys["read"])
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=os.environ, check=True, timeout=60, capture_output=True, text=True)
    assert ["False", "0"] == done.stdout.split()


@pytest.mark.parametrize(("command", "shown"), requests_shown(PAGE))
def test_the_page_shows_what_is_answered(flags: Shop, command: str, shown: Any) -> None:
    """The request of the page has the answer below it."""
    assert is_shown(shown, send(command, flags.api.http, flags.keys["read"], flags.project))


def test_the_page_names_every_error() -> None:
    """The table of failures has each code that clients are told, with its statuses."""
    rows = re.findall(r"^\| ([0-9, ]+) \| `(\w+)` \|", (ROOT / PAGE).read_text(encoding="utf-8"), flags=re.MULTILINE)
    statuses = {error: {*told.split(", ")} for told, error in rows}
    assert {*ERROR_CODES.values(), "GENERAL"} == set(statuses)
    assert all(str(STATUSES[code]) in statuses[error] for code, error in ERROR_CODES.items())
