"""Features: the traits they stand for, CartNudge's documents, and the catalog that holds them."""

import json

import pytest

from dsl.catalog import Aggregation, Catalog, Feature, Segment, Trait
from dsl.check import check_catalog
from dsl.diagnostics import DefinitionError
from dsl.features import AGGREGATIONS, expand, expand_catalog, read_feature
from dsl.parser import parse
from dsl.printer import print_tree
from dsl.render import draw_all
from dsl.source import Source
from dsl.windows import read_window

CARTNUDGE = """\
{
  "_id": "65f0",
  "project_id": "shop",
  "pipeline_id": "65ef",
  "name": "cart_value",
  "description": "what was put into the cart",
  "source_event": "Add to Cart",
  "aggregation": "SUM",
  "field": "amount",
  "time_windows": ["5m", "1h", "24h", "7d", "30d"],
  "enabled": true,
  "created_at": "2026-01-01T00:00:00Z",
  "updated_at": "2026-01-01T00:00:00Z"
}
"""
"""A document as CartNudge keeps it."""


def expressions(feature: Feature) -> list[str]:
    """The expressions of a feature's traits."""
    return [trait.expression for trait in expand(feature)]


@pytest.mark.parametrize(
    ("event", "aggregation", "field", "expected"),
    [
        ("add_to_cart", "COUNT", None, "events.add_to_cart.count_24h"),
        ("add_to_cart", "SUM", "amount", "events.add_to_cart.sum_24h(amount)"),
        ("add_to_cart", "AVG", "amount", "events.add_to_cart.avg_24h(amount)"),
        ("add_to_cart", "MIN", "amount", "events.add_to_cart.min_24h(amount)"),
        ("add_to_cart", "MAX", "amount", "events.add_to_cart.max_24h(amount)"),
        ("add_to_cart", "COUNT_DISTINCT", "sku", "events.add_to_cart.count_distinct_24h(sku)"),
        ("add_to_cart", "LAST", "sku", "events.add_to_cart.last_24h(sku)"),
        ("add_to_cart", "FIRST", "sku", "events.add_to_cart.first_24h(sku)"),
        ("Add to Cart", "COUNT", None, 'events["Add to Cart"].count_24h'),
        ('a"b\\c', "COUNT", None, r'events["a\"b\\c"].count_24h'),
        ("*", "COUNT", None, "events.*.count_24h"),
        ("in", "COUNT", None, "events.in.count_24h"),
        ("a\ud800", "COUNT", None, 'events["a\ufffd"].count_24h'),
        ("add", "SUM", "cart.total", "events.add.sum_24h(cart.total)"),
        ("add", "SUM", "cart.sub total", 'events.add.sum_24h(cart["sub total"])'),
        ("add", "SUM", "unit price", 'events.add.sum_24h(properties["unit price"])'),
        ("add", "LAST", "in", "events.add.last_24h(properties.in)"),
        ("add", "LAST", "true", "events.add.last_24h(properties.true)"),
        ("add", "LAST", "events", "events.add.last_24h(properties.events)"),
        ("add", "LAST", "profile.plan", "events.add.last_24h(properties.profile.plan)"),
        ("add", "LAST", "properties", "events.add.last_24h(properties.properties)"),
    ],
)
def test_expression(event: str, aggregation: Aggregation, field: str | None, expected: str) -> None:
    """Every aggregation is the aggregate of its name; names that need quotes get them; the text is canonical."""
    (found,) = expressions(Feature("adds", event, aggregation, field, ("24h",)))
    assert expected == found
    assert found == print_tree(parse(Source(found)))


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_every_window_is_a_trait(aggregation: Aggregation) -> None:
    """A feature has one trait for each window, named `<key>_<window>`, with the description of the feature."""
    windows = ("5m", "1h", "24h", "7d", "30d")
    traits = expand(Feature("adds", "add", aggregation, None if aggregation == "COUNT" else "amount", windows, "why"))
    assert [f"adds_{window}" for window in windows] == [trait.key for trait in traits]
    assert {"why"} == {trait.description for trait in traits}
    for trait, window in zip(traits, windows, strict=True):
        root = parse(Source(trait.expression)).root
        assert (aggregation.lower(), window) == (getattr(root, "function", None), getattr(root, "window", None))
        assert read_window(window) is not None


def test_a_name_that_ends_in_its_window() -> None:
    """The rule is taken literally: the window is added also to a name that ends in it."""
    assert ["cart_adds_24h_24h"] == [t.key for t in expand(Feature("cart_adds_24h", "add", "COUNT", None, ("24h",)))]


