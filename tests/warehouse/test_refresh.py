"""Refresh: from the lake to the tables, by hand-computed figures."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from itertools import chain
from pathlib import Path
from types import MappingProxyType

import pytest

from dsl.bases import bases_of
from dsl.catalog import Catalog, EventSchema, Segment, Trait
from dsl.check import CheckedCatalog, check_catalog
from dsl.evaluate import Evaluation
from dsl.identifiers import profile_id
from dsl.state import State, Value
from dsl.tile_codec import unpack
from dsl.tiles import Folded, attributes_of
from tests.warehouse.bench import Bench
from tests.warehouse.small_shop import CATALOG, DAY_MS, EVENTS, NOW_MS, event, open_shop
from warehouse.database import connect
from warehouse.exceptions import RefreshError
from warehouse.online_bases import packed_sources
from warehouse.online_profiles import changed_profiles, read_ranks
from warehouse.refresh import Refresh, current_refresh, open_project
from warehouse.values import align_values, build_values, segment_sizes

CHECKED = check_catalog(CATALOG)


def test_refresh_is_of_the_cut_and_the_projects_now(bench: Bench) -> None:
    """A refresh knows everything that has landed, at the project's now and its local day."""
    refresh = bench.run(CHECKED)
    assert Refresh(1, len(EVENTS), NOW_MS, 20543, 1) == refresh
    assert refresh == current_refresh(bench.connection)
    assert [(11, 5, 5)] == bench.rows("SELECT events, profiles, members FROM refreshes WHERE finished_at IS NOT NULL")


def test_instant_is_later_than_every_event(bench: Bench) -> None:
    """An event that lies ahead of the clock moves t to the millisecond after it."""
    bench.shop.land(event("ahead", "ann", -0.5, amount=7), received_at_ms=NOW_MS + DAY_MS)
    refresh = bench.run(CHECKED)
    assert NOW_MS + DAY_MS // 2 + 1 == refresh.t_ms
    assert 4 == bench.by_user("traits", "orders")["ann"]


def test_traits_are_the_figures_of_the_shop(bench: Bench) -> None:
    """Each trait is a typed column: counts whole, money exact, missing NULL."""
    bench.run(CHECKED)
    assert {"ann": 3, "bob": 1, "cem": 1, "dee": 0, "eva": 0} == bench.by_user("traits", "orders")
    spend = bench.by_user("traits", "spend")
    assert [Decimal(120), Decimal(20), Decimal(500), Decimal(0), Decimal(0)] == list(spend.values())
    assert Decimal(60) == bench.by_user("traits", "spend_30d")["ann"]
    assert Decimal(40) == bench.by_user("traits", "average_order")["ann"]
    assert {"ann": "premium", "bob": "premium", "cem": None, "dee": None, "eva": "free"} == bench.by_user(
        "traits", "plan"
    )


def test_local_days_are_the_projects(bench: Bench) -> None:
    """Two purchases of one New York evening are one active day, though midnight in UTC lies between them."""
    bench.run(CHECKED)
    assert 1 == bench.by_user("traits", "active_days_14d")["ann"]


def test_attributes_are_the_last_write_of_each(bench: Bench) -> None:
    """Of each attribute the write with the latest ts wins, whenever it arrived; null unsets; numbers stay exact."""
    bench.shop.land(event("late", "ann", 85, "identify", attributes='{"plan": "basic", "age": 1, "city": "Oslo"}'))
    bench.run(CHECKED)
    attributes = bench.by_user("profiles", "attributes")
    assert '{"age":31.5,"city":"Oslo","plan":"premium","vip":true}' == attributes["ann"]
    assert '{"age":12345678901.123456,"plan":"premium","tags":["a",1]}' == attributes["bob"]
    assert "{}" == attributes["dee"]


