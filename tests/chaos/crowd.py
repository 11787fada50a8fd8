"""Senders: as the SDKs do, they send a batch again with the same ids until it is answered, and note what they hear."""

import json
import random
import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import httpx

USERS: Final = tuple(f"u{number:02d}" for number in range(36))
HOT: Final = USERS[0]
VISITORS: Final = tuple(f"{user}-v{number}" for user in USERS for number in range(3))
_LATE_DAYS = (8, 9, 11)
_FEW, _MANY = 150, 900
"""Events that a round's senders together want to be told of at least."""
_PAUSE_S = 0.05
"""Between two batches of a sender, on average."""
_LONGEST_S = 20
"""Of a round's load, where little is answered."""
_PATIENCE_S = 15
_WRONG: Final[Mapping[str, Mapping[str, Any]]] = {
    "no_identifier": {"userId": "null"},
    "invalid_type": {"type": "nonsense"},
    "too_late": {"timestamp": "2021-05-05T00:00:00Z"},
}
_PATHS: Final = {"track": "/v1/track", "identify": "/v1/identify", "alias": "/v1/alias"}

Event = dict[str, Any]


@dataclass(slots=True)
class Ledger:
    """What senders sent and what they were told.

    Attributes:
        numbers: of every event that may be accepted, the property `n` of what was sent first; by id.
        acknowledged: ids of those of which a sender knows that they are in.
        rejected: `(code, event as canonical JSON)` of those of which a sender knows that they are not.
        wrong: the same of all that may become dead letters, whoever was answered.
        late: events that were told to wait in the late lane, as they were sent.
    """

    numbers: dict[str, int] = field(default_factory=dict)
    acknowledged: set[str] = field(default_factory=set)
    rejected: set[tuple[str, str]] = field(default_factory=set)
    wrong: set[tuple[str, str]] = field(default_factory=set)
    late: list[Event] = field(default_factory=list)
    counts: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    _sent: list[Event] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note_sent(self, events: Sequence[Event], codes: Sequence[str]) -> None:
        """Events are about to be sent; `codes` why each is wrong, empty where it is not."""
        with self._lock:
            for event, code in zip(events, codes, strict=True):
                if code:
                    self.wrong.add((code, canonical(event)))
                elif event["messageId"] not in self.numbers:
                    self.numbers[event["messageId"]] = number_of(event)
                    self._sent.append(event)

    def note_answer(self, events: Sequence[Event], answer: Mapping[str, Any]) -> None:
        """The sender of these events was answered."""
        refused = {each["index"]: each["code"] for each in answer["rejected"]}
        waiting = {each["index"] for each in answer.get("late", ())}
        with self._lock:
            for place, event in enumerate(events):
                if place in refused:
                    self.rejected.add((refused[place], canonical(event)))
                else:
                    self.acknowledged.add(event["messageId"])
                if place in waiting:
                    self.late.append(event)
            self.counts["answered"] += len(events)
            self.counts["rejected"] += len(refused)
            self.counts["late"] += len(waiting)

    def retire(self, random: random.Random, most: int) -> list[Event]:
        """A few events that have waited in the late lane; from here on no sender sends them again."""
        with self._lock:
            chosen = {event["messageId"]: event for event in random.sample(self.late, min(most, len(self.late)))}
            for kept in (self.late, self._sent):
                kept[:] = [event for event in kept if event["messageId"] not in chosen]
            return list(chosen.values())

    def an_earlier(self, random: random.Random, *, acknowledged: bool) -> Event | None:
        """One that was sent before, and perhaps was acknowledged."""
        with self._lock:
            if not self._sent:
                return None
            event = random.choice(self._sent)
            return event if not acknowledged or event["messageId"] in self.acknowledged else None


def number_of(event: Mapping[str, Any]) -> int:
    """The number that tells an event with an id from another with the same."""
    return int((event.get("properties") or event.get("traits") or {}).get("n", 0))


def canonical(event: Mapping[str, Any]) -> str:
    """The same text for the same event."""
    return json.dumps(event, sort_keys=True)


