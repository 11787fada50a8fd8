"""A project to which anything may happen, and what holds after each step; the steps are in other modules.

Two ways of asking are compared with the truth: what the store has, folded in this process at the instant at which the
project's clock stands, and what the API answers over HTTP, whose own clock runs on from there and which keeps what it
has answered.
"""

import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

from hypothesis.stateful import RuleBasedStateMachine, invariant

from dsl.apikeys import digest
from dsl.clock import parse_instant
from dsl.evaluate import Evaluation
from dsl.identifiers import profile_id
from dsl.recount import count_again
from serving.online import Snapshot, connect, delete_project, publish_keys
from tests.both_sides.definitions import FLAGS, catalog
from tests.both_sides.front import Front
from tests.both_sides.judge import Judge, Somebody
from tests.both_sides.plant import open_plant
from tests.both_sides.told import EVERYBODY, USERS, VISITORS, ZONE, Told
from tests.differential.tables import in_table, of_table
from warehouse import lake
from warehouse.database import connect as open_database
from warehouse.refresh import Refresh, use_project

ASKED = (*USERS, *VISITORS, "user:nobody")
CONTEXTS = ("{}", '{"amount": 2.5}', '{"amount": 1.000001}')
BEGINS_MS = parse_instant("2026-10-30T15:00:00Z")
"""Two days before clocks go back: lives of one seed meet the same edges, whenever they are lived."""
PROMISE_S = 1.0
"""After so long an answer knows what other processes have written."""