def test_every_kind_of_value(bench: Bench) -> None:
    """Nested paths, lists, declared timestamps and the context of an event are read by traits as they were sent."""
    address = '{"address": {"city": "Oslo"}, "tags": ["vip", 3], "renewsOn": "2026-04-01"}'
    bench.shop.land(event("i1", "dee", 4, "identify", attributes=address))
    bought = event("p1", "dee", 1, attributes='{"cart": {"total": 70}, "sizes": ["S", "M"], "due": "2026-04-02"}')
    bench.shop.land(bought | {"context": '{"page": {"path": "/sale"}}'})
    catalog = Catalog(
        traits=(
            Trait("city", "profile.address.city", type="string"),
            Trait("tags", "profile.tags", type="list"),
            Trait("days_to_renewal", "0 - days_since(date(profile.renewsOn))"),
            Trait("largest_cart", "events.purchase.max(cart.total)"),
            Trait("due", "events.purchase.max(due)"),
            Trait("sizes", "events.purchase.last(sizes)"),
        ),
        segments=(
            Segment("tagged", 'profile.tags contains "vip" && 3 in profile.tags'),
            Segment("from_sale", 'events.purchase[context.page.path == "/sale" && cart.total > 50].count >= 1'),
            Segment("small", 'events.purchase[sizes contains "S"].count == 1'),
        ),
        events=(EventSchema("purchase", {"cart.total": "number", "sizes": "list", "due": "timestamp"}),),
        timezone="America/New_York",
    )
    bench.run(check_catalog(catalog))
    found = bench.rows("SELECT traits.* EXCLUDE (profile_id) FROM traits JOIN profiles USING (profile_id) "
                       "WHERE user_id = 'dee'")  # fmt: skip
    due = datetime(2026, 4, 2, 4)  # noqa: DTZ001  # midnight in New York, UTC as tables have it
    assert [("Oslo", ["vip", "3"], 1, Decimal(70), due, ["S", "M"])] == found
    assert [["dee"]] * 3 == [bench.members(segment) for segment in ("tagged", "from_sale", "small")]


def test_ranks_are_among_all_profiles(bench: Bench) -> None:
    """`percent_rank` is the share of smaller values among all that have one: for 120, 20, 500, 0, 0 of n - 1 = 4."""
    catalog = Catalog(
        traits=(
            Trait("spend", "events.purchase.sum(amount)"),
            Trait("spend_rank", "percent_rank(spend)"),
            Trait("age_rank", "percent_rank(profile.age)"),
            Trait("reversed", "percent_rank(-percent_rank(spend))"),
            Trait("alone", "percent_rank(if(spend > 100 && spend < 500, 1, number(profile.none)))"),
        ),
        segments=(Segment("top", "percent_rank(spend) >= 0.75"),),
        timezone="America/New_York",
    )
    checked = check_catalog(catalog)
    refresh = bench.run(checked)
    ranks = {"ann": "0.75", "bob": "0.5", "cem": "1", "dee": "0", "eva": "0"}
    assert {who: Decimal(rank) for who, rank in ranks.items()} == bench.by_user("traits", "spend_rank")
    assert {"ann": 0, "bob": 1, "cem": None, "dee": None, "eva": None} == bench.by_user("traits", "age_rank")
    assert {
        "ann": Decimal("0.25"),
        "bob": Decimal("0.5"),
        "cem": 0,
        "dee": Decimal("0.75"),
        "eva": Decimal("0.75"),
    } == (bench.by_user("traits", "reversed"))
    assert {"ann": 0, "bob": None, "cem": None, "dee": None, "eva": None} == bench.by_user("traits", "alone")
    assert ["ann", "cem"] == bench.members("top")
    ranked = dict(read_ranks(bench.connection, checked))
    states = _states(bench, checked, refresh, ranked)
    ann = Evaluation(checked, states[profile_id("user:ann")])
    assert (750_000, 0, 250_000, 0, True) == tuple(
        ann.definition(key) for key in ("spend_rank", "age_rank", "reversed", "alone", "top")
    )


def test_attributes_are_columns_for_analysts(bench: Bench) -> None:
    """An attribute is a column of its type; one of several types is a column of JSON text."""
    bench.run(CHECKED)
    assert Decimal("31.5") == bench.by_user("profiles", "a_age")["ann"]
    assert {"ann": "true", "bob": None, "cem": None, "dee": None, "eva": '"yes"'} == bench.by_user("profiles", "a_vip")
    assert '["a",1]' == bench.by_user("profiles", "a_tags")["bob"]


