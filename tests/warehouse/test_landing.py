"""Events land once, whole, numbered in order, and nothing of a failed batch is ever seen."""

import json
import multiprocessing
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from dsl.clock import format_day, parse_day, parse_instant
from dsl.observed import Sighting
from warehouse.database import connect
from warehouse.day_files import Progress
from warehouse.events_view import events_view_sql
from warehouse.exceptions import LakeError, LandingError
from warehouse.landing import Landing, land
from warehouse.records import Project
from warehouse.registry import Registry
from warehouse.settings import Home

NOW_MS = parse_instant("2018-01-01T04:01:21Z")
NEW_YORK = "America/New_York"
Row = tuple[object, ...]


@dataclass(frozen=True)
class Store:
    """A project `shop` in a home of its own."""

    home: Home
    registry: Registry
    project: Project

    def land(self, events: pl.DataFrame, progress: Progress | None = None) -> Landing:
        """Events into the lake, numbered on from the last."""
        return land(
            events,
            project=self.project,
            home=self.home,
            registry=self.registry,
            reserve=lambda _: self.registry.max_seq("shop") + 1,
            received_at_ms=NOW_MS,
            progress=progress,
        )

    def rows(self, columns: str, cut: int = 2**62, needed: tuple[str, ...] = ()) -> list[Row]:
        """Columns of the view `events` up to a cut, by `seq`."""
        with connect() as database:
            database.execute(events_view_sql(self.registry.files("shop", cut), cut, needed, self.home.lake))
            found: list[Row] = database.execute(f"SELECT {columns} FROM events ORDER BY seq").fetchall()
            return found

    def files_on_disk(self) -> list[Path]:
        """Every file below the lake but locks."""
        return sorted(path for path in self.home.lake.rglob("*") if path.is_file() and path.name != ".landing")


def open_store(folder: Path, timezone: str = NEW_YORK) -> Store:
    """An empty store below `folder`."""
    registry = Registry(f"sqlite:///{folder}/registry.db")
    return Store(Home(folder), registry, registry.create_project("shop", timezone))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store."""
    opened = open_store(tmp_path)
    yield opened
    opened.registry.close()


def event(event_id: str | None, at: str | None = "2017-03-01T12:00:00Z", **fields: object) -> dict[str, object]:
    """A purchase by user 208, as a row of `land`."""
    ts_ms = None if at is None else parse_instant(at)
    return {"event_id": event_id, "kind": "track", "name": "purchase", "source_id": "user:208", "ts_ms": ts_ms} | fields


def frame(*rows: dict[str, object]) -> pl.DataFrame:
    """Rows as `land` takes them."""
    types = {"event_id": pl.String(), "source_id": pl.String(), "ts_ms": pl.Int64(), "n_amount": pl.Int64()}
    names = {name for row in rows for name in row}
    overrides = {name: wanted for name, wanted in types.items() if name in names}
    return pl.DataFrame(rows, schema_overrides=overrides, infer_schema_length=None)


def test_order_of_seq(store: Store) -> None:
    """New events are numbered by `(ts, event_id)`, whatever their order in the batch, from the number reserved."""
    landing = store.land(
        frame(event("c", "2017-03-02T00:00:00Z"), event("b"), event("a"), event("d", "2017-02-28T23:59:59.999Z"))
    )
    assert (4, 0, 1, 4) == (landing.landed, landing.duplicates, landing.seq_lo, landing.seq_hi)
    assert [(1, "d"), (2, "a"), (3, "b"), (4, "c")] == store.rows("seq, event_id")
    assert (5, 5) == (store.land(frame(event("e", "2016-01-01T00:00:00Z"))).seq_lo, store.registry.max_seq("shop"))


def test_a_file_a_day(store: Store) -> None:
    """Each UTC day of `ts` has its file, named by the numbers in it and sorted by name, source and time."""
    late = event("late", "2017-03-01T23:59:59.999Z", name="a", source_id="user:9")
    landing = store.land(frame(event("x"), late, event("y", "2017-03-02T00:00:00Z"), event("z", source_id="user:1")))
    assert [
        ("events/project=shop/day=2017-03-01/part-1-3.parquet", 3),
        ("events/project=shop/day=2017-03-02/part-4-4.parquet", 1),
    ] == [(file.path, file.rows) for file in landing.files]
    first = pl.read_parquet(landing.files[0].absolute(store.home.lake))
    assert ["late", "z", "x"] == first["event_id"].to_list()
    assert store.files_on_disk() == [file.absolute(store.home.lake) for file in landing.files]
    assert [file.absolute(store.home.lake).stat().st_size for file in landing.files] == [
        file.size_bytes for file in landing.files
    ]


def test_landing_again_changes_nothing(store: Store) -> None:
    """A batch that has landed lands nothing again, in part or whole; nothing is reserved for it."""
    batch = frame(event("a"), event("b", "2017-03-05T00:00:00Z"))
    store.land(batch)
    before = store.files_on_disk()
    assert Landing(0, 2) == store.land(batch)
    assert before == store.files_on_disk()
    landing = store.land(pl.concat([batch, frame(event("c"))]))
    assert (1, 2, 3) == (landing.landed, landing.duplicates, landing.seq_lo)


def test_ids_are_known_however_many_files(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has landed is looked through some files at a time: none is left out."""
    monkeypatch.setattr("warehouse.lake._FILES_AT_ONCE", 2)
    days = [event(f"on-{day}", f"2017-03-0{day}T12:00:00Z") for day in range(1, 6)]
    assert [5, 0] == [store.land(frame(*days)).landed for _ in range(2)]


