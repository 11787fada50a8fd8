"""Stretches: the part of the log that a table has not seen yet, in pieces that memory can bear."""

from collections.abc import Callable, Iterator, Sequence

from warehouse.records import LakeFile

LONGEST_EVENTS = 20_000_000
"""Events that are folded at a time: their columns are in memory."""
FilesAfter = Callable[[int], Sequence[LakeFile]]
"""The files of a project up to a cut that may hold an event with a larger `seq` than this one, of however many there
are: `partial(registry.files, project, cut)`."""


def stretches(files: FilesAfter, covered: int, cut: int) -> Iterator[tuple[int, int, list[LakeFile]]]:
    """`(lo, hi]` and the files that hold its events, from what is covered to the cut; none when nothing has landed.

    Args:
        files: those up to the cut.
        covered: events with `seq <= covered` are left out.
    """
    lo, reached, rows = covered, covered, 0
    held: list[LakeFile] = []
    for file in sorted(files(covered), key=lambda file: file.seq_lo):
        # Files whose numbers overlap stay together: no event may lie before the stretch that its file belongs to.
        if held and rows + file.rows > LONGEST_EVENTS and file.seq_lo > reached:
            yield lo, reached, held
            lo, rows, held = reached, 0, []
        held.append(file)
        rows += file.rows
        reached = max(reached, file.seq_hi)
    if held:
        yield lo, cut, held
