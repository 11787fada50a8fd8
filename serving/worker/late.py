"""The late lane: events that are older than the store's memory are looked up among everything that has landed.

Why no duplicate slips through. While the lock is held nobody else lands. Whatever was appended before the log landed
here is in the lake, and is found there. Whatever is appended from then on leaves its id in the store for the dedup
window at least, and the append script looks there in the step in which it gives a `seq`.

Why nothing is lost. An event leaves the lane in the step that appends it, or once it is known to be in the lake, or as
a dead letter that is on disk. After a crash anywhere else it waits still, and is looked up again; a dead letter is then
counted as met once more.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import redis

from dsl.event_record import read_record
from dsl.failpoints import reached
from dsl.identity_records import IdentitySettings, SettingsChange
from dsl.identity_text import read_identity
from dsl.numbers import read_json
from serving.online.append import RULES, AppendRules, Code, Item, append, drop_late
from serving.online.connection import store_errors
from serving.online.keys import Keys
from serving.online.log import LateEvent, read_late
from serving.worker.landing import GRACE_PERIOD_MS, LogLanding, land_log_alone
from warehouse import lake
from warehouse.landed import LandedEvent, landed_events
from warehouse.records import DeadLetter, Project
from warehouse.registry import Registry
from warehouse.settings import Home

_AT_ONCE = 10_000
"""Events that are looked up together: the lake is read once for all of them."""
_SAME_INSTANT_MS = 60_000
"""What `sentAt` corrects an instant by differs from one sending to the next by the time that a request takes."""
_BATCH = 500
"""Events that are appended in one step."""
_REASONS = {
    "id_conflict": "an event with this id and other content was accepted before, which stays",
    "no_identifier": "the event names nobody: its identifiers are blocked in this project",
}


@dataclass(frozen=True, slots=True)
class LateTaken:
    """What became of events that waited.

    Attributes:
        landing: of the log before they were looked up.
        appended: events that were new.
        duplicates: events that had landed, dropped.
        refused: events that are dead letters now.
    """

    landing: LogLanding
    appended: int
    duplicates: int
    refused: int


def take_late(
    client: redis.Redis,
    home: Home,
    registry: Registry,
    project: Project,
    rules: AppendRules = RULES,
    grace_period_ms: int = GRACE_PERIOD_MS,
) -> LateTaken:
    """Land the log, then append or drop the events that have waited longest in the late lane.

    Raises:
        OnlineStoreError: the store is away, or records of its log are missing.
        LakeError: a file of the lake is missing, so that nobody knows what has landed.
    """
    waiting = read_late(client, project.key, _AT_ONCE)
    with lake.only_writer(home.lake, project.key):
        landing = land_log_alone(client, home, registry, project, grace_period_ms)
        landed = landed_events(home, registry, project, {late.event_id for late in waiting})
        new = [late for late in waiting if late.event_id not in landed]
        answers = _append(client, project, new, rules)
    looks = _Looks(client, project, registry)
    known = [(late, landed[late.event_id]) for late in waiting if late.event_id in landed]
    same = [(late, event.seq) for late, event in known if looks.same(late, event)]
    entries = {late.entry for late, _ in same}
    conflicts = [(late, "id_conflict") for late, _ in known if late.entry not in entries]
    refused = [(late, code) for late, code in zip(new, answers, strict=True) if code in _REASONS]
    if letters := [*refused, *conflicts]:
        registry.add_dead_letters(project.key, [_letter(late, reason) for late, reason in letters])
        reached("late.after_dead_letters")
    drop_late(client, project.key, [*same, *((late, None) for late, _ in letters)], rules)
    appended = answers.count("accepted")
    return LateTaken(landing, appended, len(same) + len(new) - appended - len(refused), len(letters))


def _append(client: redis.Redis, project: Project, new: Sequence[LateEvent], rules: AppendRules) -> list[Code]:
    """Append what was not found; what became of each."""
    codes: list[Code] = []
    for start in range(0, len(new), _BATCH):
        items = [_item(late) for late in new[start : start + _BATCH]]
        reached("late.before_append")
        codes += [answer.code for answer in append(client, project.key, items, project.clock.now_ms(), rules)]
        reached("late.after_append")
    return codes


def _item(late: LateEvent) -> Item:
    said = late.record, late.digest, late.identifiers, late.previous
    return Item(late.event_id, *said, late_entry=late.entry)


def _letter(late: LateEvent, reason: str) -> DeadLetter:
    envelope = {"identifiers": list(late.identifiers), "previousId": late.previous}
    received_at_ms = read_record(late.record).received_at_ms
    return DeadLetter(reason, _REASONS[reason], "$", late.event_id, "late", late.record, received_at_ms, envelope)


class _Looks:
    """Compares events as they were sent with events as they were understood."""

    def __init__(self, client: redis.Redis, project: Project, registry: Registry) -> None:
        self._client, self._keys = client, Keys(project.key)
        self._registry, self._project = registry, project
        self._settings: IdentitySettings | None = None

    def same(self, late: LateEvent, landed: LandedEvent) -> bool:
        """Whether both are of one kind, name and instant, about the same, with the same properties as JSON values."""
        sent = read_record(late.record)
        return (
            (sent.kind, sent.name) == (landed.kind, landed.name)
            and abs(sent.ts_ms - landed.ts_ms) <= _SAME_INSTANT_MS
            and _value(sent.properties) == _value(landed.properties)
            and (self._names(late, landed.alias) == landed.identifiers)
            and self._joins(late, landed)
        )

    def _names(self, late: LateEvent, alias: str | None) -> tuple[str, ...]:
        understood = [self._addressed(name) for name in late.identifiers if not self.settings.blocks(name)]
        return tuple(name for name in dict.fromkeys(understood) if name != alias)

    def _joins(self, late: LateEvent, landed: LandedEvent) -> bool:
        if late.previous is None or landed.alias is None:
            its_own = late.previous in (None, landed.identifiers[0].partition(":")[2])
            return landed.alias is None and (its_own or self.settings.blocks(f"user:{late.previous}"))
        return landed.alias.partition(":")[2] == late.previous

    def _addressed(self, name: str) -> str:
        """A profile id stands for the identifier that the profile began with."""
        kind, _, value = name.partition(":")
        if kind != "user" or len(value) != 36:
            return name
        with store_errors():
            return str(self._client.hget(self._keys.profile(value), "first") or name)

    @property
    def settings(self) -> IdentitySettings:
        """The identity settings in force: everything that made them has landed."""
        if self._settings is None:
            self._settings = IdentitySettings()
            for record in self._registry.identity_records(self._project.key):
                change = read_identity(record.seq, record.type, record.record)
                if isinstance(change, SettingsChange):
                    self._settings = change.settings
        return self._settings


def _value(properties: str) -> str:
    """The JSON value as a text: `true` and a millionth are two."""
    return json.dumps(read_json(properties), sort_keys=True)
