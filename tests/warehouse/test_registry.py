"""The registry keeps projects, keys, catalog versions and the manifest, whoever writes at once."""

import multiprocessing
from collections.abc import Iterator
from pathlib import Path

import pytest

from dsl import apikeys
from warehouse.exceptions import RegistryError, UnknownProject
from warehouse.records import CatalogVersion, DeadLetter, LakeFile
from warehouse.registry import Registry

CATALOG = {"traits": [{"key": "orders", "expression": "events.purchase.count"}], "payload": {"share": 0.25}}


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    """A registry with one project, `shop`, in a file of its own."""
    with Registry(f"sqlite:///{tmp_path}/home/registry.db") as made:
        made.create_project("shop", "America/New_York", clock_offset_ms=1_000)
        yield made


def lake_file(seq_lo: int, seq_hi: int) -> LakeFile:
    """A manifest row; there is no such file on disk."""
    path = f"events/project=shop/day=2017-01-01/part-{seq_lo}-{seq_hi}.parquet"
    return LakeFile("shop", path, 17_167, seq_lo, seq_hi, seq_hi - seq_lo + 1, 4_096, ("n_amount", "s_brand"))


def test_a_project_is_read_back(registry: Registry, tmp_path: Path) -> None:
    """A project is the same for every process that opens the registry, with its clock and calendar."""
    with Registry(f"sqlite:///{tmp_path}/home/registry.db") as other:
        shop = other.project("shop")
    assert registry.projects() == (shop,)
    assert ("America/New_York", 1_000) == (shop.zone.name, shop.clock.offset_ms)


@pytest.mark.parametrize("key", ["", "Shop", "a/b", "{a}", "-a", "a" * 64, "..", "a\n"])
def test_project_keys_are_plain(registry: Registry, key: str) -> None:
    """A project key that could not name a folder and a Redis key is refused."""
    with pytest.raises(RegistryError, match="not allowed"):
        registry.create_project(key)


def test_refused_projects(registry: Registry) -> None:
    """A key that is taken, an unknown zone and an unknown project are named in one sentence."""
    with pytest.raises(RegistryError, match="`shop` is there already"):
        registry.create_project("shop")
    with pytest.raises(RegistryError, match="`Mars/Base` is not known"):
        registry.create_project("mars", "Mars/Base")
    with pytest.raises(UnknownProject, match="no project `sho`: there are `shop`"):
        registry.project("sho")
    with pytest.raises(UnknownProject, match="no project `sho`"):
        registry.create_key("sho", "read")


def test_a_key_is_shown_once(registry: Registry, tmp_path: Path) -> None:
    """The key is in the answer of `create_key` only: the registry's files hold its SHA-256."""
    made = registry.create_key("shop", "write", "website")
    assert "write" == apikeys.kind_of(made.plain)
    assert apikeys.digest(made.plain) == made.key.digest
    assert (made.key,) == registry.keys("shop")
    assert made.plain not in repr(made)
    stored = b"".join(path.read_bytes() for path in (tmp_path / "home").iterdir())
    assert made.key.digest.encode() in stored
    assert made.plain[7:37].encode() not in stored


def test_a_revoked_key_stays_listed(registry: Registry) -> None:
    """Revoking ends a key once: the second time changes nothing, and the key stays in the list."""
    key = registry.create_key("shop", "read").key
    ended = registry.revoke_key(key.id)
    assert (True, False) == (key.is_active, ended.is_active)
    assert ended == registry.revoke_key(key.id) == registry.keys("shop")[0]
    with pytest.raises(RegistryError, match="no key 4711"):
        registry.revoke_key(4711)


def test_a_catalog_is_saved_once(registry: Registry) -> None:
    """A document equal to the current one makes no version; an older one does, because order is history."""
    saved = [registry.save_catalog("shop", {**CATALOG, "digest": d}, d) for d in ("a", "a", "b", "a")]
    assert [(1, True), (1, False), (2, True), (3, True)] == [(v.number, v.created) for v in saved]
    assert [3, 2, 1] == [version.number for version in registry.catalog_versions("shop")]
    assert (3, {**CATALOG, "digest": "a"}) == registry.current_catalog("shop")
    assert registry.current_catalog("other") is None


def test_files_by_cut(registry: Registry) -> None:
    """The manifest gives the files that hold something at or below the cut."""
    first, second = lake_file(1, 10), lake_file(11, 30)
    registry.add_files([first, second])
    assert [(), (first,), (first, second), (first, second)] == [registry.files("shop", c) for c in (0, 10, 11, None)]
    assert (30, 0) == (registry.max_seq("shop"), registry.max_seq("other"))


