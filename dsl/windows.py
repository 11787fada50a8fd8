"""Windows: how long back an aggregate looks, and the exact set of events that it selects."""

import re
from dataclasses import dataclass, field
from functools import cache
from typing import Literal

MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_HOPS_MS = (86_400_000, 3_600_000, 300_000, 60_000, 1_000)
_WRITTEN = re.compile(r"([1-9][0-9]{0,8})([smhdw])")


@cache
def hop_ms(width_ms: int) -> int:
    """The grain of a window's old edge: the largest of 1s, 1m, 5m, 1h, 1d with `100 * hop <= width`, else 1s.

    >>> [hop_ms(seconds * 1000) for seconds in (60, 100, 6000, 86_400, 7 * 86_400, 100 * 86_400)]
    [1000, 1000, 60000, 300000, 3600000, 86400000]
    """
    return next((hop for hop in _HOPS_MS if 100 * hop <= width_ms), _HOPS_MS[-1])


@dataclass(frozen=True, slots=True)
class Window:
    """A window as written: `30d` is `Window(30, "d")`.

    Read as a duration it is `[floor(t - width, hop), t)`; read as calendar days (only `unique_days` and
    `streak_days`) it is the local dates `today - (days - 1)` to `today`, both inclusive.

    Attributes:
        width_ms: length in milliseconds: a day is 86,400,000, whatever the zone.
        hop_ms: grain of the old edge in milliseconds.
    """

    count: int
    unit: Literal["s", "m", "h", "d", "w"]
    width_ms: int = field(init=False, repr=False, compare=False)
    hop_ms: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "width_ms", self.count * MS[self.unit])
        object.__setattr__(self, "hop_ms", hop_ms(self.width_ms))

    def __str__(self) -> str:
        return f"{self.count}{self.unit}"

    @property
    def days(self) -> int | None:
        """Length in calendar days: `2w` is 14; None for units below a day."""
        return {"d": self.count, "w": 7 * self.count}.get(self.unit)

    def start_ms(self, t_ms: int) -> int:
        """First millisecond of the window at `t_ms` (inclusive).

        >>> Window(24, "h").start_ms(1_000_000_123_456), 1_000_000_123_456 - 86_400_000
        (999913500000, 999913723456)
        """
        return (t_ms - self.width_ms) // self.hop_ms * self.hop_ms


def read_window(text: str) -> Window | None:
    """The window that `30d` names; None when `text` is no window.

    >>> read_window("2w"), read_window("0d"), read_window("3y")
    (Window(count=2, unit='w'), None, None)
    """
    match = _WRITTEN.fullmatch(text)
    return Window(int(match[1]), match[2]) if match else None  # type: ignore[arg-type]  # the pattern allows no other unit
