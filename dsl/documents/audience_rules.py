"""mini-cdp's audience rules: a JSON object of keys and values -> one expression, by one table of keys."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal

from dsl.mistakes import Mistake, definition_error, shown
from dsl.nearest import nearest
from dsl.numbers import LARGEST, MICROS, read_number, write_number
from dsl.parser import parse
from dsl.printer import print_node, print_tree
from dsl.source import Source, Span
from dsl.syntax import String

Takes = Literal["number", "count", "days", "truth", "events", "attributes"]

_NOWHERE: Final = Span(0, 0)
_SEE: Final = "docs/reference/audience-rules.md lists the rules"


@dataclass(frozen=True, slots=True)
class RuleKey:
    """A key of the rules.

    Attributes:
        takes: what its value may be.
        template: the expression, `{}` in place of the value; with `events` and `attributes` of one item of it.
        join: what stands between the items.
        meaning: of whom it holds.
        example: a value.
    """

    name: str
    takes: Takes
    template: str
    meaning: str
    example: object
    join: Literal["&&", "||"] = "&&"


_SPEND, _ORDERS = "events.purchase.sum(amount)", "events.purchase.count"
_AVERAGE, _EVENTS = "events.purchase.avg(amount)", "events.*.count"
_LAST, _LAST_PURCHASE = "events.*.days_since_last", "events.purchase.days_since_last"
_FIRST, _FIRST_PURCHASE = "events.*.days_since_first", "events.purchase.days_since_first"

RULE_KEYS: Final[Mapping[str, RuleKey]] = {
    key.name: key
    for key in (
        RuleKey("min_total_spend", "number", _SPEND + " >= {}", "spent at least this in all", 100),
        RuleKey("max_total_spend", "number", _SPEND + " <= {}", "spent at most this in all", 1000),
        RuleKey("min_total_orders", "count", _ORDERS + " >= {}", "made at least so many purchases", 3),
        RuleKey("max_total_orders", "count", _ORDERS + " <= {}", "made at most so many purchases", 10),
        RuleKey("min_average_order", "number", _AVERAGE + " >= {}", "spent at least this a purchase", Decimal("24.5")),
        RuleKey("max_average_order", "number", _AVERAGE + " <= {}", "spent at most this a purchase", 80),
        RuleKey("min_events", "count", _EVENTS + " >= {}", "did at least so many things", 5),
        RuleKey("max_events", "count", _EVENTS + " <= {}", "did at most so many things", 500),
        RuleKey("days_since_last_event", "days", _LAST + " < {}", "did something in the last so many days", 30),
        RuleKey(
            "min_days_since_last_event",
            "days",
            _LAST + " >= {}",
            "did something, and nothing in the last so many days",
            90,
        ),
        RuleKey("days_since_first_event", "days", _FIRST + " < {}", "came in the last so many days", 7),
        RuleKey("min_days_since_first_event", "days", _FIRST + " >= {}", "came so many days ago or earlier", 365),
        RuleKey("days_since_last_purchase", "days", _LAST_PURCHASE + " < {}", "bought in the last so many days", 14),
        RuleKey(
            "min_days_since_last_purchase",
            "days",
            _LAST_PURCHASE + " >= {}",
            "bought something, and nothing in the last so many days",
            60,
        ),
        RuleKey(
            "days_since_first_purchase",
            "days",
            _FIRST_PURCHASE + " < {}",
            "bought for the first time in the last so many days",
            30,
        ),
        RuleKey(
            "min_days_since_first_purchase",
            "days",
            _FIRST_PURCHASE + " >= {}",
            "bought for the first time so many days ago or earlier",
            180,
        ),
        RuleKey("has_event", "events", "{}.count >= 1", "did every one of these", ["signup", "Add to Cart"]),
        RuleKey("has_any_event", "events", "{}.count >= 1", "did one of these", ["search", "page_view"], "||"),
        RuleKey("has_not_event", "events", "{}.count == 0", "did none of these", "refund"),
        RuleKey(
            "traits",
            "attributes",
            "{}",
            "has every one of these attributes, with this value or one of these",
            {"plan": "pro", "country": ["US", "CA"]},
        ),
        RuleKey("email_known", "truth", "is_set(profile.email)", "has told an e-mail address, or has not", True),
    )
}
"""Every key, in the order of the reference page. All keys of a document have to hold."""

EXPECTED: Final[Mapping[Takes, str]] = {
    "number": "a number",
    "count": "a whole number, 0 or more",
    "days": "a whole number of days, 1 or more",
    "truth": "`true` or `false`",
    "events": "the name of an event or a list of names",
    "attributes": "an object of attributes with a text, number or truth value, or a list of texts or numbers",
}
"""What a value may be, as people are told."""


@dataclass(frozen=True, slots=True)
class Translation:
    """Rules as an expression, canonically printed.

    Attributes:
        clauses: for every rule, in its order: key, value as given, and the expression that it stands for.
    """

    expression: str
    clauses: tuple[tuple[str, object, str], ...]


def read_rules(rules: Mapping[str, object]) -> Translation:
    """The expression that mini-cdp's rules stand for: every rule has to hold.

    Args:
        rules: JSON values; numbers as `int` or `Decimal` (`json.loads(text, parse_float=Decimal)`), for a `float`
            is refused: it may not be the number that was written.

    Raises:
        DefinitionError: everything that is wrong with the rules, drawn in them.

    >>> read_rules({"min_total_spend": 100, "days_since_last_event": 30}).expression
    'events.purchase.sum(amount) >= 100 && events.*.days_since_last < 30'
    """
    mistakes = rule_mistakes(rules)
    if mistakes:
        raise definition_error(rules, "<rules>", mistakes)
    clauses = tuple((name, value, _canonical(_clause(RULE_KEYS[name], value))) for name, value in rules.items())
    return Translation(_canonical(_joined((text for _, _, text in clauses), "&&")), clauses)


def rule_mistakes(rules: Mapping[str, object]) -> tuple[Mistake, ...]:
    """Everything that is wrong with rules; none when `read_rules` translates them."""
    if not rules:
        advice = ('write at least one: `{"min_total_spend": 100}`', _SEE)
        return (Mistake(None, "the rules are empty: they would mean everybody", advice, "a rule"),)
    return tuple(mistake for name, value in rules.items() for mistake in _mistakes_of(name, value))


def _mistakes_of(name: str, value: object) -> Iterator[Mistake]:
    key = RULE_KEYS.get(name)
    if key is None:
        best = nearest(name, RULE_KEYS)
        others = ('an attribute stands under `traits`: `{"traits": {"plan": "pro"}}`', _SEE)
        advice = (f"the nearest rule is `{best}`",) if best else others
        yield Mistake(name, f"there is no rule `{name[:60]}`", advice, at="key")
    elif key.takes == "attributes" and isinstance(value, Mapping) and value:
        for attribute, wanted in value.items():
            if not _is_wanted(wanted):
                expected = "a text, a number, `true`, `false`, or a list of texts or of numbers"
                what = f"the attribute `{attribute}` of `{name}`"
                yield Mistake(name, f"{what} should be {expected}, found `{shown(wanted)}`", _advice(wanted), expected)
    elif not _FITS[key.takes](value):
        expected = EXPECTED[key.takes]
        yield Mistake(name, f"`{name}` should be {expected}, found `{shown(value)}`", _advice(value), expected)


def _advice(value: object) -> tuple[str, ...]:
    """What to do about a value that looks right and is not."""
    if any(isinstance(item, float) for item in _items(value)):
        return ("a number that was read as a double has lost its digits: read it as a decimal",)
    if isinstance(value, int | Decimal) and not isinstance(value, bool) and _micros(value) is None:
        return (f"a number has at most six decimals and is at most {write_number(LARGEST)}",)
    if isinstance(value, str) and read_number(value) is not None:
        return ("write the number without quotes",)
    return ()


# -- values ----------------------------------------------------------------------------------------------------


def _micros(value: object) -> int | None:
    """Micro-units of a number that can be written out as it is; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return None
    if isinstance(value, Decimal) and not value.is_finite():
        return None
    # Before any text is made: a number of a million digits has a text of a million digits.
    micros = read_number(str(value)) if -LARGEST <= value <= LARGEST else None
    if micros is None or abs(micros) > LARGEST:
        return None
    return micros if Decimal(write_number(micros)) == value else None


