"""Compaction: fewer files, the same events, for every reader at every moment."""

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import polars as pl
import pytest

from dsl.identity_records import Linked
from tests.warehouse.bench import Bench
from tests.warehouse.logged import Purchase, land_log_of
from tests.warehouse.small_shop import CATALOG, DAY_MS, NOW_MS, SmallShop, event, open_shop
from warehouse import lake
from warehouse.analytics import publish_analytics
from warehouse.compaction import GRACE_MS, Compaction, compact, finished_cut, groups, published_ms, sweep
from warehouse.database import connect
from warehouse.exceptions import LakeError, RegistryError
from warehouse.records import LakeFile
from warehouse.refresh import open_project
from warehouse.stretches import stretches

LATER_MS = NOW_MS + 2 * GRACE_MS


@pytest.fixture
def shop(tmp_path: Path) -> SmallShop:
    """An empty one."""
    return open_shop(tmp_path / "home", "America/New_York")


@pytest.fixture
def bench(shop: SmallShop) -> Iterator[Bench]:
    """Its warehouse, open."""
    with connect(shop.home.warehouse) as connection:
        open_project(connection, shop.project.key)
        yield Bench(shop, connection)


def land_parts(shop: SmallShop, parts: int, first: int = 1, amount: int = 10) -> int:
    """One purchase of ann's a file, all of one day; the cut."""
    for number in range(parts):
        cut = land_log_of(shop, Purchase(Linked(first + number, "user:ann"), amount))
    return cut


def rows(shop: SmallShop, files: tuple[LakeFile, ...] | None = None) -> list[tuple[object, ...]]:
    """Every event of the lake, by `seq`."""
    listed = shop.registry.files(shop.project.key) if files is None else files
    frames = [pl.read_parquet(file.absolute(shop.home.lake), glob=False) for file in listed]
    return pl.concat(frames, how="diagonal").sort("seq").select("seq", "event_id", "ts_ms", "n_amount").rows()


def on_disk(shop: SmallShop) -> list[str]:
    """Names of the files that are there, hidden ones too."""
    return sorted(path.name for path in (shop.home.lake / "events").rglob("*.parquet"))


def run(shop: SmallShop, cut: int, now_ms: int = NOW_MS) -> Compaction:
    """Compact what a refresh at the cut has seen."""
    return compact(shop.home, shop.registry, shop.project, cut, now_ms)


def test_small_files_of_a_day_become_one(shop: SmallShop) -> None:
    """The same events, sorted, with the columns of all; other days and files with later events stay as they are."""
    land_parts(shop, 5)
    shop.land(event("b", "bob", 40, brand="acme"), event("c", "bob", 41))
    before = rows(shop)
    found = run(shop, 5)
    assert (5, 1, 7, 3) == (found.merged, found.written, found.files_before, found.files_after)
    assert 0 < found.written_bytes < found.merged_bytes
    assert before == rows(shop)
    merged = next(file for file in shop.registry.files(shop.project.key) if file.rows == 5)
    assert (1, 5, ("n_amount",)) == (merged.seq_lo, merged.seq_hi, merged.columns)
    frame = pl.read_parquet(merged.absolute(shop.home.lake), glob=False)
    assert frame.equals(frame.sort(lake.SORTED_BY, maintain_order=True))
    # Three are fewer than are worth it.
    again = run(shop, 7)
    assert (0, 3, 3) == (again.merged, again.files_before, again.files_after)


def test_later_events_stay_where_they_are(shop: SmallShop) -> None:
    """A file with an event after the cut is not merged: no table meets a new event in a merged file."""
    land_parts(shop, 6)
    assert 0 == run(shop, 3).merged
    assert 4 == run(shop, 4).merged
    assert [[5, 6]] == [
        [file.seq_lo for file in held]
        for _, _, held in stretches(partial(shop.registry.files, shop.project.key, 6), 4, 6)
    ]


