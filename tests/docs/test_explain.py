"""`docs/reference/explain.md` names every member of a tree, and its sentences are those that are said."""

import re

import msgspec
import pytest

from dsl.catalog import Catalog
from dsl.check import check_catalog, check_expression
from dsl.clock import parse_instant
from dsl.guide.explain_tree import Explained, explain_tree
from dsl.numbers import read_number
from dsl.state import State, Value
from tests.docs.blocks import ROOT

PAGE = (ROOT / "docs/reference/explain.md").read_text(encoding="utf-8")
ROWS = re.findall(
    r"^\| `(.+?)`(?:, of ([\d.]+))? \| (.+) \|$", PAGE.partition("| clause | sentence |")[2], re.MULTILINE
)
CHECKED = check_catalog(Catalog())


@pytest.mark.parametrize(("clause", "value", "sentence"), ROWS, ids=[clause for clause, _, _ in ROWS])
def test_sentence(clause: str, value: str, sentence: str) -> None:
    """Each clause of the page has the sentence that stands beside it."""
    known: dict[str, Value] = {"events.purchase.last_at": parse_instant("2017-12-31T16:31:01Z")}
    if value:
        known[clause.split(" ", maxsplit=1)[0]] = read_number(value)
    state = State("p", parse_instant("2018-01-01T05:00:00Z"), 1, {"plan": "free"}, known)
    node = check_expression(clause, CHECKED, "flag").node
    held = [parse_instant("2017-12-09T16:20:00Z")]
    assert (sentence,) == explain_tree(node, state, CHECKED, {}, holdings=lambda _: held).would_match


def test_every_member_is_named() -> None:
    """The members of a part are the rows of the page's table, with their defaults."""
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)?) \|.*\| ([^|]*?) ?\|$", PAGE.partition("## What would")[0], re.MULTILINE)
    named = {name: default for names, default in rows for name in re.findall(r"`(\w+)`", names)}
    fields = msgspec.structs.fields(Explained)
    assert {field.encode_name for field in fields} == {*named}
    false = {field.encode_name for field in fields if field.default is False}
    assert false == {name for name, default in named.items() if default == "false"}
    assert len(ROWS) > 8