class LifeBase(RuleBasedStateMachine):
    """A project, what is true of it, and who asks.

    Attributes:
        url: of the store; `key` of the one project that the API of `front` serves, `version` the last of its catalogs.
        steps: how often each kind of step was taken, over all lives.
        written_s: when something was last written around the API, by the monotonic clock.
        through: what the step before wrote went through the API, and had this number; 0 when it did not.
        held: what a publisher that sleeps has computed; `slept` up to which `seq`.
    """

    url: ClassVar[str]
    key: ClassVar[str]
    front: ClassVar[Front]
    version: ClassVar[int] = 0
    steps: ClassVar[Counter[str]] = Counter()

    def begin(self) -> None:
        """The first definitions are published; nobody is known."""
        self.folder = Path(tempfile.mkdtemp())
        self.client = connect(self.url)
        self.life = uuid4().hex[:6]
        self.plant = open_plant(self.client, self.folder / "home", self.key, BEGINS_MS, ZONE.name)
        self.plant.version = self.version
        self.told = Told()
        self.held: tuple[Snapshot, list[dict[str, bytes]]] | None = None
        self.shown: set[tuple[str, ...]] = set()
        self.losses = self.turn = self.made = self.through = self.slept = 0
        self.written_s = 0.0
        self.concerned = USERS[0]
        self.plant.define(catalog(0, self.life))
        self.introduce()
        self.check_tables(self.plant.refresh())
        self.say_when(BEGINS_MS)

    def teardown(self) -> None:
        """Nothing is left."""
        if hasattr(self, "plant"):
            LifeBase.version = self.plant.version
            self.steps["answers kept"] = self.front.kept()
            delete_project(self.client, self.plant.project)
            self.plant.shop.registry.close()
            self.client.close()
            shutil.rmtree(self.folder)

    def step(self, name: str) -> None:
        """A step of this kind is taken."""
        self.steps[name] += 1

    def introduce(self) -> None:
        """The store is told of the project: its keys and its clock."""
        publish_keys(self.client, self.plant.project, {digest(key): kind for kind, key in self.front.keys.items()})
        self.plant.tell_clock()

    def say_when(self, now_ms: int) -> None:
        """It is so late now, which the API knows when this returns: the clock of a project never jumps but here."""
        self.plant.put_clock(now_ms)
        for number in range(1_000):
            context = f'{{"number": {number}}}'  # of a question that was never asked no answer is kept
            (found,) = self.front.decide("user:clock", FLAGS[:1], context, exposures=False)
            if now_ms <= parse_instant(found["asOf"]) <= self.plant.running_ms:
                break
            time.sleep(0.01)
        # Nor, when it is told again, of any that was asked meanwhile.
        self.plant.tell_clock()
        self.written_s = time.monotonic()

    # -- what holds --------------------------------------------------------------------------------------------------

    @invariant()
    def decisions_are_what_the_events_say(self) -> None:
        """Of everybody, by every identifier, folded here from what the store has."""
        checked, now_ms, told = self.plant.fold.checked, self.plant.now_ms, self.told
        for who in EVERYBODY:
            state, its_id = self.plant.ask(who), told.identities.profile_of(who)
            own = told.events_of(its_id)
            t_ms = max([now_ms, *(event.ts_ms + 1 for event in own)])
            assert (its_id or profile_id(who), t_ms, told.identities.seq) == (
                state.profile_id,
                state.as_of_ms,
                state.as_of_seq,
            )
            counted = count_again(state.profile_id, own, checked, t_ms, state.as_of_seq, ZONE)
            assert _values(Evaluation(checked, counted)) == _values(Evaluation(checked, state)), who

    @invariant()
    def the_api_answers_what_the_events_say(self) -> None:
        """Whom the step was about, and somebody else, once by an identifier and once by the profile's id."""
        self.turn += 1
        if not self.through:
            self.written_s = time.monotonic()
        self.ask(self.concerned, at_least=self.through)
        self.through = 0
        other = ASKED[self.turn % len(ASKED)]
        its_id = self.told.identities.profile_of(other)
        self.ask(its_id if its_id is not None and self.turn % 2 else other)

    def ask(self, who: str, *, at_least: int = 0, exposures: bool = False) -> list[dict[str, Any]]:
        """The API's decisions about somebody, once they are right, which they are within a second.

        Args:
            at_least: what the very first answer knows.
        """
        context = CONTEXTS[self.turn % len(CONTEXTS)]
        while True:
            began_s, began_ms = time.monotonic(), self.plant.running_ms
            found = self.front.decide(who, FLAGS, context, exposures=exposures)
            assert at_least <= found[0]["asOfSeq"]
            wrong = self._wrong(who, context, found, began_ms)
            if not wrong:
                return found
            assert began_s - self.written_s <= PROMISE_S, (who, context, wrong)
            time.sleep(0.005)

    def _wrong(self, who: str, context: str, found: list[dict[str, Any]], began_ms: int) -> Mapping[str, object]:
        """What differs from the truth at the instant and the number that the answer names; empty when nothing does."""
        told, first = self.told, found[0]
        t_ms, seq = parse_instant(first["asOf"]), first["asOfSeq"]
        asked = who if ":" in who else None
        # An id that was retired leads to its profile; nobody's is answered as it is.
        its_id = told.identities.resolve(who) if asked is None else told.identities.profile_of(who)
        own = told.events_of(its_id)
        newest_ms = max((event.ts_ms for event in own), default=-1)
        if seq < max((event.seq for event in own), default=0) or seq > told.identities.seq:
            return {"asOfSeq": seq}
        if t_ms <= newest_ms or t_ms < self.plant.now_ms or t_ms > max(self.plant.running_ms, newest_ms + 1):
            return {"asOf": t_ms, "now": self.plant.now_ms, "running": self.plant.running_ms, "newest": newest_ms}
        theirs = its_id or (who if asked is None else profile_id(who))
        somebody = Somebody(theirs, told.members_of(theirs), asked, own)
        judge = Judge(self.plant.fold.checked.catalog, somebody, t_ms, seq, context)
        for place, each in enumerate(found):
            said = {**judge.verdict(each["flag"]).summary(), "profileId": theirs, "asOf": first["asOf"], "asOfSeq": seq}
            said |= {"stale": None, "warming": False}
            actual = {name: each[name] for name in said}
            if said != actual:
                return {"flag": each["flag"], "expected": said, "actual": actual, "reasons": each["reasons"]}
            if wrong := self._wrong_until(judge, somebody, context, each, began_ms, checks=place == self.turn % 3):
                return wrong
        return {}

    def _wrong_until(
        self, judge: Judge, who: Somebody, context: str, each: Mapping[str, Any], began_ms: int, *, checks: bool
    ) -> Mapping[str, object]:
        """What is wrong with how long an answer is said to hold."""
        t_ms = parse_instant(each["asOf"])
        ends_ms = t_ms + 200 * 86_400_000 if each["expiresAt"] is None else parse_instant(each["expiresAt"])
        if not max(t_ms, began_ms - 1) < ends_ms:
            return {"flag": each["flag"], "expiresAt": ends_ms, "asOf": t_ms, "asked": began_ms}
        if checks:
            at_last = Judge(self.plant.fold.checked.catalog, who, ends_ms - 1, each["asOfSeq"], context)
            if judge.verdict(each["flag"]) != at_last.verdict(each["flag"]):
                return {"flag": each["flag"], "expiresAt": ends_ms, "asOf": t_ms, "changes": "before that"}
        return {}

    def check_tables(self, refresh: Refresh) -> None:
        """Traits and members of everybody are what the events say."""
        checked, told = self.plant.checked, self.told
        traits = [key for key in checked.order if checked.values[key].kind == "trait"]
        with self.plant.bench() as bench:
            rows = bench.rows(f"SELECT profile_id, {', '.join(traits)} FROM traits ORDER BY ALL")
            members = set(bench.rows("SELECT profile_id, segment FROM segment_members"))
        expected, holding = {}, set()
        for owner in told.in_tables():
            own = told.events_of(owner)
            counted = Evaluation(checked, count_again(owner, own, checked, refresh.t_ms, refresh.cut, ZONE))
            expected[owner] = {key: in_table(counted.definition(key)) for key in traits}
            holding |= {(owner, key) for key in checked.order if key not in traits and counted.definition(key)}
        types = {key: checked.values[key].type for key in traits}
        found = {who: {k: of_table(v, types[k]) for k, v in zip(traits, row, strict=True)} for who, *row in rows}
        assert expected == found
        assert holding == members

    def check_lake(self) -> None:
        """Every event that has landed is in the lake once, and analysts see those of the last publication once."""
        shop = self.plant.shop
        landed_seq = shop.registry.landed_seq(shop.project.key)
        files = shop.registry.files(shop.project.key)
        seqs = {said.event.event_id: said.event.seq for said in self.told.accepted.values()}
        landed = {event_id: seq for event_id, seq in seqs.items() if seq <= landed_seq}
        frame = lake.read_files(shop.home.lake, files, ["event_id", "seq"]).collect() if files else None
        rows = [] if frame is None else sorted(frame.iter_rows())
        assert sorted(landed.items()) == rows
        with open_database(shop.home.analytics, read_only=True) as connection:
            use_project(connection, shop.project.key)
            ((cut,),) = connection.execute("SELECT max(cut) FROM refreshes WHERE finished_at IS NOT NULL").fetchall()
            seen = connection.execute("SELECT event_id, seq FROM events ORDER BY ALL").fetchall()
        assert sorted((each, seq) for each, seq in landed.items() if seq <= cut) == seen


def _values(evaluation: Evaluation) -> dict[str, object]:
    return {key: evaluation.definition(key) for key in evaluation.checked.values}