def _is_whole(value: object, least: int) -> bool:
    micros = _micros(value)
    return micros is not None and micros % MICROS == 0 and micros >= least * MICROS


def _is_texts(value: object) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(item, str) for item in value)


def _is_wanted(value: object) -> bool:
    """Whether an attribute can be compared with the value."""
    if isinstance(value, list | tuple):
        return _is_texts(value) or (bool(value) and all(_micros(item) is not None for item in value))
    return isinstance(value, str | bool) or _micros(value) is not None


_FITS: Final[Mapping[Takes, Callable[[object], bool]]] = {
    "number": lambda value: _micros(value) is not None,
    "count": lambda value: _is_whole(value, 0),
    "days": lambda value: _is_whole(value, 1),
    "truth": lambda value: isinstance(value, bool),
    "events": lambda value: (isinstance(value, str) or _is_texts(value)) and "" not in _items(value),
    "attributes": lambda value: isinstance(value, Mapping) and bool(value) and all(map(_is_wanted, value.values())),
}


def _items(value: object) -> tuple[object, ...]:
    return tuple(value) if isinstance(value, list | tuple) else (value,)


# -- expressions -----------------------------------------------------------------------------------------------


def _clause(key: RuleKey, value: object) -> str:
    match key.takes:
        case "truth":
            return key.template if value else f"!{key.template}"
        case "events":
            names = (f"events[{_literal(name)}]" for name in _items(value))
            return _joined((key.template.format(name) for name in names), key.join)
        case "attributes" if isinstance(value, Mapping):
            comparisons = (_comparison(str(name), wanted) for name, wanted in value.items())
            return _joined((key.template.format(comparison) for comparison in comparisons), key.join)
    return key.template.format(_literal(value))


def _comparison(attribute: str, wanted: object) -> str:
    operator = "in" if isinstance(wanted, list | tuple) else "=="
    return f"profile[{_literal(attribute)}] {operator} {_literal(wanted)}"


def _literal(value: object) -> str:
    """A JSON value as it stands in an expression."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return print_node(String(value, _NOWHERE))
        case list() | tuple():
            return f"[{', '.join(_literal(item) for item in value)}]"
    return write_number(_micros(value) or 0)


def _joined(texts: Iterable[str], operator: str) -> str:
    return f" {operator} ".join(f"({text})" for text in texts)


def _canonical(text: str) -> str:
    """The expression as it is printed: names without quotes, no parenthesis that changes nothing."""
    return print_tree(parse(Source(text, "<rules>")))
