"""The online store: what is published is what is read."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, cast

import pytest
import redis
from msgspec import structs

from dsl.check import check_catalog
from dsl.event_record import EventRecord, write_record
from dsl.identifiers import profile_id
from serving.online import (
    Fold,
    Item,
    OlderPublicationError,
    OnlineStoreError,
    Publication,
    Reading,
    Snapshot,
    append,
    connect,
    connect_async,
    current_catalog,
    delete_project,
    look_up,
    publish_catalog,
    publish_keys,
    reserve_seq,
    resolve,
    snapshot,
)
from serving.online.keys import Keys
from serving.online.steps import Command, Steps
from tests.serving.world import CATALOG, COUNT, now_ms, packed, person, publish, publish_people

ANN = profile_id("user:ann")
CHECKED = check_catalog(CATALOG)
FOLD = Fold(CHECKED)
SNAPSHOT = Snapshot(10, 1_000, 1, 0, "UTC")


def purchases(client: redis.Redis, project: str, who: str) -> object:
    """How often somebody has bought, as a decision sees it."""
    return FOLD.state(look_up(client, project, who), 10_000_000).aggregates[COUNT]


def publish_one(client: redis.Redis, project: str, snapshot: Snapshot, count: int, user: str = "ann") -> None:
    """A publication in which one person has bought so often."""
    publish_people(client, project, snapshot, [person(user, 9_000_000, count)])


def test_nobody_is_empty(online: redis.Redis, project: str) -> None:
    """An unknown profile has no sources and the id that it would get; its state is that of no events."""
    publish_people(online, project, SNAPSHOT, [])
    reading = look_up(online, project, "user:x")
    assert (profile_id("user:x"), []) == (reading.profile_id, reading.sources)
    assert profile_id("user:y") == look_up(online, project, profile_id("user:y")).profile_id
    assert 0 == purchases(online, project, "user:x")


def test_a_user_value_may_be_a_profile_id(online: redis.Redis, project: str) -> None:
    """A `user` value that is a known profile id addresses that profile; of another kind it does not."""
    publish(online, project)
    assert ANN == look_up(online, project, f"user:{ANN}").profile_id
    assert profile_id(f"device:{ANN}") == look_up(online, project, f"device:{ANN}").profile_id


def test_before_anything_is_published(online: redis.Redis, project: str) -> None:
    """An empty store answers: nobody, no snapshot, no catalog."""
    assert Reading(ANN, [], 0, None, None) == look_up(online, project, "user:ann")
    assert (None, None, None) == (
        resolve(online, project, "user:ann"),
        snapshot(online, project),
        current_catalog(online, project),
    )


def test_the_clock_of_the_project(online: redis.Redis, project: str) -> None:
    """Now is the project's, whose offset was published with the snapshot."""
    world = publish(online, project)
    reading = look_up(online, project, "user:ann")
    assert world.snapshot == reading.snapshot
    assert 5_000 <= world.snapshot.age_ms < 60_000
    assert abs(FOLD.state(reading).as_of_ms - now_ms()) < 60_000


def test_now_is_after_everything_known(online: redis.Redis, project: str) -> None:
    """A clock behind the newest event of a profile is not followed."""
    publish_one(online, project, SNAPSHOT, 1)
    assert 9_000_000 - 3_600_000 + 1 == FOLD.state(look_up(online, project, "user:ann"), 5).as_of_ms


@pytest.mark.parametrize("older", [replace(SNAPSHOT, cut=9, as_of_ms=5_000), replace(SNAPSHOT, as_of_ms=999)])
def test_an_older_publication_is_refused(online: redis.Redis, project: str, older: Snapshot) -> None:
    """Neither an older cut nor an older instant of the same cut overwrites anything."""
    publish_one(online, project, SNAPSHOT, 3)
    with pytest.raises(OlderPublicationError, match="already being published"):
        publish_one(online, project, older, 2)
    late = Publication(online, project, older)
    for write in (lambda: late.bases([{"user:ann": b""}]), lambda: late.ranks([(ANN, {})]), lambda: late.end({})):
        with pytest.raises(OlderPublicationError):
            write()
    assert (SNAPSHOT, 3_000_000) == (snapshot(online, project), purchases(online, project, "user:ann"))


