"""When an answer can next change by itself: a value changes with new events and with time, and this is about time."""

import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import msgspec
from msgspec.structs import replace

from dsl import typed
from dsl.aggregates import AGGREGATES
from dsl.check import CheckedCatalog
from dsl.clock import Zone
from dsl.evaluate import Evaluation, compare
from dsl.folds import FOLDS, Ask, Moment
from dsl.numbers import LARGEST, MICROS, SMALLEST
from dsl.state import State, Value

Holdings = Callable[[typed.BaseAggregate], Iterable[int]]
"""Instants of the events that an aggregate holds for the profile, epoch milliseconds. Any instant of the same tile (for
calendar days: of the same local date) does as well; what its window has left behind may be among them."""

_MINUTE_MS = 60_000
_LAST_MS = 253_402_300_799_999
"""9999-12-31T23:59:59.999Z: what would change later never does."""
_NEVER = 2**63
_ORDER = ("<", "<=", ">", ">=")
_BELOW = ("<", "<=")
_FALLING = ("count", "unique_days", "streak_days")
"""Aggregates that time only makes smaller."""


def next_change(
    node: typed.Node,
    state: State,
    checked: CheckedCatalog,
    *,
    zone: Zone,
    holdings: Holdings,
    context: Mapping[str, object] | None = None,
) -> int | None:
    """An instant before which, with no new event, the value of `node` stays what it is for `state`.

    Epoch milliseconds, always later than `state.as_of_ms`; at that instant the value may be another. None: time alone
    never changes it. What is `unsolved` (`dsl.unsolved`) is asked again a minute later.

    Args:
        state: of an instant later than every event that it counts.
        zone: the project's.
    """
    return next_change_of([node], Evaluation(checked, state, context or {}), zone=zone, holdings=holdings)


def next_change_of(
    nodes: Iterable[typed.Node], evaluation: Evaluation, *, zone: Zone, holdings: Holdings
) -> int | None:
    """The same for several values at once: an instant before which every one of them stays what it is.

    None: time alone changes none of them. Definitions that several of them build on are looked at once.
    """
    outlook, now_ms = _Outlook(evaluation, zone, holdings), evaluation.state.as_of_ms
    change_ms = min((outlook.course(node).change_ms(now_ms) for node in nodes), default=_NEVER)
    return change_ms if change_ms <= _LAST_MS else None


