"""The name that was probably meant."""

import time

import pytest

from dsl.nearest import nearest

NAMES = ["country", "county", "plan", "purchase", "purchase_made", "total_spent", "count", "unique_days"]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("counrty", "country"),
        ("Plan", "plan"),
        ("plna", "plan"),
        ("purchases", "purchase"),
        ("purchasemade", "purchase_made"),
        ("totl_spend", "total_spent"),
        ("uniquedays", "unique_days"),
        ("zzz", None),
        ("", None),
        ("weather", None),
    ],
)
def test_nearest(written: str, meant: str | None) -> None:
    """A slip of a few letters finds its name; something else finds none."""
    assert meant == nearest(written, NAMES)


def test_thousands_of_names() -> None:
    """A catalog of thousands of names is searched in an instant."""
    names = [f"feature_{number}_count" for number in range(5_000)]
    start = time.process_time()
    assert "feature_4321_count" == nearest("feature_4321_cuont", names)
    assert time.process_time() - start < 1
