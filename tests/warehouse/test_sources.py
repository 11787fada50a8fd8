"""What refreshes carry on, event by event: sources, their attributes, identities and profiles."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsl.catalog import Catalog, Trait
from dsl.check import CheckedCatalog, check_catalog
from dsl.identifiers import profile_id
from tests.warehouse.bench import Bench
from tests.warehouse.small_shop import CATALOG, DAY_MS, NOW_MS, event, open_shop
from warehouse import identities, profiles, sources, stretches
from warehouse.columns import column_names
from warehouse.database import Connection, connect
from warehouse.events_view import events_view_sql
from warehouse.exceptions import RefreshError
from warehouse.identities import build_identities, update_identities
from warehouse.profiles import build_profiles, update_profiles
from warehouse.records import LakeFile
from warehouse.refresh import Refresh, begin_refresh
from warehouse.sources import update_sources
from warehouse.stretches import FilesAfter

TABLES = ("sources", "source_attributes", "identities", "profiles", "attribute_types")
CATALOGS = tuple(
    check_catalog(Catalog(traits=traits, timezone="America/New_York"))
    for traits in (
        (),
        (
            Trait("plan", "profile.plan", type="string"),
            Trait("city", "profile.at.city", type="string"),
            Trait("renews", "days_since(date(profile.plan))"),
        ),
    )
)
CHECKED = check_catalog(CATALOG)

# -- whatever happens --------------------------------------------------------------------------------------------------

SOURCES = ("user:a", "user:b", "anon:x", "email:e")
NAMES = ('"plan"', '"plan"', '"plan"', '"Plan"', '"at"', '""', r'"\u0000"', r'"\ud800"', r'"\udc00"', '"10"', '"é"')
VALUES = (
    "null", "null", "0", "1.50", "-0.0000005", "1e40", '"x"', '""', r'"\ud800\\"', '"2026-01-01"', "true", "[]",
    '[1, null, "a"]', '{"city": "Oslo", "since": 2e3}', '{"city": null}',
)  # fmt: skip


@st.composite
def sent(draw: st.DrawFn) -> dict[str, object]:
    """An event of any kind, most of them identifies; few instants, so that there are ties."""
    kind = draw(st.sampled_from(("identify", "identify", "identify", "track", "page", "system")))
    members = draw(st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(VALUES)), max_size=3))
    text = ", ".join(f"{name}: {value}" for name, value in members)
    found = event(draw(st.uuids()).hex, "", 0, kind, attributes=f"{{{text}}}" if kind == "identify" else None)
    return found | {"source_id": draw(st.sampled_from(SOURCES)), "ts_ms": NOW_MS - draw(st.integers(0, 3)) * DAY_MS}


@dataclass(frozen=True, slots=True)
class Step:
    """What lands before a refresh, and the source that becomes another one's profile with it."""

    events: Sequence[dict[str, object]]
    catalog: CheckedCatalog
    merged: tuple[str, str] | None
    longest: int


