"""Random well-typed expressions, as text, of every form that the language has."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypeVar

from hypothesis import strategies as st

from dsl.catalog import ValueType
from dsl.clock import format_instant
from tests.differential.names import (
    CALENDAR,
    CONTEXT,
    DATES,
    DAY,
    EVENTS,
    FIELDS,
    GAPS,
    HOUR,
    LITERALS,
    STRANGE,
    STRINGS,
    WINDOWS,
    Steps,
)

Picked = TypeVar("Picked")
TYPES: tuple[ValueType, ...] = ("number", "string", "boolean", "timestamp")
PATTERNS = ("^a", "[0-9]+$", "o+|é", "", "^order-\\d\\d$", "^.$", "\\W")
NUMERIC = ("count", "sum", "avg", "min", "max", "median", "percentile", "count_distinct")
AGES = ("days_since_first", "days_since_last", "minutes_since_last")
DAYS = ("unique_days", "streak_days")
CHOSEN = ("first", "last", "most_frequent")
DECIMALS = ("", ", 0", ", 2", ", 5", ", 6")
WORD = re.compile("[A-Za-z_][A-Za-z0-9_]*")
RESERVED = ("and", "or", "not", "in", "true", "false")


class Text(NamedTuple):
    """An expression, and whether it says by itself of which type it is."""

    text: str
    fixed: bool = True

    @property
    def within(self) -> str:
        """The expression as an operand."""
        return self.text if re.fullmatch(r'[\w.]+(\([^()]*\))?|"(?:[^"\\]|\\.)*"', self.text) else f"({self.text})"


Form = Callable[[], Text]


@dataclass
class Writer:
    """Writes expressions; `depth` is how many levels may still follow.

    Attributes:
        declared: whether events and attributes are declared, so that each name has one type.
        known: keys of the definitions so far: their kind and type.
        filtering: the event that a filter looks at, `*` for any; empty outside of filters.
    """

    draw: st.DrawFn
    t_ms: int
    declared: bool
    known: list[tuple[str, str, ValueType]] = field(default_factory=list)
    filtering: str = ""

    def pick(self, choices: Sequence[Picked]) -> Picked:
        """One of the choices."""
        return self.draw(st.sampled_from(choices))

    def expression(self, wanted: ValueType, depth: int) -> Text:
        """An expression of a type."""
        forms: dict[ValueType, Callable[[int], list[Form]]] = {
            "number": self._numbers,
            "string": self._strings,
            "boolean": self._booleans,
            "timestamp": self._timestamps,
        }
        return self.pick(forms[wanted](depth))()

    def strict(self, wanted: ValueType, depth: int) -> str:
        """An expression that is of its type or missing, whatever was sent."""
        text, fixed = self.expression(wanted, depth)
        if fixed:
            return text
        return {"number": f"({text} + 0)", "string": f"lower({text})", "boolean": f"({text} || false)"}[wanted]

    def operand(self, wanted: ValueType, depth: int) -> str:
        """An expression as an operand."""
        return self.expression(wanted, depth).within

    # -- forms, by type ----------------------------------------------------------------------------------------------

    def _numbers(self, depth: int) -> list[Form]:
        leaves: list[Form] = [
            lambda: Text(self.pick(LITERALS)),
            lambda: self.path("number"),
            lambda: Text(f"coalesce({self.path('number').text}, {self.pick(LITERALS)})"),
        ]
        if not self.filtering:
            leaves += [self.numeric, self.numeric, self.age, self.of_days, self.gap, self.chosen_number, self.seen]
            leaves += [self.bucket, self.rank, *self.references("number")]
        if depth == 0:
            return leaves
        below = depth - 1
        branches: list[Form] = [
            lambda: Text(f"{self.operand('number', below)} {self.pick('+-*/%')} {self.operand('number', below)}"),
            lambda: Text(f"{self.operand('number', below)} {self.pick('+-')} {self.operand('number', below)}"),
            lambda: Text(f"{self.operand('number', 0)} {self.pick(('* 0.5', '/ 2', '* -1.5', '/ 3'))}"),
            lambda: Text(f"-{self.operand('number', below)}"),
            lambda: Text(f"abs({self.expression('number', below).text})"),
            lambda: self.call(self.pick(("min", "max")), "number", self.pick((2, 3)), below),
            lambda: Text(f"round({self.expression('number', below).text}{self.pick(DECIMALS)})"),
            lambda: Text(f"length({self.expression('string', below).text})"),
            lambda: Text(f"number({self.convertible(below)})"),
            *self.passing("number", below),
        ]
        if not self.filtering:
            branches += [
                lambda: Text(f"{self.operand('timestamp', below)} - {self.operand('timestamp', below)}"),
                lambda: Text(f"days_since({self.expression('timestamp', below).text})"),
            ]
        return [self.leaf(leaves), self.leaf(leaves), *branches]

    def _strings(self, depth: int) -> list[Form]:
        leaves: list[Form] = [
            self.quoted,
            lambda: self.path("string"),
            lambda: Text(f"coalesce({self.path('string').text}, {self.quoted().text})"),
            *self.references("string"),
        ]
        if not self.filtering:
            leaves.append(lambda: self.chosen("string"))
        if depth == 0:
            return leaves
        below = depth - 1
        return [
            self.leaf(leaves),
            lambda: Text(f"{self.pick(('lower', 'upper'))}({self.expression('string', below).text})"),
            lambda: Text(f"text({self.convertible(below)})"),
            *self.passing("string", below),
        ]

    def _booleans(self, depth: int) -> list[Form]:
        leaves: list[Form] = [lambda: self.path("boolean"), self.is_set, *self.references("boolean")]
        if depth == 0:
            return [*leaves, lambda: Text(self.pick(("true", "false")))]
        below = depth - 1
        return [
            self.leaf(leaves),
            *[lambda: self.comparison(below)] * 4,
            lambda: self.membership(below),
            *[lambda: self.in_list(below)] * 2,
            lambda: self.word_operator(below),
            *[lambda: self.logic(below)] * 2,
            *[lambda: Text(f"!{self.operand('boolean', below)}")] * 2,
            lambda: Text(f"is_set({self.strict(self.pick(self.types), below)})"),
            *self.passing("boolean", below),
        ]

    def _timestamps(self, depth: int) -> list[Form]:
        leaves: list[Form] = [self.date, self.sent_date, *self.references("timestamp")]
        if self.declared and self.filtering != "*":
            leaves.append(lambda: self.path("timestamp"))
        if not self.filtering:
            leaves += [lambda: Text("now()"), self.instant, self.instant]
        return leaves if depth == 0 else [self.leaf(leaves), *self.passing("timestamp", depth - 1)]

    def leaf(self, leaves: Sequence[Form]) -> Form:
        """One of the forms that hold no other."""
        return self.pick(leaves)

    # -- names -------------------------------------------------------------------------------------------------------

    @property
    def types(self) -> tuple[ValueType, ...]:
        """Types of which an expression may be."""
        return TYPES

    @property
    def open_here(self) -> bool:
        """Whether a property may be of any type: under `events.*` nobody declares one, though each event does."""
        return not (self.declared and self.filtering == "*")

    def path(self, wanted: ValueType) -> Text:
        """A property in a filter, elsewhere an attribute; in a filter sometimes what lies in the event's context."""
        if self.filtering and wanted in CONTEXT and self.pick((False, False, True)):
            return Text(written("context", self.pick(CONTEXT[wanted])), fixed=False)
        steps = self.field(wanted)
        fixed = self.declared and self.filtering != "*"
        return Text(property_path(steps) if self.filtering else written("profile", steps), fixed)

    def field(self, wanted: ValueType) -> Steps:
        """Steps of a field of a type; where nothing is declared sometimes of any."""
        if self.declared or self.pick((True, True, True, False)):
            return self.pick(FIELDS[wanted])
        return self.pick([steps for fields in FIELDS.values() for steps in fields])

    def is_set(self) -> Text:
        """`is_set` of a name, of any type where none is declared."""
        if self.open_here:
            return Text(f"is_set({self.path(self.pick(TYPES)).text})")
        return Text(f"is_set({self.strict('number', 0)})")

    def convertible(self, depth: int) -> str:
        """What `text` and `number` take: any type, a name of an open one too."""
        if self.open_here and self.pick((False, True)):
            return self.path(self.pick(TYPES)).text
        return self.strict(self.pick(self.types), depth)

    def references(self, wanted: ValueType) -> list[Form]:
        """The last definitions of this type."""
        if self.filtering:
            return []
        keys = [(key, kind) for key, kind, its_type in self.known if its_type == wanted][-3:]
        return [lambda key=key, kind=kind: Text(self.pick((key, f'{kind}("{key}")'))) for key, kind in keys]  # type: ignore[misc]  # bound to each key

    # -- values ------------------------------------------------------------------------------------------------------

    def quoted(self) -> Text:
        """A string literal."""
        return Text(json.dumps(self.pick((*STRINGS, *STRINGS, *STRANGE)), ensure_ascii=self.pick((True, False))))

    def date(self) -> Text:
        """A date that is written out: near the question, or at an edge."""
        near = format_instant(self.t_ms + self.pick((-DAY, -HOUR, -1, 0, 1, HOUR)))
        return Text(f'date("{self.pick((near, near, *DATES[:-1]))}")')

    def sent_date(self) -> Text:
        """A string that was sent, as the instant that it names."""
        return Text(f"date({self.path(self.pick(('timestamp', 'string')) if self.open_here else 'timestamp').text})")

    def passing(self, wanted: ValueType, depth: int) -> list[Form]:
        """Functions that pass a type along."""
        return [
            lambda: Text(f"coalesce({self.strict(wanted, depth)}, {self.strict(wanted, depth)})"),
            lambda: Text(
                f"if({self.expression('boolean', depth).text}, {self.strict(wanted, depth)}, "
                f"{self.strict(wanted, depth)})"
            ),
        ]

    def call(self, function: str, wanted: ValueType, count: int, depth: int) -> Text:
        """A function of several arguments of one type."""
        return Text(f"{function}({', '.join(self.expression(wanted, depth).text for _ in range(count))})")

    # -- conditions --------------------------------------------------------------------------------------------------

    def comparison(self, depth: int) -> Text:
        """Two values of one type, at least one of which says of which."""
        wanted = self.pick(("number", "number", *self.types))
        equal = ("==", "!=", "!=")
        operator = self.pick(equal if wanted == "boolean" else (*equal, "<", "<=", ">", ">=", "<", ">="))
        left, right = self.expression(wanted, depth), self.expression(wanted, depth)
        shown = right.within if left.fixed or right.fixed else Text(self.strict(wanted, 0)).within
        if not (left.fixed or right.fixed):
            left = Text(self.strict(wanted, depth))
        return Text(f"{left.within} {operator} {shown}")

    def membership(self, depth: int) -> Text:
        """A value in a list that is written out; an item of another type is never equal."""
        wanted = self.pick(TYPES[:3])
        items = [self.strict(wanted, 0) for _ in range(self.pick((1, 1, 2, 3)))]
        other = self.pick(("", "", "now()" if not self.filtering else "", '"1"', "1"))
        items += [other] if other else []
        return Text(f"{self.operand(wanted, depth)} in [{', '.join(items)}]")

    def in_list(self, depth: int) -> Text:
        """A value that is an element of a list that was sent, or counted."""
        wanted = self.pick(TYPES[:3])
        listed = self.path("list") if self.filtering or self.pick((True, False)) else self.listed()
        if not self.open_here:
            return self.comparison(depth)
        literal = {"number": self.pick(LITERALS), "string": self.quoted().text, "boolean": "true"}[wanted]
        sought = Text(self.pick((self.strict(wanted, depth), literal))).within
        if listed.fixed or wanted != "string":
            return Text(self.pick((f"{sought} in {listed.text}", f"{listed.text} contains {sought}")))
        return Text(f"{sought} in {listed.text}")

    def word_operator(self, depth: int) -> Text:
        """A condition on a string."""
        if not self.open_here:
            return Text(f'{Text(self.strict("string", depth)).within} starts_with "a"')
        left = self.operand("string", depth)
        if self.pick((True, False, False)):
            return Text(f"{left} matches {json.dumps(self.pick(PATTERNS), ensure_ascii=False)}")
        operator = self.pick(("contains", "contains", "starts_with", "ends_with"))
        return Text(f"{left} {operator} {self.operand('string', 0)}")

    def logic(self, depth: int) -> Text:
        """Two conditions."""
        operator = self.pick(("&&", "||", "and", "or", "||"))
        return Text(f"{self.operand('boolean', depth)} {operator} {self.operand('boolean', depth)}")

    # -- aggregates --------------------------------------------------------------------------------------------------

    def source(self) -> tuple[str, str]:
        """Events, with or without a filter: their text and name."""
        event = self.pick((*EVENTS[:3], *EVENTS, "*"))
        text = "events.*" if event == "*" else written("events", (event,))
        if self.pick((True, True, False)):
            return text, event
        inside = replace(self, filtering=event)
        return f"{text}[{inside.expression('boolean', self.pick((1, 1, 2))).text}]", event

    def window(self, windows: Sequence[str]) -> str:
        """A window, or none."""
        return self.pick(("", *(f"_{window}" for window in windows)))

    def numeric(self) -> Text:
        """An aggregate that is a number."""
        text, event = self.source()
        function = self.pick(NUMERIC)
        if function == "count":
            return Text(f"{text}.count{self.window(WINDOWS)}")
        wanted: ValueType = "number"
        if function == "count_distinct" and (not self.declared or event != "*"):
            wanted = self.pick(TYPES[:3])
        argument = property_path(self.field(wanted))
        if function == "percentile":
            argument += f", {self.pick(('0', '0.25', '0.5', '0.9', '1'))}"
        return Text(f"{text}.{function}{self.window(WINDOWS)}({argument})")

    def age(self) -> Text:
        """An age of the first or last event."""
        return Text(f"{self.source()[0]}.{self.pick(AGES)}{self.window(WINDOWS)}")

    def of_days(self) -> Text:
        """An aggregate over local dates."""
        return Text(f"{self.source()[0]}.{self.pick(DAYS)}{self.window(CALENDAR)}")

    def gap(self) -> Text:
        """The longest gap of a window."""
        windows = [window for found in GAPS.values() for window in found]
        return Text(f"coalesce({self.source()[0]}.longest_gap_minutes_{self.pick(windows)}, 0)")

    def chosen_number(self) -> Text:
        """The first, last or most frequent number."""
        return self.chosen("number")

    def chosen(self, wanted: ValueType) -> Text:
        """The first, last or most frequent value of a property: what it is of, only a declaration can say."""
        text, event = self.source()
        if self.declared and event == "*":
            text, event = "events.purchase", "purchase"
        argument = property_path(self.field(wanted))
        return Text(f"{text}.{self.pick(CHOSEN)}{self.window(WINDOWS)}({argument})", self.declared)

    def instant(self) -> Text:
        """An aggregate that is a timestamp."""
        text, event = self.source()
        if self.declared and event != "*" and self.pick((True, False)):
            function = self.pick(("min", "max", "first", "last"))
            return Text(f"{text}.{function}{self.window(WINDOWS)}({property_path(self.field('timestamp'))})")
        return Text(f"{text}.{self.pick(('first_at', 'last_at'))}{self.window(WINDOWS)}")

    def listed(self) -> Text:
        """An aggregate that is a list."""
        text, event = self.source()
        if event == "*" and self.declared:
            text = "events.purchase"
        if self.pick((True, False)):
            argument = property_path(self.field(self.pick(TYPES[:3])))
            return Text(f"{text}.unique_list{self.window(WINDOWS)}({argument})")
        function = self.pick(("first", "last"))
        return Text(f"{text}.{function}{self.window(WINDOWS)}({property_path(self.field('list'))})", self.declared)

    def seen(self) -> Text:
        """An age over every event that was sent from outside."""
        return Text(f"{self.pick(('first', 'last'))}_seen_{self.pick(('minutes', 'hours', 'days'))}_ago")

    def bucket(self) -> Text:
        """A share that is fixed for each profile."""
        return Text(f'bucket("{self.pick(("salt", "spring", "é"))}")')

    def rank(self) -> Text:
        """Where the profile stands among all."""
        numbers = [key for key, _, its_type in self.known if its_type == "number"][-4:]
        return Text(f"percent_rank({self.pick([self.numeric().text, *numbers])})")


def written(root: str, steps: Steps) -> str:
    """A path, steps that are no words in brackets."""
    return root + "".join(f".{step}" if WORD.fullmatch(step) else f"[{json.dumps(step)}]" for step in steps)


def property_path(steps: Steps) -> str:
    """A property as it stands in a filter, or in the parentheses of an aggregate."""
    bare = WORD.fullmatch(steps[0]) is not None and steps[0] not in RESERVED
    return written("", steps)[1:] if bare else written("properties", steps)
