"""The page of flags: its definitions pass, its decisions are what the program gives, its tables are complete."""

import re
from typing import get_args

import pytest

from dsl.catalog import BucketBy, Catalog, Segment
from dsl.check import CheckedCatalog, check_catalog
from dsl.documents.definitions import load_directory
from dsl.documents.flags import LARGEST_WEIGHT, OPTIONAL
from dsl.identifiers import profile_id
from dsl.numbers import read_json
from dsl.state import State
from serving.decide import decide
from tests.docs.blocks import ROOT, Block, of_language, write

PAGE = "docs/reference/flags.md"
TEXT = (ROOT / PAGE).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> CheckedCatalog:
    """The flags of the page, with the segment that they ask for."""
    folder = tmp_path_factory.mktemp("flags")
    (block,) = of_language(PAGE, "yaml")
    write(block, folder)
    flags = load_directory(folder).catalog.flags
    return check_catalog(Catalog(segments=(Segment("vip", "events.purchase.count_30d >= 3"),), flags=flags))


@pytest.mark.parametrize("block", of_language(PAGE, "decision"), ids=lambda block: block.text.splitlines()[0])
def test_a_decision_is_as_shown(block: Block, checked: CheckedCatalog) -> None:
    """Who asks for a flag with a context gets the variant and the reasons that stand below."""
    question, *shown = block.text.splitlines()
    flag, identifier, context = question.split(" ", 2)
    brought = read_json(context)
    assert isinstance(brought, dict)
    state = State(profile_id(identifier), 0, 0, identifiers=(identifier,))
    found = decide(checked, flag, state, brought, asked=identifier)
    assert shown == [f"{found.variant} {found.reason}", *found.reasons]


def test_every_part_is_on_the_page() -> None:
    """The table of parts names every field of a flag, and what shares may go by."""
    assert set() == {*OPTIONAL, *get_args(BucketBy)} - set(re.findall(r"`(\w+)[`:]", TEXT)) - {"description"}
    assert f"from 0 to {LARGEST_WEIGHT} with" in TEXT
