"""Merge laws of every state: the same however events are split and ordered, inputs unchanged, read back as written."""

import copy

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsl.folds import FAMILIES, FOLDS, Ask, FamilyName, Moment, Occurrence
from dsl.numbers import LARGEST, SMALLEST
from dsl.windows import Window

NUMBERS = st.one_of(
    st.integers(-3, 3),
    st.sampled_from((SMALLEST, LARGEST, 1_000_000, -1_500_000)),
    st.integers(SMALLEST, LARGEST),
)
VALUES = st.one_of(st.none(), NUMBERS, st.booleans(), st.sampled_from(("", "a", "é", "1", "true")), st.just((1, "a")))
OCCURRENCES = st.lists(
    st.builds(Occurrence, st.integers(0, 5), st.sampled_from("abc"), st.integers(0, 4), VALUES), max_size=12
)
INSTANTS = st.lists(st.builds(Occurrence, st.integers(0, 9), st.just("a"), st.just(0), st.integers(0, 9)), max_size=6)


def unambiguous(occurrences: list[Occurrence]) -> list[Occurrence]:
    """Of events of one id the first: an id is counted once."""
    return list({(o.ts_ms, o.event_id): o for o in occurrences}.values())


def events(name: FamilyName, many: bool) -> st.SearchStrategy[list[Occurrence]]:
    """Events for a family; many are more different values than are kept exactly."""
    if name == "instants":
        return INSTANTS
    few = OCCURRENCES.map(unambiguous)
    if not many or name not in ("values", "histogram"):
        return few
    crowd = [Occurrence(7, f"x{n}", 0, n * 1_000_003) for n in range(300)]
    return few.map(lambda found: [*found, *crowd[: 250 + len(found)]])


@pytest.mark.parametrize("name", FAMILIES)
def test_any_split_gives_the_same_state(name: FamilyName) -> None:
    """Commutative, associative, with an identity: events in any parts and order give one state, and one value."""
    family = FAMILIES[name]

    @settings(max_examples=60, deadline=None, derandomize=True)
    @given(st.booleans().flatmap(lambda many: events(name, many)), st.randoms(use_true_random=False), st.data())
    def laws(occurrences: list[Occurrence], pick: object, data: st.DataObject) -> None:
        whole = family.state(occurrences)
        shuffled = data.draw(st.permutations(occurrences)) if len(occurrences) < 20 else occurrences[::-1]
        cut = data.draw(st.integers(0, len(shuffled)))
        middle = data.draw(st.integers(0, cut))
        a, b, c = (family.state(part) for part in (shuffled[:middle], shuffled[middle:cut], shuffled[cut:]))
        before = copy.deepcopy((a, b, c))
        assert whole == family.merge(family.merge(a, b), c)
        assert whole == family.merge(a, family.merge(b, c))
        assert whole == family.merge(family.merge(c, b), a)
        assert whole == family.merge(whole, family.identity)
        assert whole == family.together(shuffled)
        assert (a, b, c) == before

    laws()


@pytest.mark.parametrize("name", FAMILIES)
def test_states_are_read_back_as_they_were_written(name: FamilyName) -> None:
    """A state survives being written as bytes, and then merges and answers as before."""
    family = FAMILIES[name]

    @settings(max_examples=60, deadline=None, derandomize=True)
    @given(st.booleans().flatmap(lambda many: events(name, many)))
    def survives(occurrences: list[Occurrence]) -> None:
        state = family.state(occurrences)
        written = msgspec.msgpack.encode(family.encode(state))
        read = family.decode(msgspec.msgpack.decode(written))
        assert state == read
        assert written == msgspec.msgpack.encode(family.encode(read))
        ask = Ask(Moment(10, 4), Window(3, "d"))
        for function, fold in FOLDS.items():
            if fold.family == name:
                assert fold.finalise(state, ask) == fold.finalise(read, ask), function

    survives()


def test_a_state_of_two_events_by_hand() -> None:
    """Two events count twice, add up, begin with the first and end with the last."""
    both = [Occurrence(5, "a", 0, 30), Occurrence(9, "b", 0, 10)]
    assert (2, 5, 9) == FAMILIES["moments"].state(both)
    assert (2, 40, 10, 30) == FAMILIES["numbers"].state(both)


def test_a_streak_goes_on_until_tomorrow() -> None:
    """Who has not come yet today has the streak of yesterday; who missed yesterday has none."""
    days = frozenset((3, 4, 5))
    lengths = [FOLDS["streak_days"].finalise(days, Ask(Moment(0, today))) for today in (5, 6, 7)]
    assert [3_000_000, 3_000_000, 0] == lengths


def test_256_values_are_kept() -> None:
    """Of 256 different values all are counted and listed, of more 256 are listed."""
    for count, kept in ((256, 256), (257, 256)):
        state = FAMILIES["values"].state(Occurrence(1, f"e{n}", 0, n) for n in range(count))
        assert (kept, count == 256) == (len(state.counts), state.registers is None)
