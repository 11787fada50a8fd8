"""What would let a condition match: for each clause that keeps it from matching, a sentence that is true of the state.

A sentence is about its clause alone: what it names done, and nothing else, the clause is as it is wanted. Where no such
sentence is known there is none, rather than one that may be wrong.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain

from dsl import typed
from dsl.check import CheckedCatalog
from dsl.clock import format_instant
from dsl.evaluate import Evaluation, evaluate
from dsl.functions import RANK
from dsl.guide.aims import OPPOSITE, TURNED, Aim, shown
from dsl.guide.event_sentences import MOMENTS, happening, one_event, quoted
from dsl.next_change import Holdings, next_change
from dsl.tags import is_scalar
from dsl.typed_text import text_of

_MOST_CHANGES = 4
"""How often a clause is looked at again at its next change before nothing is said of time."""


@dataclass(slots=True)
class WouldMatch:
    """What would turn conditions, for one state.

    Attributes:
        holdings: instants of what aggregates hold, as `dsl.next_change` takes them; None where nobody knows them.
    """

    evaluation: Evaluation
    holdings: Holdings | None = None
    _sets: dict[tuple[int, bool], tuple[str, ...] | None] = field(default_factory=dict)
    _sentences: dict[tuple[int, bool], str] = field(default_factory=dict)
    _marks: dict[str, frozenset[str]] = field(default_factory=dict)
    _stated: set[str] = field(default_factory=set)

    def needed(self, node: typed.Node, wanted: bool = True) -> tuple[str, ...] | None:
        """The smallest set of sentences by which the Boolean `node` would be `wanted`; empty when it is.

        All that fails of `&&`, of `||` the alternative with the fewest. A clause without a sentence of its own is named
        as it is, "`…` to hold"; of two sets as small the one with fewer of these, then the first in the text. None:
        neither events nor attributes nor a request nor time can do it.
        """
        if self.evaluation.truth(node) == wanted:
            return ()
        place = id(node), wanted
        if place not in self._sets:
            self._sets[place] = self._needed(node, wanted)
        return self._sets[place]

    def sentence(self, node: typed.Node, wanted: bool = True) -> str:
        """What would make a clause `wanted`, which it is not now; empty where nothing can be said that is surely so.

        "2 more `purchase` events within 30 days", "`profile.plan` set to "pro" (is "free")".
        """
        place = id(node), wanted
        if place not in self._sentences:
            self._sentences[place] = self._sentence(node, wanted)
        return self._sentences[place]

    def _needed(self, node: typed.Node, wanted: bool) -> tuple[str, ...] | None:
        parts = conditions(node, wanted, self.evaluation.checked)
        if not parts:
            return self._of_clause(node, wanted)
        sets = [self.needed(part, its_own) for part, its_own in parts]
        possible = [each for each in sets if each is not None]
        if isinstance(node, typed.Logic) and (node.operator == "||") == wanted:
            return min(possible, key=lambda each: (len(each), len(self._stated.intersection(each))), default=None)
        return tuple(dict.fromkeys(chain(*possible))) if len(possible) == len(sets) else None

    def _of_clause(self, node: typed.Node, wanted: bool) -> tuple[str, ...] | None:
        if not self._reads(node):
            return None
        sentence = self.sentence(node, wanted)
        if not sentence:
            sentence = f"{quoted(node)} {'to hold' if wanted else 'not to hold'}"
            self._stated.add(sentence)
        return (sentence,)

    def _sentence(self, node: typed.Node, wanted: bool) -> str:
        at_ms = self._by_itself(node, wanted)
        if at_ms is not None:
            return f"at {format_instant(at_ms)} by itself"
        reached = (self._reached(*asked) for asked in _asked(node, wanted, self.evaluation))
        return next(filter(None, reached), "") or (self._missing(node) if wanted else "")

    def _reached(self, subject: typed.Node, aim: Aim, others: Collection[typed.Node]) -> str:
        """How `subject` could meet the aim while `others`, which are part of it, stay as they are."""
        reads = frozenset[str]().union(*map(self._reads, others))
        opened, passed_on = _opened(subject, self.evaluation.checked)
        if passed_on and aim.operator == "not is_set":
            return ""
        match opened:
            case typed.Field(root=root) if root not in reads:
                return self._of_field(opened, aim)
            case typed.AggregateValue() if "events" not in reads:
                return self._of_aggregate(opened, aim, still="time" not in reads)
            case typed.Age(instant=typed.AggregateValue(aggregate=aggregate)) if "events" not in reads:
                comes_new = aggregate.function == "last_at" or self.evaluation.value(opened) is None
                return one_event(aggregate, "a new") if comes_new and aim.met_by(0) else ""
        return ""

    # -- attributes and what a request brings along ----------------------------------------------------------------

    def _of_field(self, node: typed.Field, aim: Aim) -> str:
        name, in_request = f"`{text_of(node)}`", node.root == "context"
        now = f" (is {shown(self.evaluation.value(node), node.type)})"
        if aim.operator == "not is_set":
            return f"no {name} in the request{now}" if in_request else f"{name} unset{now}"
        phrase = aim.phrase()
        if aim.operator == "is_set" and node.type == "unknown":
            return f"{name} in the request (is missing)" if in_request else f"{name} set (is missing)"
        if not phrase:
            return ""
        return f"{name} of {phrase} in the request{now}" if in_request else f"{name} set to {phrase}{now}"

    # -- aggregates ------------------------------------------------------------------------------------------------

    def _of_aggregate(self, node: typed.AggregateValue, aim: Aim, *, still: bool) -> str:
        """What has to happen; `still`: time does not move what the aggregate is compared with."""
        aggregate, state = node.aggregate, self.evaluation.state
        said = happening(aggregate, aim, self.evaluation.value(node), state.as_of_ms)
        falls = aggregate.function in ("count", "unique_days") and aggregate.window is not None
        if not (said and falls and still and aim.operator in ("<", "<=")):
            return said
        leaving = "days" if aggregate.function == "unique_days" else "events"
        return f"{said}: by itself as {leaving} leave the window{self._next_leaving(node)}"

    def _next_leaving(self, node: typed.AggregateValue) -> str:
        if self.holdings is None:
            return ""
        checked = self.evaluation.checked
        at_ms = next_change(node, self.evaluation.state, checked, zone=checked.zone, holdings=self.holdings)
        return "" if at_ms is None else f", next change at {format_instant(at_ms)}"

    # -- time --------------------------------------------------------------------------------------------------------

    def _by_itself(self, node: typed.Node, wanted: bool) -> int | None:
        """An instant at which, with no new event, the clause is `wanted`; None where that is not known."""
        marks = self._reads(node)
        if "time" not in marks or marks & {"window", "rank"}:
            return None
        evaluation, state = self.evaluation, self.evaluation.state
        leaving_ms = min(self._leaving(node, set()), default=None)
        for _ in range(_MOST_CHANGES):
            at_ms = next_change(
                node,
                state,
                evaluation.checked,
                zone=evaluation.checked.zone,
                holdings=lambda _: (),
                context=evaluation.context,
            )
            if at_ms is None or (leaving_ms is not None and leaving_ms <= at_ms):
                return None
            state = replace(state, as_of_ms=at_ms)
            if (evaluate(node, state, evaluation.checked, evaluation.context) is True) == wanted:
                return at_ms
        return None

    def _leaving(self, node: typed.Node, met: set[str]) -> Iterator[int]:
        """When the instants of first and last events that `node` reads leave their windows."""
        match node:
            case typed.Reference(key=key):
                if key not in met:
                    met.add(key)
                    yield from self._leaving(self.evaluation.checked.values[key].node, met)
            case typed.AggregateValue(aggregate=aggregate):
                value, window = self.evaluation.value(node), aggregate.window
                if aggregate.function in MOMENTS and window is not None and isinstance(value, int):
                    yield value // window.hop_ms * window.hop_ms + window.hop_ms + window.width_ms
            case _:
                for child in typed.children(node):
                    yield from self._leaving(child, met)

    # -- what is read and what is missing ----------------------------------------------------------------------------

    def _reads(self, node: typed.Node) -> frozenset[str]:
        """What can make the value of `node` another one: `attribute`, `context`, `events`, `time`.

        Besides `window` where events leave one that says not when, `rank` where all profiles count.
        """
        match node:
            case typed.Reference(key=key):
                if key not in self._marks:
                    self._marks[key] = self._reads(self.evaluation.checked.values[key].node)
                return self._marks[key]
            case typed.Field(root=root):
                return frozenset((root,))
            case typed.AggregateValue(aggregate=aggregate):
                leaves = aggregate.window is not None and aggregate.function not in MOMENTS
                moves = leaves or aggregate.function == "streak_days"
                return frozenset(("events", "window") if moves else ("events",))
        below = frozenset[str]().union(*map(self._reads, typed.children(node)))
        if isinstance(node, typed.Call) and node.function == RANK:
            return below | {"rank", "events", "attribute"}
        return below | {"time"} if isinstance(node, typed.Age | typed.Now) else below

    def _missing(self, node: typed.Node) -> str:
        """That a clause cannot hold as long as an operand is missing."""
        parts = typed.children(node) or (node,)
        names = dict.fromkeys(text_of(part) for operand in parts for part in self._lacking(operand))
        if not names or isinstance(node, typed.Call):
            return ""
        listed = " and ".join(f"`{name}`" for name in list(names)[:3])
        return f"{quoted(node)} to hold: {listed} {'is' if len(names) == 1 else 'are'} missing"

    def _lacking(self, node: typed.Node) -> Iterator[typed.Node]:
        if self.evaluation.value(node) is None:
            parts = () if isinstance(node, typed.Age | typed.Call) else typed.children(node)
            below = [found for part in parts for found in self._lacking(part)]
            yield from below or (node,)


def conditions(node: typed.Node, wanted: bool, checked: CheckedCatalog) -> tuple[tuple[typed.Node, bool], ...]:
    """The conditions that `node` is made of, each with what it has to be for `node` to be `wanted`; a clause has none.

    One is enough for `||` that is to hold and for `&&` that is not to; everything else takes all of them.
    """
    match node:
        case typed.Logic():
            return tuple((operand, wanted) for operand in node.operands)
        case typed.Not(operand=operand):
            return ((operand, not wanted),)
        case typed.Reference(key=key, type="boolean"):
            return ((checked.values[key].node, wanted),)
        case typed.Compare(operator="==" | "!=", left=left, right=typed.Constant(value=bool(constant))):
            equal = (node.operator == "==") == wanted
            # What can be missing is neither true nor false then.
            return () if equal and not constant and left.nullable else ((left, equal == constant),)
    return ()


_Asked = tuple[typed.Node, Aim, Collection[typed.Node]]
"""A part of a clause, what it would have to be, and the parts that say so."""


def _asked(node: typed.Node, wanted: bool, evaluation: Evaluation) -> Iterator[_Asked]:
    """Ways to turn a clause: a part of it that would have to be another."""
    match node:
        case typed.Compare(left=left, right=right):
            operator = node.operator if wanted else OPPOSITE[node.operator]
            for subject, other, its_own in ((left, right, operator), (right, left, TURNED[operator])):
                bound = evaluation.value(other)
                if is_scalar(bound):
                    yield subject, Aim.of_comparison(its_own, bound, subject.type), (other,)
        case typed.Within(value=value, items=items):
            bounds = dict.fromkeys(bound for item in items if is_scalar(bound := evaluation.value(item)))
            if bounds:
                yield value, Aim("in" if wanted else "not in", tuple(bounds), value.type), items
        case typed.WordOperator(operator=operator, left=left, right=right):
            bound = evaluation.value(right)
            if is_scalar(bound) and right.type != "timestamp":
                of = "string" if left.type == "unknown" and isinstance(bound, str) else left.type
                yield left, Aim(operator if wanted else f"not {operator}", (bound,), of), (right,)
        case typed.Call(function="is_set", arguments=(argument,)):
            yield argument, Aim("is_set" if wanted else "not is_set", (), argument.type), ()
        case typed.Field() | typed.AggregateValue() | typed.Call():
            yield node, Aim("in" if wanted else "not in", (True,), "boolean"), ()


def _opened(node: typed.Node, checked: CheckedCatalog) -> tuple[typed.Node, bool]:
    """What a value is read from: through traits, and through `coalesce`, whose first argument is taken if it is there.

    And whether it went through `coalesce`: there what is missing is another value.
    """
    passed_on = False
    while True:
        match node:
            case typed.Reference(key=key):
                node = checked.values[key].node
            case typed.Call(function="coalesce", arguments=(first, *_)):
                node, passed_on = first, True
            case _:
                return node, passed_on
