"""Appending to the log, on a real server: each event once, in order, at once where it is looked for."""

import asyncio
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
from msgspec.structs import replace

from dsl.check import check_catalog
from dsl.event_record import EventRecord, write_record
from dsl.identifiers import profile_id
from dsl.identity import Identities, replay
from dsl.identity_records import (
    IdentitySettings,
    Linked,
    Reserved,
)
from serving.online import (
    Answer,
    Fold,
    Item,
    OnlineAppender,
    OnlineStoreError,
    Refusal,
    Snapshot,
    append,
    catch_up,
    connect,
    connect_async,
    drop_late,
    embedded,
    erase_identity,
    look_up,
    publish_identities,
    read_late,
    read_log,
    reserve_seq,
    resolve,
    settings_item,
    unmerge,
)
from serving.online.append import _APPEND, RULES, _Request
from serving.online.chunks import HOT, ChunkFolding
from serving.online.keys import Keys
from serving.online.store import announce_cut
from tests.serving.appended import ANN, NOW, VISITOR, computed, dump, event, stored
from tests.serving.world import CATALOG, COUNT, person, publish_people

# --- one event after the other ----------------------------------------------------------------------------------------


def test_an_event_is_in_the_log_and_among_the_fresh(online: redis.Redis, project: str) -> None:
    """An accepted event has a `seq`, a source and a profile, and is at once where a decision looks."""
    record = '{"name":"purchase","text":"\u20ac \\" \\u0000"}'
    item = event("m-1", "user:ann", "anon:a", body=record)
    assert [Answer("accepted", 1, ANN, "user:ann")] == append(online, project, [item], NOW)
    [entry] = read_log(online, project, 0)
    assert (1, NOW, "m-1", record) == (entry.seq, entry.appended_at_ms, entry.event_id, entry.record)
    assert (Linked(1, "user:ann", ("anon:a",)), ()) == (entry.identity, entry.conflicts)
    assert [("1-0", {"record": record})] == online.xrange(Keys(project).fresh("user:ann"))
    assert [ANN, ANN] == [resolve(online, project, who) for who in ("user:ann", "anon:a")]


def test_the_same_event_again_is_counted_once(online: redis.Redis, project: str) -> None:
    """The same id with the same body has the `seq` of the first, also inside one batch; nothing changes."""
    first = [event("m-1", "user:ann"), event("m-2", "anon:a"), event("m-1", "user:ann")]
    answers = append(online, project, first, NOW)
    assert [("accepted", 1), ("accepted", 2), ("duplicate", 1)] == [(each.code, each.seq) for each in answers]
    before = dump(online, project)
    again = append(online, project, first, NOW + 5)
    assert [("duplicate", 1), ("duplicate", 2), ("duplicate", 1)] == [(each.code, each.seq) for each in again]
    assert [each.profile_id for each in answers] == [each.profile_id for each in again]
    assert before == dump(online, project)


def test_a_reply_that_was_lost(online: redis.Redis, project: str) -> None:
    """Whoever did not hear the answer sends the batch again and gets each `seq` and profile that was given."""
    batch = [event(f"m-{number}", f"user:{number}", "device:d") for number in range(50)]
    request = _Request.of(project, batch, NOW)
    unheard: Any = online.connection_pool.get_connection()
    unheard.send_command("EVAL", _APPEND, len(request.keys), *request.keys, *request.arguments)
    unheard.disconnect()
    online.connection_pool.release(unheard)
    while online.xlen(Keys(project).log) < len(batch):
        time.sleep(0.005)
    heard = append(online, project, batch, NOW)
    assert [("duplicate", seq) for seq in range(1, 51)] == [(each.code, each.seq) for each in heard]
    assert [resolve(online, project, each.identifiers[0]) for each in batch] == [each.profile_id for each in heard]
    assert 50 == len(list(read_log(online, project, 0)))


def test_the_same_id_with_another_body(online: redis.Redis, project: str) -> None:
    """The first body wins; the other has no `seq`, however often it comes."""
    append(online, project, [event("m-1", "user:ann")], NOW)
    other = event("m-1", "user:ann", body='{"amount":1}')
    assert [Answer("id_conflict", None, ANN, "user:ann")] * 2 == append(online, project, [other, other], NOW)
    assert 1 == len(list(read_log(online, project, 0)))


