"""Identities in the store: the script follows the replay; what a replay computes is written past no newer record."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import uuid4

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from dsl.identifiers import profile_id
from dsl.identity import Identities, replay
from dsl.identity_records import (
    Change,
    Erasure,
    IdentitySettings,
    Linked,
    Mention,
    Record,
    Reserved,
    SettingsChange,
    Unmerge,
)
from serving.online import (
    Answer,
    Item,
    Refusal,
    append,
    body_digest,
    catch_up,
    delete_project,
    erase_identity,
    publish_identities,
    read_log,
    reserve_seq,
    resolve,
    settings_item,
    unmerge,
)
from serving.online.keys import Keys
from tests.dsl.identity_logs import About, Forget, Judge, Part, Step, record_of, steps
from tests.serving.appended import ANN, BOB, NOW, VISITOR, computed, dump, event, stored

# --- the script is the replay -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sent:
    """A step as it is sent: new, an earlier item again or with another body, late, or out of the late lane."""

    step: Step
    how: str = "new"
    earlier: int = 0
    ends_batch: bool = False


def sendings() -> st.SearchStrategy[list[Sent]]:
    """Logs as senders send them."""
    how = st.sampled_from(["new"] * 7 + ["again", "other", "late"])
    sent = st.builds(Sent, steps(1, 1).map(lambda drawn: drawn[0]), how, st.integers(0, 20), st.booleans())
    return st.lists(sent, min_size=12, max_size=40)


@dataclass
class Model:
    """What must happen: a dictionary of ids, a counter and the replay."""

    known: Identities = field(default_factory=Identities)
    seq: int = 0
    log: list[Record] = field(default_factory=list)
    ids: dict[str, tuple[str, int | None]] = field(default_factory=dict)

    def expected(self, item: Item, step: About | Judge) -> Answer:
        """The answer to an item, which happens."""
        linked = self.known.understand(Mention(0, item.identifiers, item.previous))
        source = linked.source_id if linked else ""
        profile = (self.known.profile_of(source) or profile_id(source)) if source else ""
        if item.event_id in self.ids:
            digest, seq = self.ids[item.event_id]
            code = "id_conflict" if digest != item.digest else "late" if seq is None else "duplicate"
            return Answer(code, seq if code == "duplicate" else None, profile, source)  # type: ignore[arg-type]
        if isinstance(step, About) and not source:
            return Answer("no_identifier", None, "", "")
        if item.is_late:
            self.ids[item.event_id] = (item.digest, None)
            return Answer("late", None, profile, source)
        self.seq += 1
        self.ids[item.event_id] = (item.digest, self.seq)
        outcome = self.known.add(record_of(step, self.seq, self.known))
        self.log.append(outcome.linked if outcome else record_of(step, self.seq, self.known))
        if outcome is None:
            return Answer("accepted", self.seq, "", "")
        told = [
            Refusal(each.reason, each.stronger, each.weaker, each.stronger_profile, each.weaker_profile)
            for each in outcome.conflicts
        ]
        return Answer("accepted", self.seq, outcome.profile_id, outcome.linked.source_id, tuple(told))


def item_of(number: int, sent: Sent, items: Sequence[tuple[Item, About | Judge]]) -> tuple[Item, About | Judge]:
    """What is sent as the item of this number."""
    if sent.how in ("again", "other") and items:
        item, step = items[sent.earlier % len(items)]
        return (item, step) if sent.how == "again" else (replace(item, digest=body_digest("other")), step)
    assert isinstance(sent.step, About | Judge)
    if isinstance(sent.step, Judge):
        return settings_item(f"m-{number}", sent.step.settings), sent.step
    item = event(f"m-{number}", *sent.step.identifiers, previous=sent.step.previous, body=f'{{"number":{number}}}')
    return replace(item, is_late=sent.how == "late"), sent.step


@settings(max_examples=70, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sendings())
def test_the_script_is_the_replay(online: redis.Redis, log: list[Sent]) -> None:
    """Answers, profiles, ids and conflicts of the script are those of the replay, wherever batches end."""
    project, model, caught_up = f"replay-{uuid4().hex[:12]}", Model(), Identities()
    sent_before: list[tuple[Item, About | Judge]] = []
    batch: list[Item] = []
    wanted: list[Answer] = []
    for number, sent in enumerate(log):
        if isinstance(sent.step, Part | Forget):
            assert wanted == append(online, project, batch, NOW)
            batch, wanted = [], []
            record_now(online, project, model, caught_up, sent.step)
            assert stored(online, project) == computed(model.known)
            continue
        item, step = item_of(number, sent, sent_before)
        sent_before.append((item, step))
        batch.append(item)
        wanted.append(model.expected(item, step))
        if sent.ends_batch:
            assert wanted == append(online, project, batch, NOW)
            batch, wanted = [], []
    assert wanted == append(online, project, batch, NOW)
    assert stored(online, project) == computed(model.known)
    catch_up(online, project, caught_up)
    assert model.log == [entry.identity for entry in read_log(online, project, 0)]
    assert past(model.known) == past(caught_up) == past(replay(model.log))
    delete_project(online, project)


def record_now(client: redis.Redis, project: str, model: Model, caught_up: Identities, step: Part | Forget) -> None:
    """Un-merge or erase in the store and in the model."""
    if isinstance(step, Part):
        seq = unmerge(client, project, caught_up, step.one, step.other, NOW)
    else:
        seq = erase_identity(client, project, caught_up, model.known.profile_of(step.identifier) or "nobody", NOW)
    if seq is not None:
        model.seq += 1
        model.log.append(record_of(step, model.seq, model.known))
        model.known.add(model.log[-1])
    assert seq in (None, model.seq)


def past(known: Identities) -> tuple[object, ...]:
    """All that a replay tells."""
    return computed(known), sorted(known.intervals(), key=str), known.conflicts, known.apart, known.settings


# --- publication ------------------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps(5, 25), steps(1, 8))
def test_a_lost_store_is_published_again(online: redis.Redis, log: list[Step], more: list[Step]) -> None:
    """What a replay publishes into an empty store is what appending had made, and appending goes on from there."""
    project, known = f"lost-{uuid4().hex[:12]}", Identities()
    for seq, step in enumerate(log, start=1):
        known.add(record_of(step, seq, known))
    assert [] == publish_identities(online, project, known)
    assert stored(online, project) == computed(known)
    online.set(Keys(project).seq, known.seq)
    for seq, step in enumerate((each for each in more if isinstance(each, About)), start=known.seq + 1):
        item = event(f"m-{seq}", *step.identifiers, previous=step.previous)
        if append(online, project, [item], NOW)[0].seq is None:
            break
        known.add(Mention(seq, step.identifiers, step.previous))
    assert stored(online, project) == computed(known)
    delete_project(online, project)


def test_links_of_a_bulk_load_reach_the_store(online: redis.Redis, project: str) -> None:
    """A profile that a later record has changed is left alone and named; caught up, it is published too."""
    first = reserve_seq(online, project, 10, 0)
    append(online, project, [event("m-1", "user:bob", "device:d"), event("m-2", "anon:z")], NOW)
    bulk: list[Record] = [Linked(first, "user:ann", ("device:d",)), Linked(first + 1, "anon:y")]
    known = replay([*bulk, Reserved(first + 2, 10)])
    assert [ANN] == publish_identities(online, project, known)
    assert profile_id("anon:y") == resolve(online, project, "anon:y")
    assert BOB == resolve(online, project, "device:d")
    assert 12 == catch_up(online, project, known)
    assert [] == publish_identities(online, project, known, [ANN, BOB])
    assert stored(online, project) == computed(known)
    assert [ANN, BOB] == [resolve(online, project, each) for each in ("device:d", "user:bob")]


def test_an_older_publication_changes_nothing(online: redis.Redis, project: str) -> None:
    """Neither profiles nor settings of a replay that is behind overwrite what was appended since."""
    append(online, project, [event("m-1", "anon:a")], NOW)
    old = Identities()
    catch_up(online, project, old)
    strict = IdentitySettings(max_user_ids_per_profile=5)
    append(online, project, [event("m-2", "user:ann", "anon:a"), settings_item("s", strict)], NOW)
    before = dump(online, project)
    old.settings = IdentitySettings(max_user_ids_per_profile=7)
    assert [VISITOR] == publish_identities(online, project, old)
    assert before == dump(online, project)


def test_publication_in_chunks(online: redis.Redis, project: str) -> None:
    """Progress is told after each chunk; retired ids are published too."""
    records: list[Record] = [Linked(seq, f"anon:{seq}") for seq in range(1, 702)]
    known = replay([*records, Linked(702, "user:ann"), Linked(703, "user:ann", ("anon:1",))])
    told: list[int] = []
    publish_identities(online, project, known, progress=told.append)
    assert [500, 701] == told
    assert stored(online, project) == computed(known)


class Interrupted(Identities):
    """Identities during whose first plan something else is appended."""

    def __init__(self, client: redis.Redis, project: str) -> None:
        super().__init__()
        self.meanwhile = [(client, project)]

    def plan(self, record: Unmerge | Erasure) -> Change:
        """As usual, a moment too late."""
        while self.meanwhile:
            append(*self.meanwhile.pop(), [event("between", "user:ann", "device:d")], NOW)
        return super().plan(record)


def test_an_unmerge_on_a_busy_log(online: redis.Redis, project: str) -> None:
    """An un-merge is computed again when something was appended since its replay, and recorded once."""
    append(online, project, [event("1", "anon:a"), event("2", "user:ann"), event("3", "user:ann", "anon:a")], NOW)
    known = Interrupted(online, project)
    assert 5 == unmerge(online, project, known, f"user:{VISITOR}", "user:ann", NOW)
    assert None is unmerge(online, project, known, "user:ann", "anon:a", NOW)
    assert [Linked(4, "user:ann", ("device:d",)), Unmerge(5, "anon:a", "user:ann")] == [
        entry.identity for entry in read_log(online, project, 3)
    ]
    assert stored(online, project) == computed(known)
    assert [ANN, VISITOR, ANN] == [resolve(online, project, each) for each in ("user:ann", "anon:a", "device:d")]


def test_an_unmerge_of_who_was_only_mentioned(online: redis.Redis, project: str) -> None:
    """An identifier that belongs to nobody after an un-merge is gone from the store; the log's clock goes on."""
    append(online, project, [event("1", "user:ann", "device:d")], NOW)
    known = Identities()
    assert 2 == unmerge(online, project, known, "user:ann", "device:d", NOW + 10)
    assert None is resolve(online, project, "device:d")
    assert stored(online, project) == computed(known)
    append(online, project, [event("2", "user:ann")], NOW)
    assert [NOW, NOW + 10, NOW + 10] == [entry.appended_at_ms for entry in read_log(online, project, 0)]


