"""Whatever happens, and whatever is killed when: decisions, answers and tables are what the accepted events say.

Steps are drawn at random over a real Valkey, a real DuckDB and a real API. After each of them everybody is asked, and
the answer, its instant, its `seq` and its profile are those that are counted from all accepted events, given the replay
of the log; what the API answers over HTTP is what the oracle gives at the instant and the `seq` that it names.
"""

import os
import random
import sys
from collections.abc import Iterator
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule, run_state_machine_as_test

from dsl.apikeys import new_key
from dsl.clock import parse_instant
from dsl.event_record import read_event
from dsl.identity_records import Linked
from serving.online.log import read_log
from tests.both_sides.definitions import CATALOGS, catalog
from tests.both_sides.front import Front
from tests.both_sides.life import ASKED, LifeBase
from tests.both_sides.told import MINUTE_MS, USERS, Said
from tests.both_sides.upkeep import Upkeep
from tests.serving.api import running_api

LIVES, STEPS = 12, 25
FIXED_SEED = 3
"""Of lives in which everything is met, where random tests have to draw the same each time."""
OUTCOMES = (
    *("late, appended", "late, dropped", "late, refused"),
    *("files merged", "files swept", "exposures", "answers kept"),
)
SOON_MS = 60
"""Before an answer expires: time to ask twice."""


class Life(Upkeep):
    """All steps; those of time, of definitions and of who asks are here."""

    @initialize(is_busy=st.booleans())
    def start(self, is_busy: bool) -> None:
        """Nobody is known yet, or everybody."""
        self.begin()
        if is_busy:
            self.a_busy_day()

    @rule(data=st.data())
    def wait(self, data: st.DataObject) -> None:
        """Time goes on to just before, at, or just after an edge."""
        self.step("wait")
        now_ms = self.plant.now_ms
        later = sorted(ms for ms in self.told.edges(now_ms) if ms > now_ms)[:12] or [now_ms + MINUTE_MS]
        self.say_when(max(now_ms, data.draw(st.sampled_from(later)) + data.draw(st.integers(-1, 1))))

    @rule(number=st.integers(0, len(CATALOGS) - 1))
    def define(self, number: int) -> None:
        """Other definitions, or those of before: the next refresh publishes them."""
        self.step("define")
        self.plant.define(catalog(number, self.life))

    @rule(who=st.sampled_from(ASKED))
    def ask_until_it_expires(self, who: str) -> None:
        """An answer is kept for as long as it holds, and for no longer."""
        self.say_when(self.plant.now_ms)
        ends = [each["expiresAt"] for each in self.ask(who) if each["expiresAt"] is not None]
        if not ends:
            return
        self.step("ask_until_it_expires")
        end_ms = min(map(parse_instant, ends))
        self.say_when(max(self.plant.now_ms, end_ms - SOON_MS))
        self.written_s = 0.0
        while self.plant.running_ms <= end_ms + 2:
            self.ask(who)
        self.plant.now_ms = end_ms

    @rule(who=st.sampled_from(USERS))
    def show(self, who: str) -> None:
        """What chance decided is logged before it is shown, once for each variant of a version and each profile."""
        self.step("show")
        self.say_when(self.plant.now_ms)
        found = self.ask(who, exposures=True)
        chosen = {(each["flag"], each["variant"]) for each in found if each["reason"] == "SPLIT"}
        versions = {key: flag.version for key, flag in self.plant.fold.checked.flags.items()}
        expected = {(*each, versions[each[0]], found[0]["profileId"]) for each in chosen} - self.shown
        logged = set()
        for entry in list(read_log(self.client, self.plant.project, self.told.identities.seq)):
            assert isinstance(entry.identity, Linked)
            event = read_event(entry.record, entry.seq, entry.identity.source_id)
            assert ("system", "flag_exposure", who) == (event.kind, event.name, event.source_id)
            logged.add(
                (*(str(event.properties[name]) for name in ("flag", "variant", "version")), found[0]["profileId"])
            )
            self.told.accept(Said(event, (who,), way="own"), entry.seq)
        assert expected == logged
        self.shown |= logged
        self.steps["exposures"] += len(logged)
        # It was now when that was logged.
        self.say_when(self.plant.now_ms + MINUTE_MS)
        self.concerned, self.through = who, self.told.identities.seq if logged else 0


@pytest.fixture(scope="module")
def front(valkey_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """One API for all lives: its project begins anew with each of them."""
    folder = tmp_path_factory.mktemp("front")
    LifeBase.key = f"life-{uuid4().hex[:12]}"
    where = {"REDIS_URL": valkey_url, "PROJECT": LifeBase.key, "HOME": str(folder / "home")}
    with running_api(folder / "log", DECIDE_DEADLINE_MS="5000", **where) as api:
        yield Front(api, {kind: new_key(kind) for kind in ("read", "write", "admin")})


def test_life(valkey_url: str, front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random lives; the seed is printed, `TINYCDP_TEST_SEED` lives them again."""
    is_fixed = bool(os.environ.get("CI")) and "TINYCDP_TEST_SEED" not in os.environ
    seed = FIXED_SEED if is_fixed else int(os.environ.get("TINYCDP_TEST_SEED", random.randrange(2**32)))
    sys.stdout.write(f"TINYCDP_TEST_SEED={seed}\n")
    # A source is hot sooner, so that chunks are met.
    monkeypatch.setattr("serving.online.chunks.HOT", 2)
    monkeypatch.setattr(LifeBase, "url", valkey_url, raising=False)
    monkeypatch.setattr(LifeBase, "front", front, raising=False)
    run_state_machine_as_test(
        seeded(seed)(Life),
        settings=settings(
            max_examples=LIVES,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            print_blob=True,
            phases=[Phase.generate] if os.environ.get("NOSHRINK") else list(Phase),
            suppress_health_check=list(HealthCheck),
        ),
    )
    sys.stdout.write(f"{dict(sorted(Life.steps.items()))}\n")
    rules = {each.function.__name__ for each in Life().rules}
    missing = rules.union(OUTCOMES) - {name for name, times in Life.steps.items() if times}
    sys.stdout.write(f"never met: {sorted(missing)}\n")
    assert not (is_fixed and missing)