def test_first_of_one_id_wins(store: Store) -> None:
    """Of events with one id the earliest by `ts` lands, of those the first in the batch; the others are duplicates."""
    landing = store.land(
        frame(
            event("a", n_amount=1),
            event("b", n_amount=2),
            event("a", "2017-02-01T00:00:00Z", n_amount=3),
            event("b", n_amount=4),
            event("a", "2017-02-01T00:00:00Z", n_amount=5),
        )
    )
    assert (2, 3) == (landing.landed, landing.duplicates)
    assert [("a", 3), ("b", 2)] == store.rows("event_id, n_amount")


def test_ids_are_per_project(store: Store) -> None:
    """The same id in another project is another event."""
    store.land(frame(event("a")))
    other = replace(store, project=store.registry.create_project("other"))
    assert 1 == other.land(frame(event("a"))).landed


@pytest.mark.parametrize(
    ("row", "saying"),
    [
        (event(None), r"2 of 4 events have no `event_id`, the first in row 2 \(`event_id` None\): nothing has landed"),
        (event(""), r"2 of 4 events have no `event_id`, the first in row 2 \(`event_id` ''\)"),
        (event("bad", source_id=None), r"2 of 4 events have no `source_id`, the first in row 2 \(`event_id` 'bad'\)"),
        (event("bad", None), r"2 of 4 events have no `ts_ms`"),
        (event("bad", name=""), r"2 of 4 events have no `name`"),
        (event("bad", kind="tracks"), r"2 of 4 events are of another kind than track, page"),
        (event("bad") | {"ts_ms": -(10**17)}, r"2 of 4 events have a `ts_ms` before the year 1"),
    ],
)
def test_bad_rows_reject_the_batch(store: Store, row: dict[str, object], saying: str) -> None:
    """One event that breaks a rule rejects the batch: the error counts them and names the first."""
    with pytest.raises(LandingError, match=saying):
        store.land(frame(event("a"), row, event("b"), row))
    assert [] == store.files_on_disk()
    assert () == store.registry.files("shop")


