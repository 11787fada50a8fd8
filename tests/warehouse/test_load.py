"""Files land once, whole batches at a time, and every row is an event or a dead letter."""

import gzip
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from dsl.clock import parse_instant
from dsl.event_record import EventRecord, write_record
from dsl.identity_records import IdentitySettings
from dsl.source import Source
from warehouse.bulk import inputs, landing
from warehouse.bulk.documents import NoDocument, read_document
from warehouse.bulk.inputs import Input
from warehouse.bulk.landing import Online
from warehouse.bulk.load import Loading, Progress, look
from warehouse.bulk.mapping_file import read_mapping
from warehouse.bulk.people import Rules
from warehouse.bulk.understanding import Facts
from warehouse.database import connect
from warehouse.events_view import events_view_sql
from warehouse.exceptions import LoadError
from warehouse.log_landing import LoggedEvents, land_stretch
from warehouse.records import Project
from warehouse.registry import Registry
from warehouse.settings import Home

MAPPING = """\
name: orders
identifiers: {user: customer, email: mail}
event: {value: purchase}
ts: at
event_id: order
types: {total: number, gift: boolean}
"""
Row = Mapping[str, Any]
ROWS: tuple[Row, ...] = (
    {
        "order": "1",
        "at": "2026-01-05T10:00:00Z",
        "customer": "7",
        "mail": "ann@x.org",
        "total": "12.50",
        "gift": "true",
    },
    {"order": "2", "at": "2026-01-05 11:00:00", "customer": "8", "mail": None, "total": "1000", "gift": "false"},
    {"order": "3", "at": "2026-01-06", "customer": "9", "mail": None, "total": None, "gift": None},
    {"order": "4", "at": "2026-01-07T10:00:00.5+01:00", "customer": "7", "mail": None, "total": "-0.1", "gift": None},
    {"order": "5", "at": "2026-01-07T12:00:00Z", "customer": "guest", "mail": "bob@x.org", "total": "3", "gift": None},
)