def test_files_come_whole_and_in_order(registry: Registry) -> None:
    """Files that reach below what has landed are refused, together with all that came with them."""
    registry.add_files([lake_file(1, 10)])
    with pytest.raises(RegistryError, match="up to seq 10"):
        registry.add_files([lake_file(11, 12), lake_file(10, 10)])
    assert (lake_file(1, 10),) == registry.files("shop")


def test_a_deleted_project_leaves_nothing(registry: Registry) -> None:
    """After `delete_project` its key is free, and the new project has none of the old one's keys, catalogs, files."""
    registry.create_project("other")
    registry.save_catalog("other", CATALOG, "a")
    registry.create_key("shop", "read")
    registry.save_catalog("shop", CATALOG, "a")
    registry.add_files([lake_file(1, 10)])
    registry.delete_project("shop")
    registry.create_project("shop")
    assert ((), (), ()) == (registry.keys("shop"), registry.files("shop"), registry.catalog_versions("shop"))
    assert (1, CATALOG) == registry.current_catalog("other")


def test_reading_waits_for_nobody(registry: Registry, tmp_path: Path) -> None:
    """While one process is writing, others read the state before it, at once."""
    with Registry(f"sqlite:///{tmp_path}/home/registry.db") as other, other._engine.begin() as writing:
        writing.exec_driver_sql("DELETE FROM projects")
        assert "shop" == registry.project("shop").key


def test_many_processes_at_once(tmp_path: Path) -> None:
    """Eight processes that make the registry, a project and a key, save the same catalog, then one of their own.

    They agree on one project; the same catalog is one version; the others have a version each.
    """
    url = f"sqlite:///{tmp_path}/registry.db"
    with multiprocessing.get_context("spawn").Pool(8) as pool:
        same = pool.map(_start_together, [url] * 8, chunksize=1)
        own = pool.starmap(_save, [(url, f"own-{number}") for number in range(8)], chunksize=1)
    assert [(1, True)] + [(1, False)] * 7 == sorted((v.number, v.created) for v in same)[::-1]
    assert [2, 3, 4, 5, 6, 7, 8, 9] == sorted(version.number for version in own)
    with Registry(url) as registry:
        assert ["shop"] == [project.key for project in registry.projects()]
        assert 8 == len(registry.keys("shop"))
        assert 9 == len(registry.catalog_versions("shop"))


def _start_together(url: str) -> CatalogVersion:
    with Registry(url) as registry:
        try:
            registry.create_project("shop")
        except RegistryError:
            assert "shop" == registry.project("shop").key
        registry.create_key("shop", "read")
        return registry.save_catalog("shop", CATALOG, "same")


def _save(url: str, digest: str) -> CatalogVersion:
    with Registry(url) as registry:
        return registry.save_catalog("shop", CATALOG, digest)


def _letter(event_id: str, reason: str = "no_identifier") -> DeadLetter:
    return DeadLetter(reason, "nobody is named", "$", event_id, "segment", f'{{"messageId":"{event_id}"}}', 7)


def test_the_same_dead_letter_again_counts_once_more(registry: Registry) -> None:
    """However often a client repeats what cannot be accepted, there is one letter of it, which says how often."""
    registry.add_dead_letters("shop", [_letter("a"), _letter("b"), _letter("a")])
    registry.add_dead_letters("shop", [_letter("a")])
    assert [("a", 3, "open"), ("b", 1, "open")] == [
        (x.event_id, x.times, x.status) for x in registry.dead_letters("shop")
    ]


def test_a_dead_letter_that_was_closed_is_open_again_when_it_comes_again(registry: Registry) -> None:
    """A replay closes a letter; the same event, still not acceptable, opens it."""
    registry.add_dead_letters("shop", [_letter("a"), _letter("b", "too_late")])
    first = registry.dead_letters("shop")[0]
    assert registry.close_dead_letters("shop", [first.id], "replayed") == 1
    assert registry.close_dead_letters("shop", [first.id], "replayed") == 0
    assert {("replayed", "no_identifier"): 1, ("open", "too_late"): 1} == registry.count_dead_letters("shop")
    assert [] == list(registry.dead_letters("shop", reason="no_identifier"))
    registry.add_dead_letters("shop", [_letter("a")])
    assert (2, "open") == (registry.dead_letter("shop", first.id).times, registry.dead_letter("shop", first.id).status)