def test_nobody(online: redis.Redis, project: str) -> None:
    """An event without an identifier that is left has no `seq`, and its id is free for one that has."""
    append(online, project, [settings_item("s", IdentitySettings(blocked_values=frozenset({"Kiosk"})))], NOW)
    answers = append(online, project, [event("m-1"), event("m-1", "device:KIOSK"), event("m-1", "anon:a")], NOW)
    assert ["no_identifier", "no_identifier", "accepted"] == [each.code for each in answers]
    assert [1, 2] == [entry.seq for entry in read_log(online, project, 0)]


def test_ids_are_forgotten_after_the_window(online: redis.Redis, project: str) -> None:
    """An event id is kept for the window and a day more."""
    append(online, project, [event("m-1", "user:ann")], NOW)
    assert 8 * 86_400 - 5 <= online.ttl(Keys(project).event("m-1")) <= 8 * 86_400


def test_the_clock_never_goes_back(online: redis.Redis, project: str) -> None:
    """`appended_at` is the caller's now, but never less than that of the record before."""
    for number, now in enumerate((NOW, NOW - 10_000, NOW + 1)):
        append(online, project, [event(f"m-{number}", "user:ann")], now)
    assert [NOW, NOW, NOW + 1] == [entry.appended_at_ms for entry in read_log(online, project, 0)]


def test_a_refused_link_is_told_and_logged(online: redis.Redis, project: str) -> None:
    """The answer and the log's entry name the reason, the identifiers and their profiles."""
    events = [event("1", "user:ann", "anon:a"), event("2", "user:bob", "anon:a")]
    answers = append(online, project, events, NOW)
    assert (Refusal("users", "user:bob", "anon:a", "", ANN),) == answers[1].refusals
    [conflict] = next(read_log(online, project, 1)).conflicts
    assert ("users", "user:bob", "anon:a", "", ANN) == (
        conflict.reason,
        conflict.stronger,
        conflict.weaker,
        conflict.stronger_profile,
        conflict.weaker_profile,
    )


def test_a_hundred_identifiers(online: redis.Redis, project: str) -> None:
    """The hundredth is let in, the next is refused."""
    answers = append(online, project, [event(f"{n}", "user:ann", f"anon:{n}") for n in range(1, 101)], NOW)
    assert [100] == [place for place, each in enumerate(answers, start=1) if each.refusals]
    assert 100 == len(stored(online, project)[0][ANN].members)


def test_a_batch_of_nothing(online: redis.Redis, project: str) -> None:
    """No items, no answers, no keys."""
    assert [] == append(online, project, [], NOW)
    assert {} == dump(online, project)


def test_numbers_stay_whole(online: redis.Redis, project: str) -> None:
    """A `seq` beyond 2^50 and an instant beyond 10^14 are written digit by digit."""
    online.set(Keys(project).seq, 2**50)
    answers = append(online, project, [event("m-1", "user:ann", "anon:a")], 10**14 + 1)
    assert 2**50 + 1 == answers[0].seq
    [entry] = read_log(online, project, 0)
    assert (2**50 + 1, 10**14 + 1) == (entry.seq, entry.appended_at_ms)
    assert 2**50 + 1 == stored(online, project)[0][ANN].since_seq


# --- the late lane ----------------------------------------------------------------------------------------------------


def test_a_late_event_waits(online: redis.Redis, project: str) -> None:
    """An old event waits without a `seq`, once; checked, it is appended and leaves the lane in the same step."""
    late = replace(event("m-1", "user:ann", "anon:a", previous="x"), is_late=True)
    assert [Answer("late", None, ANN, "user:ann")] * 2 == append(online, project, [late, late], NOW)
    assert [] == list(read_log(online, project, 0))
    [waiting] = read_late(online, project)
    assert ("m-1", ("user:ann", "anon:a"), "x", "{}") == (
        waiting.event_id,
        waiting.identifiers,
        waiting.previous,
        waiting.record,
    )
    checked = Item(
        waiting.event_id,
        waiting.record,
        waiting.digest,
        waiting.identifiers,
        waiting.previous,
        late_entry=waiting.entry,
    )
    assert [Answer("accepted", 1, ANN, "user:ann")] == append(online, project, [checked], NOW)
    assert [] == read_late(online, project)
    assert ["duplicate", "duplicate"] == [each.code for each in append(online, project, [checked, late], NOW)]


