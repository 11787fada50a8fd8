"""Hand-worked vectors of values, operators, functions and grammar (SEMANTICS, section 3). Worked from the page."""

import pytest

from tests.oracle.values import Value
from tests.oracle.vectors import ERROR, Case, Vector, evaluate, log, n, ts

ATTRIBUTES = r"""{
  "age": 30, "yes": true, "no": false, "empty": "", "nothing": null, "tags": ["a", "b", 1, null], "text": "12.50",
  "big": 9223372036854.775807, "too_big": 9223372036854.775808, "odd": 9007199254.740993,
  "half": 0.0000005, "under_half": 0.00000049, "minus_half": -0.0000005, "exponent": 1.5e3, "tiny": 1E-7,
  "huge": 1e999999999,
  "address": {"city": "Ulm", "geo": {"zip": "89073"}}, "lone": "\ud800", "day": "2017-06-30", "due": "2017-06-30"
}"""
T = "2017-07-01T00:00:00Z"
CASE = Case(
    "one profile with attributes",
    log(("identify:", "2017-06-01T00:00:00Z", ATTRIBUTES.replace("\n", " "))),
    T,
    [],
    {"timestamp_paths": {"profile.due"}, "context": {"amount": 150, "cart": {"kind": "gift"}}},
)

# fmt: off
NUMBERS = [
    Vector("0.1 + 0.2 == 0.3", True, "100000 + 200000 = 300000 micro-units, no doubles"),
    Vector("1 / 3", n("0.333333"), "333333.33 micro rounds down"),
    Vector("2 / 3", n("0.666667"), "666666.67 micro rounds up"),
    Vector("-2 / 3", n("-0.666667"), "(-2) / 3, rounded away from zero"),
    Vector("0.000001 / 2", n("0.000001"), "0.5 micro: half away from zero"),
    Vector("-0.000001 / 2", n("-0.000001"), "-0.5 micro: half away from zero, not to even"),
    Vector("0.000003 / 2", n("0.000002"), "1.5 micro -> 2"),
    Vector("0.000001 * 0.4", n("0"), "0.4 micro -> 0"),
    Vector("0.000001 * 0.5", n("0.000001"), "0.5 micro -> 1"),
    Vector("-1.5 * 1.5", n("-2.25"), "exact"),
    Vector("7 % 3", n("1"), "7 = 2*3 + 1"),
    Vector("-7 % 3", n("-1"), "the sign of the dividend"),
    Vector("7 % -3", n("1"), "the sign of the dividend"),
    Vector("7.5 % 2", n("1.5"), "7.5 = 3*2 + 1.5"),
    Vector("1 / 0", None, "/0 is missing"),
    Vector("1 % 0", None, "%0 is missing"),
    Vector("0 / 0 == 0", False, "missing compares false"),
    Vector("profile.big", n("9223372036854.775807"), "2^63 - 1 micro-units: the largest"),
    Vector("profile.too_big", None, "2^63 micro-units: out of range is missing"),
    Vector("profile.big + 0.000001", None, "overflow is missing"),
    Vector("-profile.big - 0.000001", n("-9223372036854.775808"), "-2^63 fits 64 bits"),
    Vector("-(-profile.big - 0.000001)", None, "2^63 does not"),
    Vector("abs(-profile.big - 0.000001)", None, "2^63 does not"),
    Vector("profile.big * 1", n("9223372036854.775807"), "the product is 128 bits wide before it is rounded"),
    Vector("profile.big / 1", n("9223372036854.775807"), "the dividend is 128 bits wide"),
    Vector("3000000 * 3000000", n("9000000000000"), "9.0e12 < 9.22e12"),
    Vector("3100000 * 3000000", None, "9.3e12 > 9.22e12"),
    Vector("1 / 0.0000001", ERROR, "a literal with seven decimals"),
    Vector("profile.odd == 9007199254.740993", True, "2^53 + 1 micro-units survive: no double"),
    Vector("profile.odd == 9007199254.740992", False, "a double would have made them equal"),
    Vector("profile.half", n("0.000001"), "0.5 micro, read half away from zero"),
    Vector("profile.minus_half", n("-0.000001"), "-0.5 micro, read half away from zero"),
    Vector("profile.under_half", n("0"), "0.49 micro -> 0"),
    Vector("profile.tiny", n("0"), "0.1 micro -> 0"),
    Vector("profile.exponent", n("1500"), "1.5e3"),
    Vector("profile.huge", None, "out of range"),
    Vector("round(2.5)", n("3"), "half away from zero"),
    Vector("round(-2.5)", n("-3"), "half away from zero"),
    Vector("round(2.4999)", n("2"), "below the half"),
    Vector("round(1.005, 2)", n("1.01"), "exactly half of 0.01: away (a double holds less than 1.005)"),
    Vector("round(profile.big)", None, "9223372036855 is beyond the range"),
    Vector("round(profile.big, 6)", n("9223372036854.775807"), "six places are all there are"),
    Vector("abs(-1.5)", n("1.5"), ""),
    Vector("min(3, 1, 2) + max(3, 1, 2)", n("4"), "1 + 3"),
    Vector("number(\"12.50\")", n("12.5"), "from its decimal text"),
    Vector("number(profile.text) + 1", n("13.5"), "12.5 + 1"),
    Vector("number(\"12,5\")", None, "no decimal text"),
    Vector("number(\"0.0000015\")", n("0.000002"), "1.5 micro -> 2"),
    Vector("text(12.50)", "12.5", "canonical text has no trailing zeros"),
    Vector("text(-0.500)", "-0.5", ""),
    Vector("text(1000000)", "1000000", "no exponent"),
    Vector("text(true)", "true", ""),
]

