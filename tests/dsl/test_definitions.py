"""Definitions as YAML: what is read, where it stands, what is refused, and the way back."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsl.catalog import (
    Catalog,
    EventSchema,
    Export,
    Feature,
    Flag,
    Pipeline,
    PipelineEvent,
    PipelineField,
    Rule,
    Segment,
    Trait,
    ValueType,
    Variant,
)
from dsl.diagnostics import DefinitionError, Diagnostic
from dsl.documents.definitions import Loaded, dump_yaml, load_directory
from dsl.parser import parse
from dsl.render import draw_all
from tests.dsl.any_flags import TEXTS, any_flags

SHOP = Path(__file__).parents[2] / "examples" / "shop"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory `definitions` below the working directory, by its relative name."""
    monkeypatch.chdir(tmp_path)
    path = Path("definitions")
    path.mkdir()
    return path


def load(here: Path, text: str) -> Loaded:
    """What one file with this text holds."""
    (here / "all.yaml").write_text(text, encoding="utf-8")
    return load_directory(here)


def errors(here: Path, text: str) -> tuple[Diagnostic, ...]:
    """What is wrong with one file with this text."""
    with pytest.raises(DefinitionError) as caught:
        load(here, text)
    return caught.value.diagnostics


WHOLE = """\
events:
  - name: Feature Used
    description: somebody used something
    properties: {amount: number, at: timestamp}
  - name: app_open
attributes:
  plan: string
  age: number
traits:
  - key: spend
    expression: events.purchase.sum(amount)
    description: all of it
    type: number
    owner: shop team
features:
  - key: cart_adds
    event: add_to_cart
    aggregation: COUNT
    windows: [5m, 24h]
  - name: basket
    source_event: Add to Cart
    aggregation: sum
    field: cart.total
    time_windows:
      - 30d
    description: what was put in
    enabled: false
segments:
  - key: vip
    expression: spend >= 500
    owner: anne
  - key: high_value
    rules:
      min_total_spend: 99.50
      days_since_last_event: 30
      traits: {plan: pro, country: [US, NO]}
    description: last 30 days
flags:
  - key: new-checkout
    rule: vip
  - key: Offer.2
    description: which offer
    enabled: false
    default: basic
    rules:
      - {when: vip, variant: premium}
      - when: spend > 10
        variant: on
    variants:
      basic: {allow: false}
      premium: {allow: true, payload: {off: on, list: [1, 1.5, ~, "1", x y], deep: {yes: true}}}
exports:
  - name: vip-list
    segment: vip
    format: csv
"""


def test_everything_that_can_be_defined(here: Path) -> None:
    """Each kind of definition is read; `on`, `off` and `yes` are words, not booleans."""
    expected = Catalog(
        events=(
            EventSchema("Feature Used", {"amount": "number", "at": "timestamp"}, "somebody used something"),
            EventSchema("app_open"),
        ),
        attributes={"plan": "string", "age": "number"},
        traits=(Trait("spend", "events.purchase.sum(amount)", "all of it", "number", "shop team"),),
        features=(
            Feature("cart_adds", "add_to_cart", "COUNT", None, ("5m", "24h")),
            Feature("basket", "Add to Cart", "SUM", "cart.total", ("30d",), "what was put in", enabled=False),
        ),
        segments=(
            Segment("vip", "spend >= 500", owner="anne"),
            Segment(
                "high_value",
                "events.purchase.sum(amount) >= 99.5 && events.*.days_since_last < 30"
                ' && profile.plan == "pro" && profile.country in ["US", "NO"]',
                "last 30 days",
            ),
        ),
        flags=(
            Flag("new-checkout", (Rule("vip", "on"),)),
            Flag(
                "Offer.2",
                (Rule("vip", "premium"), Rule("spend > 10", "on")),
                (
                    Variant("basic", allow=False),
                    Variant(
                        "premium",
                        allow=True,
                        payload={"off": "on", "list": [1, 1.5, None, "1", "x y"], "deep": {"yes": True}},
                    ),
                    Variant("on", allow=True),
                ),
                "basic",
                enabled=False,
                description="which offer",
            ),
        ),
        exports=(Export("vip-list", "vip", "csv"),),
    )
    loaded = load(here, WHOLE)
    assert expected == loaded.catalog
    assert {
        ("event", "Feature Used", "amount"),
        ("event", "Feature Used", "at"),
        ("trait", "spend"),
        ("trait", "cart_adds_5m"),
        ("trait", "cart_adds_24h"),
        ("segment", "vip"),
        ("segment", "high_value"),
        ("flag", "new-checkout", "0"),
        ("flag", "Offer.2", "0"),
        ("flag", "Offer.2", "1"),
        ("export", "vip-list"),
    } == set(loaded.sources)
    assert "definitions/all.yaml (feature `cart_adds`)" == loaded.sources["trait", "cart_adds_5m"].name
    assert "definitions/all.yaml (segment `high_value`)" == loaded.sources["segment", "high_value"].name


