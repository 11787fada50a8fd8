"""What the checker says: codes, places, nearest names, and how it is drawn.

Each file in `golden/check/` is an expression of the place that its first line names, a line `---`, and the drawing;
`file` is the place of a file of definitions. `errors_to_improve/` holds drawings of the same form that are poor.
"""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from dsl.catalog import Catalog, EventSchema, Export, Flag, Rule, Segment, Trait, Variant
from dsl.check import MAX_AGGREGATES, MAX_DEPTH, CheckedCatalog, check_catalog, check_expression
from dsl.diagnostics import DefinitionError, Diagnostic
from dsl.documents.definitions import load_directory
from dsl.infer import Place
from dsl.render import draw_all
from dsl.source import Source

GOLDEN = Path(__file__).parent / "golden" / "check"
TO_IMPROVE_FOLDER = Path(__file__).parent / "errors_to_improve"
TO_IMPROVE = sorted(TO_IMPROVE_FOLDER.glob("*.txt"))
CATALOG = Catalog(
    events=(
        EventSchema("purchase", {"amount": "number", "category": "string", "paid_at": "timestamp"}),
        EventSchema("Feature Used", {"feature": "string", "beta": "boolean"}),
        EventSchema("app_open"),
    ),
    attributes={"country": "string", "age": "number", "member": "boolean", "signed_up": "timestamp", "tags": "list"},
    traits=(
        Trait("total_spent", "events.purchase.sum(amount)"),
        Trait("last_order", "events.purchase.last_at"),
        Trait("is_adult", "profile.age >= 18"),
    ),
    segments=(Segment("vip", "total_spent >= 500"),),
)
"""Declared events and attributes: other names are errors."""


@pytest.fixture(scope="module")
def checked() -> CheckedCatalog:
    """The catalog that expressions are checked against."""
    return check_catalog(CATALOG)


def found(text: str, checked: CheckedCatalog, place: Place = "value") -> tuple[Diagnostic, ...]:
    """What is wrong with an expression."""
    with pytest.raises(DefinitionError) as caught:
        check_expression(text, checked, place)
    return caught.value.diagnostics


def wrong(catalog: Catalog) -> tuple[Diagnostic, ...]:
    """What is wrong with a catalog."""
    with pytest.raises(DefinitionError) as caught:
        check_catalog(catalog)
    return caught.value.diagnostics


def pointed(diagnostic: Diagnostic) -> str:
    """The text under the caret."""
    return diagnostic.source.text[diagnostic.span.start : diagnostic.span.end]


