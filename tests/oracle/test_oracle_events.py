"""Hand-worked vectors of windows, aggregates, attributes and definitions (SEMANTICS, sections 2, 3, 4, 6)."""

import hashlib

import pytest

from tests.oracle.aggregates import hyperloglog
from tests.oracle.values import Value
from tests.oracle.vectors import ERROR, Case, evaluate, log, n, ts
from tests.oracle.windows import UNITS, hop

NY = {"zone": "America/New_York"}


def pair(before: str, inside: str) -> tuple[tuple[str, str], tuple[str, str]]:
    """Two events of the name `a`: the last instant before a window and its first."""
    return ("a", before), ("a", inside)


# fmt: off
WINDOWS = [
    Case("1h: hop 1s, and t itself is outside",
         log(*pair("2017-07-01T10:59:59.999Z", "2017-07-01T11:00:00Z"), ("a", "2017-07-01T11:59:59.999Z"),
             ("a", "2017-07-01T12:00:00Z"), ("a", "2017-07-01T12:00:00.001Z")),
         "2017-07-01T12:00:00Z", [
             ("events.a.count_1h", n("2"), "11:00:00.000 and 11:59:59.999; 100 * 1m > 1h, so h = 1s"),
             ("events.a.count_60m", n("2"), "60m is 1h"),
             ("events.a.count", n("3"), "all with ts < t"),
             ("events.a.first_at_1h", ts("2017-07-01T11:00:00Z"), "the start belongs to the window"),
             ("events.a.last_at", ts("2017-07-01T11:59:59.999Z"), "t does not"),
         ]),
    Case("1h: the start is floored to a second",
         log(*pair("2017-07-01T10:59:59.999Z", "2017-07-01T11:00:00Z")), "2017-07-01T12:00:00.999Z", [
             ("events.a.count_1h", n("1"), "floor(11:00:00.999, 1s) = 11:00:00.000"),
         ]),
    Case("90s: below 100s still 1s",
         log(*pair("2017-07-01T11:58:29.999Z", "2017-07-01T11:58:30Z")), "2017-07-01T12:00:00.5Z", [
             ("events.a.count_90s", n("1"), "floor(11:58:30.500, 1s) = 11:58:30.000"),
         ]),
    Case("100m is the first window with hop 1m",
         log(*pair("2017-07-01T10:19:59.999Z", "2017-07-01T10:20:00Z"), ("a", "2017-07-01T10:21:29.999Z"),
             ("a", "2017-07-01T10:21:30Z")),
         "2017-07-01T12:00:30Z", [
             ("events.a.count_100m", n("3"), "floor(10:20:30, 1m) = 10:20:00: three are at or after it"),
             ("events.a.count_99m", n("1"), "h = 1s: from 10:21:30"),
         ]),
    Case("500m is the first window with hop 5m",
         log(*pair("2017-07-01T03:39:59.999Z", "2017-07-01T03:40:00Z"), ("a", "2017-07-01T03:43:59.999Z"),
             ("a", "2017-07-01T03:44:00Z")),
         "2017-07-01T12:03:00Z", [
             ("events.a.count_500m", n("3"), "12:03 - 8:20 = 03:43, floored to 5m: 03:40"),
             ("events.a.count_499m", n("1"), "12:03 - 8:19 = 03:44, h = 1m"),
         ]),
    Case("24h: hop 5m",
         log(*pair("2017-06-30T11:59:59.999Z", "2017-06-30T12:00:00Z")), "2017-07-01T12:04:59.999Z", [
             ("events.a.count_24h", n("1"), "floor(06-30 12:04:59.999, 5m) = 12:00"),
             ("events.a.count_1d", n("1"), "1d is 24h"),
         ]),
    Case("24h: a whole hop later the edge moves",
         log(*pair("2017-06-30T12:00:00Z", "2017-06-30T12:05:00Z")), "2017-07-01T12:05:00Z", [
             ("events.a.count_24h", n("1"), "the start is 12:05:00.000"),
         ]),
    Case("7d: hop 1h; 100d: hop 1d; 99d: hop 1h",
         log(("a", "2017-03-22T23:59:59.999Z"), ("a", "2017-03-23T00:00:00Z"), ("a", "2017-03-24T11:59:59.999Z"),
             ("a", "2017-03-24T12:00:00Z"), ("a", "2017-06-24T11:59:59.999Z"), ("a", "2017-06-24T12:00:00Z")),
         "2017-07-01T12:59:59.999Z", [
             ("events.a.count_7d", n("1"), "06-24 12:59:59.999 floored to 1h"),
             ("events.a.count_1w", n("1"), "1w is 7d"),
             ("events.a.count_99d", n("3"), "99 days before is 03-24 12:59:59.999, floored to 1h: 12:00"),
             ("events.a.count_100d", n("5"), "100 days before is 03-23 12:59:59.999, floored to 1d: 00:00"),
         ]),
    Case("windows are UTC: a change of the clocks does not matter",
         log(*pair("2017-03-11T06:59:59.999Z", "2017-03-11T07:00:00Z")), "2017-03-12T07:00:00Z", [
             ("events.a.count_24h", n("1"), "24 hours before the jump to EDT, exactly"),
         ], NY),
    Case("the cut is by seq, whatever the ts",
         log(("a", "2017-07-01T11:00:00Z"), ("a", "2017-07-01T11:30:00Z"), ("a", "2015-01-01T00:00:00Z")),
         "2017-07-01T12:00:00Z", [
             ("events.a.count", n("2"), "seq 1 and 2; the late third one has seq 3"),
             ("events.a.first_at", ts("2017-07-01T11:00:00Z"), ""),
         ], {"cut": 2}),
    Case("an event id counts once, the first seq wins",
         log(("a", "2017-07-01T11:00:00Z", '{"x": 1}', "same"), ("a", "2017-07-01T10:00:00Z", '{"x": 2}', "same")),
         "2017-07-01T12:00:00Z", [("events.a.count", n("1"), ""), ("events.a.sum(x)", n("1"), "")]),
]