def test_a_file_that_reaches_around_the_others(shop: SmallShop, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when loads landed while the log went on: it is not written over by a merge that is killed before the swap."""
    land_parts(shop, 5)
    first, *_, last = shop.registry.files(shop.project.key)
    ends = pl.concat([pl.read_parquet(file.absolute(shop.home.lake)) for file in (first, last)])
    around = lake.write_day(shop.home.lake, shop.project.key, first.day, ends)
    shop.registry.replace_files(shop.project.key, [first, last], [around], NOW_MS)
    before = rows(shop)

    def killed(_: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("warehouse.compaction.reached", killed)
        with pytest.raises(KeyboardInterrupt):
            run(shop, 5)
    assert before == rows(shop)
    assert (4, 1) == (run(shop, 5).merged, len(shop.registry.files(shop.project.key)))
    assert before == rows(shop)


def test_which_files_are_merged(shop: SmallShop) -> None:
    """Large ones are not; as many small ones as memory bears; no day with fewer than four."""

    def file(day: int, seq: int, size: int) -> LakeFile:
        return LakeFile("shop", f"{day}/{seq}", day, seq, seq, 1, size, ())

    day = [file(1, seq, 9) for seq in range(1, 8)]
    found = groups([*day, file(1, 8, 10), *(file(2, seq, 1) for seq in range(20, 23))], small_bytes=10)
    assert [["1/1", "1/2"], ["1/3", "1/4"], ["1/5", "1/6"]] == [[file.path for file in group] for group in found]


def test_the_manifest_changes_whole(shop: SmallShop) -> None:
    """Somebody who has compacted meanwhile makes this swap fail, and nothing of it is there."""
    land_parts(shop, 4)
    before = shop.registry.files(shop.project.key)
    made = replace(before[0], path="events/new.parquet")
    shop.registry.replace_files(shop.project.key, before[:1], [made], NOW_MS)
    with pytest.raises(RegistryError, match="1 of 4 files have been replaced meanwhile"):
        shop.registry.replace_files(shop.project.key, before, [replace(made, path="events/x.parquet")], NOW_MS)
    assert {made, *before[1:]} == set(shop.registry.files(shop.project.key))


def test_a_file_that_lacks_events_is_told(shop: SmallShop) -> None:
    """Nothing is merged of a day whose files are not what the manifest says, or are gone."""
    land_parts(shop, 4)
    first, second, *_ = shop.registry.files(shop.project.key)
    kept = first.absolute(shop.home.lake).read_bytes()
    second.absolute(shop.home.lake).write_bytes(kept)
    with pytest.raises(LakeError, match="do not hold what the manifest says"):
        run(shop, 4)
    second.absolute(shop.home.lake).unlink()
    with pytest.raises(LakeError, match="are missing"):
        run(shop, 4)
    assert 4 == len(shop.registry.files(shop.project.key))


def test_old_files_stay_until_nobody_reads_them(shop: SmallShop, bench: Bench) -> None:
    """Not before a refresh that began after the swap is published, nor within the grace period, does a file go."""
    checked = shop.define(CATALOG)
    land_parts(shop, 4)
    bench.run(checked, NOW_MS)
    publish_analytics(bench.connection, shop.home.analytics)
    assert (4, NOW_MS) == (finished_cut(bench.connection), published_ms(shop.home, shop.project.key))
    old = shop.registry.files(shop.project.key)
    assert 0 == run(shop, 4, NOW_MS + 1).swept
    assert 5 == len(on_disk(shop))
    assert 4 == len(bench.rows("SELECT seq FROM events"))
    # Long after, but what analysts read is still of before the swap.
    assert 0 == run(shop, 4, LATER_MS).swept
    with connect(shop.home.analytics, read_only=True) as published:
        assert [(4,)] == published.execute("SELECT count(*) FROM events").fetchall()
    bench.run(checked, NOW_MS + 2)
    publish_analytics(bench.connection, shop.home.analytics)
    # Published anew, but somebody may have read the old manifest a moment ago.
    assert 0 == run(shop, 4, NOW_MS + GRACE_MS).swept
    assert 4 == len(rows(shop, old))
    assert 4 == run(shop, 4, NOW_MS + 1 + GRACE_MS).swept
    assert 1 == len(on_disk(shop))
    assert [] == shop.registry.replaced_files(shop.project.key)
    assert 4 == len(bench.rows("SELECT seq FROM events"))


def test_a_refresh_after_compaction_counts_every_event_once(shop: SmallShop, bench: Bench) -> None:
    """Old and new events, in merged files and beside them, whatever was refreshed when: as counted from nothing."""
    checked = shop.define(CATALOG)
    cut = land_parts(shop, 5)
    bench.run(checked, NOW_MS)
    for step in range(3):
        run(shop, finished_cut(bench.connection))
        cut = land_parts(shop, 4, cut + 1, amount=step)
        # A merged file may be met while a refresh goes on: here between its beginning and its tiles.
        refresh = bench.begin(checked, NOW_MS)
        assert cut == refresh.cut
        bench.run(checked, NOW_MS)
        assert {"ann": cut} == {who: int(n) for who, n in bench.by_user("traits", "orders").items()}
    expected = bench.by_user("traits", "spend")
    run(shop, cut)
    with connect(shop.home.path / "other.duckdb") as connection:
        open_project(connection, shop.project.key)
        anew = Bench(shop, connection)
        anew.run(checked, NOW_MS)
        assert expected == anew.by_user("traits", "spend")


def test_orphans_go(shop: SmallShop) -> None:
    """What a killed process left goes when it is old; not what is being written, whoever writes it."""
    land_parts(shop, 1)
    (file,) = shop.registry.files(shop.project.key)
    folder = file.absolute(shop.home.lake).parent
    old, hidden, young = (folder / name for name in ("part-7-9.parquet", ".part-7-9.parquet", "part-10-11.parquet"))
    for path in (old, hidden, young):
        path.write_bytes(b"")
    long_ago_s = time.time() - 2 * DAY_MS / 1000
    for path in (old, hidden, file.absolute(shop.home.lake)):
        os.utime(path, (long_ago_s, long_ago_s))
    with lake.only_writer(shop.home.lake, shop.project.key):
        assert 0 == sweep(shop.home, shop.registry, shop.project, -1)
    assert 2 == sweep(shop.home, shop.registry, shop.project, -1)
    assert sorted([young.name, file.path.rpartition("/")[2]]) == on_disk(shop)


@pytest.mark.parametrize("place", ["compaction.after_file", "compaction.after_swap", "compaction.before_forget"])
def test_a_killed_compaction_is_done_again(shop: SmallShop, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """Wherever it ends every event is there once, and the next one finishes it."""
    land_parts(shop, 4)
    before = rows(shop)

    def reached(at: str) -> None:
        if at == place:
            raise KeyboardInterrupt

    monkeypatch.setattr("warehouse.compaction.published_ms", lambda *_: LATER_MS)
    with monkeypatch.context() as patch:
        patch.setattr("warehouse.compaction.reached", reached)
        with pytest.raises(KeyboardInterrupt):
            run(shop, 4)
    assert before == rows(shop)
    run(shop, 4)
    run(shop, 4, LATER_MS)
    assert before == rows(shop)
    assert 1 == len(on_disk(shop)) == len(shop.registry.files(shop.project.key))


def test_a_project_that_was_never_published(shop: SmallShop, bench: Bench) -> None:
    """Another project's publication says nothing about its files."""
    shop.define(CATALOG)
    bench.run(shop.define(CATALOG), NOW_MS)
    publish_analytics(bench.connection, shop.home.analytics)
    assert [0, NOW_MS] == [published_ms(shop.home, project) for project in ("outlet", "default")]