# Expression, code, what the caret points at, a word of the help.
ERRORS = [
    ("profile.counrty == 1", "unknown-name", "counrty", "`profile.country` (string)"),
    ('profile["counrty"] == 1', "unknown-name", '"counrty"', "`profile.country` (string)"),
    ("totl_spent > 1", "unknown-name", "totl_spent", "`total_spent`"),
    ("last_seen_day_ago > 1", "unknown-name", "last_seen_day_ago", "`last_seen_days_ago`"),
    ("country == 1", "unknown-name", "country", "`profile.country`"),
    ("profle.country == 1", "unknown-name", "profle", "`profile`"),
    ("events.purchse.count > 1", "unknown-name", "purchse", "`events.purchase`"),
    ("events.purchase[amonut > 1].count > 1", "unknown-name", "amonut", "`amount` (number)"),
    ("events.purchase.sum(amonut) > 1", "unknown-name", "amonut", "`amount` (number)"),
    ('segment("vpi")', "unknown-name", '"vpi"', "`vip`"),
    ('segment("is_adult")', "unknown-name", '"is_adult"', 'write `trait("is_adult")`'),
    ('trait("vip")', "unknown-name", '"vip"', 'write `segment("vip")`'),
    ("lenght(profile.country) > 1", "unknown-function", "lenght", "`length`"),
    ("events.purchase.cuont > 1", "unknown-aggregate", "cuont", "`count`"),
    ("events.purchase.cuont_30d > 1", "unknown-aggregate", "cuont", "`count`"),
    ("events.purchase.count_30y > 1", "bad-window", "30y", "`30m`"),
    ("events.purchase.count_0d > 1", "bad-window", "0d", "`7d`"),
    ("events.purchase.unique_days_36h > 1", "bad-window", "36h", "`14d`"),
    ('profile.age == "18"', "wrong-type", '"18"', "without quotes"),
    ("profile.age && profile.member", "wrong-type", "profile.age", "compare the value"),
    ("profile.country + 1 > 1", "wrong-type", "profile.country", ""),
    ("-profile.member > 1", "wrong-type", "profile.member", ""),
    ("profile.member < true", "wrong-type", "<", "have no order"),
    ("last_order > 5", "wrong-type", "5", ""),
    ("last_order + last_order > 5", "wrong-type", "last_order", ""),
    ("[1, 2] == [1, 2]", "wrong-type", "==", "`in`"),
    ("[1] in [[1]]", "wrong-type", "[1]", "in ["),
    ("is_set([1])", "wrong-type", "[1]", "in ["),
    ("if(true, [1], [2])", "wrong-type", "[1]", "in ["),
    ("profile.age in 18", "wrong-type", "18", "in brackets"),
    ('profile.age in ["18"]', "wrong-type", '"18"', "without quotes"),
    ("events.purchase.count_30days > 1", "bad-window", "30days", "`30d`"),
    ('traits.country == "NO"', "unknown-name", "traits", "`profile.country`"),
    ('if(vip, 1, "x") == 1', "wrong-type", '"x"', ""),
    ("coalesce(profile.age, profile.country) == 1", "wrong-type", "profile.country", ""),
    ("lower(profile.age) == 1", "wrong-type", "profile.age", ""),
    ("events.purchase.sum(category) > 1", "wrong-type", "category", ""),
    ("events.*[left == right].count > 1", "unknown-type", "left", "declare the property"),
    ("events.*[is_set(coalesce(left, right))].count > 1", "unknown-type", "left", "declare the property"),
    ("abs() > 1", "wrong-arguments", "abs()", ""),
    ("abs(1, 2) > 1", "wrong-arguments", "abs(1, 2)", ""),
    ("coalesce(1) > 1", "wrong-arguments", "coalesce(1)", ""),
    ("segment(vip)", "wrong-arguments", "segment(vip)", ""),
    ("events.purchase.sum > 1", "wrong-arguments", "events.purchase.sum", ""),
    ("events.purchase.count() > 1", "wrong-arguments", "events.purchase.count()", ""),
    ("events.purchase.days_since_last(amount) > 1", "wrong-arguments", "events.purchase.days_since_last(amount)", ""),
    ("events.purchase.sum(1) > 1", "wrong-arguments", "1", ""),
    ("context.amount > 1", "not-allowed-here", "context.amount", ""),
    ("profile.country.code == 1", "unknown-name", "country.code", ""),
    ("events.purchase[profile.age > 1].count > 1", "not-allowed-here", "profile.age", ""),
    ("events.purchase[events.app_open.count > 1].count > 1", "not-allowed-here", "events.app_open.count", ""),
    ('events.purchase[segment("vip")].count > 1', "not-allowed-here", "segment", ""),
    ("events.purchase[now() == now()].count > 1", "not-allowed-here", "now", ""),
]


@pytest.mark.parametrize(("text", "code", "place", "advice"), ERRORS, ids=[error[0] for error in ERRORS])
def test_error(checked: CheckedCatalog, text: str, code: str, place: str, advice: str) -> None:
    """The first error has its code, points at the right piece of the text, and helps."""
    first = found(text, checked)[0]
    assert (code, place) == (first.code, pointed(first))
    assert advice in " ".join(first.help)


def check_folder(folder: Path) -> CheckedCatalog:
    """The definitions in a folder, checked."""
    loaded = load_directory(folder)
    return check_catalog(loaded.catalog, loaded.sources)