def test_bad_columns_reject_the_batch(store: Store) -> None:
    """A column that is missing, or of another type than its prefix says, is named."""
    with pytest.raises(LandingError, match="no column `source_id`"):
        store.land(frame(event("a")).drop("source_id"))
    with pytest.raises(LandingError, match="`n_amount` of the events holds Float64: expected Int64"):
        store.land(frame(event("a")).with_columns(n_amount=1.5))
    with pytest.raises(LandingError, match=r"`s_Brand` of the events is no name of a property: write `s_\^Brand`"):
        store.land(frame(event("b", s_Brand="x")))
    with pytest.raises(LandingError, match="`alias` of the events holds Int64: expected String"):
        store.land(frame(event("c", alias=1)))


def test_bad_json_rejects_the_batch(store: Store) -> None:
    """Properties that are no JSON object, or hold what is no number, are named with their event."""
    for text, saying in (("{", "is no JSON:"), ("[1]", "is no JSON object"), ('{"a": NaN}', "holds `NaN`")):
        with pytest.raises(LandingError, match=f"`properties` of event 'bad' {saying}|{saying}"):
            store.land(frame(event("a", properties="{}"), event("bad", properties=text)))
    assert () == store.registry.files("shop")


def test_typed_columns_are_read_from_json(store: Store) -> None:
    """Without typed columns every value of `properties` and `context` lands in the column of its type and path."""
    sent = '{"amount": 1.5, "cart": {"total": 2, "a.b": true}, "dueOn": "2018-01-01", "tags": ["x", 1, null, {}]}'
    store.land(
        frame(
            event("a", properties=sent, context='{"page": {"path": "/x"}}'),
            event("b", properties='{"amount": "many", "Amount": 7, "amounts": []}', context=None),
            event("c", kind="identify", name="identify", properties='{"plan": "free"}', context='{"ip": "::1"}'),
        )
    )
    (file,) = store.registry.files("shop")
    numbers, texts = ["n_^Amount", "n_amount", "n_cart.total"], ["s_amount", "s_due^On"]
    others = ["b_cart.a^.b", "cs_ip", "cs_page.path", "l_amounts", "l_tags", *numbers, *texts, "t_due^On"]
    assert tuple(others) == file.columns
    assert [(1_500_000, "2018-01-01", 1_514_782_800_000, ["s:x", "n:1"], "/x")] == store.rows(
        '"n_amount", "s_due^On", "t_due^On", "l_tags", "cs_page.path"'
    )[:1]
    assert [("1.5", None, Decimal("2.000000"), ["x", "1"]), ('"many"', Decimal("7.000000"), None, None)] == store.rows(
        '"p_amount", "p_Amount_2", "p_cart.total", p_tags'
    )[:2]
    assert [("/x", None), (None, None), (None, "::1")] == store.rows('"c_page.path", c_ip')


def test_what_was_seen_is_known(store: Store) -> None:
    """Landing notes names and types of events, properties and attributes; what is too long is no name.

    An event that has landed before does not count again.
    """
    plan = event("c", kind="identify", name="identify", properties='{"plan": "free", "a": {"b": 1}}')
    for _ in range(2):
        store.land(frame(event("a", properties='{"on": "2018-01-01", "cart": {"total": 1}}'), event("b"), plan))
    store.land(frame(event("d", name="x" * 500), event("e", name="visit")))
    assert {
        Sighting("purchase", "", ""),
        Sighting("purchase", "on", "string"),
        Sighting("purchase", "on", "timestamp"),
        Sighting("purchase", "cart.total", "number"),
        Sighting("visit", "", ""),
        Sighting("", "plan", "string"),
        Sighting("", "a.b", "number"),
    } == store.registry.observed("shop")
    assert {1} == {seen.times for sighting, seen in store.registry.seen("shop").items() if sighting.event != "purchase"}
    assert 2 == store.registry.seen("shop")[Sighting("purchase", "", "")].times


