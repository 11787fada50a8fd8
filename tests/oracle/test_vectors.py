"""The oracle gives every vector of `tests/vectors` the value that is written there."""

import pytest

from tests.oracle.language import LanguageError
from tests.oracle.values import load_json
from tests.oracle.vectors import Case, Vector, cases, refused_documents

ASKED = [
    pytest.param(case, vector, id=f"{case.name}: {vector.ask} [{n}]")
    for case in cases()
    for n, vector in enumerate(case.vectors)
]


@pytest.mark.parametrize(("case", "vector"), ASKED)
def test_vector(case: Case, vector: Vector) -> None:
    """An expression has its value, in value and type, or is none of the language."""
    if not vector.valued:
        with pytest.raises(LanguageError):
            case.answer(vector)
    else:
        found = case.answer(vector)
        assert (type(vector.value), vector.value) == (type(found), found), vector.why


@pytest.mark.parametrize("text", refused_documents())
def test_refused(text: str) -> None:
    """JSON with NaN or infinity is refused."""
    with pytest.raises(ValueError, match="refused"):
        load_json(text)


def test_enough_vectors() -> None:
    """There are more than 300 vectors, more than 80 of them worked by hand, and each says how its value comes about."""
    vectors = [vector for case in cases() for vector in case.vectors]
    assert len(vectors) >= 300
    assert sum(vector.by_hand for vector in vectors) >= 80
    assert [] == [vector.ask for vector in vectors if not vector.why.strip()]