def test_files_are_read_in_order_of_name(here: Path) -> None:
    """Files add up; other files and folders, empty files and files of comments do no harm."""
    (here / "b.yaml").write_text("traits: [{key: second, expression: '2'}]")
    (here / "a.yaml").write_text("\ufefftraits:\r\n- key: first\r\n  expression: 'true'\r\n", encoding="utf-8")
    (here / "c.yaml").write_text("# nothing\n")
    (here / "d.yaml").write_text("traits:\nsegments: []\n")
    (here / "e.txt").write_text("{")
    (here / "f.yaml").mkdir()
    loaded = load_directory(here)
    assert ["first", "second"] == [trait.key for trait in loaded.catalog.traits]
    assert "definitions/a.yaml" == loaded.sources["trait", "first"].name


FORMS = """\
segments:
  - key: s
    expression: %s
"""


@pytest.mark.parametrize(
    ("form", "text", "line", "column"),
    [
        ("a && ~", "a && ~", 3, 22),
        ('"a && ~"', "a && ~", 3, 23),
        ("'a && ~'", "a && ~", 3, 23),
        ("|\n      a &&\n      ~\n", "a &&\n~", 5, 7),
        ("|\n      a &&\n        ~\n", "a &&\n  ~", 5, 9),
        ("|\n\n      a\n\n      && ~\n", "\na\n\n&& ~", 7, 10),
        ("|-\n      a && ~", "a && ~", 4, 12),
        ("|2-\n        a && ~", "  a && ~", 4, 14),
        (">\n      a && ~\n", "a && ~", 4, 12),
        (">-\n      a && ~ # 'x'", "a && ~ # 'x'", 4, 12),
        ("!!str a && ~", "a && ~", 1, 6),
        ("a && ~ # why", "a && ~", 3, 22),
        ('"\\u00e9" ', "é", 1, 1),
        ('"a && \\"b\\" ~"', 'a && "b" ~', 1, 10),
        ("'a && ''b'' ~'", "a && 'b' ~", 1, 6),
        ("a &&\n      ~", "a && ~", 1, 6),
        (">\n      a &&\n      ~\n", "a && ~", 1, 6),
    ],
)
def test_places(here: Path, form: str, text: str, line: int, column: int) -> None:
    """An expression knows its place in the file; one that YAML rewrote stands by itself and says whose it is."""
    source = load(here, FORMS % form).sources["segment", "s"]
    assert text == source.text
    rewritten = "definitions/all.yaml (segment `s`)"
    assert (rewritten if line == 1 else "definitions/all.yaml") == source.name
    with pytest.raises(DefinitionError) as caught:
        parse(source)
    place = source.position(caught.value.diagnostics[0].span.start)
    assert (line, column) == (place.line, place.column)
    assert "~" in source.line_text(place.line) or text == "é"


def test_an_error_drawn_in_its_file(here: Path) -> None:
    """The drawing of an expression's error shows the line of the YAML file."""
    source = load(here, "traits:\n  - key: t\n    expression: |\n      profile.plan ==\n        'pro'\n").sources[
        "trait", "t"
    ]
    with pytest.raises(DefinitionError) as caught:
        parse(source)
    expected = """\
error[unexpected-character]: a string stands in double quotes
  --> definitions/all.yaml:5:9
   |
 5 |         'pro'
   |         ^^^^^
   = help: write `"pro"`
   = see: docs/reference/errors.md#unexpected-character"""
    assert expected == draw_all(caught.value.diagnostics)