def test_a_waiting_event_keeps_its_id(online: redis.Redis, project: str) -> None:
    """While it waits, the same event is `late` whatever its clock says, and another body is a conflict."""
    late = replace(event("m-1", "user:ann"), is_late=True)
    append(online, project, [late], NOW)
    others = [replace(late, is_late=False), event("m-1", "user:ann", body="[]")]
    assert ["late", "id_conflict"] == [each.code for each in append(online, project, others, NOW)]
    assert 1 == len(read_late(online, project))


def test_a_duplicate_leaves_the_lane(online: redis.Redis, project: str) -> None:
    """What turns out to have landed long ago is dropped."""
    append(online, project, [replace(event("m-1", "user:ann"), is_late=True)], NOW)
    waiting = [(each, 7) for each in read_late(online, project)]
    assert [1, 0, 0] == [drop_late(online, project, some) for some in (waiting, waiting, [])]
    again = append(online, project, [replace(event("m-1", "user:ann"), is_late=True)], NOW)
    assert [("duplicate", 7)] == [(each.code, each.seq) for each in again]


# --- order, batches, servers ------------------------------------------------------------------------------------------


def test_many_at_once(valkey_url: str, online: redis.Redis, project: str) -> None:
    """Many clients at once: every event has its own `seq`, without holes, and the log replays to what the store has."""

    def send(client_number: int) -> None:
        client = connect(valkey_url)
        for number in range(20):
            batch = [event(f"{number}-{n}", f"user:{n % 7}", f"anon:{(n + client_number) % 5}") for n in range(10)]
            append(client, project, batch, NOW)
        client.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(send, range(4)))
    entries = list(read_log(online, project, 0))
    assert list(range(1, 201)) == [entry.seq for entry in entries]
    assert 200 == len({entry.event_id for entry in entries})
    assert stored(online, project) == computed(replay(entry.identity for entry in entries))


def test_a_server_that_forgot_the_script(online: redis.Redis, project: str) -> None:
    """A server that was restarted gets the script again by itself."""
    append(online, project, [event("m-1", "user:ann")], NOW)
    online.script_flush()
    assert 2 == append(online, project, [event("m-2", "user:ann")], NOW)[0].seq


def test_servers_that_take_one_id_at_a_time(valkey_url: str, online: redis.Redis, project: str) -> None:
    """A server without MSETEX (before Valkey 9.1 and Redis 8.4) knows each id all the same, and for as long."""
    keys, old = Keys(project), f"old-{project}"
    online.acl_setuser(old, enabled=True, nopass=True, keys=["*"], commands=["+@all", "-msetex"])
    try:
        with redis.Redis.from_url(valkey_url, username=old, password="any", decode_responses=True) as before:
            append(before, project, [event("m-1", "user:ann"), event("m-2", "anon:a")], NOW)
        kept_ms = [int(online.pttl(keys.event(each))) for each in ("m-1", "m-2")]
        assert all(RULES.keep_ms - 60_000 < each <= RULES.keep_ms for each in kept_ms)
        assert ["1", "2"] == [str(online.get(keys.event(each))).partition(":")[0] for each in ("m-1", "m-2")]
    finally:
        online.acl_deluser(old)


def test_without_blocking(valkey_url: str, online: redis.Redis, project: str) -> None:
    """The asynchronous appender gives the same answers."""

    async def send() -> list[Answer]:
        client = connect_async(valkey_url)
        answers = await OnlineAppender(client, project).append([event("m-1", "user:ann")], NOW)
        await client.aclose()
        return answers

    assert [Answer("accepted", 1, ANN, "user:ann")] == asyncio.run(send())


def test_a_failure_half_way(online: redis.Redis, project: str) -> None:
    """Should the script fail in the middle of a batch, no number is given twice: what comes later has its place."""
    broken = replace(event("m-2", "user:ann"), record=None)
    with pytest.raises(OnlineStoreError):
        append(online, project, [event("m-1", "user:ann"), broken], NOW)
    assert 3 == append(online, project, [event("m-3", "user:ann")], NOW)[0].seq


