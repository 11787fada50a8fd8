"""One round after another in one town: start, send, kill, wait until all is at rest, prove."""

import random
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import httpx

from tests.chaos.crowd import Ledger, changed, crowd
from tests.chaos.plan import API, FEWEST_HITS, UPKEEP, WORKER, Round
from tests.chaos.proof import Proof, late_again
from tests.chaos.town import Aim, Town

LOAD_S = 2.0
_SENDERS = 3
_REMINDED = 4
"""Late events of which a round forgets the ids."""


@dataclass(slots=True)
class Chaos:
    """A run in one town.

    Attributes:
        hits: how often a process was killed at each place.
        last_hits: the places of the last round.
    """

    town: Town
    proof: Proof
    hits: Counter[str] = field(default_factory=Counter)
    last_hits: list[str] = field(default_factory=list)
    _aims: list[Aim] = field(default_factory=list)

    @classmethod
    def begin(cls, town: Town) -> "Chaos":
        """Publish the catalog, so that there is something to decide."""
        assert town.start("upkeep").wait(120) == 0, town.said("upkeep")
        return cls(town, Proof(town, Ledger()))

    @property
    def missing(self) -> list[str]:
        """Places that have not been hit often enough."""
        return [place for place in (*WORKER, *API, *UPKEEP) if self.hits[place] < FEWEST_HITS]

    def play(self, this: Round, load_s: float = LOAD_S, *, everything: bool = False) -> None:
        """One round, and its proof.

        Args:
            everything: read the whole lake again, not only what is new.

        Raises:
            AssertionError: something does not hold.
        """
        town = self.town
        self._aims = []
        town.start_once("api", self._aim(this, API))
        town.start("worker", self._aim(this, WORKER))
        town.until_up()
        self._begin_refresh(this)
        self._remind(this)
        with town.tended():
            aim = self._aim(this, UPKEEP)
            upkeep = town.start("upkeep", aim) if aim else None
            self._load(this, load_s)
            town.until_up()
            if upkeep is not None and aim is not None:
                self._end_upkeep(this, upkeep, aim)
            self.proof.prove(everything=everything)
        town.stop("worker", "upkeep")
        self.last_hits = [aim.place for aim in self._aims if aim.was_hit]
        self.hits.update(self.last_hits)

    def _aim(self, this: Round, places: Sequence[str]) -> Aim | None:
        chosen = this.aim_at(places)
        if chosen is None:
            return None
        aim = Aim(*chosen, self.town.folder / f"{this.seed}-{chosen[0]}.hits")
        self._aims.append(aim)
        return aim

    def _begin_refresh(self, this: Round) -> None:
        """A refresh as users run it; it may still run in the next round."""
        if this.refresh_s:
            self.town.start("refresh")
            timer = threading.Timer(this.refresh_s, self.town.stop, ("refresh",))
            timer.daemon = True
            timer.start()

    def _end_upkeep(self, this: Round, process: "subprocess.Popen[bytes]", aim: Aim) -> None:
        """Wait for it; do it anew where the round wants that, or where the store was away before its place came."""
        code = process.wait(120)
        if this.again or (code != 0 and not aim.was_hit):
            code = self.town.start("upkeep", aim).wait(120)
        assert code == 0 or aim.was_hit, self.town.said("upkeep")

    def _remind(self, this: Round) -> None:
        """Late events come once more when the store has forgotten their ids: as they were, and changed."""
        town, ledger = self.town, self.proof.ledger
        chosen = ledger.retire(random.Random(this.seed), _REMINDED)
        town.forget_ids(event["messageId"] for event in chosen)
        with httpx.Client(base_url=town.address, auth=(town.keys["write"], ""), timeout=10) as client:
            for place, event in enumerate(chosen):
                is_other = place % 2 == 1
                letter = ("id_conflict", late_again(event["messageId"]))
                if is_other:
                    ledger.wrong.add(letter)
                # Who is not answered does not ask again: it may have been done, or not.
                with suppress(httpx.TransportError):
                    answer = client.post("/v1/batch", json={"batch": [changed(event) if is_other else event]})
                    if answer.status_code == httpx.codes.OK and is_other:
                        ledger.rejected.add(letter)

    def _load(self, this: Round, load_s: float) -> None:
        """Send, and kill meanwhile; every sender has ended when this returns."""
        town, ledger, begin_s = self.town, self.proof.ledger, time.monotonic()
        is_hot = any(place.startswith("chunk.") for place, _ in this.aims)
        senders = crowd(this.seed, _SENDERS, town.address, town.keys["write"], ledger, is_hot=is_hot)
        threads = [threading.Thread(target=sender.run, args=(load_s,)) for sender in senders]
        for thread in threads:
            thread.start()
        for kill in this.kills:
            time.sleep(max(0.0, begin_s + kill.at * load_s - time.monotonic()))
            town.kill(kill.target)
        for thread in threads:
            thread.join()
        for sender in senders:
            if sender.failure is not None:
                raise sender.failure
