"""Parse, check and compile of a catalog of two hundred definitions: seconds for each phase, against the limit."""

import argparse
import gc
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Final, TypeVar

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from benchmarks.machine import this_machine
from dsl.catalog import Catalog, Segment, Trait
from dsl.check import check_catalog
from dsl.parser import parse
from dsl.source import Source
from dsl.sql import aggregates_sql, values_sql

LIMIT_SECONDS: Final = 0.5
_T = TypeVar("_T")
_AT = (1_514_779_281_000, 1_478_799, 17_531)
_EVENTS: Final = (
    *("purchase", "product_viewed", "cart_updated", "checkout_started", "email_opened"),
    *("email_clicked", "app_open", "push_opened", "search", "review_written"),
    *("return_requested", "support_contacted", "coupon_redeemed", "campaign_received", "wishlist_updated"),
    *("subscription_renewed", "store_visited", "survey_answered", "referral_sent", "login"),
)
_TRAITS: Final = {
    "count_30d": "events.{e}.count_30d",
    "days_30d": "events.{e}.unique_days_30d",
    "value_90d": "events.{e}.sum_90d(amount)",
    "mobile_7d": 'events.{e}[platform in ["ios", "android"] && amount > 5].count_7d',
    "has_category": 'events.{e}.last(category) in ["books", "music", "games"]',
    "trend": "{e}_count_30d / (events.{e}.count_90d / 3)",
    "categories_90d": "events.{e}.count_distinct_90d(category)",
}
_SEGMENTS: Final = {
    "active": "{e}_days_30d >= 4 && events.{e}.days_since_last < 14",
    "fading": '{e}_trend < 0.5 && !{e}_active && profile.country in ["NO", "SE", "DK"]',
    "valuable": '{e}_value_90d >= 200 && ({e}_mobile_7d >= 1 || profile.plan == "pro")',
}


def two_hundred() -> Catalog:
    """Seven traits and three segments over each of twenty events: filters, windows, references, attributes."""
    traits = (Trait(f"{e}_{key}", text.format(e=e)) for e in _EVENTS for key, text in _TRAITS.items())
    segments = (Segment(f"{e}_{key}", text.format(e=e)) for e in _EVENTS for key, text in _SEGMENTS.items())
    return Catalog(traits=tuple(traits), segments=tuple(segments))


@dataclass(frozen=True, slots=True)
class Phases:
    """Seconds of one round; `check` holds parsing as well, which is shown by itself too."""

    parse: float
    check: float
    aggregates: float
    values: float

    @property
    def total(self) -> float:
        """From the catalog to both statements."""
        return self.check + self.aggregates + self.values


def measure(catalog: Catalog) -> Phases:
    """One round."""
    texts = [trait.expression for trait in catalog.traits] + [segment.expression for segment in catalog.segments]
    # What an earlier round left behind is not this one's to clear away.
    gc.collect()
    parsing, _ = _timed(lambda: [parse(Source(text)) for text in texts])
    checking, checked = _timed(lambda: check_catalog(catalog))
    aggregating, _ = _timed(lambda: aggregates_sql(checked, *_AT))
    valuing, _ = _timed(lambda: values_sql(checked, checked.order, *_AT))
    return Phases(parsing, checking, aggregating, valuing)


def _timed(run: Callable[[], _T]) -> tuple[float, _T]:
    begin = time.perf_counter()
    result = run()
    return time.perf_counter() - begin, result


def main() -> None:
    """Measures, prints, and fails when the median is above the limit."""
    parser = argparse.ArgumentParser(description="Parse, check and compile of a catalog of 200 definitions.")
    parser.add_argument("--rounds", type=int, default=9, help="timed rounds; the first of a process counts as well")
    catalog = two_hundred()
    rounds = [measure(catalog) for _ in range(parser.parse_args().rounds)]
    table = Table(box=SIMPLE)
    for number, title in enumerate(("phase, seconds", "median", "min", "max")):
        table.add_column(title, justify="right" if number else "left")
    for name, title in _TITLES.items():
        seconds = [getattr(found, name) for found in rounds]
        table.add_row(title, *(f"{value:.3f}" for value in (median(seconds), min(seconds), max(seconds))))
    console = Console()
    definitions = f"{len(catalog.traits)} traits and {len(catalog.segments)} segments"
    console.print(f"{definitions}\n{this_machine()}", highlight=False)
    console.print(table)
    if median(found.total for found in rounds) > LIMIT_SECONDS:
        console.print(f"above the limit of {LIMIT_SECONDS} s")
        sys.exit(1)


_TITLES: Final = {
    "parse": "parse, by itself",
    "check": "parse and check",
    "aggregates": "compile aggregates",
    "values": "compile values",
    "total": "all",
}


if __name__ == "__main__":
    main()