AUTUMN = log(("a", "2017-11-05T03:59:59.999Z"), ("a", "2017-11-05T04:00:00Z"), ("a", "2017-11-06T04:59:59.999Z"))
SPRING = log(("a", "2017-03-12T04:59:59.999Z"), ("a", "2017-03-12T05:00:00Z"), ("a", "2017-03-13T03:59:59.999Z"))
DAYS = [
    Case("autumn: 11-05 in New York runs from 04:00Z to 05:00Z of the next day", AUTUMN, "2017-11-06T05:00:00Z", [
        ("events.a.unique_days", n("2"), "11-04 (23:59:59.999 EDT), 11-05 (00:00 EDT), 11-05 (23:59:59.999 EST)"),
        ("events.a.unique_days_1d", n("0"), "today is 11-06"),
        ("events.a.unique_days_2d", n("1"), "11-05 .. 11-06"),
        ("events.a.unique_days_3d", n("2"), "11-04 .. 11-06"),
        ("events.a.streak_days", n("2"), "none today; yesterday 11-05, then 11-04"),
    ], NY),
    Case("autumn, one ms earlier", AUTUMN, "2017-11-06T04:59:59.999Z", [
        ("events.a.unique_days_1d", n("1"), "today is still 11-05: the event at 04:00Z; the one at t is outside"),
        ("events.a.streak_days", n("2"), "today 11-05, then 11-04"),
    ], NY),
    Case("spring: 03-12 in New York runs from 05:00Z to 04:00Z of the next day", SPRING, "2017-03-13T04:00:00Z", [
        ("events.a.unique_days", n("2"), "03-11 (EST), 03-12 (EST), 03-12 (23:59:59.999 EDT)"),
        ("events.a.unique_days_1d", n("0"), "today is 03-13"),
        ("events.a.unique_days_1w", n("2"), "seven dates"),
        ("events.a.streak_days", n("2"), "03-12 and 03-11"),
    ], NY),
    Case("the same log in UTC", SPRING, "2017-03-13T04:00:00Z", [
        ("events.a.unique_days", n("2"), "03-12 twice, 03-13"),
        ("events.a.unique_days_1d", n("1"), "today is 03-13"),
    ]),
    Case("a hole ends a streak",
         log(("a", "2017-07-01T01:00:00Z"), ("a", "2017-07-02T01:00:00Z"), ("a", "2017-07-04T01:00:00Z"),
             ("a", "2017-07-05T01:00:00Z")), "2017-07-06T00:00:00Z", [
             ("events.a.streak_days", n("2"), "07-05 and 07-04; 07-03 is missing"),
             ("events.a.streak_days_2d", n("1"), "of the dates 07-05 .. 07-06 only"),
             ("events.a.streak_days_1d", n("0"), "of the date 07-06 only"),
             ("events.a.unique_days", n("4"), ""),
         ]),
    Case("neither today nor yesterday", log(("a", "2017-07-01T23:59:59.999Z")), "2017-07-03T00:00:00Z", [
        ("events.a.streak_days", n("0"), "yesterday is 07-02"),
        ("events.b.streak_days", n("0"), "of nothing"),
        ("events.b.unique_days_7d", n("0"), "of nothing"),
    ]),
]