def test_attributes_that_differ_in_case_only_are_two_columns(bench: Bench) -> None:
    """DuckDB takes names for one that differ in case only: the second column gets a number."""
    bench.shop.land(event("case", "ann", 1, "identify", attributes='{"Plan": 7}'))
    bench.run(CHECKED)
    assert [("a_Plan",), ("a_plan_2",)] == bench.rows(
        "SELECT column_name FROM duckdb_columns() WHERE table_name = 'profiles' AND column_name ILIKE 'a\\_plan%' "
        "ESCAPE '\\' ORDER BY 1"
    )


def test_universe_is_who_was_seen_from_outside(bench: Bench) -> None:
    """An identify makes a profile; a system event does not."""
    bench.run(CHECKED)
    seen = bench.by_user("profiles", "events")
    assert {"ann": 5, "bob": 2, "cem": 1, "dee": 1, "eva": 1} == seen
    assert [(profile_id("user:ann"), ["user:ann"])] == bench.rows(
        "SELECT profile_id, identifiers FROM profiles WHERE user_id = 'ann'"
    )


def test_sources_keep_their_profile(bench: Bench) -> None:
    """A refresh adds the sources that are new and leaves the others as they are."""
    bench.run(CHECKED)
    before = bench.rows("SELECT * FROM identities ORDER BY source_id")
    bench.shop.land(event("new", "abe", 1, amount=3))
    bench.run(CHECKED)
    after = bench.rows("SELECT * FROM identities ORDER BY source_id")
    assert [("user:abe", profile_id("user:abe"), 12, None)] == [row for row in after if row not in before]
    assert set(before) <= set(after)


def test_profile_is_the_merge_of_its_sources(bench: Bench) -> None:
    """With two sources in one profile its events add up, and the newest write of an attribute wins over both."""
    bench.begin(CHECKED)
    ann, eva = profile_id("user:ann"), profile_id("user:eva")
    bench.shop.land(event("merging", "eva", 0.5, name="visit"))
    bench.rows("UPDATE identities SET valid_to_seq = 12 WHERE source_id = 'user:eva'")
    bench.rows(f"INSERT INTO identities VALUES ('user:eva', '{ann}', 12, NULL)")
    bench.run(CHECKED)
    assert [(["user:ann", "user:eva"], 7, '{"age":31.5,"plan":"free","vip":"yes"}')] == bench.rows(
        f"SELECT identifiers, events, attributes FROM profiles WHERE profile_id = '{ann}'"
    )
    assert [] == bench.rows(f"SELECT * FROM traits WHERE profile_id = '{eva}'")
    assert [] == bench.members("vip")


def test_segments_have_members_and_sizes(bench: Bench) -> None:
    """A segment is the profiles for which it holds; its size is a share of all profiles."""
    bench.run(CHECKED)
    assert (["ann", "bob", "cem"], ["ann"], ["cem"], []) == tuple(
        bench.members(key) for key in ("buyers", "vip", "lapsed", "nobody")
    )
    sizes = bench.rows("SELECT segment, members, share, entered, exited FROM segment_sizes ORDER BY segment")
    assert [
        ("buyers", 3, 0.6, 3, 0),
        ("lapsed", 1, 0.2, 1, 0),
        ("nobody", 0, 0.0, 0, 0),
        ("vip", 1, 0.2, 1, 0),
    ] == sizes


def test_who_stays_keeps_the_instant_of_entering(bench: Bench) -> None:
    """At the next refresh members keep `since`, new ones get its instant, and sizes say who entered and left."""
    bench.run(CHECKED)
    later = NOW_MS + 40 * DAY_MS
    bench.shop.land(event("back", "cem", -39, amount=9), received_at_ms=later)
    bench.run(CHECKED, later)
    since = dict(
        bench.rows(
            "SELECT user_id, since_ms FROM segment_members JOIN profiles USING (profile_id) WHERE segment = 'lapsed'"
        )
    )
    assert {"ann": later, "bob": later} == since
    newest = segment_sizes(bench.connection, "lapsed")[-1]
    assert (2, 2, 1) == (newest.members, newest.entered, newest.exited)
    assert {NOW_MS} == {ms for (ms,) in bench.rows("SELECT since_ms FROM segment_members WHERE segment = 'buyers'")}


