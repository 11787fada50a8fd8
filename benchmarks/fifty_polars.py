"""The fifty values of `fifty/traits.yaml` as a Polars query: lazy, streaming, exact, by source before by profile."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import polars as pl

T_MS: Final = 1_514_779_281_000
CUT: Final = 14_787_990
TODAY: Final = 17_531
MOMENT: Final = (T_MS, CUT, TODAY)
_DAY_MS: Final = 86_400_000
_MICROS: Final = 1_000_000
_STRINGS = ("s_store_id", "s_department", "s_brand", "s_basket_id", "s_campaign_type")
_NUMBERS = ("n_amount", "n_quantity", "n_retail_discount", "n_coupon_discount")
_FRESH = pl.col("s_department").is_in(["PRODUCE", "SEAFOOD", "SALAD BAR"])


def fifty_values(events: Sequence[Path], identities: Path, profiles: Path) -> pl.DataFrame:
    """Every value of every profile; numbers that are no whole numbers in micro-units.

    Grain: one row a profile.

    Args:
        events: files of the lake.
        identities: Parquet of the table `identities`.
        profiles: Parquet with `profile_id` and `first_seen_ms`.
    """
    found = _events(events)
    named = [
        _purchases(found).join(_purchase_ends(found), on="source_id", how="left"),
        _purchases_90d(found),
        _purchases_30d(found),
        _campaigns(found),
        _coupons(found),
        _anything(found),
    ]
    known = pl.scan_parquet(identities, glob=False).filter(
        (pl.col("valid_from_seq") <= CUT) & (pl.col("valid_to_seq").is_null() | (pl.col("valid_to_seq") > CUT))
    )
    sources = known.select("source_id", "profile_id")
    for part in named:
        sources = sources.join(part, on="source_id", how="left")
    people = pl.scan_parquet(profiles, glob=False).join(_merged(sources), on="profile_id", how="left")
    return _finished(people).collect(engine="streaming")


def _events(files: Sequence[Path]) -> pl.LazyFrame:
    plain = {"seq": pl.Int64, "event_id": pl.String, "kind": pl.String, "name": pl.String, "source_id": pl.String}
    schema = pl.Schema(
        plain
        | {"ts_ms": pl.Int64, "local_day": pl.Int32}
        | dict.fromkeys(_NUMBERS, pl.Int64)
        | dict.fromkeys(_STRINGS, pl.String)
    )
    found = pl.scan_parquet(
        list(files), glob=False, schema=schema, missing_columns="insert", extra_columns="ignore", cache=False
    )
    return found.filter((pl.col("seq") <= CUT) & (pl.col("ts_ms") < T_MS))


def _named(events: pl.LazyFrame, name: str) -> pl.LazyFrame:
    return events.filter((pl.col("name") == name) & pl.col("kind").is_in(["track", "page", "screen", "system"]))


def _since(window_start_ms: int) -> pl.Expr:
    return pl.col("ts_ms") >= window_start_ms


def _dates(days: int) -> pl.Expr:
    return pl.col("local_day").is_between(TODAY - days + 1, TODAY)


def _purchases(events: pl.LazyFrame) -> pl.LazyFrame:
    year = _since(1_483_228_800_000)
    dear = (pl.col("n_amount") > 20 * _MICROS) & (pl.col("n_quantity") == _MICROS) & year
    saved = pl.col("n_coupon_discount")
    return (
        _named(events, "purchase")
        .group_by("source_id")
        .agg(
            total=pl.col("n_amount").sum(),
            priced=pl.col("n_amount").count(),
            dearest=pl.col("n_amount").max(),
            items=pl.len(),
            first_ms=pl.col("ts_ms").min(),
            last_ms=pl.col("ts_ms").max(),
            fuel_ms=pl.col("ts_ms").filter(pl.col("s_department") == "FUEL").max(),
            total_365d=pl.col("n_amount").filter(year).sum(),
            dear_365d=dear.sum(),
            coupon_365d=saved.filter((saved > 0) & year).sum(),
            stores_365d=pl.col("s_store_id").filter(year).drop_nulls().unique(),
        )
    )


def _purchase_ends(events: pl.LazyFrame) -> pl.LazyFrame:
    """First and last stores: only events at an instant that is some source's first or last are sorted."""
    with_store = _named(events, "purchase").filter(pl.col("s_store_id").is_not_null())
    ends = with_store.group_by("source_id").agg(first=pl.col("ts_ms").min(), last=pl.col("ts_ms").max())
    instants = ends.unpivot(index="source_id", on=["first", "last"], value_name="ts_ms").select("ts_ms").unique()
    ordered = pl.col("s_store_id").sort_by("ts_ms", "event_id")
    candidates = with_store.join(instants, on="ts_ms", how="semi")
    return candidates.group_by("source_id").agg(first_store=ordered.first(), last_store=ordered.last())


