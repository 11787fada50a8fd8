"""Declared events: those of `events` and those of pipelines are one schema, and may not say different things."""

from pathlib import Path

import pytest

from dsl.catalog import Catalog, EventSchema, Pipeline, PipelineEvent, PipelineField, Trait
from dsl.check import CheckedCatalog, check_catalog, check_expression
from dsl.diagnostics import DefinitionError
from dsl.documents.definitions import load_directory
from dsl.documents.pipelines import CATEGORIES
from dsl.documents.templates import TEMPLATES
from dsl.guide.completion import complete


def pipeline(*fields: PipelineField, event: str = "add", key: str = "web") -> Pipeline:
    """A pipeline with one event."""
    return Pipeline(key, (PipelineEvent(event, fields),))


CART = pipeline(
    PipelineField("price", "number"),
    PipelineField("due", "timestamp"),
    PipelineField("cart", "object"),
    PipelineField("cart.total", "number"),
    PipelineField("extra", "object"),
)


@pytest.fixture(scope="module")
def checked() -> CheckedCatalog:
    """A catalog that declares one event in `events` and one in a pipeline."""
    return check_catalog(Catalog(events=(EventSchema("buy", {"amount": "number"}),), pipelines=(CART,)))


@pytest.mark.parametrize(
    ("expression", "type_"),
    [
        ("events.add.sum_7d(price)", "number"),
        ("events.add.sum(cart.total)", "number"),
        ("events.add.last(due)", "timestamp"),
        ("events.add[is_set(cart)].count", "number"),
        ('events.add[extra.colour == "red" && extra.size > 3].count', "number"),
        ("events.buy.sum(amount)", "number"),
    ],
)
def test_fields_of_pipelines_are_typed(checked: CheckedCatalog, expression: str, type_: str) -> None:
    """What a pipeline declares is known to expressions; an object without declared fields is open."""
    assert type_ == check_expression(expression, checked).type


@pytest.mark.parametrize(
    ("expression", "message", "advice"),
    [
        ("events.ad.count", "no event is named `ad`", "`events.add`"),
        ("events.add.sum(prise)", "event `add` has no property `prise`", "`price` (number)"),
        ("events.add.sum(cart.totla)", "event `add` has no property `cart.totla`", "`cart.total` (number)"),
        ("events.add.sum(cart)", "`cart` is an object, which has no value of its own", "name a property of it"),
        ("events.add.count_distinct(cart)", "`cart` is an object, which has no value of its own", ""),
        ('events.add[cart == "x"].count', "`cart` is an object, which has no value of its own", "`is_set(cart)`"),
        ("events.add.sum(extra.price.x.y) > due", "no trait or segment is named `due`", ""),
    ],
)
def test_what_a_pipeline_does_not_declare(checked: CheckedCatalog, expression: str, message: str, advice: str) -> None:
    """A name that is near a declared one is named; an object is no value."""
    with pytest.raises(DefinitionError) as caught:
        check_expression(expression, checked)
    found = caught.value.diagnostics[0]
    assert message == found.message
    assert advice in " ".join(found.help)


def test_two_declarations_that_agree_add_up() -> None:
    """An event may be declared in several places; what each says holds."""
    catalog = Catalog(
        events=(EventSchema("add", {"price": "number", "note": "string"}),),
        pipelines=(CART, pipeline(PipelineField("price", "number"), PipelineField("shop", "string"), key="app")),
        traits=(Trait("t", "events.add.last(note)"), Trait("u", "events.add.last(shop)"), Trait("v", "is_set(t)")),
    )
    assert ["string", "string", "boolean"] == [value.type for value in check_catalog(catalog).values.values()]


def test_declarations_that_disagree_show_both_places(tmp_path: Path) -> None:
    """The second is marked in its file, and the first is named with its place."""
    (tmp_path / "a.yaml").write_text("events: [{name: add, properties: {price: string}}]\n")
    (tmp_path / "b.yaml").write_text(
        "pipelines:\n  - key: web\n    events:\n      - name: add\n        fields:\n"
        "          - {name: price, type: number}\n          - {name: price.net, type: number}\n"
    )
    loaded = load_directory(tmp_path)
    with pytest.raises(DefinitionError) as caught:
        check_catalog(loaded.catalog, loaded.sources)
    assert [
        (
            "`price` of `add` is a number in the pipeline `web` and a string in `events`",
            f"{tmp_path}/b.yaml",
            (6, 33),
            f"the first is at {tmp_path}/a.yaml:1:42",
        ),
        (
            "`price.net` of `add` lies in `price`, which is a string in `events`",
            f"{tmp_path}/b.yaml",
            (7, 37),
            f"the first is at {tmp_path}/a.yaml:1:42",
        ),
    ] == [
        (d.message, d.source.name, (d.source.position(0).line, d.source.position(0).column), d.help[0])
        for d in caught.value.diagnostics
    ]


def test_names_that_are_there_twice() -> None:
    """A catalog that no file holds is checked as well: keys, events of a pipeline and fields of an event are unique."""
    field = PipelineField("a", "number")
    catalog = Catalog(
        pipelines=(Pipeline("p", (PipelineEvent("e", (field, field)), PipelineEvent("e"))), Pipeline("p"))
    )
    with pytest.raises(DefinitionError) as caught:
        check_catalog(catalog)
    assert [
        "the pipeline `p` is defined twice",
        "the event `e` of the pipeline `p` is defined twice",
        "the field `a` of `e` in the pipeline `p` is defined twice",
    ] == [diagnostic.message for diagnostic in caught.value.diagnostics]


def test_a_document_without_pipelines_is_read() -> None:
    """Catalogs that were stored before there were pipelines have none; others come back as they were."""
    catalog = Catalog(pipelines=(CART,))
    older = {name: value for name, value in Catalog().to_document().items() if name != "pipelines"}
    assert (Catalog(), catalog) == (Catalog.from_document(older), Catalog.from_document(catalog.to_document()))


def test_completion_knows_fields_of_pipelines(checked: CheckedCatalog) -> None:
    """What may stand next is also what pipelines declare."""
    assert ["add"] == [found.text for found in complete("events.a", 8, checked)]
    assert ["price"] == [found.text for found in complete("events.add.sum(pr", 17, checked)]


def test_templates_pass_and_are_not_active() -> None:
    """Every category has a template; all of them together are a catalog without mistakes."""
    assert set(CATEGORIES) == set(TEMPLATES)
    check_catalog(Catalog(pipelines=tuple(TEMPLATES.values())))
    assert {"configuring"} == {template.status for template in TEMPLATES.values()}


def test_events_named_by_their_kind_need_no_declaration() -> None:
    """A page view can be asked for where other events are declared."""
    catalog = Catalog(
        events=(EventSchema("purchase"),), traits=(Trait("views", "events.page.count + events.screen.count"),)
    )
    assert ("views",) == check_catalog(catalog).order
