"""For whom traits and segments are computed again, by hand."""

from dataclasses import replace
from pathlib import Path

import pytest

from dsl.catalog import Catalog, Segment, Trait
from dsl.check import check_catalog
from dsl.clock import parse_instant
from dsl.identifiers import profile_id
from tests.warehouse.bench import Bench
from tests.warehouse.small_shop import NOW_MS, event, open_shop
from tests.warehouse.test_increments import scratch
from warehouse.database import connect
from warehouse.values import align_values, build_values

HOUR, DAY = 3_600_000, 86_400_000
CATALOG = Catalog(
    traits=(
        Trait("orders", "events.purchase.count"),
        Trait("orders_7d", "events.purchase.count_7d"),
        Trait("recency", "events.purchase.days_since_last"),
    ),
    segments=(Segment("active", "events.purchase.count_7d >= 1"), Segment("gone", "recency >= 30")),
    timezone="America/New_York",
)
CHECKED = check_catalog(CATALOG)


def test_only_profiles_that_something_happened_to_are_computed(bench: Bench) -> None:
    """An event, a tile that leaves a window, an age that crosses its constant: others keep their rows as they are."""
    bench.run(CHECKED)
    bench.connection.execute("UPDATE traits SET orders = 99")
    bench.shop.land(event("new", "abe", 1, amount=3))
    bench.run(CHECKED)
    assert {"abe": 1, "ann": 99, "bob": 99, "cem": 99, "dee": 99, "eva": 99} == bench.by_user("traits", "orders")
    # ann's purchases leave the seven days with the fifth day.
    bench.run(CHECKED, NOW_MS + 5 * DAY)
    assert [("abe", 1), ("ann", 3), ("bob", 99)] == list(bench.by_user("traits", "orders").items())[:3]
    # bob bought ten days before: after twenty more he is gone.
    crossing = NOW_MS + 20 * DAY
    bench.run(CHECKED, crossing - 1)
    assert (99, ["cem"]) == (bench.by_user("traits", "orders")["bob"], bench.members("gone"))
    bench.run(CHECKED, crossing)
    assert (1, ["bob", "cem"]) == (bench.by_user("traits", "orders")["bob"], bench.members("gone"))
    assert 99 == bench.by_user("traits", "orders")["cem"]


def test_ages_are_of_the_instant_of_the_refresh(bench: Bench) -> None:
    """An age is another one at each refresh, for everybody, though nobody is computed for it."""
    bench.run(CHECKED)
    assert {"ann": 2, "bob": 10, "cem": 200, "dee": None, "eva": None} == bench.by_user("traits", "recency")
    bench.connection.execute("UPDATE traits SET orders = 99")
    bench.run(CHECKED, NOW_MS + DAY)
    assert {"ann": 3, "bob": 11, "cem": 201, "dee": None, "eva": None} == bench.by_user("traits", "recency")
    assert {99} == set(bench.by_user("traits", "orders").values())


