"""Typed columns: a name for every path that no other path has, and every value in the column of its type."""

from hypothesis import given
from hypothesis import strategies as st

from dsl.clock import Zone
from dsl.columns import column_name, column_names, flatten, read_column, read_path, write_path
from dsl.types import Type

STEP = st.text(st.sampled_from(list("aAbB.^_\0\u2400é0 ")), max_size=5)
STEPS = st.lists(STEP, min_size=1, max_size=4).map(tuple)
TYPES = st.sampled_from(("number", "string", "boolean", "timestamp", "list"))


@given(STEPS)
def test_paths_are_read_back(steps: tuple[str, ...]) -> None:
    """A path is read back as it was written, without a NUL in it."""
    written = write_path(steps)
    assert steps == read_path(written)
    assert "\0" not in written


@given(STEPS, STEPS)
def test_paths_differ_without_case(left: tuple[str, ...], right: tuple[str, ...]) -> None:
    """Two paths have two names, also for an engine to which upper and lower case are one."""
    assert (left == right) == (write_path(left).lower() == write_path(right).lower())


@given(STEPS, TYPES)
def test_columns_are_read_back(steps: tuple[str, ...], value_type: Type) -> None:
    """A column's name says whose it is, of which type, and where."""
    for root in ("property", "attribute", "context"):
        column = read_column(column_name(root, steps, value_type))
        assert column is not None
        assert (root == "context", value_type, steps) == (column.context, column.type, column.steps)


def test_other_columns_are_no_typed_columns() -> None:
    """The columns that every event has are none of a property."""
    names = "seq event_id kind name source_id ts_ms received_at_ms local_day properties context profile_id a_plan p_x"
    assert [] == [name for name in names.split() if read_column(name)]


def test_flatten_leaves_out_what_is_missing() -> None:
    """What is null has no column; of a list only scalars are kept, an empty list is there; objects are their parts."""
    document: dict[str, object] = {
        "none": None,
        "items": [1_000_000, None, {"sku": "a"}, ["b"], False],
        "empty": [],
        "deep": {"x": {}},
    }
    assert {"l_items": ["n:1", "b:false"], "l_empty": []} == flatten(document, Zone("UTC"))


def test_instants_of_strings() -> None:
    """A string that is an instant is both; a date alone starts in the project's zone."""
    read = flatten({"on": "2018-01-01", "no": "2018-13-01"}, Zone("America/New_York"), "context")
    assert {"cs_on": "2018-01-01", "ct_on": 1_514_782_800_000, "cs_no": "2018-13-01"} == read


def test_open_types_are_in_any_column() -> None:
    """A value whose type nothing fixes may be in the column of any type that is sent."""
    assert ("cn_a", "cs_a", "cb_a", "cl_a") == column_names("context", ["a"], "unknown")
