"""What is killed when, round after round: it follows from the seed alone."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Final, get_args

from dsl.failpoints import PLACES
from tests.chaos.town import Target

WORKER: Final = tuple(sorted(p for p in PLACES if p.partition(".")[0] in ("lake", "landing", "late", "chunk")))
API: Final = tuple(sorted(place for place in PLACES if place.startswith("ingest.")))
UPKEEP: Final = tuple(sorted(p for p in PLACES if p.partition(".")[0] in ("publication", "compaction")))
FEWEST_HITS: Final = 3
_ROUNDS_OF_AN_UPKEEP: Final = 4
"""Rounds that aim at each place of a refresh or a compaction."""
_LATER: Final = {"ingest": 15, "lake": 4}
"""Of which place how many times at most are let pass before the kill; of others none."""


@dataclass(frozen=True, slots=True)
class Kill:
    """A `kill -9` at a moment: the share of the round's load that has passed by then, 0 to 1."""

    at: float
    target: Target


@dataclass(frozen=True, slots=True)
class Round:
    """One round.

    Attributes:
        aims: places where a process is to be killed, and which time it gets there; at most one of each process.
        kills: at random moments.
        refresh_s: a whole refresh begins with the round and is killed so long after; 0 when there is none.
        again: whether a refresh that was killed is done anew before the proof.
    """

    number: int
    seed: str
    aims: tuple[tuple[str, int], ...]
    kills: tuple[Kill, ...]
    refresh_s: float = 0.0
    again: bool = False

    def aim_at(self, places: Sequence[str]) -> tuple[str, int] | None:
        """The one of these places that is aimed at."""
        return next((aim for aim in self.aims if aim[0] in places), None)

    def __str__(self) -> str:
        kills = [f"{kill.target} at {kill.at:.0%}" for kill in self.kills]
        refresh = [f"refresh after {self.refresh_s:.1f} s"] if self.refresh_s else []
        return ", ".join([*(f"{place}:{hits}" for place, hits in self.aims), *kills, *refresh])


def rounds(seed: int, count: int) -> Iterator[Round]:
    """The rounds of a seed."""
    in_order = random.Random(f"{seed}/places")
    worker, api = (cycle(in_order.sample(places, len(places))) for places in (WORKER, API))
    upkeep = iter(in_order.sample(UPKEEP * _ROUNDS_OF_AN_UPKEEP, len(UPKEEP) * _ROUNDS_OF_AN_UPKEEP))
    for number in range(count):
        chance = random.Random(f"{seed}/{number}")
        # Two rounds in ten belong to a refresh as users run it.
        whole = number % 10 in (5, 6)
        places = [next(worker), *([next(api)] if number % 2 else []), *([] if whole else [next(upkeep, "")])]
        targets = chance.choices(get_args(Target), (3, 2, 4), k=chance.choice((1, 1, 2, 3)))
        kills = sorted((Kill(chance.uniform(0.05, 1), target) for target in targets), key=lambda kill: kill.at)
        yield Round(
            number,
            f"{seed}-{number}",
            tuple((place, _hits(chance, place)) for place in places if place),
            tuple(kills),
            chance.uniform(2, 12) if number % 10 == 5 else 0.0,
            chance.random() < 0.3,
        )


def extra(seed: int, number: int, missing: Sequence[str]) -> Round:
    """A round for places that were not hit often enough."""
    chance = random.Random(f"{seed}/{number}")
    groups = [[place for place in missing if place in places] for places in (WORKER, API, UPKEEP)]
    aims = tuple((chance.choice(group), 1) for group in groups if group)
    return Round(number, f"{seed}-{number}", aims, (), again=True)


def _hits(chance: random.Random, place: str) -> int:
    return chance.randint(1, _LATER.get(place.partition(".")[0], 1))
