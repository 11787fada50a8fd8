"""Whole columns are read as the functions of one value read them."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dsl.clock import Zone, parse_instant
from dsl.identifiers import Kind, identifiers
from dsl.identity_records import IdentitySettings
from dsl.numbers import bounded, read_number
from warehouse.bulk.instants import from_local, instants_of, iso_instants
from warehouse.bulk.mapping import IDENTIFIERS, Stamp, Unit
from warehouse.bulk.micros import micros_of, micros_of_texts
from warehouse.bulk.people import LookUp, Rules, identifier, said, texts_of
from warehouse.property_text import number_texts

ODD_NUMBERS = [
    "1",
    "-1.5",
    "+.5",
    "5.",
    "0.0000005",
    "-0.0000005",
    "1e3",
    "1E-7",
    "9223372036854.775807",
    "NaN",
    "",
    "x",
]
NUMBERS = st.one_of(
    st.sampled_from(ODD_NUMBERS),
    st.from_regex(r"[+-]?[0-9]{1,20}(\.[0-9]{1,9})?", fullmatch=True),
    st.decimals(allow_nan=False, allow_infinity=False, places=7).map(lambda number: format(number, "f")),
)
NEW_YORK = Zone("America/New_York")


@settings(deadline=None, max_examples=60)
@given(st.lists(st.none() | NUMBERS, max_size=20))
def test_texts_of_numbers(texts: list[str | None]) -> None:
    """A text is the number that `read_number` reads, or none."""
    expected = [None if text is None else read_number(text) for text in texts]
    assert expected == micros_of_texts(pl.Series(texts, dtype=pl.String)).to_list()


@settings(deadline=None, max_examples=60)
@given(st.lists(st.none() | st.floats(allow_nan=True) | st.decimals(-(10**7), 10**7, places=2).map(float), max_size=20))
@example([5.49, 0.1 + 0.2, 1e-7, 9.3e12, float("inf"), -0.0, 562949953.421312])
def test_floats(values: list[float | None]) -> None:
    """A double is the number of its shortest decimal text."""
    expected = [None if value is None else read_number(repr(value)) for value in values]
    assert expected == micros_of(pl.Series(values, dtype=pl.Float64)).to_list()


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=20))
def test_integers_and_decimals(values: list[int]) -> None:
    """Whole numbers and decimals are exact, and missing where they are out of range."""
    assert [bounded(value * 10**6) for value in values] == micros_of(pl.Series(values, dtype=pl.Int64)).to_list()
    decimals = pl.Series([Decimal(value).scaleb(-6) for value in values], dtype=pl.Decimal(38, 6))
    assert values == micros_of(decimals).to_list()
    assert values == micros_of_texts(number_texts(pl.Series(values, dtype=pl.Int64))).to_list()


_ODD_INSTANT = (
    r"20[12][0-9]-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\.[0-9]{1,7})?[+-][0-2][0-9]:[0-6][0-9]"
)
INSTANTS = st.one_of(
    st.sampled_from(
        ["2018-01-01", "2018-02-30", "2018-01-01T24:00:00Z", "2018-01-01 10:00", "2018-01-01T10:00:60Z", "soon", "",
         "2018-01-01T10:00:00+05", "2018-01-01T10:00:00,5 +0530", "2018-01-01T10:00Z", "9999-12-31T23:59:59.999-23:59",
         "0001-01-02T00:00:00Z", "2018-01-01T10:00:00+24:00", "2018-01-01t10:00:00.123456789z", "20180101"]
    ),
    st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1)).map(lambda at: at.isoformat()),  # noqa: DTZ001  # without zone
    st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=st.just(UTC)).map(lambda at: at.isoformat(" ")),  # noqa: DTZ001
    st.from_regex(_ODD_INSTANT, fullmatch=True),
)  # fmt: skip


@settings(deadline=None, max_examples=60)
@given(st.lists(st.none() | INSTANTS, max_size=20), st.sampled_from(["UTC", "America/New_York", "Pacific/Apia"]))
def test_texts_of_instants(texts: list[str | None], timezone: str) -> None:
    """A text is the instant that `parse_instant` reads, a date alone in the project's zone, or none."""
    zone = Zone(timezone)

    def parsed(text: str | None) -> int | None:
        try:
            return None if text is None else parse_instant(text, zone)
        except ValueError:
            return None

    assert [parsed(text) for text in texts] == iso_instants(pl.Series(texts, dtype=pl.String), zone).to_list()


