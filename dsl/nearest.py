"""The name that was probably meant."""

from collections.abc import Callable, Iterable
from difflib import get_close_matches

from dsl.printer import print_step
from dsl.tokens import WORD


def nearest(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate most like `name`, None when none is much like it; case does not matter.

    >>> nearest("counrty", ["plan", "country", "county"]), nearest("zzz", ["plan"]), nearest("PLAN", ["plan"])
    ('country', None, 'plan')
    """
    wanted = name.casefold()[:80]
    folded = {candidate.casefold()[:80]: candidate for candidate in sorted(set(candidates), reverse=True)}
    limit = max(1, len(wanted) // 3)
    near = [(_distance(wanted, key), key) for key in folded if abs(len(key) - len(wanted)) <= limit]
    best = min(near, default=(limit + 1, ""))
    if best[0] <= limit and best[0] < len(wanted):
        return folded[best[1]]
    # Further away in letters, yet mostly the same: `purchase` for `purchase_made`.
    alike = get_close_matches(wanted, folded, n=1, cutoff=0.7)
    return folded[alike[0]] if alike else None


def _distance(one: str, other: str) -> int:
    """Letters to insert, drop, change or swap with their neighbour to get from one to the other."""
    # What both begin and end with costs nothing: names of one catalog share a lot.
    begin = _shared(one, other)
    end = _shared(one[begin:][::-1], other[begin:][::-1])
    one, other = one[begin : len(one) - end], other[begin : len(other) - end]
    before: list[int] = []
    above = list(range(len(other) + 1))
    for row, letter in enumerate(one, 1):
        line = [row]
        for column, target in enumerate(other, 1):
            cost = min(above[column] + 1, line[-1] + 1, above[column - 1] + (letter != target))
            if row > 1 and column > 1 and letter == other[column - 2] and one[row - 2] == target:
                cost = min(cost, before[column - 2] + 1)
            line.append(cost)
        before, above = above, line
    return above[-1]


def _shared(one: str, other: str) -> int:
    """Letters that both begin with."""
    differing = (place for place, (letter, its) in enumerate(zip(one, other, strict=False)) if letter != its)
    return next(differing, min(len(one), len(other)))


def nearest_help(
    name: str,
    candidates: Iterable[str],
    what: str,
    prefix: str = "",
    type_of: Callable[[str], object] | None = None,
) -> tuple[str, ...]:
    """The help line that names the nearest candidate, with its type where that is known; empty when none is near."""
    best = nearest(name, candidates)
    if best is None:
        return ()
    known = type_of(best) if type_of else None
    return (f"the nearest {what} is `{_spelled(prefix, best)}`" + (f" ({known})" if known else ""),)


def _spelled(prefix: str, name: str) -> str:
    """A name as it has to be written: what is no word stands in brackets."""
    steps = [name] if prefix == "events." else name.split(".")
    if all(WORD.fullmatch(step) for step in steps):
        return prefix + name
    # Only properties stand without a prefix.
    return (prefix or "properties.")[:-1] + "".join(map(print_step, steps))