class _Course(msgspec.Struct, frozen=True):
    """How a value goes on: before `until_ms` it moves by `rate` at every instant `origin_ms + n * unit_ms`.

    A value that rests has rate 0. `now()` moves by 1 in each millisecond, an age by one whole at each of its units.
    """

    value: Value
    until_ms: int = _NEVER
    rate: int = 0
    unit_ms: int = 1
    origin_ms: int = 0

    @property
    def rhythm(self) -> tuple[int, int]:
        """When it moves: two courses of one rhythm move together."""
        return self.unit_ms, self.origin_ms % self.unit_ms

    def step_ms(self, number: int, now_ms: int) -> int:
        """Instant of the step of that number after now; the next one is 1."""
        return self.origin_ms + ((now_ms - self.origin_ms) // self.unit_ms + number) * self.unit_ms

    def change_ms(self, now_ms: int) -> int:
        """An instant before which the value stays; of one that moves in every millisecond, the next minute."""
        if self.rate == 0:
            return self.until_ms
        return min(self.until_ms, now_ms + _MINUTE_MS if self.unit_ms == 1 else self.step_ms(1, now_ms))


@dataclass(slots=True)
class _Outlook:
    """The courses of all parts of an expression, from one state on."""

    evaluation: Evaluation
    zone: Zone
    holdings: Holdings
    _known: dict[str, _Course] = field(default_factory=dict)
    _held_dates: dict[str, frozenset[int]] = field(default_factory=dict)

    @property
    def now_ms(self) -> int:
        return self.evaluation.state.as_of_ms

    def course(self, node: typed.Node) -> _Course:
        """How the value of `node` goes on; a kind of node that is not named here rests as long as all below it."""
        told = self._TOLD.get(type(node))
        return self._valued(node, self.evaluation.value(node)) if told is None else told(self, node)

    def _reference(self, node: typed.Reference) -> _Course:
        known = self._known.get(node.key)
        if known is None:
            known = self._known[node.key] = self.course(self.evaluation.checked.values[node.key].node)
        return known

    def _valued(self, node: typed.Node, value: Value) -> _Course:
        match node:
            case typed.Now():
                return _Course(value, rate=1)
            case typed.AggregateValue(aggregate=aggregate):
                return _Course(value, self._leaving_ms(aggregate, value))
            case typed.Age():
                return self._age(node, value)
            case typed.Arithmetic(operator="+" | "-" as operator):
                return self._sum(operator, node, value)
            case typed.Call(function="if" | "coalesce" | "is_set"):
                return self._choice(node, value)
            case typed.Call(function="percent_rank"):
                return _Course(value)  # it is of the last refresh
            case typed.Within():
                tested, *items = [self.course(child) for child in typed.children(node)]
                flips = [self._flip_ms("==", tested, item) for item in items]
                return _Course(value, min(flips, default=_NEVER))
        return _Course(value, min((self._change_ms(child) for child in typed.children(node)), default=_NEVER))

    def _change_ms(self, node: typed.Node) -> int:
        return self.course(node).change_ms(self.now_ms)

    # -- values that move ----------------------------------------------------------------------------------------

    def _age(self, node: typed.Age, value: Value) -> _Course:
        instant = self.course(node.instant)
        if not isinstance(instant.value, int):
            return _Course(value, instant.change_ms(self.now_ms))
        if instant.rate:
            # The age of now, which goes along with it.
            return _Course(value, instant.until_ms)
        return _Course(value, instant.until_ms, MICROS, node.unit_ms, instant.value)

    def _sum(self, operator: str, node: typed.Arithmetic, value: Value) -> _Course:
        left, right = self.course(node.left), self.course(node.right)
        resting = self._missing_ms(left, right)
        if resting is not None:
            return _Course(value, resting)
        both = self._together(left, right, -1 if operator == "-" else 1)
        if not isinstance(value, int) or both.rate == 0:
            return _Course(value, both.change_ms(self.now_ms))
        # Timestamps are milliseconds, their difference is a number of milliseconds.
        rate = both.rate * (MICROS if node.left.type == "timestamp" else 1)
        steps = ((LARGEST - value) if rate > 0 else (value - SMALLEST)) // abs(rate) + 1
        too_large_ms = both.step_ms(steps, self.now_ms)
        return replace(both, value=value, rate=rate, until_ms=min(both.until_ms, too_large_ms))

    def _together(self, left: _Course, right: _Course, sign: int) -> _Course:
        """The course of `left + sign * right`; its value is left out."""
        until_ms = min(left.until_ms, right.until_ms)
        right = replace(right, value=None, until_ms=until_ms, rate=sign * right.rate)
        left = replace(left, value=None, until_ms=until_ms)
        if left.rate == 0 or right.rate == 0:
            return right if left.rate == 0 else left
        if left.rhythm == right.rhythm:
            return replace(left, rate=left.rate + right.rate)
        slow, quick = (left, right) if left.unit_ms > right.unit_ms else (right, left)
        return replace(quick, until_ms=min(until_ms, slow.step_ms(1, self.now_ms)))

    def _choice(self, node: typed.Call, value: Value) -> _Course:
        """`if` and `coalesce` go on as what they chose, as long as they choose it."""
        if node.function == "is_set":
            return self._is_set(node.arguments[0], value)
        if node.function == "if":
            condition, then, otherwise = node.arguments
            passed, chosen = [condition], then if self.evaluation.truth(condition) else otherwise
        else:
            missing = itertools.takewhile(lambda part: self.evaluation.value(part) is None, node.arguments)
            *passed, chosen = node.arguments[: len(list(missing)) + 1]
        course = self.course(chosen)
        return replace(course, until_ms=min([course.until_ms, *(self._change_ms(part) for part in passed)]))

    def _is_set(self, node: typed.Node, value: Value) -> _Course:
        if not node.nullable:
            return _Course(value)
        course = self.course(node)
        # What moves is there all the while: an age as long as its instant is.
        return _Course(value, course.until_ms if value is True else course.change_ms(self.now_ms))

    # -- conditions ----------------------------------------------------------------------------------------------

    def _logic(self, node: typed.Logic) -> _Course:
        """One false operand keeps `&&` false, one true operand keeps `||` true, for as long as it lasts.

        The first of them is asked alone, as evaluation stops at it: another one may last longer.
        """
        absorbing, truth = node.operator == "||", self.evaluation.truth
        for operand in node.operands:
            if truth(operand) == absorbing:
                return _Course(absorbing, self._change_ms(operand))
        return _Course(not absorbing, min(map(self._change_ms, node.operands)))

    def _compare(self, node: typed.Compare) -> _Course:
        if node.operator in _ORDER:
            # A value that falls stays below, and one that others fall from stays above.
            value = self.evaluation.truth(node)
            is_below = value is (node.operator in _BELOW)
            falling, still = (node.left, node.right) if is_below else (node.right, node.left)
            if self._falls(falling) and (other := self.course(still)).rate == 0:
                return _Course(value, other.until_ms)
        left, right = self.course(node.left), self.course(node.right)
        return _Course(compare(node.operator, left.value, right.value), self._flip_ms(node.operator, left, right))

    def _flip_ms(self, operator: str, left: _Course, right: _Course) -> int:
        """An instant before which a comparison stays true, or false."""
        if not left.rate and not right.rate and left.value is not None and right.value is not None:
            return min(left.until_ms, right.until_ms)
        resting = self._missing_ms(left, right)
        if resting is not None:
            return resting
        both = self._together(left, right, -1)
        if both.rate == 0 or not isinstance(left.value, int) or not isinstance(right.value, int):
            return both.until_ms
        truth, distance = compare(operator, left.value, right.value), left.value - right.value
        # The steps with which the distance reaches 0, and passes it.
        for steps in sorted({-(distance // both.rate), -distance // both.rate + 1}):
            if steps > 0 and compare(operator, distance + both.rate * steps, 0) != truth:
                return min(both.until_ms, both.step_ms(steps, self.now_ms))
        return both.until_ms

    def _missing_ms(self, *operands: _Course) -> int | None:
        """With a missing operand nothing changes before each that is missing does; None when none is."""
        missing = [operand.change_ms(self.now_ms) for operand in operands if operand.value is None]
        return max(missing) if missing else None

    def _falls(self, node: typed.Node) -> bool:
        """Whether time can only make the value smaller."""
        while isinstance(node, typed.Reference):
            node = self.evaluation.checked.values[node.key].node
        if not isinstance(node, typed.AggregateValue) or node.aggregate.function not in _FALLING:
            return False
        if AGGREGATES[node.aggregate.function].window == "duration":
            return True
        # Where clocks go back over midnight, a date may come a second time.
        return max(self._dates(node.aggregate), default=0) <= self.zone.day(self.now_ms)

    # -- windows -------------------------------------------------------------------------------------------------

    def _leaving_ms(self, aggregate: typed.BaseAggregate, value: Value) -> int:
        """An instant before which all that the aggregate counts stays in its window."""
        if AGGREGATES[aggregate.function].window == "calendar":
            return self._day_end_ms(aggregate)
        window = aggregate.window
        if window is None:
            return _NEVER
        # Of these the value itself says which event it is.
        its_own = aggregate.function in ("first_at", "last_at")
        held = self.holdings(aggregate) if not its_own else (value,) if isinstance(value, int) else ()
        hop_ms = window.hop_ms
        leaving = (ts_ms // hop_ms * hop_ms + hop_ms + window.width_ms for ts_ms in held)
        return min((at_ms for at_ms in leaving if at_ms > self.now_ms), default=_NEVER)

    def _day_end_ms(self, aggregate: typed.BaseAggregate) -> int:
        """The end of the local day with which the value of a calendar window becomes another."""
        dates, fold, window = self._dates(aggregate), FOLDS[aggregate.function], aggregate.window
        if not dates:
            return _NEVER

        def value_at(ts_ms: int) -> Value:
            return fold.finalise(dates, Ask(Moment(ts_ms, self.zone.day(ts_ms)), window))

        # Within four ends of a day every streak is over, and every day that clocks repeat.
        day_ms, value = self.now_ms, value_at(self.now_ms)
        for _ in range(4):
            day_ms = self.zone.next_day_ms(day_ms)
            if value_at(day_ms) != value:
                return day_ms
        days = window.days if window is not None else None
        if aggregate.function == "streak_days" or days is None:
            return _NEVER
        leaving = [day + days for day in dates if day + days > self.zone.day(self.now_ms)]
        return self.zone.start_ms(min(leaving)) if leaving else _NEVER

    def _dates(self, aggregate: typed.BaseAggregate) -> frozenset[int]:
        if aggregate.key not in self._held_dates:
            self._held_dates[aggregate.key] = frozenset(self.zone.day(ts_ms) for ts_ms in self.holdings(aggregate))
        return self._held_dates[aggregate.key]

    _TOLD: ClassVar[dict[type[typed.Node], Callable[["_Outlook", Any], _Course]]] = {
        typed.Reference: _reference,
        typed.Constant: lambda _, node: _Course(node.value),
        # Their values are told by those below them: to evaluate every level anew takes a square of the levels.
        typed.Logic: _logic,
        typed.Compare: _compare,
    }
    """Kinds of nodes whose course takes no value of their own."""
