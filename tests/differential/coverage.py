"""What random questions have covered: edges of windows, truth of conditions, answers that say nothing."""

from collections import Counter
from dataclasses import dataclass, field

from tests.differential.engines import Values
from tests.differential.expressions import DAYS
from tests.differential.names import DAY, GAPS, HOPS, HOUR, MINUTE, SECOND
from tests.differential.questions import DURATIONS, OFFSETS, Question, edges

KINDS: dict[int | str, str] = {SECOND: "1 s", MINUTE: "1 min", 5 * MINUTE: "5 min", HOUR: "1 h", DAY: "1 d"}
"""Kinds of windows, by their hop."""
Edge = tuple[str, str, str, int]
"""Aggregate, kind of window, edge, offset in milliseconds."""


@dataclass
class Coverage:
    """Counts over all questions.

    Attributes:
        edges: questions in which a known event lay at the offset from the edge of a window of the aggregate.
        truths: answers of the conditions that were drawn.
        answers: answers of all definitions; `empty` of them are missing, an empty text or an empty list.
    """

    edges: Counter[Edge] = field(default_factory=Counter)
    truths: Counter[bool] = field(default_factory=Counter)
    answers: int = 0
    empty: int = 0

    def add(self, question: Question, answers: Values) -> None:
        """Counts one question and the answers to it."""
        known = [e for e in question.world.events if e.name == question.event and e.seq <= question.world.cut]
        self.edges.update(
            {
                (one.function, KINDS.get(one.kind, str(one.kind)), edge, event.ts_ms - instant)
                for one in question.windowed
                for edge, instant in edges(one, question.world.zone, question.world.t_ms).items()
                for event in known
            }
        )
        for found in answers.values():
            self.answers += len(found)
            self.empty += sum(value is None or value in ("", ()) for value in found.values())
            for key in question.drawn:
                if isinstance(value := found.get(key), bool):
                    self.truths[value] += 1

    @property
    def true_share(self) -> float:
        """Share of the conditions that hold, 0..1."""
        return self.truths[True] / max(1, self.truths.total())

    @property
    def empty_share(self) -> float:
        """Share of the answers that are missing or empty, 0..1."""
        return self.empty / max(1, self.answers)

    def below(self, least: int) -> dict[Edge, int]:
        """Every edge that was met less often than that."""
        return {edge: self.edges[edge] for edge in wanted() if self.edges[edge] < least}

    def shown(self) -> str:
        """A line for each aggregate, kind of window and edge: questions with an event 1 ms before, at and after it."""
        lines = [f"{'aggregate':20} {'window':7} {'edge':6}" + "".join(f"{offset:+7d}" for offset in OFFSETS)]
        for function, kind, edge in dict.fromkeys(edge[:3] for edge in wanted()):
            counts = "".join(f"{self.edges[function, kind, edge, offset]:7}" for offset in OFFSETS)
            lines.append(f"{function:20} {kind:7} {edge:6}{counts}")
        lines.append(f"conditions: {self.truths.total():,}, {self.true_share:.0%} true")
        lines.append(f"answers: {self.answers:,}, {self.empty_share:.1%} missing or empty")
        return "\n".join(lines) + "\n"


def wanted() -> list[Edge]:
    """Every combination that has to be met."""
    both: tuple[str, ...] = ("start", "t")
    windows = [(function, KINDS[hop], both) for function in DURATIONS for hop in HOPS]
    windows += [(function, "days", both) for function in DAYS]
    windows += [(function, "life", ("t",)) for function in (*DURATIONS, *DAYS)]
    windows += [("longest_gap_minutes", KINDS[hop], (*both, "hop")) for hop in GAPS]
    return [(function, kind, edge, offset) for function, kind, its in windows for edge in its for offset in OFFSETS]
