"""Whatever is killed when: what was acknowledged is there, once, in the lake and in decisions."""

import pytest

from tests.chaos.plan import API, FEWEST_HITS, UPKEEP, WORKER, Kill, Round, rounds
from tests.chaos.rounds import Chaos
from tests.chaos.run import ROUNDS
from tests.chaos.town import open_town

SMOKE = (
    Round(0, "smoke-0", (("ingest.after_append", 4), ("landing.after_manifest", 1)), (Kill(0.6, "store"),)),
    Round(1, "smoke-1", (("late.after_append", 1), ("publication.after_bases", 1)), (Kill(0.3, "api"),), again=True),
    Round(2, "smoke-2", (("lake.before_rename", 1),), (Kill(0.5, "worker"), Kill(0.7, "store"))),
)
"""What `make test-chaos` does for eight minutes, in half a minute."""


@pytest.mark.slow
def test_nothing_acknowledged_is_lost_or_counts_twice(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Three rounds of kills under load; after each, log, lake, dead letters, identities and decisions agree."""
    with open_town(tmp_path_factory.mktemp("chaos")) as town:
        chaos = Chaos.begin(town)
        for this in SMOKE:
            chaos.play(this, 1.0, everything=True)
        aimed = {place for this in SMOKE for place, _ in this.aims}
        assert aimed == set(chaos.hits), chaos.hits
        assert len(chaos.proof.ledger.acknowledged) > 100
        assert chaos.proof.looks > 0


def test_a_whole_run_aims_at_every_place_often_enough() -> None:
    """The rounds of a seed follow from it alone, and aim at each place at least as often as it has to be hit."""
    planned = list(rounds(7, ROUNDS))
    assert planned == list(rounds(7, ROUNDS))
    aimed = [place for this in planned for place, _ in this.aims]
    assert [] == [place for place in (*WORKER, *API, *UPKEEP) if aimed.count(place) < FEWEST_HITS]
