"""The whole tree of a condition as machines read it: every part with its value, and what would make it match."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, assert_never

import msgspec

from dsl import typed
from dsl.aggregates import AGGREGATES
from dsl.check import CheckedCatalog
from dsl.clock import format_day, format_instant
from dsl.evaluate import Evaluation, raw_value
from dsl.folds import EXACT
from dsl.guide.would_match import WouldMatch, conditions
from dsl.next_change import Holdings
from dsl.numbers import MICROS, write_number
from dsl.state import State, Value
from dsl.typed_text import text_of
from dsl.types import Type

Kind = Literal[
    "and",
    "or",
    "not",
    "comparison",
    "segment",
    "trait",
    "aggregate",
    "age",
    "attribute",
    "property",
    "context",
    "now",
    "constant",
    "list",
    "call",
    "arithmetic",
]
"""What a part is: `in`, `contains` and the like are comparisons too, `-x` is arithmetic."""

MOST_PARTS = 2_000
MOST_CHARACTERS = 500_000
"""A tree ends where it has so many parts, or its texts so many characters: what is below is left out."""

_HOPS = {1_000: "1s", 60_000: "1m", 300_000: "5m", 3_600_000: "1h", 86_400_000: "1d"}
_HOP_WORDS = {"1s": "1 second", "1m": "1 minute", "5m": "5 minutes", "1h": "1 hour", "1d": "1 day"}
_FIRST_MS, _FIRST_DAY = -62_135_596_800_000, -719_162
"""0001-01-01, the first instant and the first date that have a text."""


class Reach(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """How far back an aggregate looks.

    Attributes:
        text: as written: `30d`.
        from_at: the first instant that counts, ISO 8601, UTC; written `from`.
        until_at: the instant of the question, which does not count itself; written `until`.
        hop: the grain of the old edge, `1s` to `1d`; None for local dates.
        first_on, last_on: the local dates that count, both inclusive; None unless the window is one of dates.
    """

    text: str
    from_at: str = msgspec.field(name="from")
    until_at: str = msgspec.field(name="until")
    hop: str | None = None
    first_on: str | None = None
    last_on: str | None = None


class Explained(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """One part of an expression with its value for one state; what has its default is left out of the JSON.

    Attributes:
        text: canonical text; a chain `a && b && c` is one part with three below it.
        value: as JSON: numbers exact decimals, instants ISO 8601 in UTC, missing is null.
        missing: there is no value.
        holds: of conditions, whether they do: of what is missing, false.
        key: of a trait or segment; the one part below it is its expression.
        window: of an aggregate that has one.
        approx: the value is an estimate; where its size does not say so, this is false.
        decided: it is one of those by which the part above has its value; true at the top.
        would_match: of the top, the smallest set of sentences that would make it hold together, unless it does; empty
            when nothing would. Of a clause that keeps what is above it from holding, what would turn the clause.
        see_above: a trait or segment that is opened further above.
        truncated: parts below are left out, the tree being too large.
        children: the parts below, in the order of the text; literal items of `in [...]` are not among them.
    """

    text: str
    kind: Kind
    type: Type
    value: msgspec.Raw
    missing: bool = False
    holds: bool | None = None
    key: str | None = None
    window: Reach | None = None
    approx: bool = False
    decided: bool = True
    would_match: tuple[str, ...] | None = None
    see_above: bool = False
    truncated: bool = False
    children: tuple["Explained", ...] = ()


def explain_tree(
    node: typed.Node,
    state: State,
    checked: CheckedCatalog,
    context: Mapping[str, object] | None = None,
    *,
    holdings: Holdings | None = None,
) -> Explained:
    """Why `node` has its value for `state`, and what would make a condition match; traits and segments are opened.

    Args:
        context: what the request brought along, as JSON values with numbers in micro-units.
        holdings: as `dsl.next_change` takes them; without them nothing is said of when events leave windows.
    """
    return explain_trees((node,), state, checked, context, holdings=holdings)[0]


def explain_trees(
    nodes: Sequence[typed.Node],
    state: State,
    checked: CheckedCatalog,
    context: Mapping[str, object] | None = None,
    *,
    holdings: Holdings | None = None,
) -> tuple[Explained, ...]:
    """The trees of several expressions, as of the rules of one flag: as large together as one tree may be.

    A definition is opened in the first tree that reaches it.
    """
    evaluation = Evaluation(checked, state, context or {})
    telling = _Telling(evaluation, WouldMatch(evaluation, holdings))
    return tuple(telling.top(node) for node in nodes)


@dataclass(frozen=True, slots=True)
class _Part:
    """A part to tell of.

    Attributes:
        wanted: what it has to be for what is above it, and so the top, to hold; None where that is not asked.
        decided: it is one of those by which the part above has its value.
    """

    node: typed.Node
    wanted: bool | None = None
    decided: bool = True


@dataclass(slots=True)
class _Telling:
    evaluation: Evaluation
    would_match: WouldMatch
    parts: int = MOST_PARTS
    characters: int = MOST_CHARACTERS
    opened: set[str] = field(default_factory=set)

    def top(self, node: typed.Node) -> Explained:
        """The tree of an expression."""
        told = self.part(_Part(node, True if node.type == "boolean" else None))
        if told.holds is not False:
            return told
        return msgspec.structs.replace(told, would_match=self.would_match.needed(node) or ())

    def part(self, part: _Part) -> Explained:
        """One part and all below it."""
        node, value = part.node, self.evaluation.value(part.node)
        text, written = text_of(node), self._written(node, value)
        self.parts -= 1
        self.characters -= len(text)
        below = self._below(node, part.wanted)
        repeated = isinstance(node, typed.Reference) and node.key in self.opened
        if isinstance(node, typed.Reference):
            self.opened.add(node.key)
        children: list[Explained] = []
        for child in () if repeated else below:
            if self.parts <= 0 or self.characters <= 0:
                break
            children.append(self.part(child))
        return Explained(
            text=text,
            kind=_kind(node),
            type=node.type,
            value=msgspec.Raw(written),
            missing=written == b"null",
            holds=value is True if node.type == "boolean" else None,
            key=node.key if isinstance(node, typed.Reference) else None,
            window=self._reach(node),
            approx=_is_estimate(node, value),
            decided=part.decided,
            would_match=self._sentences(part, repeated=repeated),
            see_above=repeated,
            truncated=not repeated and len(children) < len(below),
            children=tuple(children),
        )

    def _sentences(self, part: _Part, *, repeated: bool) -> tuple[str, ...] | None:
        """The sentence of a clause; of a definition that is opened elsewhere, all that it needs."""
        if part.wanted is None or self.evaluation.truth(part.node) == part.wanted:
            return None
        if repeated:
            return self.would_match.needed(part.node, part.wanted) or None
        if conditions(part.node, part.wanted, self.evaluation.checked):
            return None
        sentence = self.would_match.sentence(part.node, part.wanted)
        return (sentence,) if sentence else None

    def _below(self, node: typed.Node, wanted: bool | None) -> list[_Part]:
        """The parts of `node`: which decided, and what those have to become that keep it from being `wanted`."""
        truth, value = self.evaluation.truth, self.evaluation.value
        turning = {} if wanted is None else self._turning(node, wanted)
        match node:
            case typed.Reference(key=key):
                return [self._turned(self.evaluation.checked.values[key].node, turning)]
            case typed.Logic(operator=operator):
                result = truth(node)
                all_count = result != (operator == "||")
                return [self._turned(one, turning, decided=all_count or truth(one) == result) for one in node.operands]
            case typed.Within(value=tested, items=items):
                found = truth(node)
                listed = [one for one in items if not isinstance(one, typed.Constant)]
                return [
                    _Part(tested),
                    *(_Part(one, decided=not found or value(one) == value(tested)) for one in listed),
                ]
            case typed.Call(function="if", arguments=(condition, *branches)):
                chosen = 0 if truth(condition) else 1
                return [_Part(condition), *(_Part(one, decided=n == chosen) for n, one in enumerate(branches))]
            case typed.Call(function="coalesce", arguments=arguments):
                given = next((n for n, one in enumerate(arguments) if value(one) is not None), None)
                return [_Part(one, decided=given in (n, None)) for n, one in enumerate(arguments)]
        parts = typed.children(node)
        lacking = value(node) is None and any(value(one) is None for one in parts)
        return [self._turned(one, turning, decided=not lacking or value(one) is None) for one in parts]

    def _turning(self, node: typed.Node, wanted: bool) -> dict[int, bool]:
        """What the conditions below `node` have to be, by identity.

        What could hold as well is told of, what could fail as well is not.
        """
        if not wanted and not self.evaluation.truth(node):
            return {}
        return {id(part): its_own for part, its_own in conditions(node, wanted, self.evaluation.checked)}

    def _turned(self, node: typed.Node, turning: Mapping[int, bool], *, decided: bool = True) -> _Part:
        return _Part(node, turning.get(id(node)), decided)

    # -- values ----------------------------------------------------------------------------------------------------

    def _written(self, node: typed.Node, value: Value) -> bytes:
        """The value as JSON text."""
        if value is None and isinstance(node, typed.Field) and node.type == "unknown":
            # An object is there, though no type of the language holds it.
            roots = {"attribute": self.evaluation.state.attributes, "context": self.evaluation.context}
            return _json(raw_value(node, roots.get(node.root, {})), node.type)
        return _json(value, node.type)

    def _reach(self, node: typed.Node) -> Reach | None:
        if not isinstance(node, typed.AggregateValue) or node.aggregate.window is None:
            return None
        window, as_of_ms = node.aggregate.window, self.evaluation.state.as_of_ms
        until = format_instant(as_of_ms)
        if AGGREGATES[node.aggregate.function].window == "duration":
            start_ms = max(window.start_ms(as_of_ms), _FIRST_MS)
            return Reach(str(window), format_instant(start_ms), until, _HOPS[window.hop_ms])
        zone = self.evaluation.checked.zone
        today = zone.day(as_of_ms)
        first = max(today - (window.days or 1) + 1, _FIRST_DAY)
        start_ms = max(zone.start_ms(first), _FIRST_MS)
        return Reach(
            str(window), format_instant(start_ms), until, first_on=format_day(first), last_on=format_day(today)
        )


def _kind(node: typed.Node) -> Kind:  # noqa: C901  # one case per kind of node
    match node:
        case typed.Constant():
            return "constant"
        case typed.Items():
            return "list"
        case typed.Field(root=root):
            return root
        case typed.AggregateValue():
            return "aggregate"
        case typed.Age():
            return "age"
        case typed.Now():
            return "now"
        case typed.Reference(kind=kind):
            return kind
        case typed.Call():
            return "call"
        case typed.Arithmetic() | typed.Negate():
            return "arithmetic"
        case typed.Compare() | typed.Within() | typed.WordOperator():
            return "comparison"
        case typed.Logic(operator=operator):
            return "and" if operator == "&&" else "or"
        case typed.Not():
            return "not"
        case _:
            assert_never(node)


def _is_estimate(node: typed.Node, value: Value) -> bool:
    counts = isinstance(node, typed.AggregateValue) and node.aggregate.function == "count_distinct"
    return counts and isinstance(value, int) and value > EXACT * MICROS


def _json(value: object, value_type: Type) -> bytes:
    """JSON text; numbers are micro-units, those of a timestamp milliseconds."""
    match value:
        case bool() | str() | None:
            return msgspec.json.encode(value)
        case int() if value_type == "timestamp":
            return msgspec.json.encode(format_instant(value))
        case int():
            return write_number(value).encode()
        case list() | tuple():
            return b"[%b]" % b",".join(_json(item, "unknown") for item in value)
        case dict():
            members = (msgspec.json.encode(str(name)) + b":" + _json(item, "unknown") for name, item in value.items())
            return b"{%b}" % b",".join(members)
    return b"null"


# -- the terminal ------------------------------------------------------------------------------------------------------


def draw(tree: Explained) -> str:
    """The tree indented: ✓ and ✗ for conditions, values for the rest, `→` for what would turn a clause.

    Literals stand in the text above them only; what did not decide is in parentheses. At the end what would make the
    whole hold.
    """
    lines = [*_lines(tree, top=True), *(f"to be true: {sentence}" for sentence in tree.would_match or ())]
    return "\n".join("".join(letter if letter.isprintable() else "\ufffd" for letter in line) for line in lines)


def _lines(told: Explained, *, top: bool = False) -> Iterator[str]:
    line = f"{'✓' if told.holds else '✗'} {told.text}" if told.holds is not None else f"{told.text} = {_shown(told)}"
    if told.holds is not None and told.missing:
        line += "  missing"
    if (reach := told.window) is not None:
        grain = f"hop {_HOP_WORDS[reach.hop]}" if reach.hop else f"{reach.first_on} to {reach.last_on}"
        line += f"  {reach.text}: {reach.from_at} to {reach.until_at}, {grain}"
    line = line if told.decided else f"({line})"
    yield f"{line}  as above" if told.see_above else line
    for sentence in () if top else told.would_match or ():
        yield f"    → {sentence}"
    for child in told.children:
        if child.kind != "constant":
            yield from (f"  {line}" for line in _lines(child))
    if told.truncated:
        yield "  …"


def _shown(told: Explained) -> str:
    if told.missing:
        return "missing"
    text = bytes(told.value).decode()
    return text.strip('"') if told.type == "timestamp" else text