def _purchases_90d(events: pl.LazyFrame) -> pl.LazyFrame:
    quarter = _since(1_507_003_200_000)
    department = pl.col("s_department")
    return (
        _named(events, "purchase")
        .filter(_since(1_506_938_400_000))
        .group_by("source_id")
        .agg(
            total_90d=pl.col("n_amount").filter(quarter).sum(),
            priced_90d=pl.col("n_amount").filter(quarter).count(),
            dearest_90d=pl.col("n_amount").filter(quarter).max(),
            items_90d=quarter.sum(),
            days_90d=pl.col("local_day").filter(_dates(90)).unique(),
            departments_90d=department.filter(quarter).drop_nulls().unique(),
            grocery_90d=pl.col("n_amount").filter((department == "GROCERY") & quarter).sum(),
            fresh_90d=pl.col("n_amount").filter(_FRESH & quarter).sum(),
            fuel_90d=((department == "FUEL") & quarter).sum(),
            private_90d=((pl.col("s_brand") == "Private") & quarter).sum(),
            discount_90d=pl.col("n_retail_discount").filter(quarter).sum(),
            last_department=department.filter(department.is_not_null() & quarter)
            .sort_by(
                pl.col("ts_ms").filter(department.is_not_null() & quarter),
                pl.col("event_id").filter(department.is_not_null() & quarter),
            )
            .last(),
        )
    )


def _purchases_30d(events: pl.LazyFrame) -> pl.LazyFrame:
    month, week = _since(1_512_187_200_000), _since(1_514_174_400_000)
    return (
        _named(events, "purchase")
        .filter(_since(1_512_122_400_000))
        .group_by("source_id")
        .agg(
            total_30d=pl.col("n_amount").filter(month).sum(),
            cheapest_30d=pl.col("n_amount").filter(month).min(),
            items_30d=month.sum(),
            quantity_30d=pl.col("n_quantity").filter(month).sum(),
            produce_30d=((pl.col("s_department") == "PRODUCE") & month).sum(),
            baskets_30d=pl.col("s_basket_id").filter(month).drop_nulls().unique(),
            days_30d=pl.col("local_day").filter(_dates(30)).unique(),
            days_14d=pl.col("local_day").filter(_dates(14)).unique(),
            fresh_days_30d=pl.col("local_day").filter(_dates(30) & _FRESH).unique(),
            total_7d=pl.col("n_amount").filter(week).sum(),
            items_7d=week.sum(),
        )
    )


def _campaigns(events: pl.LazyFrame) -> pl.LazyFrame:
    kind = pl.col("s_campaign_type")
    ordered = kind.filter(kind.is_not_null()).sort_by(
        pl.col("ts_ms").filter(kind.is_not_null()), pl.col("event_id").filter(kind.is_not_null())
    )
    return (
        _named(events, "campaign_received")
        .group_by("source_id")
        .agg(
            campaigns=pl.len(),
            campaigns_90d=_since(1_507_003_200_000).sum(),
            campaign_types=kind.drop_nulls().unique(),
            last_campaign_type=ordered.last(),
        )
    )


def _coupons(events: pl.LazyFrame) -> pl.LazyFrame:
    return (
        _named(events, "coupon_redeemed")
        .group_by("source_id")
        .agg(
            coupons=pl.len(),
            coupons_type_a=((pl.col("s_campaign_type") == "Type A") & _since(1_499_212_800_000)).sum(),
            coupon_days=pl.col("local_day").filter(_dates(365)).unique(),
            coupon_ms=pl.col("ts_ms").max(),
        )
    )