def test_a_publication_that_is_overtaken_stops(online: redis.Redis, project: str) -> None:
    """An old publisher that comes late with its next sources writes nothing more, and is not announced."""
    old, new = SNAPSHOT, replace(SNAPSHOT, cut=11, as_of_ms=2_000)
    publication = Publication(online, project, old)
    publication.begin()
    one = packed(person("x", 9_000_000, 1), FOLD, 10)

    def sources() -> Iterator[dict[str, bytes]]:
        yield {f"user:{number}": one for number in range(1_000)}
        # The first thousand are on their way.
        publish_one(online, project, new, 5, "700")
        yield {f"user:{number}": one for number in range(1_000, 1_200)}

    with pytest.raises(OlderPublicationError):
        publication.bases(sources())
    assert new == snapshot(online, project)
    assert 5_000_000 == purchases(online, project, "user:700")
    assert not online.exists(Keys(project).base("user:1100"))


def test_a_publication_that_is_overtaken_as_it_writes(
    online: redis.Redis, project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A newer one that begins after an older one has looked, and before it has written, is seen all the same."""
    old, new = SNAPSHOT, replace(SNAPSHOT, cut=11, as_of_ms=2_000)
    begun: list[bool] = []
    ask = Steps._ask

    def late(steps: Steps, commands: Sequence[Command]) -> list[object]:
        if commands[0] == ("MULTI",) and not begun:
            begun.append(True)
            Publication(online, project, new).begin()
        return ask(steps, commands)

    publication = Publication(online, project, old)
    publication.begin()
    monkeypatch.setattr(Steps, "_ask", late)
    with pytest.raises(OlderPublicationError):
        publication.bases([{"user:ann": packed(person("x", 9_000_000, 1), FOLD, 10)}])
    assert not online.exists(Keys(project).base("user:ann"))


def test_a_publication_goes_on_when_its_connections_are_closed(online: redis.Redis, project: str) -> None:
    """As by a server that was restarted: what was under way is written again."""
    publication = Publication(online, project, SNAPSHOT)
    publication.begin()

    def sources() -> Iterator[dict[str, bytes]]:
        for begin in range(0, 3_000, 500):
            yield {f"user:{number}": str(number).encode() for number in range(begin, begin + 500)}
            if begin == 1_500:
                cast(Any, online).client_kill_filter(_type="normal", skipme=True)

    assert 3_000 == publication.bases(sources())
    keys = Keys(project)
    names = keys.each(keys.base, (f"user:{number}" for number in range(3_000)))
    assert [str(number) for number in range(3_000)] == online.mget(names)


def test_the_same_publication_again(online: redis.Redis, project: str) -> None:
    """A publication that was broken off is finished by doing it again."""
    for _ in range(2):
        publish_one(online, project, SNAPSHOT, 2)
    assert (SNAPSHOT, 2_000_000) == (snapshot(online, project), purchases(online, project, "user:ann"))


def test_progress_counts_sources(online: redis.Redis, project: str) -> None:
    """Progress is told after each chunk and ends at the number of sources."""
    told: list[int] = []
    sources = {f"user:{number}": b"" for number in range(1_050)}
    assert 1_050 == Publication(online, project, SNAPSHOT).bases([sources], told.append)
    assert [500, 1_000, 1_050] == told


def test_large_sources_are_written_a_few_at_a_time(online: redis.Redis, project: str) -> None:
    """What one step writes is bounded in bytes too; a source beyond them goes alone, and each goes once."""
    told: list[int] = []
    sizes = [400_000, 400_000, 400_000, 1, 1, 3_000_000, 1, 999_999, 1]
    batches = [{f"user:{number}": b"x" * size for number, size in enumerate(sizes)}, {}, {"user:last": b"y"}]
    assert 10 == Publication(online, project, SNAPSHOT).bases(batches, told.append)
    assert [3, 6, 8, 9, 10] == told
    keys = Keys(project)
    assert sizes == [online.strlen(keys.base(f"user:{number}")) for number in range(len(sizes))]


def test_an_event_of_a_moment_ago_counts(online: redis.Redis, project: str) -> None:
    """What is appended is in the next answer, before and after a publication takes it into the base, once."""
    publish_one(online, project, replace(SNAPSHOT, cut=0), 2)
    for number in range(3):
        record = EventRecord(f"new-{number}", "track", "purchase", 9_000_000 + number, 9_000_000, 0)
        item = Item(record.event_id, write_record(record), "d", ("user:ann",))
        ((answer),) = append(online, project, [item], 9_000_000)
        assert (3 + number) * 1_000_000 == purchases(online, project, "user:ann")
        assert answer.seq == FOLD.state(look_up(online, project, "user:ann")).as_of_seq
    (source,) = (each for each in look_up(online, project, "user:ann").sources if each.fresh)
    assert [1, 2, 3] == [seq for seq, _ in source.fresh]
    # A publication of the first two of them.
    publish_one(online, project, replace(SNAPSHOT, cut=2), 4)
    assert 5_000_000 == purchases(online, project, "user:ann")
    publish_one(online, project, replace(SNAPSHOT, cut=3), 5)
    assert 5_000_000 == purchases(online, project, "user:ann")
    assert not online.exists(Keys(project).fresh("user:ann"))


def test_an_event_that_the_base_has_is_counted_once(online: redis.Redis, project: str) -> None:
    """Of the fresh events of a reading those up to the cut of the base are passed over, whoever left them there."""
    publish_one(online, project, replace(SNAPSHOT, cut=2), 2)
    reading = look_up(online, project, "user:ann")
    record = write_record(EventRecord("e", "track", "purchase", 9_000_000, 9_000_000, 0)).encode()
    for seqs, count in (((1, 2), 2), ((2, 3), 3), ((3, 4), 4)):
        fresh = [(seq, record) for seq in seqs]
        seen = structs.replace(
            reading, sources=[structs.replace(source, fresh=fresh) for source in reading.sources if source.base]
        )
        assert count * 1_000_000 == FOLD.state(seen, 10_000_000).aggregates[COUNT]


def test_an_identify_of_a_moment_ago_counts(online: redis.Redis, project: str) -> None:
    """The newest write of an attribute wins, in the base or fresh; null unsets."""
    publish(online, project)

    def write(event_id: str, ts_ms: int, properties: str) -> object:
        record = EventRecord(event_id, "identify", "identify", ts_ms, ts_ms, 0, properties)
        append(online, project, [Item(event_id, write_record(record), "d", ("user:ann",))], now_ms())
        return FOLD.state(look_up(online, project, "user:ann")).attributes

    assert {"plan": "gold", "n": 1_500_000} == write("old", 1_000, '{"plan": "free", "n": 1.50}')
    assert {"plan": "silver", "n": 1_500_000} == write("new", now_ms(), '{"plan": "silver"}')
    assert {"plan": "silver"} == write("unset", now_ms() + 1, '{"n": null}')


def test_a_retired_id_leads_to_its_profile(online: redis.Redis, project: str) -> None:
    """After a merge both profile ids and all identifiers read the sources of both."""
    for number, named in enumerate((("anon:a",), ("user:ann",), ("user:ann", "anon:a"))):
        record = EventRecord(f"e{number}", "track", "purchase", 9_000_000, 9_000_000, 0)
        append(online, project, [Item(record.event_id, write_record(record), "d", named)], 9_000_000)
    for who in ("anon:a", "user:ann", ANN, profile_id("anon:a")):
        assert 3_000_000 == purchases(online, project, who)
        assert ANN == look_up(online, project, who).profile_id


def test_a_load_is_announced_until_it_is_published(online: redis.Redis, project: str) -> None:
    """From the reservation of its range to the end of a publication that contains it."""
    first = reserve_seq(online, project, 5, 0)
    assert look_up(online, project, "user:ann").is_loading
    publish_one(online, project, replace(SNAPSHOT, cut=first), 1)
    assert look_up(online, project, "user:ann").is_loading
    publish_one(online, project, replace(SNAPSHOT, cut=first + 4), 1)
    assert not look_up(online, project, "user:ann").is_loading


def test_reserved_ranges_never_meet(valkey_url: str, online: redis.Redis, project: str) -> None:
    """Ranges reserved by many at once are disjoint and without gaps."""

    def reserve(_: int) -> list[int]:
        client = connect(valkey_url)
        firsts = [reserve_seq(client, project, 7, 0) for _ in range(50)]
        client.close()
        return firsts

    with ThreadPoolExecutor(4) as pool:
        firsts = sorted(first for found in pool.map(reserve, range(4)) for first in found)
    assert list(range(1, 1_400, 7)) == firsts


def test_a_lost_counter_starts_above_the_floor(online: redis.Redis, project: str) -> None:
    """The counter never falls behind what the lake holds, nor behind itself."""
    assert [1_001, 1_006, 1_011] == [reserve_seq(online, project, 5, floor) for floor in (1_000, 0, 1_010)]


def test_catalog_versions(online: redis.Redis, project: str) -> None:
    """The version published last is the current one, also when it is an older one."""
    publish_catalog(online, project, 1, CATALOG.to_document())
    publish_catalog(online, project, 2, replace(CATALOG, flags=()).to_document())
    assert 2 == look_up(online, project, "user:ann").catalog_version
    publish_catalog(online, project, 1, CATALOG.to_document())
    assert 1 == look_up(online, project, "user:ann").catalog_version
    document = current_catalog(online, project)
    assert document is not None
    assert CATALOG.digest() == type(CATALOG).from_document(document).digest()


def test_publishing_keys_replaces_all(online: redis.Redis, project: str) -> None:
    """A key that is no longer in the registry is gone; none at all is possible."""
    publish_keys(online, project, {"a": "read", "b": "write"})
    publish_keys(online, project, {"b": "write"})
    assert {"b": "write"} == online.hgetall(Keys(project).api_keys)
    publish_keys(online, project, {})
    assert {} == online.hgetall(Keys(project).api_keys)


def test_deleting_a_project_touches_no_other(online: redis.Redis, project: str) -> None:
    """Only keys with the hash tag of the project go, also when its name looks like a pattern."""
    other, pattern = f"{project}-2", f"{project}*"
    for each in (project, other, pattern):
        publish(online, each)
    # Three people with a base, a profile and two identifiers each, and what a project has once.
    assert 3 * 4 + 8 == delete_project(online, pattern)
    assert 4_000_000 == purchases(online, other, "user:ann")
    delete_project(online, project)
    assert [] == list(online.scan_iter(match=f"{{{project}}}:*"))
    assert 4_000_000 == purchases(online, other, "user:ann")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://me:secret@127.0.0.1:1/0", r"^the online store at redis://127\.0\.0\.1:1/0 does not answer \(.+\): "),
        ("unix:///nowhere/at/all.sock", r"^the online store at unix:///nowhere/at/all\.sock does not answer \(.+\): "),
        ("localhost:6379", r"^the given address is no address of a store: TINYCDP_REDIS_URL looks like "),
        ("http://me:secret@x/", r"^http://x/ is no address of a store: TINYCDP_REDIS_URL looks like "),
    ],
)
def test_a_store_that_is_not_there(url: str, said: str) -> None:
    """An address where nobody answers is refused in one sentence that names it and no password."""
    with pytest.raises(OnlineStoreError, match=said) as caught:
        connect(url)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_asynchronous_client_needs_an_address_too() -> None:
    """What cannot be an address is refused before the first request."""
    with pytest.raises(OnlineStoreError, match="no address of a store"):
        _ = connect_async("localhost")