@pytest.mark.parametrize("timezone", ["America/New_York", "Australia/Lord_Howe", "Europe/Oslo", "Pacific/Apia"])
def test_local_times(timezone: str) -> None:
    """A local time that comes twice is the first of the two; one that is skipped is as if clocks had not changed."""
    zone, epoch = Zone(timezone), datetime(1970, 1, 1)  # noqa: DTZ001  # local
    lo_ms, hi_ms = parse_instant("2011-06-01"), parse_instant("2018-06-01")
    edges = [at + offset for at, offset in zone.offsets(lo_ms, hi_ms)]
    local_ms = [edge + by * 600_000 + ms for edge in edges for by in range(-15, 16) for ms in (-1, 0, 1)]
    info = ZoneInfo(timezone)
    moments = [(epoch + timedelta(milliseconds=ms)).replace(tzinfo=info) for ms in local_ms]
    expected = [(moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1) for moment in moments]
    assert expected == from_local(pl.Series(local_ms, dtype=pl.Int64), zone).to_list()


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (1_514_779_281, "s", 1_514_779_281_000),
        (1_514_779_281.9999, "s", 1_514_779_281_999),
        (-1.0005, "s", -1_001),
        ("1514779281.5", "s", 1_514_779_281_500),
        (1_514_779_281_000, "ms", 1_514_779_281_000),
        ("1514779281000", "ms", 1_514_779_281_000),
        (1_514_779_281_000_999, "us", 1_514_779_281_000),
        ("1514779281000.5", "us", 1_514_779_281),
        (2**62, "s", None),
        ("soon", "ms", None),
    ],
)
def test_numbers_since_1970(value: float | str, unit: Unit, expected: int | None) -> None:
    """Seconds, milliseconds and microseconds are floored to milliseconds."""
    assert [expected] == instants_of(pl.Series([value]), Stamp("t", unit=unit), NEW_YORK).to_list()


def test_other_formats() -> None:
    """A format of `strftime` is read in the zone of the stamp; what has a zone of its own keeps it."""
    local = Stamp("t", "%d/%m/%Y %H:%M", zone=NEW_YORK)
    assert [parse_instant("2017-11-05T05:30Z"), None] == instants_of(
        pl.Series(["05/11/2017 01:30", "31/02/2017 00:00"]), local, Zone("UTC")
    ).to_list()
    assert [parse_instant("2017-11-05T04:00Z")] == instants_of(
        pl.Series(["05.11.2017"]), Stamp("t", "%d.%m.%Y"), NEW_YORK
    ).to_list()
    assert [parse_instant("2017-11-05T00:30Z")] == instants_of(
        pl.Series(["2017-11-05 01:30 +0100"]), Stamp("t", "%Y-%m-%d %H:%M %z"), NEW_YORK
    ).to_list()


VALUES = st.none() | st.sampled_from(
    ["", " Guest", "NULL", "0", "00-0", "-1", "KIOSK", "ann", "ÄNN", "a@b.c", " A@B.C ", 'q"\\', "null ", "ann\n", "7"]
)
PEOPLE = st.fixed_dictionaries({}, optional=dict.fromkeys(IDENTIFIERS, VALUES))


@settings(deadline=None, max_examples=60)
@given(st.lists(PEOPLE, min_size=1, max_size=8), st.booleans())
def test_identifiers(people: list[dict[Kind, str | None]], blocks: bool) -> None:
    """Identifiers of whole columns are those of each row: blocked ones gone, the strongest first, each once."""
    settings = IdentitySettings(blocked_values=frozenset({"kiosk", "a@b.c"} if blocks else ()))
    rules = Rules(settings)
    columns = {kind: pl.Series([each.get(kind) for each in people], dtype=pl.String) for kind in IDENTIFIERS}
    found = said({kind: identifier(kind, texts, rules) for kind, texts in columns.items()}, None, rules)
    expected = [tuple(name for name in identifiers(each) if not settings.blocks(name)) for each in people]
    lists = [
        tuple(json.loads(listed)) if listed is not None else () if source is None else (source,)
        for source, listed in found.select("source_id", "identifiers").iter_rows()
    ]
    assert expected == lists


def test_previous_ids() -> None:
    """An alias means a known identifier of the value, or one that the row names, else an anonymous one."""

    def known(asked: object) -> dict[str, str]:
        people = {"external:x": "external:x", "device:x": "device:x", "user:p": "user:first"}
        return {name: people[name] for name in asked if name in people}  # type: ignore[attr-defined]

    rules = Rules(IdentitySettings(blocked_values=frozenset({"till"})), known)
    named: dict[Kind, pl.Series] = {"user": pl.Series(["user:a"] * 6), "device": pl.Series([None] * 5 + ["device:d"])}
    previous = pl.Series(["x", "new", "p", "a", "TILL", "d"])
    found = said(named, previous, rules)
    assert ["external:x", "anon:new", "user:first", None, None, "device:d"] == found["alias"].to_list()
    assert [None] * 6 == found["identifiers"].to_list()


def test_profile_ids_address_profiles() -> None:
    """A `user` value that is the id of a known profile stands for the first identifier of that profile."""
    profile = "02c4bdd9-5236-5938-86aa-4183ef2979ee"
    known: LookUp = lambda asked: {name: "user:208" for name in asked if name == f"user:{profile}"}  # noqa: E731
    found = identifier("user", pl.Series([profile, profile.replace("0", "1"), "7"]), Rules(known=known))
    assert ["user:208", f"user:{profile.replace('0', '1')}", "user:7"] == found.to_list()


def test_numbers_as_identifiers() -> None:
    """A number is its decimal text, also where a column of whole numbers came as doubles."""
    assert ["208", None, "7"] == texts_of(pl.Series([208.0, None, 7.0])).to_list()
    assert ["208", "12345678901234567"] == texts_of(pl.Series([208, 12345678901234567])).to_list()
