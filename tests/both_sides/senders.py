"""Steps of those who send: events of all kinds and ages, by every way in, and who turns out to be whom."""

from collections.abc import Mapping
from dataclasses import replace

import polars as pl
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from dsl.event import Event, Kind
from serving.online import Item, append, erase_identity, reserve_seq, unmerge
from tests.both_sides.life import LifeBase
from tests.both_sides.told import DEDUP_WINDOW_MS, EVERYBODY, USERS, VISITORS, ZONE, Said, Way, beginnings, is_late
from warehouse.attributes import json_text
from warehouse.identity_around import read_around
from warehouse.landing import land

AMOUNTS = (1_000_000, 2_500_000, -1, None)
HOUR_MS = 3_600_000
senders = st.sampled_from((*USERS, *VISITORS))


class Senders(LifeBase):
    """Events and identities."""

    # -- events ------------------------------------------------------------------------------------------------------

    @rule(data=st.data(), who=senders, name=st.sampled_from(("buy", "buy", "other")))
    def send(self, data: st.DataObject, who: str, name: str) -> None:
        """Somebody does something, now or earlier, at an edge of a window or of a day."""
        self.step("send")
        self._send(self._said(data, who, name, data.draw(st.sampled_from(beginnings(self.plant.now_ms)))))

    @rule(data=st.data(), who=senders, name=st.sampled_from(("buy", "buy", "identify")))
    def send_over_http(self, data: st.DataObject, who: str, name: str) -> None:
        """The same through the API, whose very next answer knows it."""
        self.step("send_over_http")
        now_ms = self.plant.now_ms
        ts_ms = data.draw(st.sampled_from(beginnings(now_ms)))
        # The API's clock runs: what is late for it and not for the clock that stands would be a matter of chance.
        said = self._said(data, who, name, now_ms if 0 <= ts_ms - now_ms + DEDUP_WINDOW_MS < HOUR_MS else ts_ms)
        self._send(replace(said, way="http"))

    @rule(data=st.data(), who=senders)
    def identify(self, data: st.DataObject, who: str) -> None:
        """Somebody's plan is set, or unset, perhaps by a write that comes late."""
        self.step("identify")
        self._send(self._said(data, who, "identify", data.draw(st.sampled_from(beginnings(self.plant.now_ms)))))

    @rule(data=st.data(), who=senders, older_ms=st.sampled_from((0, 1, HOUR_MS, 5 * 24 * HOUR_MS)))
    def send_late(self, data: st.DataObject, who: str, older_ms: int) -> None:
        """An event as old as the store remembers ids, or older: it waits until somebody has looked for it."""
        self.step("send_late")
        said = self._said(data, who, "buy", self.plant.now_ms - DEDUP_WINDOW_MS - older_ms)
        self._send(replace(said, way="http" if older_ms and data.draw(st.booleans()) else "store"))

    @precondition(lambda self: self._sent())
    @rule(data=st.data())
    def send_again(self, data: st.DataObject) -> None:
        """The same event once more changes nothing; its id with another body is refused."""
        self.step("send_again")
        said = self._sent()[data.draw(st.sampled_from(sorted(self._sent())))]
        event_id = said.event.event_id
        self.concerned = said.event.source_id
        code, seq, _ = self.append(said)
        assert seq in (None, said.event.seq)
        if self.losses and code == "late" and event_id not in self.told.waiting:
            # A store that was lost remembers no more than the ids of the last days.
            assert is_late(said.event, self.plant.now_ms)
            self.told.again[event_id] = False
        else:
            known = "accepted" if said.way == "http" else "duplicate"
            assert code == ("late" if event_id in self.told.waiting else known)
        (answer,) = append(
            self.client, self.plant.project, [Item(event_id, "{}", "another body", said.named)], self.plant.now_ms
        )
        # After the loss of the store nobody remembers the body.
        assert answer.code in ("id_conflict", "duplicate")

    @rule(data=st.data(), count=st.integers(3, 6))
    def send_many(self, data: st.DataObject, count: int) -> None:
        """One user is busy."""
        self.step("send_many")
        for _ in range(count):
            self.send_now(data, "user:ann")

    def say(self, who: str, name: str, ts_ms: int, *weaker: str, **properties: object) -> None:
        """Somebody does something."""
        kind: Kind = "identify" if name == "identify" else "track"
        self._send(Said(self._event(kind, name, who, ts_ms, properties), (who, *weaker)))

    def send_now(self, data: st.DataObject, who: str) -> None:
        """Somebody buys something at this moment."""
        self._send(self._said(data, who, "buy", self.plant.now_ms))

    @rule(data=st.data())
    def load(self, data: st.DataObject) -> None:
        """A bulk load, which ends with its publication."""
        self.step("load")
        now_ms = self.plant.now_ms
        said = [self._said(data, who, "buy", now_ms - 1, way="load") for who in (self.concerned, "external:new")]
        rows = [
            {"event_id": e.event_id, "kind": e.kind, "name": e.name, "source_id": e.source_id, "ts_ms": e.ts_ms,
             "properties": json_text(e.properties)}
            for e in (each.event for each in said)
        ]  # fmt: skip
        landed = land(
            pl.DataFrame(rows),
            project=self.plant.shop.project,
            home=self.plant.shop.home,
            registry=self.plant.shop.registry,
            reserve=lambda count: reserve_seq(self.client, self.plant.project, count, 0),
            received_at_ms=now_ms,
        )
        assert landed.seq_lo is not None
        for seq, each in enumerate(sorted(said, key=lambda s: (s.event.ts_ms, s.event.event_id)), landed.seq_lo):
            self.told.accept(each, seq)
        self.check_tables(self.plant.refresh())

    # -- who is who --------------------------------------------------------------------------------------------------

    @rule(one=st.sampled_from(USERS), other=senders)
    def alias(self, one: str, other: str) -> None:
        """Somebody turns out to be somebody else: an alias may join two users."""
        self.step("alias")
        event = self._event("alias", "alias", one, self.plant.now_ms, {})
        self._send(Said(event, (one,), other.partition(":")[2]))

    @rule(one=st.sampled_from(USERS), other=senders)
    def separate(self, one: str, other: str) -> None:
        """Two identifiers were never one profile."""
        self.step("separate")
        identities = self.told.identities
        seq = unmerge(self.client, self.plant.project, identities, one, other, self.plant.now_ms)
        assert seq in (None, identities.seq)
        theirs = [identities.profile_of(each) for each in (one, other)]
        assert one == other or theirs[0] != theirs[1] or theirs == [None, None]
        self.concerned = other

    @rule(who=senders)
    def erase(self, who: str) -> None:
        """Nobody knows the identifiers of a profile any more, by its id neither; all others are what they were."""
        self.step("erase")
        told, plant = self.told, self.plant
        its_id = told.identities.profile_of(who)
        gone = told.members_of(its_id) if its_id is not None else []
        others = [each for each in EVERYBODY if each not in gone]
        before = [self._seen(each) for each in others]
        seq = erase_identity(self.client, plant.project, told.identities, its_id or "nobody", plant.now_ms)
        assert seq == (told.identities.seq if gone else None)
        assert before == [self._seen(each) for each in others]
        assert [None] * len(gone) == [told.identities.profile_of(each) for each in gone]
        assert [()] * len(gone) == [plant.ask(each).identifiers for each in gone]
        if its_id is not None:
            assert () == plant.ask(its_id).identifiers
        self._check_replay()
        self.concerned = who

    def _seen(self, who: str) -> tuple[object, ...]:
        """All that decisions see of somebody but how new it is."""
        state = self.plant.ask(who)
        values = {key: state.aggregates[key] for key in self.plant.fold.checked.aggregates if key in state.aggregates}
        return state.profile_id, state.identifiers, dict(state.attributes), values

    def _check_replay(self) -> None:
        """Whoever replays the whole log anew finds the same people and the same refusals."""
        identities = self.told.identities
        with self.plant.log() as log:
            around = read_around(log, EVERYBODY)
            assert [identities.profile_of(each) for each in EVERYBODY] == [around.profile_of(e) for e in EVERYBODY]
            assert (identities.seq, identities.conflicts) == (log.seq, around.conflicts)

    # -- pieces ------------------------------------------------------------------------------------------------------

    def _sent(self) -> dict[str, Said]:
        """What its sender may send again, by event id."""
        told = self.told
        sent = {each: said for each, said in told.accepted.items() if said.way in ("store", "http")}
        # Of one that waits again, or that was refused then, the store knows another body, or none.
        unknown = told.refused.union(told.again)
        return {each: said for each, said in (sent | told.waiting).items() if each not in unknown}

    def _said(self, data: st.DataObject, who: str, name: str, ts_ms: int, way: Way = "store") -> Said:
        kind: Kind = "identify" if name == "identify" else "track"
        properties: dict[str, object] = {
            "amount": data.draw(st.sampled_from(AMOUNTS)),
            "label": data.draw(st.sampled_from(("a", "b"))),
        }
        if kind == "identify":
            properties = {"plan": data.draw(st.sampled_from(("gold", "free", None)))}
        names_more = who in USERS and way != "load"
        weaker = data.draw(st.sampled_from(((), (), *((each,) for each in VISITORS)))) if names_more else ()
        return Said(self._event(kind, name, who, ts_ms, properties), (who, *weaker), None, way)

    def _event(self, kind: Kind, name: str, who: str, ts_ms: int, properties: Mapping[str, object]) -> Event:
        self.made += 1
        return Event(f"e{self.made:03}", 0, kind, name, who, ts_ms, ZONE.day(ts_ms), properties)

    def _send(self, said: Said) -> None:
        told, event = self.told, said.event
        self.concerned = event.source_id
        code, seq, its_id = self.append(said)
        assert code == ("late" if is_late(event, self.plant.now_ms) else "accepted")
        if code == "late":
            told.waiting[event.event_id] = said
            return
        assert seq in (None, told.identities.seq + 1)
        told.accept(said, told.identities.seq + 1)
        assert its_id in (None, told.owner(event))
        self.through = told.identities.seq if said.way == "http" else 0

    def append(self, said: Said) -> tuple[str, int | None, str | None]:
        """What a sender is told of an event; its number and its profile are told by the store alone."""
        if said.way == "http":
            return self.front.take(said), None, None
        (answer,) = self.plant.append([said.event], said.named[1:], said.previous)
        return answer.code, answer.seq, answer.profile_id
