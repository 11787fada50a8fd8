"""Random flags that are right by themselves, for what has to keep every part of one."""

from typing import Final

from hypothesis import strategies as st

from dsl.catalog import Flag, Prerequisite, Rule, Target, Variant
from dsl.documents.flags import BUCKETS, LARGEST_WEIGHT
from dsl.numbers import MICROS

TEXTS: Final = st.text(max_size=30) | st.sampled_from(
    [
        "on",
        "off",
        "true",
        "null",
        "~",
        "1",
        "1e3",
        "0x1F",
        "2018-01-01",
        "!a in b",
        "*x",
        "a: b",
        "a #b",
        "'",
        "a\nb",
        " a ",
        "a\n",
    ]
)
"""Texts of any kind, among them those that YAML reads as something else."""

_IDS = ["user:1", "user:on", "email: A@b.example ", "device:a:b#c", "02c4bdd9-5236-5938-86aa-4183ef2979ee"]
_LABELS = st.sampled_from(["on", "off", "true", "1", "1.5", "a-b", "null", "Yes", "-", "x"])
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@st.composite
def any_flags(draw: st.DrawFn) -> tuple[Flag, ...]:
    """Flags with variants of their own, or with those that are built in, and with every part that they may have."""
    made = []
    for key in draw(st.lists(_LABELS, unique=True, max_size=3)):
        names = draw(st.lists(_LABELS, unique=True, min_size=1, max_size=3))
        weights = st.integers(0, LARGEST_WEIGHT * MICROS)
        own = tuple(Variant(name, draw(st.booleans()), draw(_JSON), draw(weights)) for name in names)
        variants = draw(st.sampled_from([own, Flag("x").variants]))
        variant = st.sampled_from([variant.key for variant in variants])
        splits = any(variant.weight_micros for variant in variants)
        rules = tuple(draw(_rule(variant, splits)) for _ in range(draw(st.integers(0, 2))))
        before = draw(st.lists(st.builds(Prerequisite, TEXTS, st.lists(_LABELS, max_size=2).map(tuple)), max_size=2))
        ids = iter(draw(st.lists(st.sampled_from(_IDS), unique=True, max_size=4)))
        targets = tuple(Target(draw(variant), (its_id,)) for its_id in ids)
        made.append(
            Flag(
                key,
                rules,
                variants,
                draw(variant),
                draw(st.booleans()),
                draw(TEXTS),
                tuple(before),
                draw(st.none() | TEXTS),
                targets,
                draw(st.sampled_from(BUCKETS)),
            )
        )
    return tuple(made)


def _rule(variant: st.SearchStrategy[str], splits: bool) -> st.SearchStrategy[Rule]:
    """A rule of any form that is right; one for everybody has a share, or the next would never be reached."""
    chosen = st.none() | variant if splits else variant
    share = st.integers(0, MICROS)
    return st.builds(Rule, TEXTS, chosen, st.none() | share) | st.builds(Rule, st.none(), chosen, share)
