"""Pipelines as YAML and as JSON documents: what is read, and what is refused where."""

from pathlib import Path

import pytest

from dsl.catalog import Pipeline, PipelineEvent, PipelineField
from dsl.diagnostics import DefinitionError
from dsl.documents.definitions import load_directory
from dsl.documents.pipelines import read_pipeline

WHOLE = """\
pipelines:
  - key: web-shop
    name: Web shop
    category: transaction
    status: configuring
    description: what the shop sends
    events:
      - name: Add to Cart
        fields:
          - {name: cart.total, type: number, required: true, description: before taxes}
          - {name: cart, type: object}
      - {name: on, enabled: false, description: a switch}
  - key: bare
"""


def test_everything_of_a_pipeline(tmp_path: Path) -> None:
    """Fields that are not written have their defaults; the type of each field knows its place."""
    (tmp_path / "all.yaml").write_text(WHOLE)
    loaded = load_directory(tmp_path)
    assert (
        Pipeline(
            "web-shop",
            (
                PipelineEvent(
                    "Add to Cart",
                    (
                        PipelineField("cart.total", "number", required=True, description="before taxes"),
                        PipelineField("cart", "object"),
                    ),
                ),
                PipelineEvent("on", description="a switch", enabled=False),
            ),
            "Web shop",
            "what the shop sends",
            "transaction",
            "configuring",
        ),
        Pipeline("bare"),
    ) == loaded.catalog.pipelines
    assert {
        ("pipeline", "web-shop", "Add to Cart", "cart"): "object",
        ("pipeline", "web-shop", "Add to Cart", "cart.total"): "number",
    } == {key: source.text for key, source in loaded.sources.items()}


PIPELINE = "pipelines:\n  - {key: p, events: [{name: e, fields: [%s]}]}\n"


@pytest.mark.parametrize(
    ("text", "line", "column", "message", "advice"),
    [
        ("pipelines: [{key: P}]", 1, 19, "`P` is no pipeline name", "it stands in the route"),
        ("pipelines: [{key: p, status: on}]", 1, 30, "no status `on`", "one of `active`"),
        ("pipelines: [{key: p, category: trusty}]", 1, 32, "no category `trusty`", "is `trust`"),
        ("pipelines: [{key: p}, {key: p}]", 1, 29, "the pipeline `p` is defined twice", "all.yaml:1:19"),
        (PIPELINE % "{name: a, type: int}", 2, 58, "there is no type `int`", "one of `string`, `number`"),
        (PIPELINE % "{name: a..b, type: list}", 2, 49, "`a..b` is no path of a field", "`cart.total`"),
        (PIPELINE % "{name: a}", 2, 42, "a field of `e` needs `type`", "add `type: …`"),
        (PIPELINE % "{name: a, type: list}, {name: a, type: list}", 2, 72, "`a` is defined twice", "all.yaml:2:49"),
    ],
)  # fmt: skip
def test_mistakes(tmp_path: Path, text: str, line: int, column: int, message: str, advice: str) -> None:
    """Each mistake is one error at its place, with what to do."""
    (tmp_path / "all.yaml").write_text(text)
    with pytest.raises(DefinitionError) as caught:
        load_directory(tmp_path)
    (found,) = caught.value.diagnostics
    place = found.source.position(found.span.start)
    assert (line, column) == (place.line, place.column)
    assert message in found.message
    assert advice in " ".join(found.help)


def test_documents_of_cartnudge() -> None:
    """A JSON document is read by the rules of the files: odd letters stay, mistakes have their place in it."""
    document = {
        "_id": "5f",
        "key": "web",
        "name": "Shop \x85\u2028 'x' #1 \U0001f6d2",
        "webhook_secret": "s",
        "events": [
            {"name": "add: 1", "enabled": False, "fields": [{"name": "a.b", "type": "object", "required": True}]}
        ],
    }
    assert Pipeline(
        "web",
        (PipelineEvent("add: 1", (PipelineField("a.b", "object", required=True),), enabled=False),),
        "Shop \x85\u2028 'x' #1 \U0001f6d2",
    ) == read_pipeline(document)
    with pytest.raises(DefinitionError) as caught:
        read_pipeline({"key": "web", "events": [{"name": "a", "fields": [{"name": "b", "type": "int"}]}]})
    (found,) = caught.value.diagnostics
    assert ("there is no type `int`", '"int"') == (
        found.message,
        found.source.text[found.span.start : found.span.end],
    )
