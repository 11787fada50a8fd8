"""What is known of one profile at one moment: all that an expression can be evaluated against."""

from collections.abc import Mapping
from dataclasses import dataclass, field

Scalar = int | str | bool
Value = Scalar | tuple[Scalar, ...] | None
"""A value at run time. Numbers are micro-units (`int`), timestamps are epoch milliseconds (`int`); the static type
tells them apart. `None` is missing."""


@dataclass(frozen=True, slots=True)
class State:
    """The state of one profile at `(as_of_ms, as_of_seq)`.

    Attributes:
        profile_id: the profile; an unknown one has empty mappings.
        as_of_ms: the instant of the question, epoch milliseconds, UTC.
        as_of_seq: the knowledge cut: every event with `seq <= as_of_seq` is counted.
        attributes: attributes as JSON values with numbers as micro-units: `{"age": "45-54", "kids": 2000000}`.
            Types are those of the JSON: a number is an `int` and never a `bool`.
        aggregates: value of each base aggregate that the catalog needs, by its canonical text
            (`events.purchase.count_30d`), and each `percent_rank` that it reads, by its own. An absent key is the
            aggregate's value of nothing.
        identifiers: all identifiers of the profile, `<kind>:<value>` as they are stored; none of an unknown one.
    """

    profile_id: str
    as_of_ms: int
    as_of_seq: int
    attributes: Mapping[str, object] = field(default_factory=dict)
    aggregates: Mapping[str, Value] = field(default_factory=dict)
    identifiers: tuple[str, ...] = ()
