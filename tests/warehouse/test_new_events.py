"""A refresh costs what is new: it opens no file of before, and still knows all that files of before have said."""

from itertools import chain

import pytest

from dsl.bases import bases_of
from dsl.catalog import Catalog, Segment, Trait
from dsl.check import check_catalog
from tests.warehouse.bench import Bench
from tests.warehouse.small_shop import DAY_MS, NOW_MS, event
from warehouse.aggregates import build_aggregates, count_aggregates
from warehouse.columns import quoted
from warehouse.database import Connection
from warehouse.exceptions import RefreshError
from warehouse.online_bases import packed_sources
from warehouse.refresh import Refresh, begin_refresh

CHECKED = check_catalog(
    Catalog(
        traits=(
            Trait("orders", "events.purchase.count"),
            Trait("spend_30d", "events.purchase.sum_30d(amount)"),
            Trait("active_days", "events.purchase.unique_days"),
            Trait("trials", "events.trial_ended.count"),
        ),
        segments=(Segment("buyers", "orders >= 1"),),
        timezone="America/New_York",
    )
)


def told(event_id: str, user: str) -> dict[str, object]:
    """What the system says of a user."""
    return event(event_id, user, 1, "system") | {"name": "trial_ended"}


def begin(bench: Bench, now_ms: int = NOW_MS) -> Refresh:
    """A row of the ledger, nothing computed."""
    shop = bench.shop
    return begin_refresh(bench.connection, shop.registry, shop.project, shop.home.lake, CHECKED, 1, now_ms)


def past_now(bench: Bench, now_ms: int) -> int:
    """Milliseconds from now to the instant of a new refresh."""
    return begin(bench, now_ms).t_ms - now_ms


def published(bench: Bench, refresh: Refresh, since: int) -> list[str]:
    """Sources that are given to an online store which has all tiles of a cut."""
    held = bases_of(CHECKED.aggregates.values()).tiles_ids
    return sorted(chain.from_iterable(packed_sources(bench.connection, CHECKED, refresh, since, held)))


def aggregates(connection: Connection) -> list[tuple[object, ...]]:
    """Every aggregate of every profile."""
    columns = ", ".join(quoted(use.column) for use in CHECKED.aggregates.values())
    return connection.execute(f"SELECT profile_id, {columns} FROM aggregates ORDER BY profile_id").fetchall()


def test_a_refresh_opens_the_files_of_new_events_only(bench: Bench) -> None:
    """From its first step to what is published, with events of today and of years ago; then it has missed nothing."""
    before = bench.run(CHECKED)
    known = [file.absolute(bench.shop.home.lake) for file in bench.shop.registry.files("default")]
    bench.shop.land(event("new", "ann", 0.5, amount=3), event("late", "bob", 3_000, amount=4), told("ended", "cem"))
    for file in known:
        # Empty files cannot be read: whoever opens one fails.
        file.rename(file.with_suffix(".aside")).with_suffix(".parquet").touch()
    refresh = bench.run(CHECKED)
    assert ["user:ann", "user:bob", "user:cem"] == published(bench, refresh, before.cut)
    assert [(14,)] == bench.rows(f"SELECT events FROM refreshes WHERE refresh_id = {refresh.refresh_id}")
    assert [] == published(bench, bench.run(CHECKED), refresh.cut)
    for file in known:
        file.with_suffix(".aside").replace(file)
    assert [(14,)] == bench.rows("SELECT count(*) FROM events")
    kept = aggregates(bench.connection)
    count_aggregates(bench.connection, CHECKED, refresh)
    assert aggregates(bench.connection) == kept
    assert {"ann": 4, "bob": 2, "cem": 1} == dict(
        bench.rows("SELECT user_id, orders FROM traits JOIN profiles USING (profile_id) WHERE orders > 0 ORDER BY ALL")
    )


def test_an_event_of_the_system_changes_whom_it_is_about(bench: Bench) -> None:
    """It makes nobody a profile, and is counted and published of whoever is one."""
    before = bench.run(CHECKED)
    bench.shop.land(told("first", "dee"), told("other", "nobody"))
    refresh = bench.run(CHECKED)
    trials = {"ann": 0, "bob": 0, "cem": 0, "dee": 1, "eva": 0}
    assert trials == bench.by_user("traits", "trials")
    assert ["user:dee", "user:nobody"] == published(bench, refresh, before.cut)
    bench.shop.land(told("second", "dee"))
    bench.run(CHECKED)
    assert trials | {"dee": 2} == bench.by_user("traits", "trials")


def test_a_refresh_is_after_everything_known(bench: Bench) -> None:
    """Its instant is past the newest event, in a new file or an old one, also where the clock has gone back."""
    hour = DAY_MS // 24
    newest = NOW_MS - DAY_MS
    assert 0 == past_now(bench, NOW_MS)
    assert 1 == past_now(bench, newest)
    assert hour + 1 == past_now(bench, newest - hour)
    assert hour + 1 == past_now(bench, newest - hour)
    bench.shop.land(event("late", "ann", 500))
    assert hour + 1 == past_now(bench, newest - hour)
    assert 0 == past_now(bench, newest + hour)
    bench.shop.land(event("new", "ann", 0.5))
    assert DAY_MS // 2 - hour + 1 == past_now(bench, newest + hour)
    assert 0 == past_now(bench, NOW_MS)


def test_events_are_counted_up_to_the_cut(bench: Bench) -> None:
    """Also where it lies within a file, and below the cut of the last refresh: of another lake."""
    shop, held = bench.shop, bench.shop.registry.landed_seq("default")
    shop.land({**event("a", "ann", 3), "ts_ms": NOW_MS - 5}, {**event("b", "ann", 3), "ts_ms": NOW_MS - 4})
    found = []
    for cut in (held, held + 1, held + 2, 4, held + 2):
        # A stretch of the log without events moves the newest cut, here to where it has been.
        shop.registry.add_log("default", (), (), shop.registry.landed_seq("default"), cut)
        begin(bench)
        found += bench.rows(
            "SELECT events, (SELECT count(*) FROM events) FROM refreshes ORDER BY refresh_id DESC LIMIT 1"
        )
    assert [(11, 11), (12, 12), (13, 13), (4, 4), (13, 13)] == found


def test_aggregates_before_their_turn_are_refused(bench: Bench) -> None:
    """Neither aggregates nor what is published goes on from sources of an earlier cut: events would be passed over."""
    bench.run(CHECKED)
    bench.shop.land(event("new", "ann", 1))
    refresh = begin(bench)
    with pytest.raises(RefreshError, match="`sources` holds the events up to 11 and not up to 12"):
        build_aggregates(bench.connection, CHECKED, refresh)
    with pytest.raises(RefreshError, match="`sources` holds the events up to 11 and not up to 12"):
        published(bench, refresh, 11)
