"""OpenFeature's client for Node with its OFREP provider, as published."""

import json
from typing import Any

import pytest

from tests.docs.blocks import of_language
from tests.ingest.conftest import Shop
from tests.sdks.conftest import Run, filled
from tests.serving.flags_of_types import buy, publish_flags

PAGE = "docs/reference/ofrep.md"
BEGIN = """
import { OpenFeature } from "@openfeature/server-sdk";
import { OFREPProvider } from "@openfeature/ofrep-provider";
const headers = [["Authorization", "Bearer KEY"]];
await OpenFeature.setProviderAndWait(new OFREPProvider({ baseUrl: "http://localhost:8000", headers }));
const client = OpenFeature.getClient();
const told = [];
const tell = (found) => told.push([found.value, found.variant ?? null, found.reason, found.errorCode ?? null]);
"""
END = "console.log(JSON.stringify(told));"


@pytest.fixture(scope="module")
def flags(shop: Shop) -> Shop:
    """The shop with its flags, and one customer."""
    publish_flags(shop)
    buy(shop, "ann")
    return shop


def told(flags: Shop, node: Run, calls: str, key: str = "YOUR_READ_KEY") -> list[list[Any]]:
    """What evaluations come to: value, variant, reason, error."""
    found: list[list[Any]] = json.loads(node(filled(BEGIN.replace("KEY", key) + calls + END, flags)))
    return found


def test_the_page_runs(flags: Shop, node: Run) -> None:
    """What the page shows is a whole program, and prints what it should."""
    ((block,)) = [block for block in of_language(PAGE, "js") if block.info == "@openfeature/server-sdk"]
    assert ["false", "0"] == node(filled(block.text, flags)).split()


def test_every_type(flags: Shop, node: Run) -> None:
    """Each flag has one type, whichever variant answers; the default of the program is never needed."""
    calls = """
      for (const targetingKey of ["ann", "nobody"]) {
        tell(await client.getBooleanDetails("free_delivery", false, { targetingKey }));
        tell(await client.getBooleanDetails("switch", false, { targetingKey }));
        tell(await client.getStringDetails("colour", "blue", { targetingKey }));
        tell(await client.getNumberDetails("seats", 7, { targetingKey }));
        tell(await client.getNumberDetails("discount", 7.5, { targetingKey }));
        tell(await client.getObjectDetails("win_back_offer", { x: 1 }, { targetingKey }));
      }
      tell(await client.getBooleanDetails("big_basket", false, { targetingKey: "nobody", amount: 100.5 }));
    """
    matched: list[list[Any]] = [[True, "on"], [True, "yes"], ["red", "red"], [500, "many"], [500, "large"]]
    default: list[list[Any]] = [[False, "off"], [False, "no"], ["", "plain"], [0, "none"], [0, "none"], [{}, "none"]]
    assert [
        *([*each, "TARGETING_MATCH", None] for each in [*matched, [{"voucher": 20}, "large"]]),
        *([*each, "DEFAULT", None] for each in default),
        [True, "on", "TARGETING_MATCH", None],
    ] == told(flags, node, calls)


def test_the_default_and_why(flags: Shop, node: Run) -> None:
    """Where a flag cannot answer, the client gives the program's own default and the right error."""
    calls = """
      tell(await client.getBooleanDetails("free_deliver", true, { targetingKey: "ann" }));
      tell(await client.getBooleanDetails("free delivery", true, { targetingKey: "ann" }));
      tell(await client.getBooleanDetails("free_delivery", true));
      tell(await client.getBooleanDetails("free_delivery", true, { targetingKey: "" }));
      tell(await client.getBooleanDetails("colour", true, { targetingKey: "ann" }));
      tell(await client.getStringDetails("free_delivery", "x", { targetingKey: "ann" }));
    """
    errors = ["FLAG_NOT_FOUND"] * 2 + ["TARGETING_KEY_MISSING"] * 2 + ["TYPE_MISMATCH"] * 2
    found = told(flags, node, calls)
    assert [True] * 5 + ["x"] == [value for value, *_ in found]
    assert errors == [error for *_, error in found]


def test_what_the_client_is_told(flags: Shop, node: Run) -> None:
    """Why, of which version, about whom: metadata and messages come through."""
    calls = """
      const found = await client.getBooleanDetails("free_delivery", false, { targetingKey: "ann" });
      told.push(found.flagMetadata.explain, found.flagMetadata.flagSetId, found.flagMetadata.allow);
      told.push((await client.getBooleanDetails("free_deliver", false, { targetingKey: "ann" })).errorMessage);
    """
    assert [
        'rule 1 matched: segment("vip"); segment vip: purchases_30d = 1 >= 1',
        flags.project,
        True,
        "no flag is named `free_deliver`; the nearest is `free_delivery`",
    ] == told(flags, node, calls)


def test_a_change_is_seen(flags: Shop, node: Run) -> None:
    """An event that was answered counts in the next evaluation."""
    calls = """
      const bob = { targetingKey: "bob" };
      const sent = { method: "POST", headers: { Authorization: "Bearer YOUR_WRITE_KEY" } };
      tell(await client.getBooleanDetails("free_delivery", true, bob));
      const body = JSON.stringify({ userId: "bob", event: "purchase" });
      await fetch("http://localhost:8000/v1/track", { ...sent, body });
      tell(await client.getBooleanDetails("free_delivery", false, bob));
    """
    assert [False, True] == [value for value, *_ in told(flags, node, calls)]


def test_a_wrong_key(flags: Shop, node: Run) -> None:
    """The client gives the default and says that something is wrong."""
    call = 'tell(await client.getBooleanDetails("free_delivery", true, { targetingKey: "ann" }));'
    for key in ("tcdp_r_nobody", "YOUR_WRITE_KEY"):
        assert [[True, None, "ERROR", "GENERAL"]] == told(flags, node, call, key)