def drawing(path: Path, checked: CheckedCatalog, folder: Path) -> tuple[str, str]:
    """The drawing that stands in a golden file, and that of what the file holds as it is drawn now."""
    written, expected = path.read_text(encoding="utf-8").split("\n---\n")
    place, text = written.split("\n", 1)
    assert place in ("value", "flag", "file")
    if place != "file":
        return expected.rstrip("\n"), draw_all(found(text, checked, "flag" if place == "flag" else "value"))
    (folder / "definitions.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(DefinitionError) as caught:
        check_folder(folder)
    return expected.rstrip("\n"), draw_all(caught.value.diagnostics).replace(f"{folder}/", "")


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.txt")), ids=lambda path: path.stem)
def test_golden(checked: CheckedCatalog, path: Path, tmp_path: Path) -> None:
    """The errors of an expression are drawn as they stand in the file."""
    expected, actual = drawing(path, checked, tmp_path)
    assert expected == actual


def test_there_are_golden_files() -> None:
    """The folder of drawings is found."""
    assert len(list(GOLDEN.glob("*.txt"))) >= 8


@pytest.mark.parametrize("path", TO_IMPROVE, ids=lambda path: path.stem)
def test_to_improve(checked: CheckedCatalog, path: Path, tmp_path: Path) -> None:
    """A poor drawing is still as poor as it was; one that has become good moves to `golden/check/`."""
    expected, actual = drawing(path, checked, tmp_path)
    assert expected == actual, f"{path.name} is drawn differently now: if it is good, move it to golden/check/"


def test_poor_drawings_are_listed() -> None:
    """The README of the folder says of each poor drawing what would be better, and of no other."""
    listed = re.findall(
        r"^\| `(\w+)\.txt` \| \S", (TO_IMPROVE_FOLDER / "README.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert sorted(path.stem for path in TO_IMPROVE) == sorted(listed)


def test_every_error_at_once(checked: CheckedCatalog) -> None:
    """All errors of an expression are reported, in the order of the text, and none that only follows from another."""
    text = 'profile.counrty == 5 && events.purchse[amonut > "1"].cuont_30y > lenght(totl_spent) || segment("vpi")'
    assert ["counrty", "purchse", "cuont", "lenght", '"vpi"'] == [pointed(one) for one in found(text, checked)]


def test_errors_of_definitions_at_once() -> None:
    """Errors of all definitions, flags and exports are reported together, each with its own text."""
    catalog = Catalog(
        traits=(Trait("a", "nothing + 1"), Trait("b", "1 +")),
        segments=(Segment("c", "5"),),
        flags=(Flag("d", (Rule("a > 1", "on"), Rule("true", "maybe"))),),
        exports=(Export("e", "cc", "csv"),),
    )
    assert ["1 +", "nothing + 1", "5", "d", "cc"] == [one.source.text for one in wrong(catalog)]


def test_a_mistake_is_reported_once() -> None:
    """What builds on a definition that failed is not wrong itself."""
    catalog = Catalog(traits=(Trait("a", "nothing"), Trait("b", "a + 1")), segments=(Segment("c", "a && b > 1"),))
    assert [("unknown-name", "nothing")] == [(one.code, pointed(one)) for one in wrong(catalog)]


def test_flags_read_the_context(checked: CheckedCatalog) -> None:
    """A flag's rule may read the context of the request, a filter that of its event; a segment and a trait none."""
    assert "boolean" == check_expression("context.cart.amount >= 100", checked, "flag").type
    assert "unknown-type" == found("context.a == context.b", checked, "flag")[0].code
    expression = "events.purchase[context.amount > 1].count > 1"
    for place in ("flag", "value"):
        assert "boolean" == check_expression(expression, checked, place).type
    assert "not-allowed-here" == found("context.amount > 1", checked, "value")[0].code


def test_cycle_is_named() -> None:
    """A cycle is an error that names the way round, once; what leads into it is not part of it."""
    traits = (Trait("first", "a + 1"), Trait("a", "b + 1"), Trait("b", 'if(segment("c"), 1, 2)'), Trait("self", "self"))
    cycle, alone = wrong(Catalog(traits=traits, segments=(Segment("c", "a > 1"),)))
    assert ("cycle", "`a` depends on itself: `a` -> `b` -> `c` -> `a`") == (cycle.code, cycle.message)
    assert "`self` depends on itself: `self` -> `self`" == alone.message


def test_filters_refer_to_nothing() -> None:
    """A property that is called like a definition is no reference to it, so it makes no cycle."""
    catalog = Catalog(traits=(Trait("amount", "events.purchase[amount > 1].sum(amount)"),))
    assert ("amount",) == check_catalog(catalog).order
    assert () == check_catalog(catalog).values["amount"].references


def test_duplicate_names() -> None:
    """Names are unique over traits and segments."""
    twice = wrong(Catalog(traits=(Trait("a", "1"), Trait("a", "2")), segments=(Segment("a", "true"),)))
    assert [("duplicate-name", "2"), ("duplicate-name", "true")] == [(one.code, one.source.text) for one in twice]


@pytest.mark.parametrize("key", ["profile_id", "last_seen_days_ago"])
def test_taken_names(key: str) -> None:
    """A key must not hide a column of every table or a word of the language."""
    assert "bad-definition" in {one.code for one in wrong(Catalog(traits=(Trait(key, "1"),)))}


def test_flags_name_variants() -> None:
    """Every variant that a flag names must be one of its own."""
    flag = Flag("f", (Rule("true", "yes"),), (Variant("yes", True), Variant("no", False)), default="nope")
    (diagnostic,) = wrong(Catalog(flags=(flag,)))
    assert ("bad-definition", "flag `f` has no variant `nope`") == (diagnostic.code, diagnostic.message)
    assert {"f"} == set(check_catalog(Catalog(flags=(replace(flag, default="no"),))).flags)


def test_exports_name_segments() -> None:
    """An export of what is no segment is an error with the nearest segment."""
    (diagnostic,) = wrong(Catalog(segments=(Segment("vip", "true"),), exports=(Export("e", "vpi", "csv"),)))
    assert ("unknown-name", ("the nearest segment is `vip`",)) == (diagnostic.code, diagnostic.help)


def test_sources_are_used() -> None:
    """A diagnostic stands where its expression stands in its file."""
    source = Source("nothing", "segments.yaml")
    with pytest.raises(DefinitionError) as caught:
        check_catalog(Catalog(segments=(Segment("s", "nothing"),)), {("segment", "s"): source})
    assert source == caught.value.diagnostics[0].source


def test_order_is_topological() -> None:
    """What a definition refers to stands before it; otherwise the order is as written."""
    traits = (Trait("c", "a + b"), Trait("a", "1"), Trait("b", "a"))
    assert ("a", "b", "c") == check_catalog(Catalog(traits=traits)).order


def test_types_are_inferred(checked: CheckedCatalog) -> None:
    """A trait has the type of its expression, through calls and references."""
    types = {
        "total_spent": "number",
        "last_order": "timestamp",
        "is_adult": "boolean",
        "last_order - last_order": "number",
        "if(vip, profile.country, lower(profile.country))": "string",
        "coalesce(last_order, now())": "timestamp",
        "events.purchase.days_since_last": "number",
    }
    assert types == {text: check_expression(text, checked).type for text in types}


def test_declared_type_settles() -> None:
    """`type` fixes what the expression leaves open, and must agree with what it does not."""
    open_trait = Catalog(traits=(Trait("plan", "coalesce(profile.plan, profile.tier)", type="string"),))
    assert "string" == check_catalog(open_trait).values["plan"].type
    assert "unknown-type" == wrong(Catalog(traits=(Trait("plan", "profile.plan"),)))[0].code
    assert "wrong-type" == wrong(Catalog(traits=(Trait("plan", "1", type="string"),)))[0].code


def test_one_use_for_one_aggregate() -> None:
    """Aggregates with one canonical text are one column; ages share the instant below them."""
    traits = (
        Trait("a", "events.purchase[ amount>1.0 ].count_30d"),
        Trait("b", "events.purchase[amount > 1].count_30d + 1"),
        Trait("c", "events.purchase.days_since_last"),
        Trait("d", "events.purchase.minutes_since_last"),
        Trait("e", "events.purchase.last_at"),
    )
    uses = check_catalog(Catalog(traits=traits)).aggregates
    assert ["events.purchase[amount > 1].count_30d", "events.purchase.last_at"] == list(uses)


def test_columns_differ() -> None:
    """Aggregates whose columns would have one name get numbers."""
    events = ("Big Sale", "big sale", "big_sale")
    traits = tuple(Trait(f"t{n}", f'events["{name}"].sum(amount)') for n, name in enumerate(events))
    columns = [use.column for use in check_catalog(Catalog(traits=traits)).aggregates.values()]
    assert ["big_sale_sum_amount_micros", "big_sale_sum_amount_2_micros", "big_sale_sum_amount_3_micros"] == columns


def test_columns_that_expressions_read() -> None:
    """The catalog says which typed columns it reads; `is_set` of what has no declared type reads any."""
    catalog = Catalog(
        traits=(Trait("a", 'events.x[ok && is_set(odd)].sum(amount) + if(profile.plan == "a", 1, 2)'),),
        segments=(Segment("b", "is_set(profile.any)"),),
    )
    checked = check_catalog(catalog)
    assert ("s_plan", "n_any", "s_any", "b_any", "l_any") == checked.attribute_columns
    assert {"b_ok", "n_odd", "s_odd", "b_odd", "l_odd", "n_amount"} == set(checked.property_columns)


def test_too_many_aggregates() -> None:
    """A catalog that needs more base aggregates than one statement holds is refused."""
    names = [f"events.e{number}.count" for number in range(MAX_AGGREGATES + 1)]
    traits = tuple(Trait(f"t{n}", " + ".join(names[n : n + 50])) for n in range(0, len(names), 50))
    assert ["too-many-aggregates"] == [one.code for one in wrong(Catalog(traits=traits))]


def test_deep_chains_of_definitions() -> None:
    """Definitions that build on one another too deeply are refused, in traits, flags and expressions."""
    good = [Trait("t0", "1"), *(Trait(f"t{n}", f"t{n - 1} + 1") for n in range(1, MAX_DEPTH // 2))]
    checked = check_catalog(Catalog(traits=tuple(good)))
    last = good[-1].key
    assert MAX_DEPTH - 1 == checked.values[last].depth
    assert ["too-deep"] == [one.code for one in found(f"{last} + 1", checked)]
    deeper = (*good, Trait("deeper", f"{last} + 1"))
    assert ["too-deep"] == [one.code for one in wrong(Catalog(traits=deeper))]
    flag = Flag("f", (Rule(f"{last} > 1", "on"),))
    assert ["too-deep"] == [one.code for one in wrong(Catalog(traits=tuple(good), flags=(flag,)))]