@dataclass
class Shop:
    """An empty project in a home of its own, and a folder for files."""

    folder: Path
    registry: Registry
    project: Project
    rules: Rules = field(default_factory=Rules)

    @property
    def home(self) -> Home:
        """Where it lies."""
        return Home(self.folder)

    def load(self, path: Path, mapping: str = MAPPING, **choices: Any) -> Progress:
        """A file into the lake."""
        return self.loading([path], mapping, **choices).run()

    def loading(self, paths: list[Path], mapping: str = MAPPING, **choices: Any) -> Loading:
        """A load that has not begun."""
        read = read_mapping(Source(mapping, "m.yaml"))
        files = [Input.of(path, read) for path in paths]
        for each in files:
            each.check(read)
        online = Online(lambda _: self.registry.max_seq("shop") + 1)
        return Loading(files, read, self.home, self.registry, self.project, online, lambda: self.rules, **choices)

    def rows(self, columns: str) -> list[tuple[object, ...]]:
        """Columns of everything that has landed, by `seq`."""
        with connect() as database:
            database.execute(events_view_sql(self.registry.files("shop"), 2**62, (), self.home.lake))
            found: list[tuple[object, ...]] = database.execute(f"SELECT {columns} FROM events ORDER BY seq").fetchall()
            return found

    def letters(self) -> list[tuple[str, str, str]]:
        """Reason, path and event id of the dead letters."""
        return [(each.reason, each.path, each.event_id) for each in self.registry.dead_letters("shop")]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    """An empty shop in New York."""
    registry = Registry(f"sqlite:///{tmp_path}/registry.db")
    yield Shop(tmp_path, registry, registry.create_project("shop", "America/New_York"))
    registry.close()


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rows of Parquet, or a hundred bytes of text, at a time."""
    monkeypatch.setattr(inputs, "BATCH_ROWS", 2)
    monkeypatch.setattr(inputs, "BATCH_BYTES", {"csv": 100, "ndjson": 150})


def csv_file(path: Path, rows: tuple[Row, ...] = ROWS) -> Path:
    """A CSV file."""
    pl.DataFrame(rows).write_csv(path)
    return path


def ndjson(rows: tuple[Row, ...] = ROWS) -> bytes:
    """Lines of JSON, with numbers and booleans as such."""
    typed = [
        {**row, "total": row["total"] and float(row["total"]), "gift": row["gift"] and row["gift"] == "true"}
        for row in rows
    ]
    return "".join(json.dumps(row) + "\n" for row in typed).encode()


def zstd(data: bytes) -> bytes:
    """Compressed."""
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return bytes(sink.getvalue().to_pybytes())


def write(folder: Path, name: str) -> Path:
    """The same rows as a file of some format."""
    path, text = folder / name, pl.DataFrame(ROWS).write_csv().encode()
    bytes_of: dict[str, Callable[[], bytes]] = {
        "o.csv": lambda: text,
        "o.csv.gz": lambda: gzip.compress(text),
        "o.csv.zst": lambda: zstd(text),
        "o.tsv": lambda: pl.DataFrame(ROWS).write_csv(separator="\t").encode(),
        "o.ndjson": ndjson,
        "o.jsonl.gz": lambda: gzip.compress(ndjson()),
    }
    if name in bytes_of:
        path.write_bytes(bytes_of[name]())
    else:
        frame = pl.DataFrame(ROWS).with_columns(pl.col("total").cast(pl.Float64), pl.col("gift") == "true")
        frame.write_parquet(path)
    return path


ALL = 'event_id, kind, name, source_id, ts_ms, identifiers IS NOT NULL, "n_total", "b_gift"'


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("name", ["o.csv", "o.csv.gz", "o.csv.zst", "o.tsv", "o.ndjson", "o.jsonl.gz", "o.parquet"])
def test_formats(shop: Shop, name: str) -> None:
    """The same rows are the same events, whatever the file, whatever the size of a batch."""
    done = shop.load(write(shop.folder, name))
    assert (5, 0, {}) == (done.loaded, done.duplicates, done.letters)
    at = ["2026-01-05T10:00Z", "2026-01-05T11:00Z", "2026-01-06T05:00Z", "2026-01-07T09:00:00.5Z", "2026-01-07T12:00Z"]
    bob = shop.rows("source_id")[-1][0]
    assert str(bob).startswith("email:")
    assert [
        ("1", "track", "purchase", "user:7", parse_instant(at[0]), True, 12_500_000, True),
        ("2", "track", "purchase", "user:8", parse_instant(at[1]), False, 1_000_000_000, False),
        ("3", "track", "purchase", "user:9", parse_instant(at[2]), False, None, None),
        ("4", "track", "purchase", "user:7", parse_instant(at[3]), False, -100_000, None),
        ("5", "track", "purchase", bob, parse_instant(at[4]), False, 3_000_000, None),
    ] == shop.rows(ALL)
    assert {"total": 12.5, "gift": True} == json.loads(str(shop.rows("properties")[0][0]))


@pytest.mark.usefixtures("small_batches")
def test_loading_again_changes_nothing(shop: Shop) -> None:
    """Everything that has landed is a duplicate the next time, in whatever format it comes."""
    shop.load(write(shop.folder, "o.parquet"))
    for name in ("o.parquet", "o.csv", "o.ndjson"):
        done = shop.load(write(shop.folder, name))
        assert (0, 5, {}) == (done.loaded, done.duplicates, done.letters)
    assert (5, []) == (len(shop.rows("seq")), shop.letters())


@pytest.mark.usefixtures("small_batches")
def test_conflicts(shop: Shop) -> None:
    """Of two events with one id the first counts; the other is a dead letter if it says something else."""
    changed: list[Row] = [
        {**ROWS[0], "total": "13"},
        {**ROWS[0], "total": "12.5"},
        {**ROWS[1], "customer": "80"},
        {**ROWS[1], "at": "2026-01-05T11:00:01Z"},
        {**ROWS[2], "at": "2026-01-06T05:00:00Z"},
    ]
    done = shop.load(csv_file(shop.folder / "o.csv", (*ROWS, *changed)))
    assert (5, 2, {"id_conflict": 3}) == (done.loaded, done.duplicates, done.letters)
    assert [("id_conflict", "$", event_id) for event_id in ("1", "2", "2")] == shop.letters()
    details = [each.detail for each in shop.registry.dead_letters("shop")]
    assert "o.csv, row 6: the id is of an event already whose properties differ" == details[0]
    assert ["identifiers", "time"] == [detail.split("whose ")[1].removesuffix(" differ") for detail in details[1:]]
    assert {**ROWS[0], "total": "13"} == json.loads(shop.registry.dead_letters("shop")[0].raw)


def test_every_reason(shop: Shop) -> None:
    """A row that is no event is a dead letter with its reason, and its neighbours land."""
    mapping = MAPPING.replace("event: {value: purchase}", "event: what\nkind: {column: type}").replace(
        "types:", "types_:"
    )
    mapping = mapping.replace("types_: {total: number, gift: boolean}\n", "")
    good = {"order": "1", "at": "2026-01-05", "customer": "7", "mail": None, "type": "track", "what": "buy", "x": 1.0}
    bad = [
        ("invalid_type", "$.type", {**good, "order": "a", "type": "tracks"}),
        ("missing_field", "$.order", {**good, "order": None}),
        ("invalid_field", "$.order", {**good, "order": "x" * 101}),
        ("missing_field", "$.what", {**good, "order": "b", "what": ""}),
        ("invalid_field", "$.what", {**good, "order": "c", "what": "x" * 401}),
        ("invalid_timestamp", "$.at", {**good, "order": "d", "at": "soon"}),
        ("invalid_timestamp", "$.at", {**good, "order": "e", "at": None}),
        ("invalid_number", "$.properties.x", {**good, "order": "f", "x": float("nan")}),
        ("invalid_number", "$.properties.x", {**good, "order": "g", "x": float("inf")}),
        ("invalid_identifier", "$.customer", {**good, "order": "h", "customer": "x" * 501}),
        ("no_identifier", "$", {**good, "order": "i", "customer": " NULL "}),
        ("too_large", "$", {**good, "order": "j", "note": "x" * 33_000}),
    ]
    path = shop.folder / "o.parquet"
    pl.DataFrame([good, *(row for _, _, row in bad)], infer_schema_length=None).write_parquet(path)
    done = shop.load(path, mapping)
    assert (1, len(bad)) == (done.loaded, done.dead_letters)
    found = {(each.raw, each.reason, each.path) for each in shop.registry.dead_letters("shop")}
    assert {(reason, where) for reason, where, _ in bad} == {(reason, where) for _, reason, where in found}
    assert {"bulk:orders"} == {each.route for each in shop.registry.dead_letters("shop")}


def test_lines_that_are_no_rows(shop: Shop) -> None:
    """A line that is no JSON, and a row of CSV with too many cells, are dead letters as they stand in the file."""
    path = shop.folder / "o.ndjson"
    deep = {**ROWS[1], "a": json.loads("[" * 40 + "]" * 40)}
    many = {**ROWS[1], **{f"p{number}": 1 for number in range(301)}}
    path.write_bytes(ndjson(ROWS[:1]) + b'{"order": 9\n[1]\n\n{"order": NaN}\n' + ndjson((deep, many))[:0])
    with path.open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in (deep, many))
    done = shop.load(path)
    reasons = {"invalid_json": 2, "invalid_number": 1, "too_deep": 1, "too_many_properties": 1}
    assert (1, reasons) == (done.loaded, done.letters)
    assert {'{"order": 9', "[1]", '{"order": NaN}'} <= {each.raw for each in shop.registry.dead_letters("shop")}
    table = shop.folder / "o.csv"
    table.write_text('order,at,customer,mail\n"6",2026-01-05,7,,8\n7,2026-01-05,"a ""b""\nc"\n\n8,2026-01-05\n')
    done = shop.load(table, MAPPING.replace("types: {total: number, gift: boolean}\n", ""))
    assert (1, {"invalid_field": 1, "no_identifier": 1}) == (done.loaded, done.letters)
    assert ('user:a "b"\nc',) in shop.rows("source_id")


PLACES = ("load.after_reserve", "load.before_manifest", "load.after_manifest", "load.before_keep")


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("name", ["o.parquet", "o.csv.gz", "o.ndjson"])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("batch", [1, 2])
def test_a_load_that_dies_goes_on(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, name: str, place: str, batch: int
) -> None:
    """Killed anywhere and run again, nothing is lost or doubled, and what has landed is not read again."""
    hits = 0

    def die(reached: str) -> None:
        nonlocal hits
        hits += reached == place
        if reached == place and hits == batch:
            raise KeyboardInterrupt

    path = write(shop.folder, name)
    with monkeypatch.context() as patched:
        patched.setattr(landing, "reached", die)
        with pytest.raises(KeyboardInterrupt):
            shop.load(path)
    landed = shop.registry.events("shop")
    begun = shop.loading([path]).begun()
    assert landed == (begun.loaded if begun else 0)
    done = shop.load(path)
    assert (5, 0) == (done.loaded, done.duplicates)
    assert ["1", "2", "3", "4", "5"] == sorted(str(event_id) for (event_id,) in shop.rows("event_id"))
    assert None is shop.loading([path]).begun()


def test_too_many_dead_letters_stop_a_load(shop: Shop) -> None:
    """A mapping that makes dead letters of everything is stopped before it has filled the list."""
    path = csv_file(shop.folder / "o.csv")
    with pytest.raises(LoadError, match=r"more than 2 rows are no events \(5 `invalid_timestamp`\)"):
        shop.load(path, MAPPING.replace("ts: at", "ts: total").replace("total: number, ", ""), most_dead_letters=2)
    assert ([], []) == (shop.rows("seq"), shop.letters())


def test_kinds_and_attributes(shop: Shop) -> None:
    """An identify sets attributes, a page has its name as a property, an alias joins what it names."""
    mapping = """\
