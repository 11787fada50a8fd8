"""The whole story of an answer: every part of an expression with its value, what decided, and what would turn it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from dsl import typed
from dsl.aggregates import AGGREGATES
from dsl.check import CheckedCatalog
from dsl.clock import Zone, format_instant
from dsl.evaluate import Evaluation
from dsl.explain import show_value
from dsl.guide.shortfall import shortfall
from dsl.numbers import write_number
from dsl.state import State, Value
from dsl.typed_text import text_of
from dsl.types import Type

_HOPS = {1_000: "1 second", 60_000: "1 minute", 300_000: "5 minutes", 3_600_000: "1 hour", 86_400_000: "1 day"}
_FIRST_MS = -62_135_596_800_000
"""0001-01-01T00:00:00.000Z, the first instant that has a text."""


@dataclass(frozen=True, slots=True)
class Reach:
    """How far back an aggregate looked.

    Attributes:
        window: as written: `30d`.
        hop: grain of the old edge in words: `1 hour`; of calendar days `1 local day`.
        from_at: first instant that counts, ISO 8601, UTC.
        to_at: the instant of the question, which does not count itself.
    """

    window: str
    hop: str
    from_at: str
    to_at: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """One part of an expression, with its value for one state.

    Attributes:
        text: canonical text of the part; a chain `a && b && c` is one part with three below it.
        shown: the value as people read it: `4`, `"NO"`, `true`, `missing`.
        window: of an aggregate with a window, else None.
        definition: kind and key of the trait or segment that is opened here; the one part below is its expression.
        decided: it is one of those by which the part above has its value; always true at the top.
        would_change: what would give a condition the value that the top needs to be true; empty where it has it.
        missing: the smallest set of clauses that would do so; one that stands in a definition begins with its name.
    """

    text: str
    type: Type
    value: Value
    shown: str
    window: Reach | None
    definition: tuple[str, str] | None
    decided: bool
    would_change: str
    missing: tuple[str, ...]
    children: tuple["Explanation", ...]


def explain(
    node: typed.Node, state: State, checked: CheckedCatalog, context: Mapping[str, object] | None = None
) -> Explanation:
    """Why `node` has its value for `state`; traits and segments are opened into their own expressions.

    A definition that is reached in several ways is one and the same value in all of them.
    """
    telling = _Telling(Evaluation(checked, state, context or {}), Zone(checked.catalog.timezone))
    return telling.part(_Part(node, True if node.type == "boolean" else None), "")


def missing_for_true(explanation: Explanation) -> tuple[str, ...]:
    """The smallest set of clauses that would have to change for a condition to hold; empty when it does.

    Of `&&` all clauses that fail, of `||` the alternative with the fewest.
    """
    return () if explanation.value is True else explanation.missing


@dataclass(frozen=True, slots=True)
class _Part:
    """A part to tell of: what its value should be for the whole to be true (None: it is not asked), if it decided."""

    node: typed.Node
    wanted: bool | None = None
    decided: bool = True


@dataclass(slots=True)
class _Telling:
    evaluation: Evaluation
    zone: Zone
    _known: dict[tuple[str, bool | None], Explanation] = field(default_factory=dict)

    def part(self, part: _Part, owner: str) -> Explanation:
        """One part and all below it; `owner` opens the clauses of a definition: `segment vip: `."""
        node, value = part.node, self.evaluation.value(part.node)
        below = self._below(node, part.wanted)
        if isinstance(node, typed.Reference):
            children = [self._definition(node, below[0])]
        else:
            children = [self.part(child, owner) for child in below]
        would_change, missing = "", tuple[str, ...]()
        if part.wanted is not None and (value is True) != part.wanted:
            asked = [told for told, child in zip(children, below, strict=True) if _fails(child, told)]
            if asked:
                missing = _missing(node, part.wanted, asked)
            else:
                would_change = shortfall(node, part.wanted, self.evaluation)
                missing = (owner + would_change,)
        return Explanation(
            text_of(node),
            node.type,
            value,
            _shown(value, node.type),
            self._reach(node),
            (node.kind, node.key) if isinstance(node, typed.Reference) else None,
            part.decided,
            would_change,
            missing,
            tuple(children),
        )

    def _definition(self, node: typed.Reference, inside: _Part) -> Explanation:
        place = node.key, inside.wanted
        if place not in self._known:
            self._known[place] = self.part(inside, f"{node.kind} {node.key}: ")
        return self._known[place]

    def _below(self, node: typed.Node, wanted: bool | None) -> list[_Part]:
        """The parts of `node`: which decided, and what is asked of those that have to turn with it."""
        truth, value = self.evaluation.truth, self.evaluation.value
        match node:
            case typed.Reference(key=key, type=its_type):
                opened = self.evaluation.checked.values[key].node
                return [_Part(opened, wanted if its_type == "boolean" else None)]
            case typed.Logic(operator=operator):
                absorbing, result = operator == "||", truth(node)
                return [
                    # What could hold as well is told of; what could fail as well is not.
                    _Part(one, wanted if decides or wanted else None, decides)
                    for one in _chain(node, operator)
                    for decides in [result != absorbing or truth(one) == result]
                ]
            case typed.Not(operand=operand):
                return [_Part(operand, None if wanted is None else not wanted)]
            case typed.Compare(operator="==" | "!=", left=left, right=typed.Constant(type="boolean") as right):
                # What can be missing is false for neither of the two.
                same = (node.operator == "==") == right.value
                asked = None if wanted is None or left.nullable else wanted == same
                return [_Part(left, asked), _Part(right)]
            case typed.Within(value=tested, items=items):
                found = truth(node)
                return [_Part(tested), *(_Part(one, None, not found or value(one) == value(tested)) for one in items)]
            case typed.Call(function="if", arguments=(condition, *branches)):
                chosen = 0 if truth(condition) else 1
                choices = [_Part(one, wanted if n == chosen else None, n == chosen) for n, one in enumerate(branches)]
                return [_Part(condition), *choices]
            case typed.Call(function="coalesce", arguments=arguments):
                given = next((n for n, one in enumerate(arguments) if value(one) is not None), None)
                return [
                    _Part(one, wanted if n == given else None, given in (n, None)) for n, one in enumerate(arguments)
                ]
        parts = typed.children(node)
        lacking = value(node) is None and any(value(one) is None for one in parts)
        return [_Part(one, None, not lacking or value(one) is None) for one in parts]

    def _reach(self, node: typed.Node) -> Reach | None:
        if not isinstance(node, typed.AggregateValue) or node.aggregate.window is None:
            return None
        window, as_of_ms = node.aggregate.window, self.evaluation.state.as_of_ms
        if AGGREGATES[node.aggregate.function].window == "calendar":
            hop, first_ms = "1 local day", self.zone.start_ms(self.zone.day(as_of_ms) - (window.days or 1) + 1)
        else:
            hop, first_ms = _HOPS[window.hop_ms], window.start_ms(as_of_ms)
        return Reach(str(window), hop, format_instant(max(first_ms, _FIRST_MS)), format_instant(as_of_ms))


def _fails(part: _Part, told: Explanation) -> bool:
    return part.wanted is not None and (told.value is True) != part.wanted


def _missing(node: typed.Node, wanted: bool, asked: Sequence[Explanation]) -> tuple[str, ...]:
    """All that is asked, or of alternatives the one that asks the least."""
    if isinstance(node, typed.Logic) and (node.operator == "||") == wanted:
        return min((told.missing for told in asked), key=len)
    return tuple(dict.fromkeys(clause for told in asked for clause in told.missing))


def _chain(node: typed.Node, operator: str) -> Iterator[typed.Node]:
    """Operands of `a && b && c`, in the order of the text."""
    if isinstance(node, typed.Logic) and node.operator == operator:
        yield from _chain(node.left, operator)
        yield from _chain(node.right, operator)
    else:
        yield node


def _shown(value: Value, value_type: Type) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(show_value(item, 'unknown') for item in value)}]"
    return show_value(value, value_type)


# -- JSON --------------------------------------------------------------------------------------------------------------


def to_json(explanation: Explanation) -> str:
    """The explanation as JSON text: numbers are exact decimals, instants ISO 8601, missing is null.

    Of a definition that is reached again only the value stands there, with `repeated`.
    """
    members = {"missingForTrue": _texts(missing_for_true(explanation)), **_members(explanation, set())}
    return _object(members)


def _members(explanation: Explanation, opened: set[tuple[str, str]]) -> dict[str, str]:
    """JSON text of each member."""
    members = {
        "text": _text(explanation.text),
        "type": _text(explanation.type),
        "value": _value(explanation.value, explanation.type),
        "shown": _text(explanation.shown),
        "decided": "true" if explanation.decided else "false",
        "wouldChange": _text(explanation.would_change) if explanation.would_change else "null",
    }
    if (reach := explanation.window) is not None:
        parts = {"text": reach.window, "hop": reach.hop, "from": reach.from_at, "to": reach.to_at}
        members["window"] = _object({name: _text(part) for name, part in parts.items()})
    if (definition := explanation.definition) is not None:
        members["definition"] = _object({"kind": _text(definition[0]), "key": _text(definition[1])})
        if definition in opened:
            return {**members, "repeated": "true", "children": "[]"}
        opened.add(definition)
    children = [_object(_members(child, opened)) for child in explanation.children]
    return {**members, "children": f"[{','.join(children)}]"}


def _value(value: Value, value_type: Type) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int():
            return _text(format_instant(value)) if value_type == "timestamp" else write_number(value)
        case str():
            return _text(value)
    return f"[{','.join(_value(item, 'unknown') for item in value)}]"


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _texts(texts: Sequence[str]) -> str:
    return f"[{','.join(map(_text, texts))}]"


def _object(members: Mapping[str, str]) -> str:
    return f"{{{','.join(f'{_text(name)}:{member}' for name, member in members.items())}}}"


# -- the terminal ------------------------------------------------------------------------------------------------------


def draw(explanation: Explanation) -> str:
    """The explanation as an indented tree: ✓ and ✗ for conditions, values for the rest, `→` for what would turn it.

    Literals stand in the text above them only; what did not decide is in parentheses; a definition is opened once.
    """
    lines = _lines(explanation, set())
    return "\n".join("".join(letter if letter.isprintable() else "\ufffd" for letter in line) for line in lines)


def _lines(explanation: Explanation, opened: set[tuple[str, str]]) -> Iterator[str]:
    line, definition = _line(explanation), explanation.definition
    if definition is not None and definition in opened:
        yield f"{line}  as above"
        return
    yield line
    if explanation.would_change:
        yield f"    → {explanation.would_change}"
    if definition is not None:
        opened.add(definition)
    for child in explanation.children:
        if not _is_literal(child):
            yield from (f"  {line}" for line in _lines(child, opened))


def _line(explanation: Explanation) -> str:
    if explanation.type == "boolean":
        line = f"{'✓' if explanation.value is True else '✗'} {explanation.text}"
        line += "  missing" if explanation.value is None else ""
    else:
        line = f"{explanation.text} = {explanation.shown}"
    if (reach := explanation.window) is not None:
        line += f"  {reach.window}: {reach.from_at} to {reach.to_at}, hop {reach.hop}"
    return line if explanation.decided else f"({line})"


def _is_literal(explanation: Explanation) -> bool:
    return not explanation.children and explanation.text == explanation.shown
