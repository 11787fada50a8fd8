"""Cells of many documents: the same as those of each by itself."""

import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsl.clock import Zone
from dsl.columns import Cell, flatten
from dsl.numbers import read_json
from warehouse.property_cells import read_cells

ZONE = Zone("America/New_York")


def _json(value: object) -> str:
    return {True: "true", False: "false", "None": "null"}.get(value, str(value))


def _document(items: Sequence[tuple[str, object]]) -> str:
    return "{" + ", ".join(f"{json.dumps(key)}: {_json(value)}" for key, value in items) + "}"


TEXT = st.one_of(
    st.text(max_size=6),
    st.sampled_from(("2018-01-01", "2018-01-01T10:00:00Z", "2018-13-01", "\ud800", "a\udfffb", "\0", "\u2400", "é")),
)
NUMBER = st.one_of(
    st.integers(-(2**70), 2**70).map(str),
    st.decimals(allow_nan=False, allow_infinity=False).map(str),
    st.sampled_from(("-0", "0.0000005", "-0.0000005", "1e-7", "1E12", "1e13", "1.5e999999999", "9223372036854.775807")),
)
KEY = st.one_of(st.text(max_size=4), st.sampled_from(("a", "A", "a.b", "\0", "\udc00")))
VALUE = st.recursive(
    st.one_of(st.none().map(str), st.booleans(), TEXT.map(json.dumps), NUMBER),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[{','.join(map(_json, items))}]"),
        st.lists(st.tuples(KEY, inner), max_size=3).map(_document),
    ),
    max_leaves=6,
)


DOCUMENTS = st.lists(st.lists(st.tuples(KEY, VALUE), max_size=4).map(_document), max_size=5)


@given(DOCUMENTS, st.sampled_from(("property", "context")))
def test_many_are_read_as_one(texts: list[str], root: str) -> None:
    """Every row of every column is what reading that document alone gives; numbers are exact, half pairs replaced."""
    found: list[dict[str, Cell]] = [{} for _ in texts]
    for name, cells in read_cells(texts, root, ZONE, _refused).items():  # type: ignore[arg-type]  # a root
        assert len(set(cells.rows)) == len(cells.rows) == len(cells.values) > 0
        for row, value in zip(cells.rows, cells.values, strict=True):
            found[row][name] = value
    expected = []
    for text in texts:
        document = read_json(text)
        assert isinstance(document, dict)
        expected.append(flatten(document, ZONE, root))  # type: ignore[arg-type]  # a root
    assert [_typed(each) for each in expected] == [_typed(each) for each in found]


@pytest.mark.parametrize("text", ["", "[]", "1", '{"a": NaN}', '{"a": 01}', '{"a": "\x01"}', "{}x", "[" * 100_000])
def test_what_is_no_object_is_refused(text: str) -> None:
    """The row is told."""
    with pytest.raises(ValueError, match="row 1 "):
        read_cells(["{}", text], "property", ZONE, _refused)


def _refused(row: int, wrong: str) -> Exception:
    return ValueError(f"row {row} {wrong}")


def _typed(cells: dict[str, Cell]) -> dict[str, tuple[type, Cell]]:
    return {name: (type(value), value) for name, value in cells.items()}