def test_next_changes_are_a_table(bench: Bench) -> None:
    """Analysts see whom time alone may move in or out, and when; who can only come by an event is left out."""
    bench.run(CHECKED)
    found = bench.rows(
        f"SELECT segment, user_id, next_change_ms - {NOW_MS}, epoch_ms(next_change_at) = next_change_ms "
        "FROM next_changes JOIN profiles USING (profile_id) ORDER BY ALL"
    )
    # The hour in which ann bought three days before leaves the window when it is over.
    assert [
        ("active", "ann", 4 * DAY + HOUR, True),
        ("gone", "ann", 27 * DAY + DAY // 2, True),
        ("gone", "bob", 20 * DAY, True),
    ] == found


def test_source_that_moves_is_two_profiles_again(bench: Bench) -> None:
    """When a source comes to another profile, both are computed again though neither has a new event."""
    bench.shop.land(*(event(f"quiet-{n}", f"quiet-{n}", 20) for n in range(9)))
    before = bench.run(CHECKED)
    assert ["ann"] == bench.members("active")
    bench.shop.land(event("other", "eva", 1, name="visit"))
    ann, dee, seq = profile_id("user:ann"), profile_id("user:dee"), before.cut + 1
    bench.connection.execute("UPDATE identities SET valid_to_seq = ? WHERE source_id = 'user:ann'", [seq])
    bench.connection.execute("INSERT INTO identities VALUES ('user:ann', ?, ?, NULL)", [dee, seq])
    refresh = bench.run(CHECKED)
    assert [(3,)] == bench.rows(f"SELECT orders FROM traits WHERE profile_id = '{dee}'")
    assert [("active", dee)] == bench.rows("SELECT segment, profile_id FROM segment_members WHERE segment = 'active'")
    assert [(1, 1, 1)] == bench.rows(
        "SELECT members, entered, exited FROM segment_sizes "
        f"WHERE segment = 'active' AND refresh_id = {refresh.refresh_id}"
    )
    for table in ("traits", "evaluated", "next_changes", "segment_members"):
        assert [] == bench.rows(f"SELECT * FROM {table} WHERE profile_id = '{ann}'")


def test_after_a_part_everybody_is_computed(bench: Bench) -> None:
    """What a part was computed for is not gone on from."""
    bench.run(CHECKED)
    bench.connection.execute("UPDATE traits SET orders = 99")
    bench.run(CHECKED, keys=["orders_7d"])
    bench.run(CHECKED)
    assert {"ann": 3, "bob": 1, "cem": 1, "dee": 0, "eva": 0} == bench.by_user("traits", "orders")


@pytest.mark.parametrize("text", [None, "1 > 2", "events.purchase.count"])
def test_after_other_definitions_everybody_is_computed(bench: Bench, text: str | None) -> None:
    """Definitions that were others meanwhile, even if nothing was computed with them, are not gone on from."""
    trait = Trait("orders_again", "events.purchase.count_7d")
    checked = check_catalog(replace(CATALOG, traits=(*CATALOG.traits, trait)))
    bench.run(checked)
    changed = (replace(trait, expression=text),) if text else ()
    other = check_catalog(replace(CATALOG, traits=(*CATALOG.traits, *changed)))
    align_values(bench.connection, other, bench.begin(other))
    bench.run(checked)
    assert {"ann": 2, "bob": 0, "cem": 0, "dee": 0, "eva": 0} == bench.by_user("traits", "orders_again")
    bench.run(other)
    columns = [column for (column,) in bench.rows("SELECT column_name FROM (DESCRIBE traits)")]
    assert (text is not None) == ("orders_again" in columns)
    if text:
        expected = {False} if text == "1 > 2" else {0, 1, 3}
        assert expected == set(bench.by_user("traits", "orders_again").values())


def test_what_is_wrong_is_put_right(bench: Bench) -> None:
    """Computing again within a refresh is computing for everybody; who has no row in `evaluated` is asked."""
    refresh = bench.run(CHECKED)
    right = bench.by_user("traits", "orders")
    bench.connection.execute("UPDATE traits SET orders = 99")
    build_values(bench.connection, CHECKED, CHECKED.order, refresh)
    assert right == bench.by_user("traits", "orders")
    bench.connection.execute("UPDATE traits SET orders = 99")
    bench.connection.execute("DELETE FROM evaluated WHERE profile_id = ?", [profile_id("user:ann")])
    bench.run(CHECKED)
    assert (3, 99) == tuple(bench.by_user("traits", "orders")[who] for who in ("ann", "bob"))


def test_dates_that_come_twice(tmp_path: Path) -> None:
    """Where clocks go back over midnight a date ends, begins again and ends: tables are right at each of these."""
    midnight, back, again = (parse_instant(f"2006-10-29T0{at}Z") for at in ("2:30:00", "2:31:00", "3:30:00"))
    catalog = Catalog(
        traits=(Trait("dates", "events.purchase.unique_days_2d"), Trait("streak", "events.purchase.streak_days")),
        timezone="America/St_Johns",
    )
    checked = check_catalog(catalog)
    shop = open_shop(tmp_path / "home", catalog.timezone)
    bought = {"ann": midnight, "bob": midnight - 1, "cem": midnight - 2 * DAY, "dee": midnight - DAY}
    bought |= dict.fromkeys(("eva", "fay", "gil", "hal", "ina", "jim"), midnight - 9 * DAY)
    with connect(shop.home.warehouse) as connection:
        bench = Bench(shop, connection)
        rows = [event(f"e{who}", who, 0) | {"ts_ms": ts_ms} for who, ts_ms in bought.items()]
        shop.land(*rows, received_at_ms=midnight)
        for t_ms in (midnight + 1, back - 1, back, again - 1, again, again + DAY - 1, again + DAY, again + 2 * DAY):
            refresh = bench.run(checked, t_ms)
            expected = scratch(bench, checked, refresh, t_ms)
            found = bench.rows("SELECT profile_id, dates, streak FROM traits")
            assert expected == {profile: {"dates": dates, "streak": streak} for profile, dates, streak in found}
