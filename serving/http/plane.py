"""What the routes work with: one value a process, put together when the app is made."""

from dataclasses import dataclass
from functools import partial
from typing import cast

from fastapi import Request

from serving.decide import Appends, Decider, Exposures, KeptProfiles, Limits
from serving.online import KnownProject, OnlineReader, Watch, connect_async
from serving.online.append import keep_ids
from warehouse.settings import Settings


@dataclass(frozen=True, slots=True)
class Plane:
    """One project: its online store, what is known of it, and what decides."""

    reader: OnlineReader
    project: KnownProject
    decider: Decider
    watch: Watch | None

    @classmethod
    def connected(
        cls, url: str, project: KnownProject, profiles: KeptProfiles, appends: Appends, settings: Settings
    ) -> "Plane":
        """The plane of a project; it connects at the first request.

        Args:
            appends: what logs exposures.
        """
        client = connect_async(url, timeout_s=1.0)
        reader = OnlineReader(client, settings.project)
        limits = Limits(settings.decide_deadline_ms, settings.decide_most_fresh, settings.decide_keep_ms / 1_000)
        exposures = Exposures(appends, partial(keep_ids, client, settings.project))
        decider = Decider(reader, project, exposures, limits, profiles)
        watch = Watch(url, settings.project, decider.changed) if limits.keep_s > 0 else None
        decider.watch = watch
        return cls(reader, project, decider, watch)

    @staticmethod
    def of(request: Request) -> "Plane":
        """The plane of the app that serves this request."""
        return cast("Plane", request.app.state.plane)

    @property
    def is_watching(self) -> bool:
        """Whether the store tells this process of changes."""
        return self.watch is not None and self.watch.is_sure

    def start(self) -> None:
        """Learn of changes from now on, and read the definitions ahead."""
        if self.watch is not None:
            self.watch.start()

    async def close(self) -> None:
        """Give the connections back."""
        if self.watch is not None:
            await self.watch.stop()
        await self.reader.close()
