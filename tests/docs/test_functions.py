"""The page of functions says what the tables say, and its examples hold."""

import pytest

from dsl.catalog import Catalog, Trait
from dsl.check import check_catalog
from dsl.evaluate import evaluate
from dsl.explain import show_value
from dsl.functions import FUNCTIONS, Function
from dsl.guide.reference import functions_page
from dsl.state import State
from tests.docs.blocks import ROOT


def test_page_is_written_from_the_tables() -> None:
    """`docs/reference/functions.md` is what `functions_page` gives."""
    assert functions_page() == (ROOT / "docs/reference/functions.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=lambda function: str(function.name))
def test_example_of_a_function_holds(function: Function) -> None:
    """The example in the table has the value that stands beside it."""
    text, shown = function.example
    checked = check_catalog(Catalog(traits=(Trait("example", text),), timezone="America/New_York"))
    value = checked.values["example"]
    found = show_value(evaluate(value.node, State("p1", 0, 0), checked), value.type)
    assert shown.strip('"') == found.strip('"')
