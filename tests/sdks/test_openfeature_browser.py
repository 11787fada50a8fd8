"""OpenFeature's client for browsers with its OFREP provider, as published, in Chromium, on a page of another origin."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.docs.blocks import of_language
from tests.ingest.conftest import Shop
from tests.sdks.conftest import Visit, address, filled
from tests.serving.flags_of_types import buy, publish_flags

PAGE = "docs/reference/ofrep.md"
Open = Callable[..., Visit]
BEGIN = """
import { OpenFeature, ProviderEvents } from "@openfeature/web-sdk";
import { OFREPWebProvider } from "@openfeature/ofrep-web-provider";
const statuses = [];
const fetchImplementation = async (...asked) => {
  const answer = await fetch(...asked);
  statuses.push(answer.status);
  return answer;
};
const headers = [["Authorization", "Bearer YOUR_READ_KEY"]];
const baseUrl = "http://localhost:8000";
const provider = (more) => new OFREPWebProvider({ baseUrl, headers, fetchImplementation, ...more });
const client = OpenFeature.getClient();
const told = [];
const tell = (found) => told.push([found.value, found.variant ?? null, found.reason, found.errorCode ?? null]);
const buy = (userId) => fetch("http://localhost:8000/v1/track", {
  method: "POST",
  headers: { Authorization: "Bearer YOUR_WRITE_KEY" },
  body: JSON.stringify({ userId, event: "purchase" }),
});
"""
END = "window.told = { statuses, told };"


@pytest.fixture(scope="module")
def flags(shop: Shop) -> Shop:
    """The shop with its flags, and one customer."""
    publish_flags(shop)
    buy(shop, "ann")
    return shop


def told(flags: Shop, visit: Open, calls: str) -> dict[str, Any]:
    """What evaluations come to (value, variant, reason, error), and the statuses of the API's answers."""
    found = visit(filled(BEGIN + calls + END, flags))
    assert [] == found.errors
    answer: dict[str, Any] = found.told
    return answer


def test_the_page_runs(flags: Shop, visit: Open) -> None:
    """What the page shows works as it stands, and asks nobody else."""
    ((block,)) = [block for block in of_language(PAGE, "js") if block.info == "@openfeature/web-sdk"]
    found = visit(filled(block.text, flags))
    assert [False, 0] == found.told
    assert {f"{address(flags)}/ofrep/v1/evaluate/flags"} == {request["url"] for request in found.requests}


def test_every_type_and_every_error(flags: Shop, visit: Open) -> None:
    """Each flag has one type, whichever variant answers; the default of the program is for errors only."""
    calls = """
      for (const targetingKey of ["ann", "nobody"]) {
        await OpenFeature.setContext({ targetingKey });
        if (targetingKey === "ann") await OpenFeature.setProviderAndWait(provider());
        tell(client.getBooleanDetails("free_delivery", false));
        tell(client.getStringDetails("colour", "blue"));
        tell(client.getNumberDetails("seats", 7));
        tell(client.getNumberDetails("discount", 7.5));
        tell(client.getObjectDetails("win_back_offer", { x: 1 }));
      }
      tell(client.getBooleanDetails("free_deliver", true));
      tell(client.getBooleanDetails("colour", true));
    """
    matched: list[list[Any]] = [[True, "on"], ["red", "red"], [500, "many"], [500, "large"], [{"voucher": 20}, "large"]]
    default: list[list[Any]] = [[False, "off"], ["", "plain"], [0, "none"], [0, "none"], [{}, "none"]]
    assert [
        *([*each, "TARGETING_MATCH", None] for each in matched),
        *([*each, "DEFAULT", None] for each in default),
        [True, None, "ERROR", "FLAG_NOT_FOUND"],
        [True, None, "ERROR", "TYPE_MISMATCH"],
    ] == told(flags, visit, calls)["told"]


def test_the_tag_holds_until_something_changes(flags: Shop, visit: Open) -> None:
    """The client is answered 304 as long as nothing changes; the context and an event are seen at once."""
    calls = """
      await OpenFeature.setContext({ targetingKey: "bob" });
      await OpenFeature.setProviderAndWait(provider({ cacheMode: "disabled" }));
      tell(client.getBooleanDetails("big_basket", false));
      await OpenFeature.setContext({ targetingKey: "bob" });
      await OpenFeature.setContext({ targetingKey: "bob", amount: 100.5 });
      tell(client.getBooleanDetails("big_basket", false));
      await OpenFeature.setContext({ targetingKey: "bob", amount: 100.5 });
      tell(client.getBooleanDetails("free_delivery", true));
      await buy("bob");
      await OpenFeature.setContext({ targetingKey: "bob", amount: 100.5 });
      tell(client.getBooleanDetails("free_delivery", false));
    """
    found = told(flags, visit, calls)
    assert [200, 304, 200, 304, 200] == found["statuses"]
    assert [False, True, False, True] == [value for value, *_ in found["told"]]


def test_polling_hears_of_a_change(flags: Shop, visit: Open) -> None:
    """A client that polls is told which flags an event has changed."""
    calls = """
      await OpenFeature.setContext({ targetingKey: "cat" });
      await OpenFeature.setProviderAndWait(provider({ pollInterval: 100 }));
      const changed = new Promise((heard) =>
        client.addHandler(ProviderEvents.ConfigurationChanged, (event) => heard(event.flagsChanged)));
      await buy("cat");
      told.push((await changed).includes("free_delivery"));
      tell(client.getBooleanDetails("free_delivery", false));
    """
    changed, seen = told(flags, visit, calls)["told"]
    assert (True, True) == (changed, seen[0])


def test_what_cannot_be_asked(flags: Shop, visit: Open) -> None:
    """Without a targeting key, and with a key of another kind or none of ours, defaults are given."""
    calls = """
      for (const [context, key] of [
        [{}, "YOUR_READ_KEY"],
        [{ targetingKey: "ann" }, "tcdp_r_nobody"],
        [{ targetingKey: "ann" }, "YOUR_WRITE_KEY"],
      ]) {
        await OpenFeature.setContext(key, context);
        const refused = provider({ headers: [["X-API-Key", key]] });
        await OpenFeature.setProviderAndWait(key, refused).catch((error) => told.push(String(error.code)));
        tell(OpenFeature.getClient(key).getBooleanDetails("free_delivery", true));
      }
    """
    found = told(flags, visit, calls)
    assert [400, 401, 403] == found["statuses"]
    assert ["GENERAL", "PROVIDER_FATAL", "PROVIDER_FATAL"] == found["told"][::2]
    assert [True] * 3 == [value for value, *_ in found["told"][1::2]]