GAPS = [
    Case("counted from the event before the window",
         log(("a", "2017-07-01T10:00:00Z"), ("a", "2017-07-01T11:40:00Z"), ("b", "2017-07-01T11:55:00Z")),
         "2017-07-01T12:00:00Z", [
             ("events.*.longest_gap_minutes_30m", n("100"), "10:00 -> 11:40 is longer than 11:40 -> 11:55"),
             ("events.*.longest_gap_minutes_15m", n("15"), "in [11:45, 12:00): 11:40 -> 11:55 only"),
             ("events.b.longest_gap_minutes_30m", None, "one event, none before it"),
             ("events.a.longest_gap_minutes_10m", None, "no event in [11:50, 12:00)"),
             ("events.none.longest_gap_minutes_30m", None, "of nothing"),
             ("events.*.longest_gap_minutes_30m >= 10", True, "reengage"),
         ]),
    Case("an event at the start of the window lies in it", log(("a", "2017-07-01T11:30:00Z")), "2017-07-01T12:00:00Z", [
        ("events.a.longest_gap_minutes_30m", None, "so nothing is before it"),
    ]),
    Case("whole minutes, floor", log(("a", "2017-07-01T11:40:00.001Z"), ("a", "2017-07-01T11:50:00Z")),
         "2017-07-01T12:00:00Z", [("events.a.longest_gap_minutes_30m", n("9"), "9 min 59.999 s")]),
    Case("a gap inside one hop is not seen (24h: 5m)",
         log(("a", "2017-07-01T11:40:00Z"), ("a", "2017-07-01T11:44:59.999Z")), "2017-07-01T12:00:00Z", [
             ("events.a.longest_gap_minutes_24h", None, "both in [11:40, 11:45), nothing before"),
             ("events.a.longest_gap_minutes_30m", n("4"), "hop 1s: 4 min 59.999 s"),
         ]),
    Case("between hops: from the last of one to the first of the next that has one",
         log(("a", "2017-07-01T11:40:00Z"), ("a", "2017-07-01T11:44:00Z"), ("a", "2017-07-01T11:50:00Z"),
             ("a", "2017-07-01T11:54:00Z")), "2017-07-01T12:00:00Z", [
             ("events.a.longest_gap_minutes_24h", n("6"), "11:44 -> 11:50"),
         ]),
]

