"""The evaluator over a recounted state and SQL over tables give every vector of `tests/vectors` its value.

What an engine cannot answer is declared beside the vector, with the reason, and has to fail.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import cast

import pytest
from _pytest.mark import ParameterSet

from dsl.catalog import Catalog, EventSchema, Feature, Flag, Rule, Segment, Trait, ValueType
from dsl.check import check_catalog
from dsl.clock import Zone
from dsl.diagnostics import DefinitionError
from dsl.evaluate import Evaluation
from dsl.numbers import read_json
from dsl.state import Value
from dsl.types import Type
from tests.differential.engines import Engines, Values, from_oracle
from tests.differential.tables import in_table
from tests.differential.worlds import Entry, World, document
from tests.oracle.values import Number, Timestamp
from tests.oracle.vectors import Case, Vector, cases, refused_documents

TYPES: tuple[tuple[type, Type], ...] = (
    (Number, "number"),
    (Timestamp, "timestamp"),
    (bool, "boolean"),
    (str, "string"),
    (tuple, "list"),
)


def asked(vectors_of: str) -> list[ParameterSet]:
    """Vectors for an engine, or those with an error; what an engine cannot answer is to fail."""
    found = []
    for case in cases():
        for number, vector in enumerate(case.vectors):
            reason = vector.unsupported.get(vectors_of)
            marks = [pytest.mark.xfail(reason=reason, strict=True)] if reason else []
            if bool(vector.error) == (vectors_of == "error"):
                found.append(pytest.param(case, number, marks=marks, id=f"{case.name}: {vector.ask} [{number}]"))
    return found


@dataclass(frozen=True)
class Question:
    """One case put to the engines: every vector of it is the definition `asked_<number>` of one catalog."""

    case: Case

    @cached_property
    def refused(self) -> dict[int, DefinitionError]:
        """Why the checker takes a vector for none, by its number: it is not in the catalog."""
        found = {}
        for number in range(len(self.case.vectors)):
            try:
                check_catalog(self.catalog([number]))
            except DefinitionError as error:
                found[number] = error
        return found

    @cached_property
    def engines(self) -> Engines:
        """The engines, with all vectors that are not refused."""
        return Engines(self.world(), self.catalog(n for n in range(len(self.case.vectors)) if n not in self.refused))

    @cached_property
    def tables(self) -> Values:
        """What the tables hold of each profile."""
        return self.engines.tables()

    @cached_property
    def evaluations(self) -> dict[str, Evaluation]:
        """The evaluator over the raw events of each profile that is asked about."""
        engines, request = self.engines, document(self.case.request or "{}")
        profiles = {vector.profile for vector in self.case.vectors}
        return {p: Evaluation(engines.checked, engines.recounted_state(p), request) for p in profiles}

    def world(self) -> World:
        """The log of the case."""
        entries = [Entry(ts_ms=event["ts"], **{k: v for k, v in event.items() if k != "ts"}) for event in self.case.log]
        identities = [(source, profile, 0, None) for source, profile in self.case.identities.items()]
        zone = Zone(self.case.zone)
        return World(entries, self.case.t_ms, self.case.cut, zone, identities, self.case.request or "{}")

    def catalog(self, numbers: Iterable[int]) -> Catalog:
        """The definitions of the case, and some of its vectors: as traits, or as flags where a request asks."""
        case = self.case
        vectors = {f"asked_{number}": case.vectors[number] for number in numbers}
        traits = [trait(key, text, kind) for key, (what, text, kind) in case.definitions.items() if what == "trait"]
        segments = [Segment(key, text) for key, (what, text, _) in case.definitions.items() if what == "segment"]
        features = [
            Feature(f["key"], f["event"], f["aggregation"], f.get("field"), tuple(f["windows"])) for f in case.features
        ]
        flags: list[Flag] = []
        if case.request is None:
            traits += [trait(key, vector.ask, vector.type) for key, vector in vectors.items()]
        else:
            flags = [Flag(key, (Rule(vector.ask, "on"),)) for key, vector in vectors.items()]
        events, attributes = declarations(case)
        return Catalog(
            events=events,
            attributes=attributes,
            traits=tuple(traits),
            segments=tuple(segments),
            features=tuple(features),
            flags=tuple(flags),
            timezone=case.zone,
        )


def trait(key: str, text: str, kind: str | None) -> Trait:
    """A trait of a type that a file names."""
    return Trait(key, text, type=None if kind is None else cast(ValueType, kind))


def declarations(case: Case) -> tuple[tuple[EventSchema, ...], dict[str, ValueType]]:
    """The events and the attributes that a case declares."""
    events: dict[str, dict[str, ValueType]] = {}
    attributes: dict[str, ValueType] = {}
    for path, kind in case.declared.items():
        root, _, rest = path.partition(".")
        if root == "profile":
            attributes[rest] = cast(ValueType, kind)
        else:
            event, _, name = rest.partition(".")
            events.setdefault(event, {})[name] = cast(ValueType, kind)
    return tuple(EventSchema(name, properties) for name, properties in events.items()), attributes


@cache
def question(case_name: str) -> Question:
    """The case of that name."""
    return Question(next(case for case in cases() if case.name == case_name))


def expected_of(vector: Vector, value_type: Type) -> Value:
    """The value of a vector as engines hold it."""
    if vector.value is not None:
        assert value_type == next(name for kind, name in TYPES if isinstance(vector.value, kind)), vector.why
    return from_oracle(vector.value, value_type)


@pytest.mark.parametrize(("case", "number"), asked("evaluator"))
def test_evaluator(case: Case, number: int) -> None:
    """The evaluator over a state that is counted from raw events gives the value, in value and type."""
    put, vector, key = question(case.name), case.vectors[number], f"asked_{number}"
    assert None is put.refused.get(number)
    evaluation = put.evaluations[vector.profile]
    if case.request is not None:
        rule = put.engines.checked.flags[key].rules[0]
        assert vector.value == evaluation.truth(rule.when), vector.why
    else:
        assert expected_of(vector, put.engines.checked.values[key].type) == evaluation.definition(key), vector.why


@pytest.mark.parametrize(("case", "number"), asked("duckdb"))
def test_duckdb(case: Case, number: int) -> None:
    """SQL over the tables gives the value, in value and type; of a list the texts of its items."""
    put, vector, key = question(case.name), case.vectors[number], f"asked_{number}"
    assert None is put.refused.get(number)
    expected = expected_of(vector, put.engines.checked.values[key].type)
    assert in_table(expected) == put.tables[vector.profile][key], vector.why


@pytest.mark.parametrize(("case", "number"), asked("error"))
def test_error(case: Case, number: int) -> None:
    """What is an error is refused with its code."""
    refused = question(case.name).refused
    assert number in refused, case.vectors[number].why
    assert case.vectors[number].error in {found.code for found in refused[number].diagnostics}


@pytest.mark.parametrize("text", refused_documents())
def test_refused(text: str) -> None:
    """JSON with NaN or infinity is refused."""
    with pytest.raises(ValueError, match="JSON holds"):
        read_json(text)
