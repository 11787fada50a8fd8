"""Events against the schema of their pipeline."""

from decimal import Decimal

import pytest

from dsl.catalog import Catalog, Pipeline, PipelineEvent, PipelineField, PipelineStatus
from dsl.conformance import MOST_UNDECLARED, CompiledPipeline, Violation, compile_pipelines
from dsl.numbers import read_json

FIELDS = (
    PipelineField("amount", "number", required=True),
    PipelineField("currency", "string"),
    PipelineField("first", "boolean"),
    PipelineField("paid_at", "timestamp"),
    PipelineField("tags", "list"),
    PipelineField("cart.total", "number", required=True),
    PipelineField("cart.extra", "object"),
    PipelineField("ship.to.city", "string"),
    PipelineField("free", "object"),
)
EVENTS = (PipelineEvent("purchase", FIELDS), PipelineEvent("refund", enabled=False), PipelineEvent("ping"))


def compiled(status: PipelineStatus = "active") -> CompiledPipeline:
    """The pipeline of these tests."""
    return compile_pipelines(Catalog(pipelines=(Pipeline("shop", EVENTS, status=status),), timezone="Asia/Tokyo"))[
        "shop"
    ]


GOOD = '"amount": 12.5, "cart": {"total": 3}'


def found(properties: str) -> list[tuple[str, str, str, str]]:
    """Kind, path, expected and found of every violation of a purchase with these properties, as JSON."""
    decoded = read_json(f"{{{properties}}}")
    assert isinstance(decoded, dict)
    return [(v.kind, v.path, v.expected, v.found) for v in compiled().violations("purchase", decoded)]


@pytest.mark.parametrize(
    "properties",
    [
        "",
        '"currency": "EUR", "first": false, "tags": [], "paid_at": "2018-01-31"',
        '"currency": null, "first": null, "paid_at": null, "tags": null, "free": null, "ship": null',
        '"paid_at": "2018-01-31 12:00:00.5+09:00", "ship": {"to": {"city": "Oslo"}}, "free": {"anything": {"goes": 1}}',
        '"ship": {}, "ship": {"to": {}}',
    ],
)
def test_what_conforms(properties: str) -> None:
    """Optional fields may be missing or null; objects whose fields are not declared may hold anything."""
    assert [] == found(", ".join(filter(None, [GOOD, properties])))


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        ('"cart": {"total": 1}', [("missing_field", "amount", "number", "")]),
        ('"amount": null, "cart": {"total": null}', [("missing_field", "amount", "number", ""),
                                                     ("missing_field", "cart.total", "number", "")]),
        ('"amount": 1', [("missing_field", "cart.total", "number", "")]),
        ('"amount": 1, "cart": 5', [("wrong_type", "cart", "object", "number")]),
        ('"amount": "1", "cart": {"total": true}', [("wrong_type", "amount", "number", "string"),
                                                    ("wrong_type", "cart.total", "number", "boolean")]),
        (GOOD + ', "currency": 5', [("wrong_type", "currency", "string", "number")]),
        (GOOD + ', "first": 1', [("wrong_type", "first", "boolean", "number")]),
        (GOOD + ', "tags": {}', [("wrong_type", "tags", "list", "object")]),
        (GOOD + ', "free": []', [("wrong_type", "free", "object", "list")]),
        (GOOD + ', "ship": {"to": "Oslo"}', [("wrong_type", "ship.to", "object", "string")]),
        (GOOD + ', "paid_at": "2018-02-30"', [("invalid_timestamp", "paid_at", "timestamp", "string")]),
        (GOOD + ', "paid_at": 1514779281000', [("wrong_type", "paid_at", "timestamp", "number")]),
        ('"x": 1, "cart": {"y": "2"}', [("missing_field", "amount", "number", ""),
                                        ("missing_field", "cart.total", "number", ""),
                                        ("undeclared_field", "x", "", "number"),
                                        ("undeclared_field", "cart.y", "", "string")]),
        ('"amount": 1e40, "cart": {"total": 1}', [("missing_field", "amount", "number", "")]),
    ],
)  # fmt: skip
def test_what_does_not(properties: str, expected: list[tuple[str, str, str, str]]) -> None:
    """Each thing is told once, with its path, and what was expected and found."""
    assert expected == found(properties)


def test_only_undeclared_fields_do_no_harm() -> None:
    """An event with more than is declared is taken; of very many such fields the first are told."""
    violations = compiled().violations(
        "purchase", {"amount": 1, "cart": {"total": 1}, **{f"x{n}": n for n in range(99)}}
    )
    assert [("undeclared_field", False)] * MOST_UNDECLARED == [(v.kind, v.rejects) for v in violations]
    assert [True] == [v.rejects for v in compiled().violations("refund", {})]
    assert ["undeclared_field"] == [v.kind for v in compiled().violations("ping", {"any": 1})]


@pytest.mark.parametrize(
    ("status", "name", "expected", "text"),
    [
        ("active", "purchse", Violation("unknown_event", found="purchse", nearest="purchase"),
         "the pipeline has no event `purchse`; the nearest is `purchase`"),
        ("active", "zzz", Violation("unknown_event", found="zzz"), "the pipeline has no event `zzz`"),
        ("active", "refund", Violation("event_disabled", found="refund"),
         "the event `refund` is disabled in this pipeline"),
        ("inactive", "ping", Violation("pipeline_inactive", expected="active", found="inactive"),
         "the pipeline is inactive: only an active one takes events"),
        ("configuring", "zzz", Violation("pipeline_inactive", expected="active", found="configuring"),
         "the pipeline is configuring: only an active one takes events"),
    ],
)  # fmt: skip
def test_the_event_as_a_whole(status: PipelineStatus, name: str, expected: Violation, text: str) -> None:
    """An event that cannot be taken at all is not looked into."""
    (violation,) = compiled(status).violations(name, {"x": 1})
    assert (expected, text) == (violation, violation.text)


@pytest.mark.parametrize(
    ("properties", "text"),
    [
        ({"cart": {"total": 1}}, "`amount` is missing: expected a number"),
        ({"amount": Decimal("1.5"), "cart": {"total": "x"}}, "`cart.total` is a string: expected a number"),
        ({"amount": 1, "cart": []}, "`cart` is a list: expected an object"),
        ({"amount": object(), "cart": {"total": 1}}, "`amount` is no value of JSON: expected a number"),
        ({"amount": 1, "cart": {"total": 1}, "paid_at": "soon"},
         "`paid_at` is no instant: write it like `2018-01-01T04:01:21Z`"),
        ({"amount": 1, "cart": {"total": 1}, "x" * 99: 1}, f"`{'x' * 60}` is not declared"),
    ],
)  # fmt: skip
def test_sentences(properties: dict[str, object], text: str) -> None:
    """People are told what is wrong in one sentence."""
    assert [text] == [violation.text for violation in compiled().violations("purchase", properties)]