FIRSTS = [
    Case("ties go by event_id, code point by code point, not by seq",
         log(("a", "2017-07-01T10:00:00Z", '{"p": "nine"}', "e9"), ("a", "2017-07-01T10:00:00Z", '{"p": "ten"}', "e10"),
             ("a", "2017-07-01T09:00:00Z", '{"p": null}', "e0"), ("a", "2017-07-01T10:00:00Z", '{"q": 1}', "f")),
         "2017-07-01T12:00:00Z", [
             ("events.a.first(p)", "ten", "09:00 has null; of the tie 'e10' < 'e9'"),
             ("events.a.last(p)", "nine", "'f' has no p"),
             ("events.a.last(q)", n("1"), ""),
             ("events.a.first(r)", None, "of nothing"),
             ("events.a.last_1h(p)", None, "the window is empty"),
             ("events.a.first_at", ts("2017-07-01T09:00:00Z"), "the event counts, whatever its p"),
             ("events.a.first_at_1h", None, "the window is empty"),
         ]),
    Case("ages floor",
         log(("a", "2017-06-29T12:00:00.001Z"), ("a", "2017-07-01T11:58:00.001Z"),
             ("identify:", "2017-06-28T12:00:00Z"), ("system:moved", "2017-07-01T11:59:59Z")), "2017-07-01T12:00:00Z", [
             ("events.a.days_since_first", n("1"), "2 days less 1 ms"),
             ("events.a.days_since_last", n("0"), ""),
             ("events.a.minutes_since_last", n("1"), "2 min less 1 ms"),
             ("events.a.minutes_since_last_1m", None, "the window is empty"),
             ("last_seen_minutes_ago", n("1"), "system events are not from outside"),
             ("first_seen_days_ago", n("3"), "identify is"),
             ("first_seen_hours_ago", n("72"), ""),
             ("events.*.count", n("2"), "neither identify nor system"),
             ("events.moved.count", n("1"), "system events by their exact name"),
         ]),
    Case("no event at all", [], "2017-07-01T12:00:00Z", [
        ("last_seen_days_ago", None, "missing"),
        ("last_seen_minutes_ago < 1440", False, "missing compares false"),
        ("events.a.count == 0 && events.*.sum_7d(x) == 0", True, "of nothing: 0"),
        ("events.a.minutes_since_last", None, "of nothing: missing"),
        ('profile.country != "US"', True, "!(missing == ...)"),
    ]),
]

ONE_DAY = "2017-07-01T{:02d}:00:00Z"


def values(*found: str) -> list[tuple[str, str, str]]:
    """Events `a` with these JSON texts as property `p`."""
    return [("a", ONE_DAY.format(hour % 24), f'{{"p": {text}}}') for hour, text in enumerate(found)]