@pytest.mark.parametrize(
    ("known", "meant"),
    [
        ((), "anon:7"),
        (("device:7",), "device:7"),
        (("device:7", "anon:7"), "anon:7"),
        (("device:7", "anon:7", "external:7"), "external:7"),
        (("device:7", "anon:7", "external:7", "user:7"), "user:7"),
    ],
)
def test_what_an_alias_means(online: redis.Redis, project: str, known: tuple[str, ...], meant: str) -> None:
    """`previousId` is tried as user, external, anon, device; unknown, it is an anonymous id."""
    append(online, project, [event(each, each) for each in known], NOW)
    append(online, project, [event("alias", "user:ann", previous="7")], NOW)
    seq = len(known) + 1
    assert [Linked(seq, "user:ann", (), meant)] == [entry.identity for entry in read_log(online, project, seq - 1)]


def test_settings_change_in_the_log(online: redis.Redis, project: str) -> None:
    """A change of settings is a record: what comes after it in the same batch is judged by it."""
    free = IdentitySettings(0, 50, frozenset({"Kiosk"}))
    both = [
        event("1", "user:ann", "anon:a"),
        settings_item("s", free),
        event("2", "user:bob", "anon:a", "device:kiosk"),
    ]
    answers = append(online, project, both, NOW)
    assert [ANN, "", ANN] == [each.profile_id for each in answers]
    identity = [entry.identity for entry in read_log(online, project, 1)]
    assert [SettingsChange(2, free), Linked(3, "user:bob", ("anon:a",))] == identity
