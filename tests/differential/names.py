"""What random worlds and random expressions are made of: names, values, windows, moments."""

import json

from dsl.catalog import ValueType
from dsl.clock import Zone
from tests.differential.worlds import instant

SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000

EVENTS = ("purchase", "order", "Feature Used", "page", "exposure", "7 days", 'it\'s "odd" */ -- 日本')
"""Events that expressions count: `page` is of its own kind, `exposure` a system event."""
Steps = tuple[str, ...]
FIELDS: dict[ValueType, tuple[Steps, ...]] = {
    "number": (("amount",), ("cart", "total"), ('odd "1',)),
    "string": (("label",), ("cart", "coupon", "Code"), ("odd/~x",)),
    "boolean": (("ok",), ("not",)),
    "timestamp": (("due",), ("cart", "due")),
    "list": (("tags",), ("cart", "tags")),
}
"""Properties and attributes, by the type that a declaration gives them."""
CONTEXT: dict[ValueType, tuple[Steps, ...]] = {
    "number": (("score",),),
    "string": (("page", "path"),),
    "boolean": (("mobile",),),
    "list": (("labels",),),
}
"""What an event's own context holds; nobody declares it."""

STRINGS = ("", "a", "A", "Zz", "é", "É", "e\u0301", "ß", "日本", "😀", "\uffff", "1", "2.50", "true", "order-17", " a")
STRANGE = ("it's", 'q"q', "*/", "--", "\\", "a\r\n b", "a\u0000b", "%", "{{x}} {% y %}", "'; DROP TABLE events")
LITERALS = ("0", "1", "2", "3", "-1", "0.5", "-0.5", "7.25", "10", "0.333333", "4611686018427.387904")
SMALL = ("0", "1", "2", "3", "-1", "0.5", "2.5", "7", "10", "99.99", "1.000001", "-0.000003")
LARGE = ("9223372036854.775807", "-9223372036854.775808", "3037000499.99", "0.000001", "-0.0000005", "1e2", "1e13")
DATES = (
    "2017-03-12",
    "2017-03-12T07:00:00Z",
    "2017-07-01T12:00:00.001",
    "2017-11-05T02:00:00-04:00",
    "2017-11-06",
    "2020-02-29",
    "2017-02-29",
)
SENT: dict[ValueType, tuple[str, ...]] = {
    "number": (*SMALL, *SMALL, *LARGE),
    "string": tuple(map(json.dumps, (*STRINGS, *STRINGS, *STRANGE, "\ufffd"))),
    "boolean": ("true", "false"),
    "timestamp": tuple(map(json.dumps, DATES)),
    "list": ("[]", '["a", "é", true]', "[0, 1, 2, 3, 0.5]", '[1, "1", true]', '["a", null, {"x": 1}, 2.50, false]'),
}
"""JSON texts of each type."""
ODD = ("null", "1", '"a"', '"1"', "true", "[]", "[1.5]", '["a"]', '{"x": 1}', "{}", "1e40", '"\\ud800"')
"""JSON texts of which a few stand where another type is meant."""

HOPS = {SECOND: ("90s", "100s", "30m"), MINUTE: ("100m", "8h"), 5 * MINUTE: ("24h", "36h", "1d")}
HOPS |= {HOUR: ("7d", "2w", "30d"), DAY: ("100d", "15w")}
"""Windows by their hop."""
WINDOWS = tuple(window for windows in HOPS.values() for window in windows)
CALENDAR = ("1d", "2d", "3d", "7d", "1w", "2w")
GAPS = {SECOND: ("90s", "30m"), MINUTE: ("100m", "8h"), 5 * MINUTE: ("24h", "1d")}
"""Windows of gaps, by their hop; each is a window of durations too."""

PROFILES = ("p1", "p2", "p3")
SOURCES = ("user:1", "user:2", "anon:3", "device:4")
MOMENTS = (
    ("UTC", instant("2017-07-01T12:00:00")),
    ("America/New_York", instant("2017-03-12T07:00:00")),  # clocks go forward
    ("America/New_York", instant("2017-03-13T04:00:00")),  # midnight after a day of 23 hours
    ("America/New_York", instant("2017-11-05T06:00:00")),  # clocks go back
    ("America/New_York", instant("2017-11-06T05:00:00")),  # midnight after a day of 25 hours
    ("Asia/Kathmandu", instant("2017-11-18T16:34:56") + 789),  # 5 h 45 min ahead
    ("America/St_Johns", instant("2006-10-29T02:41:00")),  # clocks have gone back over midnight
)
"""Zones and instants at which questions are asked."""
ZONES = {name: Zone(name) for name, _ in MOMENTS}
