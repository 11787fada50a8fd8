"""One decision: rules in order, then the default, with reasons."""

import asyncio
from dataclasses import replace

import pytest
import redis
import redis.asyncio

from dsl.catalog import Flag
from dsl.check import CheckedCatalog, check_catalog
from dsl.state import State
from serving.decide import Catalogs, CatalogUnusableError, UnknownFlagError, decide
from serving.online import OnlineReader, connect_async, publish_catalog
from serving.online.keys import Keys
from tests.serving.world import CATALOG, COUNT


@pytest.fixture(scope="module")
def checked() -> CheckedCatalog:
    """The world's catalog."""
    return check_catalog(CATALOG)


def state(purchases: int = 0, plan: str | None = None) -> State:
    """Somebody with some purchases."""
    return State("p", 0, 0, {"plan": plan} if plan else {}, {COUNT: purchases * 1_000_000} if purchases else {})


def test_the_first_rule_that_holds_decides(checked: CheckedCatalog) -> None:
    """The reasons name the rule, its text and the values that decided."""
    decision = decide(checked, "free_shipping", state(4, "gold"))
    assert ("free_shipping", True, "on", None) == (decision.flag, decision.allow, decision.variant, decision.payload)
    assert (
        'rule 1 matched: segment("vip")',
        "segment vip: purchases_30d = 4 >= 3",
    ) == decision.reasons


def test_a_later_rule(checked: CheckedCatalog) -> None:
    """A rule is asked when those before it do not hold."""
    decision = decide(checked, "free_shipping", state(1, "silver"))
    assert decision.allow
    assert decision.reasons[0].startswith("rule 2 matched: ")
    assert decision.reasons[1].startswith("segment paying: ")


def test_the_default_says_what_failed(checked: CheckedCatalog) -> None:
    """With no rule that holds, the first clause that failed in each is named."""
    decision = decide(checked, "free_shipping", state())
    assert (False, "off") == (decision.allow, decision.variant)
    assert ("no rule matched", "rule 1: segment vip: purchases_30d = 0, not >= 3") == decision.reasons[:2]
    assert decision.reasons[2].startswith("rule 2: segment paying: ")
    assert 3 == len(decision.reasons)


def test_a_payload_is_handed_on(checked: CheckedCatalog) -> None:
    """A variant carries any JSON."""
    assert {"text": "welcome back", "share": 0.25} == decide(checked, "banner", state(3)).payload
    plain = decide(checked, "banner", state(2))
    assert (True, "plain") == (plain.allow, plain.variant)


@pytest.mark.parametrize(
    ("context", "allowed"),
    [({"amount": 100_500_000}, True), ({"amount": 100_499_999}, False), ({"amount": "200"}, False), ({}, False)],
)
def test_context_counts_as_it_was_sent(checked: CheckedCatalog, context: dict[str, object], allowed: bool) -> None:
    """A number of the context is exact; another type, or none, is missing and compares false."""
    assert allowed is decide(checked, "big_basket", state(), context).allow


def test_a_disabled_flag(checked: CheckedCatalog) -> None:
    """A disabled flag answers its default, whatever its rules say."""
    decision = decide(checked, "closed", state())
    assert (False, ("flag closed is disabled",), "DISABLED") == (decision.allow, decision.reasons, decision.reason)


def test_a_flag_without_rules(checked: CheckedCatalog) -> None:
    """It answers its default and says why."""
    decision = decide(checked, "empty", state())
    assert (("the flag has no rules",), "STATIC") == (decision.reasons, decision.reason)


def test_an_unknown_flag(checked: CheckedCatalog) -> None:
    """The error names the nearest flag."""
    with pytest.raises(UnknownFlagError, match=r"^no flag is named `free_shiping`; the nearest is `free_shipping`$"):
        decide(checked, "free_shiping", state())
    with pytest.raises(UnknownFlagError) as caught:
        decide(checked, "x" * 10_000, state())
    assert len(str(caught.value)) < 200


class CountingReader(OnlineReader):
    """Counts how often a document is fetched."""

    def __init__(self, client: redis.asyncio.Redis, project: str) -> None:
        super().__init__(client, project)
        self.fetched: list[int] = []

    async def catalog(self, version: int) -> "dict[str, object] | None":
        """Fetch, and count."""
        self.fetched.append(version)
        found = await super().catalog(version)
        return None if found is None else dict(found)


def test_a_version_is_checked_once(valkey_url: str, online: redis.Redis, project: str) -> None:
    """However many ask at once, a version is fetched and checked one time; an older one may still be asked for."""
    publish_catalog(online, project, 1, CATALOG.to_document())
    publish_catalog(online, project, 2, replace(CATALOG, flags=(Flag("only", ()),)).to_document())

    async def many() -> tuple[list[int], list[list[str]]]:
        reader = CountingReader(connect_async(valkey_url), project)
        catalogs = Catalogs(reader)
        found = await asyncio.gather(*(catalogs.get(version) for version in [1, 2] * 20))
        await reader.close()
        return reader.fetched, [list(each.checked.flags) for each in found[:2]]

    fetched, flags = asyncio.run(many())
    assert [1, 2] == sorted(fetched)
    assert [[flag.key for flag in CATALOG.flags], ["only"]] == flags


@pytest.mark.parametrize("document", ['{"flags": []}', None])
def test_a_catalog_that_cannot_be_used(
    valkey_url: str, online: redis.Redis, project: str, document: str | None
) -> None:
    """A document of another program, or one that is gone, is an error that says what to do."""
    if document is not None:
        online.set(Keys(project).catalog(7), document)

    async def get() -> None:
        reader = OnlineReader(connect_async(valkey_url), project)
        try:
            await Catalogs(reader).get(7)
        finally:
            await reader.close()

    with pytest.raises(CatalogUnusableError, match=r"^catalog version 7 .*again$"):
        asyncio.run(get())