def test_disabled() -> None:
    """A disabled feature has no traits."""
    assert () == expand(Feature("adds", "add", "COUNT", None, ("24h",), enabled=False))


# -- CartNudge's documents -------------------------------------------------------------------------------------


def test_a_cartnudge_document() -> None:
    """A document with everything that CartNudge writes is read; what is not computed from is passed over."""
    expected = Feature(
        "cart_value", "Add to Cart", "SUM", "amount", ("5m", "1h", "24h", "7d", "30d"), "what was put into the cart"
    )
    assert expected == read_feature(json.loads(CARTNUDGE))
    assert 'events["Add to Cart"].sum_5m(amount)' == expressions(expected)[0]


def test_a_document_in_our_words() -> None:
    """Fields may have our names, aggregations may be small, and what is null or empty is not there."""
    document = {"key": "adds", "event": "add", "aggregation": "count", "windows": ["1h"], "field": "", "enabled": None}
    assert Feature("adds", "add", "COUNT", None, ("1h",)) == read_feature(document)


GOOD: dict[str, object] = {"name": "f", "source_event": "e", "aggregation": "COUNT", "time_windows": ["5m"]}


@pytest.mark.parametrize(
    ("change", "marked", "message", "advice"),
    [
        ({"name": "Cart Adds"}, '"Cart Adds"', "`Cart Adds` is no feature name", "a name is a lower-case letter"),
        ({"name": "not"}, '"not"', "`not` is a word of the language", "choose another name"),
        ({"name": 5}, "5", "`name` should be text, found `5`", ""),
        ({"name": None}, None, "a feature needs `key`, which CartNudge calls `name`", "add `key: …`"),
        ({"source_event": ""}, '""', "`event` is empty", "name the event"),
        ({"source_event": None}, None, "a feature needs `event`, which CartNudge calls `source_event`", ""),
        ({"aggregation": "COUNTS"}, '"COUNTS"', "no aggregation `COUNTS`", "the nearest aggregation is `COUNT`"),
        ({"aggregation": "x"}, '"x"', "no aggregation `x`", "one of `COUNT`, `SUM`"),
        ({"aggregation": None}, None, "a feature needs `aggregation`", ""),
        ({"aggregation": "SUM"}, '"SUM"', "`SUM` needs a `field`", "field: amount"),
        ({"aggregation": "SUM", "field": ""}, '"SUM"', "`SUM` needs a `field`", ""),
        ({"field": "amount"}, '"amount"', "`COUNT` counts events and takes no `field`", "`COUNT_DISTINCT`"),
        ({"field": ["a"]}, '["a"]', "`field` should be text", ""),
        ({"time_windows": []}, "[]", "at least one window", "a trait"),
        ({"time_windows": "5m"}, '"5m"', "`time_windows` should be a list of windows", ""),
        ({"time_windows": [5]}, "[5]", "`time_windows` should be a list of windows", ""),
        ({"time_windows": ["1y"]}, '["1y"]', "`1y` is not a window", "write a number and a unit"),
        ({"time_windows": ["24H"]}, '["24H"]', "`24H` is not a window", ""),
        ({"time_windows": ["0d"]}, '["0d"]', "`0d` is not a window", ""),
        ({"time_windows": ["5m", "5m"]}, '["5m", "5m"]', "the window `5m` is repeated", "keep one"),
        ({"enabled": "yes"}, '"yes"', "`enabled` should be `true` or `false`", ""),
        ({"time_window": 1}, '"time_window"', "no field `time_window`", "the nearest field is `time_windows`"),
        ({"ttl": 1}, '"ttl"', "no field `ttl`", "its fields are `key`, `event`"),
        ({"key": "g"}, '"key"', "`key` and `name` are one field", "keep one of them"),
    ],
)
def test_mistakes_of_a_document(change: dict[str, object], marked: str | None, message: str, advice: str) -> None:
    """Each mistake is one error that points into the document, with what to do."""
    with pytest.raises(DefinitionError) as caught:
        read_feature(GOOD | change)
    (found,) = caught.value.diagnostics
    text = found.source.text[found.span.start : found.span.end]
    assert ("bad-definition", found.source.text if marked is None else marked) == (found.code, text)
    assert message in found.message
    assert advice in " ".join(found.help)