STEPS = st.lists(
    st.builds(
        Step,
        st.lists(sent(), max_size=12, unique_by=lambda row: row["event_id"]),
        st.sampled_from((*CATALOGS[1:], *CATALOGS)),
        st.none() | st.tuples(st.sampled_from(SOURCES), st.sampled_from(SOURCES)),
        st.sampled_from((1, 20_000_000)),
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=12, deadline=None, derandomize=True)
@given(steps=STEPS)
def test_refreshes_in_steps_are_one_build_from_nothing(steps: list[Step]) -> None:
    """Late writes, unset ones, types that change, merges, nothing new: tables are those of one build from nothing."""
    with _shop() as bench:
        merges: list[tuple[str, str, int]] = []
        last_cut = 0
        for step in steps:
            if step.events:
                bench.shop.land(*step.events)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(stretches, "LONGEST_EVENTS", step.longest)
                patch.setattr(sources, "_CHUNK", 2)
                refresh = _begin(bench, step.catalog)
                # A merge is a record of the log: it has a number of its own.
                new = [(*step.merged, refresh.cut)] if step.merged and refresh.cut > last_cut else []
                _update(bench, step.catalog, refresh, new)
                merges, last_cut = [*merges, *new], refresh.cut
            with connect() as again:
                _open(bench, again, step.catalog, refresh)
                _update(Bench(bench.shop, again), step.catalog, refresh, merges)
                assert _tables(again, TABLES) == _tables(bench.connection, TABLES)
                build_profiles(again, step.catalog, refresh)
                assert _tables(again, ["profiles"]) == _tables(bench.connection, ["profiles"])
                if not merges:
                    build_identities(again)
                    assert _tables(again, ["identities"]) == _tables(bench.connection, ["identities"])


@contextmanager
def _shop() -> Iterator[Bench]:
    with TemporaryDirectory() as folder:
        shop = open_shop(Path(folder) / "home")
        with connect(shop.home.warehouse) as connection:
            yield Bench(shop, connection)


def _begin(bench: Bench, checked: CheckedCatalog) -> Refresh:
    shop = bench.shop
    return begin_refresh(bench.connection, shop.registry, shop.project, shop.home.lake, checked, 1, NOW_MS)


def _open(bench: Bench, connection: Connection, checked: CheckedCatalog, refresh: Refresh) -> None:
    connection.execute(
        events_view_sql(_files(bench, refresh)(0), refresh.cut, checked.property_columns, bench.shop.home.lake)
    )


def _files(bench: Bench, refresh: Refresh) -> FilesAfter:
    return partial(bench.shop.registry.files, "default", refresh.cut)


def _update(
    bench: Bench, checked: CheckedCatalog, refresh: Refresh, merges: Sequence[tuple[str, str, int]] = ()
) -> int:
    """Sources, identities and profiles of a refresh; the profiles written."""
    update_sources(bench.connection, refresh, _files(bench, refresh), bench.shop.home.lake)
    update_identities(bench.connection, refresh, _files(bench, refresh), bench.shop.home.lake)
    for source, other, seq in merges:
        _merge(bench.connection, source, other, seq)
    return update_profiles(bench.connection, checked, refresh)


def _merge(connection: Connection, source: str, other: str, seq: int) -> None:
    """From `seq` on a source belongs to the first profile of another; without both of them nothing happens."""
    into = profile_id(other)
    known = "SELECT count(*) FROM identities WHERE source_id IN (?, ?) AND valid_from_seq <= ?"
    ((found,),) = connection.execute(known, [source, other, seq]).fetchall()
    of_both = connection.execute(
        "SELECT profile_id, valid_from_seq FROM identities WHERE source_id = ? AND valid_to_seq IS NULL", [source]
    ).fetchall()
    if found >= 2 and of_both and of_both[0][0] != into and of_both[0][1] <= seq:
        connection.execute(
            "UPDATE identities SET valid_to_seq = ? WHERE source_id = ? AND valid_to_seq IS NULL", [seq, source]
        )
        connection.execute("INSERT INTO identities VALUES (?, ?, ?, NULL)", [source, into, seq])


def _tables(connection: Connection, tables: Sequence[str]) -> dict[str, tuple[list[str], list[Any]]]:
    """Columns and rows of tables, in the order of their names and values."""
    found = {}
    for table in tables:
        columns = sorted(column_names(connection, table))
        listed = ", ".join(f'"{column}"' for column in columns)
        found[table] = (columns, connection.execute(f"SELECT {listed} FROM {table} ORDER BY ALL").fetchall())
    return found


# -- what is read and written ------------------------------------------------------------------------------------------


def test_files_that_have_been_read_are_not_read_again(bench: Bench) -> None:
    """A refresh opens the files of new events only: it does not miss the others."""
    refresh = _begin(bench, CHECKED)
    _update(bench, CHECKED, refresh)
    bench.shop.land(event("new", "ann", 1, "identify", attributes='{"plan": "basic"}'))
    for file in _files(bench, refresh)(0):
        file.absolute(bench.shop.home.lake).unlink()
    assert 1 == _update(bench, CHECKED, replace(refresh, cut=refresh.cut + 1))
    assert ("basic", 6) == (bench.by_user("profiles", "a_plan")["ann"], bench.by_user("profiles", "events")["ann"])


def test_a_write_that_lands_late_loses(bench: Bench) -> None:
    """The newest write by `(ts, event_id)` stays, in whatever order writes land."""
    _update(bench, CHECKED, _begin(bench, CHECKED))
    for number, (days_ago, plan, kept) in enumerate(((75, "old", "premium"), (3, "gold", "gold"), (4, "late", "gold"))):
        bench.shop.land(event(f"n{number}", "ann", days_ago, "identify", attributes=f'{{"plan": "{plan}"}}'))
        _update(bench, CHECKED, _begin(bench, CHECKED))
        assert kept == bench.by_user("profiles", "a_plan")["ann"]


def test_only_profiles_that_have_changed_are_written(bench: Bench) -> None:
    """Profiles of new events are brought up to date, the others stay; all when more than half are written again."""
    _update(bench, CHECKED, _begin(bench, CHECKED))
    assert 0 == _update(bench, CHECKED, _begin(bench, CHECKED))
    bench.rows("UPDATE profiles SET events = 99")
    bench.shop.land(event("n1", "abe", 1), event("n2", "dee", 300), event("n3", "ghost", 1))
    assert 3 == _update(bench, CHECKED, _begin(bench, CHECKED))
    seen = {"abe": 1, "ann": 99, "bob": 99, "cem": 99, "dee": 2, "eva": 99, "ghost": 1}
    assert seen == bench.by_user("profiles", "events")
    buyers = ("ann", "bob", "cem", "dee")
    bench.shop.land(*(event(f"of-{who}", who, 1) for who in buyers))
    assert 4 == _update(bench, CHECKED, _begin(bench, CHECKED))
    seen |= {"ann": 6, "bob": 3, "cem": 2, "dee": 3}
    assert seen == bench.by_user("profiles", "events")
    bench.shop.land(*(event(f"by-{who}", who, 1, "identify", attributes='{"plan": "x"}') for who in buyers))
    assert 7 == _update(bench, CHECKED, _begin(bench, CHECKED))
    seen |= {"ann": 7, "bob": 4, "cem": 3, "dee": 4, "eva": 1}
    assert seen == bench.by_user("profiles", "events")


def test_other_columns_are_asked_for(bench: Bench) -> None:
    """When the catalog reads another attribute, an attribute is new or gone, or has another type, all is written."""
    _update(bench, CATALOGS[0], _begin(bench, CATALOGS[0]))
    assert 5 == _update(bench, CATALOGS[1], _begin(bench, CATALOGS[1]))
    for number, (attributes, columns) in enumerate(
        (
            ('{"age": "old"}', "a_age VARCHAR, a_plan VARCHAR, a_tags VARCHAR, a_vip VARCHAR"),
            ('{"age": 7}', "a_age DECIMAL(19,6), a_plan VARCHAR, a_tags VARCHAR, a_vip VARCHAR"),
            ('{"city": true}', "a_age DECIMAL(19,6), a_city BOOLEAN, a_plan VARCHAR, a_tags VARCHAR, a_vip VARCHAR"),
            ('{"city": null}', "a_age DECIMAL(19,6), a_plan VARCHAR, a_tags VARCHAR, a_vip VARCHAR"),
        )
    ):
        bench.shop.land(event(f"n{number}", "ann", 1 - number / 10, "identify", attributes=attributes))
        assert 5 == _update(bench, CATALOGS[1], _begin(bench, CATALOGS[1]))
        shown = bench.rows("SELECT column_name || ' ' || column_type FROM (DESCRIBE profiles) "
                           "WHERE starts_with(column_name, 'a_') ORDER BY 1")  # fmt: skip
        assert columns == ", ".join(text for (text,) in shown)


def test_types_of_attributes_are_counted(bench: Bench) -> None:
    """Each attribute says how many profiles have it in each type."""
    bench.run(CHECKED)
    expected = [
        ("age", "number", 2),
        ("plan", "string", 3),
        ("tags", "json", 1),
        ("vip", "boolean", 1),
        ("vip", "string", 1),
    ]
    assert expected == bench.rows("FROM attribute_types ORDER BY ALL")


@pytest.mark.parametrize(
    ("module", "tables"),
    [(sources, TABLES[:2]), (identities, TABLES[2:3]), (profiles, TABLES[3:])],
    ids=["sources", "identities", "profiles"],
)
def test_a_killed_update_changes_nothing(
    bench: Bench, module: ModuleType, tables: Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What breaks at the end of a step leaves its tables and their coverage as they were; the next refresh goes on."""
    _update(bench, CHECKED, _begin(bench, CHECKED))
    bench.shop.land(event("n1", "abe", 1), event("n2", "ann", 1, "identify", attributes='{"age": null, "plan": "x"}'))
    covered = f"SELECT covered_seq FROM covered_tables WHERE table_name = '{tables[0]}'"
    before = (_tables(bench.connection, tables), bench.rows(covered))

    def killed(_connection: Connection, table: str, *_: object) -> None:
        raise KeyboardInterrupt(table)

    monkeypatch.setattr(module, "write_covered", killed)
    with pytest.raises(KeyboardInterrupt, match=tables[0]):
        _update(bench, CHECKED, _begin(bench, CHECKED))
    monkeypatch.undo()
    assert before == (_tables(bench.connection, tables), bench.rows(covered))
    assert 2 == _update(bench, CHECKED, _begin(bench, CHECKED))
    assert {"abe": 1, "ann": 6} == {who: n for who, n in bench.by_user("profiles", "events").items() if who < "b"}
    assert "x" == bench.by_user("profiles", "a_plan")["ann"]


def test_tables_ahead_of_the_cut_are_of_another_lake(bench: Bench) -> None:
    """Where a shorter lake lies below a warehouse all of them are built from nothing, also those that were behind."""
    refresh = _begin(bench, CHECKED)
    _update(bench, CHECKED, replace(refresh, cut=6))
    bench.rows("UPDATE profiles SET events = 99")
    update_sources(bench.connection, refresh, _files(bench, refresh), bench.shop.home.lake)
    assert 4 == _update(bench, CHECKED, replace(refresh, cut=7))
    seen = [("user:ann", 4), ("user:bob", 6), ("user:cem", 1), ("user:dee", 7)]
    assert seen == bench.rows("SELECT source_id, last_seq FROM sources ORDER BY ALL")
    assert {"ann": 3, "bob": 2, "cem": 1, "dee": 1} == bench.by_user("profiles", "events")


def test_a_merge_changes_both_profiles(bench: Bench) -> None:
    """Without an event of theirs: who comes to a profile is in it, and the one it has left is gone."""
    bench.shop.land(*(event(f"of-{who}", who, 1) for who in ("fay", "gus", "hal", "ida")))
    _update(bench, CHECKED, _begin(bench, CHECKED))
    ann, gus = profile_id("user:ann"), profile_id("user:gus")
    bench.shop.land(event("new", "", 0.5) | {"source_id": "anon:z"})
    bench.rows("UPDATE identities SET valid_to_seq = 16 WHERE source_id = 'user:dee'")
    bench.rows(f"INSERT INTO identities VALUES ('user:dee', '{ann}', 16, NULL), ('anon:z', '{gus}', 16, NULL)")
    assert 2 == _update(bench, CHECKED, _begin(bench, CHECKED))
    assert [(["user:ann", "user:dee"], 6), (["user:gus", "anon:z"], 2)] == bench.rows(
        f"SELECT identifiers, events FROM profiles WHERE profile_id IN ('{ann}', '{gus}') ORDER BY user_id"
    )
    assert ["ann", "bob", "cem", "eva", "fay", "gus", "hal", "ida"] == list(bench.by_user("profiles", "events"))


def test_a_step_before_its_turn_is_refused(bench: Bench) -> None:
    """Profiles are not made from sources or identities of an earlier cut."""
    refresh = _begin(bench, CHECKED)
    with pytest.raises(RefreshError, match="`sources` holds the events up to 0 and not up to 11"):
        update_identities(bench.connection, refresh, _files(bench, refresh), bench.shop.home.lake)
    update_sources(bench.connection, refresh, _files(bench, refresh), bench.shop.home.lake)
    with pytest.raises(RefreshError, match="`identities` holds the events up to 0"):
        update_profiles(bench.connection, CHECKED, refresh)


def test_texts_that_duckdb_does_not_take_for_json(bench: Bench) -> None:
    """Half a surrogate pair becomes U+FFFD, also in names; a NUL is kept, and shown in the name of the column."""
    bench.shop.land(
        event("n1", "dee", 2, "identify", attributes=r'{"\ud800": "\udc00", "a\u0000": "\u0000"}'),
        event("n2", "dee", 1, "identify", attributes=r'{"\udfff": "x"}'),
    )
    bench.run(CHECKED)
    assert '{"a\\u0000":"\\u0000","\ufffd":"x"}' == bench.by_user("profiles", "attributes")["dee"]
    assert {"a_a\u2400", "a_\ufffd"} <= set(column_names(bench.connection, "profiles"))
    refresh = _begin(bench, CHECKED)
    build_profiles(bench.connection, CHECKED, refresh)
    assert "\0" == bench.by_user("profiles", '"a_a\u2400"')["dee"]


# -- stretches ---------------------------------------------------------------------------------------------------------


def test_stretches_hold_every_event_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files go into stretches of a bearable size; those whose numbers overlap stay together, those covered stay out."""

    def files(after: int) -> list[LakeFile]:
        return [LakeFile("p", f"{lo}", 0, lo, hi, 5, 0, ()) for lo, hi in spans if hi > after]

    monkeypatch.setattr(stretches, "LONGEST_EVENTS", 5)
    spans = ((1, 5), (6, 8), (7, 20), (21, 24), (25, 40))
    found = [(lo, hi, [file.seq_lo for file in its]) for lo, hi, its in stretches.stretches(files, 5, 30)]
    assert [(5, 20, [6, 7]), (20, 24, [21]), (24, 30, [25])] == found
    assert [] == list(stretches.stretches(files, 40, 41))
