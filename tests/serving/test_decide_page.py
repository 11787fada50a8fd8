"""What the page about decisions says of fields, reasons and limits is what the program does."""

import re
from typing import get_args

import msgspec

from dsl.event import EXPOSURE
from serving.decide import Limits
from serving.decide.decider import Stale
from serving.decide.decision import Reason
from serving.http.decisions import DecisionAnswer
from serving.http.question import MOST_EVENTS, DecideRequest
from serving.online.watch import SURE_S
from tests.docs.blocks import ROOT
from warehouse.settings import Settings

PAGE = (ROOT / "docs/reference/decide.md").read_text(encoding="utf-8")


def test_fields_of_the_question() -> None:
    """The page lists every field that a question may have."""
    part = PAGE.split("## The question")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (`.*?) \|", part, flags=re.MULTILINE)
    told = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert sorted(DecideRequest.__struct_encode_fields__) == sorted(told)
    assert f"up to {MOST_EVENTS} events" in PAGE


def test_fields_of_the_answer() -> None:
    """The answer on the page has the fields of an answer, in their order."""
    shown = msgspec.json.decode(re.findall(r"```json\n(.*?)```", PAGE, flags=re.DOTALL)[0])
    assert list(DecisionAnswer.__struct_encode_fields__) == [*shown, "explanation"]


def test_reasons_and_stale() -> None:
    """The page explains every reason and every way to be stale."""
    tables = re.findall(r"^\| `(\w+)` \|", PAGE, flags=re.MULTILINE)
    assert sorted(get_args(Reason)) == sorted(name for name in tables if name.isupper())
    stale = {value for each in get_args(Stale) for value in (get_args(each) or (each,))}
    assert stale <= set(tables)


def test_limits() -> None:
    """The figures of the page are the program's."""
    settings = Settings.read({})
    assert f"`TINYCDP_DECIDE_DEADLINE_MS` ({settings.decide_deadline_ms})" in PAGE
    assert (60_000, True) == (settings.decide_keep_ms, "for a minute (`TINYCDP_DECIDE_CACHE_TTL`" in PAGE)
    assert f"for {SURE_S:g} s keeps nothing" in PAGE
    assert f"the event `{EXPOSURE}`" in PAGE
    assert Limits().deadline_ms == settings.decide_deadline_ms
