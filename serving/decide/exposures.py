"""Exposures: who was shown which variant by chance, one event each, so that an experiment can be judged later."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec

from dsl.clock import Zone
from dsl.event import EXPOSURE
from dsl.event_record import EventRecord, write_record
from serving.decide.decision import Decision
from serving.decide.kept import Appends
from serving.online import Item, body_digest

_REMEMBERED: Final = 100_000


class Exposures:
    """Logs each (profile, variant, version of a flag) once, before the answer that shows it is sent.

    The id of the event is made of the three: the log takes it once, whichever process sends it how often and when. What
    this process has logged it does not send again.

    Args:
        keep: tells the store to know ids for ever.
    """

    def __init__(self, appends: Appends, keep: Callable[[Sequence[str]], Awaitable[None]]) -> None:
        self._appends = appends
        self._keep = keep
        self._logged: OrderedDict[str, None] = OrderedDict()

    async def log(
        self, decisions: Sequence[Decision], identifier: str, profile_id: str, now_ms: int, zone: Zone
    ) -> int:
        """Log those of the decisions in which chance decided; how many were new to this process.

        Args:
            identifier: one of the profile.

        Raises:
            OnlineStoreError: the store did not take them.
        """
        split = [decision for decision in decisions if decision.split]
        items = [
            item
            for each in split
            if (item := _item(each, identifier, profile_id, now_ms, zone)).event_id not in self._logged
        ]
        if not items:
            return 0
        await self._appends.append(items, now_ms)
        await self._keep([item.event_id for item in items])
        for item in items:
            self._logged[item.event_id] = None
        while len(self._logged) > _REMEMBERED:
            self._logged.popitem(last=False)
        return len(items)


def _item(decision: Decision, identifier: str, profile_id: str, now_ms: int, zone: Zone) -> Item:
    event_id = f"exposure:{body_digest('|'.join((decision.flag, decision.version, decision.variant, profile_id)))}"
    properties = {
        "flag": decision.flag,
        "variant": decision.variant,
        "version": decision.version,
        "rule": decision.rule,
    }
    text = msgspec.json.encode(properties).decode()
    record = EventRecord(event_id, "system", EXPOSURE, now_ms, now_ms, zone.day(now_ms), text)
    # A second one of the same id is the same exposure, at whatever instant.
    return Item(event_id, write_record(record), body_digest(event_id), (identifier,))