name: people
identifiers: {user: user, anon: visitor}
kind: {column: type}
event: what
ts: {column: at, unit: s}
event_id: {hash: [type, user, at]}
attributes: {plan: plan, email: contact.email}
properties: [amount]
previous_id: before
"""
    rows = [
        {"type": "identify", "user": 1, "visitor": "v", "at": 1, "plan": "free", "contact": {"email": "A@b.c"}},
        {"type": "page", "user": 1, "visitor": None, "at": 2, "what": "Home", "amount": 3.5},
        {"type": "alias", "user": 1, "visitor": None, "at": 3, "before": "old"},
        {"type": "track", "user": 1, "visitor": None, "at": 4, "what": "buy", "amount": 0.1, "plan": "paid"},
    ]
    path = shop.folder / "people.parquet"
    pl.DataFrame(rows, infer_schema_length=None).write_parquet(path)
    assert (4, {}) == ((done := shop.load(path, mapping)).loaded, done.letters)
    found = shop.rows("kind, name, properties, alias, identifiers")
    mail = str(found[0][4])
    assert ["user:1", "anon:v"] == [name for name in json.loads(mail) if not name.startswith("email:")]
    assert 3 == len(json.loads(mail))
    assert [
        ("identify", "identify", {"plan": "free", "email": "A@b.c"}, None),
        ("page", "page", {"amount": 3.5, "name": "Home"}, None),
        ("alias", "alias", {}, "anon:old"),
        ("track", "buy", {"amount": 0.1}, None),
    ] == [(kind, name, json.loads(str(text)), alias) for kind, name, text, alias, _ in found]
    shop.load(path, mapping)
    assert 4 == shop.registry.events("shop")


def test_clock_changes(shop: Shop) -> None:
    """Texts of a local clock land at their instants, also in the hours that come twice or never."""
    mapping = MAPPING.replace("ts: at", "ts: {column: at, zone: America/New_York}")
    times = ("2025-11-02 00:30:00", "2025-11-02 01:30:00", "2025-11-02 02:30:00", "2025-03-09 02:30:00", "2025-03-09")
    rows = tuple({**row, "at": at} for row, at in zip(ROWS, times, strict=True))
    shop.load(csv_file(shop.folder / "o.csv", rows), mapping)
    expected = ["2025-11-02T04:30Z", "2025-11-02T05:30Z", "2025-11-02T07:30Z", "2025-03-09T07:30Z", "2025-03-09T05:00Z"]
    assert sorted(map(parse_instant, expected)) == [ts_ms for (ts_ms,) in shop.rows("ts_ms")]


def test_blocked_by_the_project(shop: Shop) -> None:
    """What the project blocks names nobody."""
    shop.rules = Rules(IdentitySettings(blocked_values=frozenset({"8", "bob@x.org"})))
    done = shop.load(csv_file(shop.folder / "o.csv"))
    assert (3, {"no_identifier": 2}) == (done.loaded, done.letters)


def test_the_same_as_the_log(shop: Shop) -> None:
    """Events that are loaded and events of the log are the same rows of the lake."""
    documents = [
        {"amount": 1.5, "cart": {"total": 2, "a.b": True}, "dueOn": "2018-01-01", "tags": ["x", 1, None]},
        {"amount": "many", "Amount": 7, "amounts": [], "due": "2018-01-01T00:00:00Z"},
        {"odd": 'say "hi"\\\n\u2028ü', "big": 10**30, "none": None, "exact": 12345678901.234567},
    ]
    lines = [{"id": f"e{n}", "who": "ann", "v": "x", "at": 1_000 + n, "p": each} for n, each in enumerate(documents)]
    path = shop.folder / "e.ndjson"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    mapping = (
        "name: e\nidentifiers: {user: who, anon: v}\nevent: {value: buy}\nts: {column: at, unit: ms}\nevent_id: id\n"
    )
    shop.load(path, mapping + "properties: {all_of: p}\n")
    registry = Registry(f"sqlite:///{shop.folder}/other/registry.db")
    other = Shop(shop.folder / "other", registry, registry.create_project("shop", "America/New_York"))
    events = LoggedEvents()
    for number, line in enumerate(lines):
        day = other.project.zone.day(1_000 + number)
        record = EventRecord(f"e{number}", "track", "buy", 1_000 + number, 2_000, day, json.dumps(line["p"]))
        events.seq.append(number + 1)
        events.appended_at_ms.append(2_000)
        events.identifiers.append(("user:ann", "anon:x"))
        events.records.read(f"[{write_record(record)}]".encode())
    land_stretch(other.home, other.registry, other.project, 0, len(lines), events.frame())
    files, others = shop.registry.files("shop"), other.registry.files("shop")
    assert [file.columns for file in others] == [file.columns for file in files]
    left = {"received_at_ms", "appended_at_ms", "properties"}
    tables = [
        pl.read_parquet(each.absolute(home)).sort("seq")
        for each, home in ((files[0], shop.home.lake), (others[0], other.home.lake))
    ]
    assert tables[1].drop(left).equals(tables[0].drop(left))
    texts = [[json.loads(text) for text in table["properties"]] for table in tables]
    assert texts[1] == texts[0]
    assert shop.registry.seen("shop") == other.registry.seen("shop")
    registry.close()


def test_a_look(shop: Shop) -> None:
    """A look says what would be understood, and lands nothing."""
    mapping = read_mapping(Source(MAPPING, "m.yaml"))
    path = csv_file(shop.folder / "o.csv", (*ROWS, {**ROWS[0], "at": "soon"}))
    found = look([Input.of(path, mapping)], mapping, Facts(shop.project.zone, parse_instant("2026-02-01")), 2)
    assert (5, {"invalid_timestamp": 1}, 2) == (found.events, found.problems, found.sample.height)
    assert (
        "o.csv, row 6: `at` holds `soon`: expected a text like `2018-01-01T04:01:21Z`"
        == found.examples["invalid_timestamp"]
    )
    assert () == shop.registry.files("shop")


@pytest.mark.parametrize(
    ("change", "saying"),
    [
        (
            ("event_id: order", "event_id: ordr"),
            r"has no column `ordr` \(`event_id` of the mapping\): the nearest is `order`",
        ),
        (("ts: at", "ts: n"), r"`n` of .* holds numbers: say `unit: s`, `ms` or `us` under `ts`"),
        (
            ("types:", "leave_out: [b]\ntypes:"),
            r"`l` of .* holds lists of objects, no property: name it under `leave_out`",
        ),
    ],
)
def test_a_mapping_that_does_not_fit(shop: Shop, change: tuple[str, str], saying: str) -> None:
    """A column that is not there, or cannot be what the mapping says, is named before anything lands."""
    path = shop.folder / "o.parquet"
    more = [pl.lit(1).alias("n"), pl.lit(b"").alias("b"), pl.Series("l", [[{"a": 1}]] * 5)]
    pl.DataFrame(ROWS).with_columns(more).write_parquet(path)
    with pytest.raises(LoadError, match=saying):
        shop.load(path, MAPPING.replace(*change))


@pytest.mark.parametrize("number", ["1e99999999999999999999", "NaN"])
def test_a_number_that_nothing_holds_spoils_its_own_row(number: str) -> None:
    """The row is refused with a reason; the load goes on."""
    with pytest.raises(NoDocument) as refused:
        read_document(f'{{"amount": {number}}}')
    assert ("invalid_number", True) == (refused.value.reason, number in str(refused.value))