NUMBERS = [
    Case("another type is absent", log(*values("5", '"5"', "true", "null", "2.5", "[9]", '{"x": 9}')),
         "2017-07-02T00:00:00Z", [
             ("events.a.count", n("7"), ""),
             ("events.a.sum(p)", n("7.5"), "5 + 2.5"),
             ("events.a.avg(p)", n("3.75"), "7.5 / 2"),
             ("events.a.min(p)", n("2.5"), ""),
             ("events.a.max(p)", n("5"), ""),
             ("events.a.percentile(p, 1)", n("5"), ""),
             ("events.a.avg_7d(q)", None, "of nothing"),
             ("events.a.sum(q)", n("0"), "of nothing"),
             ("events.a.max(q)", None, "of nothing"),
             ("events.a.median(q)", None, "of nothing"),
         ]),
    Case("averages round half away from zero", log(*values("1", "1", "0")), "2017-07-02T00:00:00Z", [
        ("events.a.avg(p)", n("0.666667"), "2 / 3"),
        ("events.a.avg(p) == 0.666667", True, "that is the value, in comparisons too"),
        ("events.a.avg(p) * 3", n("2.000001"), "so it is not 2"),
    ]),
    Case("half a micro-unit", log(*values("-0.000001", "0")), "2017-07-02T00:00:00Z", [
        ("events.a.avg(p)", n("-0.000001"), "-0.5 micro"),
    ]),
    Case("the sum is exact; only the value must fit", log(*values("5e12", "5e12", "-5e12", "1e13")),
         "2017-07-02T00:00:00Z", [
             ("events.a.sum(p)", n("5000000000000"), "1e13 is out of range: missing; 10e12 on the way is fine"),
             ("events.a[p > 0].sum(p)", None, "10e12 > 9.22e12"),
             ("events.a[p > 0].avg(p)", n("5000000000000"), "10e12 / 2"),
         ]),
    Case("declared timestamps", log(*values('"2017-06-02"', '"2017-06-01T00:00:00Z"', '"never"')),
         "2017-07-02T00:00:00Z", [
             ("events.a.min(p)", ts("2017-06-01T00:00:00Z"), ""),
             ("events.a.max(p)", ts("2017-06-02T00:00:00Z"), "a date alone is its start, here in UTC"),
             ('events.a[p > date("2017-06-01")].count', n("1"), "never is missing"),
         ], {"timestamp_paths": {"events.a.p"}}),
    Case("ranks", log(*values("4", "1", "3", "2")), "2017-07-02T00:00:00Z", [
        ("events.a.median(p)", n("2"), "rank ceil(0.5 * 4) = 2"),
        ("events.a.percentile(p, 0)", n("1"), "rank max(1, 0)"),
        ("events.a.percentile(p, 0.25)", n("1"), "rank 1"),
        ("events.a.percentile(p, 0.250001)", n("2"), "rank ceil(1.000004)"),
        ("events.a.percentile(p, 0.75)", n("3"), "rank 3"),
        ("events.a.percentile(p, 1)", n("4"), "rank 4"),
        ("events.a.percentile(p, 1.1)", ERROR, "q is a share"),
    ]),
    Case("300 different values are too many", log(*values(*(str(value) for value in range(1, 301)))),
         "2017-07-02T00:00:00Z", [
             ("events.a.median(p)", n("146.80064"), "150e6 has 28 bits: 35 * 2^22 = 146800640 <= 150e6 < 36 * 2^22"),
             ("events.a[p <= 256].percentile(p, 1)", n("256"), "256 are not: exact"),
             ("events.a[p <= 256].count_distinct(p)", n("256"), "exact"),
             ("events.a[p <= 257].percentile(p, 0.003)", n("0.999424"), "1e6 has 20 bits: 61 * 2^14 = 999424"),
         ]),
    Case("and below zero", log(*values(*(str(-value) for value in range(1, 301)))), "2017-07-02T00:00:00Z", [
        ("events.a.median(p)", n("-150.994944"), "rank 150 of -300 .. -1 is -151: 36 * 2^22 <= 151e6, the sign kept"),
    ]),
]

SETS = [
    Case("values of different types are different", log(*values("1", "1.0", '"1"', "true", '"true"', "null", "[1]")),
         "2017-07-02T00:00:00Z", [
             ("events.a.count_distinct(p)", n("4"), "n:1 s:1 b:true s:true"),
             ("events.a.most_frequent(p)", n("1"), "twice"),
             ("events.a.unique_list(p)", (n("1"), "1", True, "true"), "by canonical text, then by tag (a choice)"),
             ('events.a.unique_list(p) contains "1"', True, ""),
             ("events.a.count_distinct(q)", n("0"), "of nothing"),
             ("events.a.most_frequent(q)", None, "of nothing"),
             ("events.a.unique_list(q)", (), "of nothing"),
         ]),
    Case("ties go by canonical text", log(*values("9", "10", '"a"', '"B"')), "2017-07-02T00:00:00Z", [
        ("events.a.most_frequent(p)", n("10"), "all once; '10' < '9' < 'B' < 'a'"),
        ("events.a.unique_list(p)", (n("10"), n("9"), "B", "a"), "'10' < '9' < 'B' < 'a'"),
    ]),
]

