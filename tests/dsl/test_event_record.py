"""The record of an event: what is written is what is read, at once or as it is asked for."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from dsl.event import Happened
from dsl.event_record import EventRecord, read_event, read_fresh, write_record

TEXTS = st.text(max_size=5)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(TEXTS, inside, max_size=3),
    max_leaves=6,
)
SENT = st.one_of(
    st.dictionaries(TEXTS, VALUES, max_size=4).map(json.dumps),
    st.sampled_from(
        ("{}", "[1]", r'{"a": "\ud800", "\udc00": 1.5}', '{"a": 1, "a": 2e-7}', '{"n": 9007199254740.993}')
    ),
)
KINDS = st.sampled_from(("track", "page", "screen", "identify", "alias", "group", "system"))
RECORDS = st.builds(
    EventRecord, TEXTS, KINDS, TEXTS, st.integers(-5, 2**42), st.just(0), st.integers(-1, 20_000), SENT, SENT
)
SEEN = ("event_id", "kind", "name", "ts_ms", "local_day", "properties", "context")


def _seen(event: Happened) -> list[object]:
    return [getattr(event, name) for name in SEEN]


@settings(max_examples=100, deadline=None, derandomize=True)
@given(RECORDS)
def test_a_fresh_event_is_the_event(record: EventRecord) -> None:
    """What is read as it is asked for is what is read at once, asked once or twice."""
    text = write_record(record)
    fresh = read_fresh(text)
    assert _seen(read_event(text, 1, "user:x")) == _seen(fresh) == _seen(fresh)