def _anything(events: pl.LazyFrame) -> pl.LazyFrame:
    sent = events.filter(pl.col("kind").is_in(["track", "page", "screen"]) & _since(1_512_122_400_000))
    return sent.group_by("source_id").agg(
        events_24h=_since(1_514_692_800_000).sum(), active_days_30d=pl.col("local_day").filter(_dates(30)).unique()
    )


_LISTS = (
    *("stores_365d", "departments_90d", "baskets_30d", "campaign_types"),
    *("days_90d", "days_30d", "days_14d", "fresh_days_30d", "coupon_days", "active_days_30d"),
)
_LARGEST = ("dearest", "dearest_90d", "last_ms", "fuel_ms", "coupon_ms")
_SMALLEST = ("first_ms", "cheapest_30d")
_VALUES = ("first_store", "last_store", "last_department", "last_campaign_type")


def _merged(sources: pl.LazyFrame) -> pl.LazyFrame:
    """A profile is all of its sources; here every profile has one, so its first and last values are that one's."""
    columns = sources.collect_schema().names()
    apart = {*_LISTS, *_LARGEST, *_SMALLEST, *_VALUES, "source_id", "profile_id"}
    return sources.group_by("profile_id").agg(
        *(pl.col(name).sum().cast(pl.Int64) for name in columns if name not in apart),
        *(pl.col(name).max() for name in _LARGEST),
        *(pl.col(name).min() for name in _SMALLEST),
        *(pl.col(name).drop_nulls().first() for name in _VALUES),
        *(pl.col(name).explode().drop_nulls().n_unique().cast(pl.Int64) for name in _LISTS),
    )


def _rounded(above: pl.Expr, below: pl.Expr) -> pl.Expr:
    """A quotient of numbers that are not negative, halves up; null where there is nothing to divide by."""
    return pl.when(below > 0).then((2 * above + below) // (2 * below))


def _finished(people: pl.LazyFrame) -> pl.LazyFrame:
    column = pl.col
    filled = people.with_columns(
        column("total", "total_7d", "total_30d", "total_90d", "total_365d", "items", "items_7d").fill_null(0)
    )
    month_of_90d = (2 * column("total_90d") + 3) // 6
    ages = {"days_since_purchase": "last_ms", "days_since_first_purchase": "first_ms", "days_since_fuel": "fuel_ms"}
    ages |= {"days_since_coupon": "coupon_ms", "customer_for_days": "first_seen_ms"}
    renamed = {
        "total_spent": "total",
        **{f"spend_{days}": f"total_{days}" for days in ("7d", "30d", "90d", "365d")},
        "dearest_item": "dearest",
        "dearest_item_90d": "dearest_90d",
        "cheapest_item_30d": "cheapest_30d",
        **{f"shopping_days_{days}": f"days_{days}" for days in ("14d", "30d", "90d")},
        "last_department_90d": "last_department",
        "grocery_spend_90d": "grocery_90d",
        "produce_items_30d": "produce_30d",
        "fresh_spend_90d": "fresh_90d",
        "fuel_stops_90d": "fuel_90d",
        "private_label_items_90d": "private_90d",
        "dear_items_365d": "dear_365d",
        "coupon_discount_365d": "coupon_365d",
        "coupons_type_a_180d": "coupons_type_a",
        "coupon_days_365d": "coupon_days",
    }
    same = ["items", "items_7d", "items_30d", "items_90d", "quantity_30d", "baskets_30d", "first_store", "last_store"]
    same += ["stores_365d", "departments_90d", "fresh_days_30d", "discount_90d", "campaigns", "campaigns_90d"]
    same += ["campaign_types", "last_campaign_type", "coupons", "events_24h", "active_days_30d"]
    return filled.select(
        "profile_id",
        *same,
        *(column(old).alias(new) for new, old in renamed.items()),
        *(((T_MS - column(instant)) // _DAY_MS).alias(age) for age, instant in ages.items()),
        _rounded(column("total"), column("priced")).alias("average_item_price"),
        _rounded(column("total_90d"), column("priced_90d")).alias("average_item_price_90d"),
        _rounded(column("total_30d") * _MICROS, month_of_90d).alias("spend_trend"),
        _rounded(column("total_90d"), column("days_90d")).alias("spend_per_shopping_day_90d"),
        _rounded(column("coupons") * _MICROS, column("campaigns")).alias("coupons_per_campaign"),
    )
