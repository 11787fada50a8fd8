"""Loading files: batch after batch, each whole or not at all, from where the same load stopped before."""

import hashlib
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import polars as pl

from warehouse.bulk.inputs import Batch, Input
from warehouse.bulk.known_ids import KnownIds
from warehouse.bulk.landing import BatchLanding, Online, Target
from warehouse.bulk.mapping import LoadMapping
from warehouse.bulk.people import Rules
from warehouse.bulk.understanding import Facts, Problem, Understood, understand
from warehouse.exceptions import LoadError
from warehouse.records import DeadLetter, Project
from warehouse.registry import Registry
from warehouse.settings import Home

MOST_DEAD_LETTERS: Final = 10_000
"""Dead letters of a load, unless its caller says otherwise: more are a mistake in the mapping."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a load has come.

    Attributes:
        file: number of the file that is being read, from 0.
        offset: where its next batch begins; `rows` of it have been read.
        loaded: events that have landed, over all runs of this load.
        letters: dead letters by reason.
    """

    file: int = 0
    offset: int = 0
    rows: int = 0
    loaded: int = 0
    duplicates: int = 0
    letters: Mapping[str, int] = field(default_factory=dict)

    @property
    def dead_letters(self) -> int:
        """All of them."""
        return sum(self.letters.values())

    def to_document(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {name: getattr(self, name) for name in self.__slots__} | {"letters": dict(self.letters)}


@dataclass(frozen=True, slots=True)
class Loading:
    """A load of some files.

    Attributes:
        rules: what identifiers are judged by now.
        most_dead_letters: more of them stop the load before the batch that has them.
        on_progress: is told after each batch, with the share of its file that has been read.
    """

    inputs: Sequence[Input]
    mapping: LoadMapping
    home: Home
    registry: Registry
    project: Project
    online: Online
    rules: Callable[[], Rules] = Rules
    most_dead_letters: int = MOST_DEAD_LETTERS
    on_progress: Callable[[Progress, float], None] = lambda _progress, _share: None

    @property
    def key(self) -> str:
        """What the load is known by until it is complete: its mapping, and its files as they are."""
        stats = [(each.path.resolve(), each.path.stat()) for each in self.inputs]
        files = [(str(path), stat.st_size, stat.st_mtime_ns) for path, stat in stats]
        return hashlib.sha256(repr((self.mapping, files)).encode()).hexdigest()

    def begun(self) -> Progress | None:
        """How far an earlier run has come that did not end; None when there was none."""
        found = self.registry.load_position(self.project.key, self.key)
        return None if found is None else Progress(**found)

    def run(self) -> Progress:
        """Land everything that has not landed yet. What was killed and begins again goes on where it stopped.

        Raises:
            LoadError: a file cannot be read, or too many rows are no events; batches before that have landed.
        """
        key, progress = self.key, self.begun() or Progress()
        with _index(self.home, key) as known, ThreadPoolExecutor(1) as ahead:
            target = Target(self.home, self.registry, self.project, self.online, known)
            steps = self._steps(progress)
            # While a batch is written the next one is read.
            waiting = ahead.submit(next, steps, None)
            while (step := waiting.result()) is not None:
                waiting = ahead.submit(next, steps, None)
                progress = self._land(target, key, progress, step)
                self.on_progress(progress, step.batch.share)
        self.registry.end_load(self.project.key, key)
        return progress

    def _steps(self, progress: Progress) -> "Iterator[_Step]":
        for number, source in enumerate(self.inputs[progress.file :], progress.file):
            begins = (progress.offset, progress.rows) if number == progress.file else (0, 0)
            for batch in source.batches(self.mapping, *begins):
                yield self._understood(number, source, batch)

    def _understood(self, number: int, source: Input, batch: Batch) -> "_Step":
        facts = Facts(self.project.zone, self.project.clock.now_ms(), self.rules())
        return _Step(number, source, batch, facts, understand(batch.rows, self.mapping, facts))

    def _land(self, target: Target, key: str, before: Progress, step: "_Step") -> Progress:
        if step.facts.rules.settings != self.rules().settings:
            step = self._understood(step.file, step.source, step.batch)
        batch, now_ms = step.batch, step.facts.received_at_ms
        writer = _LetterWriter(self.mapping, step.source, batch, now_ms)

        def position(loaded: int, duplicates: int, letters: Mapping[str, int]) -> Mapping[str, Any]:
            after = _added(_moved(before, step.file, batch.end, batch.rows_read), loaded, duplicates, letters)
            self._refuse(after)
            return after.to_document()

        events, problems = step.understood.events, step.understood.problems
        landing = BatchLanding(target, key, events, problems, writer.broken(), writer.letters, position)
        return Progress(**landing.land(now_ms))

    def _refuse(self, after: Progress) -> None:
        if after.dead_letters > self.most_dead_letters:
            listed = ", ".join(f"{count:,} `{reason}`" for reason, count in sorted(after.letters.items()))
            raise LoadError(
                f"more than {self.most_dead_letters:,} rows are no events ({listed}): what has landed stays, this "
                "batch has not; look with --dry-run, correct the mapping or raise --max-dead-letters, and load again"
            )


@dataclass(frozen=True, slots=True)
class _Step:
    """A batch, and what it was understood as."""

    file: int
    source: Input
    batch: Batch
    facts: Facts
    understood: Understood


@dataclass(frozen=True, slots=True)
class _LetterWriter:
    """Makes dead letters of the rows of a batch."""

    mapping: LoadMapping
    source: Input
    batch: Batch
    received_at_ms: int

    def letters(self, problems: Sequence[Problem]) -> list[DeadLetter]:
        raw = self.batch.rows.raw([problem.row for problem in problems]) if problems else []
        return [
            self._letter(self.batch.numbers[each.row], each.reason, each.detail, each.path, each.event_id, text)
            for each, text in zip(problems, raw, strict=True)
        ]

    def broken(self) -> list[DeadLetter]:
        return [self._letter(each.row, each.reason, each.detail, "$", "", each.raw) for each in self.batch.broken]

    def _letter(self, row: int, reason: str, detail: str, path: str, event_id: str, raw: str) -> DeadLetter:
        what = f"{self.source.path.name}, row {row}: {detail}"
        return DeadLetter(reason, what, path, event_id, self.mapping.route, raw, self.received_at_ms)


@dataclass(frozen=True, slots=True)
class Look:
    """What files say, nothing of which has landed.

    Attributes:
        events: that are understood, whether their ids have landed or not.
        problems: rows that are no events, by reason; `examples` the first of each.
        sample: the first events as understood.
    """

    events: int
    problems: Mapping[str, int]
    examples: Mapping[str, str]
    sample: pl.DataFrame


def look(inputs: Sequence[Input], mapping: LoadMapping, facts: Facts, sample: int = 5) -> Look:
    """Read files whole and land nothing."""
    events, problems, examples, shown = 0, Counter[str](), dict[str, str](), list[pl.DataFrame]()
    for source in inputs:
        for batch in source.batches(mapping):
            understood = understand(batch.rows, mapping, facts)
            events += understood.events.height
            if sum(frame.height for frame in shown) < sample:
                shown.append(understood.events.head(sample))
            writer = _LetterWriter(mapping, source, batch, facts.received_at_ms)
            problems.update(each.reason for each in batch.broken)
            problems.update(each.reason for each in understood.problems)
            first = {each.reason: each for each in reversed(understood.problems)}
            for letter in (*writer.broken()[:100], *writer.letters(list(first.values()))):
                examples.setdefault(letter.reason, letter.detail)
    rows = pl.concat(shown, how="diagonal").head(sample) if shown else pl.DataFrame()
    return Look(events, dict(problems), examples, rows)


def _moved(progress: Progress, file: int, offset: int, rows: int) -> Progress:
    return Progress(file, offset, rows, progress.loaded, progress.duplicates, progress.letters)


def _added(progress: Progress, loaded: int, duplicates: int, letters: Mapping[str, int]) -> Progress:
    together = dict(Counter(progress.letters) + Counter(letters))
    sums = (progress.loaded + loaded, progress.duplicates + duplicates)
    return Progress(progress.file, progress.offset, progress.rows, *sums, together)


@contextmanager
def _index(home: Home, key: str) -> Iterator[KnownIds]:
    """An index of known ids in a folder of its own, which is gone afterwards."""
    folder = home.path / "loads" / key[:16]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield KnownIds(folder, home.lake)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