def test_a_mistake_drawn() -> None:
    """A mistake is drawn in the document, written on one line."""
    with pytest.raises(DefinitionError) as caught:
        read_feature(GOOD | {"time_windows": ["5m", "1y"]})
    expected = """\
error[bad-definition]: `1y` is not a window
  --> <feature>:1:76
   |
 1 | {"name": "f", "source_event": "e", "aggregation": "COUNT", "time_windows": ["5m", "1y"]}
   |                                                                            ^^^^^^^^^^^^
   = help: write a number and a unit: `5m`, `24h`, `30d`, `2w`
   = see: docs/reference/errors.md#bad-definition"""
    assert expected == draw_all(caught.value.diagnostics)


def test_all_mistakes_at_once() -> None:
    """A document with several mistakes tells all of them."""
    with pytest.raises(DefinitionError) as caught:
        read_feature({"ttl": 1, "name": "F", "aggregation": "x", "time_windows": ["1y", "5m", "5m"]})
    assert 6 == len(caught.value.diagnostics)


# -- the catalog -----------------------------------------------------------------------------------------------

FEATURES = (
    Feature("adds", "add", "COUNT", None, ("5m", "1h"), "adds to the cart"),
    Feature("worth", "purchase", "LAST", "amount", ("7d",), enabled=False),
)


def test_document_of_the_catalog() -> None:
    """Features go into the catalog's document and come back, also through JSON; a change of one is a new digest."""
    catalog = Catalog(traits=(Trait("t", "1"),), features=FEATURES)
    assert catalog == Catalog.from_document(json.loads(json.dumps(catalog.to_document())))
    assert catalog.digest() != Catalog(traits=(Trait("t", "1"),), features=FEATURES[:1]).digest()


def test_document_from_before_features() -> None:
    """A catalog that was stored before there were features is read: it has none."""
    document = Catalog(traits=(Trait("t", "1"),)).to_document()
    del document["features"]
    assert Catalog(traits=(Trait("t", "1"),)) == Catalog.from_document(document)


def test_expanded_catalog() -> None:
    """Expanding puts the traits of the features behind the others, in place of the features, and is idle again."""
    catalog = Catalog(traits=(Trait("t", "1"),), segments=(Segment("s", "adds_5m > 1"),), features=FEATURES)
    expanded = expand_catalog(catalog)
    traits = (
        Trait("t", "1"),
        Trait("adds_5m", "events.add.count_5m", "adds to the cart"),
        Trait("adds_1h", "events.add.count_1h", "adds to the cart"),
    )
    assert Catalog(traits=traits, segments=catalog.segments) == expanded
    assert expanded == expand_catalog(expanded)


@pytest.mark.parametrize(
    ("catalog", "message"),
    [
        (Catalog(traits=(Trait("adds", "1"),), features=FEATURES), "the feature `adds` has the name of the trait"),
        (Catalog(segments=(Segment("adds", "true"),), features=FEATURES), "has the name of the segment `adds`"),
        (
            Catalog(segments=(Segment("adds_5m", "true"),), features=FEATURES),
            "the trait `adds_5m` of the feature `adds` has the name of the segment `adds_5m`",
        ),
        (
            Catalog(features=(*FEATURES, Feature("adds_5m", "e", "COUNT", None, ("1h",)))),
            "the feature `adds_5m` has the name of the trait `adds_5m` of the feature `adds`",
        ),
        (
            Catalog(features=(FEATURES[1], Feature("worth", "e", "COUNT", None, ("1h",)))),
            "the feature `worth` has the name of the feature `worth`",
        ),
    ],
)
def test_names_that_collide(catalog: Catalog, message: str) -> None:
    """A feature's name and those of its traits are unique over all definitions, also when it is disabled."""
    with pytest.raises(DefinitionError) as caught:
        expand_catalog(catalog)
    (found,) = caught.value.diagnostics
    assert "duplicate-name" == found.code
    assert message in found.message
    assert draw_all([found])


def test_features_are_checked_and_computed_as_traits() -> None:
    """A checked catalog has a trait for each window of a feature; the catalog itself keeps the feature."""
    feature = Feature("cart_adds", "add_to_cart", "COUNT", None, ("1h", "7d"))
    checked = check_catalog(Catalog(features=(feature,)))
    assert ("cart_adds_1h", "cart_adds_7d") == checked.order
    assert ["events.add_to_cart.count_1h", "events.add_to_cart.count_7d"] == [v.text for v in checked.values.values()]
