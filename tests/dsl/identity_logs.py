"""Random logs full of collisions: few identifiers of every kind, aliases, settings, un-merges, erasures."""

from dataclasses import dataclass

from hypothesis import strategies as st

from dsl.identifiers import Kind, identifiers, is_blocked, profile_id, source_id
from dsl.identity import Identities
from dsl.identity_records import Erasure, IdentitySettings, Mention, Record, SettingsChange, Unmerge

VALUES: dict[Kind, tuple[str, ...]] = {
    "user": ("u1", "u2", "7", "Guest", profile_id("anon:a1"), profile_id("user:u1"), profile_id("device:d1")),
    "external": ("7", "x1"),
    "email": ("a@x.no", "b@x.no", "guest"),
    "device": ("d1", "d2", "7"),
    "anon": ("a1", "a2", "7", "kiosk", "0"),
}
PREVIOUS = (*VALUES["user"], "7", "7", "7", "a1", "d1", "x1", "new", "KIOSK")
NAMES = tuple(source_id(kind, value) for kind, values in VALUES.items() for value in values)


@dataclass(frozen=True, slots=True)
class About:
    """An event, as far as identity goes."""

    identifiers: tuple[str, ...]
    previous: str | None = None


@dataclass(frozen=True, slots=True)
class Judge:
    """Other settings."""

    settings: IdentitySettings


@dataclass(frozen=True, slots=True)
class Part:
    """An un-merge of two identifiers."""

    one: str
    other: str


@dataclass(frozen=True, slots=True)
class Forget:
    """An erasure of the profile that an identifier is in."""

    identifier: str


Step = About | Judge | Part | Forget


def record_of(step: Step, seq: int, known: Identities) -> Record:
    """The record of the log that a step is, by what is known then."""
    match step:
        case About(names, previous):
            return Mention(seq, names, previous)
        case Judge(settings):
            return SettingsChange(seq, settings)
        case Part(one, other):
            return Unmerge(seq, known.meant(one), known.meant(other))
        case Forget(identifier):
            return Erasure(seq, known.profile_of(identifier) or "nobody")


def abouts() -> st.SearchStrategy[About]:
    """Events with one to four identifiers; one in four is an alias."""
    values = st.one_of([st.tuples(st.just(kind), st.sampled_from(values)) for kind, values in VALUES.items()])
    some = st.lists(values, min_size=1, max_size=4, unique_by=lambda pair: pair[0])
    previous = st.sampled_from([None] * 3 * len(PREVIOUS) + [*PREVIOUS])
    return st.builds(
        lambda given, said: About(identifiers(dict(given)), None if said is None or is_blocked(said) else said),
        some,
        previous,
    )


def judges() -> st.SearchStrategy[Judge]:
    """Settings under which every rule is met by a handful of identifiers."""
    blocked = st.sampled_from([frozenset[str](), frozenset({"Kiosk"}), frozenset({"GUEST", "u2", "b@x.no"})])
    users, most = st.sampled_from([0, 1, 1, 1, 2]), st.sampled_from([5, 6, 100, 100])
    return st.builds(IdentitySettings, users, most, blocked, st.booleans()).map(Judge)


def steps(shortest: int = 5, longest: int = 40) -> st.SearchStrategy[list[Step]]:
    """Logs; most steps are events."""
    name = st.sampled_from(NAMES)
    kinds: dict[str, st.SearchStrategy[Step]] = {
        "event": abouts(),
        "settings": judges(),
        "unmerge": st.builds(Part, name, name),
        "erasure": st.builds(Forget, name),
    }
    chosen = st.sampled_from(["event"] * 17 + ["settings", "unmerge", "erasure"])
    return st.lists(chosen.flatmap(lambda kind: kinds[kind]), min_size=shortest, max_size=longest)
