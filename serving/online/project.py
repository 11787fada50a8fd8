"""What a process that takes in events has to know of its project: keys, clock, calendar, identity settings, catalog."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import redis
import redis.asyncio

from dsl.clock import UTC_ZONE, Clock, Zone
from dsl.identity_records import IdentitySettings
from dsl.identity_text import unpack_settings
from serving.online.connection import store_errors
from serving.online.keys import Keys


@dataclass(frozen=True, slots=True)
class ProjectFacts:
    """A project as its online store knows it at one moment.

    Attributes:
        keys: hex SHA-256 of each API key that works -> its kind.
        catalog_version: the version that decisions use; 0 when none was published.
    """

    keys: Mapping[str, str] = field(default_factory=dict)
    clock: Clock = field(default_factory=Clock)
    zone: Zone = UTC_ZONE
    identity: IdentitySettings = field(default_factory=IdentitySettings)
    catalog_version: int = 0


def publish_calendar(client: redis.Redis, project: str, timezone: str, clock_offset_ms: int) -> None:
    """Tell the online store the project's zone and clock, by which events are stamped as they come in."""
    with store_errors():
        client.hset(Keys(project).calendar, mapping={"timezone": timezone, "clock_offset_ms": str(clock_offset_ms)})


async def read_facts(client: redis.asyncio.Redis, project: str) -> ProjectFacts | None:
    """The project as it is now; None when nobody has told the store about it."""
    keys = Keys(project)
    with store_errors():
        async with client.pipeline(transaction=True) as pipeline:
            queue = cast(Any, pipeline)  # its commands are typed as if they were awaited one by one
            queue.hgetall(keys.api_keys)
            queue.hgetall(keys.calendar)
            queue.mget(keys.identity, keys.catalog_current)
            kinds, calendar, (identity, version) = await pipeline.execute()
    if not calendar:
        return None
    return ProjectFacts(
        kinds,
        Clock(int(calendar["clock_offset_ms"])),
        Zone(calendar["timezone"]),
        unpack_settings(identity) if identity else IdentitySettings(),
        int(version or 0),
    )