ORDERED = ("==", "<", "<=", ">", ">=")
MISSING = [
    *(Vector(f"profile.nothing {operator} 1", None, "arithmetic with a missing operand") for operator in "+-*/%"),
    *(Vector(f"1 {operator} profile.nothing", None, "arithmetic with a missing operand") for operator in "+-*/%"),
    *(Vector(f"profile.none {operator} 1", False, "missing compares false") for operator in ORDERED),
    *(Vector(f"1 {operator} profile.none", False, "missing compares false") for operator in ORDERED),
    *(Vector(f'profile.none {operator} ""', False, "a word operator with a missing operand")
      for operator in ("contains", "starts_with", "ends_with", "matches")),
    *(Vector(f'"" {operator} profile.none', False, "a word operator with a missing operand")
      for operator in ("in", "contains", "starts_with", "ends_with")),
    Vector('profile.none in ["US"]', False, "a word operator with a missing operand"),
    Vector('!profile.none in ["US"]', True, "!(missing in ...) = !false"),
    Vector('profile.none != "US"', True, "!(==)"),
    Vector("profile.none == profile.none", False, "missing is not even equal to itself"),
    Vector("profile.none != profile.none", True, "!(==)"),
    Vector("-profile.none", None, "arithmetic"),
    Vector("!profile.none", True, "not `true`, so false, negated"),
    Vector("profile.none && true", False, ""),
    Vector("profile.none || true", True, ""),
    Vector("is_set(profile.empty)", True, '"" is not missing'),
    Vector("is_set(profile.nothing)", False, "null is missing"),
    Vector("is_set(profile.too_big)", False, "out of range is missing"),
    Vector("coalesce(profile.none, profile.nothing, 5)", n("5"), "the first that is there"),
    Vector("coalesce(profile.none, profile.nothing)", None, "none is there"),
    Vector("if(profile.none, 1, 2)", n("2"), "only true is true"),
    Vector("if(profile.age, 1, 2)", n("2"), "30 is not true"),
    Vector("if(profile.yes, 1, profile.none)", n("1"), ""),
    Vector("lower(profile.none)", None, "a function with a missing argument"),
    Vector("min(1, profile.none)", None, "a function with a missing argument"),
    Vector("round(1.5, profile.none)", None, "a function with a missing argument"),
    Vector("days_since(profile.none)", None, "a function with a missing argument"),
    Vector("profile.age && true", False, "30 is not true"),
    Vector('!"true"', True, "a string is not true"),
]

TYPES = [
    Vector('1 == "1"', False, "no implicit conversion"),
    Vector('1 != "1"', True, "!(==)"),
    Vector('true == "true"', False, "no implicit conversion"),
    Vector("true == 1", False, "no implicit conversion"),
    Vector('1 in ["1", true]', False, "nor inside in"),
    Vector('1 in ["1", 1.0]', True, "1.0 is 1"),
    Vector('"1" + 1', None, "+ needs two numbers"),
    Vector('"a" < 1', False, "different types"),
    Vector('profile.day == date("2017-06-30")', False, "a string is no timestamp"),
    Vector('profile.due == date("2017-06-30")', True, "declared timestamp: the start of that date"),
    Vector("true <= true || false < true", False, "booleans have no order (a choice)"),
    Vector('profile.tags == "a"', False, "a list is no string"),
]