TRAIT = "traits:\n  - {key: t, expression: a}\n"
FEATURE = "features:\n  - {key: f, event: e, aggregation: COUNT, windows: [5m]}\n"


@pytest.mark.parametrize(
    ("text", "line", "column", "message", "advice"),
    [
        ("trait: []", 1, 1, "has no field `trait`", "the nearest field is `traits`"),
        ("- a", 1, 1, "should be a mapping, found a list", ""),
        ("traits: 5", 1, 9, "`traits` should be a list, found `5`", ""),
        ("traits: [5]", 1, 10, "a trait should be a mapping, found `5`", ""),
        ("traits:\n  - key: t", 2, 5, "a trait needs `expression`", "add `expression: …`"),
        ("traits:\n  - key: t\n    expression:", 3, 5, "a trait needs `expression`", ""),
        ("traits:\n  - {key: t, expresion: a}", 2, 14, "has no field `expresion`", "the nearest field is"),
        ("traits:\n  - {key: t, key: t, expression: a}", 2, 14, "`key` stands twice in a trait", "keep"),
        ("traits:\n  - {key: T, expression: a}", 2, 11, "`T` is no trait, segment or feature name", "a name is"),
        ("traits:\n  - {key: not, expression: a}", 2, 11, "`not` is a word of the language", ""),
        ("traits:\n  - {key: t, expression: [a]}", 2, 26, "should be text, found a list", ""),
        ("traits:\n  - {key: t, expression: a, type: strng}", 2, 35, "no type `strng`", "the nearest type"),
        ("traits:\n  - {key: t, expression: a, owner: {}}", 2, 36, "`owner` should be text", ""),
        ("segments:\n  - key: s\n    expression: !a in b", 3, 17, "starts with `!a`", "YAML reads"),
        (TRAIT + "segments:\n  - {key: t, expression: a}", 4, 11, "`t` is defined twice", "all.yaml:2:11"),
        (FEATURE.replace("COUNT", "COUNTS"), 2, 37, "no aggregation `COUNTS`", "the nearest aggregation is `COUNT`"),
        (FEATURE.replace("COUNT", "SUM"), 2, 37, "`SUM` needs a `field`", "`field: amount`"),
        (FEATURE.replace("5m]", "5m, 5x]"), 2, 58, "`5x` is not a window", "`24h`"),
        (FEATURE.replace("5m]", "5m, 5m]"), 2, 58, "`5m` is repeated", "keep one"),
        (FEATURE.replace("5m]", "]"), 2, 53, "a feature needs at least one window", "a trait"),
        (FEATURE.replace("[5m]", "5m"), 2, 53, "`windows` should be a list of windows", ""),
        (FEATURE.replace("event: e, ", ""), 2, 5, "a feature needs `event`", "add `event: …`"),
        (FEATURE.replace("event", "evnt"), 2, 14, "a feature has no field `evnt`", "the nearest field is `event`"),
        (FEATURE.replace("key: f", "key: F"), 2, 11, "`F` is no feature name", "a name is"),
        (FEATURE.replace("key: f", "key: in"), 2, 11, "`in` is a word of the language", "choose another"),
        (FEATURE.replace("5m]", "5m], enabled: on"), 2, 68, "`enabled` should be `true` or `false`", ""),
        (FEATURE + "traits:\n  - {key: f, expression: a}", 2, 11, "`f` is defined twice", "all.yaml:4:11"),
        (FEATURE + "segments:\n  - {key: f_5m, expression: a}", 4, 11, "`f_5m` is defined twice", "all.yaml:2:5"),
        (TRAIT.replace("t,", "f_5m,") + FEATURE, 4, 5, "`f_5m` is defined twice", "all.yaml:2:11"),
        ("segments:\n  - key: s", 2, 5, "a segment needs `expression` or `rules`", "add `expression: …`"),
        ("segments:\n  - key: s\n    expresion: a", 3, 5, "has no field `expresion`", "is `expression`"),
        ("segments:\n  - {key: s, expression: a, rules: {min_events: 1}}", 2, 29, "either `expression` or `rules`", ""),
        ("segments:\n  - {key: s, rules: 5}", 2, 21, "`rules` should be a mapping, found `5`", ""),
        ("segments:\n  - {key: s, rules: {}}", 2, 21, "the rules are empty", "min_total_spend"),
        ("segments:\n  - {key: s, rules: {min_event: 1}}", 2, 22, "no rule `min_event`", "is `min_events`"),
        ("segments:\n  - {key: s, rules: {min_events: '1'}}", 2, 34, "should be a whole number", "without quotes"),
        ("segments:\n  - {key: s, rules: {traits: {a: ~}}}", 2, 30, "the attribute `a` of `traits`", ""),
        ("events: [{name: a}, {name: a}]", 1, 28, "the event `a` is defined twice", "the first is at"),
        ("events: [{name: a, properties: {b: float}}]", 1, 36, "no type `float`", "one of `number`"),
        ("attributes: [a]", 1, 13, "`attributes` should be a mapping, found a list", ""),
        ("attributes: {a: number, a: number}", 1, 25, "`a` stands twice", ""),
        ("flags: [{key: a b, rule: x}]", 1, 15, "`a b` is no flag name", "letters, digits"),
        ("flags: [{key: a, rule: x, rules: []}]", 1, 18, "either `rule` or `rules`", "gives the variant `on`"),
        ("flags: [{key: a, rule: x, enabled: on}]", 1, 36, "should be `true` or `false`, found `on`", ""),
        ("flags: [{key: a, rule: x, default: of}]", 1, 36, "no variant `of`", "the nearest variant is `off`"),
        ("flags: [{key: a, rules: [{when: x}]}]", 1, 26, "names no variant", "say which: `variant: on`"),
        ("flags: [{key: a, rules: [{when: x, variant: b}]}]", 1, 45, "no variant `b`", "one of `on`, `off`"),
        ("flags: [{key: a, rule: x, variants: {b: {}}}]", 1, 41, "variant `b` needs `allow`", ""),
        ("flags: [{key: a, rule: x, variants: {b: {allow: 1}}}]", 1, 49, "`allow` should be", ""),
        ("exports: [{name: ../x, segment: s, format: csv}]", 1, 18, "`../x` is no export name", ""),
        ("exports: [{name: x, segment: s, format: xls}]", 1, 41, "no format `xls`", "one of `csv`"),
        ("exports: [{name: x, segment: s}]", 1, 11, "an export needs `format`", ""),
        ("traits:\n  - key: t\n    expression: a: b", 3, 18, "the file is no YAML", "below a `|`"),
        ("traits: [", 1, 10, "the file is no YAML", ""),
        ("a: 1\n---\nb: 2", 2, 1, "the file is no YAML", ""),
        ("traits: &x [*x]", 1, 13, "aliases are not read", ""),
        ("traits: '\x01'", 1, 10, "U+0001 may not stand in it", ""),
        ("[" * 50_000, 1, 1, "it nests too deeply", ""),
        ("\ttraits: []", 1, 1, "the file is no YAML", ""),
    ],
)  # fmt: skip
def test_mistakes(here: Path, text: str, line: int, column: int, message: str, advice: str) -> None:
    """Each mistake is one error at its place, with what to do."""
    (found,) = errors(here, text)
    place = found.source.position(found.span.start)
    code = "duplicate-name" if "twice" in message else "bad-definition"
    assert (code, line, column) == (found.code, place.line, place.column)
    assert message in found.message
    assert advice in " ".join(found.help)
    assert "definitions/all.yaml" == found.source.name


