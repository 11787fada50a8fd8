"""Many requests, one append: what comes while the store is busy goes out together in the next round trip.

The store writes to disk once for each round trip; alone, a request waits for nobody. Some round trips are under way at
once, so that the store has the next one at hand when it is done with one.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from serving.ingest.intake import Appends
from serving.online import Answer, Item

_MOST_ITEMS: Final = 500
"""Of one round trip: while it runs the store does nothing else, about 20 us an item."""
_UNDER_WAY: Final = 2
"""Round trips at once."""


@dataclass(slots=True, eq=False)
class _Group:
    """What goes out together; it is open until those before it are done."""

    items: list[Item] = field(default_factory=list)
    now_ms: int = 0


class GroupAppender:
    """Appends for all requests of a process."""

    def __init__(self, appends: Appends) -> None:
        self._appends = appends
        self._open: _Group | None = None
        self._sent: asyncio.Task[list[Answer]] | None = None
        self._last = deque[asyncio.Task[list[Answer]]](maxlen=_UNDER_WAY)

    async def append(self, items: Sequence[Item], now_ms: int) -> list[Answer]:
        """Append items in this order; an answer for each. A failure is one of every request that was sent with it."""
        answers = list[Answer]()
        for start in range(0, len(items), _MOST_ITEMS):
            answers += await self._join(items[start : start + _MOST_ITEMS], now_ms)
        return answers

    async def _join(self, items: Sequence[Item], now_ms: int) -> list[Answer]:
        group, sent = self._open, self._sent
        if group is None or sent is None or len(group.items) + len(items) > _MOST_ITEMS:
            group = self._open = _Group()
            before = self._last[0] if len(self._last) == _UNDER_WAY else None
            sent = self._sent = asyncio.create_task(self._send(group, before))
            self._last.append(sent)
        start = len(group.items)
        group.items += items
        group.now_ms = max(group.now_ms, now_ms)
        # Who goes away meanwhile leaves the others alone.
        answers = await asyncio.shield(sent)
        return answers[start : start + len(items)]

    async def _send(self, group: _Group, before: "asyncio.Task[list[Answer]] | None") -> list[Answer]:
        if before is not None and not before.done():
            await asyncio.wait([before])
        if self._open is group:
            self._open = None
        return await self._appends.append(group.items, group.now_ms)