PATHS = '{"amount": 25, "category": "books", "cart": {"total": 4, "odd key": 5}, "odd name": "x"}'
FILTERS = [
    Case("filters",
         log(("purchase", "2017-07-01T01:00:00Z", PATHS, "", "p", '{"library": {"name": "web"}}'),
             ("purchase", "2017-07-01T02:00:00Z", '{"amount": 10, "category": "games"}'),
             ("purchase", "2017-07-01T03:00:00Z", '{"amount": "30", "category": "books"}'),
             ("Feature Used", "2017-07-01T04:00:00Z"), ("page:", "2017-07-01T05:00:00Z", '{"name": "Home"}'),
             ("screen:", "2017-07-01T06:00:00Z"), ("purchase", "2017-07-01T07:00:00Z", "{}", "", "other")),
         "2017-07-02T00:00:00Z", [
             ('events.purchase[category == "books" && amount > 20].sum_30d(amount)', n("25"), '"30" > 20 is false'),
             ("events.purchase[amount != 10].count", n("2"), '25, and "30" != 10'),
             ("events.purchase[cart.total > 3].count", n("1"), "nested"),
             ("events.purchase[cart.total != 3].count", n("3"), "missing != 3"),
             ("events.purchase.sum(cart.total)", n("4"), "nested"),
             ('events.purchase[properties["odd name"] == "x"].count', n("1"), ""),
             ('events.purchase.sum(properties["cart"]["odd key"])', n("5"), ""),
             ('events.purchase[context.library.name == "web"].count', n("1"), "the event's own context"),
             ('events.purchase[upper(category) in ["BOOKS"]].count', n("2"), "functions of the event"),
             ("events.purchase[amount].count", n("0"), "only true is true"),
             ('events["Feature Used"].count', n("1"), ""),
             ('events.page[name == "Home"].count', n("1"), "a page event is named page"),
             ("events.*.count", n("6"), "track, page and screen of this profile"),
         ]),
]

PROFILE = [
    Case("last write wins per attribute, by (ts, event_id), over all sources",
         log(("identify:", "2017-07-01T03:00:00Z", '{"plan": "pro", "gone": null, "home": {"city": "Ulm"}}', "c", "s1"),
             ("identify:", "2017-07-01T02:00:00Z", '{"plan": "late", "gone": 1, "tie": "z"}', "b", "s2"),
             ("identify:", "2017-07-01T02:00:00Z", '{"tie": "a"}', "a", "s1"),
             ("identify:", "2017-07-01T01:00:00Z", '{"home": {"zip": 1}, "old": 7, "back": null}', "d", "s1"),
             ("identify:", "2017-07-01T02:00:00Z", '{"back": "again"}', "e", "s1"),
             ("identify:", "2017-07-01T09:00:00Z", '{"plan": "stranger"}', "f", "s3"),
             ("identify:", "2017-07-02T00:00:00Z", '{"plan": "future"}', "g", "s1")),
         "2017-07-02T00:00:00Z", [
             ("profile.plan", "pro", "03:00 beats 02:00 although it arrived first; s3 is another profile"),
             ("profile.gone", None, "unset at 03:00"),
             ("profile.tie", "z", "same ts: 'b' after 'a'"),
             ("profile.home.city", "Ulm", ""),
             ("profile.home.zip", None, "the attribute is written as a whole"),
             ("profile.old", n("7"), "untouched"),
             ("profile.back", "again", "set after it was unset"),
         ], {"identities": {"s1": "p", "s2": "p", "s3": "q"}}),
    Case("traits and segments", log(("a", "2017-07-01T03:00:00Z", '{"x": 12}')), "2017-07-02T00:00:00Z", [
        ('trait("total")', n("12"), ""),
        ("total > 10", True, "a bare name works too"),
        ('segment("big")', True, "nested"),
        ("big == true", True, "a segment is a boolean"),
        ("none == false", True, "a segment is never missing"),
        ("wrong", None, "12 is no string"),
        ('segment("total")', ERROR, "it is a trait"),
        ("loop", ERROR, "a cycle"),
    ], {"definitions": {
        "total": ("trait", "events.a.sum(x)", "number"), "big": ("segment", 'trait("total") > 10', None),
        "none": ("segment", "profile.nothing", None), "wrong": ("trait", "events.a.last(x)", "string"),
        "loop": ("trait", "pool + 1", None), "pool": ("trait", "loop + 1", None)}}),
]

