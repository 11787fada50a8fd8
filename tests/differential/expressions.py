"""Random well-typed expressions as text."""

import random
from dataclasses import dataclass

from tests.differential.worlds import DAY_WINDOWS, GAP_WINDOWS, TEXTS, WINDOWS

EVENTS = ("purchase", '["Feature Used"]', "visit", "*", "page", "exposure", "never_seen")
LITERALS = ("0", "1", "2", "3.5", "-1", "0.000001", "100", "9223372036854.775807")
PATTERNS = ("^a", "[0-9]+$", "o+", "é", "", "^order-\\\\d\\\\d$")


@dataclass(slots=True)
class Writer:
    """Writes expressions; `traits` are definitions that may be referred to, by type."""

    pick: random.Random
    traits: dict[str, list[str]]

    def boolean(self, depth: int) -> str:
        """An expression that is true or false."""
        kind = self.pick.randrange(11 if depth > 0 else 4)
        match kind:
            case 0:
                operator = self.pick.choice(("==", "!=", "<", "<=", ">", ">="))
                return f"{self.number(depth - 1)} {operator} {self.number(depth - 1)}"
            case 1:
                return f"{self.text(depth - 1)} {self.pick.choice(('==', '!=', '<', '>='))} {self.text(depth - 1)}"
            case 2:
                return f"{self.text(depth - 1)} in [{', '.join(self._quoted() for _ in range(self.pick.randrange(3)))}]"
            case 3:
                return self.pick.choice(("profile.b", "profile.b == true", "profile.b != false"))
            case 4:
                return f"({self.boolean(depth - 1)}) && ({self.boolean(depth - 1)})"
            case 5:
                return f"({self.boolean(depth - 1)}) || ({self.boolean(depth - 1)})"
            case 6:
                return f"!({self.boolean(depth - 1)})"
            case 7:
                operator = self.pick.choice(("contains", "starts_with", "ends_with"))
                return f"{self.text(depth - 1)} {operator} {self._quoted()}"
            case 8:
                return f'{self.text(depth - 1)} matches "{self.pick.choice(PATTERNS)}"'
            case 9:
                return f"{self.pick.choice((self._quoted(), '1', 'true', '2.5'))} in {self._unique_list()}"
        return f"is_set({self.pick.choice((self.number, self.text))(depth - 1)})"

    def number(self, depth: int) -> str:
        """An expression that is a number or missing."""
        kind = self.pick.randrange(12 if depth > 0 else 4)
        match kind:
            case 0:
                return self.pick.choice(LITERALS)
            case 1 | 2:
                return self.aggregate()
            case 3:
                ages = ("first_seen_days_ago", "last_seen_minutes_ago", "last_seen_hours_ago", "profile.n")
                dates = (f'days_since(date("{day}"))' for day in ("2017-03-12", "2030-01-01", "2017-11-05T06:00:00Z"))
                gaps = ('(now() - date("2017-07-04")) / 3600000', f"(now() - {self._source()}.last_at)")
                return self.pick.choice((*ages, *self.traits["number"][-6:], *dates, *gaps))
            case 4 | 5:
                operator = self.pick.choice("+-*/%")
                return f"({self.number(depth - 1)} {operator} {self.number(depth - 1)})"
            case 6:
                return f"if({self.boolean(depth - 1)}, {self.number(depth - 1)}, {self.number(depth - 1)})"
            case 7:
                return f"coalesce({self.number(depth - 1)}, {self.number(depth - 1)})"
            case 8:
                return f"{self.pick.choice(('min', 'max'))}({self.number(depth - 1)}, {self.number(depth - 1)})"
            case 9:
                return f"round({self.number(depth - 1)}, {self.pick.randrange(7)})"
            case 10:
                return f"{self.pick.choice(('abs', '-'))}({self.number(depth - 1)})"
        return self.pick.choice(
            (f"length({self.text(depth - 1)})", f"number({self.text(depth - 1)})", "number(profile.n)")
        )

    def text(self, depth: int) -> str:
        """An expression that is a string or missing."""
        kind = self.pick.randrange(8 if depth > 0 else 3)
        match kind:
            case 0:
                return self._quoted()
            case 1:
                return "profile.s"
            case 2:
                return self.pick.choice(self.traits["string"])
            case 3:
                return f"{self.pick.choice(('lower', 'upper'))}({self.text(depth - 1)})"
            case 4:
                return f"if({self.boolean(depth - 1)}, {self.text(depth - 1)}, {self._quoted()})"
            case 5:
                return f"text({self.number(depth - 1)})"
            case 6:
                return "text(profile.b)"
        return f'coalesce({self.text(depth - 1)}, "none")'

    def aggregate(self) -> str:
        """A numeric aggregate of any kind."""
        kind = self.pick.randrange(9)
        source = self._source()
        match kind:
            case 0 | 1:
                return f"{source}.count{self._window(WINDOWS)}"
            case 2:
                name = self.pick.choice(("sum", "avg", "min", "max", "median"))
                return f"{source}.{name}{self._window(WINDOWS)}({self.pick.choice('nnx')})"
            case 3:
                quantile = self.pick.choice(("0", "0.25", "0.9", "1"))
                return f"{source}.percentile{self._window(WINDOWS)}(n, {quantile})"
            case 4:
                return f"{source}.{self.pick.choice(('unique_days', 'streak_days'))}{self._window(DAY_WINDOWS)}"
            case 5:
                return f"{source}.longest_gap_minutes_{self.pick.choice(GAP_WINDOWS)}"
            case 6:
                return f"{source}.count_distinct{self._window(WINDOWS)}({self.pick.choice('nsbx')})"
            case 7:
                return self.pick.choice(self.traits["number"])
        name = self.pick.choice(("days_since_first", "days_since_last", "minutes_since_last"))
        return f"{source}.{name}{self._window(WINDOWS)}"

    def chosen(self, prop: str) -> str:
        """The first, last or most frequent value of a property: what it is of, only a declared type can say."""
        name = self.pick.choice(("first", "last", "most_frequent"))
        return f"{self._source()}.{name}{self._window(WINDOWS)}({prop})"

    def _unique_list(self) -> str:
        return f"{self._source()}.unique_list{self._window(WINDOWS)}({self.pick.choice('nsbx')})"

    def _source(self) -> str:
        event = self.pick.choice(EVENTS)
        shown = f"events{event}" if event.startswith("[") else f"events.{event}"
        return f"{shown}[{self._filter()}]" if self.pick.random() < 0.3 else shown

    def _filter(self) -> str:
        return self.pick.choice(
            (
                "n > 0",
                's == "books"',
                's != "a" && n >= 1',
                "b",
                "!b",
                's in ["a", "é"]',
                's contains "o" || n == 2.5',
                "is_set(x)",
                "n * 2 >= 5",
                's matches "^[a-z]+$"',
            )
        )

    def _window(self, windows: tuple[str, ...]) -> str:
        return f"_{self.pick.choice(windows)}" if self.pick.random() < 0.75 else ""

    def _quoted(self) -> str:
        return f'"{self.pick.choice(TEXTS)}"'
