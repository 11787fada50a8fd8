"""Doing what a sentence says: it is read back, and what it names is done to what is known of a profile."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal

from dsl import typed
from dsl.catalog import Catalog, Segment, Trait, ValueType
from dsl.check import CheckedCatalog, aggregate_uses, check_catalog, check_expression
from dsl.clock import Zone, format_instant, parse_instant
from dsl.evaluate import Evaluation, evaluate
from dsl.event import Event
from dsl.guide.explain_tree import Explained, explain_tree
from dsl.numbers import MICROS, read_number
from dsl.recount import count_again, instants_of
from dsl.state import State

NEW_YORK = Zone("America/New_York")
T_MS = parse_instant("2017-07-14T18:40:00.123Z")
ATTRIBUTES: Mapping[str, ValueType] = {
    "plan": "string",
    "age": "number",
    "member": "boolean",
    "renews_on": "timestamp",
    "tags": "list",
}
CATALOG = Catalog(
    attributes=ATTRIBUTES,
    traits=(
        Trait("orders", "events.purchase.count_30d"),
        Trait("spend", "events.purchase.sum(amount)"),
        Trait("basket", "events.purchase.sum_30d(amount) / orders"),
        Trait("plan_or_free", 'coalesce(profile.plan, "free")'),
        Trait("days", "events.visit.unique_days_14d"),
        Trait("away", "events.purchase.days_since_last"),
        Trait("last_label", "events.purchase.last(label)", type="string"),
        Trait("labels", "events.purchase.count_distinct(label)"),
        Trait("label_list", "events.purchase.unique_list_30d(label)"),
        Trait("best", "events.purchase.max_30d(amount)"),
        Trait("refunded", "events.refund.avg(amount)"),
    ),
    segments=(
        Segment("loyal", 'orders >= 3 && profile.plan == "pro"'),
        Segment("vip", "loyal && events.purchase.sum_30d(amount) > 100"),
    ),
    timezone=NEW_YORK.name,
)
FILTERS: dict[str, dict[str, object]] = {
    'label == "b c"': {"label": "b c"},
    "amount > 20 || ok": {"ok": True, "amount": 0},
    'label starts_with "a" && !ok': {"label": "ab", "ok": False},
    "amount > 20": {"amount": 21 * MICROS},
    "ok": {"ok": True},
}
"""Filters, and what an event has that passes."""


@dataclass(frozen=True)
class Known:
    """All that is known of a profile, and of a request."""

    events: tuple[Event, ...] = ()
    attributes: Mapping[str, object] = field(default_factory=dict)
    context: Mapping[str, object] = field(default_factory=dict)
    t_ms: int = T_MS

    def state(self, checked: CheckedCatalog) -> State:
        """The state, counted from the events."""
        counted = count_again("p", self.events, checked, self.t_ms, 10_000, NEW_YORK)
        return replace(counted, attributes=self.attributes)

    def tree(self, text: str) -> Explained:
        """The tree of a condition."""
        checked, node = asked(text)
        state = self.state(checked)
        return explain_tree(
            node,
            state,
            checked,
            self.context,
            holdings=lambda base: instants_of(base, self.events, checked, state),
        )

    def holds(self, text: str) -> bool:
        """Whether a condition holds."""
        checked, node = asked(text)
        return evaluate(node, self.state(checked), checked, self.context) is True

    def with_event(self, name: str, ts_ms: int, properties: Mapping[str, object] | None = None) -> "Known":
        """The same and one more event."""
        seq = max((event.seq for event in self.events), default=0) + 1
        event = Event(f"e{seq}", seq, "track", name, "p", ts_ms, NEW_YORK.day(ts_ms), properties or {})
        return replace(self, events=(*self.events, event))

    def with_field(self, root: str, name: str, value: object) -> "Known":
        """The same with another attribute, or value of the request."""
        if root == "context":
            return replace(self, context={**self.context, name: value})
        return replace(self, attributes={**self.attributes, name: value})


CHECKED = check_catalog(CATALOG)


def asked(text: str) -> tuple[CheckedCatalog, typed.Node]:
    """A condition of a flag, and the catalog in which all that it reads is counted."""
    node = check_expression(text, CHECKED, "flag").node
    uses = aggregate_uses([node], CHECKED.aggregates)
    return replace(CHECKED, aggregates={**CHECKED.aggregates, **uses}), node


# -- sentences read back -----------------------------------------------------------------------------------------------

INSTANT = r"\d{4}-\S+Z"
FORMS = {
    "itself": re.compile(rf"at ({INSTANT}) by itself"),
    "events": re.compile(r"(\d+) (more|fewer) (?:`(?P<name>[^`]+)` )?events?(?: of any name)?(?: .*)?"),
    "amount": re.compile(r"(over )?([\d.]+) (more|less) of `(?P<property>[\w.]+)` in `(?P<name>\w+)` events(?: .*)?"),
    "dates": re.compile(r"(\d+) (more|fewer) local dates? with an? `(?P<name>\w+)` event(?: .*)?"),
    "distinct": re.compile(r"(\d+) more different values? of `(?P<property>\w+)` in `(?P<name>\w+)` events(?: .*)?"),
    "streak": re.compile(r"a `(?P<name>\w+)` event.* on (?:each of (\d+) local dates in a row|today's local date).*"),
    "field": re.compile(r"`(profile|context)\.(\w+)` (?:set to|of) (.*?)(?: in the request)? \(is .*\)"),
    "unset": re.compile(r"(?:no )?`(profile|context)\.(\w+)` (?:unset|in the request) \(is .*\)"),
    "one": re.compile(r"(?:any|an?|a new|a newer) (?:`(?P<name>[^`]+)` )?event(?: of any name)?(?: .*)?"),
}
"""How sentences read; the first form that fits."""


def form_of(sentence: str) -> str:
    """The form of a sentence, one of `FORMS`."""
    return next(form for form, its in FORMS.items() if its.fullmatch(sentence))


def done(sentence: str, text: str, known: Known) -> Known:
    """What is known once somebody has done what a sentence says of the condition `text`."""
    form = form_of(sentence)
    match = FORMS[form].fullmatch(sentence)
    assert match is not None
    if form == "itself":
        return replace(known, t_ms=parse_instant(match[1]))
    if form == "field":
        return known.with_field(match[1], match[2], value_of(match[3]))
    if form == "unset":
        return known.with_field(match[1], match[2], None if "unset" in sentence or "no `" in sentence else True)
    deeds: dict[str, Callable[[re.Match[str], str, Mapping[str, object], Known], Known]] = {
        "events": lambda match, name, wheres, known: _many(match, name, wheres, known, text),
        "dates": lambda match, name, wheres, known: _on_dates(match, name, wheres, known, text),
        "amount": _amount,
        "distinct": _distinct,
        "streak": _streak,
        "one": lambda _, name, wheres, known: known.with_event(name, T_MS - 1, wheres),
    }
    return deeds[form](match, match["name"] or "visit", where(sentence), known)


def where(sentence: str) -> dict[str, object]:
    """Properties of an event for which all holds that a sentence says behind `where`."""
    found: dict[str, object] = {}
    for text, properties in FILTERS.items():
        if f"`{text}`" in sentence:
            found |= properties
    for name, phrase in re.findall(r"`(\w+)` is (.+?)(?: within [^`]*)?$", sentence):
        found[name] = value_of(phrase)
    return found


def value_of(phrase: str) -> object:
    """A value as it is described."""
    phrase = phrase.removeprefix("one of ")
    if (first := phrase.partition(", ")[0]) in _ANY:
        return _ANY[first]
    if match := re.match(rf"(earlier than |later than )?({INSTANT})", phrase):
        return format_instant(parse_instant(match[2]) + {"earlier than ": -1, "later than ": 1}.get(match[1], 0))
    if match := re.match(r"(less than |at most |more than |at least )?(-?[\d.]+)", phrase):
        return (read_number(match[2]) or 0) + {"less than ": -1, "more than ": 1}.get(match[1], 0)
    words, quote, rest = phrase.partition('"')
    if " other than " in phrase:
        return {"number": 777 * MICROS, "instant": "2001-01-01", "string": "zzz"}[words.split()[1]]
    text = json.JSONDecoder().raw_decode(quote + rest)[0]
    if words.startswith("a list"):
        return (text,)
    if "not" in words:
        return "zzz"
    return {"a string before ": "", "a string after ": f"{text}!"}.get(words, text)


_ANY = {
    "a number": MICROS,
    "a string": "x",
    "a boolean": True,
    "a timestamp": "2017-01-01",
    "true": True,
    "false": False,
}


def _many(match: re.Match[str], name: str, wheres: Mapping[str, object], known: Known, text: str) -> Known:
    """So many more events, or so many of the newest counted ones fewer."""
    if match[2] == "fewer":
        gone = counted(text, known)[: int(match[1])]
        return replace(known, events=tuple(event for event in known.events if event not in gone))
    for _ in range(int(match[1])):
        known = known.with_event(name, T_MS - 1, wheres)
    return known


def _amount(match: re.Match[str], name: str, wheres: Mapping[str, object], known: Known) -> Known:
    """That much in two events: one may be too small to hold it."""
    size = round(Decimal(match[2]) * MICROS) + (1 if match[1] else 0)
    amount = size if match[3] == "more" else -size
    for part in (amount // 2, amount - amount // 2):
        known = known.with_event(name, T_MS - 1, {**wheres, **_nested(match["property"], part)})
    return known


def _nested(path: str, value: object) -> dict[str, object]:
    first, _, rest = path.partition(".")
    return {first: _nested(rest, value) if rest else value}


def _on_dates(match: re.Match[str], name: str, wheres: Mapping[str, object], known: Known, text: str) -> Known:
    """Events on so many further dates of the window, or none any more on so many of them."""
    dates = list(dict.fromkeys(event.local_day for event in counted(text, known)))
    number, today = int(match[1]), NEW_YORK.day(T_MS)
    if match[2] == "fewer":
        return replace(known, events=tuple(event for event in known.events if event.local_day not in dates[:number]))
    free = [day for day in range(today, today - 100, -1) if day not in dates]
    for day in free[:number]:
        known = known.with_event(name, NEW_YORK.start_ms(day), wheres)
    return known


def _distinct(match: re.Match[str], name: str, wheres: Mapping[str, object], known: Known) -> Known:
    for number in range(int(match[1])):
        known = known.with_event(name, T_MS - 1, {**wheres, match["property"]: (100 + number) * MICROS})
    return known


def _streak(match: re.Match[str], name: str, wheres: Mapping[str, object], known: Known) -> Known:
    for number in range(int(match[2] or 1)):
        known = known.with_event(name, NEW_YORK.start_ms(NEW_YORK.day(T_MS) - number), wheres)
    return known


def counted(text: str, known: Known) -> list[Event]:
    """The events whose number (or that of whose dates) a clause asks for, the newest first."""
    checked, node = asked(text)
    aggregate = next(found for found in _aggregates(node, checked) if found.function in ("count", "unique_days"))
    start_ms = 0
    if aggregate.window is not None:
        days = NEW_YORK.start_ms(NEW_YORK.day(T_MS) - (aggregate.window.days or 1) + 1)
        start_ms = days if aggregate.function == "unique_days" else aggregate.window.start_ms(T_MS)
    passes = Evaluation(checked, known.state(checked)).of_event
    found = [
        event
        for event in known.events
        if event.ts_ms >= start_ms
        and (aggregate.scope == "tracked" or event.name == aggregate.event)
        and (aggregate.filter is None or passes(event).truth(aggregate.filter))
    ]
    return sorted(found, key=lambda event: -event.ts_ms)


def _aggregates(node: typed.Node, checked: CheckedCatalog) -> list[typed.BaseAggregate]:
    if isinstance(node, typed.AggregateValue):
        return [node.aggregate]
    below = (checked.values[node.key].node,) if isinstance(node, typed.Reference) else typed.children(node)
    return [found for part in below for found in _aggregates(part, checked)]