def test_instants_beside_typed_columns(store: Store) -> None:
    """A loader's strings that are instants get their instant beside them, a date alone in the project's zone."""
    store.land(frame(event("a", s_on="2018-01-01"), event("b", s_on="2018-01-01T00:00:00Z"), event("c", s_on="soon")))
    assert [(1_514_782_800_000,), (1_514_764_800_000,), (None,)] == store.rows("t_on")


def test_properties_text(store: Store) -> None:
    """Properties are written as JSON from typed columns, exactly; a text that was given stays as it is."""
    odd = 'say "hi"\\\n\x00\u2028ü'
    rows = [
        event("a", n_amount=9_223_372_036_854_775_807, b_gift=True, s_brand=odd),
        event("b", n_amount=-1, s_brand=None, b_gift=False),
        event("c", n_amount=1_230_000, s_brand="", properties='{"amount": 1.23, "cart": {"total": 5}}'),
        event("d"),
    ]
    store.land(frame(*rows))
    texts = [str(text) for (text,) in store.rows("properties")]
    assert '{"amount":9223372036854.775807,"gift":true,"brand":' == texts[0].partition('"say')[0]
    assert odd == json.loads(texts[0])["brand"]
    assert ['{"amount":-0.000001,"gift":false}', rows[2]["properties"], "{}"] == texts[1:]
    assert [("{}",)] * 4 == store.rows("context")


def test_properties_text_of_nested_columns(store: Store) -> None:
    """Objects and lists are written from their columns too; an object without members is absent."""
    rows = [
        event("a") | {"n_cart.total": 2_500_000, "s_cart.item^Id": "x", "l_tags": ["s:a", "n:1", "b:true"]},
        event("b") | {"n_cart.total": None, "s_cart.item^Id": None, "l_tags": []},
        event("c") | {"n_cart.total": None, "s_cart.item^Id": 'x"', "l_tags": None},
    ]
    store.land(frame(*rows))
    assert [
        {"tags": ["a", 1, True], "cart": {"total": 2.5, "itemId": "x"}},
        {"tags": []},
        {"cart": {"itemId": 'x"'}},
    ] == [json.loads(str(text)) for (text,) in store.rows("properties")]


def test_a_loader_says_who_is_who(store: Store) -> None:
    """Identifiers beside the source, and what an alias joins, land as they are given."""
    names = '["user:208", "anon:x"]'
    store.land(frame(event("a", identifiers=names, alias=None), event("b", identifiers=None, alias="anon:y")))
    assert [(names, None), (None, "anon:y")] == store.rows("identifiers, alias")


def test_identify_has_no_typed_columns(store: Store) -> None:
    """Attributes of an identify are in `properties` only: they are no properties of an event."""
    store.land(frame(event("a", kind="identify", name="identify", s_plan="free"), event("b", s_brand="x")))
    assert [('{"plan":"free"}', None), ('{"brand":"x"}', "x")] == store.rows("properties, s_brand", needed=("s_plan",))
    assert [("s_brand",)] == [file.columns for file in store.registry.files("shop")]