@dataclass(slots=True)
class Sender:
    """One device that sends; all that it does follows from its seed, but for the time that answers take.

    Attributes:
        is_hot: most of what it sends is about one user, and much of it.
    """

    name: str
    seed: str
    address: str
    key: str
    ledger: Ledger
    is_hot: bool
    failure: BaseException | None = None
    _random: random.Random = field(init=False)
    _made: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(f"{self.seed}/{self.name}")

    def run(self, load_s: float) -> None:
        """Send for so long, or longer if little was answered; what is not answered then is sent again for a while."""
        begin_s = time.monotonic()
        goal = self.ledger.counts["answered"] + (_MANY if self.is_hot else _FEW)
        try:
            with httpx.Client(base_url=self.address, auth=(self.key, ""), timeout=5) as client:
                while (passed_s := time.monotonic() - begin_s) < _LONGEST_S:
                    if passed_s > load_s and self.ledger.counts["answered"] >= goal:
                        return
                    self._send(client, begin_s + _LONGEST_S + _PATIENCE_S)
                    time.sleep(self._random.uniform(0, 2 * _PAUSE_S))
        except (AssertionError, httpx.HTTPError, ValueError, KeyError) as error:
            self.failure = error

    def _send(self, client: httpx.Client, give_up_s: float) -> None:
        events, codes = self._batch()
        self.ledger.note_sent(events, codes)
        # Some never ask again: what became of their events they do not know.
        tries = 1 if self._random.random() < 0.1 else 1_000
        single = len(events) == 1 and events[0].get("type") in _PATHS
        path = _PATHS[events[0]["type"]] if single else "/v1/batch"
        for attempt in range(tries):
            body = events[0] if single else {"batch": events, **_sent_at(events)}
            try:
                answer = client.post(path, json=body)
            except httpx.TransportError:
                self.ledger.counts["not answered"] += 1
            else:
                if answer.status_code == httpx.codes.OK:
                    self.ledger.note_answer(events, answer.json())
                    return
                assert answer.status_code in (429, 500, 502, 503), f"{answer.status_code}: {answer.text}"
                self.ledger.counts[f"answered {answer.status_code}"] += 1
            if time.monotonic() > give_up_s:
                return
            time.sleep(min(0.4, 0.05 * 2**attempt))

    def _batch(self) -> tuple[list[Event], list[str]]:
        """Events, and of each why it is wrong; empty where it is not."""
        sizes = (20, 50) if self.is_hot else (1, 1, 2, 5, 10, 20)
        chosen = [self._one() for _ in range(self._random.choice(sizes))]
        return [event for event, _ in chosen], [code for _, code in chosen]

    def _one(self) -> tuple[Event, str]:
        dice = self._random.random()
        if dice < 0.12 and (earlier := self.ledger.an_earlier(self._random, acknowledged=False)):
            return earlier, ""
        if dice < 0.15 and (earlier := self.ledger.an_earlier(self._random, acknowledged=True)):
            return changed(earlier), "id_conflict"
        event = self._new()
        if dice > 0.97 and event["type"] == "track":
            code = self._random.choice(list(_WRONG))
            event = {name: value for name, value in event.items() if name not in ("userId", "anonymousId")}
            return {"userId": self._user(), **event, **_WRONG[code]}, code
        return event, ""

    def _user(self) -> str:
        return HOT if self._random.random() < (0.85 if self.is_hot else 0.2) else self._random.choice(USERS)

    def _new(self) -> Event:
        self._made += 1
        own = {"messageId": f"{self.seed}-{self.name}-{self._made}"}
        dice, user = self._random.random(), self._user()
        own_visitors = [visitor for visitor in VISITORS if visitor.startswith(user)]
        visitor = self._random.choice(VISITORS if self._random.random() < 0.01 else own_visitors)
        match self._random.choices(("user", "visitor", "both", "identify", "alias"), (70, 12, 8, 7, 3))[0]:
            case "user":
                event: Event = {"type": "track", "userId": user}
            case "visitor":
                event = {"type": "track", "anonymousId": visitor}
            case "both":
                event = {"type": "track", "userId": user, "anonymousId": visitor}
            case "identify":
                traits = {"n": self._made, "email": f"{user}@example.com"}
                event = {"type": "identify", "userId": user, "anonymousId": visitor, "traits": traits}
            case _:
                event = {"type": "alias", "userId": user, "previousId": visitor}
        if event["type"] == "track":
            event |= {"event": "tick", "properties": {"n": self._made}}
        if dice < 0.08:
            return own | event | {"timestamp": _instant(self._random.choice(_LATE_DAYS))}
        return own | event | ({} if dice < 0.3 else {"timestamp": _instant(self._random.choice((0, 0, 0, 1, 3)))})


def crowd(seed: str, count: int, address: str, key: str, ledger: Ledger, *, is_hot: bool) -> list[Sender]:
    """Some senders; their events are told apart by seed and name."""
    return [Sender(f"s{number}", seed, address, key, ledger, is_hot) for number in range(count)]


def changed(event: Event) -> Event:
    """Another event with the same id."""
    held = "traits" if event["type"] == "identify" else "properties"
    return {**event, held: {**event.get(held, {}), "n": number_of(event) + 1_000_000}}


def _sent_at(events: Sequence[Event]) -> dict[str, str]:
    """As the SDKs say when a request was sent; it moves instants a little, which late ones are to keep."""
    today = _instant(0)[:10]
    is_late = any(event.get("timestamp", today) < _instant(_LATE_DAYS[0] - 1) for event in events)
    return {} if is_late else {"sentAt": _instant(0)}


def _instant(days_ago: int) -> str:
    when = datetime.now(UTC) - timedelta(days=days_ago)
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")
