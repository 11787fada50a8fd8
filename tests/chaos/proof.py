"""What has to hold after every round: nothing acknowledged is lost, nothing counts twice, decisions know it all."""

import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import msgspec
import polars as pl

from dsl.identity import Identities
from dsl.identity_records import Linked
from tests.chaos.crowd import USERS, VISITORS, Ledger, canonical
from tests.chaos.town import FLAG, Town
from warehouse import lake
from warehouse.database import connect
from warehouse.records import DeadLetter

_COLUMNS = ("seq", "event_id", "kind", "name", "source_id", "identifiers", "alias", "properties")
_REASON = re.compile(r"\b(ticks|total)\b[^=]*= (\d+)(?:\.0+)? >= 0")
_names = msgspec.json.Decoder(list[str])


@dataclass(slots=True)
class Proof:
    """All that has been seen of the lake so far; each look goes on where the last one ended.

    Attributes:
        seqs: of every event of the lake, by id.
        identities: who is who, replayed from the lake.
        looks: how many profiles were asked about.
    """

    town: Town
    ledger: Ledger
    seqs: dict[str, int] = field(default_factory=dict)
    identities: Identities = field(default_factory=Identities)
    looks: int = 0
    _cut: int = 0
    _ticks: Counter[str] = field(default_factory=Counter)
    _totals: Counter[str] = field(default_factory=Counter)
    _letters: Counter[tuple[str, str]] = field(default_factory=Counter)
    _last_letter: int = 0

    def prove(self, *, everything: bool) -> None:
        """Look at all that is new; the town is at rest.

        Args:
            everything: read the whole lake again, too.
        """
        cut = self.town.until_landed()
        self._take(self._read(self._cut, cut), cut)
        if everything:
            self._read_again(cut)
        self._prove_ledger()
        self._prove_letters()
        self._prove_decisions()

    def prove_tables(self) -> None:
        """What analysts see is the lake up to the published cut."""
        with connect(self.town.home.analytics, read_only=True) as connection:
            ((count, distinct, newest),) = connection.execute(
                "SELECT count(*), count(DISTINCT event_id), max(seq) FROM events"
            ).fetchall()
        expected = sum(seq <= newest for seq in self.seqs.values())
        assert (expected, expected) == (count, distinct)

    def _read(self, after: int, cut: int) -> pl.DataFrame:
        """Events of the lake, by the manifest, with `after < seq <= cut`."""
        files = self.town.registry.files(self.town.project.key, cut, after)
        frame = lake.read_files(self.town.home.lake, files, _COLUMNS)
        if not files:
            return pl.DataFrame(schema=dict.fromkeys(_COLUMNS, pl.String))
        return frame.filter(pl.col("seq") > after, pl.col("seq") <= cut).sort("seq").collect()

    def _take(self, frame: pl.DataFrame, cut: int) -> None:
        """Every number is there once, every id is there once, and it is what was sent first."""
        records = [record.seq for record in self.town.registry.identity_records(self.town.project.key)]
        there = sorted([*frame["seq"].to_list(), *(seq for seq in records if self._cut < seq <= cut)])
        assert list(range(self._cut + 1, cut + 1)) == there, _difference(range(self._cut + 1, cut + 1), there)
        for seq, event_id, kind, name, source_id, identifiers, alias, properties in frame.iter_rows():
            assert event_id not in self.seqs, f"{event_id} has {self.seqs[event_id]} and {seq}"
            number = int(msgspec.json.decode(properties).get("n", 0))
            assert self.ledger.numbers.get(event_id) == number, (
                f"{event_id} ({kind} {name}) was never sent with {number}"
            )
            self.seqs[event_id] = seq
            weaker = () if identifiers is None else tuple(_names.decode(identifiers)[1:])
            self.identities.add(Linked(seq, source_id, weaker, alias))
            if name == "tick":
                self._ticks[source_id] += 1
                self._totals[source_id] += number
        self._cut = cut

    def _read_again(self, cut: int) -> None:
        frame = self._read(0, cut)
        assert len(self.seqs) == frame.height
        assert self.seqs == dict(zip(frame["event_id"], frame["seq"], strict=True))
        files = self.town.registry.files(self.town.project.key)
        assert self.town.registry.events(self.town.project.key) == frame.height == sum(file.rows for file in files)

    def _prove_ledger(self) -> None:
        """Nobody was told that an event is in which is not."""
        lost = self.ledger.acknowledged - self.seqs.keys()
        assert not lost, f"{len(lost)} acknowledged events are lost, among them {sorted(lost)[:5]}"

    def _prove_letters(self) -> None:
        """Every dead letter that a sender was told of is there once, and none that is not one."""
        town = self.town
        while letters := town.registry.dead_letters(
            town.project.key, status=None, after=self._last_letter, limit=1_000
        ):
            self._letters.update((letter.reason, _told(letter)) for letter in letters)
            self._last_letter = letters[-1].id
        twice = [key for key, times in self._letters.items() if times != 1]
        assert not twice, f"dead letters that are there twice: {twice[:3]}"
        lost = self.ledger.rejected - self._letters.keys()
        assert not lost, f"dead letters that were told and are not there: {sorted(lost)[:3]}"
        invented = self._letters.keys() - self.ledger.wrong
        assert not invented, f"dead letters of good events: {sorted(invented)[:3]}"

    def _prove_decisions(self) -> None:
        """Decisions over HTTP count every event of everybody, and know who is who as the lake does."""
        headers = {"authorization": f"Bearer {self.town.keys['read']}"}
        with httpx.Client(base_url=self.town.address, headers=headers, timeout=10) as client:
            for parameter, identifier in self._people():
                profile_id = self.identities.profile_of(identifier)
                if profile_id is None:
                    continue
                value = identifier.partition(":")[2]
                answer = client.get("/v1/decide", params={parameter: value, "flag": FLAG})
                assert answer.status_code == httpx.codes.OK, answer.text
                said = answer.json()
                assert (profile_id, *self._counted(profile_id)) == (said["profileId"], *_counts(said)), identifier
                self.looks += 1

    def _people(self) -> Iterator[tuple[str, str]]:
        yield from (("userId", f"user:{user}") for user in USERS)
        yield from (("anonymousId", f"anon:{visitor}") for visitor in random.Random(self._cut).sample(VISITORS, 12))

    def _counted(self, profile_id: str) -> tuple[int, int]:
        """Ticks of a profile in the lake, and what their numbers add up to."""
        profile = self.identities.profile(profile_id)
        sources: Sequence[str] = list(profile.members) if profile is not None else []
        return sum(self._ticks[source] for source in sources), sum(self._totals[source] for source in sources)


def late_again(event_id: str) -> str:
    """Stands for an event that became a dead letter after it had waited in the late lane."""
    return f"late: {event_id}"


def _told(letter: DeadLetter) -> str:
    if letter.route == "late":
        return late_again(letter.event_id)
    return canonical(msgspec.json.decode(letter.raw))


def _counts(answer: dict[str, Any]) -> tuple[int, int]:
    found = {name: int(value) for reason in answer["reasons"] for name, value in _REASON.findall(reason)}
    return found["ticks"], found["total"]


def _difference(expected: Sequence[int], actual: Sequence[int]) -> str:
    counted = Counter(actual)
    missing = sorted(set(expected) - counted.keys())[:10]
    twice = [seq for seq, times in counted.items() if times > 1][:10]
    return f"numbers of the log that did not land: {missing}; that landed twice: {twice}"