@pytest.mark.parametrize("timezone", [NEW_YORK, "UTC", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Apia"])
def test_local_day(tmp_path: Path, timezone: str) -> None:
    """The local day is that of the project's calendar, before, at and after each change of clocks and each midnight."""
    store = open_store(tmp_path, timezone)
    zone = store.project.zone
    lo_ms, hi_ms = parse_instant("2011-12-01"), parse_instant("2017-12-31")
    edges = [from_ms for from_ms, _ in zone.offsets(lo_ms, hi_ms)]
    edges += [zone.start_ms(day) for day in range(parse_day("2016-10-25"), parse_day("2017-11-10"), 3)]
    instants = [edge + by for edge in edges for by in (-1, 0, 1)]
    store.land(frame(*(event(str(number)) | {"ts_ms": ts_ms} for number, ts_ms in enumerate(instants))))
    landed = store.rows("ts_ms, local_day, local_date::VARCHAR")
    assert [(ts_ms, zone.day(ts_ms), format_day(zone.day(ts_ms))) for ts_ms in sorted(instants)] == landed


def test_no_event_is_later_than_its_receipt(store: Store) -> None:
    """An event from the future happened when it was received."""
    store.land(frame(event("a", "2030-01-01T00:00:00Z")))
    assert [(NOW_MS, NOW_MS, "2018-01-01 04:01:21")] == store.rows("ts_ms, received_at_ms, ts::VARCHAR")


def test_failed_writing_leaves_nothing(store: Store) -> None:
    """When a file cannot be written none of the batch stays, and the batch can land later."""
    batch = frame(event("a"), event("b", "2017-03-05T00:00:00Z"))

    def fail_at_the_second(done: int, of: int) -> None:
        if done == of == 2:
            raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"):
        store.land(batch, fail_at_the_second)
    assert ([], ()) == (store.files_on_disk(), store.registry.files("shop"))
    assert 2 == store.land(batch).landed


@pytest.mark.parametrize("at", [1, 2])
def test_a_killed_landing_is_not_seen(tmp_path: Path, at: int) -> None:
    """A process that dies between files, or after the last but before the manifest, has landed nothing."""
    process = multiprocessing.get_context("spawn").Process(target=_die_at, args=(tmp_path, at))
    process.start()
    process.join()
    assert 7 == process.exitcode
    with Registry(f"sqlite:///{tmp_path}/registry.db") as registry:
        store = Store(Home(tmp_path), registry, registry.project("shop"))
        assert [] == store.rows("*")
        assert at == len(store.files_on_disk())
        assert 2 == store.land(_two_days()).landed
        assert [(1, "a"), (2, "b")] == store.rows("seq, event_id")


def _die_at(folder: Path, at: int) -> None:
    store = open_store(folder)
    store.land(_two_days(), lambda done, _: os._exit(7) if done == at else None)


def _two_days() -> pl.DataFrame:
    return frame(event("a"), event("b", "2017-03-05T00:00:00Z"))


def test_processes_take_turns(tmp_path: Path) -> None:
    """Four processes that land the same batch at once land it once."""
    open_store(tmp_path).registry.close()
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        landed = pool.map(_land_thousand, [tmp_path] * 4, chunksize=1)
    assert [0, 0, 0, 1_000] == sorted(landed)


def _land_thousand(folder: Path) -> int:
    with Registry(f"sqlite:///{folder}/registry.db") as registry:
        store = Store(Home(folder), registry, registry.project("shop"))
        return store.land(frame(*(event(str(number)) for number in range(1_000)))).landed


def test_numbers_must_be_new(store: Store) -> None:
    """A counter that gives numbers which the lake holds already is refused before anything is written."""
    store.land(frame(event("a"), event("b")))
    before = store.files_on_disk()
    with pytest.raises(LandingError, match="gave seq 2 but the lake holds events up to 2"):
        land(
            frame(event("c")),
            project=store.project,
            home=store.home,
            registry=store.registry,
            reserve=lambda _: 2,
            received_at_ms=NOW_MS,
        )
    assert before == store.files_on_disk()


def test_a_missing_file_is_named(store: Store) -> None:
    """When a file of the manifest is gone, landing refuses rather than land its events twice."""
    landing = store.land(frame(event("a")))
    landing.files[0].absolute(store.home.lake).unlink()
    with pytest.raises(LakeError, match=r"1 of 1 files of the lake are missing, the first is .*part-1-1"):
        store.land(frame(event("a")))


def test_progress_counts_events(store: Store) -> None:
    """Progress tells events written and events in all, duplicates left out."""
    told: list[tuple[int, int]] = []
    store.land(
        frame(event("a"), event("a"), event("b"), event("c", "2017-03-05T00:00:00Z")),
        lambda done, of: told.append((done, of)),
    )
    assert [(2, 3), (3, 3)] == told