def test_reserved_numbers_are_in_the_log(online: redis.Redis, project: str) -> None:
    """A range reserved for a bulk load is an entry of its own: the gap it leaves is no loss."""
    append(online, project, [event("m-1", "user:ann")], NOW)
    assert 2 == reserve_seq(online, project, 1_000, 0)
    assert 1_002 == append(online, project, [event("m-2", "user:ann")], NOW)[0].seq
    assert [Linked(1, "user:ann"), Reserved(2, 1_001), Linked(1_002, "user:ann")] == [
        entry.identity for entry in read_log(online, project, 0)
    ]
    known = Identities()
    assert 1_002 == catch_up(online, project, known)


def test_a_trimmed_log_is_noticed(online: redis.Redis, project: str) -> None:
    """A replay that ends before the log begins is told so, and not continued over the hole."""
    append(online, project, [event(f"{n}", "user:ann") for n in range(5)], NOW)
    online.xtrim(Keys(project).log, minid="4-0", approximate=False)
    with pytest.raises(OnlineStoreError, match="begins at 4, the identities end at 0"):
        catch_up(online, project, Identities())


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[redis.Redis]:
    """A client of a server in cluster mode that has all slots."""
    folder = tmp_path_factory.mktemp("cluster")
    port = free_port()
    options = {"port": port, "cluster-port": free_port(), "cluster-enabled": "yes", "save": "", "dir": folder}
    command = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    with subprocess.Popen([str(embedded.server_binary()), *command], stdout=subprocess.DEVNULL) as server:
        try:
            client = client_of(port)
            ask: Any = client.execute_command
            ask("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            while "cluster_state:ok" not in ask("CLUSTER", "INFO"):
                time.sleep(0.02)
            yield client
            client.close()
        finally:
            server.terminate()


def free_port() -> int:
    """A TCP port that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        found: int = probe.getsockname()[1]
    return found


def client_of(port: int) -> redis.Redis:
    """A client of the server that is about to listen there."""
    for _ in range(500):
        try:
            return connect(f"redis://127.0.0.1:{port}/0")
        except OnlineStoreError:
            time.sleep(0.02)
    raise AssertionError("the server did not start")


def test_a_cluster_answers(cluster: redis.Redis, project: str) -> None:
    """In cluster mode too: events, a publication, a chunk and what a decision reads are of one slot."""
    fold = Fold(check_catalog(CATALOG))
    publish_people(cluster, project, Snapshot(0, 0, 1, 0, "UTC"), [person("ann", NOW - 3_600_000, 2)])
    records = [EventRecord(f"e{n}", "track", "purchase", NOW, NOW, NOW // 86_400_000) for n in range(HOT + 2)]
    append(cluster, project, [Item(r.event_id, write_record(r), "d", ("user:ann",)) for r in records], NOW)
    assert ["user:ann"] == ChunkFolding(cluster, project, 1, fold).fold_hot(["user:ann"], HOT)
    announce_cut(cluster, project, HOT)
    reading = look_up(cluster, project, "user:ann")
    assert (2 + HOT + 2) * 1_000_000 == fold.state(reading, NOW + 1).aggregates[COUNT]
    assert 2 == sum(len(source.fresh) for source in reading.sources)


def test_a_cluster_takes_it(cluster: redis.Redis, project: str) -> None:
    """In cluster mode, where a script may touch one slot only: append, late lane, reserve, un-merge, erase, publish."""
    late = replace(event("l", "user:old"), is_late=True)
    items = [event("1", "anon:a"), event("2", "user:ann"), event("3", "user:ann", "anon:a"), event("4", "anon:b"), late]
    assert ["accepted"] * 4 + ["late"] == [each.code for each in append(cluster, project, items, NOW)]
    reserve_seq(cluster, project, 10, 0)
    known = Identities()
    assert 15 == unmerge(cluster, project, known, "user:ann", "anon:a", NOW)
    assert 16 == erase_identity(cluster, project, known, profile_id("anon:b"), NOW)
    assert [] == publish_identities(cluster, project, known)
    assert stored(cluster, project) == computed(known)
    assert {VISITOR: {"anon:a": 1}, ANN: {"user:ann": 2}} == {
        key: profile.members for key, profile in stored(cluster, project)[0].items()
    }
