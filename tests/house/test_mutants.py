"""The faults that `make mutants` seeds are faults of the source as it is."""

from collections import Counter

import pytest

from tests.house.checkout import python_files, text_of
from tests.mutants.faults import PAGE, Fault, page, read_faults

FAULTS = read_faults()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_has_its_place(fault: Fault) -> None:
    """What a fault changes is in its file exactly once, it changes something, and its test exists."""
    assert fault.applies()
    assert fault.old != fault.new
    assert fault.test_exists


def test_faults_are_told_apart() -> None:
    """No two faults share a name, and there are at least 25."""
    assert [] == [name for name, count in Counter(fault.name for fault in FAULTS).items() if count > 1]
    assert len(FAULTS) >= 25


def test_no_test_knows_a_fault() -> None:
    """A test proves a sentence: none names a fault."""
    texts = {path: text_of(path) for path in python_files() if path.parts[0] == "tests"}
    assert [] == [f"{path} {fault.name}" for path, text in texts.items() for fault in FAULTS if fault.name in text]


def test_the_page_lists_them() -> None:
    """`docs/reference/proof.md` is written from the list."""
    assert page() == text_of(PAGE)
