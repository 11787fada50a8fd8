"""What is declared against what was seen."""

from typing import Any

from dsl.catalog import Catalog, EventSchema, Pipeline, PipelineEvent, PipelineField
from dsl.observed import Seen, Sighting
from warehouse.schema_document import schema_document

CATALOG = Catalog(
    events=(EventSchema("buy", {"amount": "number"}, "somebody bought"),),
    pipelines=(
        Pipeline("web", (PipelineEvent("buy", (PipelineField("shop", "string", required=True),)), PipelineEvent("on"))),
    ),
    attributes={"plan": "string"},
)
SEEN = {
    Sighting("buy", "", ""): Seen(3, 0, 2_000),
    Sighting("buy", "amount", "number"): Seen(2, 0, 1_000),
    Sighting("buy", "amount", "string"): Seen(1, 2_000, 2_000),
    Sighting("buy", "amuont", "number"): Seen(1, 5, 5),
    Sighting("by", "", ""): Seen(0, 0, 0),
    Sighting("", "plna", "string"): Seen(4, 0, 0),
}
VIOLATIONS = {
    ("buy", "shop", "missing_field"): (7, 1_000),
    ("buy", "zip", "undeclared_field"): (2, 0),
    ("onn", "", "unknown_event"): (1, 0),
    ("", "", "other"): (5, 0),
}
EPOCH, ONE, TWO = (f"1970-01-01T00:00:0{n}.000Z" for n in range(3))


def field(path: str, **its: Any) -> dict[str, Any]:
    """A field of which nothing is known but this."""
    return {"path": path, "type": None, "required": False, "observed": [], "hint": None, "violations": [], **its}


def test_the_document() -> None:
    """Declared names come first; what is not declared has a hint; violations stand where they belong."""
    found = schema_document(CATALOG, SEEN, VIOLATIONS)
    assert ["buy", "by", "on", "onn"] == [event["name"] for event in found["events"]]
    buy, by, on, unknown = found["events"]
    assert (["events", "pipeline:web"], "somebody bought", 3, EPOCH, TWO, None) == (
        buy["declaredBy"], buy["description"], buy["times"], buy["firstSeen"], buy["lastSeen"], buy["hint"]
    )  # fmt: skip
    observed = [
        {"type": "number", "times": 2, "firstSeen": EPOCH, "lastSeen": ONE},
        {"type": "string", "times": 1, "firstSeen": TWO, "lastSeen": TWO},
    ]
    near = {
        "type": "number",
        "times": 1,
        "firstSeen": "1970-01-01T00:00:00.005Z",
        "lastSeen": "1970-01-01T00:00:00.005Z",
    }
    assert [
        field("amount", type="number", observed=observed),
        field("shop", type="string", required=True,
              violations=[{"kind": "missing_field", "times": 7, "lastSeen": ONE}]),
        field("amuont", observed=[near], hint="not declared; the nearest field is `amount`"),
        field("zip", hint="not declared", violations=[{"kind": "undeclared_field", "times": 2, "lastSeen": EPOCH}]),
    ] == buy["fields"]  # fmt: skip
    assert ([], 0, None, "not declared; the nearest event is `buy`") == (
        by["declaredBy"], by["times"], by["firstSeen"], by["hint"]
    )  # fmt: skip
    assert (["pipeline:web"], []) == (on["declaredBy"], on["fields"])
    assert [{"kind": "unknown_event", "times": 1, "lastSeen": EPOCH}] == unknown["violations"]
    plans = [{"type": "string", "times": 4, "firstSeen": EPOCH, "lastSeen": EPOCH}]
    assert [
        field("plan", type="string"),
        field("plna", observed=plans, hint="not declared; the nearest field is `plan`"),
    ] == found["attributes"]


def test_nothing_is_declared() -> None:
    """Where nothing is declared, nothing is missing: there are no hints."""
    (event, *_), attributes = schema_document(Catalog(), SEEN, {}).values()
    assert ([], None) == (event["declaredBy"], event["hint"])
    assert [None] == [its["hint"] for its in attributes]