def test_all_mistakes_of_all_files(here: Path) -> None:
    """Every mistake of every file is told at once, by file and then by place."""
    (here / "a.yaml").write_text("traits: [{key: a, expression: x}, {key: B, expression: x}]\nflags: 5\n")
    (here / "b.yaml").write_text("]")
    (here / "c.yaml").write_bytes(b"\xff")
    (here / "d.yaml").write_text("segments: [{key: a, expression: x}]")
    with pytest.raises(DefinitionError) as caught:
        load_directory(here)
    found = [(d.source.name, d.source.position(d.span.start).line) for d in caught.value.diagnostics]
    expected = [("a.yaml", 1), ("a.yaml", 2), ("b.yaml", 1), ("c.yaml", 1), ("d.yaml", 1)]
    assert [(f"definitions/{name}", line) for name, line in expected] == found
    assert ("the first is at definitions/a.yaml:1:16",) == caught.value.diagnostics[-1].help
    assert draw_all(caught.value.diagnostics)


@pytest.mark.parametrize("name", ["definitions", "nowhere", "file.yaml"])
def test_no_definitions(here: Path, name: str) -> None:
    """A directory that is empty, missing or no directory is one error, by its name."""
    Path("file.yaml").write_text("")
    with pytest.raises(DefinitionError) as caught:
        load_directory(Path(name))
    (found,) = caught.value.diagnostics
    assert "bad-definition" == found.code
    assert f"\n  --> {name}\n" in draw_all([found])


