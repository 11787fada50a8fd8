"""The page of pipelines says what the program does."""

import re
from pathlib import Path
from typing import get_args

from dsl.catalog import Pipeline, PipelineEvent, PipelineField
from dsl.check import check_catalog
from dsl.conformance import Violation, ViolationKind
from dsl.documents.definitions import load_directory
from dsl.documents.pipelines import CATEGORIES, FIELD_TYPES, STATUSES
from tests.docs.blocks import ROOT, of_language, write

PAGE = "docs/reference/pipelines.md"
TEXT = (ROOT / PAGE).read_text(encoding="utf-8")


def test_the_definition_on_the_page_passes(tmp_path: Path) -> None:
    """What the page shows can be applied as it stands, and holds what it says."""
    (block,) = of_language(PAGE, "yaml")
    write(block, tmp_path)
    fields = (
        PipelineField("product_id", "string", required=True),
        PipelineField("quantity", "number", required=True),
        PipelineField("cart.total", "number", description="All that lies in the cart."),
        PipelineField("deliver_on", "timestamp"),
    )
    event = PipelineEvent("add_to_cart", fields, "A product went into the cart.")
    assert (Pipeline("web-shop", (event,), "Web shop"),) == check_catalog(
        load_directory(tmp_path).catalog
    ).catalog.pipelines


def test_every_word_is_on_the_page() -> None:
    """Categories, statuses, types and kinds of violations are all told."""
    words = set(re.findall(r"`([a-z_]+)`", TEXT))
    assert set() == {*CATEGORIES, *STATUSES, *FIELD_TYPES, *get_args(ViolationKind)} - words


def test_the_page_says_what_refuses_an_event() -> None:
    """The table's last column is what happens."""
    rows = dict(re.findall(r"^\| `([a-z_]+)` \| .* \| is (refused|taken)", TEXT, flags=re.MULTILINE))
    assert {kind: "refused" if Violation(kind).rejects else "taken" for kind in get_args(ViolationKind)} == rows