def test_part_changes_only_what_is_selected(bench: Bench) -> None:
    """Computing some traits and segments leaves the columns, members and sizes of the others."""
    bench.run(CHECKED)
    later = NOW_MS + 40 * DAY_MS
    bench.run(CHECKED, later, ["spend_30d", "vip"])
    assert Decimal(0) == bench.by_user("traits", "spend_30d")["ann"]
    assert 1 == bench.by_user("traits", "active_days_14d")["ann"]
    assert ["cem"] == bench.members("lapsed")
    assert (1, 2) == tuple(len(segment_sizes(bench.connection, key)) for key in ("lapsed", "vip"))


def test_repeated_within_one_refresh_changes_nothing(bench: Bench) -> None:
    """A segment that is computed twice in one refresh has one size, with the changes of both."""
    refresh = bench.run(CHECKED)
    before = bench.rows("SELECT * FROM segment_sizes ORDER BY segment")
    build_values(bench.connection, CHECKED, ["buyers", "vip"], refresh)
    assert before == bench.rows("SELECT * FROM segment_sizes ORDER BY segment")


def test_what_the_catalog_drops_is_gone(bench: Bench) -> None:
    """Traits and segments that are no longer defined leave every table, and new ones come in."""
    bench.run(CHECKED)
    catalog = Catalog(traits=(Trait("visits", "events.visit.count"),), segments=(Segment("visitors", "visits > 0"),))
    bench.run(check_catalog(catalog))
    assert [("profile_id",), ("visits",)] == bench.rows(
        "SELECT column_name FROM duckdb_columns() WHERE table_name = 'traits' ORDER BY column_index"
    )
    assert [("visitors",)] == bench.rows("SELECT DISTINCT segment FROM segment_members")
    assert [("visitors",)] == bench.rows("SELECT DISTINCT segment FROM segment_sizes")
    assert [("visits",), ("visitors",)] == bench.rows("SELECT key FROM definitions")


def test_profiles_have_a_row_before_their_traits_are_computed(bench: Bench) -> None:
    """A new profile, and a new trait, are NULL in `traits` until the trait is computed; others keep their values."""
    bench.run(CHECKED)
    bench.shop.land(event("new", "abe", 1, amount=3))
    grown = check_catalog(replace(CATALOG, traits=(*CATALOG.traits, Trait("visits", "events.visit.count"))))
    refresh = bench.begin(grown)
    align_values(bench.connection, grown, refresh)
    assert {"abe": None, "ann": 3, "bob": 1, "cem": 1, "dee": 0, "eva": 0} == bench.by_user("traits", "orders")
    assert {None} == set(bench.by_user("traits", "visits").values())


def test_later_events_do_not_enter_a_refresh_that_has_begun(bench: Bench) -> None:
    """Whatever lands while a refresh runs is after its cut."""
    refresh = bench.begin(CHECKED)
    bench.shop.land(event("meanwhile", "ann", 1, amount=1000))
    bench.build_base(CHECKED, refresh)
    build_values(bench.connection, CHECKED, CHECKED.order, refresh)
    assert Decimal(120) == bench.by_user("traits", "spend")["ann"]


def test_states_evaluate_to_what_the_tables_hold(bench: Bench) -> None:
    """For every profile the state that is published gives the very values that SQL computed."""
    refresh = bench.run(CHECKED)
    columns = [key for key in CHECKED.order if CHECKED.values[key].kind == "trait"]
    states = _states(bench, CHECKED, refresh)
    tables = bench.rows(f"SELECT profile_id, {', '.join(columns)} FROM traits")
    assert {row[0] for row in tables} == set(states)
    for profile, *values in tables:
        evaluation = Evaluation(CHECKED, states[profile])
        assert values == [_shown(evaluation.definition(key), key) for key in columns]
    for key in ("buyers", "vip", "lapsed", "nobody"):
        holding = {profile for profile, state in states.items() if Evaluation(CHECKED, state).definition(key)}
        assert {p for (p,) in bench.rows(f"SELECT profile_id FROM segment_members WHERE segment = '{key}'")} == holding