# -- and back --------------------------------------------------------------------------------------------------


def again(catalog: Catalog, directory: Path) -> Catalog:
    """The catalog that is loaded from the YAML of `catalog`."""
    (directory / "all.yaml").write_text(dump_yaml(catalog), encoding="utf-8", newline="")
    return load_directory(directory).catalog


def test_the_shop_comes_back(here: Path) -> None:
    """The demo's definitions, written to one file, are the same catalog with the same digest."""
    catalog = load_directory(SHOP).catalog
    assert catalog == again(catalog, here)
    assert catalog.digest() == again(catalog, here).digest()
    assert Catalog() == again(Catalog(), here)


KEYS = st.from_regex(r"[a-z][a-z0-9_]{0,8}_", fullmatch=True)
TYPES: st.SearchStrategy[ValueType] = st.sampled_from(["number", "string", "boolean", "timestamp", "list"])


@given(
    keys=st.lists(KEYS, unique=True, max_size=6),
    text=TEXTS,
    types=st.dictionaries(TEXTS, TYPES, max_size=3),
    value_type=st.none() | TYPES,
    flags=any_flags(),
)
@settings(max_examples=150, deadline=2_000)
def test_any_catalog_comes_back(
    tmp_path_factory: pytest.TempPathFactory,
    keys: list[str],
    text: str,
    types: dict[str, ValueType],
    value_type: ValueType | None,
    flags: tuple[Flag, ...],
) -> None:
    """A catalog of any texts, even those that YAML reads as something else, is the same after dump and load."""
    catalog = Catalog(
        (EventSchema(text, types, text),),
        types,
        tuple(Trait(key, text, text, value_type) for key in keys[::2]),
        tuple(Segment(key, text, owner=text) for key in keys[1::2]),
        flags,
        (Export("list", text, "parquet"),),
        features=(
            Feature(
                "feature",
                text or "e",
                "COUNT_DISTINCT" if text else "COUNT",
                text or None,
                ("5m", "1w"),
                text,
                enabled=bool(flags),
            ),
        ),
        pipelines=(
            Pipeline(
                "p",
                (PipelineEvent(text, (PipelineField("a.b", "object", bool(flags), text),), text, bool(keys)),),
                text,
                text,
                status="inactive",
            ),
        ),
    )
    directory = tmp_path_factory.getbasetemp() / "any"
    directory.mkdir(exist_ok=True)
    assert catalog == again(catalog, directory)


def test_sources_hold_the_text_of_the_catalog() -> None:
    """What is parsed is what is stored: the source of an expression has its text."""
    loaded = load_directory(SHOP)
    texts: dict[tuple[str, ...], str] = {("trait", trait.key): trait.expression for trait in loaded.catalog.traits}
    texts |= {("segment", segment.key): segment.expression for segment in loaded.catalog.segments}
    for flag in loaded.catalog.flags:
        texts |= {("flag", flag.key, str(n)): rule.when for n, rule in enumerate(flag.rules) if rule.when is not None}
        texts |= {("flag", flag.key, "holdout"): flag.holdout} if flag.holdout is not None else {}
        texts |= {("flag", flag.key, "prerequisite", str(n)): each.flag for n, each in enumerate(flag.prerequisites)}
    texts |= {("export", export.name): export.segment for export in loaded.catalog.exports}
    texts |= {
        ("event", event.name, path): its for event in loaded.catalog.events for path, its in event.properties.items()
    }
    for pipeline in loaded.catalog.pipelines:
        for event in pipeline.events:
            texts |= {("pipeline", pipeline.key, event.name, its.name): its.type for its in event.fields}
    assert texts == {key: source.text for key, source in loaded.sources.items()}
    assert all(source.origins for source in loaded.sources.values())
