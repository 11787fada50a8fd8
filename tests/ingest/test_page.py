"""What the page about sending events says of routes, limits and codes is what the program does."""

import re
from typing import get_args

from serving.http import bodies
from serving.http.problems import STATUSES
from serving.ingest import check
from serving.ingest.sent import ReasonCode
from serving.online import DEDUP_WINDOW_MS
from tests.docs.blocks import ROOT
from tests.ingest.conftest import Shop

PAGE = (ROOT / "docs/reference/ingest.md").read_text(encoding="utf-8")
DAY_MS = 86_400_000


def rows(heading: str) -> list[list[str]]:
    """The cells of the tables under a heading, without their heads."""
    part = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = re.findall(r"^\| (.*) \|$", part, flags=re.MULTILINE)
    return [line.split(" | ") for line in lines[1:]]


def test_every_reason_is_there() -> None:
    """The page lists the reasons of dead letters, each once, in order."""
    assert sorted(get_args(ReasonCode)) == [reason.strip("`") for reason, _ in rows("Dead letters")]


def test_limits_are_those_of_the_program() -> None:
    """Each limit of the page is the program's."""
    rules = check.Rules()
    assert [
        f"{bodies.LARGEST_BODY_BYTES:,} bytes",
        f"{bodies.LONGEST_BODY_S:g} s",
        f"{rules.max_event_bytes:,} bytes",
        str(check.MOST_PROPERTIES),
        str(check.DEEPEST),
        f"{check.LONGEST_EVENT_ID} characters",
        f"{check.LONGEST_NAME} characters",
        f"{check.LONGEST_IDENTIFIER} characters",
        f"{rules.max_lateness_ms // DAY_MS} days",
    ] == [limit for _, limit, _ in rows("Limits")]
    assert 7 * DAY_MS == DEDUP_WINDOW_MS


def test_codes_have_their_status() -> None:
    """Each code of the page is answered with the status that the page says."""
    told = {code: status.split(", ") for status, codes, _ in rows("Answers") for code in re.findall(r"`(\w+)`", codes)}
    actual = {str(code): str(status) for code, status in STATUSES.items()}
    assert [] == [code for code, statuses in told.items() if actual[code] not in statuses]


def test_routes_are_served(shop: Shop) -> None:
    """Each route of the page is a route of the API."""
    served = set(shop.api.http.get("/openapi.json").json()["paths"])
    told = {path for routes, _ in rows("Routes") for path in re.findall(r"`(?:GET |POST )?(/[^` ]+)`", routes)}
    assert 20 < len(told)
    assert set() == told - served