def _states(
    bench: Bench,
    checked: CheckedCatalog,
    refresh: Refresh,
    ranks: Mapping[str, Mapping[str, int]] = MappingProxyType({}),
) -> dict[str, State]:
    """The state of every profile, from what is published of its source."""
    bases, found = bases_of(checked.aggregates.values()), dict[str, State]()
    known = {profile for (profile,) in bench.rows("SELECT profile_id FROM profiles")}
    published = packed_sources(bench.connection, checked, refresh, 0, frozenset())
    for source, packed in chain.from_iterable(each.items() for each in published):
        tiles, who = [unpack(packed, bases)], profile_id(source)
        folded = Folded(checked, bases, tiles, [], refresh.t_ms, checked.zone, ranks.get(who, {}))
        # What we log ourselves makes nobody a member of the universe.
        if who in known:
            found[who] = State(who, refresh.t_ms, refresh.cut, attributes_of(tiles), folded)
    return found


def _shown(value: Value, key: str) -> object:
    """A value of the evaluator as the table's column has it."""
    match CHECKED.values[key].type:
        case "number" if isinstance(value, int):
            return Decimal(value) / 1_000_000
        case "timestamp" if isinstance(value, int):
            return datetime.fromtimestamp(value / 1000, UTC).replace(tzinfo=None)
    return value


def test_identifiers_of_profiles(bench: Bench) -> None:
    """Each profile is published with the identifiers that lead to it, also of whom only we have said something."""
    refresh = bench.run(CHECKED)
    found = {tuple(profile.members) for profile in changed_profiles(bench.connection, 0, refresh.cut)}
    assert {(f"user:{name}",) for name in ("ann", "bob", "cem", "dee", "eva", "ghost")} == found


@pytest.mark.parametrize("catalog", [Catalog(), CATALOG], ids=["empty catalog", "catalog"])
def test_nothing_landed(tmp_path: Path, catalog: Catalog) -> None:
    """An empty lake gives empty tables, with or without definitions."""
    shop, checked = open_shop(tmp_path / "home"), check_catalog(catalog)
    with connect(shop.home.warehouse) as connection:
        refresh = Bench(shop, connection).run(checked)
        assert (0, NOW_MS) == (refresh.cut, refresh.t_ms)
        assert [(0, 0, 0)] == connection.execute("SELECT events, profiles, members FROM refreshes").fetchall()
        assert [] == list(packed_sources(connection, checked, refresh, 0, frozenset()))
        assert {0.0} >= {share for (share,) in connection.execute("SELECT share FROM segment_sizes").fetchall()}


def test_empty_catalog_over_events(bench: Bench) -> None:
    """Without definitions profiles are there all the same."""
    bench.run(check_catalog(Catalog()))
    assert 5 == len(bench.rows("SELECT * FROM traits"))


def test_part_needs_a_refresh_to_continue(tmp_path: Path) -> None:
    """Before the first refresh there is nothing that a part could continue."""
    with connect(tmp_path / "warehouse.duckdb") as connection, pytest.raises(RefreshError, match="refresh everything"):
        current_refresh(connection)


def test_failure_leaves_the_tables_as_they_were(bench: Bench) -> None:
    """A computation that fails half-way changes nothing."""
    refresh = bench.run(CHECKED)
    before = bench.rows("SELECT * FROM segment_members ORDER BY ALL")
    bench.connection.execute("ALTER TABLE segment_sizes DROP COLUMN exited")
    with pytest.raises(Exception, match="exited"):
        build_values(bench.connection, CHECKED, CHECKED.order, replace(refresh, t_ms=refresh.t_ms + 90 * DAY_MS))
    assert before == bench.rows("SELECT * FROM segment_members ORDER BY ALL")


def test_projects_have_schemas_of_their_own(bench: Bench) -> None:
    """Tables of another project lie in a schema of its name, those of the default one in `main`."""
    open_project(bench.connection, "shop-2")
    bench.run(CHECKED)
    assert [("shop-2", "traits")] == bench.rows(
        "SELECT schema_name, table_name FROM duckdb_tables() WHERE table_name = 'traits' AND NOT temporary"
    )