STRINGS = [
    Vector('length("h\u00e9llo")', n("5"), "code points, not bytes"),
    Vector('length("e\u0301")', n("2"), "no normalisation"),
    Vector('length("\U0001f600")', n("1"), "code points, not UTF-16 units"),
    Vector('"\u00e9" == "e\u0301"', False, "no normalisation"),
    Vector('"\\uffff" < "\U0001f600"', True, "U+FFFF < U+1F600 (as UTF-16 units it would be greater)"),
    Vector('"Z" < "a"', True, "U+005A < U+0061"),
    Vector('"" < "a" && "a" < "aa"', True, "a prefix is smaller"),
    Vector('profile.lone == "\\ufffd"', True, "a lone surrogate becomes U+FFFD"),
    Vector('upper("\u00e9a\u00df")', "\u00e9A\u00df", "A-Z only"),
    Vector('lower("\u00c0B")', "\u00c0b", "A-Z only"),
    Vector('"books" contains "ook"', True, "substring"),
    Vector('"books" contains ""', True, "the empty string is in every string"),
    Vector('profile.tags contains "a"', True, "exact element"),
    Vector('profile.tags contains ""', False, "not a substring of an element"),
    Vector('profile.tags contains "1"', False, "the element is the number 1"),
    Vector("profile.tags contains 1", True, "the element is the number 1"),
    Vector('"b" in profile.tags', True, ""),
    Vector('"a" in "abc"', False, "`in` needs a list"),
    Vector('"abc" starts_with "ab" && "abc" ends_with "bc"', True, ""),
    Vector('"abc" starts_with "B" || "abc" ends_with "B"', False, ""),
    Vector('"x12" matches "[0-9]+$"', True, "unanchored"),
    Vector('"x12" matches "^[0-9]"', False, "x comes first"),
    Vector('"ABC" matches "abc"', False, "no flags"),
    Vector('"abc\\n" matches "c$"', False, "RE2's $ is the very end"),
    Vector('"\u00e9\u0663" matches "\\\\w|\\\\d"', False, "ASCII classes"),
    Vector('"\\u000b" matches "\\\\s"', False, "RE2's blanks have no vertical tab"),
    Vector('profile.age matches "3"', False, "a number is no string"),
]

GRAMMAR = [
    Vector("1 + 2 * 3", n("7"), "* before +"),
    Vector("2 - 1 - 1", n("0"), "left to right"),
    Vector("8 / 4 / 2", n("1"), "left to right"),
    Vector("- 2 * 3 + 1", n("-5"), "unary minus first"),
    Vector("--2", n("2"), ""),
    Vector("1 + 1 == 2 && 3 > 2", True, "comparison under &&"),
    Vector("true || false && false", True, "&& before ||"),
    Vector("not false and false", False, "(not false) and false"),
    Vector("!1 == 2", True, "!(1 == 2)"),
    Vector("not not true or false", True, ""),
    Vector("1 // one\n + 1 // two", n("2"), "comments"),
    Vector('"a//b" ends_with "//b"', True, "no comment in a string"),
    Vector("profile.age in([30, 31])", True, "both forms of in"),
    Vector('profile.address.geo.zip == "89073"', True, "nested"),
    Vector("is_set(profile.address.city.zip)", False, "nothing is nested in a string"),
    Vector('context.amount >= 100 && context.cart.kind == "gift"', True, "what the request brought along"),
    Vector("context.none", None, ""),
    Vector("1 < 2 < 3", ERROR, "chaining"),
    Vector("1 == 1 == true", ERROR, "chaining"),
    Vector('"a" in ["a"] == true', ERROR, "chaining: word operators too"),
    Vector("(1 < 2) == true", True, "parentheses"),
    Vector("1 == !true", ERROR, "! is looser than =="),
    Vector("1.0000001", ERROR, "more than six decimals"),
    Vector("1.000000", n("1"), "six are allowed"),
    Vector('"a" matches "(a)\\\\1"', ERROR, "no back-references in RE2"),
    Vector('"a" matches "a(?=b)"', ERROR, "no look-around in RE2"),
    Vector('"a" matches "(?i)A"', ERROR, "no flags"),
    Vector('"a" matches profile.text', ERROR, "a literal pattern"),
    Vector("events.*.unique_days_24h", ERROR, "calendar windows are days and weeks"),
    Vector("events.*.longest_gap_minutes_25h", ERROR, "W <= 24h"),
    Vector("events.*.longest_gap_minutes", ERROR, "needs a window"),
    Vector("events.*.count_1y", ERROR, "no such unit"),
    Vector("events.a[now() == 1].count", ERROR, "now() in a filter"),
    Vector("events.a[profile.x == 1].count", ERROR, "profile in a filter"),
    Vector('events.a[segment("x")].count', ERROR, "a segment in a filter"),
    Vector("events.a[events.b.count > 1].count", ERROR, "an aggregate in a filter"),
    Vector("unknown_name > 1", ERROR, "neither trait nor segment"),
    Vector("1 +", ERROR, ""),
    Vector("(1", ERROR, ""),
    Vector("1 1", ERROR, ""),
]

