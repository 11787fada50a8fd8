"""What a process that takes in events has to know of its project: keys, clock, calendar, identity settings, catalog."""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, cast

import redis
import redis.asyncio

from dsl.apikeys import digest, is_well_formed
from dsl.clock import UTC_ZONE, Clock, Zone
from dsl.identity_records import IdentitySettings
from dsl.identity_text import unpack_settings
from serving.online.connection import store_errors
from serving.online.exceptions import OnlineStoreError
from serving.online.keys import Keys

FACTS_S: Final = 1.0
"""Seconds for which the facts of a project are kept: a revoked key works that much longer."""
_PATIENCE_S: Final = 0.05
_RETRY_S: Final = 0.25
"""Between two looks at a store that does not answer."""


@dataclass(frozen=True, slots=True)
class ProjectFacts:
    """A project as its online store knows it at one moment.

    Attributes:
        keys: hex SHA-256 of each API key that works -> its kind.
        catalog_version: the version that decisions use; 0 when none was published.
        is_told: the store has been told of the project; its clock and zone are assumed otherwise.
    """

    keys: Mapping[str, str] = field(default_factory=dict)
    clock: Clock = field(default_factory=Clock)
    zone: Zone = UTC_ZONE
    identity: IdentitySettings = field(default_factory=IdentitySettings)
    catalog_version: int = 0
    is_told: bool = True


def publish_calendar(client: redis.Redis, project: str, timezone: str, clock_offset_ms: int) -> None:
    """Tell the online store the project's zone and clock, by which events are stamped as they come in."""
    with store_errors():
        client.hset(Keys(project).calendar, mapping={"timezone": timezone, "clock_offset_ms": str(clock_offset_ms)})


class KnownProject:
    """The facts of one project as this process knows them: read again when they are older than a second.

    While the store does not answer they are those of before.
    """

    def __init__(self, client: redis.asyncio.Redis, project: str) -> None:
        self.project = project
        self._client = client
        keys = Keys(project)
        self._of_facts = frozenset((keys.api_keys, keys.calendar, keys.identity, keys.catalog_current))
        self._facts: ProjectFacts | None = None
        self._good_until_s = 0.0

    @property
    def last(self) -> ProjectFacts | None:
        """As they were when they were last read; None when the store has never told them."""
        return self._facts

    def forget(self) -> None:
        """Read them anew the next time: something of them may have changed."""
        self._good_until_s = 0.0

    def changed(self, keys: Sequence[str] | None) -> None:
        """Keys of the store were written, any of them if it is None: where facts are among them, forget those."""
        if keys is None or not self._of_facts.isdisjoint(keys):
            self.forget()

    async def facts(self) -> ProjectFacts:
        """As they were at most a second ago, or when the store last answered.

        Raises:
            OnlineStoreError: it does not answer, and never has.
        """
        began_s = time.monotonic()
        if self._facts is None:
            self._facts, self._good_until_s = await read_facts(self._client, self.project), began_s + FACTS_S
        elif began_s > self._good_until_s:
            # One request asks; the others go on with what is known meanwhile.
            self._good_until_s = began_s + _PATIENCE_S
            try:
                async with asyncio.timeout(_PATIENCE_S):
                    self._facts = await read_facts(self._client, self.project)
                self._good_until_s = began_s + FACTS_S
            except (OnlineStoreError, TimeoutError):
                self._good_until_s = began_s + _RETRY_S
        return self._facts

    def known_kind(self, key: str) -> str | None:
        """The kind of a key that is known to work; None where the store has to be asked (`kinds`)."""
        if self._facts is None or time.monotonic() > self._good_until_s:
            return None
        return self._facts.keys.get(_digest(key))

    async def kinds(self, keys: Iterable[str]) -> dict[str, str | None]:
        """`write`, `read` or `admin` of each key; None where it does not work.

        One that is not known may have been made a moment ago: the facts are read once more.

        Raises:
            OnlineStoreError: the store does not answer, and not all of them are known.
        """
        digests = {key: _digest(key) for key in keys}
        found = self._kinds(await self.facts(), digests)
        if any(its and found[key] is None for key, its in digests.items()):
            self.forget()
            found = self._kinds(await self.facts(), digests)
        return found

    def _kinds(self, facts: ProjectFacts, digests: Mapping[str, str]) -> dict[str, str | None]:
        return {key: facts.keys.get(its) for key, its in digests.items()}


@lru_cache(maxsize=1_000)
def _digest(key: str) -> str:
    """What the store knows a key by; nothing of what can be no key."""
    return digest(key) if is_well_formed(key) else ""


async def read_facts(client: redis.asyncio.Redis, project: str) -> ProjectFacts:
    """The project as it is now."""
    keys = Keys(project)
    with store_errors():
        async with client.pipeline(transaction=True) as pipeline:
            queue = cast(Any, pipeline)  # its commands are typed as if they were awaited one by one
            queue.hgetall(keys.api_keys)
            queue.hgetall(keys.calendar)
            queue.mget(keys.identity, keys.catalog_current)
            kinds, calendar, (identity, version) = await pipeline.execute()
    return ProjectFacts(
        kinds,
        Clock(int(calendar.get("clock_offset_ms", 0))),
        Zone(calendar.get("timezone", "UTC")),
        unpack_settings(identity) if identity else IdentitySettings(),
        int(version or 0),
        is_told=bool(calendar),
    )