SPENT = (("p", 20), ("q", 10), ("r", 20), ("s", 30))
RANKS = Case(
    "percent_rank",
    log(*[("a", "2017-07-01T03:00:00Z", f'{{"x": {x}}}', "", who) for who, x in SPENT],
        ("a", "2017-07-01T03:00:00Z", "{}", "", "u"), ("system:a", "2017-07-01T03:00:00Z", '{"x": 1}', "", "v")),
    "2017-07-02T00:00:00Z", [])
HOPS = [
    ("1s", "1s"), ("99s", "1s"), ("100s", "1s"), ("1h", "1s"), ("100m", "1m"), ("24h", "5m"), ("99h", "5m"),
    ("100h", "1h"), ("7d", "1h"), ("14d", "1h"), ("30d", "1h"), ("90d", "1h"), ("2399h", "1h"), ("100d", "1d"),
]
RANK_ROWS: list[tuple[str, Value, str]] = [
    ("q", n("0"), "none smaller"),
    ("p", n("0.333333"), "one smaller of n - 1 = 3: u has no x, v is not in the universe"),
    ("r", n("0.333333"), "a tie"),
    ("s", n("1"), "3 / 3"),
    ("u", None, "x is missing"),
    ("v", None, "only a system event: not in the universe"),
]
# fmt: on

CASES = [*WINDOWS, *DAYS, *GAPS, *FIRSTS, *NUMBERS, *SETS, *FILTERS, *PROFILE]


@pytest.mark.parametrize(
    ("case", "expression", "expected", "why"),
    [pytest.param(case, *row, id=f"{case.title}: {row[0]}") for case in CASES for row in case.rows],
)
def test_events(case: Case, expression: str, expected: Value, why: str) -> None:
    """Each row of each case, equal in type and value."""
    found = evaluate(case, expression)
    assert (type(found), found) == (type(expected), expected), why


@pytest.mark.parametrize(("profile_id", "expected", "why"), RANK_ROWS)
def test_percent_rank(profile_id: str, expected: Value, why: str) -> None:
    """Section 6: the number of strictly smaller values / (n - 1)."""
    assert evaluate(RANKS, "percent_rank(events.a.max(x))", profile_id) == expected, why


def test_percent_rank_of_one() -> None:
    """Section 6: n = 1 gives 0."""
    alone = RANKS._replace(log=log(("a", "2017-07-01T03:00:00Z")))
    assert evaluate(alone, "percent_rank(events.a.count)") == n("0")


@pytest.mark.parametrize(("window", "expected"), HOPS)
def test_hop(window: str, expected: str) -> None:
    """Section 2: the page's own list, and both sides of 100 * h <= W."""
    assert hop(int(window[:-1]) * UNITS[window[-1]]) == int(expected[:-1]) * UNITS[expected[-1]]


def test_linear_counting() -> None:
    """2048 registers are set, 2048 are zero: 4096 * ln(4096 / 2048) = 4096 * 0.693147 = 2839.13."""
    assert hyperloglog({index << 52 for index in range(2048)}) == 2839


def test_raw_estimate() -> None:
    """Every register holds 4 (three zeros, a one): 0.7213 / (1 + 1.079 / 4096) * 4096^2 / (4096 / 16) = 47258.67."""
    assert hyperloglog({index << 52 | 1 << 48 for index in range(4096)}) == 47259


def test_more_than_256_values_keep_the_smallest_hashes() -> None:
    """Of the numbers 1 to 300 those with the 256 smallest prefixes of md5(`n:<number>`) stay, ordered as text."""
    case = Case("300", log(*values(*(str(value) for value in range(1, 301)))), "2017-07-02T00:00:00Z", [])
    by_hash = sorted(range(1, 301), key=lambda value: hashlib.md5(f"n:{value}".encode()).digest()[:8])
    assert evaluate(case, "events.a.unique_list(p)") == tuple(n(text) for text in sorted(map(str, by_hash[:256])))