DAY_MS = 86_400_000
TIME = [
    Vector("now()", ts(T), "t"),
    Vector('date("2017-06-30")', ts("2017-06-30T00:00:00Z"), "the start of the date, in UTC here"),
    Vector('date("2017-06-30T10:00:00")', ts("2017-06-30T10:00:00Z"), "without zone: UTC"),
    Vector('date("2017-06-30 10:00:00+02:00")', ts("2017-06-30T08:00:00Z"), "two hours earlier in UTC"),
    Vector('date("1970-01-01T00:00:00.0019Z") - date("1970-01-01")', n("1"), "floored to ms"),
    Vector('date("2017-02-29")', None, "no such date"),
    Vector('date("soon")', None, "no date"),
    Vector('now() - date("2017-06-30")', n(str(DAY_MS)), "one day in ms"),
    Vector('date("1700-01-01") - now()', None, "317 years are 1.0e13 ms, beyond the largest number"),
    Vector('days_since(date("2017-06-30"))', n("1"), "exactly one day"),
    Vector('days_since(date("2017-06-30T00:00:00.001Z"))', n("0"), "one ms less"),
    Vector('days_since(date("2017-07-01T00:00:00.001Z"))', n("-1"), "floor towards minus infinity"),
    Vector('now() > date("2017-06-30T23:59:59.999Z") && now() <= date("2017-07-01")', True, ""),
    Vector('now() + 1', None, "no number"),
    Vector('bucket("salt")', n("0.908291"), "md5(salt.u1) = e885d2530b2dc84...: * 10^6 / 2^60 = 908291.."),
]
# fmt: on

NEW_YORK_2017 = [
    Vector('date("2017-03-12")', ts("2017-03-12T05:00:00Z"), "midnight EST is UTC-5"),
    Vector('date("2017-03-13")', ts("2017-03-13T04:00:00Z"), "midnight EDT is UTC-4"),
    Vector('date("2017-03-13") - date("2017-03-12")', n("82800000"), "a day of 23 hours"),
    Vector('date("2017-11-06") - date("2017-11-05")', n("90000000"), "a day of 25 hours"),
    Vector('date("2017-03-12T02:30:00")', ts("2017-03-12T02:30:00Z"), "a string with a time is UTC, not local"),
]


def check(vector: Vector, found: Value) -> None:
    """Equal in type and value; the derivation is shown when not."""
    assert (type(found), found) == (type(vector.expected), vector.expected), vector.why


@pytest.mark.parametrize(
    "vector", [*NUMBERS, *MISSING, *TYPES, *STRINGS, *GRAMMAR, *TIME[:-1]], ids=lambda vector: vector.expression
)
def test_a_value(vector: Vector) -> None:
    """Section 3 over one profile, in UTC."""
    check(vector, evaluate(CASE, vector.expression))


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("(" * 100 + "1" + ")" * 100, n("1")),
        ("-" * 100 + "1", n("1")),
        ("!" * 101 + "true", False),
        ("if(true, " * 100 + "1" + ", 2)" * 100, n("1")),
        (" + ".join(["1"] * 100), n("100")),
    ],
    ids=["parentheses", "minus", "not", "if", "plus"],
)
def test_a_hundred_levels(expression: str, expected: Value) -> None:
    """Depth 100 is no trouble."""
    assert evaluate(CASE, expression) == expected


def test_a_bucket() -> None:
    """Section 6, of the profile `u1`."""
    check(TIME[-1], evaluate(CASE, TIME[-1].expression, "u1"))


@pytest.mark.parametrize("vector", NEW_YORK_2017, ids=lambda vector: vector.expression)
def test_a_date_in_new_york(vector: Vector) -> None:
    """Timestamps: the start of a date in the project's zone, around both changes of the clocks of 2017."""
    check(vector, evaluate(CASE._replace(settings={"zone": "America/New_York"}), vector.expression))
